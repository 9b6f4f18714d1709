use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_watch::Delta;
use podtrail_writer::{Observer, OutboxMetrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::tracker::{Counts, Tracker};

type Labels = Vec<(&'static str, String)>;
type Seconds = Gauge<f64, AtomicU64>;
/// A count of the tracker's, and the counter that shows it.
type Count = (fn(&Counts) -> u64, Counter);

const SOURCES: [&str; 2] = ["pods", "nodes"];
/// A watch that was silent for so long is not watching: while it is well it speaks twice a second.
const STALE: Duration = Duration::from_secs(10);
/// Upper bounds, in seconds: fine about the 250 ms that a frame may take.
const LATENCY: [f64; 22] = [
    0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1.0,
    2.0, 5.0, 10.0,
];
const KINDS: [&str; 4] = ["created", "address-assigned", "address-released", "deleted"];

/// What a tracker counts, for Prometheus; names begin with `podtrail_`.
#[derive(Debug)]
pub struct Metrics {
    events: Family<Labels, Counter>,
    open_claims: Gauge,
    pods: Gauge,
    counts: Vec<Count>,
    watch_age: Family<Labels, Seconds>,
    connected: Family<Labels, Gauge>,
    confirm_period: Seconds,
    commit: Histogram,
    commit_failures: Counter,
    confirmation_failures: Counter,
    latency: Histogram,
    outboxes: OutboxMetrics,
    ready: AtomicBool,
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Arc<Self> {
        let registry = registry.sub_registry_with_prefix("podtrail");
        let quick = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let mut counts: Vec<Count> = Vec::new();
        let mut count = |name: &str, help: &str, get: fn(&Counts) -> u64| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counts.push((get, counter));
        };
        count("gaps", "Spans in which a source was not watched", |c| c.gaps);
        count("relists", "Listings of all pods that were completed", |c| c.relists);
        count("rejected", "Input from the API that could not be used, and was quarantined", |c| c.rejected);
        count("duplicates", "Watch frames that came twice", |c| c.duplicates);
        count("confirmations", "Pods asked for by GET and confirmed or not", |c| c.confirmations);
        count("divergences", "Confirmations that differed from the watch and were right", |c| c.divergences);
        count("clock_skews", "Times that the bound on a node's clock skew grew", |c| c.skews);
        let metrics = Self {
            events: Family::default(),
            open_claims: Gauge::default(),
            pods: Gauge::default(),
            counts,
            watch_age: Family::default(),
            connected: Family::default(),
            confirm_period: Seconds::default(),
            commit: quick(),
            commit_failures: Counter::default(),
            confirmation_failures: Counter::default(),
            latency: Histogram::new(LATENCY),
            outboxes: OutboxMetrics::default(),
            ready: AtomicBool::new(false),
        };
        metrics.register(registry);
        Arc::new(metrics)
    }

    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, metric: &Gauge| registry.register(name, help, metric.clone());
        gauge("open_claims", "Claims on addresses that have not ended", &self.open_claims);
        gauge("pods", "Pods that are not known to be gone", &self.pods);
        registry.register("events", "Events recorded in the ledger, by kind", self.events.clone());
        registry.register("watch_connected", "Whether the API server answers the watch", self.connected.clone());
        self.outboxes.register(registry, "outbox_lag", "Pieces of evidence that a sink has not got yet");
        registry.register(
            "commit_failures",
            "Commits of the ledger that failed and were tried again",
            self.commit_failures.clone(),
        );
        registry.register(
            "confirmation_failures",
            "Pods asked for by GET without an answer that can be used",
            self.confirmation_failures.clone(),
        );
        let (s, age) = (Unit::Seconds, self.watch_age.clone());
        registry.register_with_unit("watch_age", "Since when nothing is known of what happened", s.clone(), age);
        let period = self.confirm_period.clone();
        registry.register_with_unit("confirm_period", "How often each pod is confirmed", s.clone(), period);
        registry.register_with_unit("commit", "How long a commit took", s.clone(), self.commit.clone());
        let help = "From the receipt of a watch frame to its commit";
        registry.register_with_unit("frame_to_commit", help, s, self.latency.clone());
    }

    /// Whether the ledger holds what happened until now, or until a few seconds ago: pods and nodes are watched, and the
    /// last commit succeeded.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn connection<T>(&self, source: &'static str, delta: &Delta<T>) {
        let labels = vec![("source", source.to_owned())];
        match delta {
            Delta::Connected { .. } => {
                tracing::info!(source, "watching");
                self.connected.get_or_create(&labels).set(1);
            }
            Delta::Disconnected { reason, retry_in, .. } => {
                let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(source, reason, retry_ms, "API server does not answer as it should");
                self.connected.get_or_create(&labels).set(0);
            }
            Delta::Snapshot { gap: Some(gap), .. } => {
                let (from, to, reason) = (gap.from.to_string(), gap.to.to_string(), &gap.reason);
                tracing::warn!(source, from, to, reason, "gap: not all that happened was seen");
            }
            Delta::Rejected(rejected) => {
                let (key, reason) = (rejected.key.as_deref().unwrap_or_default(), &rejected.reason);
                tracing::warn!(source, key, reason, "input was quarantined");
            }
            _ => {}
        }
    }

    pub(crate) fn commit(&self, took: Duration, tracker: &Tracker) {
        self.commit.observe(took.as_secs_f64());
        let counts = tracker.counts();
        for (get, counter) in &self.counts {
            counter.inc_by(get(counts).saturating_sub(counter.get()));
        }
        for (kind, total) in KINDS.iter().zip(counts.events) {
            let counter = self.events.get_or_create(&vec![("kind", (*kind).to_owned())]).clone();
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.open_claims.set(i64::try_from(tracker.open_claims()).unwrap_or(i64::MAX));
        self.pods.set(i64::try_from(tracker.pods_known()).unwrap_or(i64::MAX));
    }

    pub(crate) fn commit_failed(&self, e: &podtrail_ledger::Error, wait: Duration) {
        self.ready.store(false, Ordering::Relaxed);
        self.commit_failures.inc();
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::error!(error = e as &dyn std::error::Error, retry_ms, "ledger cannot be written: nothing is lost yet");
    }

    pub(crate) fn not_confirmed(&self) {
        self.confirmation_failures.inc();
    }

    /// The frames received at these times are committed.
    pub(crate) fn committed(&self, received: &mut Vec<Timestamp>, now: Timestamp) {
        for at in received.drain(..) {
            self.latency.observe(now.saturating_duration_since(at).as_secs_f64());
        }
    }

    pub(crate) fn ages(&self, tracker: &Tracker, now: Timestamp) {
        let fresh = |until: Timestamp| now.saturating_duration_since(until) <= STALE;
        let ready = SOURCES.iter().all(|source| tracker.watched_until(source).is_some_and(fresh));
        self.ready.store(ready, Ordering::Relaxed);
        for source in SOURCES {
            let Some(until) = tracker.covered_until(source) else { continue };
            let age = now.saturating_duration_since(until).as_secs_f64();
            self.watch_age.get_or_create(&vec![("source", source.to_owned())]).set(age);
        }
    }

    pub(crate) fn confirm_period(&self, period: Duration) {
        self.confirm_period.set(period.as_secs_f64());
    }

    /// What the outbox of `sink` reports to.
    pub fn outbox(self: &Arc<Self>, sink: &str) -> impl Observer + use<> {
        self.outboxes.sink(sink)
    }
}
