//! What happens in the simulated cluster: pods that come and go by themselves, and a cast with parts to play.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::Context as _;
use podtrail_event::Timestamp;
use podtrail_sim::{Churn, ChurnConfig, Cluster, Config, Fault, Outcome, Pod, PodSpec};

/// A pod of the cast.
struct Role {
    namespace: &'static str,
    name: &'static str,
    /// What controls it, by kind and name.
    owner: (&'static str, &'static str),
    node: u16,
    /// Number of the address that it gets; `None`: it uses its node's.
    address: Option<u8>,
}

const fn role(
    namespace: &'static str,
    name: &'static str,
    owner: (&'static str, &'static str),
    node: u16,
    address: u8,
) -> Role {
    Role { namespace, name, owner, node, address: Some(address) }
}

/// Runs through everything.
pub(super) const STEADY: usize = 0;
/// Uses its node's network.
pub(super) const PROXY: usize = 1;
/// Finishes, and its object stays.
pub(super) const FINISHED: usize = 2;
/// Gets the address of the one that finished.
pub(super) const AFTER_FINISHED: usize = 3;
/// Is replaced by a pod of the same name.
pub(super) const REPLACED: usize = 4;
/// That pod, on another address.
pub(super) const REPLACEMENT: usize = 5;
/// Is gone without a word from the watch.
pub(super) const DROPPED: usize = 6;
/// Is deleted by force, and runs on for a while.
pub(super) const FORCED: usize = 7;
/// Goes while nobody watches.
const LEAVING: usize = 8;
/// Comes and goes while nobody watches, on the same address.
pub(super) const UNSEEN: usize = 9;
/// Get the addresses of those that are gone.
const SUCCESSORS: [usize; 2] = [10, 11];

const CAST: [Role; 12] = [
    role("shop", "payments-0", ("StatefulSet", "payments"), 0, 1),
    Role { namespace: "kube-system", name: "proxy-0", owner: ("DaemonSet", "proxy"), node: 0, address: None },
    role("batch", "report-1", ("Job", "report-1"), 0, 2),
    role("batch", "report-2", ("Job", "report-2"), 1, 2),
    role("shop", "catalog-0", ("StatefulSet", "catalog"), 0, 3),
    role("shop", "catalog-0", ("StatefulSet", "catalog"), 1, 4),
    role("shop", "cache-0", ("StatefulSet", "cache"), 1, 5),
    role("shop", "stuck-0", ("ReplicaSet", "stuck"), 1, 6),
    role("shop", "leaving-0", ("ReplicaSet", "leaving"), 0, 7),
    role("shop", "unseen-0", ("ReplicaSet", "unseen"), 1, 7),
    role("shop", "basket-0", ("ReplicaSet", "basket"), 0, 3),
    role("shop", "fresh-0", ("ReplicaSet", "fresh"), 0, 6),
];

/// Something that happens to the cast or to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Run(usize),
    Finish(usize),
    Terminate(usize),
    Remove(usize),
    /// It is removed, and no watch is told.
    Drop(usize),
    Force(usize),
    Release(usize),
    /// The API server is gone.
    Cut,
    /// The API server is back, and knows nothing of what happened before.
    Restore,
}

/// When, as a share of the whole, what happens.
const SCENES: [(f64, Act); 26] = [
    (0.00, Act::Run(STEADY)),
    (0.00, Act::Run(PROXY)),
    (0.02, Act::Run(FINISHED)),
    (0.03, Act::Run(REPLACED)),
    (0.04, Act::Run(DROPPED)),
    (0.05, Act::Run(FORCED)),
    (0.06, Act::Run(LEAVING)),
    (0.14, Act::Finish(FINISHED)),
    (0.16, Act::Force(FORCED)),
    (0.17, Act::Terminate(REPLACED)),
    (0.20, Act::Remove(REPLACED)),
    (0.21, Act::Run(REPLACEMENT)),
    (0.24, Act::Run(AFTER_FINISHED)),
    (0.28, Act::Cut),
    (0.30, Act::Remove(LEAVING)),
    (0.32, Act::Run(UNSEEN)),
    (0.36, Act::Remove(UNSEEN)),
    (0.40, Act::Restore),
    (0.45, Act::Drop(DROPPED)),
    (0.50, Act::Run(SUCCESSORS[0])),
    (0.55, Act::Release(FORCED)),
    (0.60, Act::Run(SUCCESSORS[1])),
    (0.62, Act::Remove(FINISHED)),
    (0.75, Act::Terminate(AFTER_FINISHED)),
    (0.80, Act::Remove(AFTER_FINISHED)),
    (1.00, Act::Terminate(REPLACEMENT)),
];

/// A cluster in which it all happens.
pub(super) struct Story {
    pub(super) cluster: Cluster,
    churn: Churn,
    length: Duration,
    began: Timestamp,
    next: usize,
    pods: HashMap<usize, Pod>,
    /// When each act was over.
    done: HashMap<Act, Timestamp>,
}

impl Story {
    /// A cluster of two nodes, in which `step` makes things happen.
    pub(super) fn new(seed: u64, length: Duration) -> anyhow::Result<Self> {
        let cluster = Cluster::new(Config { bookmark_every: Duration::from_millis(250), ..Config::default() });
        for namespace in ["shop", "batch"] {
            cluster.add_namespace(namespace)?;
        }
        // A life is short enough that addresses are used again and again, long enough to be seen whole.
        let share = |of: f64, at_most: f64| Duration::from_secs_f64((length.as_secs_f64() * of).min(at_most));
        let lifetime = share(0.15, 4.0)..share(0.3, 8.0);
        let births_per_second = 6.0 / (lifetime.start + lifetime.end).div_f64(2.0).as_secs_f64();
        let config = ChurnConfig {
            addresses: 8,
            births_per_second,
            pending: share(0.005, 0.1)..share(0.02, 0.4),
            lifetime,
            terminating: share(0.02, 0.3)..share(0.08, 1.5),
            finished: share(0.1, 2.0)..share(0.25, 5.0),
            finishing_share: 0.25,
            host_network_share: 0.04,
            ..ChurnConfig::default()
        };
        let mut churn = Churn::new(seed, config);
        churn.step(&cluster, cluster.now())?;
        let began = cluster.now();
        Ok(Self { cluster, churn, length, began, next: 0, pods: HashMap::new(), done: HashMap::new() })
    }

    /// When it began; the nodes were there before.
    pub(super) const fn began(&self) -> Timestamp {
        self.began
    }

    /// When the last act was over.
    pub(super) fn ended(&self) -> Timestamp {
        self.done.values().copied().max().unwrap_or(self.began)
    }

    /// Starts the time of the story.
    pub(super) fn begin(&mut self) {
        self.began = self.cluster.now();
    }

    /// Makes happen what is due. Returns what of the cast's acts it was; nothing when the story is over.
    pub(super) fn step(&mut self) -> anyhow::Result<Option<Vec<Act>>> {
        let now = self.cluster.now();
        let told = now.saturating_duration_since(self.began).div_duration_f64(self.length);
        if self.next == SCENES.len() {
            return Ok(None);
        }
        self.churn.step(&self.cluster, now)?;
        let mut acts = Vec::new();
        while let Some((_, act)) = SCENES.get(self.next).filter(|(share, _)| *share <= told) {
            self.perform(*act).with_context(|| format!("cannot perform {act:?}"))?;
            self.done.insert(*act, self.cluster.now());
            acts.push(*act);
            self.next += 1;
        }
        Ok(Some(acts))
    }

    fn perform(&mut self, act: Act) -> anyhow::Result<()> {
        let cluster = &self.cluster;
        match act {
            Act::Run(who) => {
                let Role { namespace, name, owner: (kind, owner), node, address } = &CAST[who];
                let spec = PodSpec::new(namespace, name, &format!("node-{node}")).owner(kind, owner);
                let (spec, ips) = match address {
                    Some(number) => (spec, addresses(*number)),
                    None => (spec.host_network(), node_addresses(*node)),
                };
                let pod = cluster.create(spec)?;
                cluster.run(&pod, &ips)?;
                self.pods.insert(who, pod);
            }
            Act::Finish(who) => cluster.finish(self.pod(who)?, Outcome::Succeeded)?,
            Act::Terminate(who) => cluster.terminate(self.pod(who)?, Duration::from_secs(1))?,
            Act::Remove(who) => cluster.remove(self.pod(who)?)?,
            Act::Drop(who) => {
                // The next removal is this one: nothing else happens in between.
                cluster.inject(Fault::DropDeleted(1));
                cluster.remove(self.pod(who)?)?;
            }
            Act::Force(who) => cluster.force_delete(self.pod(who)?)?,
            Act::Release(who) => cluster.release(self.pod(who)?)?,
            Act::Cut => {}
            Act::Restore => cluster.compact(),
        }
        Ok(())
    }

    fn pod(&self, who: usize) -> anyhow::Result<&Pod> {
        self.pods.get(&who).context("it is not on the stage")
    }

    /// UID of a pod of the cast.
    pub(super) fn uid(&self, who: usize) -> Option<&str> {
        self.pods.get(&who).map(Pod::uid)
    }

    /// When an act was over.
    pub(super) fn when(&self, act: Act) -> Option<Timestamp> {
        self.done.get(&act).copied()
    }
}

/// What is said of an act, for people; nothing of those that the events tell of.
pub(super) fn told(act: Act) -> Option<&'static str> {
    match act {
        Act::Finish(FINISHED) => Some("batch/report-1 finishes; its object stays and goes on showing the address"),
        Act::Force(FORCED) => Some("shop/stuck-0 is deleted by force; its containers run on for a while"),
        Act::Cut => Some("the API server is gone: nobody sees what happens now"),
        Act::Restore => Some("the API server is back, but has forgotten what happened meanwhile"),
        Act::Drop(DROPPED) => Some("shop/cache-0 is gone, and the API server never tells"),
        _ => None,
    }
}

/// The addresses of node number `node`, as [`Churn`] gives them.
pub(super) fn node_addresses(node: u16) -> [IpAddr; 2] {
    let number = node + 10;
    let [high, low] = number.to_be_bytes();
    [Ipv4Addr::new(198, 18, high, low).into(), Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, number).into()]
}

/// Address number `number` of those that the churn does not hand out.
fn addresses(number: u8) -> [IpAddr; 2] {
    [Ipv4Addr::new(10, 244, 1, number).into(), Ipv6Addr::new(0xfd00, 0x244, 1, 0, 0, 0, 0, u16::from(number)).into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_in_order_and_each_pod_comes_first() {
        assert!(SCENES.is_sorted_by_key(|(share, _)| *share));
        for (at, (_, act)) in SCENES.iter().enumerate() {
            let who = match act {
                Act::Run(_) | Act::Cut | Act::Restore => continue,
                Act::Finish(who) | Act::Terminate(who) | Act::Remove(who) => who,
                Act::Drop(who) | Act::Force(who) | Act::Release(who) => who,
            };
            let came = SCENES.iter().position(|(_, act)| *act == Act::Run(*who));
            assert!(came.is_some_and(|came| came < at), "{act:?}");
        }
    }

    #[test]
    fn the_whole_story_can_be_told() {
        let mut story = Story::new(7, Duration::from_millis(200)).unwrap();
        story.begin();
        while story.step().unwrap().is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let truth = story.cluster.truth();
        assert!(SCENES.iter().all(|(_, act)| story.when(*act).is_some()));
        let holds = |name: &str| truth.iter().filter(|hold| &*hold.name == name).count();
        assert_eq!((holds("catalog-0"), holds("unseen-0"), holds("payments-0")), (4, 2, 2));
        assert_eq!(story.cluster.faults_pending(), 0);
    }
}
