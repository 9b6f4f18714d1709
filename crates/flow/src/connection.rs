use std::net::IpAddr;

use crate::{Counters, Identity};

/// A connection as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is built literally by whoever reads the kernel")]
pub struct Connection {
    /// What tells it from others, with the direction of its first packet.
    pub identity: Identity,
    /// The direction of the answers, before addresses are translated back.
    pub reply: Direction,
    /// What it has carried; `None` if the kernel does not count it.
    pub counters: Option<Counters>,
    /// When it ended, in nanoseconds since 1970, if it has and the kernel stamps connections.
    pub stop: Option<u64>,
}

/// The ends of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is built literally by whoever reads the kernel")]
pub struct Direction {
    /// Where packets are from.
    pub src: IpAddr,
    /// Where they go to.
    pub dst: IpAddr,
    /// The ports of the two; of ICMP the identifier, and type and code (`type << 8 | code`); 0 where there is neither.
    pub ports: (u16, u16),
    /// The zone of this direction alone; 0 if it has none.
    pub zone: u16,
}

impl Connection {
    /// The direction of its first packet.
    pub const fn original(&self) -> Direction {
        let Identity { src, dst, ports, direction_zone, .. } = self.identity;
        Direction { src, dst, ports, zone: direction_zone }
    }
}
