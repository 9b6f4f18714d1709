use super::attribute::align;
use super::connection::Connection;
use super::constants::{
    FAMILY_HEADER, HEADER, IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_NEW, NFNL_SUBSYS_CTNETLINK, NLM_F_CREATE,
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use super::malformed::{Malformed, MalformedKind};
use super::parse;

/// One netlink message, borrowed from the datagram that it came in.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    kind: Kind,
    flags: u16,
    sequence: u32,
    pub(super) payload: &'a [u8],
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A connection: in an answer or a dump one that is, as an event one that is new or has changed.
    Connection,
    /// A connection that has ended: an event.
    Destroyed,
    /// `NLMSG_ERROR`: the answer to a request that failed, or an acknowledgement. See [`Message::errno`].
    Error,
    /// `NLMSG_DONE`: the end of a dump. See [`Message::errno`].
    Done,
    /// `NLMSG_NOOP`: to be skipped.
    Noop,
    /// `NLMSG_OVERRUN`: data was lost.
    Overrun,
    /// Anything else, by its number.
    Other(u16),
}

impl<'a> Message<'a> {
    /// What the message is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of the request that this answers; 0 for an event.
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether an event is of a connection that began (`NLM_F_CREATE`), and not of one that changed.
    pub const fn is_new(&self) -> bool {
        self.flags & NLM_F_CREATE != 0
    }

    /// Whether the table changed so much during the dump that connections may be missing or double (`NLM_F_DUMP_INTR`).
    pub const fn is_interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    /// What an `Error` or a `Done` says: 0, or the number of the kernel's error as it is in errno(3).
    ///
    /// # Errors
    ///
    /// If it is too short to say, or is of another kind.
    pub fn errno(&self) -> Result<i32, Malformed> {
        let part = match self.kind {
            Kind::Error => "NLMSG_ERROR",
            Kind::Done => "NLMSG_DONE",
            _ => return Err(Malformed::new(MalformedKind::Type, "nlmsg_type")),
        };
        match self.payload.first_chunk() {
            Some(&code) => Ok(i32::from_ne_bytes(code).saturating_neg()),
            None => Err(Malformed::new(MalformedKind::Truncated, part)),
        }
    }

    /// The connection in a `Connection` or `Destroyed`.
    ///
    /// Attributes that are unknown are skipped.
    ///
    /// # Errors
    ///
    /// If the message is of another kind, or its attributes are not what the kernel makes.
    pub fn connection(&self) -> Result<Connection<'a>, Malformed> {
        let mut result = Ok(Connection::UNKNOWN);
        if let Ok(connection) = &mut result
            && let Err(e) = self.fill(connection)
        {
            result = Err(e);
        }
        result
    }

    /// Reads the connection into [`Connection::UNKNOWN`], where it is to be: to move it takes as long as to read it.
    pub(crate) fn fill(&self, connection: &mut Connection<'a>) -> Result<(), Malformed> {
        if !matches!(self.kind, Kind::Connection | Kind::Destroyed) {
            return Err(Malformed::new(MalformedKind::Type, "nlmsg_type"));
        }
        let Some((&[family, _version, _, _], attributes)) = self.payload.split_first_chunk::<FAMILY_HEADER>() else {
            return Err(Malformed::new(MalformedKind::Truncated, "nfgenmsg"));
        };
        parse::fill(connection, family, attributes)
    }
}

/// The messages of one datagram, in order. After an error there are no more: where the next begins is not known.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads the messages of a datagram.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// How many bytes have not been read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        self.rest = &[];
        let malformed = |kind| Some(Err(Malformed::new(kind, "nlmsghdr")));
        let Some(&[l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..]) = rest.first_chunk::<HEADER>() else {
            return malformed(MalformedKind::Truncated);
        };
        let Ok(length) = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])) else {
            return malformed(MalformedKind::Overlong);
        };
        let payload = match rest.get(HEADER..length) {
            Some(payload) => payload,
            None if length < HEADER => return malformed(MalformedKind::Truncated),
            None => return malformed(MalformedKind::Overlong),
        };
        self.rest = rest.get(align(length)..).unwrap_or_default();
        Some(Ok(Message {
            kind: Kind::of(u16::from_ne_bytes([t0, t1])),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        }))
    }
}

impl Kind {
    const fn of(number: u16) -> Self {
        const NEW: u16 = conntrack(IPCTNL_MSG_CT_NEW);
        const DELETE: u16 = conntrack(IPCTNL_MSG_CT_DELETE);
        match number {
            NEW => Self::Connection,
            DELETE => Self::Destroyed,
            NLMSG_ERROR => Self::Error,
            NLMSG_DONE => Self::Done,
            NLMSG_NOOP => Self::Noop,
            NLMSG_OVERRUN => Self::Overrun,
            other => Self::Other(other),
        }
    }
}

/// The type of a ctnetlink message.
pub(super) const fn conntrack(operation: u8) -> u16 {
    u16::from_be_bytes([NFNL_SUBSYS_CTNETLINK, operation])
}
