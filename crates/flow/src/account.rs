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
/// A record's span is honest rather than narrow: what it counts went between `from` and `to`. `from` is when the last complete
/// snapshot began, or the connection's start if that was later; it is null if the kernel does not say the start and nobody
/// looked before.
#[derive(Debug)]
pub struct Account {
    origin: Origin,
    meter: Meter,
    /// When the last complete snapshot began.
    read: Option<Timestamp>,
    /// When the snapshot began that is being read.
    reading: Option<Timestamp>,
    /// What began before was counted by somebody who did not say how much.
    baseline: Option<Timestamp>,
    /// So many complete snapshots are to come whose missing connections a gap that was declared accounts for.
    excused: u8,
    /// The last complete snapshot was one of them.
    is_excused: bool,
    vanished: Vec<Incarnation>,
    /// Connections whose end or whose zeroing was missed, and that no gap has been declared for yet.
    unsaid: [u64; 2],
}

/// The places of `unsaid`.
const REPLACED: usize = 0;
const ZEROED: usize = 1;

impl Account {
    /// A new one, that keeps at most `limit` connections.
    pub fn new(origin: Origin, limit: usize) -> Self {
        Self {
            origin,
            meter: Meter::new(limit),
            read: None,
            reading: None,
            baseline: None,
            excused: 0,
            is_excused: false,
            vanished: Vec::new(),
            unsaid: [0; 2],
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

    /// Puts back when the last complete snapshot began ([`read`](Self::read)), and the
    /// [`next_generation`](Self::next_generation).
    pub fn restore_progress(&mut self, read: Option<Timestamp>, next_generation: u32) {
        self.read = read;
        self.meter.restore_generation(next_generation);
    }

    /// Counts of connections that began before `time` only what they carry from now on: what was counted of them is not known.
    pub const fn take_as_counted(&mut self, before: Timestamp) {
        self.baseline = Some(before);
    }

    /// When the last complete snapshot began.
    pub const fn read(&self) -> Option<Timestamp> {
        self.read
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
            self.read = self.reading.take();
            self.baseline = None;
            self.is_excused = self.excused > 0;
            self.excused = self.excused.saturating_sub(1);
        }
        std::mem::take(&mut self.vanished)
    }

    /// Closes a connection that is gone without a word: with its last counters, if what was in its slot is known.
    pub fn vanish(&mut self, gone: &Incarnation, bytes: Option<&[u8]>, at: Timestamp, out: &mut Output) {
        if let Some((connection, generation)) = bytes.and_then(|bytes| saved::decode(bytes, self.origin.cookie)) {
            let from = self.from(&connection, false);
            self.say_closed(&connection, generation, gone.total, from, at, out);
        }
        out.slots.push((gone.slot, None));
        if gone.key.is_stamped() {
            out.closed.push(gone.key);
        }
        self.unsaid[REPLACED] += u64::from(!self.is_excused);
    }

    /// Closes a connection of a namespace that is no more, with what was in its slot. It need not be restored for this.
    pub fn abandon(&mut self, slot: Slot, bytes: &[u8], at: Timestamp, out: &mut Output) {
        if let Some((connection, generation)) = saved::decode(bytes, self.origin.cookie) {
            let from = self.from(&connection, false);
            self.say_closed(&connection, generation, connection.counters.unwrap_or_default(), from, at, out);
        }
        out.slots.push((slot, None));
    }

    /// Declares what was found missing since the last time. To be called before output is kept.
    pub fn settle(&mut self, at: Timestamp, out: &mut Output) {
        let reasons = [(REPLACED, GapReason::NoDestroy), (ZEROED, GapReason::Zeroed)];
        for (place, reason) in reasons {
            let lost = std::mem::take(&mut self.unsaid[place]);
            if lost > 0 {
                let from = self.read.unwrap_or(at).min(at);
                out.records.push(self.origin.gap(&Gap { from, to: at, reason, lost: Some(lost) }));
            }
        }
    }

    /// Declares a gap. It accounts for connections that are found missing in the next two complete snapshots.
    pub fn declare(&mut self, gap: Gap, out: &mut Output) {
        self.excused = 2;
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
                self.unsaid[ZEROED] += 1;
            } else {
                let from = self.from(connection, false);
                self.say_closed(connection, before.generation, before.total, from, at, out);
                self.unsaid[REPLACED] += 1;
            }
        }
        self.keep(&now, connection, is_closed, out);
        let is_known = now.is_new && self.is_before_baseline(connection);
        if is_known && !is_closed {
            return;
        }
        let delta = if is_known { Counters::default() } else { now.delta };
        // Zeroed counters say nothing of the time before they were.
        let is_new = now.is_new && before.is_none();
        let from = self.from(connection, is_new);
        self.say(connection, &Delta { delta, ..now }, from, at, is_closed, out);
    }

    fn keep(&self, now: &Delta, connection: &Connection, is_closed: bool, out: &mut Output) {
        let Some(slot) = now.slot else { return };
        let bytes = (!is_closed).then(|| saved::encode(connection, now.generation, self.origin.cookie));
        out.slots.push((slot, bytes));
    }

    fn is_before_baseline(&self, connection: &Connection) -> bool {
        self.baseline.is_some_and(|baseline| stamp(connection.identity.start).is_none_or(|start| start < baseline))
    }

    /// Since when what is new of a connection went.
    fn from(&self, connection: &Connection, is_new: bool) -> Option<Timestamp> {
        match stamp(connection.identity.start) {
            Some(start) if is_new => Some(start),
            start if !is_new => self.read.max(start),
            // One that there was no room for was there before, perhaps.
            _ if self.meter.stats().refused == 0 => self.read,
            _ => None,
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
