//! Against the kernel, in a network namespace of the test's own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use std::net::SocketAddr;
use std::thread;

use namespace::fresh;
use podtrail_conntrack::wire::{Connection, Counters, Protocol, Status, TcpState, Transport, Tuple};
use podtrail_conntrack::{ErrorKind, Event, Events, Filter, Subscription, Table};
use podtrail_netns::Netns;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketType};

#[test]
fn a_dump_shows_what_was_inserted() {
    let Some(netns) = fresh() else { return };
    switch_on(&netns, "acct");
    switch_on(&netns, "timestamp");
    let mut table = Table::open_in(&netns).unwrap();
    let inserted = connections();
    for connection in &inserted {
        table.insert(connection).unwrap_or_else(|e| panic!("{connection:?}: {}", chain(&e)));
    }

    let mut dumped = 0;
    let mut dump = table.dump(&Filter::default()).unwrap();
    while let Some(connection) = dump.next() {
        let connection = connection.unwrap();
        let expected = inserted.iter().find(|c| (c.original, c.zone) == (connection.original, connection.zone));
        compare(&connection, expected.unwrap_or_else(|| panic!("not inserted: {connection:?}")));
        dumped += 1;
    }
    assert_eq!(dumped, inserted.len());
    assert!(dump.next().is_none());

    for connection in &inserted {
        compare(&table.get(&connection.original, connection.zone).unwrap().unwrap(), connection);
    }
}

fn compare(found: &Connection<'_>, expected: &Connection<'_>) {
    assert_eq!((found.original, found.reply, found.zone), (expected.original, expected.reply, expected.zone));
    assert_eq!(found.mark.unwrap_or(0), expected.mark.unwrap_or(0), "{found:?}");
    assert_eq!(found.tcp_state, expected.tcp_state, "{found:?}");
    assert!(found.timeout.unwrap() <= expected.timeout.unwrap(), "{found:?}");
    assert!(found.status.unwrap().contains(expected.status.unwrap_or_default() | Status::CONFIRMED), "{found:?}");
    assert_eq!(found.labels.unwrap_or(&[0; 16]), expected.labels.unwrap_or(&[0; 16]), "{found:?}");
    assert_eq!((found.original_counters, found.reply_counters), (Some(Counters::default()), Some(Counters::default())));
    assert!(found.id.is_some() && found.start.is_some() && found.stop.is_none(), "{found:?}");
}

#[test]
fn a_connection_is_found_by_either_direction_and_deleted_by_its_id_only() {
    let Some(netns) = fresh() else { return };
    let mut table = Table::open_in(&netns).unwrap();
    let connection = translated();
    table.insert(&connection).unwrap();
    let again = table.insert(&connection).unwrap_err();
    assert_eq!((again.kind(), chain(&again).contains("exists")), (ErrorKind::Refused, true), "{}", chain(&again));

    let id = table.get(&connection.original, 0).unwrap().unwrap().id.unwrap();
    assert_eq!(table.get(&connection.reply, 0).unwrap().unwrap().id, Some(id));
    assert!(table.get(&connection.original, 9).unwrap().is_none(), "another zone");
    assert!(!table.delete(&connection.original, 0, Some(id ^ 1)).unwrap(), "another id");
    assert!(table.delete(&connection.original, 0, Some(id)).unwrap());
    assert!(!table.delete(&connection.original, 0, None).unwrap(), "it is gone");
    assert!(table.get(&connection.original, 0).unwrap().is_none());
}

#[test]
fn a_dump_of_many_datagrams_may_be_left_and_a_flush_leaves_nothing() {
    const MANY: u16 = 2000;
    let Some(netns) = fresh() else { return };
    let mut table = Table::open_in(&netns).unwrap();
    for port in 1..=MANY {
        table
            .insert(&with_timeout(tcp(SocketAddr::from(([10, 9, 0, 1], port)), "10.9.0.2:80".parse().unwrap())))
            .unwrap();
    }
    // 2000 connections are many datagrams, which the next request must not take for its answer.
    assert!(table.dump(&Filter::default()).unwrap().next().unwrap().is_ok());
    assert_eq!(count(&mut table), usize::from(MANY));
    assert!(table.dump(&Filter::default()).unwrap().next().unwrap().is_ok());
    table.flush().unwrap();
    assert_eq!(count(&mut table), 0);
}

#[test]
fn the_table_says_how_full_it_is_and_what_the_kernel_counted() {
    let Some(netns) = fresh() else { return };
    let mut table = Table::open_in(&netns).unwrap();
    let empty = table.stats().unwrap();
    assert_eq!((empty.entries, empty.insert), (0, 0));
    assert!(empty.max_entries.is_some_and(|max| max > 0), "{empty:?}");
    for connection in connections() {
        table.insert(&connection).unwrap();
    }
    let stats = table.stats().unwrap();
    assert_eq!(usize::try_from(stats.entries).unwrap(), connections().len());
    assert_eq!(stats.insert, u64::from(stats.entries), "{stats:?}");
    // Nobody listens, so that nobody is told of the ends.
    table.flush().unwrap();
    assert!(table.dying().unwrap().next().is_none());
    assert_eq!(table.stats().unwrap().entries, 0);
}

#[test]
fn messages_of_processes_are_refused_or_ignored_and_counted() {
    let Some(netns) = fresh() else { return };
    // By default the kernel tells of the end of a connection if anybody listened, in whatever namespace, when it began.
    netns.run(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_events", "1")).unwrap().unwrap();
    // The kernel gives the first socket of a process the process's number as its port, if no other has it.
    let port = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    let lie = |address: SocketAddrNetlink| {
        let liar = netns.run(|| rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER)));
        rustix::net::sendto(liar.unwrap().unwrap(), &[0xff; 40], rustix::net::SendFlags::empty(), &address)
    };
    let mut table = Table::open_in(&netns).unwrap();
    assert_eq!(lie(SocketAddrNetlink::new(port, 0)), Err(Errno::CONNREFUSED));
    table.insert(&translated()).unwrap();
    assert_eq!((count(&mut table), table.foreign()), (1, 0));
    drop(table);

    let mut events = Events::open_in(&Subscription::default(), &netns).unwrap();
    assert_eq!(lie(SocketAddrNetlink::new(port, 0)), Err(Errno::CONNREFUSED));
    // To all who listen to ends of connections.
    lie(SocketAddrNetlink::new(0, 4)).ok();
    Table::open_in(&netns).unwrap().flush().unwrap();
    assert!(matches!(events.next().unwrap(), Event::Destroyed(_)));
    assert_eq!(events.foreign(), 1);
}

#[test]
fn the_capability_that_is_missing_is_named() {
    let Some(netns) = fresh() else { return };
    let mut table = Table::open_in(&netns).unwrap();
    // Of this thread alone; the kernel asks for it with each request.
    let error = thread::spawn(move || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets).unwrap();
        table.dump(&Filter::default()).unwrap().next().unwrap().map(|_| ()).unwrap_err()
    })
    .join()
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::MissingCapability);
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}

/// Every protocol that has a form of its own, both families, zones and translated addresses.
fn connections() -> Vec<Connection<'static>> {
    let v4 = |protocol| pair(protocol, "10.1.0.1:1111", "10.1.0.2:2222");
    let v6 = |protocol| pair(protocol, "[fd00::1]:1111", "[fd00::2]:2222");
    let icmp = |tuple: Tuple, kind| Tuple { transport: Transport::Icmp { id: 77, kind, code: 0 }, ..tuple };
    let mut all = vec![translated()];
    for tuple in [
        v4(Protocol::TCP),
        v6(Protocol::TCP),
        v4(Protocol::UDP),
        v6(Protocol::UDP),
        v4(Protocol::SCTP),
        v4(Protocol::GRE),
        icmp(v4(Protocol::ICMP), 8),
        icmp(v6(Protocol::ICMPV6), 128),
        Tuple { transport: Transport::None, ..v4(Protocol(99)) },
    ] {
        all.push(with_timeout(tuple));
    }
    let mut zoned = with_timeout(v4(Protocol::TCP));
    zoned.zone = 5;
    all.push(zoned);
    // A zone for the original direction alone is in its tuple.
    let tuple = pair(Protocol::UDP, "10.1.0.9:1", "10.1.0.10:2");
    let mut half_zoned = with_timeout(tuple);
    half_zoned.original.zone = 6;
    all.push(half_zoned);
    all
}

/// Through a service's address, and masqueraded, with all that can be given.
fn translated() -> Connection<'static> {
    let original = pair(Protocol::TCP, "10.0.0.1:4711", "10.96.0.1:80");
    let mut connection = Connection::new(original, pair(Protocol::TCP, "10.0.0.9:8080", "192.0.2.1:50000"));
    connection.timeout = Some(3600);
    connection.mark = Some(0xabcd);
    connection.status = Some(Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
    connection.tcp_state = Some(TcpState::ESTABLISHED);
    connection
}

fn with_timeout(original: Tuple) -> Connection<'static> {
    let mut connection = Connection::new(original, original.inverse());
    connection.timeout = Some(600);
    connection.tcp_state = (original.protocol == Protocol::TCP).then_some(TcpState::SYN_SENT);
    connection
}

fn tcp(src: SocketAddr, dst: SocketAddr) -> Tuple {
    Tuple::with_ports(Protocol::TCP, src, dst)
}

fn pair(protocol: Protocol, src: &str, dst: &str) -> Tuple {
    Tuple::with_ports(protocol, src.parse().unwrap(), dst.parse().unwrap())
}

fn count(table: &mut Table) -> usize {
    let mut dump = table.dump(&Filter::default()).unwrap();
    let mut count = 0;
    while let Some(connection) = dump.next() {
        connection.unwrap();
        count += 1;
    }
    count
}

fn switch_on(netns: &Netns, what: &str) {
    let path = format!("/proc/sys/net/netfilter/nf_conntrack_{what}");
    netns.run(|| std::fs::write(path, "1")).unwrap().unwrap();
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
