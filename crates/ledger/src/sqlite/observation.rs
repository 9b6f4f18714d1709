use std::net::IpAddr;

use podtrail_event::{
    Address, Bounds, Cluster, EventKind, Gap, GapEvent, NodeAddresses, Pod, PodEvent, Record, Subject, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// Where evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// A watch of the Kubernetes API.
    Watch,
    /// A list from the Kubernetes API.
    List,
    /// A `GET` of one object.
    Get,
    /// The tracker itself: gaps, what it carries forward.
    Tracker,
    /// The container runtime.
    Cri,
    /// A CNI plugin's call.
    Cni,
    /// The kernel's links and addresses.
    Netlink,
    /// The kernel's connection table.
    Conntrack,
}

impl Source {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::List => "list",
            Self::Get => "get",
            Self::Tracker => "tracker",
            Self::Cri => "cri",
            Self::Cni => "cni",
            Self::Netlink => "netlink",
            Self::Conntrack => "conntrack",
        }
    }
}

/// That somebody held an address, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by trackers")]
pub struct ClaimRow {
    /// The row's number.
    pub id: i64,
    /// `default`, or `namespace/name`.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
    /// Whether `holder` is a pod or a node.
    pub subject: Subject,
    /// The row number of the pod or node.
    pub holder: i64,
    /// The how-manyeth time that this holder was given this address, from 0.
    pub ordinal: u32,
    /// It uses the address with its node (hostNetwork) and does not own it.
    pub shared: bool,
    /// When.
    #[serde(flatten)]
    pub interval: Interval,
}

/// Something that happened to the observation's pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written by trackers")]
pub struct Happened {
    /// What.
    pub event: EventKind,
    /// When.
    pub time: Bounds,
    /// The address in question and the how-manyeth time that the pod was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<(Address, u32)>,
}

/// Input that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written by trackers")]
pub struct Quarantined {
    /// The object that it spoke of, where that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong with it.
    pub reason: String,
    /// Its first bytes, escaped.
    pub excerpt: String,
    /// Its length in bytes.
    pub length: usize,
    /// SHA-256 of all of it, in hexadecimal; older evidence has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One piece of evidence and all that followed from it. What is empty is left out of the stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::exhaustive_structs, reason = "written by trackers")]
pub struct Observation {
    /// The version of the object that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
    /// The pod that it is about, as last known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<Pod>>,
    /// The addresses that the pod shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// The last known addresses of the pod's node.
    #[serde(skip_serializing_if = "is_empty")]
    pub node_addresses: NodeAddresses,
    /// What happened to the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Happened>,
    /// The claims that it began or changed, as they are after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimRow>,
    /// Claims (by row number) that it shows to be still held, and until when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<(i64, Timestamp)>,
    /// A gap, and the version that the watch had reached before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<(Gap, String)>,
    /// Input that could not be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Quarantined>,
    /// Claims (by row number) that retention has forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<i64>,
}

fn is_empty(addresses: &NodeAddresses) -> bool {
    addresses.0.is_empty()
}

impl Observation {
    /// The records that leave the tracker because of it, in order.
    pub fn records(&self, cluster: &Cluster, source: &str) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.events.len() + 1);
        if let Some(pod) = &self.pod {
            records.extend(self.events.iter().map(|happened| {
                let address = happened.address.as_ref().map(|(address, ordinal)| (address, *ordinal));
                Record::Pod(Box::new(PodEvent {
                    id: PodEvent::id_of(&cluster.uid, &pod.uid, happened.event, address),
                    event: happened.event,
                    time: happened.time,
                    cluster: cluster.clone(),
                    pod: (**pod).clone(),
                    addresses: self.addresses.clone(),
                    address: address.map(|(a, _)| a.clone()),
                    node_addresses: self.node_addresses.clone(),
                    source: source.to_owned(),
                }))
            }));
        }
        if let Some((gap, after)) = &self.gap {
            let id = Gap::id_of(&cluster.uid, &gap.source, after);
            records.push(Record::Gap(GapEvent { id, cluster: cluster.clone(), gap: gap.clone() }));
        }
        records
    }
}
