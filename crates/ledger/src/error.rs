use std::fmt;

/// What went wrong with a ledger, on which object, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    object: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such file.
    Missing,
    /// The file is not a ledger, or not whole; it was not changed.
    NotALedger,
    /// The ledger was written by an older release: opening it for writing brings it up to date.
    Older,
    /// The ledger was written by a newer release; it was not changed.
    Newer,
    /// The ledger is of another cluster.
    OtherCluster,
    /// Another process writes this ledger.
    Locked,
    /// Reading or writing failed: the disk is full, a lock was held too long, …
    Io,
    /// What the ledger holds is not what was written into it.
    Corrupt,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, object: impl Into<String>) -> Self {
        Self { kind, object: object.into(), source: None }
    }

    pub(crate) fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Which kind of failure it is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Io | ErrorKind::Locked)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.kind {
            ErrorKind::Missing => write!(f, "{object} does not exist (`tracker run` makes a ledger)"),
            ErrorKind::NotALedger => {
                write!(
                    f,
                    "{object} is not a whole podtrail ledger; it was left as it is: move it away or name another file"
                )
            }
            ErrorKind::Older => {
                write!(f, "{object} was written by an older release of podtrail: start `tracker run` with it once")
            }
            ErrorKind::Newer => {
                write!(f, "{object} was written by a newer release of podtrail; it was left as it is: use that release")
            }
            ErrorKind::OtherCluster => write!(f, "{object}: a ledger holds one cluster only; name another file"),
            ErrorKind::Locked => write!(f, "{object} is being written by another tracker"),
            ErrorKind::Io => write!(f, "cannot read or write {object}"),
            ErrorKind::Corrupt => write!(f, "{object} is damaged"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
