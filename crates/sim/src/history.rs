//! The objects and the log of their changes. One counter numbers all changes; each resource has its own log, as in a real API server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::selector::{Labels, Selector};

/// What the API serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Pods,
    Nodes,
    Namespaces,
}

impl Resource {
    pub(crate) const ALL: [Self; 3] = [Self::Pods, Self::Nodes, Self::Namespaces];

    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
        }
    }

    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Pods => "Pod",
            Self::Nodes => "Node",
            Self::Namespaces => "Namespace",
        }
    }
}

/// The type of a watch frame about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    const fn head(self) -> &'static [u8] {
        match self {
            Self::Added => br#"{"type":"ADDED","object":"#,
            Self::Modified => br#"{"type":"MODIFIED","object":"#,
            Self::Deleted => br#"{"type":"DELETED","object":"#,
        }
    }
}

/// A version of an object and the change that made it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    pub(crate) change: Change,
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) labels: Arc<Labels>,
    /// The labels of the version before, if there was one.
    were: Option<Arc<Labels>>,
    /// The whole watch frame, with its line feed.
    frame: Bytes,
    /// How long `{"kind":"Pod","apiVersion":"v1",` is: items of a list go without.
    kind_length: usize,
}

impl Entry {
    /// The object, as a get shows it.
    pub(crate) fn json(&self) -> Bytes {
        self.frame.slice(self.change.head().len()..self.frame.len() - b"}\n".len())
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    fn item(&self) -> &[u8] {
        &self.frame[self.change.head().len() + self.kind_length..self.frame.len() - b"}\n".len()]
    }

    /// Length of the object as an item of a list.
    pub(crate) fn item_length(&self) -> usize {
        1 + self.item().len()
    }

    /// Writes the object as an item of a list.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(self.item());
    }

    /// Writes the frame, as a change of type `change`.
    pub(crate) fn write_frame(&self, change: Change, out: &mut Vec<u8>) {
        out.extend_from_slice(change.head());
        out.extend_from_slice(&self.frame[self.change.head().len()..]);
    }

    /// What kind of change this is to a watch with this selector, if it is one: an object whose labels begin to match is added to it.
    pub(crate) fn seen_through(&self, selector: &Selector) -> Option<Change> {
        let now = selector.takes(self, &self.labels) && self.change != Change::Deleted;
        let before = self.were.as_ref().is_some_and(|labels| selector.takes(self, labels));
        match (before, now) {
            (false, false) => None,
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
        }
    }
}

/// What an object is listed and selected by.
pub(crate) struct About {
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) labels: Arc<Labels>,
}

impl About {
    /// The object's key: namespaces do not mix, and a listing is in order, as in etcd.
    fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => (*self.name).to_owned(),
        }
    }
}

#[derive(Debug)]
struct Table {
    objects: BTreeMap<String, Arc<Entry>>,
    log: VecDeque<Arc<Entry>>,
    /// Every change up to here is forgotten.
    forgotten: u64,
    wake: watch::Sender<u64>,
}

/// What a watch gets next.
pub(crate) enum Next {
    /// The changes after its version are partly forgotten.
    Gone,
    /// These, after which it is at `at`, and whether there are more.
    Changes { entries: Vec<Arc<Entry>>, at: u64, more: bool },
}

/// The objects and the log of their changes.
#[derive(Debug)]
pub(crate) struct History {
    version: u64,
    /// Lists from before this version cannot be continued.
    compacted: u64,
    capacity: usize,
    tables: [Table; 3],
    /// Reused for every object, so that each is stored in exactly the bytes it needs.
    scratch: Vec<u8>,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        let table =
            |_| Table { objects: BTreeMap::new(), log: VecDeque::new(), forgotten: 0, wake: watch::Sender::new(0) };
        let tables = Resource::ALL.map(table);
        // A real cluster does not start at zero either, and zero has a meaning of its own in requests.
        Self { version: 1000, compacted: 0, capacity: capacity.max(1), tables, scratch: Vec::new() }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Makes the next version of an object, whose JSON `write` writes. `lost` keeps the change from the log.
    pub(crate) fn record(
        &mut self,
        resource: Resource,
        change: Change,
        about: About,
        lost: bool,
        write: impl FnOnce(&mut Vec<u8>, u64),
    ) {
        self.version += 1;
        self.scratch.clear();
        self.scratch.extend_from_slice(change.head());
        write(&mut self.scratch, self.version);
        self.scratch.extend_from_slice(b"}\n");
        let key = about.key();
        let table = &mut self.tables[resource as usize];
        let About { name, namespace, node, labels } = about;
        let entry = Arc::new(Entry {
            version: self.version,
            change,
            name,
            namespace,
            node,
            labels,
            were: table.objects.get(&key).map(|entry| entry.labels.clone()),
            frame: Bytes::copy_from_slice(&self.scratch),
            kind_length: r#"{"kind":"","apiVersion":"v1","#.len() + resource.kind().len(),
        });
        if change == Change::Deleted {
            table.objects.remove(&key);
        } else {
            table.objects.insert(key, entry.clone());
        }
        if !lost {
            table.log.push_back(entry);
            if table.log.len() > self.capacity
                && let Some(oldest) = table.log.pop_front()
            {
                table.forgotten = oldest.version;
            }
        }
        table.wake.send_replace(self.version);
    }

    /// Forgets every change so far.
    pub(crate) fn compact(&mut self) {
        self.version += 1;
        self.compacted = self.version;
        for table in &mut self.tables {
            table.log.clear();
            table.forgotten = self.version;
            table.wake.send_replace(self.version);
        }
    }

    /// Tells of every later change to this resource.
    pub(crate) fn wake(&self, resource: Resource) -> watch::Receiver<u64> {
        self.tables[resource as usize].wake.subscribe()
    }

    pub(crate) fn watchers(&self, resource: Resource) -> usize {
        self.tables[resource as usize].wake.receiver_count()
    }

    pub(crate) fn object(&self, resource: Resource, namespace: Option<&str>, name: &str) -> Option<Arc<Entry>> {
        let objects = &self.tables[resource as usize].objects;
        match namespace {
            Some(namespace) => objects.get(&format!("{namespace}/{name}")).cloned(),
            None => objects.get(name).cloned(),
        }
    }

    /// The objects that `selector` takes, in order.
    pub(crate) fn list(&self, resource: Resource, selector: &Selector) -> Vec<Arc<Entry>> {
        let objects = &self.tables[resource as usize].objects;
        let taken = |entry: &&Arc<Entry>| selector.takes(entry, &entry.labels);
        match &selector.namespace {
            // '0' is the character after '/'.
            Some(namespace) => {
                let range = format!("{namespace}/")..format!("{namespace}0");
                objects.range(range).map(|(_, entry)| entry).filter(taken).cloned().collect()
            }
            None => objects.values().filter(taken).cloned().collect(),
        }
    }

    /// Whether a watch can start from `version`.
    pub(crate) fn reaches_back_to(&self, resource: Resource, version: u64) -> bool {
        version >= self.tables[resource as usize].forgotten
    }

    /// The changes after `version`, as many as fit into about `bytes`, at least one if there is one.
    pub(crate) fn after(&self, resource: Resource, version: u64, bytes: usize) -> Next {
        let table = &self.tables[resource as usize];
        if version < table.forgotten {
            return Next::Gone;
        }
        let mut size = 0;
        let mut entries = Vec::new();
        let start = table.log.partition_point(|entry| entry.version <= version);
        for entry in table.log.range(start..) {
            if size > bytes {
                return Next::Changes { entries, at: entry.version - 1, more: true };
            }
            size += entry.frame.len();
            entries.push(entry.clone());
        }
        Next::Changes { entries, at: self.version.max(version), more: false }
    }

    /// The latest change before `entry`: of the same object if the log has one, else of any.
    pub(crate) fn before(&self, resource: Resource, entry: &Entry) -> Option<Arc<Entry>> {
        let log = &self.tables[resource as usize].log;
        let older = || log.iter().rev().filter(|e| e.version < entry.version);
        let same = older().find(|e| e.name == entry.name && e.namespace == entry.namespace);
        same.or_else(|| older().next()).cloned()
    }

    pub(crate) fn log(&self, resource: Resource) -> impl Iterator<Item = &Arc<Entry>> {
        self.tables[resource as usize].log.iter()
    }
}
