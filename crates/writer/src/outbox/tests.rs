use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podtrail_event::EventId;
use tokio::time::Instant;

use super::*;
use crate::Item;
use crate::conformance::MemorySource;

/// What a source and a writer were asked, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A source that logs its durable steps, and fails each call of a kind so many times first.
struct Logged {
    inner: MemorySource,
    log: Log,
    failures: Vec<(&'static str, SourceError)>,
}

impl Logged {
    fn step(&mut self, name: &str, what: String) -> Result<(), SourceError> {
        if let Some(at) = self.failures.iter().position(|(kind, _)| *kind == name) {
            return Err(self.failures.remove(at).1);
        }
        self.log.lock().unwrap().push(what);
        Ok(())
    }
}

#[async_trait]
impl Source for Logged {
    async fn position(&mut self) -> Result<Position, SourceError> {
        self.step("position", "position".to_owned())?;
        self.inner.position().await
    }
    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        self.inner.read(after, upto, limit).await
    }
    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        self.step("freeze", format!("freeze {last}"))?;
        self.inner.freeze(last).await
    }
    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        self.step("commit", format!("commit {} {:?}", position.seq, position.resume))?;
        self.inner.commit(position).await
    }
    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        self.step("dead", format!("dead {seq} {reason}"))?;
        self.inner.dead_letter(seq, item, reason).await
    }
    async fn changed(&mut self, after: u64) -> Result<(), SourceError> {
        self.inner.changed(after).await
    }
    async fn head(&mut self) -> Result<u64, SourceError> {
        self.inner.head().await
    }
}

/// A writer that logs each batch, and fails as scripted.
struct Scripted {
    log: Log,
    script: Vec<Error>,
    repeat: bool,
}

#[async_trait]
impl Writer for Scripted {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        let lines: Vec<_> = batch.items.iter().map(|item| String::from_utf8_lossy(&item.line)).collect();
        let line = format!("deliver {}-{} {} {:?}", batch.first, batch.last, lines.join("+"), batch.resume);
        self.log.lock().unwrap().push(line);
        if self.repeat {
            return Err(Error::retry("x", "down"));
        }
        match self.script.is_empty() {
            true => Ok(Committed { resume: Some(format!("t{}", batch.last)) }),
            false => Err(self.script.remove(0)),
        }
    }
}

fn item(line: &str) -> Item {
    Item { id: EventId::derive(&[line.as_bytes()]), line: line.to_owned().into() }
}

fn reject(line: &str) -> Rejection {
    Rejection { id: item(line).id, reason: format!("bad {line}") }
}

/// A source with a row for each text, whose words are its items.
fn source(rows: &[&str]) -> MemorySource {
    let source = MemorySource::new();
    for row in rows {
        source.push(row.split_whitespace().map(item).collect());
    }
    source
}

struct Trial {
    source: MemorySource,
    script: Vec<Error>,
    down: bool,
    failures: Vec<(&'static str, SourceError)>,
    config: OutboxConfig,
    observer: Counted,
}

#[derive(Default)]
struct Counted {
    calls: Mutex<Vec<String>>,
}

impl Counted {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

impl Observer for Counted {
    fn delivered(&self, records: usize, bytes: usize) {
        self.note(format!("delivered {records} {bytes}"));
    }
    fn retried(&self, _: &Error, _: Duration) {
        self.note("retried".to_owned());
    }
    fn rejected(&self, rejection: &Rejection) {
        self.note(rejection.reason.clone());
    }
    fn stalled(&self, _: &SourceError, _: Duration) {
        self.note("stalled".to_owned());
    }
    fn lag(&self, rows: u64) {
        self.note(format!("lag {rows}"));
    }
}

impl Trial {
    fn new(rows: &[&str]) -> Self {
        Self {
            source: source(rows),
            script: Vec::new(),
            down: false,
            failures: Vec::new(),
            config: OutboxConfig { max_rows: 2, ..OutboxConfig::default() },
            observer: Counted::default(),
        }
    }

    async fn run(&mut self, shutdown: impl Future<Output = ()>) -> (Result<(), Error>, Vec<String>) {
        let log = Log::default();
        let failures = std::mem::take(&mut self.failures);
        let source = Logged { inner: self.source.clone(), log: Arc::clone(&log), failures };
        let script = std::mem::take(&mut self.script);
        let writer = Scripted { log: Arc::clone(&log), script, repeat: self.down };
        let done = run(source, writer, self.config.clone(), &self.observer, shutdown).await;
        let log = log.lock().unwrap().clone();
        (done, log)
    }

    /// Runs until everything that there is was delivered.
    async fn drain(&mut self) -> Vec<String> {
        let (done, log) = self.run(ready(())).await;
        done.unwrap();
        log
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_frozen_before_and_committed_after_its_delivery() {
    let mut trial = Trial::new(&["a", "b c", "d"]);
    let log = trial.drain().await;
    let expected = [
        "position",
        "freeze 2",
        "deliver 1-2 a+b+c None",
        r#"commit 2 Some("t2")"#,
        "freeze 3",
        r#"deliver 3-3 d Some("t2")"#,
        r#"commit 3 Some("t3")"#,
    ];
    assert_eq!(log, expected);
    assert_eq!(trial.observer.calls.lock().unwrap()[..4], ["delivered 3 3", "lag 1", "delivered 1 1", "lag 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_in_flight_is_delivered_first_as_it_was() {
    let mut trial = Trial::new(&["a", "", "b", "c", "d", "e", "f"]);
    trial.source.set_position(Position { seq: 1, resume: Some("t".to_owned()), frozen: Some(6) });
    let log = trial.drain().await;
    // Frozen when a batch could have five rows.
    assert_eq!(log[1..3], [r#"deliver 2-6 b+c+d+e Some("t")"#, r#"commit 6 Some("t6")"#]);
    assert_eq!(log[3..5], ["freeze 7", r#"deliver 7-7 f Some("t6")"#]);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_batch_keeps_its_first_number_when_rows_before_it_had_nothing() {
    let mut trial = Trial::new(&["", "", "", "a"]);
    trial.failures = vec![("commit", SourceError::fatal("s", "crash"))];
    let (done, before) = trial.run(ready(())).await;
    assert!(done.is_err());
    let after = trial.drain().await;
    assert_eq!((before[2].as_str(), after[1].as_str()), ("deliver 1-4 a None", "deliver 1-4 a None"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_delivers_the_same_for_ever_with_growing_waits() {
    let mut trial = Trial::new(&["a", "b"]);
    trial.script = (0..40).map(|_| Error::retry("x", "down")).collect();
    let (started, limit) = (Instant::now(), Duration::from_secs(30 * 40));
    let (done, log) = trial.run(async { sleep(limit).await }).await;
    done.unwrap();
    let deliveries: Vec<_> = log.iter().filter(|line| line.starts_with("deliver")).collect();
    assert_eq!(deliveries.len(), 41);
    assert!(deliveries.iter().all(|line| *line == deliveries[0]), "{deliveries:?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("freeze")).count(), 1);
    assert_eq!(trial.source.stored_position().seq, 2);
    assert!(started.elapsed() >= Duration::from_secs(15 * 30), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_backend_asks() {
    let mut trial = Trial::new(&["a"]);
    trial.script = vec![Error::retry("x", "busy").after(Duration::from_secs(77))];
    let source = trial.source.clone();
    let started = Instant::now();
    let delivered = async {
        while source.stored_position().seq == 0 {
            sleep(Duration::from_millis(500)).await;
        }
    };
    trial.run(delivered).await.0.unwrap();
    assert_eq!(started.elapsed().as_secs(), 77);
}

#[tokio::test(start_paused = true)]
async fn rejected_records_are_set_aside_and_the_rest_is_delivered() {
    let mut trial = Trial::new(&["a b", "c d"]);
    trial.script = vec![Error::rejected("x", vec![reject("d"), reject("a")]), Error::rejected("x", vec![reject("c")])];
    let log = trial.drain().await;
    let expected = [
        "freeze 2",
        "deliver 1-2 a+b+c+d None",
        "dead 1 bad a",
        "dead 2 bad d",
        "deliver 1-2 b+c None",
        "dead 2 bad c",
        "deliver 1-2 b None",
        r#"commit 2 Some("t2")"#,
    ];
    assert_eq!(log[1..], expected);
    let dead: Vec<_> = trial.source.dead_letters().into_iter().map(|(seq, item, _)| (seq, item)).collect();
    assert_eq!(dead.len(), 3);
    assert!(dead.contains(&(2, item("c"))));
    assert_eq!(trial.observer.calls.lock().unwrap()[..3], ["bad a", "bad d", "bad c"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_rejected_as_a_whole_is_passed_with_the_old_token() {
    let mut trial = Trial::new(&["a"]);
    trial.source.set_position(Position { seq: 0, resume: Some("old".to_owned()), frozen: None });
    trial.script = vec![Error::rejected("x", vec![reject("a")])];
    assert_eq!(trial.drain().await.last().unwrap(), r#"commit 1 Some("old")"#);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_returned_and_the_batch_stays_frozen() {
    type Case = (Vec<Error>, Vec<(&'static str, SourceError)>, &'static str);
    let cases: [Case; 4] = [
        (vec![Error::fatal("x", "gone")], vec![], "cannot deliver to x"),
        (vec![Error::rejected("x", vec![])], vec![], "cannot deliver to x"),
        (vec![Error::rejected("x", vec![reject("z")])], vec![], "cannot deliver to x"),
        (
            vec![],
            vec![("commit", SourceError::fatal("s", "gone"))],
            "cannot deliver to the writer, for want of its source",
        ),
    ];
    for (script, failures, message) in cases {
        let mut trial = Trial::new(&["a"]);
        (trial.script, trial.failures) = (script, failures);
        let error = trial.run(pending()).await.0.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!error.is_retryable());
        let position = Position { seq: 0, resume: None, frozen: Some(1) };
        assert_eq!(trial.source.stored_position(), position);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_source_are_tried_again() {
    let mut trial = Trial::new(&["a"]);
    let kinds = ["position", "freeze", "dead", "commit"];
    trial.failures = kinds.into_iter().map(|kind| (kind, SourceError::retry("s", "busy"))).collect();
    trial.script = vec![Error::rejected("x", vec![reject("a")])];
    let log = trial.drain().await;
    assert_eq!(log, ["position", "freeze 1", "deliver 1-1 a None", "dead 1 bad a", "commit 1 None"]);
    assert_eq!(trial.observer.calls.lock().unwrap().iter().filter(|call| *call == "stalled").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn rows_without_records_reach_no_writer_and_few_commits() {
    let mut trial = Trial::new(&[""; 10_000]);
    trial.config.max_rows = 100;
    let (done, log) = trial.run(sleep(Duration::from_secs(60))).await;
    done.unwrap();
    assert_eq!(log, ["position", "commit 4100 None", "commit 8200 None", "commit 10000 None"]);
    assert!(trial.observer.calls.lock().unwrap().contains(&"lag 5900".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_what_is_recorded_by_then() {
    let mut trial = Trial::new(&["a"; 7]);
    let source = trial.source.clone();
    let shutdown = async move {
        sleep(Duration::from_secs(5)).await;
        for _ in 0..7 {
            source.push(vec![item("b")]);
        }
    };
    trial.run(shutdown).await.0.unwrap();
    assert_eq!(trial.source.stored_position().seq, 14);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_up_after_its_time_and_the_batch_stays_frozen() {
    let mut trial = Trial::new(&["a"; 3]);
    trial.down = true;
    let started = Instant::now();
    let (done, log) = trial.run(sleep(Duration::from_secs(100))).await;
    done.unwrap();
    assert_eq!(started.elapsed().as_secs(), 110);
    assert_eq!(trial.source.stored_position(), Position { seq: 0, resume: None, frozen: Some(2) });
    // 100 ms, 200 ms and so on again: a long wait must not use up the time to drain.
    assert!(log.len() > 15, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_from_now_gets_only_what_comes() {
    let mut trial = Trial::new(&["old"; 5]);
    trial.source.set_position(Position { seq: 5, ..Position::default() });
    trial.source.push(vec![item("new")]);
    assert_eq!(trial.drain().await[2], "deliver 6-6 new None");
}

#[tokio::test(start_paused = true)]
async fn rows_pushed_later_are_delivered_when_they_come() {
    let mut trial = Trial::new(&[]);
    let source = trial.source.clone();
    let shutdown = async {
        for n in 1..=3 {
            sleep(Duration::from_secs(3600)).await;
            source.push(vec![item("x")]);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(source.stored_position().seq, n);
        }
    };
    trial.run(shutdown).await.0.unwrap();
}

#[test]
fn the_outbox_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    is_send(run(MemorySource::new(), Box::new(crate::Fanout::new()), OutboxConfig::default(), &(), pending()));
}
