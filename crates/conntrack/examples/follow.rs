//! Tells what happens to the connections of this network namespace, or of the one whose path is given, as `conntrack -E` does.
//!
//!     cargo run -p podtrail-conntrack --example follow [/run/netns/NAME]

use std::io::{Write, stdout};

use podtrail_conntrack::wire::Connection;
use podtrail_conntrack::{Event, Events, Subscription};
use podtrail_netns::Netns;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Not in reliable mode: a terminal that is held would fill the kernel's table.
    let subscription = Subscription::default().with_new().with_updates().reliable(false);
    let mut events = match std::env::args_os().nth(1) {
        Some(path) => Events::open_in(&subscription, &Netns::open(path)?)?,
        None => Events::open(&subscription)?,
    };
    let mut out = stdout().lock();
    loop {
        match events.next()? {
            Event::New(connection) => writeln!(out, "    [NEW] {}", line(&connection))?,
            Event::Updated(connection) => writeln!(out, " [UPDATE] {}", line(&connection))?,
            Event::Destroyed(connection) => writeln!(out, "[DESTROY] {}", line(&connection))?,
            Event::Lost { drops } => writeln!(out, "   [LOST] {drops} events")?,
            _ => {}
        }
    }
}

fn line(connection: &Connection<'_>) -> String {
    let state = connection.tcp_state.map(|state| format!(" {state}")).unwrap_or_default();
    let counters = [connection.original_counters, connection.reply_counters]
        .map(|counters| counters.map(|c| format!(" packets={} bytes={}", c.packets, c.bytes)).unwrap_or_default());
    let Connection { original, reply, .. } = connection;
    format!("{:8}{state} {original}{} {reply}{}", original.protocol.to_string(), counters[0], counters[1])
}
