use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use podtrail_event::Timestamp;
use podtrail_ledger::{Change, ClaimRow, PodRow, Retention, Store};
use podtrail_watch::confirm::Confirmation;
use podtrail_watch::{Delta, NodeState, PodState, Schedule};
use tokio::sync::{mpsc, oneshot, watch};

use crate::confirm::Target;
use crate::metrics::Metrics;
use crate::tracker::{Recall, Tracker};
use crate::{Config, Error};

/// Most inputs that one transaction takes.
const GROUP: usize = 4096;
/// A confirmation that differed from the watch is asked for again after this.
const DOUBT: Duration = Duration::from_secs(2);
/// At the end the disk has so long to get well.
const LAST_TRIES: Duration = Duration::from_secs(5);
/// How often retention is applied.
const PRUNE: Duration = Duration::from_secs(600);

/// What the commit loop is fed with.
#[derive(Debug)]
pub(crate) enum Input {
    Pods(Delta<PodState>),
    Nodes(Delta<NodeState>),
    Confirmed(i64, Confirmation),
    Write(Vec<Change>, oneshot::Sender<()>),
    /// Time has passed.
    Tick,
}

/// The one writer of a ledger: takes what was seen, decides, and commits in groups.
#[derive(Debug)]
pub struct Committer {
    store: Store,
    tracker: Tracker,
    inputs: mpsc::Receiver<Input>,
    head: watch::Sender<u64>,
    targets: mpsc::Sender<Target>,
    schedule: Schedule<i64>,
    retention: Retention,
    pruned: Instant,
    /// Retention has more to do than it did at once.
    pruning: bool,
    metrics: Arc<Metrics>,
    /// The tracker is to stop.
    stopping: Arc<AtomicBool>,
}

impl Recall for Store {
    fn pod(&self, id: i64) -> Result<Option<PodRow>, podtrail_ledger::Error> {
        Self::pod(self, id)
    }

    fn pod_by_uid(&self, uid: &str) -> Result<Option<PodRow>, podtrail_ledger::Error> {
        Self::pod_by_uid(self, uid)
    }

    fn claims_of(&self, id: i64) -> Result<Vec<ClaimRow>, podtrail_ledger::Error> {
        self.claims_of_pod(id)
    }
}

/// The loop's clock: all below it takes the time as an argument.
fn now() -> Timestamp {
    SystemTime::now().into()
}

impl Committer {
    pub(crate) fn new(
        store: Store,
        tracker: Tracker,
        inputs: mpsc::Receiver<Input>,
        head: watch::Sender<u64>,
        targets: mpsc::Sender<Target>,
        config: &Config,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            tracker,
            inputs,
            head,
            targets,
            schedule: Schedule::new(config.confirm_every, config.confirm_rate),
            retention: config.retention,
            pruned: Instant::now(),
            pruning: false,
            metrics,
            stopping: Arc::default(),
        }
    }

    pub(crate) fn stops_with(&mut self, stopping: Arc<AtomicBool>) {
        self.stopping = stopping;
    }

    /// Runs until all that feeds it has stopped, and what came is committed. Blocks: give it a thread of its own.
    ///
    /// A commit that fails because of the disk is tried again until it succeeds: meanwhile what comes waits in a bounded
    /// channel, and then at the API server.
    ///
    /// `beat` is called whenever the loop has gone round, at least four times a second while a watch feeds it.
    ///
    /// # Errors
    /// If the ledger is damaged, or cannot be written when all else has stopped.
    pub fn run(mut self, mut beat: impl FnMut()) -> Result<(), Error> {
        let mut replies = Vec::new();
        let mut received = Vec::new();
        while let Some(input) = self.inputs.blocking_recv() {
            let mut next = Some(input);
            let mut writes = Vec::new();
            for _ in 0..GROUP {
                let Some(input) = next else { break };
                self.take(input, now(), &mut writes, &mut replies, &mut received)?;
                next = self.inputs.try_recv().ok();
            }
            if let Some(input) = next {
                self.take(input, now(), &mut writes, &mut replies, &mut received)?;
            }
            self.commit(writes)?;
            for reply in replies.drain(..) {
                // Whoever asked may be gone; what was asked for is done.
                oneshot::Sender::send(reply, ()).unwrap_or(());
            }
            self.metrics.committed(&mut received, now());
            self.confirm(now());
            self.prune();
            beat();
        }
        self.commit(Vec::new())
    }

    fn take(
        &mut self,
        input: Input,
        now: Timestamp,
        writes: &mut Vec<Change>,
        replies: &mut Vec<oneshot::Sender<()>>,
        received: &mut Vec<Timestamp>,
    ) -> Result<(), Error> {
        match input {
            Input::Pods(delta) => {
                if let Delta::Applied { received: at, .. } | Delta::Deleted { received: at, .. } = &delta {
                    received.push(*at);
                }
                self.metrics.connection("pods", &delta);
                self.tracker.pods(delta, now, &self.store)?;
            }
            Input::Nodes(delta) => {
                self.metrics.connection("nodes", &delta);
                self.tracker.nodes(delta, now);
            }
            Input::Confirmed(id, got) => {
                if self.tracker.confirmed(id, got, &self.store)? {
                    self.schedule.hasten(&id, now, DOUBT);
                }
            }
            Input::Write(changes, reply) => {
                writes.extend(changes);
                replies.push(reply);
            }
            Input::Tick => {}
        }
        Ok(())
    }

    fn commit(&mut self, writes: Vec<Change>) -> Result<(), Error> {
        let mut changes = self.tracker.take(now());
        changes.extend(writes);
        if changes.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut wait = Duration::from_millis(100);
        loop {
            match self.store.commit(&changes) {
                Ok(head) => {
                    self.head.send_replace(head);
                    self.metrics.commit(started.elapsed(), &self.tracker);
                    return Ok(());
                }
                Err(e) if e.is_retryable() && !self.gives_up(started) => {
                    self.metrics.commit_failed(&e, wait);
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether a commit that has been tried since then is not to be tried again: what was not committed is watched again
    /// at the next start.
    fn gives_up(&self, started: Instant) -> bool {
        self.inputs.is_closed() || self.stopping.load(Ordering::Relaxed) && started.elapsed() > LAST_TRIES
    }

    /// Hands on whom to confirm now, as many as there is room for.
    fn confirm(&mut self, now: Timestamp) {
        let (born, dead) = self.tracker.take_turnover();
        born.into_iter().for_each(|id| self.schedule.insert(id, now));
        for id in &dead {
            self.schedule.remove(id);
        }
        self.metrics.confirm_period(self.schedule.period(self.schedule.len()));
        self.metrics.ages(&self.tracker, now);
        while let Ok(room) = self.targets.try_reserve() {
            let Some(id) = self.schedule.due(now) else { break };
            if let Some((namespace, name)) = self.tracker.target(id) {
                room.send(Target { id, namespace: namespace.to_string(), name: name.to_owned() });
            }
        }
    }

    fn prune(&mut self) {
        if self.retention == Retention::default() || !(self.pruning || self.pruned.elapsed() >= PRUNE) {
            return;
        }
        (self.pruned, self.pruning) = (Instant::now(), false);
        match self.store.prune(&self.retention, now()) {
            Ok(pruned) => {
                self.pruning = pruned.more;
                if pruned.evidence > 0 {
                    tracing::info!(evidence = pruned.evidence, claims = pruned.claims, "old history forgotten");
                }
            }
            Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "old history could not be forgotten"),
        }
    }
}
