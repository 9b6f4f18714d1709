use std::collections::{BTreeMap, BTreeSet};

use podtrail_event::{Gap, Timestamp};
use podtrail_ledger::{Change, Watched};

/// Since when, and until when, each source has been watched without interruption.
#[derive(Debug)]
pub(super) struct Spans {
    last: BTreeMap<String, Watched>,
    /// Sources whose span this tracker has begun or extended: of others it knows only what was stored.
    watched: BTreeSet<String>,
}

/// How a source is known to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Something came.
    Heard,
    /// Nothing came, on a connection that seems alive; `since`: nor did before, and it was opened then.
    Silence { since: Option<Timestamp> },
}

impl Spans {
    pub(super) fn new(stored: &BTreeMap<String, Watched>) -> Self {
        Self { last: stored.clone(), watched: BTreeSet::new() }
    }

    /// Until when the last span reaches.
    pub(super) fn until(&self, source: &str) -> Option<Timestamp> {
        self.last.get(source).map(|span| span.until)
    }

    /// Until when this tracker has watched it.
    pub(super) fn watched_until(&self, source: &str) -> Option<Timestamp> {
        self.until(source).filter(|_| self.watched.contains(source))
    }

    /// The span now reaches to `at`; `None` if it did, or if there is none.
    pub(super) fn extend(&mut self, source: &str, at: Timestamp, sign: Sign) -> Option<Watched> {
        let span = self.last.get_mut(source)?;
        let before = *span;
        match sign {
            // What happened between the last sign and the opening may still be told: until then nobody knows.
            Sign::Silence { since: Some(opened) } if opened > span.until => {
                (span.start, span.until) = (opened, at.max(opened));
            }
            Sign::Silence { .. } => span.until = span.until.max(at),
            Sign::Heard => {
                span.start = span.start.min(span.proven);
                span.proven = span.proven.max(at);
                span.until = span.until.max(at);
            }
        }
        let span = *span;
        if span == before {
            return None;
        }
        self.watch(source);
        Some(span)
    }

    /// What lies between the last span and one that begins at `since`.
    pub(super) fn gap_before(&self, source: &str, since: Timestamp) -> Option<Gap> {
        let from = self.last.get(source)?.proven;
        let reason = "no version was stored to resume from".to_owned();
        Some(Gap { source: source.to_owned(), from, to: since, reason })
    }

    /// A new span begins.
    pub(super) fn begin(&mut self, source: &str, since: Timestamp) -> Watched {
        let span = Watched { start: since, until: since, proven: since };
        self.last.insert(source.to_owned(), span);
        self.watch(source);
        span
    }

    fn watch(&mut self, source: &str) {
        if !self.watched.contains(source) {
            self.watched.insert(source.to_owned());
        }
    }
}

/// A version that a watch has reached, as it came.
#[derive(Debug)]
pub(super) enum Version {
    OfObject(u64),
    Said(String),
}

impl From<u64> for Version {
    fn from(version: u64) -> Self {
        Self::OfObject(version)
    }
}

impl From<String> for Version {
    fn from(version: String) -> Self {
        Self::Said(version)
    }
}

/// How far the watches have got since the last commit: of many steps only the last is worth storing.
#[derive(Debug, Default)]
pub(super) struct Progress {
    reached: BTreeMap<&'static str, Version>,
    covered: BTreeMap<(&'static str, Timestamp), Watched>,
}

impl Progress {
    pub(super) fn reached(&mut self, source: &'static str, version: impl Into<Version>) {
        self.reached.insert(source, version.into());
    }

    pub(super) fn covered(&mut self, source: &'static str, span: Watched) {
        self.covered.insert((source, span.start), span);
    }

    pub(super) fn take(&mut self, changes: &mut Vec<Change>) {
        for (source, version) in std::mem::take(&mut self.reached) {
            let version = match version {
                Version::OfObject(version) => version.to_string(),
                Version::Said(version) => version,
            };
            changes.push(Change::Checkpoint(source, version));
        }
        for ((source, _), Watched { start, until, proven }) in std::mem::take(&mut self.covered) {
            changes.push(Change::Covered { source, start, until, proven });
        }
    }
}
