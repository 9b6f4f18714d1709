use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::constants::{AF_INET, AF_INET6};

/// What identifies the packets of one direction of a connection.
///
/// The reply's is not always the [inverse](Self::inverse) of the original's: where it is not, addresses are translated (NAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "what to look up is built literally")]
pub struct Tuple {
    /// Where its packets are from.
    pub src: IpAddr,
    /// Where its packets go to: an address of the same family.
    pub dst: IpAddr,
    /// The protocol above IP.
    pub protocol: Protocol,
    /// What the protocol adds.
    pub transport: Transport,
    /// The zone of this direction alone; 0 if it has none.
    pub zone: u16,
}

/// What a protocol adds to two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, UDP, UDP-Lite, SCTP and DCCP; GRE, whose keys these are.
    #[expect(missing_docs, reason = "their names say it")]
    Ports { src: u16, dst: u16 },
    /// ICMP and ICMPv6: the identifier, type and code.
    #[expect(missing_docs, reason = "their names say it")]
    Icmp { id: u16, kind: u8, code: u8 },
    /// A protocol of which the kernel knows no more.
    None,
}

/// The number of a protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "any number is one")]
pub struct Protocol(pub u8);

impl Tuple {
    /// A tuple of a protocol that has ports, without a zone.
    pub const fn with_ports(protocol: Protocol, src: SocketAddr, dst: SocketAddr) -> Self {
        let transport = Transport::Ports { src: src.port(), dst: dst.port() };
        Self { src: src.ip(), dst: dst.ip(), protocol, transport, zone: 0 }
    }

    /// The tuple of the answers to this, if no address is translated.
    #[must_use]
    pub const fn inverse(&self) -> Self {
        let transport = match self.transport {
            Transport::Ports { src, dst } => Transport::Ports { src: dst, dst: src },
            Transport::Icmp { id, kind, code } => Transport::Icmp { id, kind: answer(self.protocol, kind), code },
            Transport::None => Transport::None,
        };
        Self { src: self.dst, dst: self.src, protocol: self.protocol, transport, zone: self.zone }
    }

    pub(super) const NONE: Self = Self {
        src: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        protocol: Protocol(0),
        transport: Transport::None,
        zone: 0,
    };

    /// Of the source; the destination's is the same in every tuple that was parsed.
    pub(super) const fn family(&self) -> u8 {
        match self.src {
            IpAddr::V4(_) => AF_INET,
            IpAddr::V6(_) => AF_INET6,
        }
    }
}

/// The type of the answer to an ICMP message: RFC 792, 950, 4443, 4620; as in the kernel's `invmap`.
const fn answer(protocol: Protocol, kind: u8) -> u8 {
    match (protocol, kind) {
        (Protocol::ICMP, 0) => 8,
        (Protocol::ICMP, 8) => 0,
        (Protocol::ICMP, 13 | 15 | 17) | (Protocol::ICMPV6, 139) => kind + 1,
        (Protocol::ICMP, 14 | 16 | 18) | (Protocol::ICMPV6, 140) => kind - 1,
        (Protocol::ICMPV6, 128) => 129,
        (Protocol::ICMPV6, 129) => 128,
        (_, kind) => kind,
    }
}

/// As `conntrack -L` shows it: `src=10.0.0.1 dst=10.0.0.2 sport=4711 dport=80`.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src={} dst={}", self.src, self.dst)?;
        match self.transport {
            Transport::Ports { src, dst } if self.protocol == Protocol::GRE => {
                write!(f, " srckey={src:#x} dstkey={dst:#x}")?;
            }
            Transport::Ports { src, dst } => write!(f, " sport={src} dport={dst}")?,
            Transport::Icmp { id, kind, code } => write!(f, " type={kind} code={code} id={id}")?,
            Transport::None => {}
        }
        match self.zone {
            0 => Ok(()),
            zone => write!(f, " zone={zone}"),
        }
    }
}

#[expect(missing_docs, reason = "their names say it")]
impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const DCCP: Self = Self(33);
    pub const GRE: Self = Self(47);
    pub const ICMPV6: Self = Self(58);
    pub const SCTP: Self = Self(132);
    pub const UDPLITE: Self = Self(136);
}

/// Its name, or its number if it has none here.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match *self {
            Self::ICMP => "icmp",
            Self::TCP => "tcp",
            Self::UDP => "udp",
            Self::DCCP => "dccp",
            Self::GRE => "gre",
            Self::ICMPV6 => "icmpv6",
            Self::SCTP => "sctp",
            Self::UDPLITE => "udplite",
            Self(number) => return fmt::Display::fmt(&number, f),
        })
    }
}
