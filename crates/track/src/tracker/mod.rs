//! From deltas to changes of the ledger: pure, but for what it recalls from the store.

mod known;
mod names;
mod nodes;
mod observe;
mod seen;
mod spans;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use podtrail_event::{Gap, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Live, Observation, PodRow, Quarantined, Source};
use podtrail_watch::confirm::Confirmation;
use podtrail_watch::{Delta, NodeState, PodState, Rejected};

use known::Known;
use names::{ByHash, Names};
use nodes::{Nodes, Pen};
use seen::{Seen, Skew};
use spans::{Progress, Sign, Spans};

/// Reads back what a tracker has had committed.
pub trait Recall {
    /// The pod of row `id`.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn pod(&self, id: i64) -> Result<Option<PodRow>, podtrail_ledger::Error>;
    /// The pod with this UID.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn pod_by_uid(&self, uid: &str) -> Result<Option<PodRow>, podtrail_ledger::Error>;
    /// All claims that the pod of row `id` ever had.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn claims_of(&self, id: i64) -> Result<Vec<ClaimRow>, podtrail_ledger::Error>;
}

/// So many faults are known again when they come again.
const FAULTS: usize = 4096;

/// What a tracker has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Confirmations that came.
    pub confirmations: u64,
    /// Confirmations that said otherwise than the watch, and were right.
    pub divergences: u64,
    /// Gaps.
    pub gaps: u64,
    /// Listings that were completed.
    pub relists: u64,
    /// Input that could not be used.
    pub rejected: u64,
    /// Frames that came twice.
    pub duplicates: u64,
    /// Nodes whose clock was found to be off (each time that the bound grew).
    pub skews: u64,
    /// Events, by kind: created, address-assigned, address-released, deleted.
    pub events: [u64; 4],
}

/// Keeps claims from what a watch says: the decisions of tracking, without I/O or clock.
///
/// [`pods`](Self::pods), [`nodes`](Self::nodes) and [`confirmed`](Self::confirmed) take what was seen; the changes of the
/// ledger that follow gather until [`take`](Self::take) hands them over, to be committed together.
#[derive(Debug)]
pub struct Tracker {
    clock_error: Duration,
    pods: HashMap<i64, Box<Known>>,
    /// When a `GET` first did not find a pod; the watch may just be late.
    missing: HashMap<i64, Timestamp>,
    by_uid: ByHash,
    by_name: ByHash,
    nodes: Nodes,
    names: Names,
    /// Of nodes whose clocks were found to be off.
    skews: HashMap<Box<str>, Skew>,
    spans: Spans,
    progress: Progress,
    /// Number of the current listing, and what of it could not be read.
    listing: u32,
    unreadable: Vec<String>,
    listing_sent: Timestamp,
    /// A listing has begun and not ended: no version in it is one to resume from.
    listing_open: bool,
    /// Version that the watch had reached before the start: what is older is no news.
    resumed: u64,
    /// Version that the watch has reached.
    reached: u64,
    /// No frame that is still to come was made before this.
    floor: Timestamp,
    live: bool,
    next_pod: i64,
    next_claim: i64,
    changes: Vec<Change>,
    /// Where in `changes` a pod's row was written last.
    pending: HashMap<i64, usize>,
    /// Pods in `changes` that are gone: the store does not know of it yet.
    gone: HashMap<Box<str>, PodRow>,
    /// Faults of objects, by hash, that are quarantined already.
    faults: HashSet<u64>,
    born: Vec<i64>,
    dead: Vec<i64>,
    held: Vec<(i64, Timestamp)>,
    counts: Counts,
    open_claims: usize,
}

impl Tracker {
    /// A tracker that goes on from what the ledger holds.
    pub fn new(live: Live, clock_error: Duration) -> Self {
        let mut names = Names::default();
        let resumed = live.checkpoints.get("pods").and_then(|version| version.parse().ok()).unwrap_or(0);
        let mut tracker = Self {
            clock_error,
            pods: HashMap::with_capacity(live.pods.len()),
            missing: HashMap::new(),
            by_uid: ByHash::default(),
            by_name: ByHash::default(),
            nodes: Nodes::new(live.nodes, live.next.1),
            skews: live.skews.into_iter().map(|(node, fast, slow)| (node.into(), Skew { fast, slow })).collect(),
            spans: Spans::new(&live.coverage),
            progress: Progress::default(),
            listing: 0,
            unreadable: Vec::new(),
            listing_sent: Timestamp::MIN,
            listing_open: false,
            resumed,
            reached: resumed,
            floor: Timestamp::MIN,
            live: false,
            next_pod: live.next.0,
            next_claim: live.next.2,
            changes: Vec::new(),
            pending: HashMap::new(),
            gone: HashMap::new(),
            faults: HashSet::new(),
            born: Vec::new(),
            dead: Vec::new(),
            held: Vec::new(),
            counts: Counts::default(),
            open_claims: 0,
            names: Names::default(),
        };
        for row in live.pods {
            tracker.remember(Known::from_row(&row, &mut names));
        }
        tracker.names = names;
        // A pod's claims in the order in which it was given its addresses.
        let mut claims = live.claims;
        claims.sort_unstable_by_key(|claim| claim.id);
        for row in claims {
            tracker.adopt(row);
        }
        tracker
    }

    /// What has been counted since the start.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Pods that are not known to be gone.
    pub fn pods_known(&self) -> usize {
        self.pods.len()
    }

    /// Claims that have not ended.
    pub const fn open_claims(&self) -> usize {
        self.open_claims
    }

    /// The changes that have gathered since the last call.
    pub fn take(&mut self, now: Timestamp) -> Vec<Change> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let observation = Observation { held, ..Observation::default() };
            self.changes.push(Change::Observed(now, Source::Get, Box::new(observation)));
        }
        self.gone.clear();
        self.pending.clear();
        self.progress.take(&mut self.changes);
        std::mem::take(&mut self.changes)
    }

    /// The row numbers of pods that came and of pods that went since the last call: whom to confirm.
    pub fn take_turnover(&mut self) -> (Vec<i64>, Vec<i64>) {
        (std::mem::take(&mut self.born), std::mem::take(&mut self.dead))
    }

    /// Until when a source is known to have been watched without interruption.
    pub fn covered_until(&self, source: &str) -> Option<Timestamp> {
        self.spans.until(source)
    }

    /// The same, but `None` until this tracker has watched it: what was stored before says nothing of now.
    pub fn watched_until(&self, source: &str) -> Option<Timestamp> {
        self.spans.watched_until(source)
    }

    /// Takes a delta of the pods' watch; `now` is when.
    ///
    /// # Errors
    /// If the store cannot be read back: the delta is then taken in part, and the tracker is of no more use.
    pub fn pods(
        &mut self,
        delta: Delta<PodState>,
        now: Timestamp,
        store: &impl Recall,
    ) -> Result<(), podtrail_ledger::Error> {
        match delta {
            Delta::ListStarted { sent } => {
                self.listing += 1;
                self.listing_open = true;
                // A listing may be of a restored history, whose versions are others.
                self.resumed = 0;
                self.unreadable.clear();
                self.listing_sent = sent;
                self.floor = self.floor.max(sent);
                self.live = false;
            }
            Delta::Listed(state) => {
                let seen = Seen { source: Source::List, not_before: self.listing_sent, received: now, live: false };
                self.observe(state, &seen, false, store)?;
            }
            Delta::Snapshot { resource_version, received, gap, after_version, .. } => {
                self.end_listing(received, store)?;
                self.listing_open = false;
                self.counts.relists += 1;
                self.covered_anew("pods", received, gap, after_version);
                self.reached = resource_version.parse().unwrap_or(0);
                self.progress.reached("pods", resource_version);
            }
            Delta::Applied { object, received, live } => self.frame(object, received, live, false, store)?,
            Delta::Deleted { object, received, live } => self.frame(object, received, live, true, store)?,
            Delta::Bookmark { resource_version, received } => {
                self.live = true;
                self.reached = resource_version.parse().unwrap_or(self.reached);
                self.progress.reached("pods", resource_version);
                self.covered("pods", received, Sign::Heard);
            }
            Delta::Alive { since, at } => {
                self.live = true;
                self.covered("pods", at, Sign::Silence { since });
            }
            Delta::Duplicate { .. } => self.counts.duplicates += 1,
            Delta::Rejected(rejected) => {
                if self.listing_open {
                    self.unreadable.extend(rejected.key.clone());
                }
                self.reject(rejected, Source::Watch);
            }
            Delta::Disconnected { .. } => self.live = false,
            _ => {}
        }
        Ok(())
    }

    fn frame(
        &mut self,
        state: PodState,
        received: Timestamp,
        live: bool,
        gone: bool,
        store: &impl Recall,
    ) -> Result<(), podtrail_ledger::Error> {
        self.floor = self.floor.max(seen::api_stamp(&state).min(received));
        let version = state.resource_version;
        let seen = Seen { source: Source::Watch, not_before: self.floor, received, live };
        self.observe(state, &seen, gone, store)?;
        self.live = live;
        if !self.listing_open {
            self.reached = version;
            self.progress.reached("pods", version);
        }
        if live {
            self.covered("pods", received, Sign::Heard);
        }
        Ok(())
    }

    /// Pods that were not in the listing are gone, but those that could not be read in it.
    fn end_listing(&mut self, received: Timestamp, store: &impl Recall) -> Result<(), podtrail_ledger::Error> {
        let unreadable = std::mem::take(&mut self.unreadable);
        let missing: Vec<i64> = self
            .pods
            .values()
            .filter(|known| known.listed != self.listing)
            .filter(|known| !unreadable.iter().any(|key| known.is_named(key)))
            .map(|known| known.id)
            .collect();
        for id in missing {
            let ended = received.saturating_add(self.clock_error);
            self.gone_unseen(id, Source::List, received, ended, store)?;
        }
        Ok(())
    }

    /// Takes a delta of the nodes' watch; `now` is when.
    pub fn nodes(&mut self, delta: Delta<NodeState>, now: Timestamp) {
        let error = self.clock_error;
        let (next_claim, held, changes) = (&mut self.next_claim, &mut self.held, &mut self.changes);
        let mut pen = Pen { error, next_claim, held, changes };
        match delta {
            Delta::ListStarted { sent } => self.nodes.start_listing(sent),
            Delta::Listed(node) => self.nodes.listed(node, now, &mut pen),
            Delta::Snapshot { resource_version, received, gap, after_version, .. } => {
                self.nodes.end_listing(received, &mut pen);
                self.covered_anew("nodes", received, gap, after_version);
                self.progress.reached("nodes", resource_version);
            }
            Delta::Applied { object, received, live } => {
                let version = object.resource_version;
                self.nodes.applied(object, received, &mut pen);
                self.node_frame(version, received, live);
            }
            Delta::Deleted { object, received, live } => {
                self.nodes.deleted(&object.uid, received, &mut pen);
                self.node_frame(object.resource_version, received, live);
            }
            Delta::Bookmark { resource_version, received } => {
                self.progress.reached("nodes", resource_version);
                self.covered("nodes", received, Sign::Heard);
            }
            Delta::Alive { since, at } => self.covered("nodes", at, Sign::Silence { since }),
            Delta::Duplicate { .. } => self.counts.duplicates += 1,
            Delta::Rejected(rejected) => {
                self.nodes.unreadable(rejected.key.as_deref());
                self.reject(rejected, Source::Watch);
            }
            _ => {}
        }
    }

    fn node_frame(&mut self, version: u64, received: Timestamp, live: bool) {
        if !self.nodes.is_listing() {
            self.progress.reached("nodes", version);
        }
        if live {
            self.covered("nodes", received, Sign::Heard);
        }
    }

    fn covered(&mut self, source: &'static str, at: Timestamp, sign: Sign) {
        if let Some(span) = self.spans.extend(source, at, sign) {
            self.progress.covered(source, span);
        }
    }

    fn covered_anew(&mut self, source: &'static str, since: Timestamp, gap: Option<Gap>, after: Option<String>) {
        // Without a version to resume from the watch knows of no gap; the ledger knows that there is one.
        let gap = gap.or_else(|| self.spans.gap_before(source, since));
        if let Some(gap) = gap {
            self.counts.gaps += 1;
            // The id is made of where the gap begins; without a version that is a time.
            let after = after.unwrap_or_else(|| gap.from.to_string());
            let observation = Observation { gap: Some((gap, after)), ..Observation::default() };
            self.changes.push(Change::Observed(since, Source::Tracker, Box::new(observation)));
        }
        // However short it was, or whatever the clock says: the spans beside a gap do not touch.
        let since =
            self.spans.until(source).map_or(since, |until| since.max(until.saturating_add(Duration::from_nanos(1))));
        let span = self.spans.begin(source, since);
        self.progress.covered(source, span);
    }

    fn reject(&mut self, rejected: Rejected, source: Source) {
        self.counts.rejected += 1;
        // A fault of an object comes again with each of its frames.
        let fault = ByHash::hash((&rejected.key, &rejected.reason, &rejected.sha256));
        if rejected.key.is_some() && !self.faults.insert(fault) {
            return;
        }
        if self.faults.len() > FAULTS {
            self.faults.clear();
        }
        let Rejected { key, reason, excerpt, length, sha256, received, .. } = rejected;
        let quarantined = Some(Quarantined { key, reason, excerpt, length, sha256: Some(sha256) });
        let observation = Observation { quarantined, ..Observation::default() };
        self.changes.push(Change::Observed(received, source, Box::new(observation)));
    }

    /// Whom to ask for with a `GET`: namespace and name of the pod of row `id`, if it is not known to be gone.
    pub fn target(&self, id: i64) -> Option<(&str, &str)> {
        self.pods.get(&id).map(|known| (known.namespace.as_str(), &*known.name))
    }

    /// Takes the answer to a `GET` of the pod of row `id`. Whether it must be asked again soon: what it said differs from
    /// the watch, which may only be late.
    ///
    /// # Errors
    /// If the store cannot be read back: the tracker is then of no more use.
    pub fn confirmed(
        &mut self,
        id: i64,
        got: Confirmation,
        store: &impl Recall,
    ) -> Result<bool, podtrail_ledger::Error> {
        if !self.pods.contains_key(&id) {
            return Ok(false);
        }
        self.counts.confirmations += 1;
        got.rejected.into_iter().for_each(|rejected| self.reject(rejected, Source::Get));
        let Some(known) = self.pods.get_mut(&id) else { return Ok(false) };
        let Some(found) = got.found.filter(|found| *found.pod.uid == *known.uid) else {
            let since = *self.missing.entry(id).or_insert(got.received);
            if since == got.received || !self.live {
                return Ok(true);
            }
            self.counts.divergences += 1;
            self.gone_unseen(id, Source::Get, got.received, since.saturating_add(self.clock_error), store)?;
            return Ok(false);
        };
        self.missing.remove(&id);
        if found.resource_version > known.version.max(self.resumed) {
            if found.resource_version > self.reached {
                // The watch has not got there yet. Taken now, it would hide what the watch has still to tell.
                return Ok(true);
            }
            self.counts.divergences += 1;
        }
        let seen = Seen { source: Source::Get, not_before: got.sent, received: got.received, live: false };
        self.observe(found, &seen, false, store)?;
        Ok(false)
    }
}
