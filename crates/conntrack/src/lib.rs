//! Read the Linux kernel's connection table over ctnetlink.
//!
//! [`Table`] reads, looks up, inserts and deletes what netfilter tracks: both tuples (so that translated addresses are visible),
//! counters of packets and bytes, times, marks, zones, labels. It speaks ctnetlink itself, allocates nothing for a connection,
//! and needs `CAP_NET_ADMIN` and no library.
//!
//! ```no_run
//! use podtrail_conntrack::{Filter, Table};
//!
//! let mut table = Table::open()?;
//! let mut dump = table.dump(&Filter::default())?;
//! while let Some(connection) = dump.next() {
//!     let connection = connection?;
//!     let bytes = connection.original_counters.unwrap_or_default().bytes;
//!     println!("{} {}, {bytes} bytes", connection.original.protocol, connection.original);
//! }
//! # Ok::<(), podtrail_conntrack::Error>(())
//! ```
//!
//! # Main types
//!
//! - [`Table`]: the table of a network namespace. Another one's than the thread's is opened through
//!   [`podtrail_netns::Netns`].
//! - [`Dump`]: all connections, lent one at a time.
//! - [`Filter`]: which of them are wanted; the kernel leaves out what it can.
//! - [`Events`]: the ends of connections as they happen, and their beginnings and changes on request; none is lost in reliable
//!   mode, which a [`Watchdog`] leaves in time. A [`Journal`] keeps them until they are dealt with.
//! - [`Preflight`]: which of the kernel's settings are off, and what each costs.
//! - [`wire::Connection`], [`wire::Tuple`]: what is known of a connection.
//! - [`wire`]: the bytes, for who has a socket of their own.
//!
//! # What it does not do
//!
//! It knows no pods, changes no sysctl unless it is told to, and never zeroes a counter. Counters and times are there if the sysctls
//! `net.netfilter.nf_conntrack_acct` and `nf_conntrack_timestamp` were on when a connection began.
//!
//! On other systems than Linux there are [`wire`] and [`Filter`] only, for messages that come from elsewhere.
//!
//! # Features
//!
//! - `tokio`: `AsyncEvents`, for programs on tokio.

mod filter;
#[cfg(target_os = "linux")]
mod linux;
pub mod wire;

pub use filter::{Family, Filter};
#[cfg(all(target_os = "linux", feature = "tokio"))]
pub use linux::AsyncEvents;
#[cfg(target_os = "linux")]
pub use linux::{
    Chunk, Dump, Error, ErrorKind, Event, EventMode, Events, Filled, Finding, FindingKind, Journal, Preflight, Queue,
    Result, Subscription, Table, Trouble, Verdict, Vitals, Watchdog, WatchdogConfig, receive_buffer,
};
