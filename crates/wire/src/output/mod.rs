//! Our own stream: its header and end, and the client.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod core;
mod header;
#[cfg(test)]
#[cfg(feature = "client")]
mod tests;

#[cfg(feature = "client")]
pub use client::{Output, OutputConfig};
pub use header::{Ended, Ending, Header, RunId};
