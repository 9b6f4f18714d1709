//! What the simulator knows, and whether an answer agrees with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use podtrail_event::{Claim, DEFAULT_NETWORK, Subject, Timestamp};
use podtrail_ledger::Answer;
use podtrail_sim::Hold;

/// Who held what, when, in the default network.
pub(super) struct Truth {
    /// The pods' own addresses, not their nodes', oldest first.
    holds: BTreeMap<IpAddr, Vec<Hold>>,
    /// The nodes' names by address; they have them from the beginning on.
    nodes: BTreeMap<IpAddr, String>,
}

/// Who truly held an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Pod { uid: &'a str, namespace: &'a str, name: &'a str },
    Node(&'a str),
}

impl Truth {
    pub(super) fn new(holds: Vec<Hold>, nodes: impl IntoIterator<Item = (IpAddr, String)>) -> Self {
        let mut by_address = BTreeMap::<_, Vec<_>>::new();
        for hold in holds {
            if !hold.host_network && &*hold.network == DEFAULT_NETWORK {
                by_address.entry(hold.ip).or_default().push(hold);
            }
        }
        Self { holds: by_address, nodes: nodes.into_iter().collect() }
    }

    /// All addresses that anybody held.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.holds.keys().chain(self.nodes.keys()).copied()
    }

    /// The pods that held an address, oldest first.
    pub(super) fn holds(&self, ip: IpAddr) -> &[Hold] {
        self.holds.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// The first hold of the pod with this UID.
    pub(super) fn of(&self, uid: &str) -> Option<&Hold> {
        self.holds.values().flatten().find(|hold| &*hold.uid == uid)
    }

    /// Who held it.
    pub(super) fn owner(&self, ip: IpAddr, at: Timestamp) -> Option<Owner<'_>> {
        if let Some(name) = self.nodes.get(&ip) {
            return Some(Owner::Node(name));
        }
        let held = self.holds(ip).iter().find(|hold| hold.from <= at && hold.to.is_none_or(|to| at < to));
        held.map(|hold| Owner::Pod { uid: &hold.uid, namespace: &hold.namespace, name: &hold.name })
    }
}

impl Owner<'_> {
    fn is(self, claim: &Claim) -> bool {
        match (self, claim.subject) {
            (Self::Pod { uid, .. }, Subject::Pod) => claim.uid == uid,
            (Self::Node(name), Subject::Node) => claim.name == name,
            _ => false,
        }
    }
}

impl std::fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod { uid, namespace, name } => write!(f, "pod {namespace}/{name}, uid {uid}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// Whether an answer is consistent with the truth: what it says for sure is so, and what it leaves open includes it.
pub(super) fn is_right(answer: &Answer<Claim>, owner: Option<Owner<'_>>) -> bool {
    match answer {
        Answer::Certain(claim) | Answer::Presumed(claim) => owner.is_some_and(|owner| owner.is(claim)),
        Answer::Ambiguous(claims) => owner.is_none_or(|owner| claims.iter().any(|claim| owner.is(claim))),
        Answer::Nobody => owner.is_none(),
        // It claims nothing: somebody who was never seen may have had it.
        Answer::Unknown(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use podtrail_event::Bounds;
    use podtrail_ledger::Uncovered;

    use super::*;

    fn claim(subject: Subject, name: &str) -> Claim {
        let start = Bounds { earliest: Timestamp::MIN, latest: None };
        let text = |text: &str| text.to_owned();
        let (network, ip) = (text(DEFAULT_NETWORK), IpAddr::from([10, 244, 0, 1]));
        Claim {
            network,
            ip,
            subject,
            namespace: String::new(),
            name: text(name),
            uid: text(name),
            node: String::new(),
            start,
            end: None,
        }
    }

    #[test]
    fn only_what_contradicts_the_truth_is_wrong() {
        let a = Owner::Pod { uid: "a", namespace: "n", name: "x" };
        let [pod_a, pod_b] = ["a", "b"].map(|name| claim(Subject::Pod, name));
        let node_a = claim(Subject::Node, "a");
        let both = vec![pod_a.clone(), pod_b.clone()];
        let unknown = Answer::Unknown(Uncovered::Gap, vec![]);
        for (answer, owner, right) in [
            (Answer::Certain(pod_a.clone()), Some(a), true),
            (Answer::Certain(pod_b.clone()), Some(a), false),
            (Answer::Certain(node_a.clone()), Some(a), false),
            (Answer::Certain(node_a), Some(Owner::Node("a")), true),
            (Answer::Certain(pod_a.clone()), None, false),
            (Answer::Presumed(pod_b.clone()), Some(a), false),
            (Answer::Presumed(pod_a), None, false),
            (Answer::Ambiguous(both.clone()), Some(a), true),
            (Answer::Ambiguous(both), None, true),
            (Answer::Ambiguous(vec![pod_b]), Some(a), false),
            (Answer::Nobody, None, true),
            (Answer::Nobody, Some(a), false),
            (unknown.clone(), Some(a), true),
            (unknown, None, true),
        ] {
            assert_eq!(is_right(&answer, owner), right, "{answer:?} where {owner:?} is true");
        }
    }
}
