use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bytes that are not the JSON that they should be.
    Decode,
    /// JSON of the right shape that cannot be used: another kind, no UID, a version that is no number.
    Unusable,
    /// A glob that cannot be compiled.
    Glob,
    /// No way to reach a cluster is configured, or it cannot be read.
    Configuration,
    /// The API server could not be reached, or its answer was cut short.
    Unreachable,
    /// The API server answered with this HTTP status.
    Status(u16),
}

/// Why something could not be read from, or asked of, a Kubernetes API.
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

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Unreachable => true,
            ErrorKind::Status(code) => code == 408 || code == 429 || code >= 500,
            _ => false,
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some libraries repeat their source's message in their own.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
