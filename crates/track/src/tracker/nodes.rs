//! Nodes own their addresses, and keep them for the records of pods after they are gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use podtrail_event::{DEFAULT_NETWORK, NodeAddresses, Subject, Timestamp};
use podtrail_ledger::{Change, Evidence, Interval, NodeRow, Observation, Source};
use podtrail_watch::NodeState;

use super::known::Claimed;

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
    sent: Timestamp,
    unreadable: Vec<String>,
}

impl Nodes {
    pub(super) fn new(rows: Vec<NodeRow>, next: i64) -> Self {
        let mut nodes =
            Self { by_uid: HashMap::new(), by_name: HashMap::new(), next, listing: 0, sent: Timestamp::MIN, unreadable: Vec::new() };
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
        self.sent = sent;
        self.unreadable.clear();
    }

    pub(super) fn unreadable(&mut self, name: Option<&str>) {
        self.unreadable.extend(name.map(str::to_owned));
    }

    pub(super) fn listed(
        &mut self,
        state: NodeState,
        now: Timestamp,
        error: Duration,
        next_claim: &mut i64,
        held: &mut Vec<(i64, Timestamp)>,
        changes: &mut Vec<Change>,
    ) {
        self.applied(state, self.sent, now, error, next_claim, held, changes);
    }

    pub(super) fn end_listing(&mut self, received: Timestamp, error: Duration, changes: &mut Vec<Change>) {
        let gone = |node: &&Node| {
            node.row.gone.is_none() && node.listed != self.listing && !self.unreadable.contains(&node.row.name)
        };
        let missing: Vec<String> = self.by_uid.values().filter(gone).map(|node| node.row.uid.clone()).collect();
        for uid in missing {
            self.deleted(&uid, received, error, changes);
        }
    }

    pub(super) fn deleted(&mut self, uid: &str, received: Timestamp, error: Duration, changes: &mut Vec<Change>) {
        let Some(node) = self.by_uid.get_mut(uid) else { return };
        if node.row.gone.is_some() {
            return;
        }
        node.row.gone = Some(received);
        let mut rows = Vec::new();
        for mut claim in std::mem::take(&mut node.claims) {
            claim.interval.tighten(Evidence::EndedBy(received.saturating_add(error)));
            node.past.push((claim.ip, claim.ordinal));
            rows.push(claim.row(Subject::Node, node.row.id));
        }
        changes.push(Change::Node(node.row.clone()));
        log(rows, received, changes);
    }

    /// Takes a state of a node that was made at `not_before` or later.
    #[expect(clippy::too_many_arguments, reason = "the tracker's own parts, borrowed one by one")]
    pub(super) fn applied(
        &mut self,
        state: NodeState,
        not_before: Timestamp,
        received: Timestamp,
        error: Duration,
        next_claim: &mut i64,
        held: &mut Vec<(i64, Timestamp)>,
        changes: &mut Vec<Change>,
    ) {
        let namesake = self.by_name.get(&state.name).filter(|uid| **uid != state.uid).cloned();
        if let Some(old) = namesake {
            self.deleted(&old, received, error, changes);
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
        let addresses: NodeAddresses = state.addresses.iter().cloned().collect();
        if node.row.addresses != addresses || node.row.gone.is_some() {
            node.row.addresses = addresses;
            node.row.gone = None;
            changes.push(Change::Node(node.row.clone()));
        }
        let rows = node.claim(&state, received.saturating_add(error), error, next_claim);
        let until = not_before.saturating_sub(error);
        for claim in &mut node.claims {
            if claim.interval.tighten(Evidence::HeldUntil(until)) {
                held.push((claim.id, until));
            }
        }
        log(rows, received, changes);
    }
}

impl Node {
    /// Begins and ends claims as the state's addresses say.
    fn claim(&mut self, state: &NodeState, shown: Timestamp, error: Duration, next_claim: &mut i64) -> Vec<podtrail_ledger::ClaimRow> {
        let mut ips: Vec<IpAddr> = state.addresses.iter().filter_map(|(_, address)| address.parse().ok()).collect();
        ips.sort_unstable();
        ips.dedup();
        let id = self.row.id;
        let (keep, lost): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.claims).into_iter().partition(|claim| ips.contains(&claim.ip));
        self.claims = keep;
        let mut rows = Vec::new();
        for mut claim in lost {
            claim.interval.tighten(Evidence::EndedBy(shown));
            self.past.push((claim.ip, claim.ordinal));
            rows.push(claim.row(Subject::Node, id));
        }
        for ip in ips {
            if self.claims.iter().any(|claim| claim.ip == ip) {
                continue;
            }
            let ordinal = self.past.iter().filter(|(past, _)| *past == ip).map(|(_, n)| n + 1).max().unwrap_or(0);
            let earliest = state.created.unwrap_or(Timestamp::MIN).saturating_sub(error);
            let interval = Interval::starting(earliest, shown);
            let claim = Claimed { id: *next_claim, network: DEFAULT_NETWORK.into(), ip, ordinal, shared: false, interval };
            *next_claim += 1;
            rows.push(claim.row(Subject::Node, id));
            self.claims.push(claim);
        }
        rows
    }
}

fn log(claims: Vec<podtrail_ledger::ClaimRow>, at: Timestamp, changes: &mut Vec<Change>) {
    if !claims.is_empty() {
        let observation = Observation { claims, ..Observation::default() };
        changes.push(Change::Observed(at, Source::Watch, Box::new(observation)));
    }
}
