use std::collections::BTreeMap;

use podtrail_event::{Gap, Timestamp};

/// Since when, and until when, each source has been watched without interruption.
#[derive(Debug)]
pub(super) struct Spans(BTreeMap<String, (Timestamp, Timestamp)>);

impl Spans {
    pub(super) fn new(stored: &BTreeMap<String, (Timestamp, Timestamp)>) -> Self {
        Self(stored.clone())
    }

    /// Until when the last span reaches.
    pub(super) fn until(&self, source: &str) -> Option<Timestamp> {
        self.0.get(source).map(|(_, until)| *until)
    }

    /// The span now reaches to `until`; `None` if it did, or if there is none.
    pub(super) fn extend(&mut self, source: &str, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let span = self.0.get_mut(source)?;
        (until > span.1).then(|| {
            span.1 = until;
            *span
        })
    }

    /// What lies between the last span and one that begins at `since`.
    pub(super) fn gap_before(&self, source: &str, since: Timestamp) -> Option<Gap> {
        let (_, until) = self.0.get(source)?;
        let reason = "no version was stored to resume from".to_owned();
        Some(Gap { source: source.to_owned(), from: *until, to: since, reason })
    }

    /// A new span begins.
    pub(super) fn begin(&mut self, source: &str, since: Timestamp) -> (Timestamp, Timestamp) {
        let span = (since, since);
        self.0.insert(source.to_owned(), span);
        span
    }
}
