use crate::{Error, ErrorKind, Result};

/// The longest name that Kubernetes gives, in bytes.
pub(crate) const LONGEST: usize = 253;

/// Checks that a name can be a file's, no other file's than its own, and is read as it is. Kubernetes gives no others.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "has more than 253 bytes"
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "does not begin with an ASCII letter or digit"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        "contains something else than ASCII letters, digits, '-', '.' and '_'"
    } else if name.contains("..") {
        "contains two dots in a row"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Invalid, format!("{what} name {name:.64?} {reason}")))
}
