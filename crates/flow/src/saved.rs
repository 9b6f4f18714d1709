//! A connection as bytes, for whoever keeps the state of an account.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Connection, Counters, Direction, Identity};

const VERSION: u8 = 1;
const IS_V6: u8 = 1;
const HAS_START: u8 = 1 << 1;
const HAS_COUNTERS: u8 = 1 << 2;

/// 81 bytes with IPv4 addresses, 129 with IPv6 ones.
/// The namespace is left out: an account is of one.
pub(crate) fn encode(connection: &Connection, generation: u32) -> Vec<u8> {
    let Connection { identity, reply, counters, .. } = connection;
    let mut flags = 0;
    for (is_set, flag) in
        [(identity.src.is_ipv6(), IS_V6), (identity.start.is_some(), HAS_START), (counters.is_some(), HAS_COUNTERS)]
    {
        flags |= if is_set { flag } else { 0 };
    }
    let mut out = Vec::with_capacity(if identity.src.is_ipv6() { 129 } else { 81 });
    out.extend([VERSION, flags, identity.protocol]);
    for number in [
        identity.zone,
        identity.direction_zone,
        reply.zone,
        identity.ports.0,
        identity.ports.1,
        reply.ports.0,
        reply.ports.1,
    ] {
        out.extend(number.to_le_bytes());
    }
    for number in [identity.id, generation] {
        out.extend(number.to_le_bytes());
    }
    let total = counters.unwrap_or_default();
    let start = identity.start.unwrap_or_default();
    for number in [start, total.original_packets, total.original_bytes, total.reply_packets, total.reply_bytes] {
        out.extend(number.to_le_bytes());
    }
    for address in [identity.src, identity.dst, reply.src, reply.dst] {
        match address {
            IpAddr::V4(address) => out.extend(address.octets()),
            IpAddr::V6(address) => out.extend(address.octets()),
        }
    }
    out
}

/// The connection and its generation; `None` if that is not what the bytes are.
pub(crate) fn decode(bytes: &[u8], netns: u64) -> Option<(Connection, u32)> {
    let mut rest = Reader { rest: bytes };
    let [version, flags, protocol] = rest.take()?;
    if version != VERSION {
        return None;
    }
    let mut u16s = [0; 7];
    for number in &mut u16s {
        *number = u16::from_le_bytes(rest.take()?);
    }
    let [zone, direction_zone, reply_zone, src_port, dst_port, reply_src_port, reply_dst_port] = u16s;
    let [id, generation] = [u32::from_le_bytes(rest.take()?), u32::from_le_bytes(rest.take()?)];
    let mut u64s = [0; 5];
    for number in &mut u64s {
        *number = u64::from_le_bytes(rest.take()?);
    }
    let [start, original_packets, original_bytes, reply_packets, reply_bytes] = u64s;
    let is_v6 = flags & IS_V6 != 0;
    let [src, dst, reply_src, reply_dst] =
        [rest.address(is_v6)?, rest.address(is_v6)?, rest.address(is_v6)?, rest.address(is_v6)?];
    if !rest.rest.is_empty() {
        return None;
    }
    let start = (flags & HAS_START != 0).then_some(start);
    let ports = (src_port, dst_port);
    let identity = Identity { netns, zone, protocol, src, dst, ports, direction_zone, id, start };
    let reply = Direction { src: reply_src, dst: reply_dst, ports: (reply_src_port, reply_dst_port), zone: reply_zone };
    let total = Counters { original_packets, original_bytes, reply_packets, reply_bytes };
    let counters = (flags & HAS_COUNTERS != 0).then_some(total);
    Some((Connection { identity, reply, counters, stop: None }, generation))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn address(&mut self, is_v6: bool) -> Option<IpAddr> {
        Some(if is_v6 { Ipv6Addr::from(self.take::<16>()?).into() } else { Ipv4Addr::from(self.take::<4>()?).into() })
    }
}
