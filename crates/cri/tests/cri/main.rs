//! The client against a runtime that says what a test wants, the kernel, and the proto it is generated from.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod fake;
mod generated;
#[cfg(target_os = "linux")]
mod linux;
mod malformed;
mod runtime;
#[cfg(target_os = "linux")]
#[path = "../../../netns/tests/skip/mod.rs"]
mod skip;
