//! Who had it, and is that so?

use std::net::IpAddr;
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_ledger::Answer;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use crate::history::{NETWORKS, node_ips};
use crate::telling::Telling;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Certain, presumed, or nobody.
    pub(crate) definite: u64,
    pub(crate) certain: u64,
    pub(crate) ambiguous: u64,
    pub(crate) unknown: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.definite += other.definite;
        self.certain += other.certain;
        self.ambiguous += other.ambiguous;
        self.unknown += other.unknown;
    }
}

impl Telling {
    /// Asks `most` questions; every answer must fit the truth.
    pub(crate) fn ask(&mut self, most: usize) -> Tally {
        self.commit();
        let truth = self.history.cluster.truth();
        let now = self.now();
        let first = truth.first().map_or(now, |hold| hold.from);
        let edges: Vec<Timestamp> = truth.iter().flat_map(|hold| [Some(hold.from), hold.to]).flatten().collect();
        let mut tally = Tally::default();
        for _ in 0..most {
            let near: i64 = match self.history.rng.random_range(0..4) {
                0 => self.history.rng.random_range(-1..=1),
                1 => self.history.rng.random_range(-50_000_000..50_000_000),
                _ => self.history.rng.random_range(-3_000_000_000..3_000_000_000),
            };
            let edge = match self.history.rng.random_bool(0.7) {
                true => edges.choose(&mut self.history.rng).copied(),
                false => None,
            };
            let at = match edge {
                Some(edge) => Timestamp::from_nanosecond(edge.as_nanosecond() + near),
                None => {
                    let (from, to) = (first.saturating_sub(Duration::from_secs(5)), now);
                    let ns = self.history.rng.random_range(from.as_nanosecond()..=to.as_nanosecond());
                    Timestamp::from_nanosecond(ns)
                }
            };
            let ip = *self.history.addresses.choose(&mut self.history.rng).unwrap();
            let network = NETWORKS[usize::from(self.history.rng.random_bool(0.2))];
            self.judge(network, ip, at, &mut tally);
        }
        self.judge_nodes(first, now);
        tally
    }

    fn judge(&self, network: &str, ip: IpAddr, at: Timestamp, tally: &mut Tally) {
        let reply = self.store().owner(network, ip, at).unwrap();
        let truth = self.history.cluster.owner_at(network, ip, at);
        assert!(truth.len() < 2, "the simulator gives an address to one pod at a time");
        let owner = truth.first().map(|hold| &*hold.uid);
        let named: Vec<&str> = reply.answer.named().iter().map(|claim| &*claim.uid).collect();
        let right = match &reply.answer {
            Answer::Certain(claim) => owner == Some(&claim.uid),
            // What the watch never told of is presumed to go on, until a look heals it.
            Answer::Presumed(claim) => owner == Some(&claim.uid) || self.lost.contains(&claim.uid),
            Answer::Ambiguous(_) => owner.is_none_or(|owner| named.contains(&owner)),
            Answer::Nobody => owner.is_none(),
            Answer::Unknown(..) => true,
        };
        match reply.answer {
            Answer::Certain(_) => (tally.definite, tally.certain) = (tally.definite + 1, tally.certain + 1),
            Answer::Presumed(_) | Answer::Nobody => tally.definite += 1,
            Answer::Ambiguous(_) => tally.ambiguous += 1,
            Answer::Unknown(..) => tally.unknown += 1,
        }
        if !right {
            let (seed, now) = (self.seed, self.now());
            panic!("seed {seed}: {network} {ip} at {at} (now {now}): {:#?}\ntruth: {truth:#?}", reply);
        }
    }

    /// A node's address is the node's, and whoever used it is named.
    fn judge_nodes(&mut self, first: Timestamp, now: Timestamp) {
        for (i, ip) in node_ips().into_iter().enumerate() {
            let ns = self.history.rng.random_range(first.as_nanosecond()..=now.max(first).as_nanosecond());
            let at = Timestamp::from_nanosecond(ns);
            let reply = self.store().owner(NETWORKS[0], ip, at).unwrap();
            let uid = format!("uid-n{i}");
            let named = reply.answer.named();
            assert!(named.iter().all(|claim| claim.uid == uid), "seed {}: {reply:?}", self.seed);
            if !matches!(reply.answer, Answer::Unknown(..)) {
                assert_eq!(named.len(), 1, "seed {}: {reply:?}", self.seed);
                for hold in self.history.cluster.owner_at(NETWORKS[0], ip, at) {
                    let told = reply.users.iter().any(|user| *user.uid == *hold.uid);
                    assert!(told, "seed {}: {} used {ip} at {at}: {reply:?}", self.seed, hold.name);
                }
            }
        }
    }
}
