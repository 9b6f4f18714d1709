//! The streams against a simulated API server over loopback, with everything that can go wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod gaps;
mod harness;
mod requests;
