use crate::{Error, ErrorKind, Result};

/// The longest name that Kubernetes gives, in bytes.
pub(crate) const LONGEST: usize = 253;

/// Checks that a name can be a file's, and no other file's than its own.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "has more than 253 bytes"
    } else if name.starts_with('.') || name.contains("..") {
        "starts with a dot or contains two"
    } else if name.contains('/') || name.chars().any(char::is_control) {
        "contains a slash or a control character"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Invalid, format!("{what} name {name:.64?} {reason}")))
}
