//! Name, pin and run in a Linux network namespace.
//!
//! A [`Netns`] is an open descriptor: the namespace lives at least as long as it does, and it stays the same namespace whatever
//! happens to the path or the process it was opened through. Two are equal when their device and inode are.
//!
//! ```
//! use podtrail_netns::Netns;
//!
//! let here = Netns::current()?;
//! assert_eq!(here, Netns::open("/proc/self/ns/net")?);
//! println!("network namespace {}", here.inode());
//! # Ok::<(), podtrail_netns::Error>(())
//! ```
//!
//! [`Netns::run`] executes a closure inside, which needs `CAP_SYS_ADMIN`:
//!
//! ```no_run
//! use podtrail_netns::Netns;
//!
//! let blue = Netns::open("/run/netns/blue")?;
//! // A socket keeps the namespace that it was made in, wherever it is used afterwards.
//! let socket = blue.run(|| std::net::UdpSocket::bind("127.0.0.1:0"))?;
//! # Ok::<(), podtrail_netns::Error>(())
//! ```
//!
//! # What it does not do
//!
//! It configures nothing in a namespace. No thread of the caller ever changes its namespace.
//!
//! On other systems than Linux the crate is empty.
//!
//! # Features
//!
//! None.

#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod named;
#[cfg(target_os = "linux")]
mod netns;

#[cfg(target_os = "linux")]
pub use error::{Error, ErrorKind, Result};
#[cfg(target_os = "linux")]
pub use netns::Netns;
