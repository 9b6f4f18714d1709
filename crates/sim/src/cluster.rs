use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use podtrail_event::Timestamp;

use crate::clock::{Clock, Skew, Stamp};
use crate::error::{Error, ErrorKind};
use crate::fault::{Fault, Faults};
use crate::history::{About, Change, History, Resource};
use crate::pod::Live;
use crate::render;
use crate::requests::{Requests, Traffic};
use crate::selector::Labels;
use crate::snapshots::Snapshots;
use crate::truth::{Hold, Truth};

/// How a [`Cluster`] behaves.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "built literally, with ..Config::default()")]
pub struct Config {
    /// UID of the `kube-system` namespace, which stands for the cluster's.
    pub cluster_uid: String,
    /// Where "now" comes from.
    pub clock: Clock,
    /// How many changes each resource's history keeps; a watch from before them is answered with 410.
    pub log_capacity: usize,
    /// The most items of a page, whatever limit a client asks for. A list without a limit is never paged.
    pub max_page: usize,
    /// How often a watch that allows bookmarks gets one.
    pub bookmark_every: Duration,
    /// When a watch without `timeoutSeconds` ends.
    pub watch_timeout: Duration,
    /// Whether watches may ask for `sendInitialEvents` (streaming lists).
    pub watch_list: bool,
    /// Bytes of `managedFields` in each pod; without them a running pod is about 2.8 KB, with 6,200 about 9 KB.
    pub managed_fields: usize,
    /// Whether to record who held what; without it the truth stays empty, which saves memory in long runs.
    pub keep_truth: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_uid: "6f9a2c1e-0d2b-4b59-a3c7-51b1a2f0c0de".to_owned(),
            clock: Clock::System,
            log_capacity: 10_000,
            max_page: usize::MAX,
            bookmark_every: Duration::from_secs(1),
            watch_timeout: Duration::from_secs(1800),
            watch_list: true,
            managed_fields: 0,
            keep_truth: true,
        }
    }
}

/// A simulated cluster: its objects, their history, the truth about its addresses, and what is about to go wrong.
///
/// Clones are handles to the same cluster. Each operation is one change with one version, and is seen by every watch at once.
#[derive(Debug, Clone)]
pub struct Cluster(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) managed_fields: Vec<u8>,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    pub(crate) traffic: Traffic,
    pub(crate) snapshots: Snapshots,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) history: History,
    /// The living pods by namespace and name.
    pub(crate) pods: HashMap<(Arc<str>, Arc<str>), Live>,
    nodes: HashMap<String, Node>,
    skews: HashMap<String, Skew>,
    pub(crate) truth: Truth,
    /// How many UIDs were made.
    uids: u64,
}

#[derive(Debug, Clone)]
struct Node {
    uid: String,
    created: Stamp,
    addresses: Vec<(String, String)>,
}

impl Cluster {
    /// A cluster without nodes, with the namespaces that every cluster has.
    pub fn new(config: Config) -> Self {
        let state = State {
            history: History::new(config.log_capacity),
            pods: HashMap::new(),
            nodes: HashMap::new(),
            skews: HashMap::new(),
            truth: Truth::default(),
            uids: 0,
        };
        let cluster = Self(Arc::new(Shared {
            managed_fields: render::managed_fields(config.managed_fields),
            state: Mutex::new(state),
            faults: Mutex::default(),
            traffic: Traffic::default(),
            snapshots: Snapshots::default(),
            config,
        }));
        for name in ["kube-system", "default", "kube-public", "kube-node-lease"] {
            let mut state = cluster.lock();
            let uid = if name == "kube-system" { cluster.uid().to_owned() } else { state.next_uid(cluster.uid()) };
            state.put_namespace(Change::Added, name, &uid, cluster.now().into());
        }
        cluster
    }

    /// UID of the `kube-system` namespace.
    pub fn uid(&self) -> &str {
        &self.0.config.cluster_uid
    }

    /// What the cluster's clock shows.
    pub fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }

    /// The `resourceVersion` of the latest change.
    pub fn version(&self) -> u64 {
        self.lock().history.version()
    }

    /// Forgets all history: every watch from an earlier version, open ones too, and every `continue` token is answered with 410.
    pub fn compact(&self) {
        self.lock().history.compact();
    }

    /// Adds a namespace.
    ///
    /// # Errors
    /// If there is one of this name.
    pub fn add_namespace(&self, name: &str) -> Result<(), Error> {
        let now = self.now();
        let mut state = self.lock();
        if state.history.object(Resource::Namespaces, None, name).is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("namespace {name}")));
        }
        let uid = state.next_uid(self.uid());
        state.put_namespace(Change::Added, name, &uid, now.into());
        Ok(())
    }

    /// Adds a node with these addresses, as (type, address): `("InternalIP", "198.18.0.11")`.
    ///
    /// # Errors
    /// If there is one of this name.
    pub fn add_node(&self, name: &str, addresses: &[(&str, &str)]) -> Result<(), Error> {
        let created = self.now().into();
        let mut state = self.lock();
        if state.nodes.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("node {name}")));
        }
        let node = Node { uid: state.next_uid(self.uid()), created, addresses: owned(addresses) };
        state.put_node(Change::Added, name, &node);
        state.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Changes a node's addresses to these.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn set_node_addresses(&self, name: &str, addresses: &[(&str, &str)]) -> Result<(), Error> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(name).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("node {name}")))?;
        node.addresses = owned(addresses);
        let node = node.clone();
        state.put_node(Change::Modified, name, &node);
        Ok(())
    }

    /// Removes a node; its pods stay.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn remove_node(&self, name: &str) -> Result<(), Error> {
        let mut state = self.lock();
        let node = state.nodes.remove(name).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("node {name}")))?;
        state.put_node(Change::Deleted, name, &node);
        Ok(())
    }

    /// The clock of this node differs by `skew` from now on, and so do the times that its kubelet reports.
    pub fn skew_node(&self, name: &str, skew: Skew) {
        self.lock().skews.insert(name.to_owned(), skew);
    }

    /// All that is true about addresses: every hold of every pod so far, in the order in which they began.
    pub fn truth(&self) -> Vec<Hold> {
        self.lock().truth.all()
    }

    /// Who truly held the address at this instant.
    pub fn owner_at(&self, network: &str, ip: IpAddr, at: Timestamp) -> Vec<Hold> {
        self.lock().truth.at(network, ip, at)
    }

    /// Queues a fault.
    pub fn inject(&self, fault: Fault) {
        self.faults().add(fault);
    }

    /// How many faults have not been used yet; each frame still to drop counts.
    pub fn faults_pending(&self) -> usize {
        self.faults().pending()
    }

    /// What was asked of the API so far.
    pub fn requests(&self) -> Requests {
        self.0.traffic.requests()
    }

    /// The version up to which the latest pod watch was sent everything, 0 before the first.
    pub fn sent(&self) -> u64 {
        self.0.traffic.sent()
    }

    /// How many pod watches are open.
    pub fn open_watches(&self) -> usize {
        self.lock().history.watchers(Resource::Pods)
    }

    /// The pod watch frames that the history retains, oldest first, each with its line feed: input for decoders' benchmarks.
    pub fn frames(&self) -> Vec<Bytes> {
        self.lock().history.log(Resource::Pods).map(|entry| entry.frame().clone()).collect()
    }

    /// A panic elsewhere leaves whole changes behind: nothing here panics between two halves of one.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn next_uid(&mut self, cluster: &str) -> String {
        self.uids += 1;
        render::uid(&[b"object", cluster.as_bytes(), &self.uids.to_le_bytes()])
    }

    /// The cluster's `now` as this node's clock shows it.
    pub(crate) fn on_node(&self, node: &str, now: Timestamp) -> Stamp {
        self.skews.get(node).map_or(now, |skew| skew.apply(now)).into()
    }

    /// The node's internal addresses.
    pub(crate) fn host_ips(&self, node: &str) -> Vec<IpAddr> {
        let addresses = self.nodes.get(node).map_or(&[][..], |node| &node.addresses);
        addresses.iter().filter(|(kind, _)| kind == "InternalIP").filter_map(|(_, ip)| ip.parse().ok()).collect()
    }

    fn put_node(&mut self, change: Change, name: &str, node: &Node) {
        let labels = Labels::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
        self.history.record(Resource::Nodes, change, cluster_scoped(name, labels), false, |out, version| {
            render::node(out, (name, &node.uid, node.created), &node.addresses, version);
        });
    }

    fn put_namespace(&mut self, change: Change, name: &str, uid: &str, created: Stamp) {
        let labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
        self.history.record(Resource::Namespaces, change, cluster_scoped(name, labels), false, |out, version| {
            render::namespace(out, (name, uid, created), version);
        });
    }
}

fn cluster_scoped(name: &str, labels: Labels) -> About {
    About { name: name.into(), namespace: None, node: None, labels: Arc::new(labels) }
}

fn owned(addresses: &[(&str, &str)]) -> Vec<(String, String)> {
    addresses.iter().map(|&(kind, address)| (kind.to_owned(), address.to_owned())).collect()
}
