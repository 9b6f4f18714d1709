use std::fmt;

use rustix::io::Errno;

use crate::wire::Malformed;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `CAP_NET_ADMIN` is missing in the user namespace that owns the network namespace.
    MissingCapability,
    /// The network namespace cannot be entered.
    Namespace,
    /// The kernel does not track connections.
    NoTracking,
    /// A setting of the kernel cannot be read or changed.
    Sysctl,
    /// There is no socket, or it failed.
    Socket,
    /// The memory that events are kept in failed.
    Journal,
    /// The kernel refused a request; its error is the source.
    Refused,
    /// The kernel did not answer in time, or not to the end.
    NoAnswer,
    /// A dump is complete but for what the table's changes made it skip or say twice.
    Interrupted,
    /// A message is not what the kernel makes, or a request cannot be made; a [`Malformed`] is the source.
    Malformed,
}

/// Why the connection table could not be read or changed.
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

    pub(crate) fn socket(what: &'static str, errno: Errno) -> Self {
        Self::caused(ErrorKind::Socket, what, std::io::Error::from(errno))
    }

    pub(crate) fn malformed(what: &'static str, malformed: Malformed) -> Self {
        Self::caused(ErrorKind::Malformed, what, malformed)
    }

    /// The kernel's answer to a request.
    pub(crate) fn refused(errno: i32) -> Self {
        match Errno::from_raw_os_error(errno) {
            Errno::PERM => {
                Self::new(ErrorKind::MissingCapability, "cannot use the connection table: CAP_NET_ADMIN is missing")
            }
            errno => Self::caused(ErrorKind::Refused, "the kernel refused the request", std::io::Error::from(errno)),
        }
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::NoAnswer | ErrorKind::Interrupted)
    }
}
