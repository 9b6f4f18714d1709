//! Events on tokio, in a network namespace of the test's own.

#![cfg(all(target_os = "linux", feature = "tokio"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use std::net::SocketAddr;
use std::time::Duration;

use namespace::fresh;
use podtrail_conntrack::wire::{Connection, Protocol, Transport, Tuple};
use podtrail_conntrack::{AsyncEvents, Event, Events, Subscription, Table};
use tokio::time::timeout;

const MANY: u16 = 2000;

#[tokio::test]
async fn each_end_is_told_once_though_waiting_is_given_up_all_the_time() {
    let Some((mut events, mut table)) = open(Subscription::default()) else { return };
    let nothing = timeout(Duration::from_millis(20), events.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    for port in 0..MANY {
        table.insert(&connection(port)).unwrap();
    }

    // More than there is room for: they are told again and again.
    let flush = tokio::task::spawn_blocking(move || table.flush().unwrap());
    let mut ended = Vec::new();
    while ended.len() < usize::from(MANY) {
        tokio::select! {
            biased;
            // Ready at once half of the time, and dropped at each turn.
            event = events.next() => if let Event::Destroyed(end) = event.unwrap() { ended.push(port(&end)) },
            () = tokio::task::yield_now() => {}
        }
    }
    flush.await.unwrap();
    ended.sort_unstable();
    assert_eq!(ended, (0..MANY).collect::<Vec<_>>());
    // Deliveries that failed are said, too, and were repeated.
    let mut events = events.into_inner();
    assert!(matches!(events.try_next().unwrap(), None | Some(Event::Lost { .. })));
    assert!(events.try_next().unwrap().is_none());
}

#[tokio::test]
async fn others_get_their_turn_while_many_events_wait() {
    let Some((events, mut table)) = open(Subscription::default().receive_buffer(8 << 20)) else { return };
    for port in 0..MANY {
        table.insert(&connection(port)).unwrap();
    }
    table.flush().unwrap();
    // They have waited since before the runtime knew of the socket.
    let mut events = AsyncEvents::new(events.into_inner()).unwrap();

    let mut turns = 0;
    let read = async {
        for _ in 0..MANY {
            assert!(matches!(events.next().await.unwrap(), Event::Destroyed(_)));
        }
    };
    let others = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = read => {}
        () = others => {}
    }
    assert!(turns > 0);
}

fn open(subscription: Subscription) -> Option<(AsyncEvents, Table)> {
    let netns = fresh()?;
    netns.run(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_events", "1")).unwrap().unwrap();
    let events = Events::open_in(&subscription, &netns).unwrap();
    Some((AsyncEvents::new(events).unwrap(), Table::open_in(&netns).unwrap()))
}

fn connection(port: u16) -> Connection<'static> {
    let src = SocketAddr::from(([10, 0, 0, 1], port));
    let tuple = Tuple::with_ports(Protocol::UDP, src, "10.0.0.2:53".parse().unwrap());
    let mut connection = Connection::new(tuple, tuple.inverse());
    connection.timeout = Some(600);
    connection
}

fn port(connection: &Connection<'_>) -> u16 {
    let Transport::Ports { src, .. } = connection.original.transport else { panic!("{connection:?}") };
    src
}
