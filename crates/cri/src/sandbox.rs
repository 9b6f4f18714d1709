use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::generated::{self as proto, ContainerState as State, NamespaceMode, PodSandboxState};
use crate::id::is_id;
use crate::info::{Location, SandboxInfo};
use crate::{Error, ErrorKind, Labels, Result, pod};

/// A pod's sandbox: what its containers share, above all the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// Whether its network is set up, and not yet taken down.
    pub ready: bool,
    /// When it was made.
    pub created: SystemTime,
    /// The pod's labels when the sandbox was made, and the kubelet's own.
    pub labels: BTreeMap<String, String>,
}

/// Which sandboxes to list. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only the one with this id.
    pub id: Option<String>,
    /// Only those that are, or are not, ready.
    pub ready: Option<bool>,
    /// Only those that have all these labels.
    pub labels: Labels,
}

impl Filter {
    pub(crate) fn to_proto(&self) -> proto::PodSandboxFilter {
        let state = self.ready.map(|ready| match ready {
            true => PodSandboxState::SandboxReady,
            false => PodSandboxState::SandboxNotready,
        });
        proto::PodSandboxFilter {
            id: self.id.clone().unwrap_or_default(),
            state: state.map(|state| proto::PodSandboxStateValue { state: state.into() }),
            label_selector: self.labels.to_map(),
        }
    }

    /// A runtime may have overlooked a part of the filter.
    pub(crate) fn matches(&self, sandbox: &Sandbox) -> bool {
        // The runtime takes the first characters of an id for it.
        self.id.as_ref().is_none_or(|id| sandbox.id.starts_with(&**id))
            && self.ready.is_none_or(|ready| sandbox.ready == ready)
            && self.labels.matches(&sandbox.labels)
    }
}

/// A sandbox with all that the runtime says of it, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxStatus {
    /// What a listing says of it.
    pub sandbox: Sandbox,
    /// Whether it is in the node's network instead of one of its own.
    pub host_network: bool,
    /// The pod's addresses, the primary first. None in the node's network.
    pub addresses: Vec<IpAddr>,
    info: Option<String>,
}

impl SandboxStatus {
    /// What the runtime says beyond CRI; `None` if nothing.
    ///
    /// # Errors
    ///
    /// As those of [`SandboxInfo::parse`].
    pub fn info(&self) -> Result<Option<SandboxInfo>> {
        self.info.as_deref().map(SandboxInfo::parse).transpose()
    }

    /// Where the network namespace is, as far as the sandbox alone tells. [`Client::namespace_of`](crate::Client::namespace_of) asks
    /// its containers too.
    ///
    /// # Errors
    ///
    /// If it is not ready, or what the runtime says is of no use.
    pub fn location(&self) -> Result<Option<Location>> {
        if !self.sandbox.ready {
            return Err(pod::not_ready(&self.sandbox));
        }
        self.info()?.map_or(Ok(None), |info| info.location(self.host_network))
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContainerState {
    /// It was made, and not yet started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// How often it was restarted.
    pub attempt: u32,
    /// What it does.
    pub state: ContainerState,
    /// When it was made.
    pub created: SystemTime,
}

/// A container with what the runtime says of its process, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStatus {
    /// What a listing says of it.
    pub container: Container,
    info: Option<String>,
}

impl ContainerStatus {
    /// What the runtime says beyond CRI; `None` if nothing.
    ///
    /// # Errors
    ///
    /// As those of [`SandboxInfo::parse`].
    pub fn info(&self) -> Result<Option<SandboxInfo>> {
        self.info.as_deref().map(SandboxInfo::parse).transpose()
    }
}

impl Sandbox {
    /// As the runtime says it: [`check`](Self::check) before anyone sees it.
    pub(crate) fn said(sandbox: proto::PodSandbox) -> Self {
        let proto::PodSandbox { id, metadata, state, created_at, labels } = sandbox;
        let metadata = metadata.unwrap_or_default();
        Self {
            id,
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            attempt: metadata.attempt,
            ready: state == i32::from(PodSandboxState::SandboxReady),
            created: time(created_at),
            labels,
        }
    }

    /// Whether it is what CRI v1 says.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { id, namespace, name, uid, .. } = self;
        let why = match is_id(id) {
            false => "an id that is none",
            true if name.is_empty() && uid.is_empty() => "no pod",
            true => return Ok(()),
        };
        let [id, namespace, name, uid] = [id, namespace, name, uid].map(|text| shown(text));
        let what = format!("sandbox {id} of pod {namespace}/{name} (UID {uid}) has {why}");
        Err(Error::new(ErrorKind::Malformed, what))
    }
}

impl SandboxStatus {
    pub(crate) fn answered(answer: proto::PodSandboxStatusResponse) -> Result<Self> {
        let proto::PodSandboxStatusResponse { status, mut info } = answer;
        let mut status = status.ok_or_else(|| Error::new(ErrorKind::Malformed, "a sandbox's status is empty"))?;
        let (network, linux) = (status.network.take().unwrap_or_default(), status.linux.take());
        let sandbox = stated(status)?;
        let id = &sandbox.id;
        let texts = [network.ip].into_iter().chain(network.additional_ips.into_iter().map(|address| address.ip));
        let addresses = texts.filter(|text| !text.is_empty()).map(|text| {
            text.parse().map_err(|e| {
                Error::caused(ErrorKind::Malformed, format!("sandbox {id} has an address that is none"), e)
            })
        });
        let addresses = addresses.collect::<Result<_>>()?;
        let mode = linux.and_then(|linux| linux.namespaces?.options).map(|options| options.network);
        let host_network = mode == Some(NamespaceMode::Node.into());
        Ok(Self { sandbox, host_network, addresses, info: info.remove("info") })
    }
}

/// What a listing would say of the sandbox with this status.
pub(crate) fn stated(status: proto::PodSandboxStatus) -> Result<Sandbox> {
    let proto::PodSandboxStatus { id, metadata, state, created_at, labels, .. } = status;
    let sandbox = Sandbox::said(proto::PodSandbox { id, metadata, state, created_at, labels });
    sandbox.check().map(|()| sandbox)
}

impl Container {
    /// As the runtime says it: [`check`](Self::check) before anyone sees it.
    pub(crate) fn said(container: proto::Container) -> Self {
        let proto::Container { id, metadata, state, created_at, .. } = container;
        let metadata = metadata.unwrap_or_default();
        let state = match State::try_from(state) {
            Ok(State::ContainerCreated) => ContainerState::Created,
            Ok(State::ContainerRunning) => ContainerState::Running,
            Ok(State::ContainerExited) => ContainerState::Exited,
            Ok(State::ContainerUnknown) | Err(_) => ContainerState::Unknown,
        };
        Self { id, name: metadata.name, attempt: metadata.attempt, state, created: time(created_at) }
    }

    /// Whether it is what CRI v1 says.
    pub(crate) fn check(&self) -> Result<()> {
        match is_id(&self.id) {
            true => Ok(()),
            false => {
                let what = format!("container {} ({}) has an id that is none", shown(&self.name), shown(&self.id));
                Err(Error::new(ErrorKind::Malformed, what))
            }
        }
    }
}

impl ContainerStatus {
    pub(crate) fn answered(mut answer: proto::ContainerStatusResponse) -> Result<Self> {
        let status = answer.status.ok_or_else(|| Error::new(ErrorKind::Malformed, "a container's status is empty"))?;
        let proto::ContainerStatus { id, metadata, state, created_at } = status;
        let container = proto::Container { id, pod_sandbox_id: String::new(), metadata, state, created_at };
        let container = Container::said(container);
        container.check()?;
        Ok(Self { container, info: answer.info.remove("info") })
    }
}

/// What may be anything, for a message to people.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 120;
    format!("{:?}", text.chars().take(MOST).collect::<String>())
}

/// Nanoseconds since 1970. What is before is not known.
pub(crate) fn time(nanoseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds.try_into().unwrap_or(0))
}
