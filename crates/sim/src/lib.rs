//! A Kubernetes API in a process: list, watch, bookmarks, 410, faults, churn.
//!
//! Tests, demos and benchmarks need a cluster whose truth is known: who held which address from when to when. A [`Cluster`] keeps pods,
//! nodes and namespaces, records that truth to the nanosecond, and shows its clients only what a real API server would: objects with
//! whole-second stamps, made by kubelets whose clocks may be wrong, over connections on which things go wrong.
//!
//! ```
//! use podtrail_sim::{Cluster, Config, DEFAULT_NETWORK, Fault, PodSpec, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(Config { log_capacity: 1000, ..Config::default() });
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?); // for a Kubernetes client
//! let server = tokio::spawn(serve(cluster.clone(), listener, std::future::pending()));
//!
//! cluster.add_node("node-1", &[("InternalIP", "198.18.0.11")])?;
//! let ip = "10.244.0.10".parse()?;
//! let pod = cluster.create(PodSpec::new("default", "web-1", "node-1").label("app", "web"))?;
//! cluster.run(&pod, &[ip])?;
//! cluster.inject(Fault::Cut); // the next frame of a pod watch breaks off
//!
//! let owners = cluster.owner_at(DEFAULT_NETWORK, ip, cluster.now());
//! assert_eq!(&*owners[0].name, "web-1");
//! # server.abort();
//! # Ok(())
//! # }
//! ```
//!
//! - [`Cluster`]: the cluster, and everything that happens to it; [`Config`] says how it behaves.
//! - [`serve`]: its API over plain HTTP. Reads only: every write is refused and counted ([`Requests`]).
//! - [`Hold`]: one piece of the truth.
//! - [`Fault`]: what can go wrong.
//! - [`Churn`] and [`populate`]: pods that come and go by themselves, from a seed; many pods at once.
//!
//! What it is not: it authenticates nobody, knows three resources, one container a pod and equality selectors, serves only JSON, and
//! schedules nothing. It spawns no tasks itself (axum spawns one per connection). It has no features.

mod churn;
mod clock;
mod cluster;
mod error;
mod fault;
mod history;
mod http;
mod json;
mod life;
mod pod;
mod populate;
mod render;
mod requests;
mod selector;
mod snapshots;
mod truth;

pub use churn::{Churn, ChurnConfig};
pub use clock::{Clock, ManualClock, Skew};
pub use cluster::{Cluster, Config};
pub use error::{Error, ErrorKind};
pub use fault::{Fault, Verb};
pub use http::serve;
pub use pod::{Attachment, Outcome, Pod, PodSpec};
pub use populate::populate;
pub use requests::Requests;
pub use truth::{DEFAULT_NETWORK, Hold};
