//! The bytes of ctnetlink: pure functions that allocate nothing and know no socket.
//!
//! [`Messages`] takes a datagram apart; [`Message::connection`] reads a connection in place. Unknown attributes are skipped.
//! Whatever else is not as the kernel makes it is a [`Malformed`] that says what is wrong with which part.
//!
//! ```
//! use podtrail_conntrack::wire::{self, Connection, Messages, Protocol, Tuple};
//!
//! let original = Tuple::with_ports(Protocol::TCP, "10.0.0.1:4711".parse()?, "10.0.0.2:80".parse()?);
//! let connection = Connection::new(original, original.inverse());
//! let mut buffer = [0; wire::REQUEST_ROOM];
//! let datagram = wire::insert(&mut buffer, 1, &connection)?;
//!
//! for message in Messages::new(datagram) {
//!     assert_eq!(message?.connection()?, connection);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod connection;
mod constants;
mod encode;
mod malformed;
mod message;
mod parse;
mod stats;
#[cfg(test)]
mod tests;
mod tuple;

pub use connection::{Connection, Counters, Status, TcpState};
pub use encode::{REQUEST_ROOM, delete, dump, dump_of_half_a_reply, dying, flush, get, insert, stats, stats_cpu};
pub use malformed::{Malformed, MalformedKind};
pub use message::{Kind, Message, Messages};
pub use stats::Stats;
pub use tuple::{Protocol, Transport, Tuple};
