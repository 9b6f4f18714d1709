use crate::living::Slot;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The slot is above all reason.
    NoRoom,
    /// The slot holds a connection already.
    SlotTaken,
    /// Another slot holds this connection already.
    KeyTaken,
}

/// Why a connection could not be restored from saved state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot restore the connection in slot {}: {}", slot.0, self.why())]
pub struct Error {
    kind: ErrorKind,
    slot: Slot,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind, slot: Slot) -> Self {
        Self { kind, slot }
    }

    /// What kind of error this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The slot that was to be restored.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    const fn why(&self) -> &'static str {
        match self.kind {
            ErrorKind::NoRoom => "there are not so many",
            ErrorKind::SlotTaken => "the slot is taken",
            ErrorKind::KeyTaken => "it is in another slot",
        }
    }
}
