//! Events of the kernel, in a network namespace of the test's own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};
use std::{fs, thread};

use podtrail_conntrack::wire::{Connection, Kind, Protocol, Tuple};
use podtrail_conntrack::{Chunk, Dump, Event, Events, Filter, Journal, Subscription, Table};
use podtrail_netns::Netns;

/// The system's default, which the kernel takes as it is.
const SMALL: usize = 212_992;

#[test]
fn a_burst_loses_no_end_of_a_connection_in_reliable_mode() {
    let Some(netns) = fresh() else { return };
    let mut events = Events::open_in(&Subscription::default().receive_buffer(SMALL), &netns).unwrap();
    assert_eq!(events.queue().unwrap().capacity as usize, SMALL);
    let mut table = Table::open_in(&netns).unwrap();
    fill(&mut table, 100_000);

    let (ended, drops) = flush_and_count(table, &mut events, 100_000, Duration::from_secs(60));
    eprintln!("{ended} ends of 100000 connections arrived; {drops} deliveries had to be repeated");
    assert_eq!(ended, 100_000);
}

#[test]
fn what_a_burst_loses_otherwise_is_counted_to_the_event() {
    let Some(netns) = fresh() else { return };
    let subscription = Subscription::default().reliable(false).receive_buffer(16 * 1024);
    let mut events = Events::open_in(&subscription, &netns).unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    fill(&mut table, 20_000);

    // Nobody reads meanwhile.
    table.flush().unwrap();
    let (ended, drops) = count(&mut events, 20_000, Instant::now() + Duration::from_secs(2));
    eprintln!("{ended} ends of 20000 connections arrived, {drops} are counted as lost");
    assert_eq!(ended + drops as usize, 20_000);
    assert!(drops > 10_000, "{drops}");
}

#[test]
fn ends_that_had_no_room_are_among_the_dying() {
    const MANY: usize = 1000;
    let Some(netns) = fresh() else { return };
    let mut events = Events::open_in(&Subscription::default().receive_buffer(SMALL), &netns).unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    fill(&mut table, MANY as u32);

    // Nobody reads: the kernel keeps those that do not get into the queue.
    table.flush().unwrap();
    assert_eq!(all(table.dump(&Filter::default()).unwrap()), []);
    let dying = all(table.dying().unwrap());
    assert!(dying.len() > MANY / 2, "{}", dying.len());

    // It gives them up once nobody insists; what is in the queue is the others.
    events.set_reliable(false).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while table.dying().unwrap().next().is_some() {
        assert!(Instant::now() < deadline, "the kernel keeps ends that nobody waits for");
        thread::sleep(Duration::from_millis(10));
    }
    let mut told = Vec::new();
    while let Some(event) = events.try_next().unwrap() {
        if let Event::Destroyed(end) = event {
            told.push(number(&end));
        }
    }
    told.extend(dying);
    told.sort_unstable();
    assert_eq!(told, (0..MANY as u32).collect::<Vec<_>>());
}

fn all(mut dump: Dump<'_>) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(connection) = dump.next() {
        found.push(number(&connection.unwrap()));
    }
    found
}

#[test]
fn a_connection_that_begins_is_told_on_request() {
    let Some(netns) = fresh() else { return };
    let subscription = Subscription::default().with_new();
    let mut events = Events::open_in(&subscription, &netns).unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    let connection = numbered(7);
    table.insert(&connection).unwrap();
    assert!(matches!(events.next().unwrap(), Event::New(new) if new.original == connection.original));
    table.flush().unwrap();
    assert!(matches!(events.next().unwrap(), Event::Destroyed(end) if end.original == connection.original));
    assert!(events.try_next().unwrap().is_none());
}

#[test]
fn a_journal_has_each_event_once_whoever_takes_it_over() {
    let Some(netns) = fresh() else { return };
    let mut events = Events::open_in(&Subscription::default(), &netns).unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    fill(&mut table, 300);
    table.flush().unwrap();

    let mut journal = Journal::create().unwrap();
    let first = journal.fill(&mut events, 10_000).unwrap();
    assert!(first.events > 0 && !first.is_empty);
    let after_first = journal.end();
    let half = |journal: &Journal| Journal::adopt(journal.as_fd().try_clone_to_owned().unwrap(), 0).unwrap();
    // Another process comes, which has the socket too, and goes on.
    let mut events = Events::adopt(events.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let mut journal = half(&journal);
    assert_eq!(journal.end(), after_first);
    let (mut taken, deadline) = (first.events, Instant::now() + Duration::from_secs(30));
    while taken < 300 && Instant::now() < deadline {
        // The kernel says again what had no room.
        taken += journal.fill(&mut events, u64::MAX).unwrap().events;
    }
    assert_eq!(numbers(&journal, 0), (0..300).collect::<Vec<_>>());
    journal.release(journal.end()).unwrap();
    assert!(numbers(&half(&journal), journal.end()).is_empty());
}

/// The last ports of the connections in a journal, sorted.
fn numbers(journal: &Journal, mut at: u64) -> Vec<u32> {
    let (mut found, mut chunk) = (Vec::new(), Chunk::default());
    while journal.read(at, &mut chunk).unwrap() {
        for message in chunk.messages() {
            let message = message.unwrap();
            assert_eq!(message.kind(), Kind::Destroyed);
            found.push(number(&message.connection().unwrap()));
        }
        at = chunk.end();
    }
    found.sort_unstable();
    found
}

#[test]
fn the_mode_is_of_the_socket_and_not_of_who_holds_it() {
    let Some(netns) = fresh() else { return };
    let events = Events::open_in(&Subscription::default(), &netns).unwrap();
    let other = Events::adopt(events.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(other.is_reliable().unwrap());
    events.set_reliable(false).unwrap();
    assert!(!other.is_reliable().unwrap());
    assert_eq!(events.netns_cookie().unwrap(), other.netns_cookie().unwrap());
    let here = Netns::current().unwrap().run(|| Events::open(&Subscription::default())).unwrap().unwrap();
    assert_ne!(events.netns_cookie().unwrap(), here.netns_cookie().unwrap());
}

fn flush_and_count(mut table: Table, events: &mut Events, expected: usize, patience: Duration) -> (usize, u32) {
    thread::scope(|scope| {
        scope.spawn(move || table.flush().unwrap());
        count(events, expected, Instant::now() + patience)
    })
}

/// How many connections ended, and how many events did not arrive.
fn count(events: &mut Events, expected: usize, deadline: Instant) -> (usize, u32) {
    let (mut ended, mut lost) = (0, 0);
    while ended < expected && Instant::now() < deadline {
        match events.try_next().unwrap() {
            Some(Event::Destroyed(_)) => ended += 1,
            Some(Event::Lost { drops }) => lost += drops,
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
    (ended, lost)
}

fn fill(table: &mut Table, connections: u32) {
    for n in 0..connections {
        table.insert(&numbered(n)).unwrap();
    }
}

fn numbered(n: u32) -> Connection<'static> {
    let address = |net: u8, n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        Ipv4Addr::new(net, b, c, d)
    };
    let src = SocketAddr::new(address(10, n).into(), 1000);
    let tuple = Tuple::with_ports(Protocol::UDP, src, SocketAddr::new(address(11, n).into(), 53));
    let mut connection = Connection::new(tuple, tuple.inverse());
    connection.timeout = Some(600);
    connection
}

fn number(connection: &Connection<'_>) -> u32 {
    let std::net::IpAddr::V4(src) = connection.original.src else { panic!("{connection:?}") };
    let [_, b, c, d] = src.octets();
    u32::from_be_bytes([0, b, c, d])
}

/// A network namespace of the test's own, where ends of connections are told.
fn fresh() -> Option<Netns> {
    let netns = namespace::fresh()?;
    for what in ["events", "timestamp", "acct"] {
        netns.run(|| fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{what}"), "1")).unwrap().unwrap();
    }
    Some(netns)
}
