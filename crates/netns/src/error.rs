use std::io;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such thing on this system: network namespaces exist on Linux only.
    Unsupported,
    /// It cannot be opened or looked at.
    Open,
    /// It is something else than a network namespace.
    NotANamespace,
    /// A capability is missing, which the text names: in the namespace's owner, or in one's own user namespace.
    MissingCapability,
    /// No further one can be made.
    Create,
    /// A name is none, is taken, or is nobody's.
    Name,
    /// It, or another namespace of a container, cannot be entered.
    Enter,
    /// No thread or process could be started: there are too many.
    Thread,
    /// Capabilities cannot be read or given up.
    Capabilities,
    /// The program cannot be started: it is not found, is none, or may not be executed.
    Program,
    /// What was asked for is out of bounds.
    Config,
    /// Packets cannot be captured.
    Capture,
    /// There is no such interface, it is gone, or it is of a type that cannot be captured.
    Interface,
    /// A text is no filter.
    Filter,
    /// libpcap, which compiles filters, cannot be loaded.
    Library,
    /// A file is not as pcapng or pcap should be.
    Damaged,
    /// An input cannot be read.
    Read,
    /// An output cannot be written.
    Write,
    /// The kernel does not tell what is in the namespace; its error is the source.
    Refused,
    /// What the kernel told is not understood.
    Malformed,
    /// What is in the namespace changed again and again while it was read.
    Interrupted,
    /// The kernel does not answer in time, or not to the end.
    NoAnswer,
    /// There is more of it than is read.
    TooMany,
}

/// Why something could not be done with a network namespace, or with its packets.
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

    #[cfg(target_os = "linux")]
    pub(crate) fn source_kind(&self) -> Option<io::ErrorKind> {
        self.source.as_ref().map(io::Error::kind)
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Thread | ErrorKind::Interrupted | ErrorKind::NoAnswer)
    }
}
