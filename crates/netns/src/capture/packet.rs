use std::net::IpAddr;

use super::endpoints;

/// What a packet's bytes begin with: a number of the registry of link-layer types (draft-ietf-opsawg-pcaplinktype).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "any number may be one")]
pub struct LinkType(pub u16);

impl LinkType {
    /// An Ethernet header.
    pub const ETHERNET: Self = Self(1);
    /// An IP header of either version.
    pub const RAW: Self = Self(101);
    /// Linux's "cooked" header, of a capture on the device `any`.
    pub const LINUX_SLL: Self = Self(113);
    /// An IPv4 header.
    pub const IPV4: Self = Self(228);
    /// An IPv6 header.
    pub const IPV6: Self = Self(229);
    /// Linux's "cooked" header, the second version.
    pub const LINUX_SLL2: Self = Self(276);
}

/// Which way a packet went, seen from the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Direction {
    /// It was received, or it was for somebody else and is seen because the interface is promiscuous.
    In,
    /// It was sent.
    Out,
}

/// A packet that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// When it passed the interface: nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    /// The index of the interface in its namespace.
    pub interface: u32,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// Which way it went.
    pub direction: Direction,
    /// How long it was; more than there is of it if it was cut off.
    pub original_length: u32,
    /// Its bytes, from the link layer's header on; a VLAN tag that a device or the kernel took out is back in its place.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A whole packet that was received.
    pub const fn new(time: i64, interface: u32, link_type: LinkType, data: &'a [u8]) -> Self {
        let original_length = if data.len() > u32::MAX as usize { u32::MAX } else { data.len() as u32 };
        Self { time, interface, link_type, direction: Direction::In, original_length, data }
    }

    /// Its source and destination, as [`endpoints`] finds them.
    pub fn endpoints(&self) -> Option<(IpAddr, IpAddr)> {
        endpoints(self.link_type, self.data)
    }
}

/// A network interface of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name when it was looked at.
    pub name: String,
    /// What its packets begin with; `None` if it is of a type that cannot be captured.
    pub link_type: Option<LinkType>,
}

impl Interface {
    /// One that is known from elsewhere.
    pub fn new(index: u32, name: impl Into<String>, link_type: Option<LinkType>) -> Self {
        Self { index, name: name.into(), link_type }
    }
}
