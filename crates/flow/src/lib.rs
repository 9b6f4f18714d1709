//! Count every byte of every connection once: from counters of the kernel to deltas.
//!
//! The kernel shows what a connection has carried so far whenever its table is read, and once more when the connection
//! ends. [`Meter`] turns that into what is new since last time, so that the sum of all deltas is what was carried, whatever
//! comes twice, late or not at all, and whenever the process dies.
//!
//! ```
//! use podtrail_flow::{Counters, Identity, Meter, Step};
//!
//! let identity = Identity {
//!     netns: 1,
//!     zone: 0,
//!     protocol: 6,
//!     src: "10.0.0.1".parse()?,
//!     dst: "10.0.0.2".parse()?,
//!     ports: (4711, 443),
//!     direction_zone: 0,
//!     id: 0x5eed,
//!     start: Some(1_764_000_000_000_000_000),
//! };
//! let key = identity.key();
//! let carried = |bytes| Counters { original_packets: 1, original_bytes: bytes, ..Counters::default() };
//! let mut meter = Meter::new(200_000);
//!
//! meter.begin(); // the table is read
//! let Step::Counted(first) = meter.observe(key, carried(100)) else { panic!("it is new") };
//! assert!(first.is_new && first.delta == carried(100));
//! meter.end(true, |gone| panic!("{gone:?} was seen"));
//!
//! let Step::Counted(last) = meter.close(key, carried(140)) else { panic!("40 bytes are new") };
//! assert_eq!(last.delta.original_bytes, 40);
//! assert_eq!(meter.close(key, carried(140)), Step::Duplicate); // said again
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! # Main types
//!
//! - [`Meter`]: what was counted of each living connection, in bounded memory.
//! - [`Identity`], [`Key`]: what tells one connection from every other, and its fingerprint.
//! - [`Step`], [`Delta`], [`Incarnation`]: what something new means, to be recorded.
//! - [`Account`], [`Output`], [`Record`]: a meter for one network namespace that says what it counted, as lines of JSON.
//! - [`Slot`]: where the state of a connection is kept, here and in a store.
//!
//! # What it does not do
//!
//! It reads no kernel, no clock and no file, and knows no pods. It saves nothing: that is the caller's part, see
//! [`Meter`].
//!
//! # Features
//!
//! None.

mod account;
mod closed;
mod connection;
mod counters;
mod error;
mod identity;
mod living;
mod meter;
mod record;
mod saved;
mod step;

pub use account::{Account, Output, Reads};
pub use connection::{Connection, Direction};
pub use counters::Counters;
pub use error::{Error, ErrorKind, Result};
pub use identity::{Identity, Key};
pub use living::Slot;
pub use meter::{Meter, Stats};
pub use record::{Gap, GapReason, Origin, Record};
pub use step::{Delta, Incarnation, Step};
