//! A container runtime on a Unix socket that says what a test wants.

#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, dead_code,
    unnameable_types, unreachable_pub, unused_qualifications, reason = "generated")]
#[rustfmt::skip]
mod generated;
#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, dead_code,
    unnameable_types, unreachable_pub, unused_qualifications, reason = "generated")]
#[rustfmt::skip]
#[path = "../../../src/generated.rs"]
mod messages;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::stream;
use podtrail_cri::{Client, Config, Endpoint};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};

use generated::runtime_service_server::{RuntimeService, RuntimeServiceServer};
pub(crate) use messages::*;

/// What a call does instead of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Hang,
    Unimplemented,
    Fails,
}

type Change = Box<dyn FnOnce(&mut State) + Send>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) sandboxes: Vec<PodSandboxStatusResponse>,
    /// With their sandboxes' ids.
    pub(crate) containers: Vec<(String, ContainerStatusResponse)>,
    pub(crate) events: Vec<ContainerEventResponse>,
    /// How long the first event takes, before which the stream's headers are not sent either: as runtimes in Go do it.
    pub(crate) quiet: Duration,
    /// The names of the calls so far.
    pub(crate) calls: Vec<&'static str>,
    /// What listings were asked for.
    pub(crate) filters: Vec<PodSandboxFilter>,
    pub(crate) fault: Option<Fault>,
    pub(crate) ignores_filters: bool,
    /// What changes before the next call of this name is answered, in turn.
    changes: Vec<(&'static str, Change)>,
}

/// A runtime that listens as long as it is kept.
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    folder: TempDir,
    server: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let mut fake = Self { state: Arc::default(), folder: tempfile::tempdir().unwrap(), server: None };
        fake.listen();
        fake
    }

    /// Takes the socket away from whom it was.
    pub(crate) fn listen(&mut self) {
        self.stop();
        let listener = UnixListener::bind(self.socket()).unwrap();
        let incoming = stream::unfold(listener, |listener| async {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        });
        let service = RuntimeServiceServer::new(Service(Arc::clone(&self.state)));
        self.server = Some(tokio::spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        }));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes something before the next call of this name is answered; several such changes are for the calls after it.
    pub(crate) fn before(&self, call: &'static str, change: impl FnOnce(&mut State) + Send + 'static) {
        self.state().changes.push((call, Box::new(change)));
    }

    pub(crate) fn client(&self) -> Client {
        let mut config = Config::default();
        config.timeout = Duration::from_secs(2);
        self.client_with(config)
    }

    pub(crate) fn client_with(&self, config: Config) -> Client {
        let endpoint: Endpoint = self.socket().to_str().unwrap().parse().unwrap();
        Client::new(&endpoint, config)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A ready sandbox of a pod in the namespace `default`, with the kubelet's labels.
pub(crate) fn sandbox(id: &str, name: &str, uid: &str, info: &str) -> PodSandboxStatusResponse {
    let labels = [("namespace", "default"), ("name", name), ("uid", uid)];
    let labels = labels.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.to_owned()));
    let namespaces = Namespace { options: Some(NamespaceOption { network: NamespaceMode::Pod.into() }) };
    let status = PodSandboxStatus {
        id: id.into(),
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: uid.into(),
            namespace: "default".into(),
            attempt: 0,
        }),
        state: PodSandboxState::SandboxReady.into(),
        created_at: 1_000_000_000,
        network: Some(PodSandboxNetworkStatus {
            ip: "10.244.0.7".into(),
            additional_ips: vec![PodIp { ip: "fd00::7".into() }],
        }),
        linux: Some(LinuxPodSandboxStatus { namespaces: Some(namespaces) }),
        labels: BTreeMap::from(labels),
    };
    PodSandboxStatusResponse { status: Some(status), info: verbose(info) }
}

/// A running container.
pub(crate) fn container(id: &str, name: &str, info: &str) -> ContainerStatusResponse {
    let status = ContainerStatus {
        id: id.into(),
        metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
        state: ContainerState::ContainerRunning.into(),
        created_at: 2_000_000_000,
    };
    ContainerStatusResponse { status: Some(status), info: verbose(info) }
}

fn verbose(info: &str) -> BTreeMap<String, String> {
    let entry = (!info.is_empty()).then(|| ("info".to_owned(), info.to_owned()));
    entry.into_iter().collect()
}

impl PodSandboxStatusResponse {
    pub(crate) fn status(&mut self) -> &mut PodSandboxStatus {
        self.status.as_mut().unwrap()
    }
}

struct Service(Arc<Mutex<State>>);

impl Service {
    async fn answer<T>(
        &self,
        call: &'static str,
        answer: impl FnOnce(&mut State) -> Option<T>,
    ) -> Result<Response<T>, Status> {
        let fault = {
            let mut state = self.0.lock().unwrap();
            state.calls.push(call);
            if let Some(next) = state.changes.iter().position(|(name, _)| *name == call) {
                let (_, change) = state.changes.remove(next);
                change(&mut state);
            }
            state.fault
        };
        match fault {
            None => {}
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Unimplemented) => {
                return Err(Status::unimplemented("unknown service runtime.v1.RuntimeService"));
            }
            Some(Fault::Fails) => return Err(Status::unknown("failed to get sandbox ip: no")),
        }
        let found = answer(&mut self.0.lock().unwrap());
        found.map(Response::new).ok_or_else(|| Status::not_found("not found"))
    }
}

#[async_trait]
impl RuntimeService for Service {
    async fn version(&self, request: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        assert_eq!(request.into_inner().version, "v1");
        let answer = VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "fake".into(),
            runtime_version: "1.2.3".into(),
            runtime_api_version: "v1".into(),
        };
        self.answer("Version", |_| Some(answer)).await
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let condition = RuntimeCondition {
            r#type: "NetworkReady".into(),
            status: false,
            reason: "NetworkPluginNotReady".into(),
            message: "cni plugin not initialized".into(),
        };
        let status = RuntimeStatus { conditions: vec![condition] };
        self.answer("Status", |_| Some(StatusResponse { status: Some(status) })).await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.answer("ListPodSandbox", |state| {
            state.filters.push(filter.clone());
            let all = state.sandboxes.iter().filter_map(|sandbox| sandbox.status.clone());
            let wanted = all.filter(|s| {
                let labels = filter.label_selector.iter().all(|(key, value)| s.labels.get(key) == Some(value));
                let ready = filter.state.as_ref().is_none_or(|state| s.state == state.state);
                state.ignores_filters || labels && ready && s.id.starts_with(&filter.id)
            });
            let items = wanted.map(|s| PodSandbox {
                id: s.id,
                metadata: s.metadata,
                state: s.state,
                created_at: s.created_at,
                labels: s.labels,
            });
            Some(ListPodSandboxResponse { items: items.collect() })
        })
        .await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Result<Response<PodSandboxStatusResponse>, Status> {
        let PodSandboxStatusRequest { pod_sandbox_id: id, verbose } = request.into_inner();
        assert!(verbose);
        self.answer("PodSandboxStatus", |state| {
            state.sandboxes.iter().find(|s| s.status.as_ref().is_some_and(|status| status.id == id)).cloned()
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.answer("ListContainers", |state| {
            let wanted =
                state.containers.iter().filter(|(of, _)| state.ignores_filters || *of == filter.pod_sandbox_id);
            let containers = wanted.map(|(of, container)| {
                let ContainerStatus { id, metadata, state, created_at } = container.status.clone().unwrap();
                Container { id, pod_sandbox_id: of.clone(), metadata, state, created_at }
            });
            Some(ListContainersResponse { containers: containers.collect() })
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let ContainerStatusRequest { container_id: id, verbose } = request.into_inner();
        assert!(verbose);
        self.answer("ContainerStatus", |state| {
            let (_, container) =
                state.containers.iter().find(|(_, c)| c.status.as_ref().is_some_and(|status| status.id == id))?;
            Some(container.clone())
        })
        .await
    }

    type GetContainerEventsStream = BoxStream<ContainerEventResponse>;

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        let quiet = self.0.lock().unwrap().quiet;
        tokio::time::sleep(quiet).await;
        self.answer("GetContainerEvents", |state| {
            let events = std::mem::take(&mut state.events).into_iter().map(Ok);
            Some(Box::pin(stream::iter(events)) as BoxStream<_>)
        })
        .await
    }
}
