use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Labels or annotations; ordered, so that they print the same each time.
pub type Map = BTreeMap<String, String>;

/// Which cluster something happened in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cluster {
    /// UID of the cluster's `kube-system` namespace.
    pub uid: String,
    /// The name that people gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Cluster {
    /// The cluster whose `kube-system` namespace has this UID.
    pub fn new(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), name: None }
    }

    /// The same, with a name for people.
    pub fn named(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }
}

/// What controls a pod: the owner reference with `controller: true`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a controller is named by these two")]
pub struct Owner {
    /// `ReplicaSet`, `StatefulSet`, `Job`, …
    pub kind: String,
    /// The controller's name, in the pod's namespace.
    pub name: String,
}

/// One incarnation of a pod, as last known: who it is, not what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::exhaustive_structs,
    reason = "built literally by decoders; a field more is a change that they must see"
)]
pub struct Pod {
    /// `metadata.uid`: the incarnation.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.nodeName`; absent until scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `spec.serviceAccountName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// What controls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `spec.hostNetwork`: it uses its node's addresses and owns none.
    #[serde(default)]
    pub host_network: bool,
    /// `metadata.labels`; `None` where the API has none, which is not the same as `{}`.
    pub labels: Option<Map>,
    /// `metadata.annotations`; `None` where the API has none.
    pub annotations: Option<Map>,
    /// `metadata.creationTimestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: when it will be deleted, not when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Timestamp>,
}

/// A node's addresses, type by type, in the API's order within a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a map under a name")]
pub struct NodeAddresses(pub BTreeMap<String, Vec<String>>);

impl FromIterator<(String, String)> for NodeAddresses {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let mut map = BTreeMap::<_, Vec<_>>::new();
        for (kind, address) in pairs {
            map.entry(kind).or_default().push(address);
        }
        Self(map)
    }
}
