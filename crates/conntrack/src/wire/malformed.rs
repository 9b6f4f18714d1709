use std::fmt;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedKind {
    /// It ends within a header, or has a length that is smaller than its own header.
    Truncated,
    /// It has a length that passes the end of what it is in.
    Overlong,
    /// Its value has another size than its type has.
    Size,
    /// It is not there, and must be.
    Missing,
    /// It contradicts another part of the message: another address family, ports for a protocol that has none.
    Contradiction,
    /// It is of a type that was not expected here.
    Type,
    /// It does not fit into the buffer that it was to be written to.
    NoRoom,
}

/// Why bytes are no message, or a value cannot be made into one: what is wrong, and with which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    kind: MalformedKind,
    part: &'static str,
}

impl Malformed {
    pub(super) const fn new(kind: MalformedKind, part: &'static str) -> Self {
        Self { kind, part }
    }

    /// What is wrong.
    pub const fn kind(&self) -> MalformedKind {
        self.kind
    }

    /// The part that is wrong, by the kernel's name for it, such as `CTA_TUPLE_ORIG`.
    pub const fn part(&self) -> &'static str {
        self.part
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part)?;
        f.write_str(match self.kind {
            MalformedKind::Truncated => " is cut short",
            MalformedKind::Overlong => " is longer than what it is in",
            MalformedKind::Size => " has a value of the wrong size",
            MalformedKind::Missing => " is missing",
            MalformedKind::Contradiction => " contradicts the rest of the message",
            MalformedKind::Type => " is of another type than expected",
            MalformedKind::NoRoom => " does not fit",
        })
    }
}

impl std::error::Error for Malformed {}
