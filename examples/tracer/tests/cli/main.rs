//! The program as its users meet it, on a node whose container runtime and API server the test plays.
//!
//! As root the pod has a network namespace of its own, else it has the test's, which everybody may enter.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod annotate;
#[cfg(feature = "api")]
mod api;
mod audit;
mod capture;
mod container;
#[allow(dead_code, reason = "the crate that it belongs to has tests for the rest")]
#[path = "../../../../crates/cri/tests/cri/fake/mod.rs"]
mod fake;
mod forms;
mod harness;
mod life;
mod look;
mod many;
mod output;
mod refusals;
#[path = "../../../../crates/netns/tests/skip/mod.rs"]
mod skip;
mod streams;
mod terminal;
