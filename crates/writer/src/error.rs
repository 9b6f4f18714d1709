use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use podtrail_event::EventId;

/// Why a batch was not delivered: what to do about it, on which object, and the cause as
/// [`source`](std::error::Error::source).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    object: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the caller of a writer is to do about an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Deliver the same batch again, not before `after` if the backend named a time.
    #[non_exhaustive]
    Retry {
        /// How long the backend asked to be left alone.
        after: Option<Duration>,
    },
    /// The backend will never take these records: set them aside and deliver the rest of the same batch.
    Rejected(Vec<Rejection>),
    /// Trying again cannot help; someone must act.
    Fatal,
}

/// A record that a backend will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "writers build it literally")]
pub struct Rejection {
    /// The record.
    pub id: EventId,
    /// Why, for a person.
    pub reason: String,
}

impl Error {
    /// A failure that may pass: the same batch is to be delivered again.
    ///
    /// `object` names the backend, such as `file /var/log/pods.ndjson`; `source` says what went wrong.
    pub fn retry(object: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::Retry { after: None }, object: object.into(), source: Some(source.into()) }
    }

    /// A refusal of some records for good, each with its reason.
    pub fn rejected(object: impl Into<String>, rejections: Vec<Rejection>) -> Self {
        Self { kind: ErrorKind::Rejected(rejections), object: object.into(), source: None }
    }

    /// A failure that does not pass by itself; `source` should say what to do.
    pub fn fatal(object: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::Fatal, object: object.into(), source: Some(source.into()) }
    }

    /// The same error, with the time that the backend asked to be left alone. Only a retry has one.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        if let ErrorKind::Retry { after } = &mut self.kind {
            *after = Some(wait);
        }
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What could not be delivered to.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Whether the same batch may be taken when it is delivered again.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Retry { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match &self.kind {
            ErrorKind::Retry { .. } => write!(f, "cannot deliver to {object} yet"),
            ErrorKind::Rejected(rejections) => write!(f, "{object} rejects {} record(s)", rejections.len()),
            ErrorKind::Fatal => write!(f, "cannot deliver to {object}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
