//! What happens to the cluster.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_sim::{Attachment, Cluster, Config, DEFAULT_NETWORK, ManualClock, Outcome, Pod, PodSpec, Skew};
use podtrail_watch::{Frame, PodLite, PodState};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

pub(crate) const NETWORKS: [&str; 2] = [DEFAULT_NETWORK, "shop/red"];
const NODES: [(&str, &str); 2] = [("n0", "198.18.0.10"), ("n1", "198.18.0.11")];

/// One change as a watch would tell it.
pub(crate) struct Made {
    pub(crate) at: Timestamp,
    pub(crate) gone: bool,
    pub(crate) state: PodState,
    /// No watch ever tells of it.
    pub(crate) dropped: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Pending,
    Running,
    Terminating,
    Finished,
}

struct Life {
    pod: Pod,
    phase: Phase,
    node: usize,
    host: bool,
    ips: Vec<IpAddr>,
    red: Option<IpAddr>,
    /// The frame of the change by which it lost an address.
    lost: HashMap<(usize, IpAddr), usize>,
}

pub(crate) struct History {
    pub(crate) rng: StdRng,
    pub(crate) clock: ManualClock,
    pub(crate) cluster: Cluster,
    pub(crate) made: Vec<Made>,
    pub(crate) addresses: Vec<IpAddr>,
    lives: Vec<Life>,
    /// Deleted by force, with the frame that says so, and holding on.
    forced: Vec<(Pod, usize)>,
    born: usize,
}

pub(crate) fn node_ips() -> [IpAddr; 2] {
    NODES.map(|(_, ip)| ip.parse().unwrap())
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let start = Timestamp::from_nanosecond(1_760_000_000_000_000_000 + rng.random_range(0..1_000_000_000));
        let clock = ManualClock::new(start);
        let cluster = Cluster::new(Config { clock: clock.clone().into(), ..Config::default() });
        for (name, ip) in NODES {
            cluster.add_node(name, &[("InternalIP", ip)]).unwrap();
        }
        let by = Duration::from_millis(rng.random_range(0..900));
        cluster.skew_node("n1", if rng.random_bool(0.5) { Skew::Ahead(by) } else { Skew::Behind(by) });
        let addresses = (1..=5_u8).flat_map(|i| [IpAddr::from([10, 244, 0, i]), format!("fd00::{i}").parse().unwrap()]);
        let addresses = addresses.collect();
        Self { rng, clock, cluster, made: Vec::new(), addresses, lives: Vec::new(), forced: Vec::new(), born: 0 }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn pass(&mut self) {
        let ms = match self.rng.random_range(0..10) {
            0..3 => 0,
            3..6 => self.rng.random_range(1..60),
            6..9 => self.rng.random_range(60..1500),
            _ => self.rng.random_range(1500..8000),
        };
        let ns = self.rng.random_range(0..1_000_000);
        self.clock.advance(Duration::from_millis(ms) + Duration::from_nanos(if ms == 0 { 0 } else { ns }));
    }

    /// Something happens. `told` is until which frame the tracker surely knows.
    pub(crate) fn happen(&mut self, told: usize) {
        match self.rng.random_range(0..20) {
            0..5 => self.create(),
            5 if !self.forced.is_empty() => {
                let one = self.rng.random_range(0..self.forced.len());
                let (pod, _) = self.forced.swap_remove(one);
                self.cluster.release(&pod).unwrap();
            }
            _ if !self.lives.is_empty() => {
                let one = self.rng.random_range(0..self.lives.len());
                let life = self.lives.swap_remove(one);
                if let Some(life) = self.change(life, told) {
                    self.lives.push(life);
                }
            }
            _ => self.create(),
        }
        self.record();
    }

    fn create(&mut self) {
        // Few names, so that they come again.
        let name = match self.rng.random_bool(0.5) {
            true => format!("db-{}", self.rng.random_range(0..3)),
            false => format!("web-{}", self.born),
        };
        let lingers = self.forced.iter().any(|(pod, _)| pod.name() == name);
        if lingers || self.lives.len() > 7 || self.cluster.pod("shop", &name).is_some() {
            return;
        }
        self.born += 1;
        let node = self.rng.random_range(0..NODES.len());
        let host = self.rng.random_bool(0.15);
        let spec = PodSpec::new("shop", &name, NODES[node].0).label("app", "x");
        let pod = self.cluster.create(if host { spec.host_network() } else { spec }).unwrap();
        let (ips, lost) = (Vec::new(), HashMap::new());
        self.lives.push(Life { pod, phase: Phase::Pending, node, host, ips, red: None, lost });
    }

    /// An address of the family that nobody holds, and that the pod has not lost unknown to the tracker.
    fn free(&mut self, life: &Life, network: usize, v4: bool, told: usize) -> Option<IpAddr> {
        let now = self.now();
        let free = |ip: &&IpAddr| {
            ip.is_ipv4() == v4
                && self.cluster.owner_at(NETWORKS[network], **ip, now).is_empty()
                && life.lost.get(&(network, **ip)).is_none_or(|frame| *frame < told)
        };
        let free: Vec<IpAddr> = self.addresses.iter().filter(free).copied().collect();
        free.choose(&mut self.rng).copied()
    }

    fn some_free(&mut self, life: &Life, told: usize) -> Vec<IpAddr> {
        let v4 = self.free(life, 0, true, told);
        let v6 = if self.rng.random_bool(0.6) { self.free(life, 0, false, told) } else { None };
        v4.into_iter().chain(v6).collect()
    }

    fn change(&mut self, mut life: Life, told: usize) -> Option<Life> {
        let cluster = self.cluster.clone();
        let pod = life.pod.clone();
        match (life.phase, self.rng.random_range(0..12)) {
            (Phase::Pending, 0) => {
                cluster.terminate(&pod, Duration::from_secs(2)).unwrap();
                life.phase = Phase::Terminating;
            }
            (Phase::Pending, _) => {
                let ips = if life.host { vec![node_ips()[life.node]] } else { self.some_free(&life, told) };
                if !ips.is_empty() {
                    cluster.run(&pod, &ips).unwrap();
                    (life.ips, life.phase) = (ips, Phase::Running);
                }
            }
            (Phase::Running, 0..3) => {
                let outcome = if self.rng.random_bool(0.5) { Outcome::Succeeded } else { Outcome::Failed };
                cluster.finish(&pod, outcome).unwrap();
                life.phase = Phase::Finished;
            }
            (Phase::Running, 3..6) => {
                let grace = self.rng.random_range(0..40);
                cluster.terminate(&pod, Duration::from_secs(grace)).unwrap();
                life.phase = Phase::Terminating;
            }
            (Phase::Running | Phase::Terminating, 6) => {
                cluster.force_delete(&pod).unwrap();
                self.forced.push((pod, self.made.len()));
                return None;
            }
            (Phase::Running, 7) if !life.host => {
                let mut ips = self.some_free(&life, told);
                if self.rng.random_bool(0.3) {
                    // One family stays as it is.
                    let keeps = life.ips[0];
                    ips.retain(|ip| ip.is_ipv4() != keeps.is_ipv4());
                    ips.insert(0, keeps);
                }
                if !ips.is_empty() {
                    cluster.change_addresses(&pod, &ips).unwrap();
                    let lost = life.ips.iter().filter(|ip| !ips.contains(ip));
                    life.lost.extend(lost.map(|ip| ((0, *ip), self.made.len())));
                    life.ips = ips;
                }
            }
            (Phase::Running, 8..10) if !life.host => self.attach(&mut life, told),
            (Phase::Running | Phase::Finished, 10) => {
                let turn = self.made.len().to_string();
                cluster.relabel(&pod, &[("app", "x"), ("turn", &turn)]).unwrap();
            }
            (Phase::Running, 11) | (Phase::Terminating | Phase::Finished, 0..8) => {
                cluster.remove(&pod).unwrap();
                return None;
            }
            _ => {}
        }
        Some(life)
    }

    /// Attaches the pod to the second network, or detaches it.
    fn attach(&mut self, life: &mut Life, told: usize) {
        let attachment = |ip| Attachment { network: NETWORKS[1].into(), interface: "net1".into(), ips: vec![ip] };
        if let Some(ip) = life.red.take() {
            self.cluster.annotate_networks(&life.pod, &[]).unwrap();
            life.lost.insert((1, ip), self.made.len());
        } else if let Some(ip) = self.free(life, 1, true, told) {
            self.cluster.annotate_networks(&life.pod, &[attachment(ip)]).unwrap();
            life.red = Some(ip);
        }
    }

    /// The changes that were made become frames; now and then one is lost for good.
    fn record(&mut self) {
        let at = self.now();
        for frame in self.cluster.frames().iter().skip(self.made.len()) {
            let (lite, gone) = match PodLite::frame(frame).unwrap() {
                Frame::Added(lite) | Frame::Modified(lite) => (lite, false),
                Frame::Deleted(lite) => (lite, true),
                other => panic!("{other:?}"),
            };
            let mut rejected = Vec::new();
            let state = lite.state(at, &mut rejected).unwrap();
            assert!(rejected.is_empty(), "{rejected:?}");
            let forced = self.forced.iter().any(|(pod, _)| pod.uid() == state.pod.uid);
            let dropped = gone && !forced && self.rng.random_bool(0.1);
            self.made.push(Made { at, gone, state, dropped });
        }
    }

    /// The frames from `told` on are lost. Pods that were deleted by force meanwhile let go now: that they still ran would
    /// be known to nobody.
    pub(crate) fn compact(&mut self, told: usize) {
        // History is only lost when it has gone on.
        let unrelated = format!("other-{}", self.cluster.version());
        self.cluster.add_namespace(&unrelated).unwrap();
        for (pod, frame) in std::mem::take(&mut self.forced) {
            if frame < told {
                self.forced.push((pod, frame));
            } else {
                self.cluster.release(&pod).unwrap();
            }
        }
    }

    /// Whether a pod of this name was deleted by force in a frame from `told` on, and holds on.
    pub(crate) fn forced_since(&self, told: usize, name: &str) -> bool {
        self.forced.iter().any(|(pod, frame)| *frame >= told && pod.name() == name)
    }

    /// What a list shows now.
    pub(crate) fn objects(&self) -> Vec<PodState> {
        let mut objects = std::collections::BTreeMap::new();
        for made in &self.made {
            let name = made.state.pod.name.clone();
            if made.gone {
                objects.remove(&name)
            } else {
                objects.insert(name, made.state.clone())
            };
        }
        objects.into_values().collect()
    }
}
