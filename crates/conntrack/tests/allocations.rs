//! Nothing is allocated for a connection.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use allocation_counter::measure;
use namespace::fresh;
use podtrail_conntrack::wire::{self, Connection, Messages, Protocol, Tuple};
use podtrail_conntrack::{Event, Events, Filter, Subscription, Table};

const MANY: u16 = 1000;

#[test]
fn to_read_messages_allocates_nothing() {
    let (mut datagram, mut room) = (Vec::new(), [0; wire::REQUEST_ROOM]);
    for port in 0..MANY {
        datagram.extend_from_slice(wire::insert(&mut room, 1, &connection(port)).unwrap());
    }
    let allocated = measure(|| {
        let read = Messages::new(&datagram).filter(|message| message.is_ok_and(|message| message.connection().is_ok()));
        assert_eq!(read.count(), usize::from(MANY));
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn to_dump_a_table_and_to_hear_of_its_end_allocates_nothing() {
    let Some(netns) = fresh() else { return };
    netns.run(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_events", "1")).unwrap().unwrap();
    let subscription = Subscription::default().receive_buffer(8 << 20);
    let mut events = Events::open_in(&subscription, &netns).unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    for port in 0..MANY {
        table.insert(&connection(port)).unwrap();
    }
    let mut seen = 0;
    let allocated = measure(|| {
        let mut dump = table.dump(&Filter::default().protocol(Protocol::UDP)).unwrap();
        while let Some(connection) = dump.next() {
            seen += u16::from(connection.is_ok());
        }
    });
    assert_eq!((seen, allocated.count_total), (MANY, 0));

    table.flush().unwrap();
    let mut ended = 0;
    let allocated = measure(|| {
        while let Some(event) = events.try_next().unwrap() {
            ended += u16::from(matches!(event, Event::Destroyed(_)));
        }
    });
    assert_eq!((ended, allocated.count_total), (MANY, 0));
}

fn connection(port: u16) -> Connection<'static> {
    let src = ([10, 0, 0, 1], port).into();
    let tuple = Tuple::with_ports(Protocol::UDP, src, ([10, 0, 0, 2], 53).into());
    let mut connection = Connection::new(tuple, tuple.inverse());
    connection.timeout = Some(600);
    connection
}
