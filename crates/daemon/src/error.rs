//! The error of this crate.

use std::{error::Error as StdError, io};

use crate::Exit;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a daemon could not be set up or served.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A log filter cannot be understood.
    LogFilter,
    /// The log subscriber cannot be installed, because there is one already.
    LogInstall,
    /// An address to listen on cannot be understood.
    Address,
    /// An address cannot be listened on.
    Bind,
    /// The HTTP server failed.
    Serve,
    /// A text is not a duration.
    Duration,
    /// A signal handler cannot be installed.
    Signal,
    /// A worker cannot be started, or not be spoken to.
    Worker,
    /// The process at the other end of a channel has ended.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, source: None }
    }

    pub(crate) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// What the error was about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later with nothing changed here: only an address that another process holds now.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let source = self.source.as_deref().and_then(|s| s.downcast_ref::<io::Error>());
        self.kind == ErrorKind::Bind && source.is_some_and(|e| e.kind() == io::ErrorKind::AddrInUse)
    }

    /// The code a process should end with when it ends because of this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.kind {
            ErrorKind::LogFilter | ErrorKind::Address | ErrorKind::Duration => Exit::Usage,
            ErrorKind::Bind => Exit::Unavailable,
            ErrorKind::LogInstall | ErrorKind::Serve | ErrorKind::Signal | ErrorKind::Worker | ErrorKind::Closed => {
                Exit::Failure
            }
        }
    }
}
