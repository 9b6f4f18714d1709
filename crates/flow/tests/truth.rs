//! Connections live, carry bytes and end; a process that may die at any step looks on. What it counts is what was carried.

mod books;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use books::{Books, Sum};
use podtrail_flow::{Counters, Identity, Key, Step};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Happens {
    /// A connection begins.
    Begin,
    /// One carries something more.
    Carry(Index, u64),
    /// One ends. Its final word is to come.
    End(Index),
    /// A final word comes, in any order; whether the process dies before it has saved what that means.
    Told(Index, bool),
    /// One comes again.
    ToldAgain(Index),
    /// The table is read: all that there is now is shown later.
    Snapshot,
    /// One of those; whether the process dies before it has saved what that means.
    Shown(bool),
    /// The snapshot ends, whether or not all was shown.
    SnapshotEnds,
    Restart,
}

#[derive(Default)]
struct World {
    begun: u32,
    living: BTreeMap<Key, Counters>,
    /// Ended, and not told.
    finals: Vec<(Key, Counters)>,
    /// What each that has ended has carried: the truth.
    ended: Vec<Counters>,
    /// Told since the last complete snapshot ended.
    told: Vec<(Key, Counters)>,
    /// What the snapshot has yet to show, if it is read.
    snapshot: Option<Vec<(Key, Counters)>>,
}

impl World {
    fn begin(&mut self) {
        self.begun += 1;
        let identity = Identity {
            netns: 1,
            zone: 0,
            protocol: 17,
            src: Ipv6Addr::LOCALHOST.into(),
            dst: Ipv6Addr::LOCALHOST.into(),
            ports: (53, 53),
            direction_zone: 0,
            id: 1,
            start: Some(self.begun.into()),
        };
        self.living.insert(identity.key(), Counters::default());
    }

    fn some(&self, index: Index) -> Option<Key> {
        let nth = (!self.living.is_empty()).then(|| index.index(self.living.len()))?;
        self.living.keys().nth(nth).copied()
    }

    fn carry(&mut self, key: Key, bytes: u64) {
        let more = Counters { original_packets: 1, original_bytes: bytes, reply_packets: 1, reply_bytes: 40 };
        self.living.entry(key).and_modify(|carried| *carried = carried.saturating_add(more));
    }

    fn end(&mut self, key: Key) {
        let (key, total) = self.living.remove_entry(&key).expect("it lives");
        self.finals.push((key, total));
        self.ended.push(total);
    }

    fn happens(&mut self, what: &Happens, books: &mut Books) {
        match *what {
            Happens::Begin => self.begin(),
            Happens::Carry(index, bytes) => _ = self.some(index).map(|key| self.carry(key, bytes)),
            Happens::End(index) => _ = self.some(index).map(|key| self.end(key)),
            Happens::Told(index, dies) if !self.finals.is_empty() => {
                let (key, total) = self.finals[index.index(self.finals.len())];
                if dies {
                    books.take_unsaved(|meter| _ = meter.close(key, total));
                    self.snapshot = None;
                } else {
                    self.finals.retain(|told| told.0 != key);
                    self.told.push((key, total));
                    books.close(key, total);
                }
            }
            Happens::ToldAgain(index) if !self.told.is_empty() => {
                let (key, total) = self.told[index.index(self.told.len())];
                let step = books.close(key, total);
                assert!(step == Step::Duplicate || books.forgotten() > 0);
            }
            Happens::Snapshot => {
                self.snapshot = Some(self.living.iter().map(|(key, total)| (*key, *total)).collect());
                books.begin();
                self.finals.iter().for_each(|(key, _)| books.touch(*key));
            }
            Happens::Shown(dies) => {
                let Some((key, total)) = self.snapshot.as_mut().and_then(Vec::pop) else { return };
                if dies {
                    books.take_unsaved(|meter| _ = meter.observe(key, total));
                    self.snapshot = None;
                } else {
                    books.observe(key, total);
                }
            }
            Happens::SnapshotEnds => {
                let Some(left) = self.snapshot.take() else { return };
                let gone = books.end(left.is_empty());
                assert!(gone.is_empty() || books.forgotten() > 0, "all are there or yet to be told");
                if left.is_empty() {
                    self.told.clear();
                }
            }
            Happens::Restart => {
                books.restart();
                self.snapshot = None;
            }
            Happens::Told(..) | Happens::ToldAgain(_) => {}
        }
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    let any = any::<Index>;
    prop_oneof![
        4 => Just(Happens::Begin),
        8 => (any(), 0..5000u64).prop_map(|(which, bytes)| Happens::Carry(which, bytes)),
        4 => any().prop_map(Happens::End),
        4 => (any(), proptest::bool::weighted(0.1)).prop_map(|(which, dies)| Happens::Told(which, dies)),
        2 => any().prop_map(Happens::ToldAgain),
        3 => Just(Happens::Snapshot),
        12 => proptest::bool::weighted(0.03).prop_map(Happens::Shown),
        3 => Just(Happens::SnapshotEnds),
        1 => Just(Happens::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_counted_once_and_every_end_told_once(
        limit in prop_oneof![0..8usize, Just(100)],
        history in proptest::collection::vec(happens(), 0..200),
    ) {
        let mut world = World::default();
        let mut books = Books::new(limit);
        let mut carried = Sum::default();
        for what in &history {
            world.happens(what, &mut books);
        }
        while let Some((key, _)) = world.living.first_key_value() {
            world.end(*key);
        }
        for (key, total) in world.finals {
            books.close(key, total);
        }
        world.ended.into_iter().for_each(|total| carried.add(total));
        if books.forgotten() == 0 {
            prop_assert_eq!(books.counted, carried);
            prop_assert_eq!(books.ends.len(), world.begun as usize);
            prop_assert!(books.ends.values().all(|ends| *ends == 1));
        } else {
            prop_assert!(limit < 100 && books.counted >= carried);
        }
    }
}
