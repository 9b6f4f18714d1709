//! Who held an address, when: interval algebra, an in-memory index, and (feature `sqlite`) a durable store.
//!
//! A [`Interval`] has four bounds, and [`Evidence`] only ever tightens them, in any order. [`decide`] says who held an
//! address at an instant, and never guesses: an [`Answer`] is certain, presumed, ambiguous, nobody, or unknown. [`Index`]
//! answers from memory in well under a microsecond.
//!
//! ```
//! use std::time::Duration;
//! use podtrail_event::Timestamp;
//! use podtrail_ledger::{Answer, Coverage, Evidence, Interval, Uncovered, decide};
//!
//! let t = Timestamp::from_second;
//! let mut pod = Interval::starting(t(10), t(12));
//! pod.tighten(Evidence::HeldUntil(t(40)));
//! pod.tighten(Evidence::EndedBy(t(45)));
//! let coverage = Coverage::new([(t(0), t(100))], Duration::from_secs(1));
//!
//! let owner = |at| decide([("web-1", pod)], &coverage, t(at));
//! assert_eq!(owner(5), Answer::Nobody);
//! assert_eq!(owner(30), Answer::Certain("web-1"));
//! assert_eq!(owner(42), Answer::Ambiguous(vec!["web-1"])); // it, or nobody
//! assert_eq!(owner(200), Answer::Unknown(Uncovered::NotYet, vec![]));
//! ```
//!
//! Without `sqlite` this crate reads no clock, opens nothing and knows no runtime. It does not watch anything either: that
//! is `podtrail-watch` and `podtrail-track`.
//!
//! # Features
//!
//! - `sqlite`: `Store`, one SQLite file with evidence, claims, gaps, checkpoints and outbox positions.

mod exclusive;
mod index;
mod interval;
mod owner;

#[cfg(feature = "sqlite")]
mod error;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use index::Index;
pub use interval::{Coverage, Evidence, Interval, Uncovered};
pub use owner::{Answer, decide};

#[cfg(feature = "sqlite")]
pub use error::{Error, ErrorKind};
#[cfg(feature = "sqlite")]
pub use sqlite::{
    Change, ClaimRow, DeadLetter, Filter, Happened, Header, Held, Live, NodeRow, Observation, OwnerReply, PodRow,
    Pruned, Quarantined, Retention, SinkPosition, Source, Span, Store, StoredObservation, Timeline, Verified, Watched,
};
