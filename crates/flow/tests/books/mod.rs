//! What a caller of a meter keeps: the state that it saves, and what it recorded. It checks every step by the books.

#![allow(dead_code, reason = "each of those who keep them needs a part")]

use std::collections::{BTreeMap, BTreeSet};

use podtrail_flow::{Counters, Delta, Incarnation, Key, Meter, Slot, Step};

#[derive(Debug)]
pub(crate) struct Books {
    meter: Meter,
    limit: usize,
    rows: BTreeMap<Slot, Row>,
    /// Keys that were closed, until two complete snapshots have ended since.
    closed: [BTreeSet<Key>; 2],
    is_in_snapshot: bool,
    next_generation: u32,
    /// How often each key was closed.
    pub(crate) ends: BTreeMap<Key, u32>,
    generations: BTreeSet<u32>,
    /// All deltas.
    pub(crate) counted: Sum,
    /// The last totals of all incarnations that have ended.
    ended: Sum,
    forgotten: u64,
}

/// A saved connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    key: Key,
    generation: u32,
    total: Counters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub(crate) struct Sum([u128; 4]);

impl Sum {
    pub(crate) fn add(&mut self, c: Counters) {
        let counters = [c.original_packets, c.original_bytes, c.reply_packets, c.reply_bytes];
        for (sum, counter) in self.0.iter_mut().zip(counters) {
            *sum += u128::from(counter);
        }
    }
}

impl Books {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            meter: Meter::new(limit),
            limit,
            rows: BTreeMap::new(),
            closed: Default::default(),
            is_in_snapshot: false,
            next_generation: 0,
            ends: BTreeMap::new(),
            generations: BTreeSet::new(),
            counted: Sum::default(),
            ended: Sum::default(),
            forgotten: 0,
        }
    }

    /// The process died and was started again.
    pub(crate) fn restart(&mut self) {
        self.forgotten = self.forgotten();
        self.meter = Meter::new(self.limit);
        self.is_in_snapshot = false;
        for (slot, row) in self.rows.iter().rev() {
            self.meter.restore(*slot, row.key, row.generation, row.total).expect("what was saved fits");
        }
        self.saved_closed().for_each(|key| self.meter.restore_closed(key));
        self.meter.restore_generation(self.next_generation);
        self.check();
    }

    /// The keys that were closed, in the order in which they are restored.
    pub(crate) fn saved_closed(&self) -> impl Iterator<Item = Key> + use<> {
        self.closed.clone().into_iter().rev().flatten()
    }

    pub(crate) fn begin(&mut self) {
        self.is_in_snapshot = true;
        self.meter.begin();
    }

    pub(crate) fn touch(&mut self, key: Key) {
        self.meter.touch(key);
    }

    pub(crate) fn observe(&mut self, key: Key, total: Counters) -> Step {
        let step = self.meter.observe(key, total);
        let row = self.row(key);
        match step {
            Step::Unchanged => assert_eq!(row.expect("it is kept").1.total, total),
            Step::Duplicate => assert!(row.is_none() && self.ends.contains_key(&key)),
            Step::Refused => assert!(row.is_none() && self.rows.len() == self.limit),
            Step::Counted(_) | Step::Restarted { .. } => {
                let delta = self.record(key, total, step);
                let slot = delta.slot.expect("what lives is kept");
                self.rows.insert(slot, Row { key, generation: delta.generation, total });
            }
        }
        self.save();
        step
    }

    pub(crate) fn close(&mut self, key: Key, total: Counters) -> Step {
        let step = self.meter.close(key, total);
        if step == Step::Duplicate {
            assert!(self.row(key).is_none() && self.ends.contains_key(&key));
        } else {
            let delta = self.record(key, total, step);
            if let Some(slot) = delta.slot {
                self.rows.remove(&slot).expect("it was kept");
            }
            self.ended.add(total);
            self.end_of(key);
        }
        self.save();
        step
    }

    pub(crate) fn end(&mut self, is_complete: bool) -> Vec<Incarnation> {
        let mut gone = Vec::new();
        self.meter.end(is_complete, |incarnation| gone.push(incarnation));
        for incarnation in &gone {
            assert!(is_complete);
            let row = self.rows.remove(&incarnation.slot).expect("it was kept");
            assert_eq!(row, row_of(incarnation));
            self.ended.add(row.total);
        }
        if std::mem::take(&mut self.is_in_snapshot) && is_complete {
            self.closed.swap(0, 1);
            self.closed[0].clear();
        }
        gone.iter().for_each(|incarnation| self.end_of(incarnation.key));
        self.save();
        gone
    }

    /// A step must add exactly what makes the sum of an incarnation's deltas what was seen of it.
    fn record(&mut self, key: Key, total: Counters, step: Step) -> Delta {
        let (slot, row) = self.row(key).unzip();
        let delta = match (step, row) {
            (Step::Counted(delta), Some(row)) => {
                assert_eq!((delta.slot, delta.generation, delta.is_new), (slot, row.generation, false));
                assert_eq!(row.total.saturating_add(delta.delta), total);
                delta
            }
            (Step::Counted(delta), None) => {
                assert!(delta.slot.is_none_or(|slot| !self.rows.contains_key(&slot)));
                assert_eq!((delta.is_new, delta.delta), (true, total));
                delta
            }
            (Step::Restarted { before, now }, Some(row)) => {
                assert_eq!((row, Some(before.slot)), (row_of(&before), slot));
                assert_eq!((now.slot, now.is_new, now.delta), (slot, true, total));
                assert!(now.generation != row.generation && total.checked_sub(row.total).is_none());
                self.ended.add(row.total);
                now
            }
            _ => panic!("{step:?} of {row:?}"),
        };
        assert_eq!(delta.total, total);
        if delta.is_new && !key.is_stamped() {
            assert!(self.generations.insert(delta.generation), "a generation was used twice");
        }
        self.counted.add(delta.delta);
        delta
    }

    fn row(&self, key: Key) -> Option<(Slot, Row)> {
        self.rows.iter().find(|(_, row)| row.key == key).map(|(slot, row)| (*slot, *row))
    }

    fn end_of(&mut self, key: Key) {
        *self.ends.entry(key).or_default() += 1;
        if key.is_stamped() {
            self.closed[0].insert(key);
        }
    }

    fn save(&mut self) {
        self.next_generation = self.meter.next_generation();
        self.check();
    }

    fn check(&self) {
        let stats = self.meter.stats();
        assert!(stats.tracked == self.rows.len() && stats.tracked <= self.limit, "{stats:?}");
        assert!(stats.closed <= self.limit.max(2), "{stats:?}");
        assert!(self.rows.keys().all(|slot| (slot.0 as usize) < self.limit));
        let mut sum = self.ended;
        self.rows.values().for_each(|row| sum.add(row.total));
        assert_eq!(sum, self.counted);
    }

    /// What a step would be. It is not saved: the process dies before.
    pub(crate) fn take_unsaved(&mut self, step: impl FnOnce(&mut Meter)) {
        step(&mut self.meter);
        self.restart();
    }

    /// How many closed keys were forgotten early, restarts included.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten + self.meter.stats().forgotten
    }
}

fn row_of(incarnation: &Incarnation) -> Row {
    Row { key: incarnation.key, generation: incarnation.generation, total: incarnation.total }
}
