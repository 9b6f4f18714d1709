//! The gRPC contracts that take a tool's output to where it is kept.
//!
//! - [`Snoopy`] sends it to the data endpoint of [snoopy-operator](https://github.com/fennec-project/snoopy-operator), as
//!   podtracer does, but for one thing: one ordered stream for the whole run instead of a stream for each write.
//! - [`Output`] sends it to a receiver of our own, which acknowledges what is durable. Connections may be cut and
//!   receivers killed on the way: nothing is lost and nothing arrives twice.
//!
//! Both have the same shape: `connect`, `send` as often as there is output, `drive` while there is none, `finish`.
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use podtrail_wire::{Destination, Ended, Ending, Header, Output, OutputConfig, RunId, Snoopy, SnoopyLimits};
//!
//! # async fn example(random: [u8; 16]) -> podtrail_wire::Result<()> {
//! let endpoint = Destination::new("10.96.0.17", "51001")?;
//! let mut snoopy = Snoopy::connect(&endpoint, "web-0", SnoopyLimits::default()).await?;
//! snoopy.send(b"what the tool printed").await?;
//! snoopy.finish().await?;
//!
//! let receiver = "collector.tools.svc:51002".parse()?;
//! let mut header = Header::new(RunId::new(random), "shop", "web-0");
//! header.tool = "tcpdump".to_owned();
//! let mut output = Output::connect(&receiver, header, OutputConfig::default()).await?;
//! output.send(b"what the tool printed").await?;
//! output.finish(Ending::new(Ended::Exited(0))).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The contracts are `proto/snoopydataendpoint.proto` and `proto/podtrail_output.proto` in the crate's folder.
//!
//! # What it does not do
//!
//! No TLS and no authentication: neither contract has any. It spawns no task but those that a gRPC connection is made of,
//! so a Tokio runtime must be there.
//!
//! # Features
//!
//! Without any, the crate is empty.
//!
//! - `client` (default): [`Snoopy`] and [`Output`].
//! - `server`: [`Receiver`], which takes both into a folder. Unix only.

#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(rustdoc::broken_intra_doc_links, reason = "the front page names what every feature has")
)]

#[cfg(feature = "client")]
mod destination;
#[cfg(any(feature = "client", feature = "server"))]
mod error;
#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(test, allow(dead_code, reason = "both sides are in it for tests"))]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod generated;
#[cfg(feature = "client")]
mod link;
#[cfg(any(feature = "client", feature = "server"))]
mod name;
#[cfg(any(feature = "client", feature = "server"))]
mod output;
#[cfg(feature = "server")]
mod receiver;
#[cfg(feature = "client")]
mod snoopy;

#[cfg(feature = "client")]
pub use destination::Destination;
#[cfg(any(feature = "client", feature = "server"))]
pub use error::{Error, ErrorKind, Result};
#[cfg(any(feature = "client", feature = "server"))]
pub use output::{Ended, Ending, Header, RunId};
#[cfg(feature = "client")]
pub use output::{Output, OutputConfig};
#[cfg(feature = "server")]
pub use receiver::{Receiver, ReceiverLimits};
#[cfg(feature = "client")]
pub use snoopy::{Snoopy, SnoopyLimits};
