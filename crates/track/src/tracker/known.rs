//! What a tracker holds in memory: little for each pod, because there are many.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use podtrail_event::{Address, Pod, Subject, Timestamp};
use podtrail_ledger::{ClaimRow, Evidence, Interval};

/// An address that a pod or a node shows and holds, or uses with its node.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) network: Arc<String>,
    pub(super) ip: IpAddr,
    pub(super) ordinal: u32,
    pub(super) shared: bool,
    pub(super) interval: Open,
}

/// An [`Interval`] without a latest end, which is smaller: what is known to have ended is not kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) start_earliest: Timestamp,
    pub(super) start_latest: Timestamp,
    pub(super) end_earliest: Timestamp,
    pub(super) may_end: bool,
}

impl From<Interval> for Open {
    fn from(interval: Interval) -> Self {
        let Interval { start_earliest, start_latest, end_earliest, may_end, .. } = interval;
        Self { start_earliest, start_latest, end_earliest, may_end }
    }
}

impl Open {
    pub(super) const fn whole(self) -> Interval {
        let Self { start_earliest, start_latest, end_earliest, may_end } = self;
        Interval { start_earliest, start_latest, end_earliest, end_latest: None, may_end }
    }
}

impl Claimed {
    pub(super) fn address(&self) -> Address {
        Address { network: self.network.to_string(), ip: self.ip }
    }

    pub(super) fn row(&self, subject: Subject, holder: i64) -> ClaimRow {
        ClaimRow {
            id: self.id,
            network: self.network.to_string(),
            ip: self.ip,
            subject,
            holder,
            ordinal: self.ordinal,
            shared: self.shared,
            interval: self.interval.whole(),
        }
    }

    /// The row of the claim when it has ended, or may have.
    pub(super) fn ended(&self, evidence: Evidence, subject: Subject, holder: i64) -> ClaimRow {
        let mut row = self.row(subject, holder);
        row.interval.tighten(evidence);
        row
    }

    pub(super) fn tighten(&mut self, evidence: Evidence) -> bool {
        let mut interval = self.interval.whole();
        let told = interval.tighten(evidence);
        self.interval = interval.into();
        told
    }

    pub(super) fn is(&self, address: &Address) -> bool {
        *self.network == *address.network && self.ip == address.ip
    }
}

/// A pod that is not known to be gone.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) uid: Box<str>,
    pub(super) namespace: Arc<String>,
    pub(super) name: Box<str>,
    pub(super) version: u64,
    /// Of what is stored of it: a change of the digest is a change to store.
    pub(super) digest: u64,
    pub(super) created: bool,
    pub(super) deleted: bool,
    /// Last listing that it was in.
    pub(super) listed: u32,
    /// Its kubelet has said that it ended.
    pub(super) over: bool,
    /// In the order that the API shows them, the pod's own first.
    pub(super) claims: Vec<Claimed>,
    /// Addresses that it no longer holds, and the how-manyeth time it held them: the next is one more.
    pub(super) past: Vec<(Address, u32)>,
}

impl Known {
    pub(super) fn next_ordinal(&self, address: &Address) -> u32 {
        self.past.iter().filter(|(past, _)| past == address).map(|(_, n)| n + 1).max().unwrap_or(0)
    }

    /// Whether it once held the address, and has held no other in its place since.
    pub(super) fn last_held(&self, address: &Address) -> bool {
        let elsewhere =
            |claim: &Claimed| *claim.network == *address.network && claim.ip.is_ipv4() == address.ip.is_ipv4();
        !self.claims.iter().any(elsewhere) && self.last_shown().contains(address)
    }

    /// Of the addresses that it no longer holds, those that it held last.
    pub(super) fn last_shown(&self) -> Vec<Address> {
        let mut shown: Vec<Address> = Vec::new();
        for (address, _) in self.past.iter().rev() {
            let later = |a: &Address| a.network == address.network && a.ip.is_ipv4() == address.ip.is_ipv4();
            if !shown.iter().any(later) {
                shown.insert(0, address.clone());
            }
        }
        shown
    }
}

pub(super) fn digest(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.hash(&mut hasher);
    hasher.finish()
}
