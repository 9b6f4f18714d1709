//! A simulated cluster that is served, and a tracker that comes and goes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use podtrail_event::{Record, Subject, Timestamp};
use podtrail_ledger::{Answer, Store};
use podtrail_sim::{Cluster, DEFAULT_NETWORK, Pod, PodSpec, serve};
use podtrail_track::{Config, Metrics, Tracking};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    server: JoinHandle<()>,
    ledger: PathBuf,
    dir: TempDir,
}

/// A tracker that runs.
pub(crate) struct Session {
    pub(crate) tracking: Tracking,
    committing: thread::JoinHandle<()>,
    watching: JoinHandle<()>,
    registry: Registry,
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// An impatient configuration that confirms nothing unless told to.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.confirm_every = Duration::from_secs(3600);
    config.watch.backoff_min = Duration::from_millis(10);
    config.watch.backoff_max = Duration::from_millis(100);
    config.watch.quiet = Duration::from_millis(100);
    config.watch.heartbeat = Duration::from_millis(50);
    config
}

impl World {
    pub(crate) async fn new(config: podtrail_sim::Config) -> Self {
        let cluster = Cluster::new(config);
        cluster.add_node("node-1", &[("Hostname", "node-1"), ("InternalIP", "198.18.0.11")]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve(cluster.clone(), listener, std::future::pending());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { cluster, server, ledger: dir.path().join("ledger.db"), dir }
    }

    /// Starts a tracker on the ledger.
    pub(crate) async fn start(&self, config: Config) -> Session {
        self.start_named(config, "test").await
    }

    /// The same, with a name for the cluster.
    pub(crate) async fn start_named(&self, config: Config, name: &str) -> Session {
        let client = podtrail_watch::client(Some(&self.dir.path().join("kubeconfig")), None).await.unwrap();
        let cluster = podtrail_event::Cluster::new(self.cluster.uid()).named(Some(name.to_owned()));
        let store = Store::open(&self.ledger, &cluster, Duration::from_secs(1)).unwrap();
        let mut registry = Registry::default();
        let mut tracking = Tracking::new(store, config, Metrics::new(&mut registry)).unwrap();
        let committer = tracking.committer().unwrap();
        let committing = thread::spawn(move || committer.run(|| ()).unwrap());
        let watching = tokio::spawn(tracking.watch(client, std::future::pending()));
        Session { tracking, committing, watching, registry }
    }

    /// Reads the ledger beside the tracker.
    pub(crate) fn store(&self) -> Store {
        Store::open_read_only(&self.ledger).unwrap()
    }

    /// A pod that runs with this address.
    pub(crate) fn run(&self, name: &str, ip: [u8; 4]) -> Pod {
        let pod = self.cluster.create(PodSpec::new("default", name, "node-1").label("app", name)).unwrap();
        self.cluster.run(&pod, &[ip.into()]).unwrap();
        pod
    }

    pub(crate) fn delete(&self, pod: &Pod) {
        self.cluster.terminate(pod, Duration::from_secs(1)).unwrap();
        self.cluster.remove(pod).unwrap();
    }

    /// Pods that come, change and go: about 20 frames; two of four stay.
    pub(crate) fn stir(&self, round: u8) {
        for n in 0..4 {
            let pod = self.run(&format!("stir-{round}-{n}"), [10, 244, round, n + 1]);
            self.cluster.relabel(&pod, &[("round", "x")]).unwrap();
            if n % 2 == 0 {
                self.delete(&pod);
            }
        }
    }

    /// Who holds what now: UIDs and addresses.
    fn truth(&self) -> BTreeSet<(String, IpAddr)> {
        let holds = self.cluster.truth().into_iter().filter(|hold| hold.to.is_none());
        holds.map(|hold| (hold.uid.to_string(), hold.ip)).collect()
    }

    /// The same as the ledger has it.
    fn held(&self) -> BTreeSet<(String, IpAddr)> {
        if !self.ledger.exists() {
            return BTreeSet::new();
        }
        let live = self.store().live().unwrap();
        let open = live.claims.iter().filter(|c| c.subject == Subject::Pod && c.interval.end_latest.is_none());
        let of = |claim: &podtrail_ledger::ClaimRow| {
            let pod = live.pods.iter().find(|row| row.id == claim.holder)?;
            Some((pod.pod.uid.clone(), claim.ip))
        };
        open.filter_map(of).collect()
    }

    /// Waits until the ledger has what is so now; there must be no finished pods.
    pub(crate) async fn settle(&self, what: &str) {
        let started = Instant::now();
        loop {
            let (truth, held) = (self.truth(), self.held());
            if truth == held {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: {truth:?} hold, the ledger has {held:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all that happened before `at` is known to be known.
    pub(crate) async fn covered(&self, at: Timestamp) {
        let started = Instant::now();
        while self.store().coverage().unwrap().check(at).is_err() {
            assert!(started.elapsed() < PATIENCE, "{at} is not covered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let store = self.store();
        let observations = store.observations(0, usize::MAX).unwrap();
        observations.iter().flat_map(|observation| observation.records(store.cluster())).collect()
    }

    /// How many gaps of this source are recorded.
    pub(crate) fn gaps(&self, source: &str) -> usize {
        let of = |record: &&Record| matches!(record, Record::Gap(event) if event.gap.source == source);
        self.records().iter().filter(of).count()
    }

    /// Whether the answer fits the truth; if not, both.
    pub(crate) fn judge(&self, store: &Store, ip: IpAddr, at: Timestamp) -> Result<(), String> {
        let reply = store.owner(DEFAULT_NETWORK, ip, at).unwrap();
        let truth = self.cluster.owner_at(DEFAULT_NETWORK, ip, at);
        let owner = truth.first().map(|hold| &*hold.uid);
        let names = |uid| reply.answer.named().iter().any(|claim| claim.uid == uid);
        let right = match &reply.answer {
            Answer::Certain(claim) | Answer::Presumed(claim) => owner == Some(&*claim.uid),
            Answer::Ambiguous(_) => owner.is_none_or(names),
            Answer::Nobody => owner.is_none(),
            Answer::Unknown(..) => true,
        };
        if right { Ok(()) } else { Err(format!("{ip} at {at}: {reply:#?}, truth {truth:#?}")) }
    }

    /// How often all pods were listed: by pages, or by a watch from nowhere.
    pub(crate) fn lists(&self) -> u64 {
        let requests = self.cluster.requests();
        requests.list + requests.watched_from.iter().filter(|from| **from == 0).count() as u64
    }

    /// What holds at the end of every test.
    pub(crate) fn finish(self) {
        self.server.abort();
        assert_eq!(self.cluster.requests().write, 0, "nothing is written to the API");
        self.store().verify().unwrap();
        let mut ids = BTreeSet::new();
        for record in self.records() {
            assert!(ids.insert(record.id()), "twice: {record:?}");
        }
    }
}

impl Session {
    /// Ends it; what it has seen is committed.
    pub(crate) async fn stop(self) {
        self.tracking.stop().await;
        self.watching.await.unwrap();
        tokio::task::spawn_blocking(move || self.committing.join().unwrap()).await.unwrap();
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}
