use std::io;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It cannot be opened or looked at.
    Open,
    /// It is something else than a network namespace.
    NotANamespace,
    /// `CAP_SYS_ADMIN` is missing: in the namespace's owner, or in one's own user namespace.
    MissingCapability,
    /// No further one can be made.
    Create,
    /// A name is none, is taken, or is nobody's.
    Name,
    /// It cannot be entered.
    Enter,
    /// No thread could be started.
    Thread,
}

/// Why a network namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: String, source: impl Into<Option<io::Error>>) -> Self {
        Self { kind, what, source: source.into() }
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Thread)
    }
}
