//! The servers of both contracts, which write into a folder.

mod folder;
mod incoming;
mod limits;
mod output;
mod places;
mod room;
mod runs;
mod sessions;
mod share;
mod snoopy;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

use self::folder::Folder;
use self::incoming::{Peer, Used};
pub use self::limits::ReceiverLimits;
use self::places::{Place, Places};
use self::runs::Runs;
use self::sessions::{Answers, Sessions};
use self::share::{Share, Shares};
use crate::generated::output::message::Kind;
use crate::generated::output::output_server::{Output, OutputServer};
use crate::generated::output::{Ack, Message};
use crate::generated::snoopy::data_endpoint_server::{DataEndpoint, DataEndpointServer};
use crate::generated::snoopy::{PodData, Response as SnoopyResponse};
use crate::name::check_name;
use crate::{Error, ErrorKind, Header, Result};

/// The longest message, in bytes.
const LONGEST_MESSAGE: usize = 4 << 20;
/// How long streams may take to end once the receiver shuts down.
const DRAIN: Duration = Duration::from_secs(10);

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
/// What comes from outside is bounded in size, number and time, as [`ReceiverLimits`] says. A client that is there and quiet
/// is waited for.
///
/// # Caveats
/// Nobody is authenticated: whoever reaches the receiver can use up what its addresses may have. Give the folder a volume of its
/// own. One receiver at a time writes a run: another one on the same folder tells clients to come back.
#[derive(Debug)]
pub struct Receiver {
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    folder: Arc<Folder>,
    runs: Arc<Runs>,
    places: Arc<Places>,
    shares: Arc<Shares>,
    limits: ReceiverLimits,
}

impl Receiver {
    /// A receiver into the folder, which must exist.
    ///
    /// # Errors
    /// [`ErrorKind::Folder`] if it cannot be opened.
    pub fn new(folder: &Path, limits: ReceiverLimits) -> Result<Self> {
        let opened = Folder::open(folder, &limits).map_err(|e| {
            let what = format!("cannot use folder {}: make it, and let this user write to it", folder.display());
            Error::new(ErrorKind::Folder, what).because(e)
        })?;
        let limits = limits.sane();
        let (places, shares) = (Places::new(limits.streams, limits.idle), Shares::new(limits.peer_streams));
        Ok(Self { shared: Shared { folder: Arc::new(opened), runs: Arc::default(), places, shares, limits } })
    }

    /// Serves until `shutdown` completes, and then until the streams have ended, which takes at most 10 s: each
    /// acknowledges what it has, and is told to come back.
    ///
    /// # Errors
    /// [`ErrorKind::Serve`] if it cannot go on.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<()> {
        let limits = self.shared.limits;
        let (stop, stopping) = watch::channel(false);
        let (sessions, driving) = Sessions::new(limits.stall);
        let service = Service { shared: self.shared, sessions, stopping: stopping.clone() };
        let serving = Server::builder()
            .max_concurrent_streams(u32::try_from(limits.streams).ok())
            .max_connection_age(limits.unused)
            .http2_keepalive_interval(Some(limits.ping))
            .http2_keepalive_timeout(Some(limits.ping))
            .add_service(OutputServer::new(service.clone()).max_decoding_message_size(LONGEST_MESSAGE))
            .add_service(DataEndpointServer::new(service).max_decoding_message_size(LONGEST_MESSAGE))
            .serve_with_incoming_shutdown(incoming::connections(listener, &limits), async {
                shutdown.await;
                stop.send_replace(true);
            });
        tokio::select! {
            served = serving => {
                served.map_err(|e| Error::new(ErrorKind::Serve, "the receiver cannot go on serving").because(e))
            }
            () = async { stopped(stopping).await; sleep(DRAIN).await; } => Ok(()),
            () = driving => unreachable!("it never ends"),
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
    sessions: Sessions,
    stopping: watch::Receiver<bool>,
}

impl Service {
    fn admit<M>(&self, request: Request<Streaming<M>>) -> Result<Client<M>, Status> {
        let full = |what: &str| Status::resource_exhausted(format!("as many streams as {what} are open"));
        let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("nobody is connected"))?;
        let share = self.shared.shares.take(peer.address).ok_or_else(|| full("one peer may have"))?;
        let place = self.shared.places.take().ok_or_else(|| full("this receiver takes"))?;
        let (used, stopping) = (peer.used(), self.stopping.clone());
        Ok(Client { messages: request.into_inner(), stopping, place, _used: used, _share: share })
    }
}

/// The other end of a stream.
#[derive(Debug)]
struct Client<M> {
    messages: Streaming<M>,
    stopping: watch::Receiver<bool>,
    place: Place,
    _used: Used,
    _share: Share,
}

impl<M> Client<M> {
    /// The next message, however long it takes: HTTP/2's pings say whether the client is there. Cancelling it loses nothing.
    async fn message(&mut self) -> Result<Option<M>, Status> {
        let message = tokio::select! { biased;
            () = stopped(self.stopping.clone()) => return Err(shutting_down()),
            () = self.place.lost() => {
                return Err(Status::deadline_exceeded("the stream was idle for long, and its place is another's now"));
            }
            message = self.messages.message() => message.map_err(refuse_message)?,
        };
        self.place.heard();
        Ok(message)
    }
}

#[tonic::async_trait]
impl Output for Service {
    type WriteStream = Answers<Ack>;

    async fn write(&self, request: Request<Streaming<Message>>) -> Result<Response<Self::WriteStream>, Status> {
        let session = output::Session::new(self.shared.clone(), self.admit(request)?);
        Ok(Response::new(self.sessions.drive(session).await?))
    }
}

#[tonic::async_trait]
impl DataEndpoint for Service {
    type ExportPodDataStream = Answers<SnoopyResponse>;

    async fn export_pod_data(
        &self,
        request: Request<Streaming<PodData>>,
    ) -> Result<Response<Self::ExportPodDataStream>, Status> {
        let session = snoopy::Session::new(self.shared.clone(), self.admit(request)?);
        Ok(Response::new(self.sessions.drive(session).await?))
    }
}

/// Works on files, which may wait for the disk. It goes on to its end even if the stream does not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    // It does not panic: what is left is a runtime that shuts down.
    done.map_err(|_cancelled| shutting_down())?.map_err(refuse_file)
}

fn shutting_down() -> Status {
    Status::unavailable("the receiver is shutting down")
}

/// What a client is told of a file that could not be used: to come back, unless that cannot help.
fn refuse_file(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Status::already_exists(error.to_string()),
        io::ErrorKind::InvalidData => Status::failed_precondition(error.to_string()),
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => {
            Status::resource_exhausted(format!("the receiver's folder is full: {error}"))
        }
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
