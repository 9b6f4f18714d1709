//! The spool of a flow agent: `write` with 200,000 values of state in the file, a few changes and many, and what it takes
//! to deliver. The disk's part is not in it: nothing here waits for one, save SQLite's checkpoints and the freezes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use podtrail_event::EventId;
use podtrail_writer::{Change, Feed, Item, Position, Source as _, Spool, StartFrom, StateChange};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

const SLOTS: u32 = 200_000;
const VALUE: usize = 150;
const LINE: usize = 450;

struct Trial {
    spool: Spool,
    feed: Feed,
    runtime: tokio::runtime::Runtime,
    rng: SmallRng,
    _folder: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let spool = Spool::open(folder.path().join("spool.db"), 1 << 30).expect("a new spool opens");
        let state = (0..SLOTS).map(|slot| StateChange { space: 0, slot, value: Some(vec![1; VALUE]) }).collect();
        spool.write(&Change { records: Vec::new(), state }).expect("there is room");
        let feed = spool.feed("sink", StartFrom::Start).expect("a new sink is stored");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime is made");
        Self { spool, feed, runtime, rng: SmallRng::seed_from_u64(1), _folder: folder }
    }

    /// As a dump gives it: the connections that changed, in any order.
    fn change(&mut self, records: u32, state: u32) -> Change {
        let mut value = || {
            let slot = self.rng.random_range(0..SLOTS);
            StateChange { space: 0, slot, value: Some(vec![self.rng.random(); VALUE]) }
        };
        let state = (0..state).map(|_| value()).collect();
        let line = bytes(LINE);
        let item = |n: u32| Item { id: EventId::derive(&[&n.to_le_bytes()]), line: line.clone() };
        Change { records: (0..records).map(item).collect(), state }
    }

    /// Gets past all records, as an outbox does.
    fn deliver(&mut self) -> usize {
        self.runtime.block_on(async {
            let (mut position, mut read) = (self.feed.position().await.expect("it is stored"), 0);
            loop {
                let rows = self.feed.read(position.seq, None, 1000).await.expect("it reads");
                let Some(last) = rows.last() else { return read };
                read += rows.len();
                self.feed.freeze(last.seq).await.expect("it freezes");
                position = Position { seq: last.seq, resume: Some("1:2:3".to_owned()), frozen: None };
                self.feed.commit(position.clone()).await.expect("it commits");
            }
        })
    }
}

fn bytes(length: usize) -> bytes::Bytes {
    vec![b'x'; length].into()
}

fn spool(c: &mut Criterion) {
    let mut group = c.benchmark_group("spool");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(8));
    for (records, state) in [(250, 500), (20_000, 20_000)] {
        let mut trial = Trial::new();
        group.throughput(Throughput::Elements(u64::from(records)));
        group.bench_function(format!("write {records} records, {state} values"), |b| {
            b.iter_batched(
                || {
                    trial.deliver();
                    let change = trial.change(records, state);
                    (trial.spool.clone(), change)
                },
                |(spool, change)| black_box(spool.write(&change).expect("there is room")),
                BatchSize::PerIteration,
            );
        });
    }
    let mut trial = Trial::new();
    group.bench_function("deliver 20000 records", |b| {
        b.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for _ in 0..iterations {
                let change = trial.change(20_000, 0);
                trial.spool.write(&change).expect("there is room");
                let start = std::time::Instant::now();
                assert_eq!(trial.deliver(), 20_000);
                time += start.elapsed();
            }
            time
        });
    });
    group.finish();
}

criterion_group!(benches, spool);
criterion_main!(benches);
