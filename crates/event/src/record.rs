use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Bounds, Cluster, EventId, NodeAddresses, Pod, Timestamp};

/// What happened to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EventKind {
    /// It showed an address and ran, for the first time: PodTracker's `Create`.
    Created,
    /// It began to hold an address.
    AddressAssigned,
    /// It ceased to hold an address.
    AddressReleased,
    /// Its object is gone: PodTracker's `Delete`.
    Deleted,
}

impl EventKind {
    /// The word for it in JSON and in ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AddressAssigned => "address-assigned",
            Self::AddressReleased => "address-released",
            Self::Deleted => "deleted",
        }
    }
}

/// An address on a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an address is in a network, no more")]
pub struct Address {
    /// `default`, or `namespace/name` of a secondary network.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
}

/// One thing that happened to one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "built by trackers from what they store")]
pub struct PodEvent {
    /// Identity: see [`PodEvent::id_of`].
    pub id: EventId,
    /// What happened.
    pub event: EventKind,
    /// When, within bounds.
    pub time: Bounds,
    /// Where.
    pub cluster: Cluster,
    /// To which pod, as last known.
    pub pod: Pod,
    /// Every address that the pod shows at this event, the first being `status.podIP`.
    pub addresses: Vec<Address>,
    /// The address in question, for `address-assigned` and `address-released`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The last known addresses of the pod's node.
    pub node_addresses: NodeAddresses,
    /// How it was learnt: `watch`, `list`, `get`, …
    pub source: String,
}

impl PodEvent {
    /// The id of an event: BLAKE3-128 of cluster UID, pod UID, kind, network, address and ordinal.
    ///
    /// `address` and `ordinal` (the how-manyeth time that this pod was given this address, from 0) are those of an
    /// address event; `created` and `deleted` happen once to a UID and have none.
    pub fn id_of(cluster: &str, uid: &str, kind: EventKind, address: Option<(&Address, u32)>) -> EventId {
        let (network, ip, ordinal) = match address {
            Some((a, ordinal)) => (a.network.as_str(), a.ip.to_string(), ordinal),
            None => ("", String::new(), 0),
        };
        EventId::derive(&[
            cluster.as_bytes(),
            uid.as_bytes(),
            kind.as_str().as_bytes(),
            network.as_bytes(),
            ip.as_bytes(),
            &ordinal.to_le_bytes(),
        ])
    }
}

/// A span in which a source was not watched without interruption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by watchers")]
pub struct Gap {
    /// What was not watched: `pods`, `nodes`.
    pub source: String,
    /// Watched until then.
    pub from: Timestamp,
    /// Watched again since.
    pub to: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl Gap {
    /// The id of a gap: BLAKE3-128 of cluster UID, `gap`, source and the version that the watch had reached before it.
    pub fn id_of(cluster: &str, source: &str, after_version: &str) -> EventId {
        EventId::derive(&[cluster.as_bytes(), b"gap", source.as_bytes(), after_version.as_bytes()])
    }
}

/// A gap as a record: what it is, where, and its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by trackers from what they store")]
pub struct GapEvent {
    /// Identity: see [`Gap::id_of`].
    pub id: EventId,
    /// Where.
    pub cluster: Cluster,
    /// What was not seen.
    #[serde(flatten)]
    pub gap: Gap,
}

/// What leaves a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Something happened to a pod.
    Pod(Box<PodEvent>),
    /// Something may have happened unseen.
    Gap(GapEvent),
}

impl Record {
    /// The record's identity.
    pub fn id(&self) -> EventId {
        match self {
            Self::Pod(event) => event.id,
            Self::Gap(event) => event.id,
        }
    }

    /// The namespace of the pod that it is about; `None` when it concerns all.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pod(event) => Some(&event.pod.namespace),
            Self::Gap(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The pod of PodTracker's README.
    pub(crate) fn sample() -> Record {
        let created: Timestamp = "2024-01-24T20:44:08Z".parse().unwrap();
        let pod = Pod {
            uid: "7a4f2fa3-9f4c-4d6e-8e0e-3f1b6a0c2d11".into(),
            namespace: "kube-system".into(),
            name: "coredns-1".into(),
            node: Some("local-control-plane".into()),
            service_account: Some("coredns".into()),
            owner: Some(crate::Owner { kind: "ReplicaSet".into(), name: "coredns".into() }),
            annotations: Some(crate::Map::new()),
            created: Some(created),
            ..Pod::default()
        };
        let pairs = [("Hostname", "local-control-plane"), ("InternalIP", "172.18.0.2")];
        Record::Pod(Box::new(PodEvent {
            id: PodEvent::id_of("c", &pod.uid, EventKind::Created, None),
            event: EventKind::Created,
            time: Bounds { earliest: created, latest: Some(created) },
            cluster: Cluster::new("c"),
            pod,
            addresses: vec![Address { network: "default".into(), ip: "10.244.0.17".parse().unwrap() }],
            address: None,
            node_addresses: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect(),
            source: "watch".into(),
        }))
    }

    #[test]
    fn ids_tell_events_apart_and_nothing_else() {
        let address = |ip: &str| Address { network: "default".into(), ip: ip.parse().unwrap() };
        let (a, b) = (address("10.0.0.1"), address("fd00::1"));
        let assigned = |a, n| PodEvent::id_of("c", "u", EventKind::AddressAssigned, Some((a, n)));
        let ids = [
            PodEvent::id_of("c", "u", EventKind::Created, None),
            PodEvent::id_of("c", "u", EventKind::Deleted, None),
            PodEvent::id_of("d", "u", EventKind::Created, None),
            PodEvent::id_of("c", "v", EventKind::Created, None),
            assigned(&a, 0),
            assigned(&a, 1),
            assigned(&b, 0),
        ];
        for (i, x) in ids.iter().enumerate() {
            assert!(ids[..i].iter().all(|y| x != y), "{i}");
        }
        assert_eq!(assigned(&a, 1), assigned(&address("10.0.0.1"), 1));
    }
}
