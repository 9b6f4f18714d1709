//! The spool, in a file and in memory.

#![cfg(feature = "spool")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod files;
mod full;
mod harness;
mod kill;
mod model;
mod source;
