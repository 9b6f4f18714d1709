//! What makes tools name the wrong pod, one named story each: the tracker over a real ledger, with every time given.
//!
//! After each story the ledger must verify and no two records may have one id.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clocks;
mod confirmations;
mod ends;
mod events;
mod gaps;
mod harness;
mod identity;
mod nodes;
mod restarts;
mod reuse;
