//! Whatever a meter is told, in whatever order, its steps are those of rules that are written as plainly as can be.

mod books;

use std::collections::{BTreeMap, BTreeSet};

use books::Books;
use podtrail_flow::{Counters, Key, Step};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Told {
    Begin,
    Observe(Key, Counters),
    Touch(Key),
    Close(Key, Counters),
    End(bool),
    Restart,
}

/// A step, without slots.
#[derive(Debug, PartialEq)]
enum Plain {
    Unchanged,
    Duplicate,
    Refused,
    Counted(u32, Counters, bool),
    Restarted(u32, u32),
}

impl From<Step> for Plain {
    fn from(step: Step) -> Self {
        match step {
            Step::Unchanged => Self::Unchanged,
            Step::Duplicate => Self::Duplicate,
            Step::Refused => Self::Refused,
            Step::Counted(delta) => Self::Counted(delta.generation, delta.delta, delta.is_new),
            Step::Restarted { before, now } => Self::Restarted(before.generation, now.generation),
        }
    }
}

#[derive(Default)]
struct Rules {
    limit: usize,
    /// Generation and total.
    living: BTreeMap<Key, (u32, Counters)>,
    /// How many complete snapshots in a row did not show it.
    absences: BTreeMap<Key, u32>,
    /// Seen since the snapshot began, if one did and has not ended.
    seen: Option<BTreeSet<Key>>,
    /// Newer and older.
    closed: [BTreeSet<Key>; 2],
    next_generation: u32,
}

impl Rules {
    fn observe(&mut self, key: Key, total: Counters) -> Plain {
        if self.is_duplicate(key) {
            return Plain::Duplicate;
        }
        if !self.living.contains_key(&key) && self.living.len() == self.limit {
            return Plain::Refused;
        }
        let step = self.count(key, total);
        if step == Plain::Counted(self.living[&key].0, Counters::default(), false) { Plain::Unchanged } else { step }
    }

    fn close(&mut self, key: Key, total: Counters) -> Plain {
        if self.is_duplicate(key) {
            return Plain::Duplicate;
        }
        let step = self.count(key, total);
        self.living.remove(&key);
        self.remember(key);
        step
    }

    fn count(&mut self, key: Key, total: Counters) -> Plain {
        self.touch(key);
        let (generation, step) = match self.living.get(&key).copied() {
            None => {
                let generation = self.generation(key, 0);
                (generation, Plain::Counted(generation, total, true))
            }
            Some((generation, before)) => match total.checked_sub(before) {
                Some(delta) => (generation, Plain::Counted(generation, delta, false)),
                None => {
                    let next = self.generation(key, generation + 1);
                    (next, Plain::Restarted(generation, next))
                }
            },
        };
        self.living.insert(key, (generation, total));
        step
    }

    fn generation(&mut self, key: Key, of_stamped: u32) -> u32 {
        self.next_generation += u32::from(!key.is_stamped());
        if key.is_stamped() { of_stamped } else { self.next_generation - 1 }
    }

    fn touch(&mut self, key: Key) {
        self.absences.insert(key, 0);
        self.seen.iter_mut().for_each(|seen| _ = seen.insert(key));
    }

    fn is_duplicate(&mut self, key: Key) -> bool {
        let is_closed = !self.living.contains_key(&key) && self.closed.iter().any(|keys| keys.contains(&key));
        if is_closed {
            self.remember(key);
        }
        is_closed
    }

    fn remember(&mut self, key: Key) {
        if !key.is_stamped() || self.closed[0].contains(&key) {
            return;
        }
        self.closed[1].remove(&key);
        if self.closed[0].len() == (self.limit / 2).max(1) {
            self.forget();
        }
        self.closed[0].insert(key);
    }

    fn forget(&mut self) {
        self.closed.swap(0, 1);
        self.closed[0].clear();
    }

    fn end(&mut self, is_complete: bool) -> BTreeSet<Key> {
        let Some(seen) = self.seen.take().filter(|_| is_complete) else { return BTreeSet::new() };
        self.forget();
        let absent: Vec<_> = self.living.keys().filter(|key| !seen.contains(key)).copied().collect();
        let is_gone = |key: &Key| {
            let absences = self.absences.entry(*key).or_default();
            *absences += 1;
            *absences == 2
        };
        let gone: BTreeSet<_> = absent.into_iter().filter(is_gone).collect();
        self.living.retain(|key, _| !gone.contains(key));
        gone
    }

    fn restart(&mut self, closed: impl Iterator<Item = Key>) {
        (self.seen, self.absences, self.closed) = (None, BTreeMap::new(), Default::default());
        closed.for_each(|key| self.remember(key));
    }
}

/// Few, so that they meet often; every other one is stamped.
fn key() -> impl Strategy<Value = Key> {
    (0..8u8).prop_map(|n| Key::from_bytes([n; 16]))
}

/// Few, so that they decrease as often as they grow.
fn counters() -> impl Strategy<Value = Counters> {
    (0..4u64, 0..4u64).prop_map(|(original, reply)| Counters {
        original_packets: original,
        original_bytes: original * 100,
        reply_packets: reply,
        reply_bytes: reply * 100,
    })
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        2 => Just(Told::Begin),
        8 => (key(), counters()).prop_map(|(key, total)| Told::Observe(key, total)),
        2 => key().prop_map(Told::Touch),
        4 => (key(), counters()).prop_map(|(key, total)| Told::Close(key, total)),
        2 => proptest::bool::weighted(0.8).prop_map(Told::End),
        1 => Just(Told::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_follow_the_rules_whatever_is_told(
        limit in 0..7usize,
        history in proptest::collection::vec(told(), 0..80),
    ) {
        let mut books = Books::new(limit);
        let mut rules = Rules { limit, ..Rules::default() };
        for told in history {
            match told {
                Told::Begin => {
                    books.begin();
                    rules.seen = Some(BTreeSet::new());
                }
                Told::Observe(key, total) => {
                    prop_assert_eq!(Plain::from(books.observe(key, total)), rules.observe(key, total));
                }
                Told::Touch(key) => {
                    books.touch(key);
                    rules.touch(key);
                }
                Told::Close(key, total) => {
                    prop_assert_eq!(Plain::from(books.close(key, total)), rules.close(key, total));
                }
                Told::End(is_complete) => {
                    let gone: Vec<_> = books.end(is_complete).iter().map(|gone| gone.key).collect();
                    prop_assert_eq!(gone.iter().copied().collect::<BTreeSet<_>>(), rules.end(is_complete));
                    gone.into_iter().for_each(|key| rules.remember(key));
                }
                Told::Restart => {
                    books.restart();
                    rules.restart(books.saved_closed());
                }
            }
        }
    }
}
