//! A tracker, its ledger, and words to tell a story with. Times are seconds after some instant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use podtrail_event::{Address, Bounds, Cluster, DEFAULT_NETWORK, Gap, Map, Pod, PodEvent, Record, Timestamp};
use podtrail_ledger::{Answer, Change, ClaimRow, OwnerReply, Store};
use podtrail_track::Tracker;
use podtrail_watch::confirm::Confirmation;
use podtrail_watch::{Delta, NodeState, Phase, PodState};
use tempfile::TempDir;

pub(crate) const ERROR: Duration = Duration::from_secs(1);

pub(crate) fn t(seconds: f64) -> Timestamp {
    const START: f64 = 1_760_000_000.0;
    // Milliseconds are as fine as these stories are.
    Timestamp::from_nanosecond(((START + seconds) * 1000.0).round() as i64 * 1_000_000)
}

/// As an API prints it: whole seconds, cut off.
fn stamp(seconds: f64) -> Option<Timestamp> {
    Some(t(seconds.floor()))
}

/// A state of a pod, to be changed step by step.
#[derive(Clone)]
pub(crate) struct Shown(pub(crate) PodState);

/// A pod as it is created at `created`: scheduled to node `n1`, pending.
pub(crate) fn pod(uid: &str, name: &str, created: f64) -> Shown {
    let pod = Pod {
        uid: uid.into(),
        namespace: "shop".into(),
        name: name.into(),
        node: Some("n1".into()),
        created: stamp(created),
        ..Pod::default()
    };
    Shown(PodState { pod, phase: Phase::Pending, scheduled: stamp(created), ..PodState::default() })
}

impl Shown {
    pub(crate) fn on(mut self, node: &str) -> Self {
        self.0.pod.node = Some(node.into());
        self
    }

    pub(crate) fn host_network(mut self) -> Self {
        self.0.pod.host_network = true;
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0.pod.labels.get_or_insert_with(Map::new).insert(key.into(), value.into());
        self
    }

    /// Shows these addresses, `ip` or `network ip`.
    pub(crate) fn shows(mut self, addresses: &[&str]) -> Self {
        self.0.addresses = addresses.iter().map(|text| address(text)).collect();
        self
    }

    /// Runs since `at` by its node's clock.
    pub(crate) fn runs(mut self, at: f64) -> Self {
        self.0.phase = Phase::Running;
        self.0.kubelet_started = self.0.kubelet_started.or_else(|| stamp(at));
        self.0.running_since = stamp(at);
        self.0.running = true;
        self
    }

    /// Its deletion was asked for at `at`, with so much grace.
    pub(crate) fn deleting(mut self, at: f64, grace: u64) -> Self {
        self.0.pod.deletion = stamp(at + grace as f64);
        self.0.grace = Some(Duration::from_secs(grace));
        self
    }

    /// All of its containers ended at `at` by its node's clock.
    pub(crate) fn ends(mut self, at: f64) -> Self {
        self.0.phase = Phase::Succeeded;
        self.0.running = false;
        self.0.finished = stamp(at);
        self
    }

    /// It mirrors a static pod that its kubelet started at `at`.
    pub(crate) fn mirrors(mut self, at: f64) -> Self {
        self.0.mirror = true;
        self.0.kubelet_started = stamp(at);
        self
    }
}

pub(crate) fn address(text: &str) -> Address {
    let (network, ip) = text.split_once(' ').unwrap_or((DEFAULT_NETWORK, text));
    Address { network: network.into(), ip: ip.parse().unwrap() }
}

/// A pod that runs with one address: created at `at`, running a second later.
pub(crate) fn running(uid: &str, name: &str, at: f64, ip: &str) -> Shown {
    pod(uid, name, at).shows(&[ip]).runs(at + 1.0)
}

pub(crate) struct World {
    pub(crate) store: Option<Store>,
    pub(crate) tracker: Tracker,
    pub(crate) version: u64,
    /// The last version of each pod.
    versions: HashMap<String, u64>,
    /// Until a test watches nodes, there is none, and that is known.
    nodes_watched: bool,
    now: f64,
    dir: TempDir,
}

impl World {
    /// Watches an empty cluster since 0.
    pub(crate) fn new() -> Self {
        let mut world = Self::unwatched();
        world.list(None, &[]);
        world
    }

    /// Nothing has been watched yet.
    pub(crate) fn unwatched() -> Self {
        // That it survives a power cut is tested elsewhere: memory is faster.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open(dir.path().join("ledger.db"), &Cluster::new("c"), ERROR).unwrap();
        let tracker = Tracker::new(store.live().unwrap(), ERROR);
        Self {
            store: Some(store),
            tracker,
            version: 100,
            versions: HashMap::new(),
            nodes_watched: false,
            now: 0.0,
            dir,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// It is `at` now.
    pub(crate) fn at(&mut self, at: f64) -> &mut Self {
        assert!(at >= self.now, "time goes on");
        self.now = at;
        self
    }

    fn commit(&mut self) -> &mut Self {
        let mut changes = self.tracker.take(t(self.now));
        if !self.nodes_watched {
            let (start, now) = (Timestamp::MIN, t(self.now));
            changes.push(Change::Covered { source: "nodes", start, until: now, proven: now });
        }
        self.store.as_mut().unwrap().commit(&changes).unwrap();
        self
    }

    pub(crate) fn take(&mut self, delta: Delta<PodState>) -> &mut Self {
        self.tracker.pods(delta, t(self.now), self.store.as_ref().unwrap()).unwrap();
        self.commit()
    }

    pub(crate) fn next(&mut self, shown: &Shown) -> PodState {
        self.version += 1;
        self.versions.insert(shown.0.pod.uid.clone(), self.version);
        PodState { resource_version: self.version, ..shown.0.clone() }
    }

    /// The next frame of the watch, received now, live.
    pub(crate) fn applied(&mut self, shown: &Shown) -> &mut Self {
        let (object, received) = (self.next(shown), t(self.now));
        self.take(Delta::Applied { object, received, live: true })
    }

    /// The next frame of a watch that catches up.
    pub(crate) fn replayed(&mut self, shown: &Shown) -> &mut Self {
        let (object, received) = (self.next(shown), t(self.now));
        self.take(Delta::Applied { object, received, live: false })
    }

    pub(crate) fn deleted(&mut self, shown: &Shown) -> &mut Self {
        let (object, received) = (self.next(shown), t(self.now));
        self.take(Delta::Deleted { object, received, live: true })
    }

    /// The watch is complete until now.
    pub(crate) fn alive(&mut self) -> &mut Self {
        self.take(Delta::Alive { since: None, at: t(self.now) })
    }

    /// The watch has told all up to this version.
    pub(crate) fn bookmark(&mut self, version: u64) -> &mut Self {
        self.version = version;
        self.take(Delta::Bookmark { resource_version: version.to_string(), received: t(self.now) })
    }

    /// All that there is now, asked for 200 ms ago; nothing had been watched since `gap`.
    pub(crate) fn list(&mut self, gap: Option<f64>, shown: &[Shown]) -> &mut Self {
        let after_version = gap.map(|_| self.version.to_string());
        self.begin_list();
        for shown in shown {
            let state = self.next(shown);
            self.take(Delta::Listed(state));
        }
        self.end_list(gap, after_version)
    }

    pub(crate) fn begin_list(&mut self) -> &mut Self {
        self.take(Delta::ListStarted { sent: t(self.now - 0.2) })
    }

    pub(crate) fn end_list(&mut self, gap: Option<f64>, after_version: Option<String>) -> &mut Self {
        let (sent, received) = (t(self.now - 0.2), t(self.now));
        let reason = "history is gone".to_owned();
        let gap = gap.map(|from| Gap { source: "pods".into(), from: t(from), to: received, reason });
        let resource_version = self.version.to_string();
        self.take(Delta::Snapshot { resource_version, sent, received, gap, after_version })
    }

    /// The answer to a `GET` of the pod of this UID, sent 100 ms ago: `found` at this version. Whether to ask again.
    pub(crate) fn got(&mut self, uid: &str, found: Option<(&Shown, u64)>) -> bool {
        let found = found.map(|(shown, version)| PodState { resource_version: version, ..shown.0.clone() });
        self.answered(uid, found)
    }

    /// The same, with another pod of the name in its place.
    pub(crate) fn got_instead(&mut self, uid: &str, other: &Shown, version: u64) -> bool {
        self.answered(uid, Some(PodState { resource_version: version, ..other.0.clone() }))
    }

    fn answered(&mut self, uid: &str, found: Option<PodState>) -> bool {
        let row = self.store().pod_by_uid(uid).unwrap().unwrap();
        let got = Confirmation { sent: t(self.now - 0.1), received: t(self.now), found, rejected: Vec::new() };
        let again = self.tracker.confirmed(row.id, got, self.store.as_ref().unwrap()).unwrap();
        self.commit();
        again
    }

    /// A `GET` finds the pod at the version that the watch last gave.
    pub(crate) fn confirmed(&mut self, shown: &Shown) -> &mut Self {
        let uid = &shown.0.pod.uid;
        let version = self.versions[uid];
        assert!(!self.got(uid, Some((shown, version))), "it agrees with the watch");
        self
    }

    pub(crate) fn nodes(&mut self, delta: Delta<NodeState>) -> &mut Self {
        self.nodes_watched = true;
        self.tracker.nodes(delta, t(self.now));
        self.commit()
    }

    /// A frame of the nodes' watch: this node with these internal addresses.
    pub(crate) fn node(&mut self, name: &str, ips: &[&str]) -> &mut Self {
        let (object, received) = (self.node_state(name, ips), t(self.now));
        self.nodes(Delta::Applied { object, received, live: true })
    }

    pub(crate) fn node_state(&mut self, name: &str, ips: &[&str]) -> NodeState {
        self.version += 1;
        let addresses = ips.iter().map(|ip| ("InternalIP".to_owned(), (*ip).to_owned())).collect();
        let (uid, created) = (format!("uid-{name}"), Some(t(0.0)));
        NodeState { uid, name: name.into(), created, addresses, resource_version: self.version, ..NodeState::default() }
    }

    /// Killed and started again: what was not committed is lost.
    pub(crate) fn restart(&mut self) -> &mut Self {
        self.store = None;
        let store = Store::open(self.dir.path().join("ledger.db"), &Cluster::new("c"), ERROR).unwrap();
        self.tracker = Tracker::new(store.live().unwrap(), ERROR);
        self.store = Some(store);
        self
    }

    pub(crate) fn reply(&self, address: &str, at: f64) -> OwnerReply {
        let address = self::address(address);
        self.store().owner(&address.network, address.ip, t(at)).unwrap()
    }

    /// The answer in words: `certain a`, `ambiguous a b`, `nobody`, `unknown`, …, by UID.
    pub(crate) fn owner(&self, address: &str, at: f64) -> String {
        let answer = self.reply(address, at).answer;
        let mut words: Vec<&str> = answer.named().iter().map(|claim| &*claim.uid).collect();
        words.sort_unstable();
        words.insert(0, Answer::as_str(&answer));
        words.join(" ")
    }

    /// Checks answers about one address.
    pub(crate) fn says(&self, address: &str, cases: &[(f64, &str)]) -> &Self {
        let found: Vec<_> = cases.iter().map(|(at, _)| (*at, self.owner(address, *at))).collect();
        let wanted: Vec<_> = cases.iter().map(|(at, answer)| (*at, (*answer).to_owned())).collect();
        assert_eq!(found, wanted, "{address}");
        self
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let stored = self.store().observations(0, usize::MAX).unwrap();
        stored.iter().flat_map(|observation| observation.records(self.store().cluster())).collect()
    }

    /// The pod's events as recorded, in order.
    pub(crate) fn events(&self, uid: &str) -> Vec<PodEvent> {
        let of = |record| match record {
            Record::Pod(event) if event.pod.uid == uid => Some(*event),
            _ => None,
        };
        self.records().into_iter().filter_map(of).collect()
    }

    /// The same in words: `address-assigned 10.0.0.1`, `created`, …
    pub(crate) fn told(&self, uid: &str) -> Vec<String> {
        let told = |event: PodEvent| match event.address {
            Some(address) => format!("{} {}", event.event.as_str(), address.ip),
            None => event.event.as_str().to_owned(),
        };
        self.events(uid).into_iter().map(told).collect()
    }

    /// Claims of the pod in the ledger, oldest first.
    pub(crate) fn claims(&self, uid: &str) -> Vec<ClaimRow> {
        let row = self.store().pod_by_uid(uid).unwrap().unwrap();
        let mut claims = self.store().claims_of_pod(row.id).unwrap();
        claims.sort_by_key(|claim| claim.id);
        claims
    }

    pub(crate) fn claim(&self, uid: &str, address: &str) -> ClaimRow {
        let address = self::address(address);
        let found = self.claims(uid).into_iter().rfind(|c| c.network == address.network && c.ip == address.ip);
        found.unwrap()
    }

    pub(crate) fn gaps(&self) -> usize {
        self.records().iter().filter(|record| matches!(record, Record::Gap(_))).count()
    }

    /// What holds after every story.
    pub(crate) fn check(&self) {
        self.store().verify().unwrap();
        let mut seen = BTreeSet::new();
        for record in self.records() {
            assert!(seen.insert(record.id()), "twice: {record:?}");
        }
        let mut created = BTreeMap::<_, Vec<_>>::new();
        for record in self.records() {
            if let Record::Pod(event) = record {
                created.entry(event.pod.uid.clone()).or_default().push(event.event.as_str());
            }
        }
        for (uid, events) in created {
            let place = |kind| events.iter().position(|event| *event == kind);
            assert!(place("deleted").is_none() || place("created") < place("deleted"), "{uid}: {events:?}");
            assert!(place("deleted").is_none() || place("created").is_some(), "{uid}: {events:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// Checks that bounds are what they should be, to a hundredth of a second.
pub(crate) fn within(bounds: Bounds, earliest: RangeInclusive<f64>, latest: Option<RangeInclusive<f64>>) {
    let fits = |at: Timestamp, range: &RangeInclusive<f64>| (t(*range.start())..=t(*range.end())).contains(&at);
    assert!(fits(bounds.earliest, &earliest), "{bounds:?}: earliest not in {earliest:?}");
    match (bounds.latest, latest) {
        (None, None) => {}
        (Some(at), Some(range)) => assert!(fits(at, &range), "{bounds:?}: latest not in {range:?}"),
        (_, latest) => panic!("{bounds:?}: latest should be {latest:?}"),
    }
}
