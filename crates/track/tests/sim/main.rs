//! The whole of tracking against a simulated API server over loopback: watch, confirmations, commit loop and ledger.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod feed;
mod gap;
mod harness;
mod heal;
