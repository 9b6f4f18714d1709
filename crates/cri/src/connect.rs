use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

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
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "asked by what opens processes"))]
    peer: Arc<AtomicI32>,
}

impl Connection {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let peer = Arc::new(AtomicI32::new(0));
        let (path, seen) = (endpoint.path().to_owned(), Arc::clone(&peer));
        let socket = service_fn(move |_| {
            let (path, seen) = (path.clone(), Arc::clone(&seen));
            async move {
                let stream = UnixStream::connect(path).await?;
                seen.store(stream.peer_cred()?.pid().unwrap_or(0), Ordering::Relaxed);
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The origin of every request; a Unix socket has none.
        let channel = Origin::from_static("http://localhost").connect_with_connector_lazy(socket);
        Self { runtime: RuntimeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE), peer }
    }

    /// The process that listens, by the last connection; 0 if it is in a pid namespace that is neither ours nor below it
    /// (`SO_PEERCRED` of unix(7)).
    #[cfg(target_os = "linux")]
    pub(crate) fn peer(&self) -> i32 {
        self.peer.load(Ordering::Relaxed)
    }
}
