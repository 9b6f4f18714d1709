//! Filters in the kernel and here, in a network namespace of the test's own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use namespace::fresh;
use podtrail_conntrack::wire::{Connection, Protocol, Status, TcpState, Transport, Tuple};
use podtrail_conntrack::{Family, Filter, Table};

/// The kernel leaves out all that is not wanted.
const IN_THE_KERNEL: bool = true;
const HERE: bool = false;

#[test]
fn the_kernel_filters_what_it_can_and_the_result_is_the_same() {
    let Some(netns) = fresh() else { return };
    let mut table = Table::open_in(&netns).unwrap();
    for connection in connections() {
        table.insert(&connection).unwrap();
    }
    let (all, received) = dump(&mut table, &Filter::default());
    assert_eq!((all.len(), received), (connections().len(), all.len()));

    for (filter, count, who) in filters() {
        let expected: BTreeSet<_> =
            connections().iter().filter(|connection| filter.matches(connection)).map(name).collect();
        let (found, received) = dump(&mut table, &filter);
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(found.len(), count, "{filter:?}");
        assert_eq!(received == found.len(), who == IN_THE_KERNEL, "{filter:?}: the kernel sent {received}");
    }
}

/// Filters, how many connections they want, and who leaves out the others.
fn filters() -> Vec<(Filter, usize, bool)> {
    let all = Filter::default();
    let v4 = |last: u8| [10, 0, 0, last].into();
    let v6 = |last: u16| [0xfd00, 0, 0, 0, 0, 0, 0, last].into();
    let tcp = all.protocol(Protocol::TCP);
    vec![
        (all.family(Family::V4), 9, IN_THE_KERNEL),
        (all.family(Family::V6), 4, IN_THE_KERNEL),
        // Of both families, in two dumps.
        (tcp, 5, IN_THE_KERNEL),
        (all.protocol(Protocol::ICMPV6), 1, IN_THE_KERNEL),
        (all.protocol(Protocol(99)), 1, IN_THE_KERNEL),
        (tcp.family(Family::V6), 2, IN_THE_KERNEL),
        (tcp.original_dst_port(80), 4, IN_THE_KERNEL),
        (tcp.original_src_port(1), 5, IN_THE_KERNEL),
        (all.original_dst_port(80), 9, HERE),
        // The kernel compares the ports of TCP and UDP only.
        (all.protocol(Protocol::SCTP).original_dst_port(80), 1, IN_THE_KERNEL),
        (all.protocol(Protocol::SCTP).original_dst_port(81), 0, HERE),
        (all.original_src(v4(1)), 7, IN_THE_KERNEL),
        (all.original_dst(v4(2)), 7, IN_THE_KERNEL),
        (all.original_src(v4(1)).original_dst(v4(3)), 0, IN_THE_KERNEL),
        (tcp.original_src(v4(1)).original_dst_port(80), 1, IN_THE_KERNEL),
        // The kernel's comparison of these is wrong.
        (all.original_src(v6(1)), 3, HERE),
        (tcp.original_dst(v6(2)).reply_src(v6(2)), 1, HERE),
        (all.reply_src(v4(8)), 1, IN_THE_KERNEL),
        (all.reply_dst(v4(1)), 7, IN_THE_KERNEL),
        (tcp.reply_src(v4(8)).reply_src_port(8080), 1, IN_THE_KERNEL),
        (tcp.reply_dst_port(50000), 1, IN_THE_KERNEL),
        (tcp.original_dst_port(80).reply_src_port(80), 3, IN_THE_KERNEL),
        (all.address(v4(8)), 1, HERE),
        (all.address(v6(1)), 4, IN_THE_KERNEL),
        (all.port(8080), 1, HERE),
        (all.zone(5), 2, IN_THE_KERNEL),
        (all.zone(0), 11, IN_THE_KERNEL),
        (all.mark(0x10, 0xf0), 1, IN_THE_KERNEL),
        (all.mark(0, u32::MAX), 11, IN_THE_KERNEL),
        (all.mark(7, 0), 13, IN_THE_KERNEL),
        (all.status(Status::ASSURED, Status::ASSURED), 1, IN_THE_KERNEL),
        (all.status(Status(0), Status::ASSURED | Status::SEEN_REPLY), 12, IN_THE_KERNEL),
        (all.status(Status::ASSURED, Status(0)), 13, IN_THE_KERNEL),
        (tcp.family(Family::V4).zone(5).mark(0, 1), 1, IN_THE_KERNEL),
        // What contradicts itself is of no connection.
        (all.original_src(v4(1)).original_dst(v6(2)), 0, HERE),
        (all.family(Family::V6).original_src(v4(1)), 0, HERE),
        (all.protocol(Protocol::ICMP).original_src_port(1), 0, HERE),
    ]
}

/// 9 of IPv4 and 4 of IPv6.
fn connections() -> Vec<Connection<'static>> {
    let v4 = |protocol| connection(protocol, "10.0.0.1:1", "10.0.0.2:80");
    let v6 = |protocol| connection(protocol, "[fd00::1]:1", "[fd00::2]:80");
    let bare = |mut connection: Connection<'static>, transport| {
        connection.original.transport = transport;
        connection.reply = connection.original.inverse();
        connection
    };
    let mut marked = v4(Protocol::UDP);
    marked.mark = Some(0x11);
    let mut assured = connection(Protocol::TCP, "10.0.0.3:1", "10.0.0.4:443");
    assured.status = Some(Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
    assured.mark = Some(0x101);
    // Through a service's address, and masqueraded.
    let mut translated = connection(Protocol::TCP, "10.0.0.5:1", "10.0.0.6:80");
    translated.reply = tuple(Protocol::TCP, "10.0.0.8:8080", "10.0.0.7:50000");
    let mut translated6 = connection(Protocol::TCP, "[fd00::9]:1", "[fd00::2]:80");
    translated6.reply = tuple(Protocol::TCP, "[fd00::1]:80", "[fd00::9]:1");
    let mut zoned = v4(Protocol::TCP);
    zoned.zone = 5;
    // The other direction has no zone.
    let mut half_zoned = v4(Protocol::GRE);
    half_zoned.original.zone = 5;
    let icmp = |kind| Transport::Icmp { id: 1, kind, code: 0 };
    vec![
        marked,
        assured,
        translated,
        zoned,
        half_zoned,
        v4(Protocol::SCTP),
        v4(Protocol::UDPLITE),
        bare(v4(Protocol::ICMP), icmp(8)),
        bare(v4(Protocol(99)), Transport::None),
        v6(Protocol::TCP),
        v6(Protocol::UDP),
        translated6,
        bare(v6(Protocol::ICMPV6), icmp(128)),
    ]
}

fn connection(protocol: Protocol, src: &str, dst: &str) -> Connection<'static> {
    let original = tuple(protocol, src, dst);
    let mut connection = Connection::new(original, original.inverse());
    connection.timeout = Some(600);
    connection.tcp_state = (protocol == Protocol::TCP).then_some(TcpState::ESTABLISHED);
    connection
}

fn tuple(protocol: Protocol, src: &str, dst: &str) -> Tuple {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Tuple::with_ports(protocol, address(src), address(dst))
}

/// What tells connections from each other.
type Name = (Tuple, Tuple, u16);

fn name(connection: &Connection<'_>) -> Name {
    (connection.original, connection.reply, connection.zone)
}

/// The connections that match, and how many the kernel sent.
fn dump(table: &mut Table, filter: &Filter) -> (BTreeSet<Name>, usize) {
    let mut found = BTreeSet::new();
    let mut dump = table.dump(filter).unwrap();
    while let Some(connection) = dump.next() {
        let connection = connection.unwrap();
        assert!(filter.matches(&connection), "{connection:?}");
        assert!(found.insert(name(&connection)), "twice: {connection:?}");
    }
    (found, dump.received().try_into().unwrap())
}
