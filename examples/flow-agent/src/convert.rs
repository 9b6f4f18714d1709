//! From what the kernel says of a connection to what is counted.

use podtrail_conntrack::wire::{self, Transport};
use podtrail_flow::{Connection, Counters, Direction, Identity};

/// The connection of the namespace with this cookie.
pub(crate) fn connection(cookie: u64, shown: &wire::Connection<'_>) -> Connection {
    let original = direction(&shown.original);
    let identity = Identity {
        netns: cookie,
        zone: shown.zone,
        protocol: shown.original.protocol.0,
        src: original.src,
        dst: original.dst,
        ports: original.ports,
        direction_zone: original.zone,
        id: shown.id.unwrap_or_default(),
        start: shown.start,
    };
    let counters = shown.original_counters.zip(shown.reply_counters).map(|(original, reply)| Counters {
        original_packets: original.packets,
        original_bytes: original.bytes,
        reply_packets: reply.packets,
        reply_bytes: reply.bytes,
    });
    Connection { identity, reply: direction(&shown.reply), counters, stop: shown.stop }
}

fn direction(tuple: &wire::Tuple) -> Direction {
    let ports = match tuple.transport {
        Transport::Ports { src, dst } => (src, dst),
        Transport::Icmp { id, kind, code } => (id, u16::from_be_bytes([kind, code])),
        _ => (0, 0),
    };
    Direction { src: tuple.src, dst: tuple.dst, ports, zone: tuple.zone }
}
