//! What is counted about the counting, for Prometheus.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use podtrail_conntrack::{Queue, wire};
use podtrail_flow::{GapReason, Stats};
use podtrail_writer::{Backlog, Observer, OutboxMetrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::orders::Mode;

type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Gauge>;
type Counts = Family<Labels, Counter>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

/// Names begin with `podtrail_flow_`. Those of a namespace have its path as the label `netns`.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Numbers,
    entries: Numbers,
    max_entries: Numbers,
    dropped: Numbers,
    early_drops: Numbers,
    tracked: Numbers,
    refused: Numbers,
    queue: Numbers,
    reliable: Numbers,
    snapshot: Seconds,
    events: Counts,
    drops: Numbers,
    trips: Numbers,
    lost: Counts,
    gaps: Counts,
    interrupted: Counts,
    malformed: Counts,
    ignored: Numbers,
    forgotten: Numbers,
    store_failures: Counter,
    spool_records: Gauge,
    spool_bytes: Gauge,
    outboxes: OutboxMetrics,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Arc<Self> {
        let registry = registry.sub_registry_with_prefix("podtrail_flow");
        let metrics = Self::default();
        let mut gauge = |name: &str, help: &str, metric: &Numbers| registry.register(name, help, metric.clone());
        gauge("connections", "Connections in the table when it was read last", &metrics.connections);
        gauge(
            "table_entries",
            "Connections that count for the limit of the table, those that are ending too",
            &metrics.entries,
        );
        gauge("table_max_entries", "How many there may be; 0 is no limit", &metrics.max_entries);
        gauge(
            "table_drops",
            "Packets that were dropped because no connection could be made for them",
            &metrics.dropped,
        );
        gauge("table_early_drops", "Connections that were ended early to make room for others", &metrics.early_drops);
        gauge("tracked", "Connections whose counters are known", &metrics.tracked);
        gauge(
            "refused",
            "Times that there was no room to know a connection: it is counted when it ends",
            &metrics.refused,
        );
        gauge("queue_bytes", "What waits in the socket for events", &metrics.queue);
        gauge("reliable", "Whether the kernel keeps the ends of connections until they are read", &metrics.reliable);
        gauge(
            "drops",
            "Deliveries of events that failed since the socket was opened; in reliable mode they are repeated",
            &metrics.drops,
        );
        gauge("watchdog_trips", "How often the watchdog left reliable mode", &metrics.trips);
        gauge(
            "ignored_messages",
            "Messages of others than the kernel, and of it without any sense, on the socket",
            &metrics.ignored,
        );
        gauge(
            "forgotten",
            "Ended connections that had to be forgotten early: said again, they would count again",
            &metrics.forgotten,
        );
        let mut counter = |name: &str, help: &str, metric: &Counts| registry.register(name, help, metric.clone());
        counter("events", "Ends of connections that were read", &metrics.events);
        counter("lost_events", "Ends of connections that were lost, and declared", &metrics.lost);
        counter("gaps", "Spans in which something may not have been counted, by reason", &metrics.gaps);
        counter("interrupted_snapshots", "Times that the table was not read to its end", &metrics.interrupted);
        counter("malformed", "Messages of the kernel that could not be read", &metrics.malformed);
        metrics.outboxes.register(registry, "writer_lag", "Records that a sink has not got yet");
        let failures = metrics.store_failures.clone();
        registry.register(
            "store_failures",
            "Times that what was counted could not be stored, and was tried again",
            failures,
        );
        registry.register("spool_records", "Records that some sink has not got yet", metrics.spool_records.clone());
        registry.register("spool_bytes", "What is stored", metrics.spool_bytes.clone());
        let help = "How long it took to read the table last";
        registry.register_with_unit("snapshot", help, Unit::Seconds, metrics.snapshot.clone());
        Arc::new(metrics)
    }

    pub(crate) fn site(&self, path: &str) -> SiteMetrics {
        let labels = vec![("netns", path.to_owned())];
        SiteMetrics {
            connections: self.connections.get_or_create(&labels).clone(),
            entries: self.entries.get_or_create(&labels).clone(),
            max_entries: self.max_entries.get_or_create(&labels).clone(),
            dropped: self.dropped.get_or_create(&labels).clone(),
            early_drops: self.early_drops.get_or_create(&labels).clone(),
            queue: self.queue.get_or_create(&labels).clone(),
            reliable: self.reliable.get_or_create(&labels).clone(),
            drops: self.drops.get_or_create(&labels).clone(),
            trips: self.trips.get_or_create(&labels).clone(),
            snapshot: self.snapshot.get_or_create(&labels).clone(),
            events: self.events.get_or_create(&labels).clone(),
            lost: self.lost.get_or_create(&labels).clone(),
            interrupted: self.interrupted.get_or_create(&labels).clone(),
            malformed: self.malformed.get_or_create(&labels).clone(),
            ignored: self.ignored.get_or_create(&labels).clone(),
            gaps: self.gaps.clone(),
            labels,
        }
    }

    pub(crate) fn account(&self, path: &str, stats: &Stats) {
        let labels = vec![("netns", path.to_owned())];
        self.tracked.get_or_create(&labels).set(number(stats.tracked as u64));
        self.refused.get_or_create(&labels).set(number(stats.refused));
        self.forgotten.get_or_create(&labels).set(number(stats.forgotten));
    }

    pub(crate) fn spool(&self, backlog: Backlog) {
        self.spool_records.set(number(backlog.records));
        self.spool_bytes.set(number(backlog.bytes));
    }

    pub(crate) fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// What the outbox of a sink reports to.
    pub(crate) fn outbox(&self, sink: &str) -> impl Observer + use<> {
        self.outboxes.sink(sink)
    }
}

/// Those of one namespace.
#[derive(Debug)]
pub(crate) struct SiteMetrics {
    labels: Labels,
    connections: Gauge,
    entries: Gauge,
    max_entries: Gauge,
    dropped: Gauge,
    early_drops: Gauge,
    queue: Gauge,
    reliable: Gauge,
    drops: Gauge,
    trips: Gauge,
    snapshot: Gauge<f64, AtomicU64>,
    events: Counter,
    lost: Counter,
    interrupted: Counter,
    malformed: Counter,
    ignored: Gauge,
    gaps: Counts,
}

impl SiteMetrics {
    pub(crate) fn snapshot(&self, connections: usize, took: Duration) {
        self.connections.set(number(connections as u64));
        self.snapshot.set(took.as_secs_f64());
    }

    pub(crate) fn table(&self, stats: &wire::Stats) {
        self.entries.set(stats.entries.into());
        self.max_entries.set(stats.max_entries.unwrap_or_default().into());
        self.dropped.set(number(stats.drop));
        self.early_drops.set(number(stats.early_drop));
    }

    pub(crate) fn queue(&self, queue: Queue, mode: Mode) {
        self.queue.set(queue.bytes.into());
        self.drops.set(queue.drops.into());
        self.reliable.set(mode.is_reliable.into());
        self.trips.set(number(mode.trips));
    }

    pub(crate) fn events(&self, events: usize) {
        self.events.inc_by(events as u64);
    }

    pub(crate) fn ignored(&self, foreign: u64, malformed: u64) {
        self.ignored.set(number(foreign.saturating_add(malformed)));
    }

    pub(crate) fn lost(&self, events: u64) {
        self.lost.inc_by(events);
    }

    pub(crate) fn gap(&self, reason: GapReason) {
        let mut labels = self.labels.clone();
        labels.push(("reason", reason.as_str().to_owned()));
        self.gaps.get_or_create(&labels).inc();
    }

    pub(crate) fn interrupted(&self) {
        self.interrupted.inc();
    }

    pub(crate) fn malformed(&self, error: &dyn Display) {
        self.malformed.inc();
        tracing::debug!(%error, "a message of the kernel cannot be read");
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
