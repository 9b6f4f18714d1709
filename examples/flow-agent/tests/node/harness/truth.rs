//! The kernel's own last word on each connection, and the comparison with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use podtrail_conntrack::wire::{Connection, Transport};
use podtrail_conntrack::{Event, Events, Subscription};

use super::lab::Place;
use super::lines::{Flow, Lines};

/// Packets and bytes, originally and in reply.
pub(crate) type Counts = [u64; 4];

/// A connection, as both sides name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) start: Option<i128>,
    pub(crate) id: u64,
    pub(crate) protocol: u64,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// For ICMP its id, and its type and code.
    pub(crate) ports: (u64, u64),
}

/// Listens for itself, in a buffer that is never full.
pub(crate) struct Truth {
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Vec<(Name, Counts)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Truth {
    pub(crate) fn of(place: &Place) -> Self {
        let subscription = Subscription::default().reliable(false).receive_buffer(512 << 20);
        let mut events = Events::open_in(&subscription, &place.netns).unwrap();
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let thread = thread::spawn({
            let (stop, ended) = (stop.clone(), ended.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match events.try_next().unwrap() {
                        Some(Event::Destroyed(connection)) => ended.lock().unwrap().push(said(&connection)),
                        Some(event) => panic!("the judge itself lost events, nothing is proven: {event:?}"),
                        None => thread::sleep(Duration::from_millis(1)),
                    }
                }
            }
        });
        Self { stop, ended, thread: Some(thread) }
    }

    /// All that was said: in reliable mode a connection's end may be said again, when not everybody had room for it.
    pub(crate) fn said(&self) -> Vec<(Name, Counts)> {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the judge has ended");
        self.ended.lock().unwrap().clone()
    }

    /// Each connection once.
    pub(crate) fn ended(&self) -> BTreeMap<Name, Counts> {
        self.said().into_iter().collect()
    }
}

impl Drop for Truth {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn said(connection: &Connection<'_>) -> (Name, Counts) {
    let original = connection.original;
    let ports = match original.transport {
        Transport::Ports { src, dst } => (src.into(), dst.into()),
        Transport::Icmp { id, kind, code } => (id.into(), u64::from(kind) << 8 | u64::from(code)),
        _ => (0, 0),
    };
    let name = Name {
        start: connection.start.map(i128::from),
        id: connection.id.unwrap().into(),
        protocol: original.protocol.0.into(),
        src: original.src,
        dst: original.dst,
        ports,
    };
    let (there, back) =
        (connection.original_counters.unwrap_or_default(), connection.reply_counters.unwrap_or_default());
    (name, [there.packets, there.bytes, back.packets, back.bytes])
}

/// Every connection that ended is in the lines to the byte, and nothing else; each line once.
pub(crate) fn compare(lines: &Lines, truth: &BTreeMap<Name, Counts>) {
    let ids: BTreeSet<_> = lines.ids.iter().collect();
    assert_eq!(ids.len(), lines.ids.len(), "no id twice");
    let mut reported: BTreeMap<Name, Vec<&Flow>> = BTreeMap::new();
    for flow in &lines.flows {
        reported.entry(flow.name).or_default().push(flow);
    }
    for (name, counts) in truth {
        let flows = reported.remove(name).unwrap_or_else(|| panic!("not reported: {name:?} {counts:?}"));
        let mut sum = [0; 4];
        for flow in &flows {
            flow.delta.unwrap().iter().zip(&mut sum).for_each(|(delta, sum)| *sum += delta);
            assert_eq!(flow.total, Some(sum), "the total is the sum so far: {flows:?}");
        }
        assert_eq!(sum, *counts, "to the byte: {flows:?}");
        assert_eq!(flows.iter().filter(|flow| flow.is_closed).count(), 1, "closed once: {flows:?}");
    }
    assert!(reported.is_empty(), "not ended or not there: {reported:?}");
}
