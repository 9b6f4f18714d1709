//! A connection table to measure with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use podtrail_conntrack::wire::{Connection, Protocol, Status, TcpState, Tuple};
use podtrail_conntrack::{Family, Filter, Table};

/// A quarter of the connections has it.
pub(crate) const MARK: u32 = 7;

/// What a quarter of the connections is.
pub(crate) fn quarter_by_protocol() -> Filter {
    Filter::default().family(Family::V4).protocol(Protocol::TCP)
}

/// Another quarter.
pub(crate) fn quarter_by_mark() -> Filter {
    Filter::default().mark(MARK, u32::MAX)
}

/// Empties the table, and puts so many connections into it.
pub(crate) fn fill(table: &mut Table, connections: u32) -> Result<()> {
    table.flush()?;
    for n in 0..connections {
        table.insert(&connection(n)).with_context(|| format!("cannot insert connection {n}"))?;
    }
    Ok(())
}

/// Of 20 that follow each other 6 are IPv6, 6 are TCP (5 of them IPv4), and the destination of 3 is translated.
pub(crate) fn connection(n: u32) -> Connection<'static> {
    let kind = n % 20;
    let is_v6 = kind % 10 >= 7;
    let address = |net: u8, n: u32| -> IpAddr {
        let [_, b, c, d] = n.to_be_bytes();
        if is_v6 {
            Ipv6Addr::new(0xfd00, 0, 0, net.into(), 0, 0, b.into(), u16::from_be_bytes([c, d])).into()
        } else {
            Ipv4Addr::new(net, b, c, d).into()
        }
    };
    let protocol = if kind < 5 || kind == 7 { Protocol::TCP } else { Protocol::UDP };
    let client =
        SocketAddr::new(address(10, n), 1024 + u16::try_from(n % 60_000).expect("it is less than 16 bits can count"));
    let service = SocketAddr::new(address(11, n % 1000), 443);
    let original = Tuple::with_ports(protocol, client, service);
    let reply = match kind {
        0 | 7 | 10 => Tuple::with_ports(protocol, SocketAddr::new(address(12, n % 5000), 8443), client),
        _ => original.inverse(),
    };
    let mut connection = Connection::new(original, reply);
    connection.timeout = Some(86_400);
    connection.status = Some(Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
    connection.tcp_state = (protocol == Protocol::TCP).then_some(TcpState::ESTABLISHED);
    connection.mark = n.is_multiple_of(4).then_some(MARK);
    connection
}
