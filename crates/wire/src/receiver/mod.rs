//! The servers of both contracts, which write into a folder.

mod folder;
mod incoming;
mod output;
mod runs;
mod snoopy;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

use self::folder::Folder;
use self::runs::Runs;
use crate::generated::output::message::Kind;
use crate::generated::output::output_server::{Output, OutputServer};
use crate::generated::output::{Ack, Message};
use crate::generated::snoopy::data_endpoint_server::{DataEndpoint, DataEndpointServer};
use crate::generated::snoopy::{PodData, Response as SnoopyResponse};
use crate::name::check_name;
use crate::{Error, ErrorKind, Header, Result};

/// The longest message, in bytes.
const LONGEST_MESSAGE: usize = 4 << 20;
/// How often a quiet client is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
/// How long streams may take to end once the receiver shuts down.
const DRAIN: Duration = Duration::from_secs(10);

/// What bounds a [`Receiver`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceiverLimits {
    /// Connections at once: further ones wait. Default 512.
    pub connections: usize,
    /// Streams at once, over all connections: further ones are told to come back. Default 256.
    pub streams: usize,
    /// Bytes in one file. Default 16 GiB.
    pub file_bytes: u64,
    /// How long a new connection may take to begin with HTTP/2. Default 10 s.
    pub begin: Duration,
    /// How long a stream may send nothing. An [`Output`](crate::Output) comes back when it has something. A connection
    /// that is older is closed when it has no streams. Default 1 h.
    pub idle: Duration,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            streams: 256,
            file_bytes: 16 << 30,
            begin: Duration::from_secs(10),
            idle: Duration::from_secs(3600),
        }
    }
}

/// Takes the output of tools, in both contracts, into a folder.
///
/// # Files
/// - Our own contract: `NAMESPACE_POD_RUN.out` is the output so far, and `NAMESPACE_POD_RUN.json` says which run it is of
///   and, when it is complete, how it ended (`"end"`, null until then). A long pod's name is cut short in a file's name.
/// - snoopy's: `snoopy/POD`. Each stream appends, as snoopy's own server does: podtracer opens one for every write.
///
/// Files are made with mode 0600, and symbolic links are not followed.
///
/// # Guarantees
/// Output is acknowledged when it is durable. A receiver that was killed goes on with each run where its file ends.
///
/// # Caveats
/// Nobody is authenticated, and the number of files is not bounded: give the folder a volume of its own. One
/// receiver at a time writes a run: another one on the same folder tells clients to come back.
#[derive(Debug)]
pub struct Receiver {
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    folder: Arc<Folder>,
    runs: Arc<Runs>,
    streams: Arc<Semaphore>,
    limits: ReceiverLimits,
}

impl Receiver {
    /// A receiver into the folder, which must exist.
    ///
    /// # Errors
    /// [`ErrorKind::Folder`] if it cannot be opened.
    pub fn new(folder: &Path, limits: ReceiverLimits) -> Result<Self> {
        let opened = Folder::open(folder).map_err(|e| {
            let what = format!("cannot use folder {}: make it, and let this user write to it", folder.display());
            Error::new(ErrorKind::Folder, what).because(e)
        })?;
        let streams = Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS)));
        Ok(Self { shared: Shared { folder: Arc::new(opened), runs: Arc::default(), streams, limits } })
    }

    /// Serves until `shutdown` completes, and then until the streams have ended, which takes at most 10 s: each
    /// acknowledges what it has, and is told to come back.
    ///
    /// # Errors
    /// [`ErrorKind::Serve`] if it cannot go on.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<()> {
        let limits = self.shared.limits;
        let (stop, stopping) = watch::channel(false);
        let service = Service { shared: self.shared, stopping: stopping.clone() };
        let serving = Server::builder()
            .max_concurrent_streams(u32::try_from(limits.streams).ok())
            .max_connection_age(limits.idle)
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING))
            .add_service(OutputServer::new(service.clone()).max_decoding_message_size(LONGEST_MESSAGE))
            .add_service(DataEndpointServer::new(service).max_decoding_message_size(LONGEST_MESSAGE))
            .serve_with_incoming_shutdown(incoming::connections(listener, limits.connections, limits.begin), async {
                shutdown.await;
                stop.send_replace(true);
            });
        tokio::select! {
            served = serving => {
                served.map_err(|e| Error::new(ErrorKind::Serve, "the receiver cannot go on serving").because(e))
            }
            () = async { stopped(stopping).await; sleep(DRAIN).await; } => Ok(()),
        }
    }

    /// What the files of a run begin with, and its description, if these bytes are a message that begins one. For the fuzz
    /// target.
    #[doc(hidden)]
    pub fn run_of(message: &[u8]) -> Option<(String, String)> {
        let Kind::Header(header) = Message::decode(message).ok()?.kind? else { return None };
        let header = Header::from_proto(header).ok()?;
        Some((folder::stem(&header), folder::describe(&header).to_string()))
    }

    /// The file that these bytes are for, if they are a message of snoopy's contract. For the fuzz target.
    #[doc(hidden)]
    pub fn snoopy_file_of(message: &[u8]) -> Option<String> {
        let PodData { name, .. } = PodData::decode(message).ok()?;
        check_name("pod", &name).ok()?;
        Some(name)
    }
}

/// Completes when the receiver shuts down, or is dropped.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the receiver is gone.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

#[derive(Clone, Debug)]
struct Service {
    shared: Shared,
    stopping: watch::Receiver<bool>,
}

impl Service {
    fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.shared.streams)
            .try_acquire_owned()
            .map_err(|_full| Status::resource_exhausted("as many streams as this receiver takes are open"))
    }
}

type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

#[tonic::async_trait]
impl Output for Service {
    type WriteStream = Answers<Ack>;

    async fn write(&self, request: Request<Streaming<Message>>) -> Result<Response<Self::WriteStream>, Status> {
        let permit = self.admit()?;
        let session = output::Session::new(self.shared.clone(), request.into_inner(), self.stopping.clone());
        Ok(Response::new(answers(session, permit)))
    }
}

#[tonic::async_trait]
impl DataEndpoint for Service {
    type ExportPodDataStream = Answers<SnoopyResponse>;

    async fn export_pod_data(
        &self,
        request: Request<Streaming<PodData>>,
    ) -> Result<Response<Self::ExportPodDataStream>, Status> {
        let permit = self.admit()?;
        let session = snoopy::Session::new(self.shared.clone(), request.into_inner(), self.stopping.clone());
        Ok(Response::new(answers(session, permit)))
    }
}

/// What answers the messages of a stream.
trait Session: Send + 'static {
    type Answer: Send;

    /// Handles what comes until there is something to answer; `None` at the stream's end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Status>> + Send;
}

/// The answers of a session, which ends with its first error. The permit is held as long as the stream is.
fn answers<S: Session>(session: S, permit: OwnedSemaphorePermit) -> Answers<S::Answer> {
    Box::pin(stream::unfold(Some((session, permit)), async |state| {
        let (mut session, permit) = state?;
        match session.next().await.transpose()? {
            Ok(answer) => Some((Ok(answer), Some((session, permit)))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

/// Works on files, which may wait for the disk. It goes on to its end even if the stream does not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    // It does not panic: what is left is a runtime that shuts down.
    done.map_err(|_cancelled| Status::unavailable("the receiver is shutting down"))?.map_err(refuse_file)
}

/// What a client is told of a file that could not be used: to come back, unless that cannot help.
fn refuse_file(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Status::already_exists(error.to_string()),
        io::ErrorKind::InvalidData => Status::failed_precondition(error.to_string()),
        _ => Status::unavailable(format!("the receiver cannot write: {error}")),
    }
}

/// What a client is told of a message that could not be read. Too long and undecodable ones have codes of the server's
/// own in tonic; others are about the connection, and the client will hardly hear them.
fn refuse_message(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::Internal => Status::invalid_argument(status.message()),
        _ => status,
    }
}
