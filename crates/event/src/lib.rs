//! What happened to a pod's network, as plain data.
//!
//! A [`Record`] is what leaves a tracker: a [`PodEvent`] or a [`Gap`]. It has a deterministic [`EventId`] and two JSON
//! renderings: our own ([`Record::to_json`]) and PodTracker's twelve keys ([`Record::to_podtracker`]).
//!
//! ```
//! use podtrail_event::{Address, Bounds, Cluster, EventKind, NodeAddresses, Pod, PodEvent, Record, Timestamp};
//!
//! let at: Timestamp = "2026-01-24T20:44:08Z".parse()?;
//! let pod = Pod { uid: "7a4f2fa3".into(), namespace: "kube-system".into(), name: "dns-1".into(), created: Some(at), ..Pod::default() };
//! let record = Record::Pod(Box::new(PodEvent {
//!     id: PodEvent::id_of("cluster-uid", &pod.uid, EventKind::Created, None),
//!     event: EventKind::Created,
//!     time: Bounds { earliest: at, latest: Some(at) },
//!     cluster: Cluster::new("cluster-uid"),
//!     addresses: vec![Address { network: "default".into(), ip: "10.244.0.17".parse()? }],
//!     address: None,
//!     node_addresses: NodeAddresses::default(),
//!     source: "watch".into(),
//!     pod,
//! }));
//! assert!(record.to_json(None).starts_with(r#"{"v":1,"#));
//! assert!(record.to_podtracker("audit").unwrap().contains(r#""podIP":"10.244.0.17""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Our own JSON, version 1
//!
//! One object a line. A pod event: `v`, `trackedBy` (if set), `id`, `event` (`created`, `address-assigned`,
//! `address-released`, `deleted`), `time` `{earliest, latest}`, `cluster` `{uid, name}`, `pod` (`uid`, `namespace`, `name`,
//! `node`, `serviceAccount`, `owner` `{kind, name}`, `hostNetwork`, `labels`, `annotations`, `created`, `deletion`),
//! `addresses` (all that the pod shows, each `{network, ip}`), `address` (the one in question), `nodeAddresses`, `source`, and
//! `truncated: true` where labels and annotations were over 64 KiB together and were cut. A gap: `v`, `event: "gap"`, `id`,
//! `cluster`, `source`, `from`, `to`, `reason`. Times are RFC 3339 with `Z`; a `latest` of null means that it may not have
//! happened yet. Readers must ignore members that they do not know.
//!
//! This crate reads no clock, opens nothing and knows no runtime.

mod claim;
mod error;
mod id;
mod json;
mod pod;
mod podtracker;
mod record;
mod timestamp;

pub use claim::{Bounds, Claim, DEFAULT_NETWORK, Subject};
pub use error::Error;
pub use id::EventId;
pub use pod::{Cluster, Map, NodeAddresses, Owner, Pod};
pub use record::{Address, EventKind, Gap, GapEvent, PodEvent, Record};
pub use timestamp::Timestamp;
