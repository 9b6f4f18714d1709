//! One stream of requests to a server and one of answers from it, over a connection of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::Stream;
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
    pub(crate) fn open(call: impl FnOnce(Requests<Q>) -> Opening<A>) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let drained = Arc::new(AtomicBool::new(false));
        let response = call(Requests { queue, drained: Arc::clone(&drained) });
        Self { requests, answers: Answers { drained, state: State::Opening(response) } }
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

/// The requests as the connection takes them.
pub(crate) struct Requests<Q> {
    queue: mpsc::Receiver<Q>,
    drained: Arc<AtomicBool>,
}

impl<Q> Stream for Requests<Q> {
    type Item = Q;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Q>> {
        let request = ready!(self.queue.poll_recv(context));
        if request.is_none() {
            self.drained.store(true, Ordering::Release);
        }
        Poll::Ready(request)
    }
}

pub(crate) struct Answers<A> {
    drained: Arc<AtomicBool>,
    state: State<A>,
}

enum State<A> {
    Opening(Opening<A>),
    Open(Box<Streaming<A>>),
    Over,
}

impl<A> Answers<A> {
    /// The next answer; `None` at the stream's end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<A>, Status> {
        loop {
            let ended = match &mut self.state {
                State::Opening(response) => match response.await {
                    Ok(response) => {
                        self.state = State::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Err(status) => Err(status),
                },
                State::Open(answers) => match answers.message().await {
                    Ok(None) => Ok(None),
                    Ok(answer) => return Ok(answer),
                    Err(status) => Err(status),
                },
                State::Over => Ok(None),
            };
            self.state = State::Over;
            return ended;
        }
    }

    /// Whether the connection has taken every request, and their end.
    pub(crate) fn all_taken(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }
}

impl<A> std::fmt::Debug for Answers<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// Whether the same stream would end the same way again.
pub(crate) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::AlreadyExists
            | Code::DataLoss
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::NotFound
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}
