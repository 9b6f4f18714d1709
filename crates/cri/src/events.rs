use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tonic::{Response, Status, Streaming};

use crate::generated::{ContainerEventResponse, ContainerEventType};
use crate::id::is_id;
use crate::sandbox::{Sandbox, shown, stated, time};
use crate::{Endpoint, Error, ErrorKind, Result};

/// What happened to a container or to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// It was made.
    Created,
    /// It was started.
    Started,
    /// It has ended.
    Stopped,
    /// It was removed.
    Deleted,
    /// Something newer than this crate.
    Other,
}

/// Something happened to a container or to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The id of the container, or of the sandbox itself.
    pub id: String,
    /// What happened.
    pub change: Change,
    /// When, by the runtime's clock.
    pub at: SystemTime,
    /// The sandbox, if the runtime still knows it.
    pub sandbox: Option<Sandbox>,
}

/// What happens to the containers of a node, from [`Client::events`](crate::Client::events).
///
/// Nothing is kept here but the event that is being read: who does not read makes the runtime wait, or drop events.
pub struct Events {
    stream: Stream,
    endpoint: Endpoint,
}

type Opened = Result<Response<Streaming<ContainerEventResponse>>, Status>;

enum Stream {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open(Box<Streaming<ContainerEventResponse>>),
    Ended,
}

impl Events {
    pub(crate) fn new(opening: impl Future<Output = Opened> + Send + 'static, endpoint: Endpoint) -> Self {
        Self { stream: Stream::Opening(Box::pin(opening)), endpoint }
    }

    /// Waits for the next event, as long as it takes; `None` when the runtime ends the stream. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// If the runtime does not have events after all, or the connection is lost: then the stream has ended. If what comes is no event of
    /// CRI v1 ([`Malformed`](ErrorKind::Malformed)): the next one may be.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        poll_fn(|context| self.poll_open(context)).await?;
        let Stream::Open(stream) = &mut self.stream else { return Ok(None) };
        match stream.message().await {
            Ok(Some(event)) => read(event).map(Some),
            ended => {
                self.stream = Stream::Ended;
                ended.map(|_| None).map_err(|status| self.refused(status))
            }
        }
    }

    pub(crate) fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Stream::Opening(opening) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let opened = ready!(opening.as_mut().poll(context));
        self.stream = Stream::Ended;
        let stream = opened.map_err(|status| self.refused(status))?;
        self.stream = Stream::Open(Box::new(stream.into_inner()));
        Poll::Ready(Ok(()))
    }

    fn refused(&self, status: Status) -> Error {
        Error::answered("GetContainerEvents", "the runtime", &self.endpoint, status)
    }
}

fn read(event: ContainerEventResponse) -> Result<Event> {
    let change = match ContainerEventType::try_from(event.container_event_type) {
        Ok(ContainerEventType::ContainerCreatedEvent) => Change::Created,
        Ok(ContainerEventType::ContainerStartedEvent) => Change::Started,
        Ok(ContainerEventType::ContainerStoppedEvent) => Change::Stopped,
        Ok(ContainerEventType::ContainerDeletedEvent) => Change::Deleted,
        Err(_) => Change::Other,
    };
    let malformed = |e: Option<Error>| {
        let what = format!("{change:?} of container {} is no event of CRI v1", shown(&event.container_id));
        e.map_or_else(|| Error::new(ErrorKind::Malformed, &what), |e| Error::caused(ErrorKind::Malformed, &what, e))
    };
    if !is_id(&event.container_id) {
        return Err(malformed(None));
    }
    let sandbox = event.pod_sandbox_status.map(stated).transpose().map_err(|e| malformed(Some(e)))?;
    Ok(Event { id: event.container_id, change, at: time(event.created_at), sandbox })
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
