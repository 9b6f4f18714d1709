use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// Longer than what any runtime makes (64 hex digits).
const MAX_LENGTH: usize = 256;

/// The id of a container or sandbox, and the runtime that a pod's status names with it: `containerd://3f4e…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId {
    runtime: Option<String>,
    id: String,
}

impl ContainerId {
    /// The id alone, as CRI calls take it.
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// The name of the runtime: `containerd`, `cri-o`, `docker`; `None` if it was not said.
    pub fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    /// Reads `runtime://id` (the `containerID` of a container's status in the Kubernetes API) or `id`.
    fn from_str(text: &str) -> Result<Self> {
        let not = |why: &str| {
            let shown: String = text.chars().take(120).collect();
            Err(Error::new(ErrorKind::ContainerId, format!("{shown:?} is no container id: {why}")))
        };
        if text.len() > MAX_LENGTH {
            return not("it is too long");
        }
        let (runtime, id) = match text.split_once("://") {
            Some((runtime, id)) => (Some(runtime), id),
            None => (None, text),
        };
        if let Some(runtime) = runtime
            && !["containerd", "cri-o", "docker"].contains(&runtime)
        {
            return not("the runtime before :// is none of containerd, cri-o and docker");
        }
        match id {
            "" => not("it is empty; the container may not have been made yet"),
            _ if is_id(id) => Ok(Self { runtime: runtime.map(str::to_owned), id: id.to_owned() }),
            _ => not("only letters, digits and . _ - are in one"),
        }
    }
}

/// Whether it may be the id of a sandbox or container. The first character is never a hyphen or a dot, as in Docker's names.
pub(crate) fn is_id(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && text.len() <= MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(runtime) = &self.runtime {
            write!(f, "{runtime}://")?;
        }
        f.write_str(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_under_every_runtime() {
        let id = "3f4e".repeat(16);
        for runtime in [Some("containerd"), Some("cri-o"), Some("docker"), None] {
            let text = runtime.map_or_else(|| id.clone(), |runtime| format!("{runtime}://{id}"));
            let parsed: ContainerId = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.runtime(), parsed.to_string()), (&*id, runtime, text));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = "a".repeat(MAX_LENGTH + 1);
        let cases = [
            "",
            "docker://",
            "://x",
            "rkt://x",
            "CRI-O://x",
            "cri-o:/x",
            "a/b",
            "..",
            "-x",
            "a b",
            "ä",
            "a\n",
            "docker://docker://x",
            &long,
        ];
        for text in cases {
            let error = text.parse::<ContainerId>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ContainerId, "{text:?}");
            assert!(error.to_string().len() < 1000);
        }
    }
}
