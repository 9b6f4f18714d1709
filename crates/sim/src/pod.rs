use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use podtrail_event::{EventId, Timestamp};

use crate::clock::Stamp;
use crate::history::About;
use crate::selector::Labels;
use crate::truth::Hold;

/// What a pod is created from.
#[derive(Debug, Clone)]
pub struct PodSpec {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) host_network: bool,
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) owner: Option<(String, String)>,
    pub(crate) grace: Duration,
}

impl PodSpec {
    /// A pod of service account `default` with 30 s of grace and nothing else, scheduled to `node`.
    pub fn new(namespace: &str, name: &str, node: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            node: node.into(),
            host_network: false,
            labels: Labels::new(),
            annotations: BTreeMap::new(),
            service_account: "default".to_owned(),
            owner: None,
            grace: Duration::from_secs(30),
        }
    }

    /// It uses its node's network.
    pub fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the service account.
    pub fn service_account(mut self, name: &str) -> Self {
        name.clone_into(&mut self.service_account);
        self
    }

    /// Sets the controller: its kind (`ReplicaSet`, `StatefulSet`, `DaemonSet`, `Job`, …) and name.
    pub fn owner(mut self, kind: &str, name: &str) -> Self {
        self.owner = Some((kind.to_owned(), name.to_owned()));
        self
    }

    /// Sets `terminationGracePeriodSeconds`, in whole seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// One incarnation of a pod in a [`Cluster`](crate::Cluster): the handle that operations take. It stays valid as a name after the pod is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pod {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
}

impl Pod {
    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pod's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

/// A network interface that a pod has besides its first, as in `k8s.v1.cni.cncf.io/network-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain data that users build")]
pub struct Attachment {
    /// The network: `namespace/name`.
    pub network: String,
    /// The interface's name in the pod.
    pub interface: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// How a pod finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Kubernetes has these two terminal phases")]
pub enum Outcome {
    /// All containers ended with exit code 0.
    Succeeded,
    /// A container ended with another exit code.
    Failed,
}

/// A pod's phase, and what is known in it.
#[derive(Debug)]
pub(crate) enum Phase {
    Pending,
    Running,
    Finished(Outcome),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) started: Stamp,
    pub(crate) finished: Stamp,
    pub(crate) code: u8,
}

/// The container as the kubelet tells of it.
#[derive(Debug)]
pub(crate) enum Container {
    Waiting,
    Running(Stamp),
    Ended(Ended),
}

/// A pod as it is now: what its JSON is written from.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) spec: PodSpec,
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) created: Stamp,
    pub(crate) deletion: Option<(Stamp, u64)>,
    pub(crate) phase: Phase,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) host_ips: Vec<IpAddr>,
    pub(crate) attachments: Vec<Attachment>,
    /// When the kubelet took the pod on.
    pub(crate) started: Option<Stamp>,
    /// When `PodReadyToStartContainers` last changed.
    pub(crate) sandboxed: Option<Stamp>,
    /// When the ready conditions last changed.
    pub(crate) readied: Option<Stamp>,
    pub(crate) container: Container,
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: u32,
    pub(crate) container_id: String,
}

impl Live {
    pub(crate) fn new(spec: PodSpec, uid: Arc<str>, created: Stamp) -> Self {
        Self {
            labels: Arc::new(spec.labels.clone()),
            spec,
            uid,
            created,
            deletion: None,
            phase: Phase::Pending,
            ips: Vec::new(),
            host_ips: Vec::new(),
            attachments: Vec::new(),
            started: None,
            sandboxed: None,
            readied: None,
            container: Container::Waiting,
            last: None,
            restarts: 0,
            container_id: String::new(),
        }
    }

    pub(crate) fn handle(&self) -> Pod {
        Pod { namespace: self.spec.namespace.clone(), name: self.spec.name.clone(), uid: self.uid.clone() }
    }

    pub(crate) fn about(&self) -> About {
        About {
            name: self.spec.name.clone(),
            namespace: Some(self.spec.namespace.clone()),
            node: Some(self.spec.node.clone()),
            labels: self.labels.clone(),
        }
    }

    /// A hold from which [`Truth::set`](crate::truth::Truth::set) copies the identity.
    pub(crate) fn identity(&self, at: Timestamp) -> Hold {
        Hold {
            uid: self.uid.clone(),
            namespace: self.spec.namespace.clone(),
            name: self.spec.name.clone(),
            node: self.spec.node.clone(),
            network: crate::truth::DEFAULT_NETWORK.into(),
            ip: IpAddr::from([0; 16]),
            host_network: self.spec.host_network,
            from: at,
            to: None,
        }
    }

    /// The sandbox exists and the container runs, since `at` on the node's clock.
    pub(crate) fn start(&mut self, at: Stamp) {
        self.phase = Phase::Running;
        self.started = self.started.or(Some(at));
        self.sandboxed = Some(at);
        self.readied = Some(at);
        self.container = Container::Running(at);
        self.container_id = self.make_container_id();
    }

    /// The container ends with `code`, at `at` on the node's clock.
    pub(crate) fn end(&mut self, at: Stamp, code: u8) -> Ended {
        let started = match self.container {
            Container::Running(since) => since,
            Container::Waiting | Container::Ended(_) => at,
        };
        let ended = Ended { started, finished: at, code };
        self.container = Container::Ended(ended);
        ended
    }

    fn make_container_id(&self) -> String {
        let part = |n: u8| EventId::derive(&[b"container", self.uid.as_bytes(), &self.restarts.to_le_bytes(), &[n]]);
        format!("containerd://{}{}", part(0), part(1))
    }
}
