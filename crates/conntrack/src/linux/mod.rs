//! What needs the Linux kernel.

#[cfg(feature = "tokio")]
mod async_events;
mod dump;
mod error;
mod events;
mod journal;
mod preflight;
mod socket;
mod sockopt;
mod table;
mod watchdog;

#[cfg(feature = "tokio")]
pub use async_events::AsyncEvents;
pub use dump::Dump;
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Events, Subscription, receive_buffer};
pub use journal::{Chunk, Filled, Journal};
pub use preflight::{EventMode, Finding, FindingKind, Preflight};
pub use sockopt::Queue;
pub use table::Table;
pub use watchdog::{Trouble, Verdict, Vitals, Watchdog, WatchdogConfig};
