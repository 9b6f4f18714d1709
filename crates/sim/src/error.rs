/// Why an operation on the simulated cluster was refused.
#[derive(Debug, thiserror::Error)]
#[error("{object} {}", kind.text())]
pub struct Error {
    kind: ErrorKind,
    object: String,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such object, or the name belongs to another incarnation by now.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The pod is not in the phase that the operation needs.
    WrongPhase,
    /// A pod needs at least one address to run.
    NoAddress,
}

impl ErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "does not exist",
            Self::AlreadyExists => "exists already",
            Self::WrongPhase => "is not in a phase that allows this",
            Self::NoAddress => "needs an address",
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, object: impl Into<String>) -> Self {
        Self { kind, object: object.into() }
    }

    /// What kind of refusal this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later: never, as the cluster changes only by such calls.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
