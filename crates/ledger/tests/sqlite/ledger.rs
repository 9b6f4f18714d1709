//! Ledgers to test on.

use std::path::PathBuf;
use std::time::Duration;

use podtrail_event::{Cluster, DEFAULT_NETWORK, Pod, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Evidence, Interval, NodeRow, Observation, PodRow, Source, Store};
use tempfile::TempDir;

/// Seconds since 1970.
pub(crate) fn t(second: i64) -> Timestamp {
    Timestamp::from_second(second)
}

pub(crate) fn cluster() -> Cluster {
    Cluster::new("cluster-1")
}

/// A folder of its own, and in it a place for a ledger.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("podtrail.db")
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(self.path(), &cluster(), Duration::ZERO).unwrap()
    }

    pub(crate) fn open_read_only(&self) -> Store {
        Store::open_read_only(self.path()).unwrap()
    }

    pub(crate) fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    /// What is in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

/// A pod `web-N` on `node-1`, whose UID is `pod-N`.
pub(crate) fn pod(id: i64) -> PodRow {
    let pod = Pod {
        uid: format!("pod-{id}"),
        namespace: "shop".into(),
        name: format!("web-{id}"),
        node: Some("node-1".into()),
        ..Pod::default()
    };
    PodRow { id, version: 1, created: true, deleted: false, gone: None, pod }
}

pub(crate) fn node(id: i64) -> NodeRow {
    let (uid, name) = (format!("node-uid-{id}"), format!("node-{id}"));
    NodeRow { id, uid, name, addresses: Default::default(), gone: None }
}

pub(crate) fn interval(start: i64, held: Option<i64>, end: Option<i64>) -> Interval {
    let mut interval = Interval::starting(t(start), t(start));
    held.map(|at| interval.tighten(Evidence::HeldUntil(t(at))));
    end.map(|at| interval.tighten(Evidence::EndedBy(t(at))));
    interval
}

/// That a pod held an address of the default network.
pub(crate) fn claim(id: i64, holder: i64, ip: &str, interval: Interval) -> ClaimRow {
    let network = DEFAULT_NETWORK.to_owned();
    let (ip, subject) = (ip.parse().unwrap(), Subject::Pod);
    ClaimRow { id, network, ip, subject, holder, ordinal: 0, shared: false, interval }
}

pub(crate) fn observed(at: i64, observation: Observation) -> Change {
    Change::Observed(t(at), Source::Watch, Box::new(observation))
}

/// Evidence of these claims.
pub(crate) fn said(at: i64, claims: &[ClaimRow]) -> Change {
    observed(at, Observation { claims: claims.to_vec(), ..Observation::default() })
}

pub(crate) fn covered(from: i64, until: i64) -> Change {
    Change::Covered { source: "pods", start: t(from), until: t(until), proven: t(until) }
}

/// The nodes were always watched.
pub(crate) fn nodes_too() -> Change {
    let (start, until) = (Timestamp::MIN, Timestamp::MAX);
    Change::Covered { source: "nodes", start, until, proven: until }
}

/// What the error rests on.
pub(crate) fn why(e: &podtrail_ledger::Error) -> String {
    std::error::Error::source(e).map(ToString::to_string).unwrap_or_default()
}
