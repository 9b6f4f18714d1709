use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Response, Status};

use crate::connect::{Connection, Runtime};
use crate::events::Events;
use crate::generated as proto;
use crate::pod::{Labels, Pod, choose};
use crate::sandbox::{Container, ContainerStatus, Filter, Sandbox, SandboxStatus};
use crate::{ContainerState, Endpoint, Error, ErrorKind, Listing, Location, Result};

/// How a [`Client`] asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long each call may take, connecting included. 10 s by default.
    pub timeout: Duration,
    /// Where the node's root directory is: `/`, or in a container the folder that it is mounted on, such as `/host`. The paths that the
    /// runtime says are below it.
    pub root: PathBuf,
    /// Where the process file system of the runtime's pid namespace is mounted: `/proc`, or in a container without `hostPID` the
    /// folder that the node's is mounted on, such as `/host/proc`. There a namespace is also opened through the sandbox's process, where
    /// the path that the runtime says is not mounted.
    pub proc: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), root: "/".into(), proc: "/proc".into() }
    }
}

/// A container runtime, asked over CRI v1.
///
/// Nothing is connected before the first call, and the connection is made again when it was lost. The first call must be in a Tokio
/// runtime, which the connection stays with.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    config: Config,
    connection: OnceLock<Connection>,
}

/// What runtime it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// `containerd`, `cri-o`, `docker`.
    pub runtime: String,
    /// Its own version.
    pub version: String,
    /// The version of CRI: `v1`.
    pub api: String,
}

/// Whether something that pods need works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// `RuntimeReady`, `NetworkReady`, or another of the runtime's.
    pub kind: String,
    /// Whether it is so.
    pub holds: bool,
    /// Why not, in one word.
    pub reason: String,
    /// Why not, for people.
    pub message: String,
}

impl Client {
    /// A client of the runtime at this endpoint. Neither connects nor waits.
    pub fn new(endpoint: &Endpoint, config: Config) -> Self {
        Self { endpoint: endpoint.clone(), config, connection: OnceLock::new() }
    }

    /// What runtime it is.
    ///
    /// # Errors
    ///
    /// As every call: if the runtime cannot be reached, does not answer in time, does not have the call, or fails.
    pub async fn version(&self) -> Result<Version> {
        let request = proto::VersionRequest { version: "v1".into() };
        let answer = self.call("Version", "the runtime", async |mut runtime| runtime.version(request).await).await?;
        Ok(Version { runtime: answer.runtime_name, version: answer.runtime_version, api: answer.runtime_api_version })
    }

    /// Whether the runtime and its network work.
    ///
    /// # Errors
    ///
    /// As every call: if the runtime cannot be reached, does not answer in time, does not have the call, or fails.
    pub async fn status(&self) -> Result<Vec<Condition>> {
        let request = proto::StatusRequest::default();
        let answer = self.call("Status", "the runtime", async |mut runtime| runtime.status(request).await).await?;
        let conditions = answer.status.unwrap_or_default().conditions.into_iter();
        let condition = |c: proto::RuntimeCondition| Condition {
            kind: c.r#type,
            holds: c.status,
            reason: c.reason,
            message: c.message,
        };
        Ok(conditions.map(condition).collect())
    }

    /// The sandboxes of this node that match, in no order.
    ///
    /// # Errors
    ///
    /// As every call: if the runtime cannot be reached, does not answer in time, does not have the call, or fails.
    pub async fn sandboxes(&self, filter: &Filter) -> Result<Listing<Sandbox>> {
        self.list(filter).await.map(|sandboxes| Listing::of(sandboxes, Sandbox::check))
    }

    /// What the runtime says, right or wrong.
    async fn list(&self, filter: &Filter) -> Result<Vec<Sandbox>> {
        let request = proto::ListPodSandboxRequest { filter: Some(filter.to_proto()) };
        let list = async |mut runtime: Runtime| runtime.list_pod_sandbox(request).await;
        let answer = self.call("ListPodSandbox", "sandboxes", list).await?;
        Ok(answer.items.into_iter().map(Sandbox::said).filter(|sandbox| filter.matches(sandbox)).collect())
    }

    /// The ready sandboxes of all pods that have these labels, in the order of namespace and name, one per pod.
    ///
    /// # Errors
    ///
    /// As every call: if the runtime cannot be reached, does not answer in time, does not have the call, or fails.
    pub async fn ready_sandboxes(&self, labels: &Labels) -> Result<Listing<Sandbox>> {
        let filter = Filter { ready: Some(true), labels: labels.clone(), ..Filter::default() };
        let mut sandboxes = self.sandboxes(&filter).await?;
        sandboxes.found.sort_by(|a, b| {
            let newest_first = (b.created, b.attempt).cmp(&(a.created, a.attempt));
            pod_of(a).cmp(&pod_of(b)).then(newest_first)
        });
        sandboxes.found.dedup_by(|a, b| pod_of(a) == pod_of(b));
        Ok(sandboxes)
    }

    /// What the runtime says of the sandbox with this id.
    ///
    /// # Errors
    ///
    /// As every call, or if there is none.
    pub async fn sandbox(&self, id: &str) -> Result<SandboxStatus> {
        let request = proto::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: true };
        let status = async |mut runtime: Runtime| runtime.pod_sandbox_status(request).await;
        let status = SandboxStatus::answered(self.call("PodSandboxStatus", &format!("sandbox {id}"), status).await?)?;
        match status.sandbox.id.starts_with(id) {
            true => Ok(status),
            false => {
                Err(Error::new(ErrorKind::Malformed, format!("asked for sandbox {id}, the runtime told of another")))
            }
        }
    }

    /// The sandbox of a pod on this node: the newest that is ready.
    ///
    /// # Errors
    ///
    /// As every call. If there is none ([`NoSandbox`](ErrorKind::NoSandbox)), none is ready ([`NotReady`](ErrorKind::NotReady)), one
    /// that the runtime lists wrongly may be it ([`Malformed`](ErrorKind::Malformed)), or ready ones are of several UIDs
    /// ([`Ambiguous`](ErrorKind::Ambiguous)).
    pub async fn sandbox_of(&self, pod: &Pod) -> Result<SandboxStatus> {
        let mut sandboxes = self.list(&Filter { labels: pod.labels(), ..Filter::default() }).await?;
        if sandboxes.iter().all(|sandbox| sandbox.check().is_err()) {
            // One that the kubelet did not make has no labels of the kubelet's.
            sandboxes = self.list(&Filter::default()).await?;
        }
        let chosen = choose(pod, sandboxes)?;
        let gone = |e| Error::caused(ErrorKind::SandboxChanged, format!("the sandbox of {pod} went away"), e);
        let status =
            self.sandbox(&chosen.id).await.map_err(|e| if e.kind() == ErrorKind::NotFound { gone(e) } else { e })?;
        choose(pod, vec![status.sandbox.clone()])?;
        Ok(status)
    }

    /// The containers of a sandbox, the older first.
    ///
    /// # Errors
    ///
    /// As every call: if the runtime cannot be reached, does not answer in time, does not have the call, or fails.
    pub async fn containers(&self, sandbox: &Sandbox) -> Result<Listing<Container>> {
        let filter = proto::ContainerFilter { pod_sandbox_id: sandbox.id.clone(), ..Default::default() };
        let request = proto::ListContainersRequest { filter: Some(filter) };
        let list = async |mut runtime: Runtime| runtime.list_containers(request).await;
        let answer = self.call("ListContainers", &format!("sandbox {}", sandbox.id), list).await?;
        let its_own = answer.containers.into_iter().filter(|container| container.pod_sandbox_id == sandbox.id);
        let mut containers = Listing::of(its_own.map(Container::said), Container::check);
        containers.found.sort_by_key(|container| (container.created, container.attempt));
        Ok(containers)
    }

    /// What the runtime says of the container with this id.
    ///
    /// # Errors
    ///
    /// As every call, or if there is none.
    pub async fn container(&self, id: &str) -> Result<ContainerStatus> {
        let request = proto::ContainerStatusRequest { container_id: id.into(), verbose: true };
        let status = async |mut runtime: Runtime| runtime.container_status(request).await;
        let status =
            ContainerStatus::answered(self.call("ContainerStatus", &format!("container {id}"), status).await?)?;
        match status.container.id.starts_with(id) {
            true => Ok(status),
            false => {
                Err(Error::new(ErrorKind::Malformed, format!("asked for container {id}, the runtime told of another")))
            }
        }
    }

    /// What happens to containers, from now on.
    ///
    /// # Errors
    ///
    /// As every call. Not every runtime has it ([`Unsupported`](ErrorKind::Unsupported)), which some tell only when the first event is
    /// waited for.
    pub async fn events(&self) -> Result<Events> {
        let mut runtime = self.runtime();
        let request = proto::GetEventsRequest::default();
        let mut events = Events::new(async move { runtime.get_container_events(request).await }, self.endpoint.clone());
        let mut version = pin!(self.version());
        // A runtime in Go says nothing before the first event. One that answers a later call has got this one.
        poll_fn(|context| match events.poll_open(context) {
            Poll::Pending => version.as_mut().poll(context).map_ok(drop),
            opened => opened,
        })
        .await?;
        Ok(events)
    }

    /// Where a sandbox's network namespace is, by what the runtime says of it or, where that is nothing, of its running containers.
    ///
    /// # Errors
    ///
    /// As every call. If the sandbox is not ready, what is said is of no use, or nothing is said
    /// ([`NoNamespace`](ErrorKind::NoNamespace)).
    pub async fn namespace_of(&self, sandbox: &SandboxStatus) -> Result<Location> {
        if let Some(location) = sandbox.location()? {
            return Ok(location);
        }
        let id = &sandbox.sandbox.id;
        let Listing { found, mut malformed } = self.containers(&sandbox.sandbox).await?;
        for container in found.iter().filter(|container| container.state == ContainerState::Running) {
            match self.location_by(container, sandbox).await {
                Ok(Some(location)) => return Ok(location),
                Ok(None) => {}
                // It has ended since.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                // Another may tell.
                Err(e) if e.kind() == ErrorKind::Malformed => malformed.push(e),
                Err(e) => return Err(e),
            }
        }
        let what = format!("the runtime does not say where the network namespace of sandbox {id} is");
        Err(match malformed.pop() {
            Some(e) => Error::caused(ErrorKind::Malformed, what, e),
            None => Error::new(ErrorKind::NoNamespace, format!("{what}, and no container runs in it")),
        })
    }

    async fn location_by(&self, container: &Container, sandbox: &SandboxStatus) -> Result<Option<Location>> {
        let info = self.container(&container.id).await?.info()?.unwrap_or_default();
        let is_its_own = info.sandbox_id.as_ref().is_none_or(|of| *of == sandbox.sandbox.id);
        if is_its_own { info.location(sandbox.host_network) } else { Ok(None) }
    }

    #[cfg(target_os = "linux")]
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn peer(&self) -> i32 {
        self.connection.get().map_or(0, Connection::peer)
    }

    fn runtime(&self) -> Runtime {
        self.connection.get_or_init(|| Connection::new(&self.endpoint)).runtime.clone()
    }

    async fn call<T>(
        &self,
        call: &str,
        object: &str,
        request: impl AsyncFnOnce(Runtime) -> Result<Response<T>, Status>,
    ) -> Result<T> {
        match timeout(self.config.timeout, request(self.runtime())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Error::answered(call, object, &self.endpoint, status)),
            Err(_elapsed) => Err(Error::late(call, object, &self.endpoint)),
        }
    }
}

fn pod_of(sandbox: &Sandbox) -> [&str; 3] {
    [&sandbox.namespace, &sandbox.name, &sandbox.uid]
}
