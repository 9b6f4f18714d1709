use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use podtrail_event::Timestamp;

/// Where a cluster takes "now" from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
    System,
    /// A clock that stands still until told otherwise.
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from(SystemTime::now()),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// A clock moved by hand; clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_nanosecond())))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.0.load(Ordering::SeqCst))
    }

    /// Shows `at` from now on, be it earlier or later.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_nanosecond(), Ordering::SeqCst);
    }

    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self::Manual(clock)
    }
}

/// How a node's wall clock differs from the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skew {
    /// The node's clock shows a later time.
    Ahead(Duration),
    /// The node's clock shows an earlier time.
    Behind(Duration),
}

impl Skew {
    pub(crate) fn apply(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Ahead(by) => at.saturating_add(by),
            Self::Behind(by) => at.saturating_sub(by),
        }
    }
}

/// A `metav1.Time`: whole seconds, truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(i64);

impl From<Timestamp> for Stamp {
    fn from(at: Timestamp) -> Self {
        Self(at.as_nanosecond().div_euclid(1_000_000_000))
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Timestamp::from_second(self.0).fmt(f)
    }
}
