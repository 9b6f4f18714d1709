//! Which Kubernetes pod held an IP address, at any instant.
//!
//! podtrail watches the pods of a cluster, keeps a durable history of which pod held which address, and answers "who had
//! 10.244.0.17 at 20:45?" with bounds and a reason, never with a guess. This crate is the front page: it re-exports the
//! crates of the family, each behind a feature, and adds nothing.
//!
//! # Ask a ledger
//!
//! A ledger is one SQLite file. It can be asked while a tracker writes it.
//!
#![cfg_attr(feature = "sqlite", doc = "```no_run")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
//! use podtrail::ledger::Store;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = Store::open_read_only("podtrail.db")?;
//!     let reply = store.owner("default", "10.244.0.17".parse()?, "2026-01-24T20:45:00Z".parse()?)?;
//!     println!("{}: {}", reply.answer.as_str(), reply.reason);
//!     for claim in reply.answer.named() {
//!         println!("{}/{} {} on {}", claim.namespace, claim.name, claim.uid, claim.node);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Keep a ledger
//!
//! `track` has the parts of a tracker: a commit loop, a watch and an outbox for each sink. It spawns nothing: run them
//! where you like.
//!
#![cfg_attr(feature = "track", doc = "```no_run")]
#![cfg_attr(not(feature = "track"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use podtrail::event::Cluster;
//! use podtrail::ledger::Store;
//! use podtrail::track::{Config, Metrics, Sink, Tracking};
//! use podtrail::writer::{File, FileConfig, OutboxConfig};
//!
//! # async fn keep(told_to_stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let client = podtrail::watch::client(None, None).await?;
//! let cluster = Cluster::new(podtrail::watch::cluster_uid(&client).await?);
//! let store = Store::open("podtrail.db", &cluster, Duration::from_secs(1))?;
//! let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
//! let mut tracking = Tracking::new(store, Config::default(), metrics)?;
//! let committer = tracking.committer().expect("it is taken once");
//! let committing = std::thread::spawn(move || committer.run(|| ()));
//! let watching = tracking.watch(client, std::future::pending());
//! let sink = Sink { name: "events".to_owned(), ..Sink::default() };
//! let file = File::new(FileConfig::new("events.ndjson"))?;
//! let delivering = tracking.outbox(sink, file, OutboxConfig::default())?;
//! let ending = async {
//!     told_to_stop.await;
//!     // The watch ends, what it saw is committed and then delivered.
//!     tracking.stop().await;
//! };
//! let ((), delivered, ()) = futures::join!(watching, delivering, ending);
//! delivered?;
//! committing.join().expect("the commit loop does not panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Only watch
//!
//! `watch` is a stream of what happens to pods and nodes that resumes where it stopped and says what it has missed.
//!
#![cfg_attr(feature = "watch", doc = "```no_run")]
#![cfg_attr(not(feature = "watch"), doc = "```ignore")]
//! use futures::StreamExt as _;
//! use podtrail::watch::{Config, Delta};
//!
//! # async fn watch() -> Result<(), podtrail::watch::Error> {
//! let client = podtrail::watch::client(None, None).await?;
//! let mut pods = podtrail::watch::pods(client, Config::default(), None);
//! while let Some(delta) = pods.next().await {
//!     match delta {
//!         Delta::Applied { object: pod, .. } => println!("{}: {:?}", pod.pod.name, pod.addresses),
//!         Delta::Snapshot { gap: Some(gap), .. } => println!("nothing is known from {} to {}", gap.from, gap.to),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Only the algebra
//!
//! `ledger` without `sqlite` is pure: intervals with four bounds, evidence that tightens them, an index in memory. It
//! knows no runtime, no Kubernetes and no clock.
//!
#![cfg_attr(feature = "ledger", doc = "```")]
#![cfg_attr(not(feature = "ledger"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use podtrail::event::Timestamp;
//! use podtrail::ledger::{Answer, Coverage, Evidence, Interval, decide};
//!
//! let t = Timestamp::from_second;
//! let mut web = Interval::starting(t(10), t(12));
//! web.tighten(Evidence::HeldUntil(t(40)));
//! web.tighten(Evidence::EndedBy(t(45)));
//! let watched = Coverage::new([(t(0), t(100))], Duration::from_secs(1));
//!
//! assert_eq!(decide([("web-1", web)], &watched, t(30)), Answer::Certain("web-1"));
//! assert_eq!(decide([("web-1", web)], &watched, t(42)), Answer::Ambiguous(vec!["web-1"])); // it, or nobody
//! ```
//!
//! # Count what connections carry
//!
//! On a node, `conntrack` reads the kernel's connection table, `netns` finds it in other network namespaces, and `flow` turns
//! counters into deltas, each byte once.
//!
#![cfg_attr(all(feature = "conntrack", feature = "flow"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "conntrack", feature = "flow")), doc = "```ignore")]
//! use podtrail::conntrack::Table;
//! use podtrail::conntrack::wire::{Connection, Transport};
//! use podtrail::flow::{Counters, Identity, Meter, Step};
//!
//! fn identity(connection: &Connection<'_>, netns: u64) -> Identity {
//!     let tuple = connection.original;
//!     Identity {
//!         netns,
//!         zone: connection.zone,
//!         protocol: tuple.protocol.0,
//!         src: tuple.src,
//!         dst: tuple.dst,
//!         ports: match tuple.transport {
//!             Transport::Ports { src, dst } => (src, dst),
//!             Transport::Icmp { id, kind, code } => (id, u16::from_be_bytes([kind, code])),
//!             _ => (0, 0),
//!         },
//!         direction_zone: tuple.zone,
//!         id: connection.id.unwrap_or_default(),
//!         start: connection.start,
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut meter = Meter::new(200_000);
//! let mut table = Table::open()?;
//! meter.begin();
//! let mut dump = table.dump()?;
//! while let Some(connection) = dump.next() {
//!     let connection = connection?;
//!     let original = connection.original_counters.unwrap_or_default();
//!     let reply = connection.reply_counters.unwrap_or_default();
//!     let total = Counters {
//!         original_packets: original.packets,
//!         original_bytes: original.bytes,
//!         reply_packets: reply.packets,
//!         reply_bytes: reply.bytes,
//!     };
//!     if let Step::Counted(new) = meter.observe(identity(&connection, 1).key(), total) {
//!         println!("{}: {} bytes more", connection.original, new.delta.original_bytes);
//!     }
//! }
//! meter.end(true, |gone| println!("gone without a word: {gone:?}"));
//! # Ok(())
//! # }
//! ```
//!
//! # Enter a pod's network
//!
//! On a node, `cri` asks the container runtime where a pod's network namespace is, and pins it; in `netns` something is done there.
//!
#![cfg_attr(feature = "cri", doc = "```no_run")]
#![cfg_attr(not(feature = "cri"), doc = "```ignore")]
//! use podtrail::cri::{Client, Config, Endpoint, Pod};
//! use podtrail::netns::Capabilities;
//!
//! # async fn enter() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Client::new(&Endpoint::detect(None, None)?, Config::default());
//! let sandbox = runtime.sandbox_of(&Pod::named("shop", "web-0")).await?;
//! // That pod's, or an error: never that of one which took its place meanwhile.
//! let netns = runtime.open_namespace(&sandbox).await?;
//! netns.command("ping").args(["-c1", "10.244.1.7"]).keep(Capabilities::NET_RAW).spawn()?.wait()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Test against a cluster that is none
//!
//! `sim` is a Kubernetes API in a process: real REST over loopback, churn with reused addresses, faults on demand, and it
//! knows the truth.
//!
#![cfg_attr(feature = "sim", doc = "```")]
#![cfg_attr(not(feature = "sim"), doc = "```ignore")]
//! use podtrail::sim::{Cluster, Config, DEFAULT_NETWORK, PodSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(Config::default());
//! cluster.add_node("node-1", &[("InternalIP", "198.18.0.11")])?;
//! let ip = "10.244.0.17".parse()?;
//! let pod = cluster.create(PodSpec::new("default", "web-1", "node-1"))?;
//! cluster.run(&pod, &[ip])?;
//! assert_eq!(&*cluster.owner_at(DEFAULT_NETWORK, ip, cluster.now())[0].name, "web-1");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `event` is always there. Each feature adds a module of its name, but `sqlite`, which adds `Store` to `ledger`, and `spool`.
//!
//! - `ledger`: who held an address, when: the algebra and the index in memory.
//! - `sqlite`: the durable ledger, with `ledger`.
//! - `watch`: pods and nodes of a Kubernetes API, gap-aware; namespace globs.
//! - `writer`: the writer contract, the outbox, and writers to standard output and files.
//! - `track` (default): all that it takes to keep a ledger of a cluster, with the four above.
//! - `conntrack`: the kernel's connection table, with `netns`; Linux only.
//! - `netns`: network namespaces; Linux only.
//! - `inspect`, `capture`: what is in a network namespace, and its packets; with `netns`.
//! - `cri`: from a pod to its sandbox to its network namespace, over CRI; with `netns`.
//! - `wire`: a tool's output to a collector, over gRPC.
//! - `flow`: from counters of connections to deltas.
//! - `spool`: adds `Spool` to `writer`, a store for records that have no ledger, with their maker's state.
//! - `sim`: the simulated API.
//!
//! Whoever uses `watch` or `track` also chooses the Kubernetes version that `k8s-openapi` is built for, in the final
//! binary: `k8s-openapi = { version = "0.29", features = ["v1_34"] }`.

#[cfg(feature = "conntrack")]
pub use podtrail_conntrack as conntrack;
#[cfg(feature = "cri")]
pub use podtrail_cri as cri;
pub use podtrail_event as event;
#[cfg(feature = "flow")]
pub use podtrail_flow as flow;
#[cfg(feature = "ledger")]
pub use podtrail_ledger as ledger;
#[cfg(feature = "netns")]
pub use podtrail_netns as netns;
#[cfg(feature = "sim")]
pub use podtrail_sim as sim;
#[cfg(feature = "track")]
pub use podtrail_track as track;
#[cfg(feature = "watch")]
pub use podtrail_watch as watch;
#[cfg(feature = "wire")]
pub use podtrail_wire as wire;
#[cfg(feature = "writer")]
pub use podtrail_writer as writer;

/// The README's examples, compiled as tests; nothing of it is in the crate.
#[cfg(all(doctest, feature = "track"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
