//! The durable store: what it keeps, what it refuses, what it answers.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commit;
mod disk;
mod history;
mod kill;
mod ledger;
mod migrate;
mod owner;
mod refuse;
mod retention;
mod sinks;
mod verify;

#[path = "../truth/mod.rs"]
mod truth;
