use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint as Origin};
use tower::service_fn;

use crate::Endpoint;
use crate::generated::runtime_service_client::RuntimeServiceClient;

/// As much as the kubelet accepts: the list of a node full of pods fits in.
const MAX_MESSAGE: usize = 16 << 20;

pub(crate) type Runtime = RuntimeServiceClient<Channel>;

/// The connection to a runtime, made with the first call and again when it is lost.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) runtime: Runtime,
    is_visible: Arc<AtomicBool>,
}

impl Connection {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let is_visible = Arc::new(AtomicBool::new(false));
        let (path, seen) = (endpoint.path().to_owned(), Arc::clone(&is_visible));
        let socket = service_fn(move |_| {
            let (path, seen) = (path.clone(), Arc::clone(&seen));
            async move {
                let stream = UnixStream::connect(path).await?;
                seen.store(has_a_number(&stream), Ordering::Relaxed);
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The origin of every request; a Unix socket has none.
        let channel = Origin::from_static("http://localhost").connect_with_connector_lazy(socket);
        Self { runtime: RuntimeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE), is_visible }
    }

    /// Whether the runtime's process is seen from our pid namespace, as far as the last connection told.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_visible(&self) -> bool {
        self.is_visible.load(Ordering::Relaxed)
    }
}

/// `SO_PEERCRED` of unix(7) gives a process of a pid namespace that is not ours, nor below it, the number 0.
fn has_a_number(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.pid().is_some_and(|pid| pid > 0))
}
