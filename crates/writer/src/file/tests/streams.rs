//! Streams through outbox and file with faults between any two steps: what is in the files is the stream, always.

use std::collections::BTreeSet;
use std::future::ready;
use std::time::Duration;

use podtrail_event::EventId;
use proptest::prelude::*;

use super::faults::{self, Fault};
use super::*;
use crate::conformance::MemorySource;
use crate::{Item, OutboxConfig, Position, Rejection, Row, Source, SourceError, run};

/// A source whose durable steps a crash can fall between.
struct Mortal(MemorySource);

fn step(name: &'static str) -> Result<(), SourceError> {
    let failed =
        |error| if faults::is_dead() { SourceError::fatal("s", error) } else { SourceError::retry("s", error) };
    faults::reach(name).map_err(failed)
}

#[async_trait]
impl Source for Mortal {
    async fn position(&mut self) -> Result<Position, SourceError> {
        self.0.position().await
    }
    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        self.0.read(after, upto, limit).await
    }
    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        step("freeze")?;
        self.0.freeze(last).await
    }
    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        step("commit")?;
        self.0.commit(position).await
    }
    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        step("dead letter")?;
        self.0.dead_letter(seq, item, reason).await
    }
    async fn changed(&mut self, after: u64) -> Result<(), SourceError> {
        self.0.changed(after).await
    }
    async fn head(&mut self) -> Result<u64, SourceError> {
        self.0.head().await
    }
}

/// The file's core on this thread, behind a writer that takes no poison and loses some answers.
struct Flaky<'a> {
    core: Core,
    trial: &'a Trial,
    deliveries: usize,
}

#[async_trait]
impl Writer for Flaky<'_> {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        self.deliveries += 1;
        let flaky = self.trial.flaky.get(self.deliveries % 16).copied().unwrap_or_default();
        if flaky == Flake::Before {
            return Err(Error::retry("x", "busy"));
        }
        let poison = batch.items.iter().filter(|item| self.trial.poison.contains(&item.line));
        let rejections: Vec<_> = poison.map(|item| Rejection { id: item.id, reason: "poison".to_owned() }).collect();
        if !rejections.is_empty() {
            return Err(Error::rejected("x", rejections));
        }
        let now = Timestamp::from_second(1_800_000_000 + self.deliveries as i64);
        let token = self.core.deliver(&batch.to_text(), batch.resume, now);
        if faults::is_dead() {
            return Err(Error::fatal("x", "dead"));
        }
        match flaky {
            Flake::After => Err(Error::retry("x", "answer lost")),
            _ => token.map(|token| Committed { resume: Some(token) }),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flake {
    #[default]
    Never,
    Before,
    After,
}

#[derive(Debug)]
struct Trial {
    /// Items of each row, by their length.
    rows: Vec<Vec<usize>>,
    config: FileConfig,
    max_rows: usize,
    flaky: Vec<Flake>,
    poison: BTreeSet<Bytes>,
}

impl Trial {
    fn line(row: usize, at: usize, length: usize) -> Bytes {
        format!(r#"{{"r":{row},"i":{at},"x":"{}"}}"#, "x".repeat(length)).into()
    }

    fn lines(&self) -> Vec<Vec<Bytes>> {
        let row = |(row, items): (usize, &Vec<usize>)| {
            items.iter().enumerate().map(|(at, length)| Self::line(row, at, *length)).collect()
        };
        self.rows.iter().enumerate().map(row).collect()
    }

    /// Runs the stream in a process for each fault and a last one without. Returns how many steps that one had.
    fn run(&self, faults: &[(usize, Fault)]) -> usize {
        let rows = self.lines();
        let lines = rows.iter().flatten().filter(|line| !self.poison.contains(*line));
        let stream: Vec<u8> = lines.flat_map(|line| [&line[..], b"\n"].concat()).collect();
        let source = MemorySource::new();
        for row in &rows {
            source.push(row.iter().map(|line| Item { id: EventId::derive(&[line]), line: line.clone() }).collect());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        for fault in faults.iter().copied().map(Some).chain([None]) {
            faults::arm(fault);
            let outcome = Core::new(self.config.clone()).and_then(|core| {
                let drain = Duration::from_secs(3600);
                let config = OutboxConfig { max_rows: self.max_rows, drain, ..OutboxConfig::default() };
                let writer = Flaky { core, trial: self, deliveries: 0 };
                runtime.block_on(run(Mortal(source.clone()), writer, config, &(), ready(())))
            });
            match &outcome {
                Err(error) if !faults::is_dead() && fault.is_none() => panic!("{error}: {:?}", faults::steps()),
                _ => {}
            }
            let text = joined(&self.config.path);
            assert!(stream.starts_with(&text), "not the stream's beginning after {:?}", faults::steps());
        }
        let steps = faults::steps().len();
        faults::arm(None);
        assert_eq!(joined(&self.config.path).escape_ascii().to_string(), stream.escape_ascii().to_string());
        assert_eq!(source.dead_letters().len(), self.poison.len());
        assert_eq!(source.stored_position().seq, self.rows.len() as u64);
        steps
    }
}

fn trial(rows: Vec<Vec<usize>>, folder: &TempDir) -> Trial {
    let config = FileConfig { max_size: Some(90), ..FileConfig::new(folder.path().join("e.ndjson")) };
    Trial { rows, config, max_rows: 2, flaky: Vec::new(), poison: BTreeSet::new() }
}

#[test]
fn the_parts_are_the_stream_whatever_step_a_fault_falls_on() {
    let rows = || vec![vec![3], vec![5, 40], vec![], vec![30], vec![2], vec![90], vec![1, 1], vec![60], vec![4]];
    let folder = tempfile::tempdir().unwrap();
    let steps = trial(rows(), &folder).run(&[]);
    let seen: BTreeSet<_> = {
        let folder = tempfile::tempdir().unwrap();
        faults::arm(None);
        trial(rows(), &folder).run(&[]);
        names(folder.path()).into_iter().filter(|name| name.ends_with(".gz")).collect()
    };
    assert!(seen.len() >= 3, "too little rotation to test: {seen:?}");
    for step in 0..=steps {
        for fault in [Fault::Full, Fault::Crash] {
            let folder = tempfile::tempdir().unwrap();
            trial(rows(), &folder).run(&[(step, fault)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_parts_are_the_stream_through_any_faults(
        rows in proptest::collection::vec(proptest::collection::vec(0usize..70, 0..4), 0..25),
        faults in proptest::collection::vec((0usize..60, prop_oneof![Just(Fault::Full), Just(Fault::Crash)]), 0..8),
        flaky in proptest::collection::vec(
            prop_oneof![4 => Just(Flake::Never), 1 => Just(Flake::Before), 1 => Just(Flake::After)],
            15,
        ),
        poison in proptest::collection::vec((0usize..25, 0usize..3), 0..4),
        max_rows in 1usize..6,
        max_size in proptest::option::of(20u64..300),
        max_age in proptest::option::of(1u64..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut trial = trial(rows, &folder);
        trial.config.max_size = max_size;
        trial.config.max_age = max_age.map(Duration::from_secs);
        trial.max_rows = max_rows;
        trial.flaky = flaky;
        let lines = trial.lines();
        let poison = poison.into_iter().filter_map(|(row, at)| lines.get(row)?.get(at).cloned());
        trial.poison = poison.collect();
        trial.run(&faults);
    }
}
