//! Nodes own their addresses, and keep them for the records of pods after they are gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use podtrail_event::{DEFAULT_NETWORK, NodeAddresses, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Evidence, Interval, NodeRow, Observation, Source};
use podtrail_watch::NodeState;

use super::known::Claimed;

/// What the tracker lends for writing changes down.
pub(super) struct Pen<'a> {
    pub(super) error: Duration,
    pub(super) next_claim: &'a mut i64,
    pub(super) held: &'a mut Vec<(i64, Timestamp)>,
    pub(super) changes: &'a mut Vec<Change>,
}

impl Pen<'_> {
    fn log(&mut self, claims: Vec<ClaimRow>, at: Timestamp) {
        if !claims.is_empty() {
            let observation = Observation { claims, ..Observation::default() };
            self.changes.push(Change::Observed(at, Source::Watch, Box::new(observation)));
        }
    }
}

#[derive(Debug)]
struct Node {
    row: NodeRow,
    claims: Vec<Claimed>,
    past: Vec<(IpAddr, u32)>,
    listed: u32,
}

/// All nodes that were seen: the last of each name gives the addresses.
#[derive(Debug)]
pub(super) struct Nodes {
    by_uid: HashMap<String, Node>,
    by_name: HashMap<String, String>,
    next: i64,
    listing: u32,
    listing_open: bool,
    sent: Timestamp,
    unreadable: Vec<String>,
}

impl Nodes {
    pub(super) fn new(rows: Vec<NodeRow>, next: i64) -> Self {
        let mut nodes = Self {
            by_uid: HashMap::new(),
            by_name: HashMap::new(),
            next,
            listing: 0,
            listing_open: false,
            sent: Timestamp::MIN,
            unreadable: Vec::new(),
        };
        let mut rows = rows;
        rows.sort_by_key(|row| row.id);
        for row in rows {
            nodes.by_name.insert(row.name.clone(), row.uid.clone());
            nodes.by_uid.insert(row.uid.clone(), Node { row, claims: Vec::new(), past: Vec::new(), listed: 0 });
        }
        nodes
    }

    pub(super) fn adopt(&mut self, holder: i64, claim: Claimed) {
        if let Some(node) = self.by_uid.values_mut().find(|node| node.row.id == holder) {
            node.claims.push(claim);
        }
    }

    /// The last known addresses of the node with this name; none only if it was never seen.
    pub(super) fn addresses(&self, name: &str) -> NodeAddresses {
        let node = self.by_name.get(name).and_then(|uid| self.by_uid.get(uid));
        node.map(|node| node.row.addresses.clone()).unwrap_or_default()
    }

    pub(super) fn start_listing(&mut self, sent: Timestamp) {
        self.listing += 1;
        self.listing_open = true;
        self.sent = sent;
        self.unreadable.clear();
    }

    pub(super) fn unreadable(&mut self, name: Option<&str>) {
        if self.listing_open {
            self.unreadable.extend(name.map(str::to_owned));
        }
    }

    pub(super) const fn is_listing(&self) -> bool {
        self.listing_open
    }

    pub(super) fn listed(&mut self, state: NodeState, now: Timestamp, pen: &mut Pen<'_>) {
        self.applied(state, now, pen);
    }

    pub(super) fn end_listing(&mut self, received: Timestamp, pen: &mut Pen<'_>) {
        self.listing_open = false;
        let gone = |node: &&Node| {
            node.row.gone.is_none() && node.listed != self.listing && !self.unreadable.contains(&node.row.name)
        };
        let missing: Vec<String> = self.by_uid.values().filter(gone).map(|node| node.row.uid.clone()).collect();
        for uid in missing {
            self.deleted(&uid, received, pen);
        }
    }

    pub(super) fn deleted(&mut self, uid: &str, received: Timestamp, pen: &mut Pen<'_>) {
        let Some(node) = self.by_uid.get_mut(uid) else { return };
        if node.row.gone.is_some() {
            return;
        }
        node.row.gone = Some(received);
        let mut rows = Vec::new();
        for claim in std::mem::take(&mut node.claims) {
            let ended = Evidence::EndedBy(received.saturating_add(pen.error));
            node.past.push((claim.ip, claim.ordinal));
            rows.push(claim.ended(ended, Subject::Node, node.row.id));
        }
        pen.changes.push(Change::Node(node.row.clone()));
        pen.log(rows, received);
    }

    /// Takes a state of a node.
    pub(super) fn applied(&mut self, state: NodeState, received: Timestamp, pen: &mut Pen<'_>) {
        let namesake = self.by_name.get(&state.name).filter(|uid| **uid != state.uid).cloned();
        if let Some(old) = namesake {
            self.deleted(&old, received, pen);
        }
        self.by_name.insert(state.name.clone(), state.uid.clone());
        let listing = self.listing;
        let (uid, name) = (state.uid.clone(), state.name.clone());
        let next = &mut self.next;
        let node = self.by_uid.entry(state.uid.clone()).or_insert_with(|| {
            let id = *next;
            *next += 1;
            // Gone, so that it is stored for the first time below.
            let row = NodeRow { id, uid, name, addresses: NodeAddresses::default(), gone: Some(Timestamp::MIN) };
            Node { row, claims: Vec::new(), past: Vec::new(), listed: listing }
        });
        node.listed = listing;
        let shown: NodeAddresses = state.addresses.iter().cloned().collect();
        // The last known are kept, as are those of a node that is gone.
        let addresses = if state.addresses.is_empty() { node.row.addresses.clone() } else { shown };
        if node.row.addresses != addresses || node.row.gone.is_some() {
            node.row.addresses = addresses;
            node.row.gone = None;
            pen.changes.push(Change::Node(node.row.clone()));
        }
        let rows = node.claim(&state, received.saturating_add(pen.error), pen);
        // It was made after the last listing was asked for, and its kubelet had said so at its last heartbeat.
        let heard = state.heartbeat.map_or(Timestamp::MIN, |at| at.min(received));
        let until = self.sent.max(heard).saturating_sub(pen.error);
        for claim in &mut node.claims {
            if claim.tighten(Evidence::HeldUntil(until)) {
                pen.held.push((claim.id, until));
            }
        }
        pen.log(rows, received);
    }
}

impl Node {
    /// Begins and ends claims as the state's addresses say.
    fn claim(&mut self, state: &NodeState, shown: Timestamp, pen: &mut Pen<'_>) -> Vec<ClaimRow> {
        let mut ips: Vec<IpAddr> = state.addresses.iter().filter_map(|(_, address)| address.parse().ok()).collect();
        ips.sort_unstable();
        ips.dedup();
        let id = self.row.id;
        let (keep, lost): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.claims).into_iter().partition(|claim| ips.contains(&claim.ip));
        self.claims = keep;
        let mut rows = Vec::new();
        for claim in lost {
            self.past.push((claim.ip, claim.ordinal));
            rows.push(claim.ended(Evidence::EndedBy(shown), Subject::Node, id));
        }
        for ip in ips {
            if self.claims.iter().any(|claim| claim.ip == ip) {
                continue;
            }
            let ordinal = self.past.iter().filter(|(past, _)| *past == ip).map(|(_, n)| n + 1).max().unwrap_or(0);
            let earliest = state.created.unwrap_or(Timestamp::MIN).saturating_sub(pen.error);
            let interval = Interval::starting(earliest, shown).into();
            let network = Arc::new(DEFAULT_NETWORK.to_owned());
            let claim = Claimed { id: *pen.next_claim, network, ip, ordinal, shared: false, interval };
            *pen.next_claim += 1;
            rows.push(claim.row(Subject::Node, id));
            self.claims.push(claim);
        }
        rows
    }
}
