use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::Client;
use podtrail_event::{Gap, Timestamp};
use podtrail_sim::{Cluster, Pod, PodSpec, serve};
use podtrail_watch::{Checkpoint, Config, Delta, PodState, Rejected};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster that is served, and a client for it.
pub(crate) struct Sim {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Sim {
    pub(crate) async fn new(config: podtrail_sim::Config) -> Self {
        let cluster = Cluster::new(config);
        cluster.add_node("node-1", &[("Hostname", "node-1"), ("InternalIP", "198.18.0.11")]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_server(&cluster, listener);
        Self { cluster, client: client(address), address, server }
    }

    pub(crate) async fn default() -> Self {
        Self::new(podtrail_sim::Config::default()).await
    }

    /// A pod that runs with this address.
    pub(crate) fn start(&self, name: &str, last: u8) -> Pod {
        let pod = self.cluster.create(PodSpec::new("default", name, "node-1").label("app", name)).unwrap();
        self.cluster.run(&pod, &[IpAddr::from([10, 244, 0, last])]).unwrap();
        pod
    }

    /// Pods that come, change and go: about 20 frames.
    pub(crate) fn stir(&self, round: u8) {
        for n in 0..4 {
            let pod = self.start(&format!("stir-{round}-{n}"), 40 * round + n + 1);
            self.cluster.relabel(&pod, &[("round", "x")]).unwrap();
            if n % 2 == 0 {
                self.cluster.terminate(&pod, Duration::from_secs(1)).unwrap();
                self.cluster.remove(&pod).unwrap();
            }
        }
    }

    /// The server goes away; a new one on the same port may be started.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        assert!((&mut self.server).await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.server = spawn_server(&self.cluster, listener);
    }

    /// What the API shows now, read by kube's own types.
    pub(crate) async fn shown(&self) -> BTreeSet<String> {
        let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::all(client(self.address));
        let list = pods.list(&kube::api::ListParams::default()).await.unwrap();
        let line = |pod: k8s_openapi::api::core::v1::Pod| {
            let (m, status) = (pod.metadata, pod.status.unwrap());
            let ips: Vec<_> = status.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect();
            format!("{} {} {:?} {}", m.uid.unwrap(), m.resource_version.unwrap(), ips, status.phase.unwrap())
        };
        list.items.into_iter().map(line).collect()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn spawn_server(cluster: &Cluster, listener: TcpListener) -> JoinHandle<()> {
    let serving = serve(cluster.clone(), listener, std::future::pending());
    tokio::spawn(async move { serving.await.unwrap() })
}

pub(crate) fn client(address: SocketAddr) -> Client {
    let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A configuration for tests: the same, but impatient.
pub(crate) fn config(streaming_lists: bool) -> Config {
    let mut config = Config::default();
    config.streaming_lists = streaming_lists;
    config.backoff_min = Duration::from_millis(10);
    config.backoff_max = Duration::from_millis(100);
    config.quiet = Duration::from_millis(100);
    config.heartbeat = Duration::from_millis(50);
    config
}

/// A consumer of a stream: what it knows, and what it was told besides.
pub(crate) struct Seen {
    stream: Pin<Box<dyn Stream<Item = Delta<PodState>> + Send>>,
    pods: BTreeMap<String, PodState>,
    listing: BTreeSet<String>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) gaps: Vec<(Gap, Option<String>)>,
    pub(crate) snapshots: usize,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) disconnected: Vec<(String, Duration)>,
    pub(crate) duplicates: usize,
    pub(crate) alive: usize,
    pub(crate) live: BTreeSet<String>,
}

impl Seen {
    pub(crate) fn new(client: Client, config: Config, resume_from: Option<Checkpoint>) -> Self {
        Self {
            stream: Box::pin(podtrail_watch::pods(client, config, resume_from)),
            pods: BTreeMap::new(),
            listing: BTreeSet::new(),
            checkpoint: None,
            gaps: Vec::new(),
            snapshots: 0,
            rejected: Vec::new(),
            disconnected: Vec::new(),
            duplicates: 0,
            alive: 0,
            live: BTreeSet::new(),
        }
    }

    /// One that knows what `other` knew and goes on from its checkpoint, as after a restart.
    pub(crate) fn resume(client: Client, config: Config, other: Self) -> Self {
        let checkpoint = other.checkpoint.clone();
        Self { pods: other.pods, checkpoint: checkpoint.clone(), ..Self::new(client, config, checkpoint) }
    }

    fn take(&mut self, delta: Delta<PodState>) {
        let version = |state: &PodState| state.resource_version.to_string();
        match delta {
            Delta::ListStarted { .. } => self.listing.clear(),
            Delta::Listed(pod) => {
                self.listing.insert(pod.pod.uid.clone());
                self.pods.insert(pod.pod.uid.clone(), pod);
            }
            Delta::Snapshot { resource_version, sent, gap, after_version, .. } => {
                self.pods.retain(|uid, _| self.listing.contains(uid));
                self.snapshots += 1;
                self.gaps.extend(gap.map(|gap| (gap, after_version)));
                self.reached(resource_version, Some(sent));
            }
            Delta::Applied { object, received, live } => {
                self.reached(version(&object), live.then_some(received));
                if live {
                    self.live.insert(object.pod.name.clone());
                }
                self.pods.insert(object.pod.uid.clone(), object);
            }
            Delta::Deleted { object, received, live } => {
                self.reached(version(&object), live.then_some(received));
                self.listing.remove(&object.pod.uid);
                self.pods.remove(&object.pod.uid);
            }
            Delta::Duplicate { .. } => self.duplicates += 1,
            Delta::Bookmark { resource_version, received } => self.reached(resource_version, Some(received)),
            Delta::Alive { at, .. } => {
                self.alive += 1;
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.covered_until = at;
                }
            }
            Delta::Rejected(rejected) => self.rejected.push(rejected),
            Delta::Disconnected { reason, retry_in, .. } => self.disconnected.push((reason, retry_in)),
            _ => {}
        }
    }

    fn reached(&mut self, resource_version: String, covered: Option<Timestamp>) {
        let before = self.checkpoint.as_ref().map(|checkpoint| checkpoint.covered_until);
        let covered_until = covered.or(before).expect("a snapshot comes before changes");
        self.checkpoint = Some(Checkpoint { resource_version, covered_until });
    }

    /// Reads on until this holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match tokio::time::timeout(left, self.stream.next()).await {
                Ok(Some(delta)) => self.take(delta),
                Ok(None) => panic!("the stream ended before {what}"),
                Err(_) => panic!("{what} did not come; gaps {:?}, disconnected {:?}", self.gaps, self.disconnected),
            }
        }
    }

    /// Reads on until it knows of all that the API shows and is caught up.
    pub(crate) async fn catch_up(&mut self, sim: &Sim) {
        self.reach(sim.shown().await).await;
    }

    /// Reads on until it knows exactly this and is caught up.
    pub(crate) async fn reach(&mut self, shown: BTreeSet<String>) {
        self.until("the state of the API", |seen| seen.known() == shown).await;
        let alive = self.alive;
        self.until("silence", |seen| seen.alive > alive).await;
        assert_eq!(self.known(), shown);
    }

    pub(crate) fn known(&self) -> BTreeSet<String> {
        let line = |pod: &PodState| {
            let ips: Vec<_> = pod.addresses.iter().map(|a| a.ip.to_string()).collect();
            format!("{} {} {ips:?} {:?}", pod.pod.uid, pod.resource_version, pod.phase)
        };
        self.pods.values().map(line).collect()
    }
}
