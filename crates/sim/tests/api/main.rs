//! What clients of the simulated API see, over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod faults;
mod life;
mod list;
mod server;
mod watch;
