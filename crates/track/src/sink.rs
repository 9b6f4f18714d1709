use podtrail_event::{Cluster, Record};
use podtrail_ledger::StoredObservation;
use podtrail_watch::{Globs, NamespaceFilter};
use podtrail_writer::{Item, Row};
use serde::{Deserialize, Serialize};

/// How a sink's records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Our own JSON: all events, all addresses, bounds, gaps.
    #[default]
    Podtrail,
    /// PodTracker's twelve keys: `Create` and `Delete` only.
    PodTracker,
}

/// What one writer is to get, and under which name its position is kept. By default all events, in our own format.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "built by whoever reads the configuration")]
pub struct Sink {
    /// The name of its position in the ledger; the other settings may change under it. A batch that is in flight then
    /// is finished with the settings that it began with.
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

/// A sink's settings and the cluster whose records it gets: all that their bytes depend on.
#[derive(Debug)]
pub(crate) struct Rendering {
    sink: Sink,
    cluster: Cluster,
}

/// What is stored of a batch in flight beside where it ends: the writer's token, and the [`Rendering`].
#[derive(Serialize, Deserialize)]
struct Frozen {
    resume: Option<String>,
    cluster: Cluster,
    include: Vec<String>,
    exclude: Vec<String>,
    format: Format,
    tracked_by: String,
}

impl Rendering {
    pub(crate) const fn new(sink: Sink, cluster: Cluster) -> Self {
        Self { sink, cluster }
    }

    pub(crate) const fn sink(&self) -> &Sink {
        &self.sink
    }

    pub(crate) fn row(&self, observation: &StoredObservation) -> Row {
        let records = observation.records(&self.cluster);
        let item = |record: &Record| Some(Item { id: record.id(), line: self.sink.render(record)?.into() });
        Row { seq: observation.seq, items: records.iter().filter_map(item).collect() }
    }

    /// This and the token as one text.
    pub(crate) fn freeze(&self, resume: Option<String>) -> String {
        let Sink { namespaces, format, tracked_by, .. } = &self.sink;
        let patterns = |globs: &Globs| globs.patterns().map(str::to_owned).collect();
        let frozen = Frozen {
            resume,
            cluster: self.cluster.clone(),
            include: patterns(&namespaces.include),
            exclude: patterns(&namespaces.exclude),
            format: *format,
            tracked_by: tracked_by.clone(),
        };
        serde_json::to_string(&frozen).expect("names and lists of text have a JSON form")
    }

    /// What [`Self::freeze`] made a text of; `None` if it did not.
    pub(crate) fn thaw(&self, text: &str) -> Option<(Self, Option<String>)> {
        let Frozen { resume, cluster, include, exclude, format, tracked_by } = serde_json::from_str(text).ok()?;
        let namespaces = NamespaceFilter { include: Globs::new(include).ok()?, exclude: Globs::new(exclude).ok()? };
        let sink = Sink { name: self.sink.name.clone(), namespaces, format, tracked_by, from_now: self.sink.from_now };
        Some((Self { sink, cluster }, resume))
    }
}
