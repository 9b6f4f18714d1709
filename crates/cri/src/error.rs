use std::fmt;

use tonic::Code;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It is no address of a runtime, or none was found.
    Endpoint,
    /// It is no container id.
    ContainerId,
    /// It is no label selector.
    Selector,
    /// The runtime's socket cannot be connected to.
    Unreachable,
    /// The runtime did not answer in time.
    Timeout,
    /// The runtime does not have this call of CRI v1.
    Unsupported,
    /// The runtime knows no sandbox or container of this id.
    NotFound,
    /// The runtime answered with another error, which is the source.
    Refused,
    /// The runtime's answer is not what CRI v1 or the runtime's own format says.
    Malformed,
    /// No sandbox of this pod is on this node.
    NoSandbox,
    /// The pod's sandbox is not ready: it has no network, or not any more.
    NotReady,
    /// Several pods are meant; their UIDs tell them apart.
    Ambiguous,
    /// The runtime does not say where the network namespace is.
    NoNamespace,
    /// The network namespace cannot be opened.
    Namespace,
    /// The sandbox is another than before: look for it again.
    SandboxChanged,
    /// The pod has no such container that runs.
    NoContainer,
    /// The container is another than before: look for it again.
    ContainerChanged,
    /// A process cannot be opened, or cannot be seen from here.
    Process,
}

/// Why the runtime could not be asked, or what it said is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Source>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl fmt::Display) -> Self {
        Self { kind, what: what.to_string(), source: None }
    }

    pub(crate) fn caused(kind: ErrorKind, what: impl fmt::Display, source: impl Into<Source>) -> Self {
        Self { kind, what: what.to_string(), source: Some(source.into()) }
    }

    /// The runtime's answer to a call.
    pub(crate) fn answered(call: &str, object: &str, runtime: &dyn fmt::Display, status: tonic::Status) -> Self {
        let said = status.message().to_owned();
        match status.code() {
            // Nothing else has a source: what the runtime says has none.
            _ if std::error::Error::source(&status).is_some() => {
                let what = format!(
                    "cannot reach the container runtime at {runtime}: is it running, and may its socket be opened?"
                );
                Self::caused(ErrorKind::Unreachable, what, deepest(&status))
            }
            Code::Unimplemented => {
                let what = format!("the container runtime at {runtime} has no {call} of CRI v1");
                Self::caused(ErrorKind::Unsupported, what, said)
            }
            Code::NotFound => Self::caused(ErrorKind::NotFound, format!("{runtime} knows no {object}"), said),
            // cri-dockerd hands on what Docker says, without a code.
            Code::Unknown if said.contains("No such container: ") => {
                Self::caused(ErrorKind::NotFound, format!("{runtime} knows no {object}"), said)
            }
            Code::Unavailable => {
                let what = format!("the container runtime at {runtime} is not available");
                Self::caused(ErrorKind::Unreachable, what, said)
            }
            Code::DeadlineExceeded => Self::caused(ErrorKind::Timeout, late(call, object, runtime), said),
            _ => Self::caused(ErrorKind::Refused, format!("{call} of {object} failed at {runtime}"), said),
        }
    }

    pub(crate) fn late(call: &str, object: &str, runtime: &dyn fmt::Display) -> Self {
        Self::new(ErrorKind::Timeout, late(call, object, runtime))
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later; after a change, the sandbox or container must be looked for again.
    pub const fn is_retryable(&self) -> bool {
        use ErrorKind::{ContainerChanged, NotReady, SandboxChanged, Timeout, Unreachable};
        matches!(self.kind, Unreachable | Timeout | NotReady | SandboxChanged | ContainerChanged)
    }
}

fn late(call: &str, object: &str, runtime: &dyn fmt::Display) -> String {
    format!("the container runtime at {runtime} did not answer {call} of {object} in time")
}

/// What it all began with: the layers between say it again, each in its own way.
fn deepest(status: &tonic::Status) -> String {
    let mut deepest: &dyn std::error::Error = status;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn what_is_gone_is_not_found_at_every_runtime() {
        let answered =
            |status| Error::answered("ContainerStatus", "container cc", &"unix:///run/x.sock", status).kind();
        for said in ["Error: No such container: cc", "Error response from daemon: No such container: cc"] {
            assert_eq!(answered(Status::unknown(said)), ErrorKind::NotFound, "{said}");
        }
        assert_eq!(answered(Status::not_found("an error occurred")), ErrorKind::NotFound);
        assert_eq!(answered(Status::unknown("failed to inspect")), ErrorKind::Refused);
        assert_eq!(answered(Status::unavailable("No such container: cc")), ErrorKind::Unreachable);
    }
}
