use std::time::Duration;

use podtrail_event::{Bounds, Timestamp};
use serde::{Deserialize, Serialize};

/// One thing learnt of when something was held. Each kind moves one bound, and only inwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an interval has these bounds and no more")]
pub enum Evidence {
    /// It began no earlier than this.
    NotBefore(Timestamp),
    /// It had begun by this.
    HeldBy(Timestamp),
    /// It was still held at this.
    HeldUntil(Timestamp),
    /// Nothing says any more that it is held: it may end, or have ended, at any time after the last `HeldUntil`.
    MayEnd,
    /// It had ended by this.
    EndedBy(Timestamp),
}

/// When something was held: it began within [`start`](Self::start) and ended within [`end`](Self::end).
///
/// ```text
///   start.earliest   start.latest        end.earliest   end.latest
/// ────────┼──── maybe ────┼──── certainly ────┼──── maybe ────┼────────
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "four bounds and whether the end was announced")]
pub struct Interval {
    /// Not held before this.
    pub start_earliest: Timestamp,
    /// Held by this.
    pub start_latest: Timestamp,
    /// Still held at this, if not earlier than `start_latest`; [`Timestamp::MIN`] until anything shows it.
    pub end_earliest: Timestamp,
    /// No longer held after this.
    pub end_latest: Option<Timestamp>,
    /// It may have ended since `end_earliest`.
    pub may_end: bool,
}

impl Interval {
    /// Held from somewhere within these bounds, and since.
    pub const fn starting(earliest: Timestamp, latest: Timestamp) -> Self {
        Self {
            start_earliest: earliest,
            start_latest: latest,
            end_earliest: Timestamp::MIN,
            end_latest: None,
            may_end: false,
        }
    }

    /// Takes `evidence` into account; the order in which evidence comes makes no difference. Whether it told anything new.
    pub fn tighten(&mut self, evidence: Evidence) -> bool {
        let before = *self;
        match evidence {
            Evidence::NotBefore(t) => self.start_earliest = self.start_earliest.max(t),
            Evidence::HeldBy(t) => self.start_latest = self.start_latest.min(t),
            Evidence::HeldUntil(t) => self.end_earliest = self.end_earliest.max(t),
            Evidence::MayEnd => self.may_end = true,
            // That it ends some day says nothing; `Index` has no room for it.
            Evidence::EndedBy(Timestamp::MAX) => {}
            Evidence::EndedBy(t) => self.end_latest = Some(self.end_latest.map_or(t, |e| e.min(t))),
        }
        *self != before
    }

    /// Whether it was held at `at` beyond doubt.
    pub fn certain_at(&self, at: Timestamp) -> bool {
        let (start, end) = (self.start_earliest.max(self.start_latest), self.end_latest.unwrap_or(Timestamp::MAX));
        start <= at && at <= self.end_earliest.min(end)
    }

    /// Whether it may have been held at `at`.
    ///
    /// Where evidence contradicts itself (held after it had ended), all that any of it allows is possible.
    pub fn possible_at(&self, at: Timestamp) -> bool {
        self.start_earliest.min(self.start_latest) <= at
            && self.end_latest.is_none_or(|end| at <= end.max(self.end_earliest))
    }

    /// Whether nothing speaks against its being held at `at`, though the last sign of it is older.
    pub fn presumed_at(&self, at: Timestamp) -> bool {
        self.start_latest <= at && self.end_latest.is_none() && !self.may_end
    }

    /// When it began.
    pub const fn start(&self) -> Bounds {
        Bounds { earliest: self.start_earliest, latest: Some(self.start_latest) }
    }

    /// When it ended: `None` while it is held, `latest: None` when it may have ended.
    pub fn end(&self) -> Option<Bounds> {
        let earliest = self.end_earliest.max(self.start_earliest);
        (self.may_end || self.end_latest.is_some()).then_some(Bounds { earliest, latest: self.end_latest })
    }
}

/// What was watched without interruption, by a clock that may be wrong by `clock_error`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    spans: Vec<(Timestamp, Timestamp)>,
    clock_error: Duration,
}

/// Where an instant lies that was not watched, or not well enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Uncovered {
    /// Before anything was watched.
    BeforeHistory,
    /// Between two spans that were.
    Gap,
    /// After the last that is known to be complete.
    NotYet,
    /// Within what was watched, but only users of the address were seen, and not its owner.
    Unseen,
}

impl Coverage {
    /// Of these spans, in any order; those that touch or overlap are one.
    pub fn new(spans: impl IntoIterator<Item = (Timestamp, Timestamp)>, clock_error: Duration) -> Self {
        let mut sorted: Vec<_> = spans.into_iter().filter(|(from, until)| from <= until).collect();
        sorted.sort_unstable();
        let mut spans: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(sorted.len());
        for (from, until) in sorted {
            match spans.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => spans.push((from, until)),
            }
        }
        Self { spans, clock_error }
    }

    /// What both cover.
    pub fn intersect(&self, other: &Self) -> Self {
        let clock_error = self.clock_error.max(other.clock_error);
        let mut spans = Vec::new();
        let (mut ours, mut theirs) = (self.spans.iter().peekable(), other.spans.iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            spans.push((a.0.max(b.0), a.1.min(b.1)));
            // The one that ends first meets nothing more.
            if a.1 <= b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self::new(spans, clock_error)
    }

    /// What is left of it without these gaps, each from its first instant to its last.
    ///
    /// A gap may begin within a span: that nothing was heard was first taken for that nothing happened.
    pub fn without(&self, gaps: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        let mut spans = self.spans.clone();
        for (from, to) in gaps {
            let parts = spans.into_iter().flat_map(|(start, until)| {
                let apart = until < from || to < start;
                // The second part of a span that is whole begins after it has ended: it is none.
                if apart { [(start, until), (Timestamp::MAX, until)] } else { [(start, from), (to, until)] }
            });
            spans = parts.filter(|(start, until)| start <= until).collect();
        }
        Self { spans, clock_error: self.clock_error }
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[(Timestamp, Timestamp)] {
        &self.spans
    }

    /// By how much the clock that they were measured with may be wrong.
    pub const fn clock_error(&self) -> Duration {
        self.clock_error
    }

    /// Whether all was seen that happened at `at`; if not, where `at` lies.
    ///
    /// # Errors
    /// An instant that was not watched is the error: it says which kind.
    pub fn check(&self, at: Timestamp) -> Result<(), Uncovered> {
        let after = self.spans.partition_point(|(from, _)| from.saturating_add(self.clock_error) <= at);
        match after.checked_sub(1).map(|i| self.spans[i].1) {
            None => Err(Uncovered::BeforeHistory),
            Some(until) if at <= until.saturating_sub(self.clock_error) => Ok(()),
            Some(_) if after == self.spans.len() => Err(Uncovered::NotYet),
            Some(_) => Err(Uncovered::Gap),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
