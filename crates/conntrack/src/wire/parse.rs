use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Attributes};
use super::connection::{Connection, Counters, Status, TcpState};
use super::constants::*;
use super::malformed::{Malformed, MalformedKind};
use super::tuple::{Protocol, Transport, Tuple};

type Result<T> = std::result::Result<T, Malformed>;

/// Parses what follows the `nfgenmsg` of a connection. Of an attribute that is there twice the last one counts, as in the kernel.
pub(super) fn connection(family: u8, attributes: &[u8]) -> Result<Connection<'_>> {
    let mut connection = Connection::new(Tuple::NONE, Tuple::NONE);
    let (mut has_original, mut has_reply) = (false, false);
    for attribute in Attributes::new(attributes, "ctattr_type") {
        let attribute = attribute?;
        match attribute.id {
            CTA_TUPLE_ORIG => {
                connection.original = tuple(attribute.nested("CTA_TUPLE_ORIG"))?;
                has_original = true;
            }
            CTA_TUPLE_REPLY => {
                connection.reply = tuple(attribute.nested("CTA_TUPLE_REPLY"))?;
                has_reply = true;
            }
            _ => property(&mut connection, attribute)?,
        }
    }
    let (original, reply) = (connection.original, connection.reply);
    if !has_original {
        Err(missing("CTA_TUPLE_ORIG"))
    } else if !has_reply {
        Err(missing("CTA_TUPLE_REPLY"))
    } else if family != original.family() {
        Err(contradiction("nfgen_family"))
    } else if reply.family() != original.family() || reply.protocol != original.protocol {
        Err(contradiction("CTA_TUPLE_REPLY"))
    } else {
        Ok(connection)
    }
}

fn property<'a>(connection: &mut Connection<'a>, attribute: Attribute<'a>) -> Result<()> {
    match attribute.id {
        CTA_STATUS => connection.status = Some(Status(attribute.u32("CTA_STATUS")?)),
        CTA_PROTOINFO => connection.tcp_state = tcp_state(attribute)?,
        CTA_HELP => connection.helper = helper(attribute)?,
        CTA_TIMEOUT => connection.timeout = Some(attribute.u32("CTA_TIMEOUT")?),
        CTA_MARK => connection.mark = Some(attribute.u32("CTA_MARK")?),
        CTA_COUNTERS_ORIG => connection.original_counters = Some(counters(attribute.nested("CTA_COUNTERS_ORIG"))?),
        CTA_COUNTERS_REPLY => connection.reply_counters = Some(counters(attribute.nested("CTA_COUNTERS_REPLY"))?),
        CTA_ID => connection.id = Some(attribute.u32("CTA_ID")?),
        CTA_ZONE => connection.zone = attribute.u16("CTA_ZONE")?,
        CTA_TIMESTAMP => {
            for attribute in attribute.nested("CTA_TIMESTAMP") {
                let attribute = attribute?;
                match attribute.id {
                    CTA_TIMESTAMP_START => connection.start = Some(attribute.u64("CTA_TIMESTAMP_START")?),
                    CTA_TIMESTAMP_STOP => connection.stop = Some(attribute.u64("CTA_TIMESTAMP_STOP")?),
                    _ => {}
                }
            }
        }
        CTA_LABELS => connection.labels = Some(attribute.value),
        _ => {}
    }
    Ok(())
}

fn tuple(attributes: Attributes<'_>) -> Result<Tuple> {
    let mut addresses = None;
    let mut protocol = None;
    let mut zone = 0;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.id {
            CTA_TUPLE_IP => addresses = Some(ip(attribute)?),
            CTA_TUPLE_PROTO => protocol = Some(transport(attribute)?),
            CTA_TUPLE_ZONE => zone = attribute.u16("CTA_TUPLE_ZONE")?,
            _ => {}
        }
    }
    let Some((src, dst)) = addresses else { return Err(missing("CTA_TUPLE_IP")) };
    let Some((protocol, transport)) = protocol else { return Err(missing("CTA_TUPLE_PROTO")) };
    Ok(Tuple { src, dst, protocol, transport, zone })
}

fn ip(attribute: Attribute<'_>) -> Result<(IpAddr, IpAddr)> {
    let (mut src, mut dst) = (None, None);
    for attribute in attribute.nested("CTA_TUPLE_IP") {
        let attribute = attribute?;
        match attribute.id {
            CTA_IP_V4_SRC => src = Some(IpAddr::V4(Ipv4Addr::from_bits(attribute.u32("CTA_IP_V4_SRC")?))),
            CTA_IP_V4_DST => dst = Some(IpAddr::V4(Ipv4Addr::from_bits(attribute.u32("CTA_IP_V4_DST")?))),
            CTA_IP_V6_SRC => src = Some(IpAddr::V6(Ipv6Addr::from_bits(attribute.u128("CTA_IP_V6_SRC")?))),
            CTA_IP_V6_DST => dst = Some(IpAddr::V6(Ipv6Addr::from_bits(attribute.u128("CTA_IP_V6_DST")?))),
            _ => {}
        }
    }
    match (src, dst) {
        (Some(src), Some(dst)) if src.is_ipv4() == dst.is_ipv4() => Ok((src, dst)),
        (Some(_), Some(_)) => Err(contradiction("CTA_TUPLE_IP")),
        _ => Err(missing("CTA_TUPLE_IP")),
    }
}

fn transport(attribute: Attribute<'_>) -> Result<(Protocol, Transport)> {
    let mut protocol = None;
    let (mut src, mut dst) = (None, None);
    // Identifier, type and code, for ICMP and for ICMPv6.
    let mut icmp = (None, None, None);
    let mut icmpv6 = (None, None, None);
    for attribute in attribute.nested("CTA_TUPLE_PROTO") {
        let attribute = attribute?;
        match attribute.id {
            CTA_PROTO_NUM => protocol = Some(Protocol(attribute.u8("CTA_PROTO_NUM")?)),
            CTA_PROTO_SRC_PORT => src = Some(attribute.u16("CTA_PROTO_SRC_PORT")?),
            CTA_PROTO_DST_PORT => dst = Some(attribute.u16("CTA_PROTO_DST_PORT")?),
            CTA_PROTO_ICMP_ID => icmp.0 = Some(attribute.u16("CTA_PROTO_ICMP_ID")?),
            CTA_PROTO_ICMP_TYPE => icmp.1 = Some(attribute.u8("CTA_PROTO_ICMP_TYPE")?),
            CTA_PROTO_ICMP_CODE => icmp.2 = Some(attribute.u8("CTA_PROTO_ICMP_CODE")?),
            CTA_PROTO_ICMPV6_ID => icmpv6.0 = Some(attribute.u16("CTA_PROTO_ICMPV6_ID")?),
            CTA_PROTO_ICMPV6_TYPE => icmpv6.1 = Some(attribute.u8("CTA_PROTO_ICMPV6_TYPE")?),
            CTA_PROTO_ICMPV6_CODE => icmpv6.2 = Some(attribute.u8("CTA_PROTO_ICMPV6_CODE")?),
            _ => {}
        }
    }
    let Some(protocol) = protocol else { return Err(missing("CTA_PROTO_NUM")) };
    let (mine, foreign) = match protocol {
        Protocol::ICMPV6 => (icmpv6, icmp),
        _ => (icmp, icmpv6),
    };
    const NO_ICMP: (Option<u16>, Option<u8>, Option<u8>) = (None, None, None);
    let transport = match (protocol, src, dst, mine) {
        _ if foreign != NO_ICMP => return Err(contradiction("CTA_PROTO_NUM")),
        (Protocol::ICMP | Protocol::ICMPV6, None, None, (Some(id), Some(kind), Some(code))) => {
            Transport::Icmp { id, kind, code }
        }
        (Protocol::ICMP | Protocol::ICMPV6, None, None, _) => return Err(missing("CTA_PROTO_ICMP_ID")),
        (Protocol::ICMP | Protocol::ICMPV6, ..) => return Err(contradiction("CTA_PROTO_NUM")),
        (_, Some(src), Some(dst), NO_ICMP) => Transport::Ports { src, dst },
        // A kernel may be built without what tracks the other protocols; it keeps their addresses only.
        (Protocol::TCP | Protocol::UDP, _, _, NO_ICMP) => return Err(missing("CTA_PROTO_SRC_PORT")),
        (_, None, None, NO_ICMP) => Transport::None,
        (_, _, _, NO_ICMP) => return Err(missing("CTA_PROTO_SRC_PORT")),
        _ => return Err(contradiction("CTA_PROTO_NUM")),
    };
    Ok((protocol, transport))
}

fn counters(attributes: Attributes<'_>) -> Result<Counters> {
    let (mut packets, mut bytes) = (None, None);
    // The kernel has not sent these since 2.6; where both are there, they are the lower halves.
    let (mut packets32, mut bytes32) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.id {
            CTA_COUNTERS_PACKETS => packets = Some(attribute.u64("CTA_COUNTERS_PACKETS")?),
            CTA_COUNTERS_BYTES => bytes = Some(attribute.u64("CTA_COUNTERS_BYTES")?),
            CTA_COUNTERS32_PACKETS => packets32 = Some(attribute.u32("CTA_COUNTERS32_PACKETS")?),
            CTA_COUNTERS32_BYTES => bytes32 = Some(attribute.u32("CTA_COUNTERS32_BYTES")?),
            _ => {}
        }
    }
    match (packets.or_else(|| packets32.map(u64::from)), bytes.or_else(|| bytes32.map(u64::from))) {
        (Some(packets), Some(bytes)) => Ok(Counters { packets, bytes }),
        (None, _) => Err(missing("CTA_COUNTERS_PACKETS")),
        (_, None) => Err(missing("CTA_COUNTERS_BYTES")),
    }
}

fn tcp_state(attribute: Attribute<'_>) -> Result<Option<TcpState>> {
    let mut state = None;
    for attribute in attribute.nested("CTA_PROTOINFO") {
        let attribute = attribute?;
        if attribute.id != CTA_PROTOINFO_TCP {
            continue;
        }
        for attribute in attribute.nested("CTA_PROTOINFO_TCP") {
            let attribute = attribute?;
            if attribute.id == CTA_PROTOINFO_TCP_STATE {
                state = Some(TcpState(attribute.u8("CTA_PROTOINFO_TCP_STATE")?));
            }
        }
    }
    Ok(state)
}

fn helper(attribute: Attribute<'_>) -> Result<Option<&[u8]>> {
    let mut name = None;
    for attribute in attribute.nested("CTA_HELP") {
        let attribute = attribute?;
        if attribute.id == CTA_HELP_NAME {
            // The kernel ends it with a NUL.
            name = attribute.value.split(|&byte| byte == 0).next();
        }
    }
    Ok(name)
}

const fn missing(part: &'static str) -> Malformed {
    Malformed::new(MalformedKind::Missing, part)
}

const fn contradiction(part: &'static str) -> Malformed {
    Malformed::new(MalformedKind::Contradiction, part)
}
