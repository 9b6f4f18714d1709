//! One state of one pod: what it means for the pod's claims, and what happened.

use std::collections::BTreeMap;
use std::mem;

use podtrail_event::{Address, Bounds, DEFAULT_NETWORK, EventKind, NodeAddresses, Pod, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Error, Evidence, Happened, Interval, Observation, PodRow, Source};
use podtrail_watch::{Phase, PodState};

use super::known::{Claimed, Known, digest};
use super::names::Names;
use super::seen::{Seen, Skew, Times, forced, over};
use super::{Recall, Tracker};

impl Known {
    pub(super) fn from_row(row: &PodRow, names: &mut Names) -> Self {
        Self {
            id: row.id,
            uid: row.pod.uid.as_str().into(),
            namespace: names.get(&row.pod.namespace),
            name: row.pod.name.as_str().into(),
            version: row.version,
            digest: digest(&row.pod),
            created: row.created,
            deleted: row.deleted,
            listed: 0,
            // Not stored: its next state says so again.
            over: false,
            claims: Vec::new(),
            past: Vec::new(),
        }
    }

    /// Whether `key` is its `namespace/name`.
    pub(super) fn is_named(&self, key: &str) -> bool {
        key.split_once('/').is_some_and(|(namespace, name)| *self.namespace == *namespace && *self.name == *name)
    }

    fn addresses(&self) -> Vec<Address> {
        self.claims.iter().map(Claimed::address).collect()
    }
}

/// What an observation gathers on its way.
#[derive(Default)]
struct Outcome {
    events: Vec<Happened>,
    claims: Vec<ClaimRow>,
}

impl Outcome {
    fn event(&mut self, event: EventKind, time: Bounds, address: Option<(Address, u32)>) {
        self.events.push(Happened { event, time, address });
    }

    fn released(&mut self, row: ClaimRow) {
        let time = row.interval.end().unwrap_or(Bounds { earliest: row.interval.end_earliest, latest: None });
        let address = Address { network: row.network.clone(), ip: row.ip };
        self.event(EventKind::AddressReleased, time, Some((address, row.ordinal)));
        self.claims.push(row);
    }
}

impl Tracker {
    pub(super) fn remember(&mut self, known: Known) {
        self.by_uid.insert(&*known.uid, known.id);
        self.by_name.insert((&*known.namespace, &*known.name), known.id);
        self.born.push(known.id);
        self.pods.insert(known.id, Box::new(known));
    }

    /// A claim from the store goes back to its holder.
    pub(super) fn adopt(&mut self, row: ClaimRow) {
        let network = self.names.get(&row.network);
        let ClaimRow { id, ip, subject, holder, ordinal, shared, interval, .. } = row;
        let claimed = Claimed { id, network, ip, ordinal, shared, interval: interval.into() };
        if subject == Subject::Node {
            self.nodes.adopt(holder, claimed);
            return;
        }
        let Some(known) = self.pods.get_mut(&holder) else { return };
        if interval.end_latest.is_some() {
            known.past.push((claimed.address(), ordinal));
            return;
        }
        self.open_claims += 1;
        known.claims.push(claimed);
    }

    /// Takes one state of one pod; `gone`: its last.
    pub(super) fn observe(
        &mut self,
        state: PodState,
        seen: &Seen,
        gone: bool,
        store: &impl Recall,
    ) -> Result<(), Error> {
        let Some(id) = self.identify(&state, seen, gone, store)? else { return Ok(()) };
        let known = self.pods.get_mut(&id).expect("identify has just found it");
        if seen.source != Source::Get {
            known.listed = self.listing;
        }
        if state.resource_version < known.version && seen.source != Source::List {
            return Ok(());
        }
        self.missing.remove(&id);
        known.version = state.resource_version;
        known.over = over(&state);
        let skew = self.skew(&state, seen.received);
        let times = Times::of(&state, seen, skew, self.clock_error);
        let mut known = self.pods.remove(&id).expect("identify has just found it");

        let mut out = Outcome::default();
        let shown = known.addresses();
        self.lose_addresses(&mut known, &state, &times, &mut out);
        self.gain_addresses(&mut known, &state, &times, &mut out);
        self.hold_addresses(&mut known, &state, &times, &mut out);
        let shown = if state.addresses.is_empty() { shown } else { state.addresses.clone() };
        let shown = if shown.is_empty() { known.last_shown() } else { shown };
        let runs = state.phase != Phase::Pending;
        if !known.created && runs && !shown.is_empty() {
            known.created = true;
            let earliest = known.claims.iter().map(|c| c.interval.start_earliest).min().unwrap_or(times.start_earliest);
            out.event(EventKind::Created, Bounds { earliest, latest: Some(times.shown) }, None);
        }
        if gone {
            let by = if forced(&state) { None } else { Some(times.ended) };
            let earliest = times.held_until.unwrap_or(times.start_earliest).min(times.ended);
            self.depart(&mut known, by, Bounds { earliest, latest: Some(times.ended) }, &mut out);
        }
        self.store(known, state.pod, shown, seen, gone, out);
        Ok(())
    }

    /// The row of the state's pod, new if need be; `None` if the state says nothing that is not known.
    fn identify(
        &mut self,
        state: &PodState,
        seen: &Seen,
        gone: bool,
        store: &impl Recall,
    ) -> Result<Option<i64>, Error> {
        let pod = &state.pod;
        let known = self.by_uid.get(&*pod.uid).filter(|id| self.pods.get(id).is_some_and(|k| *k.uid == *pod.uid));
        if known.is_some() {
            return Ok(known);
        }
        let stored = match self.gone.get(&*pod.uid) {
            Some(row) => Some(row.clone()),
            None => store.pod_by_uid(&pod.uid)?,
        };
        let row = match stored {
            // It was known to be gone, and this only says what was known before.
            Some(_) if gone => return Ok(None),
            // A listing is right even then: an API server restored from a backup has an older version of the pod.
            Some(row) if state.resource_version <= row.version && seen.source != Source::List => return Ok(None),
            Some(row) => row,
            None if gone && state.addresses.is_empty() => return Ok(None),
            None => {
                let id = self.next_pod;
                self.next_pod += 1;
                PodRow { id, version: 0, created: false, deleted: false, gone: None, pod: pod.clone() }
            }
        };
        let namesake = self.by_name.get((&*pod.namespace, &*pod.name));
        let is_old =
            |old: &i64| self.pods.get(old).is_some_and(|k| *k.name == *pod.name && *k.namespace == *pod.namespace);
        if let Some(old) = namesake.filter(is_old) {
            // The name was free when the new pod was made: the old one had gone.
            let made = pod.created.map(|t| t.saturating_add(std::time::Duration::from_secs(1)));
            let by = made.map_or(seen.received, |made| made.min(seen.received)).saturating_add(self.clock_error);
            self.gone_unseen(old, seen.source, seen.received, by, store)?;
        }
        let mut known = Known::from_row(&row, &mut self.names);
        if row.gone.is_some() {
            // Said to be gone, and here again (a restored API server, a watch that was late): it goes on counting its
            // addresses.
            let claims = self.claims_of(row.id, store)?;
            let past = |claim: &ClaimRow| (Address { network: claim.network.clone(), ip: claim.ip }, claim.ordinal);
            known.past = claims.iter().map(past).collect();
            // What it held is released: what it holds now are other claims, though on the same address.
            let mut open: Vec<_> = claims.into_iter().filter(|claim| claim.interval.end_latest.is_none()).collect();
            for claim in &mut open {
                claim.interval.tighten(Evidence::EndedBy(seen.received.saturating_add(self.clock_error)));
            }
            if !open.is_empty() {
                let observation = Observation { claims: open, ..Observation::default() };
                self.changes.push(Change::Observed(seen.received, seen.source, Box::new(observation)));
            }
        }
        // Gone and back since the last commit: it is still one to be confirmed.
        self.dead.retain(|dead| *dead != row.id);
        known.digest = !known.digest; // not stored in this form yet
        let id = known.id;
        self.remember(known);
        Ok(Some(id))
    }

    /// All claims that the pod of row `id` ever had, also those that are not committed yet.
    fn claims_of(&self, id: i64, store: &impl Recall) -> Result<Vec<ClaimRow>, Error> {
        let stored = store.claims_of(id)?.into_iter();
        let mut claims: BTreeMap<i64, ClaimRow> = stored.map(|claim| (claim.id, claim)).collect();
        for change in &self.changes {
            if let Change::Observed(_, _, observation) = change {
                let of_pod = |claim: &&ClaimRow| claim.holder == id && claim.subject == Subject::Pod;
                claims.extend(observation.claims.iter().filter(of_pod).map(|claim| (claim.id, claim.clone())));
            }
        }
        Ok(claims.into_values().collect())
    }

    /// By how much the clock of the state's node may be wrong, as far as that has shown.
    fn skew(&mut self, state: &PodState, received: Timestamp) -> Skew {
        let node = state.pod.node.as_deref().unwrap_or_default();
        let mut skew = self.skews.get(node).copied().unwrap_or_default();
        if skew.learn(state, received) {
            self.counts.skews += 1;
            self.skews.insert(node.into(), skew);
            self.changes.push(Change::Skew { node: node.to_owned(), fast: skew.fast, slow: skew.slow });
        }
        skew
    }

    /// Ends the claims on addresses that the state no longer shows; where part of it cannot be read, they may have ended.
    fn lose_addresses(&mut self, known: &mut Known, state: &PodState, times: &Times, out: &mut Outcome) {
        let (keep, mut lost): (Vec<_>, Vec<_>) =
            mem::take(&mut known.claims).into_iter().partition(|claim| state.addresses.iter().any(|a| claim.is(a)));
        known.claims = keep;
        if state.addresses_spoilt {
            for claim in &mut lost {
                if claim.tighten(Evidence::MayEnd) {
                    out.claims.push(claim.row(Subject::Pod, known.id));
                }
            }
            known.claims.append(&mut lost);
        }
        for claim in lost {
            self.release(known, &claim, Some(times.ended), out);
        }
    }

    /// Ends a claim; `by: None`: it may have ended.
    fn release(&mut self, known: &mut Known, claim: &Claimed, by: Option<Timestamp>, out: &mut Outcome) {
        out.released(claim.ended(by.map_or(Evidence::MayEnd, Evidence::EndedBy), Subject::Pod, known.id));
        self.open_claims -= 1;
        known.past.push((claim.address(), claim.ordinal));
    }

    /// Begins claims on the addresses that the state shows for the first time, and keeps them in its order.
    fn gain_addresses(&mut self, known: &mut Known, state: &PodState, times: &Times, out: &mut Outcome) {
        // Stamps of containers bound the start of the addresses that the pod began with, not of later ones.
        let first = known.claims.is_empty() && known.past.is_empty();
        let mut old: Vec<Claimed> = mem::take(&mut known.claims);
        known.claims.reserve_exact(state.addresses.len());
        for address in &state.addresses {
            if let Some(place) = old.iter().position(|claim| claim.is(address)) {
                known.claims.push(old.swap_remove(place));
                continue;
            }
            if times.may_end && known.last_held(address) {
                // Given away before it ended, and shown still: history.
                continue;
            }
            // Nor of other networks, which may be attached at any time.
            let dated = first && *address.network == *DEFAULT_NETWORK;
            let latest = if dated { times.start_latest } else { times.shown };
            let mut interval = Interval::starting(times.start_earliest, latest);
            if !first {
                interval.tighten(Evidence::NotBefore(previous_end(out, address)));
            }
            let shared = state.pod.host_network;
            let (id, network) = (self.next_claim, self.names.get(&address.network));
            self.next_claim += 1;
            let ordinal = known.next_ordinal(address);
            times.tighten(&mut interval);
            let claim = Claimed { id, network, ip: address.ip, ordinal, shared, interval: interval.into() };
            out.event(EventKind::AddressAssigned, interval.start(), Some((address.clone(), ordinal)));
            self.open_claims += 1;
            out.claims.push(claim.row(Subject::Pod, known.id));
            known.claims.push(claim);
        }
        known.claims.append(&mut old);
    }

    /// Notes that the claims that the state shows are still held.
    fn hold_addresses(&mut self, known: &mut Known, state: &PodState, times: &Times, out: &mut Outcome) {
        for claim in known.claims.iter_mut().filter(|claim| state.addresses.iter().any(|a| claim.is(a))) {
            let (before, mut interval) = (claim.interval, claim.interval.whole());
            if !times.tighten(&mut interval) {
                continue;
            }
            claim.interval = interval.into();
            let row = out.claims.iter().position(|row| row.id == claim.id);
            let less = claim.interval.end_earliest < before.end_earliest;
            if less {
                // What was noted as held is not, and is not to be said after this.
                self.held.retain(|(id, _)| *id != claim.id);
            }
            match (row, claim.interval.may_end == before.may_end && !less) {
                (Some(row), _) => out.claims[row].interval = interval,
                // Nothing but a later sign of life: one record for many.
                (None, true) => self.held.push((claim.id, claim.interval.end_earliest)),
                (None, false) => out.claims.push(claim.row(Subject::Pod, known.id)),
            }
        }
    }

    /// The pod's object is gone: so are its claims, by `by`.
    fn depart(&mut self, known: &mut Known, by: Option<Timestamp>, time: Bounds, out: &mut Outcome) {
        for claim in mem::take(&mut known.claims) {
            let id = claim.id;
            out.claims.retain(|row| row.id != id);
            self.release(known, &claim, by, out);
        }
        if known.created && !known.deleted {
            known.deleted = true;
            out.event(EventKind::Deleted, time, None);
        }
    }

    /// A pod is gone, and its last state was not seen: what is known of it is what was stored.
    pub(super) fn gone_unseen(
        &mut self,
        id: i64,
        source: Source,
        received: Timestamp,
        by: Timestamp,
        store: &impl Recall,
    ) -> Result<(), Error> {
        let stored = store.pod(id)?.map(|row| row.pod);
        let stored = self.pending_pod(id).or(stored);
        let Some(mut known) = self.pods.remove(&id) else { return Ok(()) };
        let shown = if known.claims.is_empty() { known.last_shown() } else { known.addresses() };
        let mut out = Outcome::default();
        let earliest = known.claims.iter().map(|c| c.interval.end_earliest).max().unwrap_or(Timestamp::MIN);
        let earliest = if earliest == Timestamp::MIN { by } else { earliest.min(by) };
        // Unless its kubelet had said that it ended, it may have been forced away, and then its containers go on for a while.
        let ended = known.over && known.claims.iter().all(|claim| claim.interval.may_end);
        let ended = ended.then_some(by);
        self.depart(&mut known, ended, Bounds { earliest, latest: Some(by) }, &mut out);
        let seen = Seen { source, not_before: earliest, received, live: false };
        let pod = stored.unwrap_or_else(|| Pod {
            uid: known.uid.to_string(),
            namespace: known.namespace.to_string(),
            name: known.name.to_string(),
            ..Pod::default()
        });
        self.store(known, pod, shown, &seen, true, out);
        Ok(())
    }

    /// What gathered for a pod that is not committed yet.
    fn pending_pod(&self, id: i64) -> Option<Pod> {
        match self.changes.get(*self.pending.get(&id)?)? {
            Change::Pod(row) => Some(row.pod.clone()),
            _ => None,
        }
    }

    /// Gathers the changes that an observation makes, and keeps or forgets the pod.
    fn store(&mut self, mut known: Box<Known>, pod: Pod, shown: Vec<Address>, seen: &Seen, gone: bool, out: Outcome) {
        let digest = digest(&pod);
        let eventful = !out.events.is_empty() || !out.claims.is_empty();
        let unseen = !known.created && known.claims.is_empty() && known.past.is_empty();
        // One that never showed an address is not for the ledger.
        if !unseen && (digest != known.digest || gone || out.events.iter().any(|e| e.event == EventKind::Created)) {
            known.digest = digest;
            self.pending.insert(known.id, self.changes.len());
            let (id, version, created, deleted) = (known.id, known.version, known.created, known.deleted);
            let row = PodRow { id, version, created, deleted, gone: gone.then_some(seen.received), pod: pod.clone() };
            if gone {
                self.gone.insert(known.uid.clone(), row.clone());
            }
            self.changes.push(Change::Pod(Box::new(row)));
        }
        if eventful {
            let observation = self.observation(pod, shown, Some(known.version), out);
            self.changes.push(Change::Observed(seen.received, seen.source, Box::new(observation)));
        }
        if gone {
            self.dead.push(known.id);
            self.missing.remove(&known.id);
            self.by_uid.remove(&*known.uid, known.id);
            self.by_name.remove((&*known.namespace, &*known.name), known.id);
        } else {
            self.pods.insert(known.id, known);
        }
    }

    fn observation(&mut self, pod: Pod, addresses: Vec<Address>, version: Option<u64>, out: Outcome) -> Observation {
        for happened in &out.events {
            self.counts.events[happened.event as usize] += 1;
        }
        let claims = out.claims;
        if out.events.is_empty() {
            return Observation { resource_version: version, claims, ..Observation::default() };
        }
        let node_addresses: NodeAddresses = self.nodes.addresses(pod.node.as_deref().unwrap_or_default());
        let events = out.events;
        let pod = Some(Box::new(pod));
        Observation {
            resource_version: version,
            pod,
            addresses,
            node_addresses,
            events,
            claims,
            ..Observation::default()
        }
    }
}

/// Until when the address that this one replaces was held: the last of its family that the pod has just lost.
fn previous_end(out: &Outcome, address: &Address) -> Timestamp {
    let same = |row: &&ClaimRow| row.network == address.network && row.ip.is_ipv4() == address.ip.is_ipv4();
    let ends = out.claims.iter().filter(same).filter(|row| row.interval.end_latest.is_some());
    ends.map(|row| row.interval.end_earliest).max().unwrap_or(Timestamp::MIN)
}
