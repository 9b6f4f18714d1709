use std::error::Error as StdError;
use std::fmt;

use crate::SourceError;

/// What went wrong with a spool, on which object, and why.
#[derive(Debug)]
pub struct SpoolError {
    kind: SpoolErrorKind,
    object: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure a [`SpoolError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpoolErrorKind {
    /// The spool's limit is reached, or the disk is full. Nothing was changed; there is room when records are delivered.
    Full,
    /// The change is larger than all that the spool may hold. Nothing was changed.
    TooLarge,
    /// Somebody else has the spool open.
    Locked,
    /// The file is no spool, or not a whole one; it was left as it was.
    Foreign,
    /// The spool was written by a newer release; it was left as it was.
    Newer,
    /// Reading or writing failed.
    Io,
    /// What the spool holds is not what was written into it, or may not be after a power loss: the disk failed to say
    /// that it has it. In the second case it may be opened again.
    Damaged,
    /// The sink whose outbox asks was [forgotten](crate::Spool::forget_sink).
    Forgotten,
}

impl SpoolError {
    pub(super) fn new(kind: SpoolErrorKind, object: impl Into<String>) -> Self {
        Self { kind, object: object.into(), source: None }
    }

    pub(super) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The sink is in use, and nothing is kept for it any more.
    pub(super) fn forgotten(sink: &str) -> Self {
        Self::new(SpoolErrorKind::Forgotten, format!("sink {sink}"))
    }

    /// Which kind of failure it is.
    pub const fn kind(&self) -> SpoolErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, SpoolErrorKind::Full | SpoolErrorKind::Locked | SpoolErrorKind::Io)
    }
}

impl From<SpoolError> for SourceError {
    fn from(e: SpoolError) -> Self {
        match e.is_retryable() {
            true => Self::retry("the spool", e),
            false => Self::fatal("the spool", e),
        }
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.kind {
            SpoolErrorKind::Full => write!(f, "{object} is full"),
            SpoolErrorKind::TooLarge => write!(f, "{object} cannot hold so large a change"),
            SpoolErrorKind::Locked => write!(f, "{object} is in use by another process"),
            SpoolErrorKind::Foreign => {
                write!(
                    f,
                    "{object} is not a whole podtrail spool; it was left as it is: move it away or name another file"
                )
            }
            SpoolErrorKind::Newer => {
                write!(f, "{object} was written by a newer release of podtrail; it was left as it is: use that release")
            }
            SpoolErrorKind::Io => write!(f, "cannot read or write {object}"),
            SpoolErrorKind::Damaged => write!(f, "{object} is damaged"),
            SpoolErrorKind::Forgotten => write!(f, "{object} was forgotten"),
        }
    }
}

impl StdError for SpoolError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
