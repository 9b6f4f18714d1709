use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use podtrail_event::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind};
use crate::pod::{Outcome, Pod, PodSpec};

/// How a [`Churn`] behaves. Shares are probabilities, from 0 to 1; an empty range stands for its start.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "built literally, with ..ChurnConfig::default()")]
pub struct ChurnConfig {
    /// How many nodes, `node-0` and on, are made.
    pub nodes: u16,
    /// The namespaces of the pods; made if they do not exist.
    pub namespaces: Vec<String>,
    /// How many dual-stack addresses are handed out, the longest free first. Without a free one no pod is born.
    pub addresses: u16,
    /// How many pods are born in a second, on average.
    pub births_per_second: f64,
    /// How long a pod is pending.
    pub pending: Range<Duration>,
    /// How long it runs.
    pub lifetime: Range<Duration>,
    /// How long it is terminating.
    pub terminating: Range<Duration>,
    /// How long a finished pod stays visible. Its addresses are free from its finish on.
    pub finished: Range<Duration>,
    /// The share of pods that finish by themselves.
    pub finishing_share: f64,
    /// The share of deletions that are forced: the object goes at once, its addresses are free only after what `terminating` says.
    pub forced_share: f64,
    /// The share of pods with one of a few names that come again and again, as in a StatefulSet.
    pub stateful_share: f64,
    /// The share of pods that use their node's network.
    pub host_network_share: f64,
}

impl Default for ChurnConfig {
    fn default() -> Self {
        let seconds = |from: f64, to: f64| Duration::from_secs_f64(from)..Duration::from_secs_f64(to);
        Self {
            nodes: 2,
            namespaces: vec!["team-a".to_owned(), "team-b".to_owned()],
            addresses: 24,
            births_per_second: 2.0,
            pending: seconds(0.05, 0.4),
            lifetime: seconds(9.0, 16.0),
            terminating: seconds(0.3, 2.0),
            finished: seconds(3.0, 12.0),
            finishing_share: 0.25,
            forced_share: 0.0,
            stateful_share: 0.3,
            host_network_share: 0.0,
        }
    }
}

/// Pods that come, run, perhaps finish, and go, over few addresses.
///
/// What happens follows from the seed and the configuration alone, however often and late it is stepped; when it happens to the cluster
/// is when [`step`](Self::step) is called.
#[derive(Debug)]
pub struct Churn {
    rng: StdRng,
    config: ChurnConfig,
    /// What is to happen, by time and order of planning.
    due: BTreeMap<(Timestamp, u64), Due>,
    planned: u64,
    next_birth: Option<Timestamp>,
    free: VecDeque<[IpAddr; 2]>,
    /// Namespaces and names in use.
    names: HashSet<(usize, String)>,
    born: u64,
}

#[derive(Debug)]
enum Due {
    Run(Subject),
    Finish(Subject),
    Terminate(Subject),
    Force(Subject),
    Remove(Subject),
    /// The sandbox of a pod deleted by force goes.
    Release(Subject),
}

#[derive(Debug)]
struct Subject {
    pod: Pod,
    name: (usize, String),
    node: u16,
    /// The addresses that it took, unless it uses its node's or has given them back.
    ips: Option<[IpAddr; 2]>,
}

impl Churn {
    /// A churn in which nothing has happened.
    pub fn new(seed: u64, config: ChurnConfig) -> Self {
        let free = (0..config.addresses).map(|i| addresses([10, 244], 0x0244, i)).collect();
        Self {
            rng: StdRng::seed_from_u64(seed),
            config,
            due: BTreeMap::new(),
            planned: 0,
            next_birth: None,
            free,
            names: HashSet::new(),
            born: 0,
        }
    }

    /// Makes happen what is due at `now`, in order; returns how many changes that were. The first step makes nodes and namespaces.
    ///
    /// # Errors
    /// If the cluster refuses a change, because something else changed the same pods.
    pub fn step(&mut self, cluster: &Cluster, now: Timestamp) -> Result<usize, Error> {
        let mut changes = 0;
        let mut birth = match self.next_birth {
            Some(birth) => birth,
            None => {
                changes += self.settle(cluster)?;
                self.plan_birth(now)
            }
        };
        loop {
            let due = self.due.first_key_value().map(|(&(at, _), _)| at).filter(|at| *at <= now);
            if birth <= now && due.is_none_or(|at| birth <= at) {
                let at = birth;
                birth = self.plan_birth(at);
                changes += self.birth(cluster, at)?;
            } else if due.is_some() {
                changes += self.first(cluster)?;
            } else {
                return Ok(changes);
            }
        }
    }

    /// Ends every pod, each in its own way, at once; returns how many changes that were. No pod is born.
    ///
    /// # Errors
    /// If the cluster refuses a change, because something else changed the same pods.
    pub fn drain(&mut self, cluster: &Cluster) -> Result<usize, Error> {
        let mut changes = 0;
        while !self.due.is_empty() {
            changes += self.first(cluster)?;
        }
        Ok(changes)
    }

    /// How many of its pods are alive.
    pub fn alive(&self) -> usize {
        self.names.len()
    }

    fn settle(&self, cluster: &Cluster) -> Result<usize, Error> {
        let mut changes = 0;
        for i in 0..self.config.nodes {
            let [v4, v6] = node_addresses(i).map(|ip| ip.to_string());
            let name = node_name(i);
            let addresses = [("Hostname", name.as_str()), ("InternalIP", v4.as_str()), ("InternalIP", v6.as_str())];
            changes += unless_there(cluster.add_node(&name, &addresses))?;
        }
        for namespace in &self.config.namespaces {
            changes += unless_there(cluster.add_namespace(namespace))?;
        }
        Ok(changes)
    }

    /// Plans the birth after `at` and returns when it is: births are independent of each other.
    fn plan_birth(&mut self, at: Timestamp) -> Timestamp {
        let uniform: f64 = self.rng.random_range(f64::EPSILON..1.0);
        let wait = Duration::try_from_secs_f64(-uniform.ln() / self.config.births_per_second);
        // No rate, no birth; and a nanosecond keeps time moving.
        let birth = at.saturating_add(wait.unwrap_or(Duration::MAX).max(Duration::from_nanos(1)));
        self.next_birth = Some(birth);
        birth
    }

    fn birth(&mut self, cluster: &Cluster, at: Timestamp) -> Result<usize, Error> {
        if self.config.nodes == 0 || self.config.namespaces.is_empty() {
            return Ok(0);
        }
        let namespace = self.rng.random_range(0..self.config.namespaces.len());
        let node = self.rng.random_range(0..self.config.nodes);
        let host_network = self.chance(self.config.host_network_share);
        let stateful = self.chance(self.config.stateful_share);
        let (set, kind, name) = if stateful {
            ("db", "StatefulSet", format!("db-{}", self.rng.random_range(0..4)))
        } else {
            ("web", "ReplicaSet", format!("web-{}", self.born))
        };
        let key = (namespace, name);
        if self.names.contains(&key) {
            return Ok(0);
        }
        let ips = if host_network { None } else { self.free.pop_front() };
        if ips.is_none() && !host_network {
            return Ok(0);
        }
        let mut spec = PodSpec::new(&self.config.namespaces[namespace], &key.1, &node_name(node))
            .label("app", set)
            .owner(kind, set)
            .service_account(set)
            .grace(Duration::from_secs(2));
        if host_network {
            spec = spec.host_network();
        }
        let pod = cluster.create(spec)?;
        self.born += 1;
        self.names.insert(key.clone());
        let pending = self.within(self.config.pending.clone());
        self.plan(at.saturating_add(pending), Due::Run(Subject { pod, name: key, node, ips }));
        Ok(1)
    }

    /// Makes the first thing that is planned happen.
    fn first(&mut self, cluster: &Cluster) -> Result<usize, Error> {
        let Some(((at, _), due)) = self.due.pop_first() else { return Ok(0) };
        match due {
            Due::Run(subject) => {
                cluster.run(&subject.pod, &subject.ips.unwrap_or_else(|| node_addresses(subject.node)))?;
                let ends = at.saturating_add(self.within(self.config.lifetime.clone()));
                let end = if self.chance(self.config.finishing_share) {
                    Due::Finish(subject)
                } else if self.chance(self.config.forced_share) {
                    Due::Force(subject)
                } else {
                    Due::Terminate(subject)
                };
                self.plan(ends, end);
            }
            Due::Finish(mut subject) => {
                let outcome = if self.chance(0.5) { Outcome::Succeeded } else { Outcome::Failed };
                cluster.finish(&subject.pod, outcome)?;
                self.free.extend(subject.ips.take());
                let shown = self.within(self.config.finished.clone());
                self.plan(at.saturating_add(shown), Due::Remove(subject));
            }
            Due::Terminate(subject) => {
                cluster.terminate(&subject.pod, Duration::from_secs(2))?;
                let lasts = self.within(self.config.terminating.clone());
                self.plan(at.saturating_add(lasts), Due::Remove(subject));
            }
            Due::Force(subject) => {
                cluster.force_delete(&subject.pod)?;
                self.names.remove(&subject.name);
                let lingers = self.within(self.config.terminating.clone());
                self.plan(at.saturating_add(lingers), Due::Release(subject));
            }
            Due::Remove(subject) => {
                cluster.remove(&subject.pod)?;
                self.names.remove(&subject.name);
                self.free.extend(subject.ips);
            }
            Due::Release(subject) => {
                cluster.release(&subject.pod)?;
                self.free.extend(subject.ips);
                return Ok(0);
            }
        }
        Ok(1)
    }

    fn plan(&mut self, at: Timestamp, due: Due) {
        self.planned += 1;
        self.due.insert((at, self.planned), due);
    }

    fn within(&mut self, range: Range<Duration>) -> Duration {
        if range.is_empty() { range.start } else { self.rng.random_range(range) }
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share.clamp(0.0, 1.0))
    }
}

/// One change, or none if what was to be added exists.
fn unless_there(added: Result<(), Error>) -> Result<usize, Error> {
    match added {
        Ok(()) => Ok(1),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(0),
        Err(e) => Err(e),
    }
}

fn node_name(i: u16) -> String {
    format!("node-{i}")
}

fn node_addresses(i: u16) -> [IpAddr; 2] {
    addresses([198, 18], 0x0018, i)
}

/// Address number `i` of a /16 and of fd00:`v6`::/64.
fn addresses([a, b]: [u8; 2], v6: u16, i: u16) -> [IpAddr; 2] {
    let number = i.saturating_add(10);
    let [c, d] = number.to_be_bytes();
    [Ipv4Addr::new(a, b, c, d).into(), Ipv6Addr::new(0xfd00, v6, 0, 0, 0, 0, 0, number).into()]
}
