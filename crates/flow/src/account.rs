use podtrail_event::Timestamp;

use crate::record::{Flow, Gap, GapReason, Origin, Record, stamp};
use crate::{Connection, Counters, Delta, Incarnation, Key, Meter, Slot, Stats, Step, saved};

/// What an [`Account`] wants kept, together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever ignored a part of it would lose something")]
pub struct Output {
    /// Records, in order.
    pub records: Vec<Record>,
    /// What is in a slot now; `None` if nothing is. Of several for one slot the last holds.
    pub slots: Vec<(Slot, Option<Vec<u8>>)>,
    /// Connections that ended, to be remembered until two complete snapshots have ended after this.
    pub closed: Vec<Key>,
}

/// Counts the connections of one network namespace, and says what it counted: a [`Meter`] with records.
///
/// It is told what is read and when, and adds to an [`Output`] what must be kept. The order of the calls is that of the
/// [`Meter`]. A time is that of the node's clock *after* what it is about was read.
///
/// A record's span is honest rather than narrow: what it counts went between `from` and `to`. `from` is when the complete
/// snapshot began that counted the connection last, or the connection's start if that was later; it is null if the kernel does
/// not say the start and nobody looked before.
#[derive(Debug)]
pub struct Account {
    origin: Origin,
    meter: Meter,
    /// When the last complete snapshots began, the last one first.
    reads: Reads,
    /// When the snapshot began that is being read.
    reading: Option<Timestamp>,
    /// What began before was counted by somebody who did not say how much.
    baseline: Option<Timestamp>,
    excuse: Excuse,
    vanished: Vec<Incarnation>,
    /// Connections that were gone without a word, and those whose counters were zeroed, that no gap has been declared for yet.
    replaced: Unsaid,
    zeroed: Unsaid,
}

/// When the last complete snapshots began, the last one first.
pub type Reads = [Option<Timestamp>; 4];

/// What a declared gap accounts for.
#[derive(Clone, Copy, Debug, Default)]
struct Excuse {
    /// The missing of so many complete snapshots to come.
    snapshots: u8,
    /// So many of them; `None` if it is not known how many.
    connections: Option<u64>,
    /// The last complete snapshot is one of those.
    is_valid: bool,
}

/// Connections for which a gap is to be declared.
#[derive(Clone, Copy, Debug, Default)]
struct Unsaid {
    connections: u64,
    from: Option<Timestamp>,
}

impl Unsaid {
    fn add(&mut self, from: Option<Timestamp>) {
        self.from = if self.connections == 0 { from } else { self.from.min(from) };
        self.connections += 1;
    }
}

impl Account {
    /// A new one, that keeps at most `limit` connections.
    pub fn new(origin: Origin, limit: usize) -> Self {
        Self {
            origin,
            meter: Meter::new(limit),
            reads: [None; 4],
            reading: None,
            baseline: None,
            excuse: Excuse::default(),
            vanished: Vec::new(),
            replaced: Unsaid::default(),
            zeroed: Unsaid::default(),
        }
    }

    /// Where it counts.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Puts back what was in a slot. Says whether that could be done: not if it is damaged, or does not fit with the rest.
    #[must_use]
    pub fn restore(&mut self, slot: Slot, bytes: &[u8]) -> bool {
        saved::decode(bytes, self.origin.cookie).is_some_and(|(connection, generation)| {
            let total = connection.counters.unwrap_or_default();
            self.meter.restore(slot, connection.identity.key(), generation, total).is_ok()
        })
    }

    /// Puts back that a connection ended.
    pub fn restore_closed(&mut self, key: Key) {
        self.meter.restore_closed(key);
    }

    /// Puts back when the last complete snapshots began ([`reads`](Self::reads)), and the
    /// [`next_generation`](Self::next_generation).
    pub fn restore_progress(&mut self, reads: Reads, next_generation: u32) {
        self.reads = reads;
        self.meter.restore_generation(next_generation);
    }

    /// Counts of connections that began before `time` only what they carry from now on: what was counted of them is not known.
    pub const fn take_as_counted(&mut self, before: Timestamp) {
        self.baseline = Some(before);
    }

    /// When the last complete snapshots began, the last one first.
    pub const fn reads(&self) -> Reads {
        self.reads
    }

    /// See [`Meter::next_generation`].
    pub const fn next_generation(&self) -> u32 {
        self.meter.next_generation()
    }

    /// See [`Meter::stats`].
    pub fn stats(&self) -> Stats {
        self.meter.stats()
    }

    /// A snapshot begins.
    pub fn begin(&mut self, at: Timestamp) {
        self.reading = Some(at);
        self.meter.begin();
    }

    /// A snapshot shows a connection that is to be counted. `at` is asked if there is something to say.
    pub fn observe(&mut self, connection: &Connection, at: impl FnOnce() -> Timestamp, out: &mut Output) {
        let step = self.meter.observe(connection.identity.key(), connection.counters.unwrap_or_default());
        if matches!(step, Step::Counted(_) | Step::Restarted { .. }) {
            self.take(step, connection, at(), false, out);
        }
    }

    /// A connection is there that is ending: its last word is to come.
    pub fn touch(&mut self, connection: &Connection) {
        self.meter.touch(connection.identity.key());
    }

    /// The kernel said that a connection ended.
    pub fn close(&mut self, connection: &Connection, at: Timestamp, out: &mut Output) {
        let key = connection.identity.key();
        let step = self.meter.close(key, connection.counters.unwrap_or_default());
        if matches!(step, Step::Duplicate) {
            return;
        }
        if key.is_stamped() {
            out.closed.push(key);
        }
        self.take(step, connection, stamp(connection.stop).unwrap_or(at), true, out);
    }

    /// The snapshot has ended; says which connections are gone without a word. Each must be given to
    /// [`vanish`](Self::vanish) with what is in its slot, once all output before this is kept.
    pub fn end(&mut self, is_complete: bool) -> Vec<Incarnation> {
        self.meter.end(is_complete, |gone| self.vanished.push(gone));
        if is_complete {
            self.reads.rotate_right(1);
            self.reads[0] = self.reading.take();
            self.excuse.is_valid = self.excuse.snapshots > 0;
            self.excuse.snapshots = self.excuse.snapshots.saturating_sub(1);
        }
        std::mem::take(&mut self.vanished)
    }

    /// Closes a connection that is gone without a word: with its last counters, if what was in its slot is known.
    pub fn vanish(&mut self, gone: &Incarnation, bytes: Option<&[u8]>, at: Timestamp, out: &mut Output) {
        let saved = bytes.and_then(|bytes| saved::decode(bytes, self.origin.cookie));
        let from = self.since(saved.as_ref().and_then(|(connection, _)| connection.identity.start), gone.missed);
        if let Some((connection, generation)) = saved {
            self.say_closed(&connection, generation, gone.total, from, at, out);
        }
        out.slots.push((gone.slot, None));
        if gone.key.is_stamped() {
            out.closed.push(gone.key);
        }
        if !self.excuse.take() {
            self.replaced.add(from);
        }
    }

    /// Closes a connection of a namespace that is no more, with what was in its slot. It need not be restored for this.
    pub fn abandon(&mut self, slot: Slot, bytes: &[u8], at: Timestamp, out: &mut Output) {
        if let Some((connection, generation)) = saved::decode(bytes, self.origin.cookie) {
            let from = self.since(connection.identity.start, 2);
            self.say_closed(&connection, generation, connection.counters.unwrap_or_default(), from, at, out);
        }
        out.slots.push((slot, None));
    }

    /// Declares what was found missing since the last time. To be called whenever output is to be kept, so that no closing line
    /// is kept without its gap.
    pub fn settle(&mut self, at: Timestamp, out: &mut Output) {
        let found = [(&mut self.replaced, GapReason::NoDestroy), (&mut self.zeroed, GapReason::Zeroed)];
        for (unsaid, reason) in found {
            let Unsaid { connections, from } = std::mem::take(unsaid);
            if connections > 0 {
                let from = from.unwrap_or(at).min(at);
                out.records.push(self.origin.gap(&Gap { from, to: at, reason, lost: Some(connections) }));
            }
        }
    }

    /// Declares a gap. It accounts for as many connections as it says were lost, if they are found missing in the next two complete
    /// snapshots; for all that are, if it does not say.
    pub fn declare(&mut self, gap: Gap, out: &mut Output) {
        self.excuse.grow(gap.lost);
        let gap = Gap { from: gap.from.min(gap.to), ..gap };
        out.records.push(self.origin.gap(&gap));
    }

    fn take(&mut self, step: Step, connection: &Connection, at: Timestamp, is_closed: bool, out: &mut Output) {
        let (before, now) = match step {
            Step::Counted(now) => (None, now),
            Step::Restarted { before, now } => (Some(before), now),
            Step::Unchanged | Step::Duplicate | Step::Refused => return,
        };
        if let Some(before) = before {
            if connection.identity.start.is_some() {
                // The same connection: its counters were set to zero.
                self.zeroed.add(self.since(connection.identity.start, before.missed));
            } else {
                let from = self.since(None, before.missed);
                self.say_closed(connection, before.generation, before.total, from, at, out);
                self.replaced.add(from);
            }
        }
        self.keep(&now, connection, is_closed, out);
        let is_known = now.is_new && self.is_before_baseline(connection);
        if is_known && !is_closed {
            return;
        }
        let delta = if is_known { Counters::default() } else { now.delta };
        let start = connection.identity.start;
        let from = match before {
            None if now.is_new => self.since_unseen(start, is_closed),
            // Zeroed counters say nothing of the time before they were.
            _ => self.since(start, now.missed),
        };
        self.say(connection, &Delta { delta, ..now }, from, at, is_closed, out);
    }

    fn keep(&self, now: &Delta, connection: &Connection, is_closed: bool, out: &mut Output) {
        let Some(slot) = now.slot else { return };
        let bytes = (!is_closed).then(|| saved::encode(connection, now.generation));
        out.slots.push((slot, bytes));
    }

    fn is_before_baseline(&self, connection: &Connection) -> bool {
        self.baseline.is_some_and(|baseline| match stamp(connection.identity.start) {
            Some(start) => start < baseline,
            // What was there before was shown by the first complete snapshot, or has ended before the second.
            None => self.reads[1].is_none(),
        })
    }

    /// Since when what is new of a known connection went, that so many complete snapshots did not count.
    fn since(&self, start: Option<u64>, missed: u8) -> Option<Timestamp> {
        let read = self.reads.get(usize::from(missed)).copied().flatten();
        read.max(stamp(start))
    }

    /// Since when what is counted of a connection that was never seen went.
    fn since_unseen(&self, start: Option<u64>, is_closed: bool) -> Option<Timestamp> {
        match start {
            Some(_) => stamp(start),
            // One that there was no room for was there before, perhaps.
            None if self.meter.stats().refused > 0 => None,
            // It may have begun before the last snapshot, and ended before that came to it.
            None => self.reads[usize::from(is_closed)],
        }
    }

    fn say(
        &self,
        connection: &Connection,
        now: &Delta,
        from: Option<Timestamp>,
        at: Timestamp,
        is_closed: bool,
        out: &mut Output,
    ) {
        let Delta { generation, delta, total, .. } = *now;
        let to = from.map_or(at, |from| at.max(from));
        out.records.push(self.origin.flow(&Flow { connection, generation, from, to, delta, total, is_closed }));
    }

    fn say_closed(
        &self,
        connection: &Connection,
        generation: u32,
        total: Counters,
        from: Option<Timestamp>,
        at: Timestamp,
        out: &mut Output,
    ) {
        let to = from.map_or(at, |from| at.max(from));
        let flow = Flow { connection, generation, from, to, delta: Counters::default(), total, is_closed: true };
        out.records.push(self.origin.flow(&flow));
    }
}

impl Excuse {
    /// Whether one that is missing is accounted for.
    fn take(&mut self) -> bool {
        match &mut self.connections {
            _ if !self.is_valid => false,
            None => true,
            Some(left) => {
                let is_one = *left > 0;
                *left = left.saturating_sub(1);
                is_one
            }
        }
    }

    fn grow(&mut self, lost: Option<u64>) {
        let left = if self.snapshots == 0 && !self.is_valid { Some(0) } else { self.connections };
        self.connections = left.zip(lost).map(|(left, lost)| left.saturating_add(lost));
        self.snapshots = 2;
    }
}

impl Output {
    /// Empties it, to be filled again.
    pub fn clear(&mut self) {
        self.records.clear();
        self.slots.clear();
        self.closed.clear();
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.slots.is_empty() && self.closed.is_empty()
    }
}
