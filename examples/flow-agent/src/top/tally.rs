//! What was carried between two readings of the table, by connection, address or port.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use podtrail_conntrack::wire::{Connection, Protocol, Transport, Tuple};
use podtrail_event::Timestamp;
use podtrail_flow::{Counters, Key, Meter, Step};

use crate::args::By;
use crate::convert;
use crate::list::{destination, source};

/// Connections that are told apart at a time; they take 68 bytes each. Others are not shown.
const LIMIT: usize = 1 << 20;
/// From its stamp on, a connection takes less than this to be in the table.
const STAMPING: Duration = Duration::from_millis(10);

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    Connection { zone: u16, original: Tuple, reply: Tuple },
    Address(IpAddr),
    Port(Protocol, Option<u16>),
}

/// What was carried of a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Bytes: from an address; from whoever began the connection, where it is of one or of a port.
    pub(super) sent: u64,
    /// Bytes the other way.
    pub(super) received: u64,
    /// Packets both ways.
    pub(super) packets: u64,
    /// How many connections carried it.
    pub(super) connections: u64,
}

/// Adds up what is new since the last reading. The first reading shows what was carried before, and counts for nothing.
#[derive(Debug)]
pub(super) struct Tally {
    by: By,
    meter: Meter,
    last: Option<Reading>,
    carried: HashMap<Subject, Carried>,
    sum: Carried,
}

/// A reading of the table that has ended.
#[derive(Clone, Copy, Debug)]
struct Reading {
    begun: Timestamp,
    is_complete: bool,
}

impl Tally {
    pub(super) fn new(by: By) -> Self {
        let (carried, sum) = (HashMap::new(), Carried::default());
        Self { by, meter: Meter::new(LIMIT), last: None, carried, sum }
    }

    /// A reading begins.
    pub(super) fn begin(&mut self) {
        self.meter.begin();
    }

    /// This connection is in the table.
    pub(super) fn observe(&mut self, connection: &Connection<'_>) {
        self.count(connection, Meter::observe);
    }

    /// This connection has ended.
    pub(super) fn close(&mut self, connection: &Connection<'_>) {
        self.count(connection, Meter::close);
    }

    /// The reading has ended; it began then.
    pub(super) fn end(&mut self, begun: Timestamp, is_complete: bool) {
        self.meter.end(is_complete, drop);
        self.last = Some(Reading { begun, is_complete });
    }

    /// All that was carried since this was called last, and by the subjects that carried most bytes.
    pub(super) fn take(&mut self, most: usize) -> (Carried, Vec<(Subject, Carried)>) {
        let mut rows: Vec<_> = self.carried.drain().collect();
        rows.sort_unstable_by_key(|(subject, carried)| (Reverse(carried.sent + carried.received), *subject));
        rows.truncate(most);
        (std::mem::take(&mut self.sum), rows)
    }

    fn count(&mut self, connection: &Connection<'_>, count: impl FnOnce(&mut Meter, Key, Counters) -> Step) {
        // One namespace needs no number.
        let seen = convert::connection(0, connection);
        let Some(total) = seen.counters else { return };
        let delta = match count(&mut self.meter, seen.identity.key(), total) {
            Step::Counted(counted) if counted.is_new && !self.began_since(connection.start) => return,
            Step::Counted(now) | Step::Restarted { now, .. } => now.delta,
            Step::Unchanged | Step::Duplicate | Step::Refused => return,
        };
        if delta != Counters::default() {
            self.add(connection, delta);
        }
    }

    /// Whether a connection that was not known began after the last reading: else what it carried is not new.
    fn began_since(&self, start: Option<u64>) -> bool {
        let Some(last) = self.last else { return false };
        let start = start.and_then(|start| i64::try_from(start).ok()).map(Timestamp::from_nanosecond);
        start.map_or(last.is_complete, |start| start >= last.begun.saturating_sub(STAMPING))
    }

    fn add(&mut self, connection: &Connection<'_>, delta: Counters) {
        let (original, reply) = (connection.original, connection.reply);
        let packets = delta.original_packets + delta.reply_packets;
        let forth = Carried { sent: delta.original_bytes, received: delta.reply_bytes, packets, connections: 1 };
        self.sum.add(forth);
        match self.by {
            By::Connection => self.row(Subject::Connection { zone: connection.zone, original, reply }, forth),
            By::Port => {
                let port = match original.transport {
                    Transport::Ports { dst, .. } if original.protocol != Protocol::GRE => Some(dst),
                    _ => None,
                };
                self.row(Subject::Port(original.protocol, port), forth);
            }
            By::Address => {
                self.row(Subject::Address(original.src), forth);
                let back = Carried { sent: forth.received, received: forth.sent, ..forth };
                // Who talks to itself sends and receives all bytes, over one connection.
                let is_same = original.src == reply.src;
                let back = if is_same { Carried { packets: 0, connections: 0, ..back } } else { back };
                self.row(Subject::Address(reply.src), back);
            }
        }
    }

    fn row(&mut self, subject: Subject, carried: Carried) {
        self.carried.entry(subject).or_default().add(carried);
    }
}

impl Carried {
    const fn add(&mut self, other: Self) {
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.packets = self.packets.saturating_add(other.packets);
        self.connections += other.connections;
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { zone, original, reply } => {
                let (to, at) = (destination(original), source(reply));
                write!(f, "{} {} -> {to}", original.protocol, source(original))?;
                if at != to {
                    write!(f, " (at {at})")?;
                }
                if *zone == 0 { Ok(()) } else { write!(f, " zone={zone}") }
            }
            Self::Address(address) => write!(f, "{address}"),
            Self::Port(protocol, Some(port)) => write!(f, "{port}/{protocol}"),
            Self::Port(protocol, None) => write!(f, "{protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use podtrail_conntrack::wire::Counters as Direction;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A connection to port 443 that began in that second, and has carried so many bytes both ways.
    fn connection(port: u16, start: Option<u64>, bytes: [u64; 2]) -> Connection<'static> {
        let [src, dst] =
            [("10.0.0.1", port), ("10.96.0.1", 443)].map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port));
        let original = Tuple::with_ports(Protocol::TCP, src, dst);
        let reply = Tuple { src: "10.244.1.7".parse().unwrap(), ..original.inverse() };
        let [forth, back] = bytes.map(|bytes| Some(Direction { packets: 1, bytes }));
        let start = start.map(|second| second * SECOND);
        let mut connection = Connection::new(original, reply);
        (connection.start, connection.original_counters, connection.reply_counters) = (start, forth, back);
        connection
    }

    /// A reading that begins in that second.
    fn read(tally: &mut Tally, second: i64, is_complete: bool, table: &[Connection<'_>]) {
        tally.begin();
        table.iter().for_each(|connection| tally.observe(connection));
        tally.end(Timestamp::from_second(second), is_complete);
    }

    fn rows(tally: &mut Tally) -> Vec<String> {
        let (_, rows) = tally.take(9);
        let row = |(subject, Carried { sent, received, packets, connections })| {
            format!("{subject}: {sent} {received} {packets} {connections}")
        };
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn only_what_is_new_counts() {
        for start in [Some(5), None] {
            let mut tally = Tally::new(By::Connection);
            read(&mut tally, 10, true, &[connection(1, start, [1000, 2000]), connection(2, start, [7, 7])]);
            assert_eq!(tally.take(9), (Carried::default(), Vec::new()));
            let new = start.map(|_| 11);
            tally.close(&connection(3, new, [30, 40]));
            read(&mut tally, 12, true, &[connection(1, start, [1100, 2000]), connection(2, start, [7, 7])]);
            assert_eq!(
                rows(&mut tally),
                [
                    "tcp 10.0.0.1:1 -> 10.96.0.1:443 (at 10.244.1.7:443): 100 0 0 1",
                    "tcp 10.0.0.1:3 -> 10.96.0.1:443 (at 10.244.1.7:443): 30 40 2 1"
                ]
            );
            assert_eq!(tally.take(9), (Carried::default(), Vec::new()));
        }
    }

    #[test]
    fn what_a_reading_missed_is_no_news_when_the_next_one_has_it() {
        for start in [Some(5), None] {
            let mut tally = Tally::new(By::Connection);
            read(&mut tally, 10, false, &[]);
            read(&mut tally, 12, true, &[connection(1, start, [1000, 2000])]);
            assert_eq!(rows(&mut tally), [""; 0]);
            // It ended while the first reading went on.
            tally.close(&connection(2, Some(5), [1000, 2000]));
            assert_eq!(rows(&mut tally), [""; 0]);
        }
    }

    #[test]
    fn addresses_and_ports_add_up_connections() {
        for (by, expected) in
            [(By::Address, &["10.0.0.1: 40 60 4 2", "10.244.1.7: 60 40 4 2"][..]), (By::Port, &["443/tcp: 40 60 4 2"])]
        {
            let mut tally = Tally::new(by);
            read(&mut tally, 10, true, &[]);
            read(&mut tally, 12, true, &[connection(1, Some(11), [10, 20]), connection(2, Some(11), [30, 40])]);
            assert_eq!(rows(&mut tally), expected);
        }
    }
}
