use std::time::Duration;

use podtrail_event::Timestamp;

use crate::decode::{self, Frame, Lite};
use crate::delta::Rejected;
use crate::error::Error;
use crate::machine::Event;
use crate::node::{NodeLite, NodeState};
use crate::pod::{PodLite, PodState};

/// What can be watched.
pub(crate) trait Resource: Sized + Send + 'static {
    /// What gaps call it.
    const SOURCE: &'static str;
    const PATH: &'static str;
    const LIST_KIND: &'static str;
    type Lite<'a>: Lite<'a>;

    fn of(lite: &Self::Lite<'_>, received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<Self, Error>;
    fn uid(&self) -> &str;
    fn version(&self) -> u64;
    fn key(&self) -> String;
    /// Stamps that the API server itself set when it took a request about the object.
    fn stamps(&self) -> [Option<Timestamp>; 2];

    /// Whether something happened to it so near to `now` that a stream that says so cannot be far behind.
    fn is_fresh(&self, now: Timestamp) -> bool {
        const NEAR: Duration = Duration::from_secs(2);
        let span = now.saturating_sub(NEAR)..=now.saturating_add(NEAR);
        self.stamps().iter().flatten().any(|stamp| span.contains(stamp))
    }

    /// Decodes one line of a watch.
    fn event(line: &[u8], received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<Event<Self>, Error> {
        Ok(match decode::frame::<Self::Lite<'_>>(line)? {
            Frame::Added(lite) | Frame::Modified(lite) => Event::Applied(Self::of(&lite, received, rejected)?),
            Frame::Deleted(lite) => Event::Deleted(Self::of(&lite, received, rejected)?),
            Frame::Bookmark { resource_version, initial_events_end } => {
                Event::Bookmark { version: resource_version, ends_listing: initial_events_end }
            }
            Frame::Error(failure) => Event::Failed(failure),
        })
    }

    /// Decodes an object by itself.
    fn object(json: &[u8], received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<Self, Error> {
        Self::of(&decode::object::<Self::Lite<'_>>(json)?, received, rejected)
    }
}

impl Resource for PodState {
    const SOURCE: &'static str = "pods";
    const PATH: &'static str = "/api/v1/pods";
    const LIST_KIND: &'static str = "PodList";
    type Lite<'a> = PodLite<'a>;

    fn of(lite: &PodLite<'_>, received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<Self, Error> {
        lite.state(received, rejected)
    }

    fn uid(&self) -> &str {
        &self.pod.uid
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn key(&self) -> String {
        format!("{}/{}", self.pod.namespace, self.pod.name)
    }

    fn stamps(&self) -> [Option<Timestamp>; 2] {
        [self.pod.created, self.deletion_requested()]
    }
}

impl Resource for NodeState {
    const SOURCE: &'static str = "nodes";
    const PATH: &'static str = "/api/v1/nodes";
    const LIST_KIND: &'static str = "NodeList";
    type Lite<'a> = NodeLite<'a>;

    fn of(lite: &NodeLite<'_>, received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<Self, Error> {
        lite.state(received, rejected)
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn key(&self) -> String {
        self.name.clone()
    }

    fn stamps(&self) -> [Option<Timestamp>; 2] {
        [self.created, None]
    }
}
