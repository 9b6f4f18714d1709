//! How the tracker is told: late, in bursts, with gaps, with looks by `GET`, and killed now and then.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use podtrail_event::{Cluster, Gap, Timestamp};
use podtrail_ledger::Store;
use podtrail_track::Tracker;
use podtrail_watch::confirm::Confirmation;
use podtrail_watch::{Delta, NodeState, PodState};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use tempfile::TempDir;

use crate::history::{History, node_ips};

const ERROR: Duration = Duration::from_secs(1);
/// How late a frame may come and count as live. With the tracker's clock that must stay below what clocks may err.
const LIVE: Duration = Duration::from_millis(500);

pub(crate) struct Telling {
    pub(crate) seed: u64,
    pub(crate) history: History,
    pub(crate) store: Option<Store>,
    tracker: Tracker,
    /// By how much the tracker's clock is ahead of the cluster's, in ns.
    ahead: i64,
    /// Frames told, and of those the ones that are committed.
    told: usize,
    committed: usize,
    known: BTreeSet<i64>,
    again: Vec<i64>,
    /// Until it is listed, nothing is told.
    listed: bool,
    /// Nothing happens any more.
    over: bool,
    /// Pods whose removal no watch tells of, until a look heals that.
    pub(crate) lost: HashSet<String>,
    dir: TempDir,
}

impl Telling {
    pub(crate) fn new(seed: u64) -> Self {
        let mut history = History::new(seed);
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open(dir.path().join("ledger.db"), &Cluster::new(history.cluster.uid()), ERROR).unwrap();
        let tracker = Tracker::new(store.live().unwrap(), ERROR);
        let ahead = history.rng.random_range(-400_000_000..400_000_000);
        for _ in 0..history.rng.random_range(0..20) {
            history.happen(0);
            history.pass();
        }
        history.compact(0);
        let mut telling = Self {
            seed,
            history,
            store: Some(store),
            tracker,
            ahead,
            told: 0,
            committed: 0,
            known: BTreeSet::new(),
            again: Vec::new(),
            listed: false,
            over: false,
            lost: HashSet::new(),
            dir,
        };
        telling.list_nodes();
        telling.list();
        telling.commit();
        telling
    }

    /// Now, by the tracker's clock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.history.now().as_nanosecond() + self.ahead)
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn step(&mut self) {
        self.history.pass();
        match self.history.rng.random_range(0..100) {
            0..50 => self.history.happen(self.committed),
            50..70 => self.tell(usize::MAX),
            70..76 => {
                let some = self.history.rng.random_range(1..4);
                self.tell(some);
            }
            76..84 => self.look(),
            84..92 => self.commit(),
            92..95 => self.restart(),
            95..97 => {
                self.listed = false;
                self.list();
            }
            _ => self.alive(),
        }
        if self.history.rng.random_bool(0.5) {
            self.alive();
        }
    }

    /// Gives up to `most` frames.
    fn tell(&mut self, most: usize) {
        if !self.listed {
            return self.list();
        }
        let upto = self.history.made.len().min(self.told.saturating_add(most));
        while self.told < upto {
            let made = &self.history.made[self.told];
            self.told += 1;
            if made.dropped {
                self.lost.insert(made.state.pod.uid.clone());
                continue;
            }
            let (object, received) = (made.state.clone(), self.now());
            let recent = |at: Timestamp| self.history.now().saturating_duration_since(at) < LIVE;
            let live = recent(made.at) && self.history.made.get(self.told).is_none_or(|next| recent(next.at));
            let delta = match made.gone {
                true => Delta::Deleted { object, received, live },
                false => Delta::Applied { object, received, live },
            };
            self.take(delta);
        }
    }

    fn take(&mut self, delta: Delta<PodState>) {
        self.tracker.pods(delta, self.now(), self.store.as_ref().unwrap()).unwrap();
    }

    /// The watch says that it is complete, if it is but for the last moments.
    fn alive(&mut self) {
        let next = self.history.made.get(self.told);
        if self.listed && next.is_none_or(|made| self.history.now().saturating_duration_since(made.at) < LIVE) {
            let (at, resource_version) = (self.now(), self.history.cluster.version().to_string());
            match next.is_none() && self.history.rng.random_bool(0.3) {
                true => self.take(Delta::Bookmark { resource_version, received: at }),
                false => self.take(Delta::Alive { since: None, at }),
            }
            self.tracker.nodes(Delta::Alive { since: None, at }, at);
        }
    }

    fn list_nodes(&mut self) {
        let now = self.now();
        self.tracker.nodes(Delta::ListStarted { sent: now }, now);
        for (i, ip) in node_ips().into_iter().enumerate() {
            let (uid, name) = (format!("uid-n{i}"), format!("n{i}"));
            let addresses = vec![("InternalIP".to_owned(), ip.to_string())];
            let created = Some(Timestamp::from_second(1_759_999_000));
            let node = NodeState { uid, name, created, addresses, resource_version: 1, ..NodeState::default() };
            self.tracker.nodes(Delta::Listed(node), now);
        }
        let snapshot =
            Delta::Snapshot { resource_version: "1".into(), sent: now, received: now, gap: None, after_version: None };
        self.tracker.nodes(snapshot, now);
    }

    /// Lists all, while things go on happening. It may be killed before the end.
    fn list(&mut self) {
        let sent = self.now();
        self.busy();
        self.history.compact(self.committed);
        let (objects, upto) = (self.history.objects(), self.history.made.len());
        let resource_version = self.history.cluster.version().to_string();
        self.busy();
        let received = self.now();
        self.take(Delta::ListStarted { sent });
        for object in objects {
            self.busy();
            self.take(Delta::Listed(object));
            if self.history.rng.random_bool(0.02) {
                self.commit_changes();
                return self.start();
            }
        }
        let from = self.tracker.covered_until("pods");
        let reason = "history is gone".to_owned();
        let gap = from.map(|from| Gap { source: "pods".into(), from, to: received.max(from), reason });
        let after_version = gap.is_some().then(|| self.store().live().unwrap().checkpoints["pods"].clone());
        self.take(Delta::Snapshot { resource_version, sent, received, gap, after_version });
        self.listed = true;
        self.told = upto;
        self.lost.clear();
        self.commit();
    }

    fn busy(&mut self) {
        if !self.over && self.history.rng.random_bool(0.2) {
            self.history.pass();
            let committed = self.committed;
            self.history.happen(committed);
        }
    }

    /// Looks at a pod by itself.
    fn look(&mut self) {
        let known: Vec<i64> = self.known.iter().copied().collect();
        let asked = match self.again.pop() {
            Some(id) => Some(id),
            None => known.choose(&mut self.history.rng).copied(),
        };
        let Some(id) = asked else { return };
        let Some((_, name)) = self.tracker.target(id) else { return };
        let name = name.to_owned();
        let sent = self.now();
        self.busy();
        let found = self.history.objects().into_iter().find(|object| object.pod.name == name);
        if found.is_none() && self.history.forced_since(self.told, &name) {
            // Before the watch tells of it, nobody can know that it was forced.
            return;
        }
        self.busy();
        let got = Confirmation { sent, received: self.now(), found, rejected: Vec::new() };
        if self.tracker.confirmed(id, got, self.store.as_ref().unwrap()).unwrap() {
            self.again.push(id);
        }
    }

    fn commit_changes(&mut self) {
        let now = self.now();
        let changes = self.tracker.take(now);
        self.store.as_mut().unwrap().commit(&changes).unwrap();
        let (born, dead) = self.tracker.take_turnover();
        self.known.extend(born);
        self.known.retain(|id| !dead.contains(id));
    }

    pub(crate) fn commit(&mut self) {
        self.commit_changes();
        if self.listed {
            self.committed = self.told;
        }
        let store = self.store.as_ref().unwrap();
        let there = |uid: &String| store.pod_by_uid(uid).unwrap().is_some_and(|row| row.gone.is_none());
        self.lost.retain(there);
    }

    /// Killed, and started again.
    fn restart(&mut self) {
        if self.listed {
            self.start();
        }
    }

    fn start(&mut self) {
        self.store = None;
        let cluster = Cluster::new(self.history.cluster.uid());
        let store = Store::open(self.dir.path().join("ledger.db"), &cluster, ERROR).unwrap();
        let live = store.live().unwrap();
        let version = live.checkpoints.get("pods").and_then(|version| version.parse::<u64>().ok());
        self.tracker = Tracker::new(live, ERROR);
        self.store = Some(store);
        self.known.clear();
        self.again.clear();
        self.known.extend(self.tracker.take_turnover().0);
        if self.listed {
            let version = version.unwrap();
            self.told = self.history.made.partition_point(|made| made.state.resource_version <= version);
        }
    }

    /// All is told, and all that was lost is healed.
    pub(crate) fn finish(&mut self) {
        self.over = true;
        self.tell(usize::MAX);
        for _ in 0..20 {
            for id in self.known.clone() {
                self.again.push(id);
                self.look();
                self.history.clock.advance(Duration::from_millis(10));
            }
            self.tell(usize::MAX);
            self.alive();
            self.commit();
            if self.lost.is_empty() && self.again.is_empty() {
                break;
            }
        }
        self.history.clock.advance(Duration::from_secs(5));
        self.tell(usize::MAX);
        self.alive();
        self.commit();
        let seed = self.seed;
        assert!(self.lost.is_empty(), "seed {seed}: {:?} should have been healed", self.lost);
        // One that never showed an address is not in the store.
        let stored = |id: &i64| self.store().pod(*id).unwrap().map(|row| row.pod.uid);
        let known: BTreeSet<_> = self.known.iter().filter_map(stored).collect();
        let shown = |object: &PodState| {
            !object.addresses.is_empty() || self.store().pod_by_uid(&object.pod.uid).unwrap().is_some()
        };
        let there: BTreeSet<_> = self.history.objects().into_iter().filter(shown).map(|o| o.pod.uid).collect();
        assert_eq!(known, there, "seed {seed}: what is known and what is there");
        self.store().verify().unwrap();
        let mut ids = HashSet::new();
        for observation in self.store().observations(0, usize::MAX).unwrap() {
            for record in observation.records(self.store().cluster()) {
                assert!(ids.insert(record.id()), "seed {seed}: twice: {record:?}");
            }
        }
    }
}
