//! The program as its users meet it: the built binary, its exit codes, what it prints, what it serves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod demo;
mod harness;
mod ledger;
mod operating;
mod refusals;
mod run;
mod sinks;
