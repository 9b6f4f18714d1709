use std::net::IpAddr;

use super::attribute::align;
use super::connection::{Connection, Counters};
use super::constants::*;
use super::malformed::{Malformed, MalformedKind};
use super::message::conntrack;
use super::tuple::{Protocol, Transport, Tuple};
use crate::Filter;
use crate::filter::{Ends, Family};

type Result<T> = std::result::Result<T, Malformed>;

/// Room for any request about a connection whose helper and labels are the kernel's: names and labels have up to 16 bytes.
pub const REQUEST_ROOM: usize = 1024;

/// Asks for a dump of the connections that match a filter; [`Done`](super::Kind::Done) ends the answer.
///
/// What comes must be [matched](Filter::matches) again. A kernel ignores what it does not know, and is not asked for what it cannot
/// do: any of four addresses or ports, ports without a protocol, protocols and ports without a family, addresses of IPv6. Kernels
/// may refuse with an [`Error`](super::Kind::Error) what they were built without. What is asked of the reply's direction they
/// must be known to do: see [`dump_of_half_a_reply`].
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn dump<'b>(buffer: &'b mut [u8], sequence: u32, filter: &Filter) -> Result<&'b [u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, family(filter), |out| out.filter(filter))
}

/// Asks for what the kernel must refuse with `EINVAL`: to match a part of the reply's tuple that is not there.
///
/// Kernels that filter replies by what is asked of the original direction accept it, as do those that do not filter at all; the
/// former must not be asked for replies.
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn dump_of_half_a_reply(buffer: &mut [u8], sequence: u32) -> Result<&[u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, AF_INET, |out| {
        out.nested(CTA_TUPLE_REPLY, |_| Ok(()))?;
        out.nested(CTA_FILTER, |out| out.attribute(CTA_FILTER_REPLY_FLAGS, &CTA_FILTER_IP_SRC.to_ne_bytes()))
    })
}

/// Asks for a dump of the connections that ended and that not all listeners to events could be told of yet;
/// [`Done`](super::Kind::Done) ends the answer.
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn dying(buffer: &mut [u8], sequence: u32) -> Result<&[u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET_DYING, NLM_F_REQUEST | NLM_F_DUMP, sequence, AF_UNSPEC, |_| Ok(()))
}

/// Asks how full the table is. The answer is for [`Stats::add`](super::Stats::add), and an [`Error`](super::Kind::Error) that says 0
/// comes after it.
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn stats(buffer: &mut [u8], sequence: u32) -> Result<&[u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET_STATS, NLM_F_REQUEST | NLM_F_ACK, sequence, AF_UNSPEC, |_| Ok(()))
}

/// Asks for what each CPU has counted. The answers are for [`Stats::add`](super::Stats::add); [`Done`](super::Kind::Done) ends them.
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn stats_cpu(buffer: &mut [u8], sequence: u32) -> Result<&[u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_REQUEST | NLM_F_DUMP, sequence, AF_UNSPEC, |_| Ok(()))
}

/// Asks for the connection of which `tuple` is one direction. The answer is it, or an [`Error`](super::Kind::Error).
///
/// # Errors
///
/// If it does not fit into `buffer`, or the tuple contradicts itself.
pub fn get<'b>(buffer: &'b mut [u8], sequence: u32, tuple: &Tuple, zone: u16) -> Result<&'b [u8]> {
    encode(buffer, IPCTNL_MSG_CT_GET, NLM_F_REQUEST, sequence, tuple.family(), |out| {
        out.tuple(CTA_TUPLE_ORIG, tuple)?;
        out.zone(CTA_ZONE, zone)
    })
}

/// Asks to insert a connection, which must have a timeout; fails if it is there. The answer is an [`Error`](super::Kind::Error).
///
/// The kernel takes neither counters nor times; it gives the id.
///
/// # Errors
///
/// If it does not fit into `buffer`, or a tuple contradicts itself.
pub fn insert<'b>(buffer: &'b mut [u8], sequence: u32, connection: &Connection<'_>) -> Result<&'b [u8]> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let family = connection.original.family();
    encode(buffer, IPCTNL_MSG_CT_NEW, flags, sequence, family, |out| out.connection(connection))
}

/// Asks to delete the connection of which `tuple` is one direction, if its id is `id`. The answer is an
/// [`Error`](super::Kind::Error).
///
/// # Errors
///
/// If it does not fit into `buffer`, or the tuple contradicts itself.
pub fn delete<'b>(buffer: &'b mut [u8], sequence: u32, tuple: &Tuple, zone: u16, id: Option<u32>) -> Result<&'b [u8]> {
    encode(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, tuple.family(), |out| {
        out.tuple(CTA_TUPLE_ORIG, tuple)?;
        out.zone(CTA_ZONE, zone)?;
        out.optional(CTA_ID, id.map(u32::to_be_bytes))
    })
}

/// Asks to delete all connections of the namespace. The answer is an [`Error`](super::Kind::Error).
///
/// # Errors
///
/// If it does not fit into `buffer`.
pub fn flush(buffer: &mut [u8], sequence: u32) -> Result<&[u8]> {
    encode(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, AF_UNSPEC, |_| Ok(()))
}

fn encode(
    buffer: &mut [u8],
    operation: u8,
    flags: u16,
    sequence: u32,
    family: u8,
    attributes: impl FnOnce(&mut Encoder<'_>) -> Result<()>,
) -> Result<&[u8]> {
    // So that each length in it fits into the two bytes of an attribute's.
    let room = buffer.len().min(usize::from(u16::MAX));
    let mut out = Encoder { buffer: &mut buffer[..room], length: 0 };
    out.bytes(&[0; 4])?;
    out.bytes(&conntrack(operation).to_ne_bytes())?;
    out.bytes(&flags.to_ne_bytes())?;
    out.bytes(&sequence.to_ne_bytes())?;
    out.bytes(&[0; 4])?;
    out.bytes(&[family, 0, 0, 0])?;
    attributes(&mut out)?;
    let length = out.length;
    let wire_length = u32::try_from(length).expect("the room is cut to 16 bits").to_ne_bytes();
    buffer[..wire_length.len()].copy_from_slice(&wire_length);
    Ok(&buffer[..length])
}

fn family(filter: &Filter) -> u8 {
    match filter.known_family() {
        None => AF_UNSPEC,
        Some(Family::V4) => AF_INET,
        Some(Family::V6) => AF_INET6,
    }
}

struct Encoder<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl Encoder<'_> {
    fn connection(&mut self, connection: &Connection<'_>) -> Result<()> {
        if connection.reply.family() != connection.original.family() {
            return Err(Malformed::new(MalformedKind::Contradiction, "CTA_TUPLE_REPLY"));
        }
        self.tuple(CTA_TUPLE_ORIG, &connection.original)?;
        self.tuple(CTA_TUPLE_REPLY, &connection.reply)?;
        self.optional(CTA_STATUS, connection.status.map(|status| status.0.to_be_bytes()))?;
        self.optional(CTA_TIMEOUT, connection.timeout.map(u32::to_be_bytes))?;
        self.optional(CTA_MARK, connection.mark.map(u32::to_be_bytes))?;
        self.counters(CTA_COUNTERS_ORIG, connection.original_counters)?;
        self.counters(CTA_COUNTERS_REPLY, connection.reply_counters)?;
        if connection.start.is_some() || connection.stop.is_some() {
            self.nested(CTA_TIMESTAMP, |out| {
                out.optional(CTA_TIMESTAMP_START, connection.start.map(u64::to_be_bytes))?;
                out.optional(CTA_TIMESTAMP_STOP, connection.stop.map(u64::to_be_bytes))
            })?;
        }
        if let Some(state) = connection.tcp_state {
            self.nested(CTA_PROTOINFO, |out| {
                out.nested(CTA_PROTOINFO_TCP, |out| out.attribute(CTA_PROTOINFO_TCP_STATE, &[state.0]))
            })?;
        }
        if let Some(helper) = connection.helper {
            self.nested(CTA_HELP, |out| out.name(CTA_HELP_NAME, helper))?;
        }
        if let Some(labels) = connection.labels {
            self.attribute(CTA_LABELS, labels)?;
        }
        self.optional(CTA_ID, connection.id.map(u32::to_be_bytes))?;
        self.zone(CTA_ZONE, connection.zone)
    }

    fn filter(&mut self, filter: &Filter) -> Result<()> {
        self.optional(CTA_ZONE, filter.zone.map(u16::to_be_bytes))?;
        if let Some(mark) = filter.mark {
            self.attribute(CTA_MARK, &mark.value.to_be_bytes())?;
            self.attribute(CTA_MARK_MASK, &mark.mask.to_be_bytes())?;
        }
        // The kernel refuses an empty mask of this one.
        if let Some(status) = filter.status.filter(|status| status.mask != 0) {
            self.attribute(CTA_STATUS, &status.value.to_be_bytes())?;
            self.attribute(CTA_STATUS_MASK, &status.mask.to_be_bytes())?;
        }
        if filter.known_family().is_none() {
            return Ok(());
        }
        let original = self.part_of_tuple(CTA_TUPLE_ORIG, filter.protocol, &filter.original)?;
        let reply = self.part_of_tuple(CTA_TUPLE_REPLY, filter.protocol, &filter.reply)?;
        if original | reply == 0 {
            return Ok(());
        }
        self.nested(CTA_FILTER, |out| {
            // These are not in the order of the network.
            out.attribute(CTA_FILTER_ORIG_FLAGS, &original.to_ne_bytes())?;
            out.attribute(CTA_FILTER_REPLY_FLAGS, &reply.to_ne_bytes())
        })
    }

    /// Writes what is asked of a direction, and says what that is, as bits.
    fn part_of_tuple(&mut self, id: u16, protocol: Option<Protocol>, ends: &Ends) -> Result<u32> {
        // Every kernel that has this filter, up to 6.18 at least, takes the connections that do not have an address of IPv6
        // (ctnetlink_filter_match_tuple).
        let v4 = |address| match address {
            Some(IpAddr::V4(address)) => Some(address.octets()),
            _ => None,
        };
        let (src, dst) = (v4(ends.src), v4(ends.dst));
        let port = |port: Option<u16>| port.filter(|_| protocol.is_some()).map(u16::to_be_bytes);
        let (src_port, dst_port) = (port(ends.src_port), port(ends.dst_port));
        // Both directions have one protocol: asking for it once is enough.
        let has_protocol = protocol.filter(|_| id == CTA_TUPLE_ORIG || src_port.or(dst_port).is_some());
        let parts = [
            (src.is_some(), CTA_FILTER_IP_SRC),
            (dst.is_some(), CTA_FILTER_IP_DST),
            (has_protocol.is_some(), CTA_FILTER_PROTO_NUM),
            (src_port.is_some(), CTA_FILTER_PROTO_SRC_PORT),
            (dst_port.is_some(), CTA_FILTER_PROTO_DST_PORT),
        ];
        let flags = parts.iter().filter(|(is_there, _)| *is_there).fold(0, |flags, (_, bit)| flags | bit);
        if flags == 0 {
            return Ok(0);
        }
        self.nested(id, |out| {
            out.nested(CTA_TUPLE_IP, |out| {
                out.optional(CTA_IP_V4_SRC, src)?;
                out.optional(CTA_IP_V4_DST, dst)
            })?;
            out.nested(CTA_TUPLE_PROTO, |out| {
                out.optional(CTA_PROTO_NUM, has_protocol.map(|protocol| [protocol.0]))?;
                out.optional(CTA_PROTO_SRC_PORT, src_port)?;
                out.optional(CTA_PROTO_DST_PORT, dst_port)
            })
        })?;
        Ok(flags)
    }

    fn tuple(&mut self, id: u16, tuple: &Tuple) -> Result<()> {
        self.nested(id, |out| {
            out.nested(CTA_TUPLE_IP, |out| match (tuple.src, tuple.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    out.attribute(CTA_IP_V4_SRC, &src.octets())?;
                    out.attribute(CTA_IP_V4_DST, &dst.octets())
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    out.attribute(CTA_IP_V6_SRC, &src.octets())?;
                    out.attribute(CTA_IP_V6_DST, &dst.octets())
                }
                _ => Err(Malformed::new(MalformedKind::Contradiction, "CTA_TUPLE_IP")),
            })?;
            out.nested(CTA_TUPLE_PROTO, |out| {
                out.attribute(CTA_PROTO_NUM, &[tuple.protocol.0])?;
                out.transport(tuple)
            })?;
            out.zone(CTA_TUPLE_ZONE, tuple.zone)
        })
    }

    fn transport(&mut self, tuple: &Tuple) -> Result<()> {
        match (tuple.transport, tuple.protocol) {
            (Transport::Ports { src, dst }, protocol) if !matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) => {
                self.attribute(CTA_PROTO_SRC_PORT, &src.to_be_bytes())?;
                self.attribute(CTA_PROTO_DST_PORT, &dst.to_be_bytes())
            }
            (Transport::Icmp { id, kind, code }, Protocol::ICMP) => {
                self.attribute(CTA_PROTO_ICMP_ID, &id.to_be_bytes())?;
                self.attribute(CTA_PROTO_ICMP_TYPE, &[kind])?;
                self.attribute(CTA_PROTO_ICMP_CODE, &[code])
            }
            (Transport::Icmp { id, kind, code }, Protocol::ICMPV6) => {
                self.attribute(CTA_PROTO_ICMPV6_ID, &id.to_be_bytes())?;
                self.attribute(CTA_PROTO_ICMPV6_TYPE, &[kind])?;
                self.attribute(CTA_PROTO_ICMPV6_CODE, &[code])
            }
            (Transport::None, protocol)
                if !matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMP | Protocol::ICMPV6) =>
            {
                Ok(())
            }
            _ => Err(Malformed::new(MalformedKind::Contradiction, "CTA_TUPLE_PROTO")),
        }
    }

    fn counters(&mut self, id: u16, counters: Option<Counters>) -> Result<()> {
        let Some(counters) = counters else { return Ok(()) };
        self.nested(id, |out| {
            out.attribute(CTA_COUNTERS_PACKETS, &counters.packets.to_be_bytes())?;
            out.attribute(CTA_COUNTERS_BYTES, &counters.bytes.to_be_bytes())
        })
    }

    /// The default zone has no attribute.
    fn zone(&mut self, id: u16, zone: u16) -> Result<()> {
        self.optional(id, (zone != 0).then_some(zone.to_be_bytes()))
    }

    fn optional<const N: usize>(&mut self, id: u16, value: Option<[u8; N]>) -> Result<()> {
        value.map_or(Ok(()), |value| self.attribute(id, &value))
    }

    fn attribute(&mut self, id: u16, value: &[u8]) -> Result<()> {
        self.enclose(id, |out| out.bytes(value))
    }

    fn name(&mut self, id: u16, name: &[u8]) -> Result<()> {
        self.enclose(id, |out| {
            out.bytes(name)?;
            out.bytes(&[0])
        })
    }

    fn nested(&mut self, id: u16, inside: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.enclose(id | NLA_F_NESTED, inside)
    }

    fn enclose(&mut self, id: u16, inside: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let start = self.length;
        self.bytes(&[0; 2])?;
        self.bytes(&id.to_ne_bytes())?;
        inside(self)?;
        let length = u16::try_from(self.length - start).expect("the room is cut to 16 bits").to_ne_bytes();
        self.buffer[start..start + length.len()].copy_from_slice(&length);
        self.bytes(&[0; 3][..align(self.length) - self.length])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.length.saturating_add(bytes.len());
        let Some(room) = self.buffer.get_mut(self.length..end) else {
            return Err(Malformed::new(MalformedKind::NoRoom, "request"));
        };
        room.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}
