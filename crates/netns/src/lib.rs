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
//! [`Netns::command`] starts a program inside, without capabilities but those that are kept, and optionally among the files and
//! processes of a container:
//!
//! ```no_run
//! use podtrail_netns::{Capabilities, Netns};
//!
//! let pod = Netns::of_process(4711)?;
//! let mut tcpdump = pod.command("tcpdump").args(["-c1", "-nn"]).keep(Capabilities::NET_RAW).spawn()?;
//! tcpdump.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! It configures nothing in a namespace. No thread of the caller ever changes its namespace.
//!
//! On other systems than Linux there are no network namespaces: everything that would open or make one is an error of the kind
//! [`Unsupported`](ErrorKind::Unsupported). Of the features there is only what reads and writes files.
//!
//! # Features
//!
//! - `inspect`: what is in a namespace (interfaces, addresses, routes, neighbours, sockets), without executing anything there.
//! - `capture`: packets of a namespace, through a ring that the kernel fills, and as pcapng. What reads, writes and annotates pcapng is
//!   there on every system; captures, and files that are made for their owner only or in a row, are there on Linux.

mod capabilities;
#[cfg(feature = "capture")]
pub mod capture;
mod command;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod error;
#[cfg(target_os = "linux")]
mod hidden;
#[cfg(all(target_os = "linux", feature = "inspect"))]
pub mod inspect;
#[cfg(target_os = "linux")]
mod named;
#[cfg(target_os = "linux")]
mod netns;
#[cfg(target_os = "linux")]
mod privileges;
#[cfg(target_os = "linux")]
mod resident;
#[cfg(target_os = "linux")]
mod spawn;

pub use capabilities::Capabilities;
pub use command::{Command, Namespaces};
#[cfg(target_os = "linux")]
pub use descriptors::close_on_exec;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Netns, Resident, close_on_exec};
pub use error::{Error, ErrorKind, Result};
#[cfg(target_os = "linux")]
pub use netns::Netns;
#[cfg(target_os = "linux")]
pub use resident::Resident;
