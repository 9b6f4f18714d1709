//! Any sequence of calls against what they are to do, in both kinds, with the file closed and opened between them.

use std::collections::BTreeMap;

use podtrail_writer::{Position, Source as _, Spool, StartFrom, StateChange};
use proptest::prelude::*;

use crate::harness::{both, kept, records};

/// So that the log of the state goes into the table now and then.
const LIMIT: u64 = 32 << 20;

#[derive(Clone, Debug)]
enum Call {
    Write { records: u64, state: Vec<(u32, u32, Option<u8>)> },
    Register { sink: usize, now: bool },
    Freeze { sink: usize, rows: u64 },
    Commit { sink: usize, rows: u64 },
    Forget { sink: usize },
    Reopen,
}

const SINKS: [&str; 3] = ["a", "b", "c"];

fn call() -> impl Strategy<Value = Call> {
    let state = prop::collection::vec((0..3u32, 0..40u32, prop::option::of(any::<u8>())), 0..30);
    let (sink, rows) = (0..SINKS.len(), prop_oneof![0..50u64, 0..3000u64]);
    prop_oneof![
        6 => (prop_oneof![8 => 0..50u64, 1 => 0..6000u64], state).prop_map(|(records, state)| Call::Write { records, state }),
        2 => (sink.clone(), any::<bool>()).prop_map(|(sink, now)| Call::Register { sink, now }),
        2 => (sink.clone(), rows.clone()).prop_map(|(sink, rows)| Call::Freeze { sink, rows }),
        5 => (sink.clone(), rows).prop_map(|(sink, rows)| Call::Commit { sink, rows }),
        1 => sink.prop_map(|sink| Call::Forget { sink }),
        1 => Just(Call::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    head: u64,
    state: BTreeMap<(u32, u32), u8>,
    sinks: BTreeMap<&'static str, Position>,
    /// Nothing after it was ever got by all.
    slowest: u64,
}

impl Model {
    async fn apply(&mut self, spool: &Spool, call: &Call) {
        match call {
            Call::Write { records: count, state } => {
                let mut change = records(self.head + 1..=self.head + count);
                for &(space, slot, value) in state {
                    change.state.push(StateChange { space, slot, value: value.map(|value| vec![value; 5000]) });
                    match value {
                        Some(value) => self.state.insert((space, slot), value),
                        None => self.state.remove(&(space, slot)),
                    };
                }
                self.head += count;
                assert_eq!(spool.write(&change).unwrap(), self.head);
            }
            Call::Register { sink, now } => {
                let start = if *now { StartFrom::Now } else { StartFrom::Start };
                let position = spool.feed(SINKS[*sink], start).unwrap().position().await.unwrap();
                let known = self.sinks.entry(SINKS[*sink]).or_insert_with(|| {
                    assert!(if *now { position.seq == self.head } else { position.seq <= self.slowest });
                    position.clone()
                });
                assert_eq!(*known, position);
            }
            Call::Freeze { sink, rows } => {
                let Some(position) = self.sinks.get_mut(SINKS[*sink]) else { return };
                let last = self.head.min(position.seq + rows);
                position.frozen = Some(last);
                spool.feed(SINKS[*sink], StartFrom::Start).unwrap().freeze(last).await.unwrap();
            }
            Call::Commit { sink, rows } => {
                let Some(position) = self.sinks.get_mut(SINKS[*sink]) else { return };
                let seq = self.head.min(position.seq + rows);
                *position = Position { seq, resume: (rows % 2 == 0).then(|| rows.to_string()), frozen: None };
                spool.feed(SINKS[*sink], StartFrom::Start).unwrap().commit(position.clone()).await.unwrap();
            }
            Call::Forget { sink } => {
                assert_eq!(spool.forget_sink(SINKS[*sink]).unwrap(), self.sinks.remove(SINKS[*sink]).is_some());
            }
            Call::Reopen => {}
        }
        let positions = self.sinks.values().map(|position| position.seq);
        self.slowest = positions.min().unwrap_or(self.slowest);
    }

    async fn check(&self, spool: &Spool, state: bool) {
        let sinks = spool.sinks().unwrap();
        assert!(
            sinks.iter().map(|(name, position)| (name.as_str(), position)).eq(self.sinks.iter().map(|(n, p)| (*n, p)))
        );
        if let Some((slowest, _)) = sinks.iter().min_by_key(|(_, position)| position.seq) {
            let mut feed = spool.feed(slowest, StartFrom::Start).unwrap();
            assert!(kept(&mut feed, self.slowest).await.into_iter().eq(self.slowest + 1..=self.head));
            assert_eq!(spool.backlog().records, self.head - self.slowest);
        }
        for space in 0..3 {
            let mut shown = Vec::new();
            spool.state(space, |slot, value| shown.push((slot, value.to_vec()))).unwrap();
            let expected = self.state.range((space, 0)..(space + 1, 0)).filter(|_| state);
            assert!(shown.into_iter().eq(expected.map(|((_, slot), value)| (*slot, vec![*value; 5000]))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_calls_do_what_they_should(calls in prop::collection::vec(call(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (mut spool, folder) in both(LIMIT) {
                let mut model = Model::default();
                for call in &calls {
                    model.apply(&spool, call).await;
                    if let (Call::Reopen, Some(folder)) = (call, &folder) {
                        drop(spool);
                        spool = Spool::open(folder.path().join("spool.db"), LIMIT).unwrap();
                    }
                    model.check(&spool, folder.is_some()).await;
                }
            }
        });
    }
}
