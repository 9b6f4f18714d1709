use std::time::Duration;

use podtrail_event::{Gap, Timestamp};

use crate::digest::Sha256;

/// Where a watch can be resumed: what a consumer stores with what it made of the deltas up to here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built by whoever stores it")]
pub struct Checkpoint {
    /// The version of the last delta that was taken.
    pub resource_version: String,
    /// Until when the deltas taken are known to be all that happened: `sent` of a snapshot, `received` of a live
    /// change or a bookmark. Not `at` of a [`Delta::Alive`], which silence suggests and a gap may take back.
    pub covered_until: Timestamp,
}

/// A change, or a word about the stream itself. `T` is [`PodState`](crate::PodState) or [`NodeState`](crate::NodeState).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Delta<T> {
    /// A listing begins: what is not listed before its [`Snapshot`](Self::Snapshot) is gone, unless it was
    /// [`Rejected`](Self::Rejected) meanwhile. Said again if the listing starts over.
    ListStarted {
        /// When the list was asked for.
        sent: Timestamp,
    },
    /// One object of the listing. A later one of the same UID replaces an earlier; a [`Deleted`](Self::Deleted) inside
    /// a listing takes it back.
    Listed(T),
    /// The end of a listing: the objects listed are all that there were at some instant in `[sent, received]`.
    Snapshot {
        /// The version of the listing.
        resource_version: String,
        /// When the list was asked for.
        sent: Timestamp,
        /// When its first page, or the end of a streaming list, had come.
        received: Timestamp,
        /// What was not watched before it; `None` at a first start.
        gap: Option<Gap>,
        /// The version that the watch had reached before the gap.
        after_version: Option<String>,
    },
    /// An object was created or changed.
    Applied {
        /// Its new state.
        object: T,
        /// When the frame came.
        received: Timestamp,
        /// The stream had caught up when it came, so `received` is close to when it happened.
        live: bool,
    },
    /// An object was removed.
    Deleted {
        /// Its last state.
        object: T,
        /// When the frame came.
        received: Timestamp,
        /// As of [`Applied`](Self::Applied).
        live: bool,
    },
    /// The frame of a change came a second time in a row; there is nothing to do but count it.
    Duplicate {
        /// When it came.
        received: Timestamp,
    },
    /// All changes up to this version have been given.
    Bookmark {
        /// The version.
        resource_version: String,
        /// When it came.
        received: Timestamp,
    },
    /// Nothing new, still connected and caught up: coverage extends to `at`, unless the gap of a later snapshot begins
    /// before it.
    Alive {
        /// When the watch was opened, if nothing came of it yet: what happened before may still be told.
        since: Option<Timestamp>,
        /// Now.
        at: Timestamp,
    },
    /// Input that could not be used, or not in full; the rest of it was.
    Rejected(Rejected),
    /// The API server answers (again).
    Connected {
        /// Since when.
        at: Timestamp,
    },
    /// The API server does not answer as it should; it will be asked again. A watch that the server ends in good order,
    /// and that is resumed at once, is not a disconnection.
    Disconnected {
        /// Since when.
        at: Timestamp,
        /// Why, for people.
        reason: String,
        /// When it will be asked again.
        retry_in: Duration,
    },
}

/// Input that could not be used: what a receiver records of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// Of which object: `namespace/name` of a pod, `name` of a node, where that could be read.
    pub key: Option<String>,
    /// Why it was refused, for people.
    pub reason: String,
    /// The first 256 bytes of what was refused (a field's value, or a whole frame), with what is not printable ASCII
    /// escaped.
    pub excerpt: String,
    /// How many bytes were refused.
    pub length: usize,
    /// SHA-256 of all of them, in hexadecimal.
    pub sha256: String,
    /// When they came.
    pub received: Timestamp,
}

impl Rejected {
    const EXCERPT: usize = 256;

    pub(crate) fn new(key: Option<String>, reason: impl Into<String>, input: &[u8], received: Timestamp) -> Self {
        let excerpt = input[..input.len().min(Self::EXCERPT)].escape_ascii().to_string();
        Self { key, reason: reason.into(), excerpt, length: input.len(), sha256: Sha256::of(input), received }
    }
}

/// Where the faults of one object are reported: bounded, because an object can hold very many.
pub(crate) struct Report<'r> {
    key: String,
    received: Timestamp,
    left: usize,
    faults: usize,
    rejected: &'r mut Vec<Rejected>,
}

impl<'r> Report<'r> {
    const MOST: usize = 64;

    pub(crate) fn new(key: String, received: Timestamp, rejected: &'r mut Vec<Rejected>) -> Self {
        Self { key, received, left: Self::MOST, faults: 0, rejected }
    }

    /// How many faults there are so far.
    pub(crate) fn faults(&self) -> usize {
        self.faults
    }

    /// Notes that `value` is not used, and why. After 64 faults of an object the others only count as "more".
    pub(crate) fn add(&mut self, reason: &str, value: &str) {
        self.faults += 1;
        let reason = match self.left {
            0 => return,
            1 => "more faults than are listed",
            _ => reason,
        };
        self.left -= 1;
        self.rejected.push(Rejected::new(Some(self.key.clone()), reason, value.as_bytes(), self.received));
    }
}
