//! One stream of requests to a server and one of answers from it, over a connection of its own.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use crate::{Destination, Error, ErrorKind, Result};

/// How many requests wait for the connection. What the connection itself holds is bounded by HTTP/2's windows.
const QUEUE: usize = 8;

/// The longest chunk of output in one request, in bytes.
pub(crate) const CHUNK: usize = 32 << 10;

/// The longest answer, in bytes.
pub(crate) const LONGEST_ANSWER: usize = 64 << 10;

pub(crate) type Opening<A> = Pin<Box<dyn Future<Output = Result<Response<Streaming<A>>, Status>> + Send>>;

#[derive(Debug)]
pub(crate) struct Link<Q, A> {
    pub(crate) requests: mpsc::Sender<Q>,
    pub(crate) answers: Answers<A>,
}

impl<Q, A> Link<Q, A> {
    /// A stream that `call` opens. A server may say nothing before its first answer, so this does not wait for it.
    pub(crate) fn open(call: impl FnOnce(ReceiverStream<Q>) -> Opening<A>) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        Self { requests, answers: Answers::Opening(call(ReceiverStream::new(queue))) }
    }

    /// The next answer or, if there is a request to send, that there is room for it. Cancelling it loses nothing.
    pub(crate) async fn event(&mut self, has_request: bool) -> Event<A> {
        // Answers first: a server whose answers nobody reads stops taking more. A connection that takes nothing any more
        // says why among its answers.
        tokio::select! { biased;
            answer = self.answers.next() => Event::Answer(answer),
            Ok(_slot) = self.requests.reserve(), if has_request => Event::Room,
        }
    }
}

/// What happens on a link.
pub(crate) enum Event<A> {
    Answer(Result<Option<A>, Status>),
    Room,
}

/// A connection of its own to the destination.
pub(crate) async fn channel(destination: &Destination, within: Duration) -> Result<Channel> {
    let failed = || Error::new(ErrorKind::Connect, format!("cannot connect to {destination}"));
    // Answers are as small as requests: waiting to send more at once would only delay them.
    // No HTTP/2 pings: gRPC servers in Go take them for an attack when they come more often than every 5 minutes.
    let endpoint = destination.endpoint()?.tcp_nodelay(true).tcp_keepalive(Some(Duration::from_secs(30)));
    match timeout(within, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|e| failed().because(e)),
        Err(_elapsed) => Err(failed().because(format!("no answer within {within:?}"))),
    }
}

pub(crate) enum Answers<A> {
    Opening(Opening<A>),
    Open(Box<Streaming<A>>),
    Over,
}

impl<A> Answers<A> {
    /// The next answer; `None` at the stream's end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<A>, Status> {
        loop {
            let ended = match self {
                Self::Opening(response) => match response.await {
                    Ok(response) => {
                        *self = Self::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Err(status) => Err(status),
                },
                Self::Open(answers) => match answers.message().await {
                    Ok(None) => Ok(None),
                    Ok(answer) => return Ok(answer),
                    Err(status) => Err(status),
                },
                Self::Over => Ok(None),
            };
            *self = Self::Over;
            return ended;
        }
    }
}

impl<A> std::fmt::Debug for Answers<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// Whether the same stream would end the same way again. `greeted` says whether the server has answered the run before.
pub(crate) fn is_refusal(status: &Status, greeted: bool) -> bool {
    match status.code() {
        Code::AlreadyExists | Code::DataLoss | Code::FailedPrecondition | Code::InvalidArgument | Code::OutOfRange => {
            true
        }
        // A proxy's 401, 403 and 404 become these too: of a server that was there they say that it is away for now.
        Code::NotFound | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => !greeted,
        _ => false,
    }
}
