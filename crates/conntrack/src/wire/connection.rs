use std::fmt;

use super::tuple::Tuple;

/// One connection that the kernel tracks, borrowed from the message that it came in.
///
/// What the kernel did not say is `None`: counters need the sysctl `nf_conntrack_acct`, times `nf_conntrack_timestamp`, and a
/// connection keeps what was on when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection<'a> {
    /// The direction of the first packet.
    pub original: Tuple,
    /// The direction of the answers to it, before addresses are translated back.
    pub reply: Tuple,
    /// The zone of both directions; 0 is the default one. A zone of one direction is in its tuple.
    pub zone: u16,
    /// A number that tells it from other connections with the same tuple. The kernel uses numbers again.
    pub id: Option<u32>,
    /// What has happened to it.
    pub status: Option<Status>,
    /// The mark that rules gave it.
    pub mark: Option<u32>,
    /// In how many seconds it ends if no packet comes.
    pub timeout: Option<u32>,
    /// What went in the original direction.
    pub original_counters: Option<Counters>,
    /// What went in the reply's direction.
    pub reply_counters: Option<Counters>,
    /// When it began, in nanoseconds since 1970 by this machine's clock.
    pub start: Option<u64>,
    /// When it ended, likewise; only of one that was destroyed.
    pub stop: Option<u64>,
    /// The state of a TCP connection.
    pub tcp_state: Option<TcpState>,
    /// Its labels: up to 128 bits, in the order of the kernel's bytes.
    pub labels: Option<&'a [u8]>,
    /// The name of its helper, such as `ftp`. The kernel's names are ASCII.
    pub helper: Option<&'a [u8]>,
}

/// What went in one direction, since the connection began or the counters were zeroed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "these two are what the kernel counts")]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the IP headers and without the link's.
    pub bytes: u64,
}

/// A set of bits that say what has happened to a connection: `enum ip_conntrack_status` of
/// linux/netfilter/nf_conntrack_common.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "any bits are one")]
pub struct Status(pub u32);

/// The state of a TCP connection: `enum tcp_conntrack` of linux/netfilter/nf_conntrack_tcp.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "any number is one")]
pub struct TcpState(pub u8);

impl Connection<'_> {
    pub(crate) const UNKNOWN: Self = Self::new(Tuple::NONE, Tuple::NONE);

    /// A connection of which no more is known.
    pub const fn new(original: Tuple, reply: Tuple) -> Self {
        Self {
            original,
            reply,
            zone: 0,
            id: None,
            status: None,
            mark: None,
            timeout: None,
            original_counters: None,
            reply_counters: None,
            start: None,
            stop: None,
            tcp_state: None,
            labels: None,
            helper: None,
        }
    }
}

impl Status {
    /// It was expected because of another connection.
    pub const EXPECTED: Self = Self(1);
    /// Packets went in both directions.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// It is not ended early when the table is full.
    pub const ASSURED: Self = Self(1 << 2);
    /// Its first packet has left this machine.
    pub const CONFIRMED: Self = Self(1 << 3);
    /// The original direction's source is translated.
    pub const SRC_NAT: Self = Self(1 << 4);
    /// The original direction's destination is translated.
    pub const DST_NAT: Self = Self(1 << 5);
    /// It has left the table.
    pub const DYING: Self = Self(1 << 9);
    /// Its timeout does not change.
    pub const FIXED_TIMEOUT: Self = Self(1 << 10);
    /// Packets pass it by in software.
    pub const OFFLOAD: Self = Self(1 << 14);
    /// Packets pass it by in hardware.
    pub const HW_OFFLOAD: Self = Self(1 << 15);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Status {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[expect(missing_docs, reason = "their names say it")]
impl TcpState {
    pub const NONE: Self = Self(0);
    pub const SYN_SENT: Self = Self(1);
    pub const SYN_RECV: Self = Self(2);
    pub const ESTABLISHED: Self = Self(3);
    pub const FIN_WAIT: Self = Self(4);
    pub const CLOSE_WAIT: Self = Self(5);
    pub const LAST_ACK: Self = Self(6);
    pub const TIME_WAIT: Self = Self(7);
    pub const CLOSE: Self = Self(8);
    pub const SYN_SENT2: Self = Self(9);
}

/// As `conntrack -L` shows it: `SYN_SENT`; its number if it has no name.
impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match *self {
            Self::NONE => "NONE",
            Self::SYN_SENT => "SYN_SENT",
            Self::SYN_RECV => "SYN_RECV",
            Self::ESTABLISHED => "ESTABLISHED",
            Self::FIN_WAIT => "FIN_WAIT",
            Self::CLOSE_WAIT => "CLOSE_WAIT",
            Self::LAST_ACK => "LAST_ACK",
            Self::TIME_WAIT => "TIME_WAIT",
            Self::CLOSE => "CLOSE",
            Self::SYN_SENT2 => "SYN_SENT2",
            Self(number) => return fmt::Display::fmt(&number, f),
        })
    }
}
