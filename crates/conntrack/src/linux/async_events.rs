use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;

use crate::{Error, ErrorKind, Event, Events, Result};

/// [`Events`] for programs on tokio.
#[derive(Debug)]
pub struct AsyncEvents {
    events: AsyncFd<Events>,
}

impl AsyncEvents {
    /// Waits for events through the runtime of the calling task from now on.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the socket.
    ///
    /// # Panics
    ///
    /// If there is no runtime, or its IO is not enabled.
    pub fn new(events: Events) -> Result<Self> {
        #[expect(
            deprecated,
            reason = "the safe form; of what it warns about, a type that owns its descriptor does nothing"
        )]
        let events = AsyncFd::with_interest(events, Interest::READABLE).map_err(unwatchable)?;
        Ok(Self { events })
    }

    /// Waits for the next event. Nothing is lost if it is dropped before it is done.
    ///
    /// While events keep coming it gives way to other tasks from time to time.
    ///
    /// # Errors
    ///
    /// As [`Events::try_next`].
    pub async fn next(&mut self) -> Result<Event<'_>> {
        // What has been taken out of the socket is given out without another await.
        consume_budget().await;
        let found = loop {
            // First, because of what was received earlier the runtime knows nothing.
            if let Some(found) = self.events.get_mut().find()? {
                break found;
            }
            let mut ready = self.events.readable_mut().await.map_err(unwatchable)?;
            match ready.get_inner_mut().find()? {
                Some(found) => break found,
                None => ready.clear_ready(),
            }
        };
        self.get_ref().event(found)
    }

    /// The socket, for its queue and its mode.
    pub fn get_ref(&self) -> &Events {
        self.events.get_ref()
    }

    /// Without the runtime again. Nothing that waits is lost.
    pub fn into_inner(self) -> Events {
        self.events.into_inner()
    }
}

fn unwatchable(e: std::io::Error) -> Error {
    Error::caused(ErrorKind::Socket, "cannot wait for events", e)
}
