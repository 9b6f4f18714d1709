use std::future::{Future, pending};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use podtrail_ledger::{Retention, Store};
use podtrail_watch::{Checkpoint, Delta, NodeState, PodState};
use podtrail_writer::{OutboxConfig, Writer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::Error;
use crate::commit::{Committer, Input};
use crate::confirm::{Target, confirm};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::tracker::Tracker;

/// Inputs that wait for the commit loop; when they are so many, the watch is not read on.
const INPUTS: usize = 4096;
/// Confirmations that wait; when they are so many, none is asked for.
const TARGETS: usize = 64;
/// How long the pods' watch waits for the first list of nodes, whose addresses belong into the pods' events.
const NODES: Duration = Duration::from_secs(15);

/// How to track.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How often to ask for each pod with a `GET`. Default 5 minutes.
    pub confirm_every: Duration,
    /// How many to ask for in a second at most; with more pods the period stretches. Default 20.
    pub confirm_rate: f64,
    /// What the ledger keeps. Default: all.
    pub retention: Retention,
    /// How to watch.
    pub watch: podtrail_watch::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            confirm_every: Duration::from_secs(300),
            confirm_rate: 20.0,
            retention: Retention::default(),
            watch: podtrail_watch::Config::default(),
        }
    }
}

/// The parts of a tracker, wired: whoever embeds it runs them where it likes.
///
/// [`committer`](Self::committer) blocks and wants a thread; [`watch`](Self::watch) is a future, and so is the
/// [`outbox`](Self::outbox) of each sink. [`stop`](Self::stop) ends them all in the order that loses nothing.
#[derive(Debug)]
pub struct Tracking {
    path: PathBuf,
    config: Config,
    inputs: mpsc::Sender<Input>,
    head: watch::Receiver<u64>,
    targets: Option<mpsc::Receiver<Target>>,
    checkpoints: [Option<Checkpoint>; 2],
    committer: Option<Committer>,
    metrics: Arc<Metrics>,
    /// Tells the watch to end; closed when it has.
    watching: watch::Sender<bool>,
    /// Tells the committer that nobody waits for a disk to get well any more.
    stopping: Arc<AtomicBool>,
    /// Tells the outboxes to deliver what is recorded, and to end.
    draining: watch::Sender<bool>,
}

impl Tracking {
    /// A tracker that goes on from what is in `store`, which it keeps from now on.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(store: Store, config: Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let live = store.live()?;
        let checkpoint = |source: &str| {
            let resource_version = live.checkpoints.get(source)?.clone();
            let covered_until = live.coverage.get(source)?.proven;
            Some(Checkpoint { resource_version, covered_until })
        };
        let checkpoints = [checkpoint("pods"), checkpoint("nodes")];
        let (inputs, received) = mpsc::channel(INPUTS);
        let (ask, targets) = mpsc::channel(TARGETS);
        let (told, head) = watch::channel(store.head()?);
        let (path, clock_error) = (store.path().to_owned(), store.clock_error());
        let tracker = Tracker::new(live, clock_error);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut committer = Committer::new(store, tracker, received, told, ask, &config, metrics.clone());
        committer.stops_with(stopping.clone());
        let (targets, committer) = (Some(targets), Some(committer));
        let [watching, draining] = [(); 2].map(|()| watch::Sender::new(false));
        Ok(Self { path, config, inputs, head, targets, checkpoints, committer, metrics, watching, stopping, draining })
    }

    /// The commit loop; `None` if it was taken before.
    pub fn committer(&mut self) -> Option<Committer> {
        self.committer.take()
    }

    /// The source of a sink's outbox.
    ///
    /// # Errors
    /// If the ledger cannot be opened for reading.
    pub fn feed(&self, sink: Sink) -> Result<Feed, Error> {
        Ok(Feed::new(sink, Store::open_read_only(&self.path)?, self.inputs.clone(), self.head.clone()))
    }

    /// Delivers to a sink until [`stop`](Self::stop), and is counted in the metrics.
    ///
    /// # Errors
    /// If the ledger cannot be opened for reading; of the future, if the writer gives up.
    pub fn outbox<W: Writer>(
        &self,
        sink: Sink,
        writer: W,
        config: OutboxConfig,
    ) -> Result<impl Future<Output = Result<(), podtrail_writer::Error>> + Send + use<W>, Error> {
        let (observer, mut draining) = (self.metrics.outbox(&sink.name), self.draining.subscribe());
        let feed = self.feed(sink)?;
        Ok(async move {
            let drain = async { drop(draining.wait_for(|drain| *drain).await) };
            podtrail_writer::run(feed, writer, config, &observer, drain).await
        })
    }

    /// Ends the watch, waits until what it saw is committed, and then lets the outboxes deliver that and end; after
    /// them ends the committer.
    ///
    /// The futures must be running elsewhere, or have been dropped.
    pub async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.watching.send_replace(true);
        self.watching.closed().await;
        self.flush().await;
        self.draining.send_replace(true);
    }

    /// Waits until all that was seen so far is committed.
    pub async fn flush(&self) {
        let (done, committed) = oneshot::channel();
        if self.inputs.send(Input::Write(Vec::new(), done)).await.is_ok() {
            // An error says that the loop has ended, and then all is committed that will be.
            drop(committed.await);
        }
    }

    /// Watches the cluster behind `client` until `shutdown` or [`stop`](Self::stop), and confirms what was seen.
    pub fn watch<S>(&mut self, client: podtrail_watch::Client, shutdown: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: Future<Output = ()> + Send,
    {
        let [pods_at, nodes_at] = self.checkpoints.clone();
        let (seen_nodes, nodes_seen) = watch::channel(nodes_at.is_some());
        let nodes = podtrail_watch::nodes(client.clone(), self.config.watch.clone(), nodes_at);
        let pods = podtrail_watch::pods(client.clone(), self.config.watch.clone(), pods_at);
        let confirm =
            self.targets.take().map(|targets| confirm(client, targets, self.inputs.clone(), self.metrics.clone()));
        let inputs = self.inputs.clone();
        let tick = Duration::from_secs_f64((1.0 / self.config.confirm_rate.max(0.001)).clamp(0.01, 0.25));
        let mut watching = self.watching.subscribe();
        async move {
            let stopped = async {
                if watching.wait_for(|stop| *stop).await.is_err() {
                    // Dropped, not stopped.
                    pending::<()>().await;
                }
            };
            let all = async {
                tokio::join!(
                    forward_nodes(nodes, seen_nodes, inputs.clone()),
                    forward_pods(pods, nodes_seen, inputs.clone()),
                    ticks(tick, inputs.clone()),
                    async {
                        if let Some(confirm) = confirm {
                            confirm.await;
                        }
                    },
                )
            };
            tokio::select! {
                _ = all => {}
                () = shutdown => {}
                () = stopped => {}
            }
        }
    }
}

async fn forward_nodes(
    nodes: impl Stream<Item = Delta<NodeState>>,
    seen: watch::Sender<bool>,
    inputs: mpsc::Sender<Input>,
) {
    let mut nodes = std::pin::pin!(nodes);
    while let Some(delta) = nodes.next().await {
        let listed = matches!(delta, Delta::Snapshot { .. });
        if inputs.send(Input::Nodes(delta)).await.is_err() {
            return;
        }
        if listed {
            seen.send_replace(true);
        }
    }
}

async fn forward_pods(
    pods: impl Stream<Item = Delta<PodState>>,
    mut nodes_seen: watch::Receiver<bool>,
    inputs: mpsc::Sender<Input>,
) {
    if tokio::time::timeout(NODES, nodes_seen.wait_for(|seen| *seen)).await.is_err() {
        tracing::warn!("nodes cannot be listed: events will lack the addresses of nodes that are not known yet");
    }
    let mut pods = std::pin::pin!(pods);
    while let Some(delta) = pods.next().await {
        if inputs.send(Input::Pods(delta)).await.is_err() {
            return;
        }
    }
}

async fn ticks(every: Duration, inputs: mpsc::Sender<Input>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if inputs.send(Input::Tick).await.is_err() {
            return;
        }
    }
}
