//! Keep a ledger from a watch and feed writers from it.
//!
//! [`Tracker`] holds the decisions, without I/O or clock: deltas of a watch in, changes of the ledger out. [`Tracking`]
//! wires it to a cluster, a ledger file and sinks:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use podtrail_event::Cluster;
//! use podtrail_ledger::Store;
//! use podtrail_track::{Config, Metrics, Tracking};
//!
//! # async fn track() -> Result<(), Box<dyn std::error::Error>> {
//! let client = podtrail_watch::client(None, None).await?;
//! let cluster = Cluster::new(podtrail_watch::cluster_uid(&client).await?);
//! let store = Store::open("podtrail.db", &cluster, Duration::from_secs(1))?;
//! let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
//! let mut tracking = Tracking::new(store, Config::default(), metrics)?;
//! let committer = tracking.committer().expect("it is taken once");
//! let committing = std::thread::spawn(move || committer.run(|| ()));
//! tracking.watch(client, std::future::pending()).await;
//! # drop(committing);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is written to the API, ever. What a sink gets is decided by its [`Sink`]; the ledger always records every pod
//! of every namespace, so that no filter changes an answer.

mod commit;
mod confirm;
mod error;
mod feed;
mod metrics;
mod sink;
mod tracker;
mod tracking;

pub use commit::Committer;
pub use error::Error;
pub use feed::Feed;
pub use metrics::Metrics;
pub use sink::{Format, Sink};
pub use tracker::{Counts, Recall, Tracker};
pub use tracking::{Config, Tracking};
