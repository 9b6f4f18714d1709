use podtrail_event::Record;
use podtrail_watch::NamespaceFilter;

/// How a sink's records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Our own JSON: all events, all addresses, bounds, gaps.
    #[default]
    Podtrail,
    /// PodTracker's twelve keys: `Create` and `Delete` only.
    PodTracker,
}

/// What one writer is to get, and under which name its position is kept.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "built by whoever reads the configuration")]
pub struct Sink {
    /// The name of its position in the ledger; the other settings may change under it.
    pub name: String,
    /// The namespaces whose pods' events it gets. Gaps concern all, and go to all.
    pub namespaces: NamespaceFilter,
    /// How the records look.
    pub format: Format,
    /// Who tracks: PodTracker's `trackedBy`. Left out if empty.
    pub tracked_by: String,
    /// A new sink begins with what happens from now on, not with the oldest that the ledger has.
    pub from_now: bool,
}

impl Sink {
    /// The record as this sink gets it; `None` if it does not.
    pub fn render(&self, record: &Record) -> Option<String> {
        if record.namespace().is_some_and(|namespace| !self.namespaces.matches(namespace)) {
            return None;
        }
        match self.format {
            Format::Podtrail => Some(record.to_json((!self.tracked_by.is_empty()).then_some(&*self.tracked_by))),
            Format::PodTracker => record.to_podtracker(&self.tracked_by),
        }
    }
}
