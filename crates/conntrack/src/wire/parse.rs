use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Attributes};
use super::connection::{Connection, Counters, Status, TcpState};
use super::constants::*;
use super::malformed::{Malformed, MalformedKind};
use super::tuple::{Protocol, Transport, Tuple};

type Result<T> = std::result::Result<T, Malformed>;

/// Parses what follows the `nfgenmsg` of a connection into one of which nothing is known yet. Of an attribute that is there twice
/// the last one counts, as in the kernel.
pub(super) fn fill<'a>(connection: &mut Connection<'a>, family: u8, attributes: &'a [u8]) -> Result<()> {
    let (mut has_original, mut has_reply) = (false, false);
    for attribute in Attributes::new(attributes, "ctattr_type") {
        let attribute = attribute?;
        match attribute.id {
            CTA_TUPLE_ORIG => {
                fill_tuple(&mut connection.original, attribute.nested("CTA_TUPLE_ORIG"))?;
                has_original = true;
            }
            CTA_TUPLE_REPLY => {
                fill_tuple(&mut connection.reply, attribute.nested("CTA_TUPLE_REPLY"))?;
                has_reply = true;
            }
            _ => property(connection, attribute)?,
        }
    }
    let (original, reply) = (&connection.original, &connection.reply);
    if !has_original {
        Err(missing("CTA_TUPLE_ORIG"))
    } else if !has_reply {
        Err(missing("CTA_TUPLE_REPLY"))
    } else if family != original.family() {
        Err(contradiction("nfgen_family"))
    } else if reply.family() != original.family() || reply.protocol != original.protocol {
        Err(contradiction("CTA_TUPLE_REPLY"))
    } else {
        Ok(())
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

fn fill_tuple(tuple: &mut Tuple, attributes: Attributes<'_>) -> Result<()> {
    let (mut has_addresses, mut has_protocol) = (false, false);
    tuple.zone = 0;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.id {
            CTA_TUPLE_IP => {
                fill_addresses(tuple, attribute)?;
                has_addresses = true;
            }
            CTA_TUPLE_PROTO => {
                (tuple.protocol, tuple.transport) = transport(attribute)?;
                has_protocol = true;
            }
            CTA_TUPLE_ZONE => tuple.zone = attribute.u16("CTA_TUPLE_ZONE")?,
            _ => {}
        }
    }
    match (has_addresses, has_protocol) {
        (false, _) => Err(missing("CTA_TUPLE_IP")),
        (_, false) => Err(missing("CTA_TUPLE_PROTO")),
        (true, true) => Ok(()),
    }
}

fn fill_addresses(tuple: &mut Tuple, attribute: Attribute<'_>) -> Result<()> {
    let (mut has_src, mut has_dst) = (false, false);
    for attribute in attribute.nested("CTA_TUPLE_IP") {
        let attribute = attribute?;
        match attribute.id {
            CTA_IP_V4_SRC => tuple.src = IpAddr::V4(Ipv4Addr::from_octets(attribute.array("CTA_IP_V4_SRC")?)),
            CTA_IP_V4_DST => tuple.dst = IpAddr::V4(Ipv4Addr::from_octets(attribute.array("CTA_IP_V4_DST")?)),
            CTA_IP_V6_SRC => tuple.src = IpAddr::V6(Ipv6Addr::from_octets(attribute.array("CTA_IP_V6_SRC")?)),
            CTA_IP_V6_DST => tuple.dst = IpAddr::V6(Ipv6Addr::from_octets(attribute.array("CTA_IP_V6_DST")?)),
            _ => continue,
        }
        has_src |= matches!(attribute.id, CTA_IP_V4_SRC | CTA_IP_V6_SRC);
        has_dst |= matches!(attribute.id, CTA_IP_V4_DST | CTA_IP_V6_DST);
    }
    if !(has_src && has_dst) {
        Err(missing("CTA_TUPLE_IP"))
    } else if tuple.src.is_ipv4() != tuple.dst.is_ipv4() {
        Err(contradiction("CTA_TUPLE_IP"))
    } else {
        Ok(())
    }
}

fn transport(attribute: Attribute<'_>) -> Result<(Protocol, Transport)> {
    // Of each attribute that is there, the bit with its number.
    let mut seen = 0;
    let mut protocol = Protocol(0);
    let (mut src, mut dst) = (0, 0);
    // Of ICMP or of ICMPv6: not of both.
    let (mut id, mut kind, mut code) = (0, 0, 0);
    for attribute in attribute.nested("CTA_TUPLE_PROTO") {
        let attribute = attribute?;
        match attribute.id {
            CTA_PROTO_NUM => protocol = Protocol(attribute.u8("CTA_PROTO_NUM")?),
            CTA_PROTO_SRC_PORT => src = attribute.u16("CTA_PROTO_SRC_PORT")?,
            CTA_PROTO_DST_PORT => dst = attribute.u16("CTA_PROTO_DST_PORT")?,
            CTA_PROTO_ICMP_ID => id = attribute.u16("CTA_PROTO_ICMP_ID")?,
            CTA_PROTO_ICMP_TYPE => kind = attribute.u8("CTA_PROTO_ICMP_TYPE")?,
            CTA_PROTO_ICMP_CODE => code = attribute.u8("CTA_PROTO_ICMP_CODE")?,
            CTA_PROTO_ICMPV6_ID => id = attribute.u16("CTA_PROTO_ICMPV6_ID")?,
            CTA_PROTO_ICMPV6_TYPE => kind = attribute.u8("CTA_PROTO_ICMPV6_TYPE")?,
            CTA_PROTO_ICMPV6_CODE => code = attribute.u8("CTA_PROTO_ICMPV6_CODE")?,
            _ => continue,
        }
        seen |= 1 << attribute.id;
    }
    const NUMBER: u16 = 1 << CTA_PROTO_NUM;
    const PORTS: u16 = 1 << CTA_PROTO_SRC_PORT | 1 << CTA_PROTO_DST_PORT;
    const ICMP: u16 = 1 << CTA_PROTO_ICMP_ID | 1 << CTA_PROTO_ICMP_TYPE | 1 << CTA_PROTO_ICMP_CODE;
    const ICMPV6: u16 = 1 << CTA_PROTO_ICMPV6_ID | 1 << CTA_PROTO_ICMPV6_TYPE | 1 << CTA_PROTO_ICMPV6_CODE;
    if seen & NUMBER == 0 {
        return Err(missing("CTA_PROTO_NUM"));
    }
    let transport = match (protocol, seen & !NUMBER) {
        (Protocol::ICMP, ICMP) | (Protocol::ICMPV6, ICMPV6) => Transport::Icmp { id, kind, code },
        (Protocol::ICMP, seen) if seen & !ICMP == 0 => return Err(missing("CTA_PROTO_ICMP_ID")),
        (Protocol::ICMPV6, seen) if seen & !ICMPV6 == 0 => return Err(missing("CTA_PROTO_ICMP_ID")),
        (Protocol::ICMP | Protocol::ICMPV6, _) => return Err(contradiction("CTA_PROTO_NUM")),
        (_, PORTS) => Transport::Ports { src, dst },
        (_, seen) if seen & !PORTS != 0 => return Err(contradiction("CTA_PROTO_NUM")),
        // A kernel may be built without what tracks the other protocols; it keeps their addresses only.
        (protocol, 0) if !matches!(protocol, Protocol::TCP | Protocol::UDP) => Transport::None,
        _ => return Err(missing("CTA_PROTO_SRC_PORT")),
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
