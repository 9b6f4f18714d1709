use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The network that pods' own addresses are in.
pub const DEFAULT_NETWORK: &str = "default";

/// When something happened: not before `earliest`, not after `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an interval has two ends")]
pub struct Bounds {
    /// Not before this.
    pub earliest: Timestamp,
    /// Not after this; `None`: it may not have happened yet.
    pub latest: Option<Timestamp>,
}

/// What holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "nothing else holds an address in this model")]
pub enum Subject {
    /// A pod's incarnation.
    Pod,
    /// A node.
    Node,
}

/// That a pod or a node held an address, with the bounds of when: the public form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the documented JSON form, built by ledgers")]
pub struct Claim {
    /// `default`, or `namespace/name` of a secondary network.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
    /// What held it.
    pub subject: Subject,
    /// The pod's namespace; empty for a node.
    pub namespace: String,
    /// The pod's or the node's name.
    pub name: String,
    /// The pod's or the node's UID.
    pub uid: String,
    /// The node that it was on; empty if not known.
    pub node: String,
    /// When it began to hold the address.
    pub start: Bounds,
    /// When it ceased to; `None` while it holds it, `latest: None` when it may have ceased.
    pub end: Option<Bounds>,
}
