use crate::counters::Counters;
use crate::identity::Key;
use crate::living::Slot;

/// What a connection's counters mean, given what was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever ignored one would lose bytes")]
pub enum Step {
    /// Nothing since last time.
    Unchanged,
    /// It was closed already: this was read before it ended, or said twice. There is nothing to record.
    Duplicate,
    /// There is no room for it. It is counted as soon as there is, or when it ends.
    Refused,
    /// Something to record.
    Counted(Delta),
    /// A counter is less than it was: this is another incarnation, or somebody zeroed the counters.
    Restarted {
        /// The one before, which ended unseen.
        before: Incarnation,
        /// The one that is seen.
        now: Delta,
    },
}

/// What is to be added to what was recorded of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta {
    /// Where its state is kept, or was until this closed it; `None` if it was closed without having been kept.
    pub slot: Option<Slot>,
    /// Which of those with its key it is.
    pub generation: u32,
    /// What is new; zero is possible.
    pub delta: Counters,
    /// All that was counted of it, with `delta`.
    pub total: Counters,
    /// Whether this is the first that is recorded of it, so that `delta` is `total`.
    pub is_new: bool,
    /// How many complete snapshots there were since it was counted last that did not count it: since the one before those began,
    /// `delta` went. Of one that was restored, as many as it can be: 2.
    pub missed: u8,
}

/// One of the connections that had the same key: unless the kernel stamps connections, it uses identities again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incarnation {
    /// Where its state is kept, or was until now.
    pub slot: Slot,
    /// Which connection it is.
    pub key: Key,
    /// Which of those with this key it is.
    pub generation: u32,
    /// All that was counted of it.
    pub total: Counters,
    /// How many complete snapshots there were since it was counted last; see [`Delta::missed`].
    pub missed: u8,
}
