//! What an observation tells of when, pure: stamps and receipt times in, bounds out.

use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_ledger::{Evidence, Interval, Source};
use podtrail_watch::PodState;

/// Stamps of the API are whole seconds, cut off.
const STAMP: Duration = Duration::from_secs(1);

/// How and when a state was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) source: Source,
    /// The state was so at some time from here on: a request was sent, or an earlier frame of the stream was made.
    pub(super) not_before: Timestamp,
    /// And had been reached by then.
    pub(super) received: Timestamp,
    /// `received` is close to when it was reached.
    pub(super) live: bool,
}

/// By how much a node's clock is known to be off, beyond what any clock may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skew {
    /// Its stamps are at most so much too late.
    pub(super) fast: Duration,
    /// Its stamps are at most so much too early.
    pub(super) slow: Duration,
}

impl Skew {
    /// Learns from a state: a stamp from after we had read it, or a start from before the pod was scheduled.
    pub(super) fn learn(&mut self, state: &PodState, received: Timestamp) -> bool {
        let before = *self;
        let stamps = [state.kubelet_started, state.running_since, state.finished];
        let latest = stamps.into_iter().flatten().max().unwrap_or(Timestamp::MIN);
        if latest > received {
            self.fast = self.fast.max(latest.saturating_duration_since(received) + STAMP);
        }
        if let (Some(scheduled), Some(started), false) = (state.scheduled, state.kubelet_started, state.mirror) {
            let behind = scheduled.saturating_duration_since(started);
            if !behind.is_zero() {
                self.slow = self.slow.max(behind + STAMP);
            }
        }
        *self != before
    }
}

/// The times that a state gives, with the error of the clocks taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A claim that is new in this state began no earlier.
    pub(super) start_earliest: Timestamp,
    /// One that the pod has had since it began to run began no later.
    pub(super) start_latest: Timestamp,
    /// Any that it shows began no later.
    pub(super) shown: Timestamp,
    /// Its claims were still held at this.
    pub(super) held_until: Option<Timestamp>,
    /// And no later than this, whatever was seen before: the API shows an address until its kubelet says otherwise, which
    /// may be late.
    pub(super) last_word: Option<Timestamp>,
    /// Its claims may end, or have ended.
    pub(super) may_end: bool,
    /// What is gone in this state had ended by this.
    pub(super) ended: Timestamp,
}

impl Times {
    pub(super) fn of(state: &PodState, seen: &Seen, skew: Skew, error: Duration) -> Self {
        let shown = seen.received.saturating_add(error);
        let ran = state.running_since.map(|t| t.saturating_add(STAMP + error + skew.slow));
        let start_latest = if seen.live { shown } else { ran.map_or(shown, |t| t.min(shown)) };
        let finished = state.finished.map(|t| t.saturating_sub(error + skew.fast));
        // A deadline without its grace does not say when it was asked for.
        let asked = state.grace.and_then(|grace| Some(state.pod.deletion?.saturating_sub(grace).saturating_sub(error)));
        let deleting = state.pod.deletion.is_some();
        let held_until = match (state.phase.is_terminal(), deleting) {
            (true, _) => finished,
            (false, true) => finished.or(asked),
            (false, false) => Some(seen.not_before.saturating_sub(error)),
        };
        Self {
            start_earliest: start_earliest(state, skew, error),
            start_latest,
            shown,
            held_until,
            last_word: held_until.filter(|_| state.phase.is_terminal() || (deleting && state.finished.is_some())),
            may_end: deleting || state.phase.is_terminal(),
            ended: shown,
        }
    }

    /// What these times are evidence of, for a claim that the pod shows.
    pub(super) fn tighten(&self, interval: &mut Interval) -> bool {
        let held = self.held_until.is_some_and(|t| interval.tighten(Evidence::HeldUntil(t)));
        let end = self.may_end && interval.tighten(Evidence::MayEnd);
        let less = self.last_word.is_some_and(|t| t < interval.end_earliest);
        if let Some(t) = self.last_word {
            interval.end_earliest = interval.end_earliest.min(t);
        }
        held | end | less
    }
}

/// No sandbox is made before the pod is made and bound to a node; but a static pod runs before the API knows of it.
fn start_earliest(state: &PodState, skew: Skew, error: Duration) -> Timestamp {
    let created = state.pod.created.unwrap_or(Timestamp::MIN);
    let from = if state.mirror {
        state.kubelet_started.map_or(created, |started| started.saturating_sub(skew.fast).min(created))
    } else {
        state.scheduled.map_or(created, |scheduled| scheduled.max(created))
    };
    from.saturating_sub(error)
}

/// The latest stamp in a state that the API's own servers made: what comes later in the stream was made later.
pub(super) fn api_stamp(state: &PodState) -> Timestamp {
    let asked = state.grace.and_then(|grace| Some(state.pod.deletion?.saturating_sub(grace)));
    // A static pod is scheduled by its kubelet, whose clock may be wrong.
    let scheduled = state.scheduled.filter(|_| !state.mirror);
    [state.pod.created, scheduled, asked].into_iter().flatten().max().unwrap_or(Timestamp::MIN)
}

/// Whether its kubelet says that it has ended. While it shows a container as running, the phase is another's word, given
/// for a node that does not answer.
pub(super) fn over(state: &PodState) -> bool {
    state.phase.is_terminal() && !state.running
}

/// Whether a pod whose object is removed may still hold its addresses: it was removed without its kubelet's word that it
/// has ended. A container that has ended may be one that will be started again.
pub(super) fn forced(last: &PodState) -> bool {
    let asked = last.pod.deletion.is_some() && last.grace.is_none_or(|grace| !grace.is_zero());
    !asked && !over(last) && !last.addresses.is_empty()
}
