use std::net::IpAddr;

use crate::wire::{Connection, Protocol, Status, Transport, Tuple};

/// Which connections are wanted: those that have everything that was asked for. The default asks for nothing, and so wants all.
///
/// ```
/// use podtrail_conntrack::Filter;
/// use podtrail_conntrack::wire::{Connection, Protocol, Tuple};
///
/// let filter = Filter::default().protocol(Protocol::TCP).original_dst_port(80);
/// let original = Tuple::with_ports(Protocol::TCP, "10.0.0.1:4711".parse()?, "10.0.0.2:80".parse()?);
/// assert!(filter.matches(&Connection::new(original, original.inverse())));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    family: Option<Family>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) original: Ends,
    pub(crate) reply: Ends,
    address: Option<IpAddr>,
    port: Option<u16>,
    pub(crate) zone: Option<u16>,
    pub(crate) mark: Option<Masked>,
    pub(crate) status: Option<Masked>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the kernel tracks connections of these two")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What is asked of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    pub(crate) src_port: Option<u16>,
    pub(crate) dst_port: Option<u16>,
}

/// A value of some bits: those that are set in the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Masked {
    pub(crate) value: u32,
    pub(crate) mask: u32,
}

/// Each method asks for one thing more, or for another value of what was asked before.
impl Filter {
    /// Asks for a family of addresses.
    #[must_use]
    pub const fn family(self, family: Family) -> Self {
        Self { family: Some(family), ..self }
    }

    /// Asks for a protocol.
    #[must_use]
    pub const fn protocol(self, protocol: Protocol) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Asks for the source's address in the original direction.
    #[must_use]
    pub const fn original_src(self, address: IpAddr) -> Self {
        Self { original: Ends { src: Some(address), ..self.original }, ..self }
    }

    /// Asks for the destination's address in the original direction.
    #[must_use]
    pub const fn original_dst(self, address: IpAddr) -> Self {
        Self { original: Ends { dst: Some(address), ..self.original }, ..self }
    }

    /// Asks for the source's port in the original direction.
    #[must_use]
    pub const fn original_src_port(self, port: u16) -> Self {
        Self { original: Ends { src_port: Some(port), ..self.original }, ..self }
    }

    /// Asks for the destination's port in the original direction.
    #[must_use]
    pub const fn original_dst_port(self, port: u16) -> Self {
        Self { original: Ends { dst_port: Some(port), ..self.original }, ..self }
    }

    /// Asks for the source's address in the reply's direction: who answers, behind a translation.
    #[must_use]
    pub const fn reply_src(self, address: IpAddr) -> Self {
        Self { reply: Ends { src: Some(address), ..self.reply }, ..self }
    }

    /// Asks for the destination's address in the reply's direction.
    #[must_use]
    pub const fn reply_dst(self, address: IpAddr) -> Self {
        Self { reply: Ends { dst: Some(address), ..self.reply }, ..self }
    }

    /// Asks for the source's port in the reply's direction.
    #[must_use]
    pub const fn reply_src_port(self, port: u16) -> Self {
        Self { reply: Ends { src_port: Some(port), ..self.reply }, ..self }
    }

    /// Asks for the destination's port in the reply's direction.
    #[must_use]
    pub const fn reply_dst_port(self, port: u16) -> Self {
        Self { reply: Ends { dst_port: Some(port), ..self.reply }, ..self }
    }

    /// Asks for an address that may be any of the four.
    #[must_use]
    pub const fn address(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Asks for a port that may be any of the four. The keys of GRE are its ports.
    #[must_use]
    pub const fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Asks for a zone, of both directions or of either; 0 is no zone.
    #[must_use]
    pub const fn zone(self, zone: u16) -> Self {
        Self { zone: Some(zone), ..self }
    }

    /// Asks for a mark that is `value` in the bits of `mask`.
    #[must_use]
    pub const fn mark(self, value: u32, mask: u32) -> Self {
        Self { mark: Some(Masked { value: value & mask, mask }), ..self }
    }

    /// Asks for a status that is `value` in the bits of `mask`.
    #[must_use]
    pub const fn status(self, value: Status, mask: Status) -> Self {
        Self { status: Some(Masked { value: value.0 & mask.0, mask: mask.0 }), ..self }
    }

    /// Whether a connection has everything that was asked for. A mark that the kernel does not say is 0.
    pub fn matches(&self, connection: &Connection<'_>) -> bool {
        let Connection { original, reply, .. } = connection;
        self.family.is_none_or(|family| family == Family::of(original.src))
            && self.protocol.is_none_or(|protocol| protocol == original.protocol)
            && self.original.matches(original)
            && self.reply.matches(reply)
            && self.address.is_none_or(|a| [original.src, original.dst, reply.src, reply.dst].contains(&a))
            && self.port.is_none_or(|port| has_port(original, port) || has_port(reply, port))
            && self.zone.is_none_or(|zone| zone == zone_of(connection))
            && self.mark.is_none_or(|mark| mark.matches(connection.mark.unwrap_or_default()))
            && self.status.is_none_or(|status| status.matches(connection.status.unwrap_or_default().0))
    }

    /// The family that was asked for, or that of an address that was.
    pub(crate) fn known_family(&self) -> Option<Family> {
        let Self { original, reply, .. } = self;
        let address = [original.src, original.dst, reply.src, reply.dst, self.address].into_iter().flatten().next();
        self.family.or_else(|| address.map(Family::of))
    }
}

/// What a kernel may be asked for.
#[cfg(target_os = "linux")]
impl Filter {
    /// What the kernel is to be asked for instead of this, one after the other: it compares tuples of a known family only.
    pub(crate) fn by_family(self) -> (Self, Option<Self>) {
        if self.protocol.is_some() && self.known_family().is_none() {
            (self.family(Family::V4), Some(self.family(Family::V6)))
        } else {
            (self, None)
        }
    }

    /// What every kernel understands.
    pub(crate) fn family_only(&self) -> Self {
        Self { family: self.known_family(), ..Self::default() }
    }

    pub(crate) fn asks_for_reply(&self) -> bool {
        self.reply != Ends::default()
    }

    pub(crate) fn without_reply(self) -> Self {
        Self { family: self.known_family(), reply: Ends::default(), ..self }
    }
}

impl Family {
    const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Ends {
    fn matches(&self, tuple: &Tuple) -> bool {
        let (src_port, dst_port) = ports(tuple);
        self.src.is_none_or(|src| src == tuple.src)
            && self.dst.is_none_or(|dst| dst == tuple.dst)
            && (self.src_port.is_none() || self.src_port == src_port)
            && (self.dst_port.is_none() || self.dst_port == dst_port)
    }
}

impl Masked {
    const fn matches(self, value: u32) -> bool {
        value & self.mask == self.value
    }
}

fn has_port(tuple: &Tuple, port: u16) -> bool {
    let (src, dst) = ports(tuple);
    src == Some(port) || dst == Some(port)
}

const fn ports(tuple: &Tuple) -> (Option<u16>, Option<u16>) {
    match tuple.transport {
        Transport::Ports { src, dst } => (Some(src), Some(dst)),
        _ => (None, None),
    }
}

/// A connection has one zone in the kernel, which is of both directions or of one.
const fn zone_of(connection: &Connection<'_>) -> u16 {
    match (connection.zone, connection.original.zone, connection.reply.zone) {
        (0, 0, zone) | (0, zone, _) | (zone, _, _) => zone,
    }
}
