use std::error::Error as StdError;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A destination, a name or a header is not one.
    Invalid,
    /// Nobody answers at the destination.
    Connect,
    /// The server refused the stream: the same one will be refused again.
    Refused,
    /// The server went away, or ended the stream early.
    Lost,
    /// The server said nothing for too long.
    Stalled,
    /// The folder of a receiver cannot be used.
    Folder,
    /// A receiver cannot go on serving.
    Serve,
}

/// Why a tool's output could not be sent or received.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    acknowledged: u64,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), acknowledged: 0, source: None }
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Of a stream of whose bytes so many have arrived for sure.
    #[cfg(feature = "client")]
    pub(crate) fn after(mut self, acknowledged: u64) -> Self {
        self.what = format!("{}; {acknowledged} bytes have arrived for sure", self.what);
        self.acknowledged = acknowledged;
        self
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How many bytes of the stream have arrived for sure: later ones may have arrived, or not.
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect | ErrorKind::Lost | ErrorKind::Stalled)
    }
}
