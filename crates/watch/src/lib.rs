//! A gap-aware stream of pod and node changes from a Kubernetes API.
//!
//! [`pods`] and [`nodes`] list and watch, and say what they find as [`Delta`]s. They never end and never fail: a failure is
//! a [`Delta::Disconnected`] and a capped, jittered wait. They resume from a stored [`Checkpoint`]; where the server no
//! longer knows what happened since (410, in any of its forms), they list again and the [`Delta::Snapshot`] states the gap.
//!
//! ```no_run
//! use futures::StreamExt;
//! use podtrail_watch::{Config, Delta};
//!
//! # async fn example() -> Result<(), podtrail_watch::Error> {
//! let client = podtrail_watch::client(None, None).await?;
//! let mut pods = podtrail_watch::pods(client, Config::default(), None);
//! while let Some(delta) = pods.next().await {
//!     match delta {
//!         Delta::Listed(pod) | Delta::Applied { object: pod, .. } => println!("{} {:?}", pod.pod.name, pod.addresses),
//!         Delta::Deleted { object: pod, .. } => println!("{} is gone", pod.pod.name),
//!         Delta::Snapshot { gap: Some(gap), .. } => println!("not watched from {} to {}", gap.from, gap.to),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What else is here
//!
//! - [`PodState`] and [`NodeState`], decoded through [`PodLite`] and [`NodeLite`], which borrow from the frame and never
//!   make a whole object of it. What cannot be used of an object is a [`Rejected`]; the rest of it is used.
//! - [`confirm::pod`] asks for a pod by itself, and [`Schedule`] says which to ask for when; [`selected`] asks for those with some
//!   labels, once.
//! - [`Globs`] and [`NamespaceFilter`] choose namespaces; [`NodeBook`] knows the addresses of nodes, also of those gone.
//!
//! # What it does not do
//!
//! It stores nothing and decides nothing about addresses; it spawns no task; it does not filter on the server, because a
//! filtered watch hides changes.

mod address;
mod client;
mod clock;
mod config;
pub mod confirm;
mod decode;
mod delta;
mod digest;
mod error;
mod glob;
mod lines;
mod machine;
mod networks;
mod node;
mod node_book;
mod pod;
mod resource;
mod schedule;
mod selected;
mod stamp;
mod stream;

pub use client::{client, cluster_uid};
pub use config::Config;
pub use decode::{Failure, Frame};
pub use delta::{Checkpoint, Delta, Rejected};
pub use error::{Error, ErrorKind};
pub use glob::{Globs, NamespaceFilter, split_list};
#[doc(no_inline)]
pub use kube::Client;
#[doc(hidden)]
pub use networks::network_status;
pub use node::{NodeLite, NodeState};
pub use node_book::NodeBook;
pub use pod::{Phase, PodLite, PodState};
pub use schedule::Schedule;
pub use selected::selected;
pub use stream::{nodes, pods};
