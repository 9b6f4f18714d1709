//! Nodes: borrowed as decoded, owned as used.

use podtrail_event::Timestamp;
use serde::Deserialize;

use crate::decode::{self, Frame, Lite, Metadata, Str};
use crate::delta::{Rejected, Report};
use crate::error::Error;
use crate::pod::at;

/// What the API says of a node at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built literally by the tests of those who consume it")]
pub struct NodeState {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `status.addresses` in their order: type (`InternalIP`, `Hostname`, …) and address. The first 64.
    pub addresses: Vec<(String, String)>,
    /// `lastHeartbeatTime` of its condition `Ready`: when its kubelet last said all this, by its own clock.
    pub heartbeat: Option<Timestamp>,
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
}

/// A node as decoded: borrows from the input, holds only what a [`NodeState`] is made of.
#[derive(Debug, Deserialize)]
pub struct NodeLite<'a> {
    #[serde(borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow)]
    addresses: Option<Vec<NodeAddress<'a>>>,
    #[serde(borrow)]
    conditions: Option<Vec<Condition<'a>>>,
}

#[derive(Debug, Deserialize)]
struct NodeAddress<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    address: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    last_heartbeat_time: Option<Str<'a>>,
}

impl<'a> Lite<'a> for NodeLite<'a> {
    const KIND: &'static str = "Node";

    fn kind(&self) -> Option<&Str<'a>> {
        self.kind.as_ref()
    }

    fn metadata(&self) -> Option<&Metadata<'a>> {
        self.metadata.as_ref()
    }
}

const MOST_ADDRESSES: usize = 64;

impl<'a> NodeLite<'a> {
    /// Decodes one line of a watch of nodes.
    ///
    /// # Errors
    /// If it is not a watch event of a known type, or its object is of another kind.
    pub fn frame(line: &'a [u8]) -> Result<Frame<Self>, Error> {
        decode::frame(line)
    }

    /// Decodes a node by itself, as `GET` and lists give it.
    ///
    /// # Errors
    /// If it is not JSON of a node's shape, or says that it is of another kind.
    pub fn object(json: &'a [u8]) -> Result<Self, Error> {
        decode::object(json)
    }

    /// What it says, checked. A field that cannot be used is left out and added to `rejected`.
    ///
    /// # Errors
    /// If it lacks a UID or a name, or its version is not a number.
    pub fn state(&self, received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<NodeState, Error> {
        let none = Metadata::default();
        let metadata = self.metadata.as_ref().unwrap_or(&none);
        let uid = metadata.required("uid", &metadata.uid)?;
        let name = metadata.required("name", &metadata.name)?;
        let resource_version = metadata.version()?;

        let report = &mut Report::new(name.to_owned(), received, rejected);
        let mut addresses = Vec::new();
        for entry in self.status.iter().flat_map(|s| &s.addresses).flatten() {
            let address = entry.address.as_ref().map_or("", |a| &a.0);
            match &entry.kind {
                _ if addresses.len() >= MOST_ADDRESSES => report.add("addresses: more than 64", address),
                Some(kind) if !kind.0.is_empty() && !address.is_empty() => {
                    addresses.push((kind.owned(), address.to_owned()));
                }
                _ => report.add("addresses: one without a type or an address", address),
            }
        }
        let mut conditions = self.status.iter().flat_map(|s| &s.conditions).flatten();
        let ready = conditions.find(|c| c.kind.as_ref().is_some_and(|kind| kind.0 == "Ready"));
        let heartbeat = ready.and_then(|c| at("lastHeartbeatTime", &c.last_heartbeat_time, report));
        Ok(NodeState {
            uid: uid.to_owned(),
            name: name.to_owned(),
            created: at("creationTimestamp", &metadata.creation_timestamp, report),
            addresses,
            heartbeat,
            resource_version,
        })
    }
}
