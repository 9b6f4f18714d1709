//! A datagram of ctnetlink: never a panic, and what parses is encoded and parses as it was; its own filter wants it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_conntrack::Filter;
use podtrail_conntrack::wire::{self, Connection, Messages, Stats, Status, Transport};

fuzz_target!(|data: &[u8]| {
    let mut stats = Stats::default();
    let mut room = vec![0; 2 * data.len() + wire::REQUEST_ROOM];
    for message in Messages::new(data).filter_map(Result::ok) {
        let _ = (message.errno(), stats.add(&message));
        let Ok(connection) = message.connection() else { continue };
        match wire::insert(&mut room, 1, &connection) {
            Ok(datagram) => {
                let again = Messages::new(datagram).next().expect("a message").expect("that is whole");
                assert_eq!(again.connection(), Ok(connection));
            }
            // The length of an attribute has 16 bits.
            Err(e) => assert!(e.kind() == wire::MalformedKind::NoRoom && data.len() > 30_000, "{e}"),
        }
        let filter = filter(&connection);
        assert!(filter.matches(&connection));
        wire::dump(&mut [0; wire::REQUEST_ROOM], 1, &filter).expect("a filter has few parts");
        filter.zone(7).mark(1, 3).port(80).matches(&connection);
    }
});

/// Asks for all that a connection has.
fn filter(connection: &Connection<'_>) -> Filter {
    let Connection { original, reply, .. } = connection;
    let mut filter = Filter::default()
        .protocol(original.protocol)
        .original_src(original.src)
        .original_dst(original.dst)
        .reply_src(reply.src)
        .reply_dst(reply.dst)
        .address(reply.dst)
        .mark(connection.mark.unwrap_or_default(), u32::MAX)
        .status(connection.status.unwrap_or_default(), Status(u32::MAX));
    if let Transport::Ports { src, dst } = original.transport {
        filter = filter.original_src_port(src).original_dst_port(dst).port(dst);
    }
    if let Transport::Ports { src, dst } = reply.transport {
        filter = filter.reply_src_port(src).reply_dst_port(dst);
    }
    filter
}
