//! From a pod to its sandbox to its network namespace, over CRI v1.
//!
//! The container runtime of a node knows which pods are on it, and where their network namespaces are: no Kubernetes API is needed.
//! containerd, CRI-O and cri-dockerd are asked in the same way.
//!
//! ```no_run
//! use podtrail_cri::{Client, Config, Endpoint, Pod};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(&Endpoint::detect(None, None)?, Config::default());
//! let status = client.sandbox_of(&Pod::named("default", "web-0")).await?;
//! println!("{} has {:?}, in {:?}", status.sandbox.name, status.addresses, client.namespace_of(&status).await?);
//! # Ok(())
//! # }
//! ```
//!
//! On Linux, [`Client::open_namespace`] opens the namespace and asks again, so that what was opened is that of this sandbox and no
//! other: pods come and go, and paths and process numbers are used again.
//!
//! ```no_run
//! # #[cfg(target_os = "linux")]
//! # async fn open(client: podtrail_cri::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let status = client.sandbox_of(&podtrail_cri::Pod::named("default", "web-0")).await?;
//! let netns = client.open_namespace(&status).await?;
//! let socket = netns.run(|| std::net::UdpSocket::bind("127.0.0.1:0"))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Main types
//!
//! - [`Endpoint`]: where the runtime's socket is, said or found.
//! - [`Client`]: the calls; each has a deadline.
//! - [`Sandbox`], [`SandboxStatus`], [`Container`]: what the runtime answers; [`Listing`]: and what of it is of no use.
//! - [`SandboxInfo`] and [`Location`]: what it says beyond CRI, in JSON of its own.
//! - [`ContainerId`]: `containerd://…` and the like, as in a pod's status.
//!
//! # What it does not do
//!
//! It changes nothing: no call that starts, stops or executes is in it. It reads no environment. Who may connect to a runtime's socket
//! is root on the node, whatever else it may do: give it to nobody else.
//!
//! # Features
//!
//! None.

mod client;
mod connect;
mod endpoint;
mod error;
mod events;
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    dead_code,
    missing_docs,
    unreachable_pub,
    unnameable_types,
    unused_qualifications,
    reason = "generated"
)]
#[rustfmt::skip]
mod generated;
mod id;
mod info;
#[cfg(target_os = "linux")]
mod linux;
mod listing;
#[cfg(test)]
mod numbers;
mod pod;
mod sandbox;

pub use client::{Client, Condition, Config, Version};
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind, Result};
pub use events::{Change, Event, Events};
pub use id::ContainerId;
pub use info::{Location, Network, SandboxInfo};
#[cfg(target_os = "linux")]
pub use linux::ContainerProcess;
pub use listing::Listing;
pub use pod::{Labels, Pod};
pub use sandbox::{Container, ContainerState, ContainerStatus, Filter, Sandbox, SandboxStatus};
