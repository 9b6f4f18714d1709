use std::mem;

use crate::closed::Closed;
use crate::counters::Counters;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Key;
use crate::living::{Entry, Living, Slot};
use crate::step::{Delta, Incarnation, Step};

/// Counts every byte of every connection once.
///
/// It is told what snapshots of the connection table show ([`begin`](Self::begin), [`observe`](Self::observe),
/// [`touch`](Self::touch), [`end`](Self::end)) and the final counters of each connection that ends
/// ([`close`](Self::close)), in any order and mixed. It answers with a [`Step`]: what to record. Counters must not be zeroed
/// when they are read.
///
/// # Stamps
///
/// A connection whose start is known ([`Key::is_stamped`]) is told from all others for ever. So it does not matter when its
/// end is learned of, nor how often: what a snapshot shows of it afterwards is a [`Step::Duplicate`].
///
/// Without a stamp the kernel may use the identity again, and what is shown after an end is counted as another incarnation.
/// Each gets a generation of its own ([`next_generation`](Self::next_generation)). To count these once, too, the caller keeps
/// an order: ends that came before a snapshot are told before [`begin`](Self::begin), those that came during it after
/// [`end`](Self::end), and none twice.
///
/// # What the caller saves
///
/// Nothing is lost or doubled when the process dies, if in one transaction with the record that it makes of a step, the caller
/// saves what the step changed:
///
/// - [`observe`](Self::observe) that counted: slot, key, generation and total. For [`restore`](Self::restore).
/// - [`close`](Self::close), and each that vanished: nothing is in the slot any more; and the key, if it is stamped, is
///   closed. For [`restore_closed`](Self::restore_closed). It may be deleted after two more complete snapshots.
/// - [`next_generation`](Self::next_generation), if it has changed. For
///   [`restore_generation`](Self::restore_generation).
///
/// A step that was never saved is taken again after a restart, and comes out the same.
///
/// # Bounds
///
/// A connection takes 56 bytes in its slot and 6 to 12 in the index, and at most an eighth of the slots is spare: 63 to 70
/// bytes at 200,000. Slots that become free are kept for those to come. A key that is remembered as closed takes 19 to 39. The
/// limit holds for both.
///
/// # Speed
///
/// To observe is to wait for memory. A processor waits for that of several connections at once if little else is between them:
/// where they come in an order that is not that of the last snapshot, first make the keys of some dozens.
#[derive(Debug)]
pub struct Meter {
    living: Living,
    closed: Closed,
    /// Most connections of `living`.
    limit: usize,
    generations: Generations,
    /// The number of the last snapshot that began. It starts over: who was seen in one of the same number 65,536 snapshots
    /// ago, none of them complete since, may be taken for seen.
    snapshot: u16,
    is_in_snapshot: bool,
    /// Only what is counted; what is held, it holds itself.
    stats: Stats,
}

/// How much a [`Meter`] holds now, and what it could not treat like the rest since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Living connections that are kept.
    pub tracked: usize,
    /// Keys that are remembered as closed.
    pub closed: usize,
    /// [`Step::Refused`]: a connection is refused in each snapshot that shows it.
    pub refused: u64,
    /// [`Step::Restarted`].
    pub restarted: u64,
    /// Connections that were gone without a final word.
    pub vanished: u64,
    /// [`Step::Duplicate`].
    pub duplicates: u64,
    /// Closed keys that had to be forgotten early: should one be shown again, it would be counted again.
    pub forgotten: u64,
}

/// Saved state is believed up to here: beyond it, it is damaged.
const SLOTS: usize = 1 << 24;
/// Of a restored connection: it may have been absent from the two snapshots before.
const MISSED: u8 = 2;

impl Meter {
    /// One that keeps so many connections, and remembers as many closed ones (two at least).
    ///
    /// A living connection is never given up for another: it would be counted again. Those for which there is no room are
    /// refused until there is.
    pub fn new(limit: usize) -> Self {
        Self {
            living: Living::default(),
            closed: Closed::new(limit),
            limit: limit.min(u32::MAX as usize),
            generations: Generations { next: 0 },
            snapshot: 0,
            is_in_snapshot: false,
            stats: Stats::default(),
        }
    }

    /// Puts a connection from saved state back into its slot.
    ///
    /// # Errors
    /// If the slot is taken or above all reason (2²⁴, or the limit), or if the connection is in another one. It may be above the
    /// limit, which is for new ones: whatever was counted must not be counted again.
    pub fn restore(&mut self, slot: Slot, key: Key, generation: u32, total: Counters) -> Result<()> {
        if slot.0 as usize >= self.limit.max(SLOTS) {
            return Err(Error::new(ErrorKind::NoRoom, slot));
        }
        if self.living.is_taken(slot) {
            return Err(Error::new(ErrorKind::SlotTaken, slot));
        }
        if self.living.find(key).is_some() {
            return Err(Error::new(ErrorKind::KeyTaken, slot));
        }
        let (seen_in, missed) = (self.snapshot, MISSED);
        self.living.put(slot, Entry { key, total, generation, seen_in, is_absent: false, missed });
        Ok(())
    }

    /// Remembers a connection from saved state as closed.
    pub fn restore_closed(&mut self, key: Key) {
        self.closed.insert(key);
    }

    /// Continues with the generation that [`next_generation`](Self::next_generation) gave.
    pub fn restore_generation(&mut self, next: u32) {
        self.generations.next = next;
    }

    /// The generation that the next connection without a stamp gets. It only grows, up to 2³², where it starts over.
    pub const fn next_generation(&self) -> u32 {
        self.generations.next
    }

    /// A snapshot begins. One that has not ended is given up.
    pub fn begin(&mut self) {
        self.snapshot = self.snapshot.wrapping_add(1);
        self.is_in_snapshot = true;
    }

    /// A connection is there, and has carried `total`.
    pub fn observe(&mut self, key: Key, total: Counters) -> Step {
        let Some((slot, entry)) = self.living.get_mut(key) else { return self.meet(key, total) };
        let before = *entry;
        (entry.seen_in, entry.is_absent, entry.missed) = (self.snapshot, false, 0);
        if entry.total == total {
            return Step::Unchanged;
        }
        self.generations.advance(entry, &before, slot, total, &mut self.stats)
    }

    fn meet(&mut self, key: Key, total: Counters) -> Step {
        if self.closed.recall(key) {
            self.stats.duplicates += 1;
            return Step::Duplicate;
        }
        if self.living.len() >= self.limit {
            self.stats.refused += 1;
            return Step::Refused;
        }
        let generation = self.generations.first(key);
        let (seen_in, missed) = (self.snapshot, 0);
        let slot = self.living.insert(Entry { key, total, generation, seen_in, is_absent: false, missed });
        Step::Counted(Delta { slot: Some(slot), generation, delta: total, total, is_new: true, missed })
    }

    /// A connection is there, but is not counted now: its final word is to come.
    pub fn touch(&mut self, key: Key) {
        if let Some((_, entry)) = self.living.get_mut(key) {
            entry.missed = entry.missed.saturating_add(u8::from(entry.seen_in != self.snapshot));
            (entry.seen_in, entry.is_absent) = (self.snapshot, false);
        }
    }

    /// A connection has ended, and has carried `total`. Its slot is free afterwards. Never [`Step::Unchanged`] or
    /// [`Step::Refused`].
    pub fn close(&mut self, key: Key, total: Counters) -> Step {
        let step = match self.living.remove(key) {
            Some((slot, mut entry)) => {
                let before = entry;
                self.generations.advance(&mut entry, &before, slot, total, &mut self.stats)
            }
            None if self.closed.recall(key) => {
                self.stats.duplicates += 1;
                return Step::Duplicate;
            }
            None => {
                let generation = self.generations.first(key);
                Step::Counted(Delta { slot: None, generation, delta: total, total, is_new: true, missed: 0 })
            }
        };
        self.closed.insert(key);
        step
    }

    /// The snapshot has ended. Connections that were absent from this and the complete one before, and have not been seen
    /// between, are gone without a final word: they are removed and told to `vanished`. If one comes after all, it is a
    /// [`Step::Duplicate`].
    ///
    /// One that is not complete shows who is there, and says nothing of who is not. Outside a snapshot nothing happens.
    pub fn end(&mut self, is_complete: bool, mut vanished: impl FnMut(Incarnation)) {
        if !mem::take(&mut self.is_in_snapshot) || !is_complete {
            return;
        }
        self.closed.rotate();
        self.living.sweep(self.snapshot, |gone| {
            self.stats.vanished += 1;
            self.closed.insert(gone.key);
            vanished(gone);
        });
    }

    /// How much it holds, and what it could not treat like the rest.
    pub fn stats(&self) -> Stats {
        Stats {
            tracked: self.living.len(),
            closed: self.closed.len(),
            forgotten: self.closed.forgotten(),
            ..self.stats
        }
    }
}

/// Tells connections without a stamp apart.
#[derive(Debug)]
struct Generations {
    next: u32,
}

impl Generations {
    /// Of a connection that is not known.
    const fn first(&mut self, key: Key) -> u32 {
        if key.is_stamped() {
            return 0;
        }
        let next = self.next;
        self.next = next.wrapping_add(1);
        next
    }

    /// Counts what is new since the entry's total.
    fn advance(&mut self, entry: &mut Entry, before: &Entry, slot: Slot, total: Counters, stats: &mut Stats) -> Step {
        let before = before.incarnation(slot);
        let missed = before.missed;
        entry.total = total;
        if let Some(delta) = total.checked_sub(before.total) {
            let generation = before.generation;
            return Step::Counted(Delta { slot: Some(slot), generation, delta, total, is_new: false, missed });
        }
        stats.restarted += 1;
        let is_stamped = entry.key.is_stamped();
        entry.generation = if is_stamped { before.generation.wrapping_add(1) } else { self.first(entry.key) };
        let generation = entry.generation;
        let now = Delta { slot: Some(slot), generation, delta: total, total, is_new: true, missed };
        Step::Restarted { before, now }
    }
}

#[cfg(test)]
mod tests;
