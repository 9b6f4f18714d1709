use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use podtrail_event::Timestamp;

/// The name of the cluster's own network in a [`Hold`].
pub const DEFAULT_NETWORK: &str = "default";

/// That a pod truly held an address for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// The pod's UID.
    pub uid: Arc<str>,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub name: Arc<str>,
    /// The node it ran on.
    pub node: Arc<str>,
    /// [`DEFAULT_NETWORK`], or `namespace/name` of a secondary one.
    pub network: Arc<str>,
    /// The address.
    pub ip: IpAddr,
    /// Whether it is the node's address, which the pod only used.
    pub host_network: bool,
    /// When it began.
    pub from: Timestamp,
    /// When it ended (the first instant at which it did not hold any more), if it did.
    pub to: Option<Timestamp>,
}

/// Which of a pod's holds an operation is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Default,
    Secondary,
}

/// Who held what, when.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    holds: Vec<Hold>,
    /// The holds of each pod that have not ended.
    open: HashMap<Arc<str>, Vec<usize>>,
    by_ip: HashMap<IpAddr, Vec<usize>>,
}

impl Truth {
    /// From `at` on the pod holds exactly `wanted` (network, address) within `scope`. `pod` is the hold to copy the identity from.
    pub(crate) fn set(&mut self, pod: &Hold, scope: Scope, wanted: &[(Arc<str>, IpAddr)], at: Timestamp) {
        let open = self.open.entry(pod.uid.clone()).or_default();
        open.retain(|&i| {
            let hold = &mut self.holds[i];
            let within = (&*hold.network == DEFAULT_NETWORK) == (scope == Scope::Default);
            let stays = !within || wanted.iter().any(|(network, ip)| *network == hold.network && *ip == hold.ip);
            if !stays {
                hold.to = Some(at);
            }
            stays
        });
        for (network, ip) in wanted {
            if open.iter().any(|&i| self.holds[i].network == *network && self.holds[i].ip == *ip) {
                continue;
            }
            open.push(self.holds.len());
            self.by_ip.entry(*ip).or_default().push(self.holds.len());
            self.holds.push(Hold { network: network.clone(), ip: *ip, from: at, to: None, ..pod.clone() });
        }
    }

    /// The pod holds nothing from `at` on.
    pub(crate) fn release(&mut self, uid: &str, at: Timestamp) {
        for i in self.open.remove(uid).unwrap_or_default() {
            self.holds[i].to = Some(at);
        }
    }

    pub(crate) fn all(&self) -> Vec<Hold> {
        self.holds.clone()
    }

    pub(crate) fn at(&self, network: &str, ip: IpAddr, at: Timestamp) -> Vec<Hold> {
        let of_ip = self.by_ip.get(&ip).into_iter().flatten().map(|&i| &self.holds[i]);
        of_ip.filter(|h| &*h.network == network && h.from <= at && h.to.is_none_or(|to| at < to)).cloned().collect()
    }
}
