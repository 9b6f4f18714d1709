use std::fmt;
use std::time::SystemTime;

use tonic::Streaming;

use crate::generated::{ContainerEventResponse, ContainerEventType};
use crate::sandbox::{Sandbox, SandboxStatus, time};
use crate::{Endpoint, Error, Result};

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
    stream: Streaming<ContainerEventResponse>,
    endpoint: Endpoint,
}

impl Events {
    pub(crate) const fn new(stream: Streaming<ContainerEventResponse>, endpoint: Endpoint) -> Self {
        Self { stream, endpoint }
    }

    /// Waits for the next event, as long as it takes; `None` when the runtime ends the stream. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or what comes is none of CRI v1.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        let answered = |status| Error::answered("GetContainerEvents", "the runtime", &self.endpoint, status);
        let Some(event) = self.stream.message().await.map_err(answered)? else { return Ok(None) };
        let change = match ContainerEventType::try_from(event.container_event_type) {
            Ok(ContainerEventType::ContainerCreatedEvent) => Change::Created,
            Ok(ContainerEventType::ContainerStartedEvent) => Change::Started,
            Ok(ContainerEventType::ContainerStoppedEvent) => Change::Stopped,
            Ok(ContainerEventType::ContainerDeletedEvent) => Change::Deleted,
            Err(_) => Change::Other,
        };
        let sandbox = event.pod_sandbox_status.map(|status| Ok(SandboxStatus::stated(status)?.sandbox)).transpose()?;
        Ok(Some(Event { id: event.container_id, change, at: time(event.created_at), sandbox }))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
