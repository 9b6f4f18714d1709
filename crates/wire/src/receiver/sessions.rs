//! What drives streams. HTTP/2 asks for no answer while the client reads none, so that nobody else would look at the time.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

/// What answers the messages of a stream.
pub(super) trait Session: Send + 'static {
    type Answer: Send + 'static;

    /// Handles what comes until there is something to answer; `None` at the stream's end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Status>> + Send;
}

pub(super) type Answers<A> = ReceiverStream<Result<A, Status>>;

/// Where sessions are handed over to be driven.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    begun: mpsc::Sender<BoxFuture<'static, ()>>,
    /// How long a client may take none of its answers.
    stall: Duration,
}

impl Sessions {
    /// The future drives all of them, and never ends.
    pub(super) fn new(stall: Duration) -> (Self, impl Future<Output = ()>) {
        // One is taken as soon as it is there: who waits for room waits for the time that others need to be polled.
        let (begun, mut beginning) = mpsc::channel(1);
        let driving = async move {
            let mut sessions = FuturesUnordered::<BoxFuture<'static, ()>>::new();
            loop {
                tokio::select! {
                    Some(session) = beginning.recv() => sessions.push(session),
                    Some(()) = sessions.next() => {}
                    else => std::future::pending().await,
                }
            }
        };
        (Self { begun, stall }, driving)
    }

    /// The answers of a session, which ends with its first error, when the client goes away, and when it reads no answers.
    pub(super) async fn drive<S: Session>(&self, session: S) -> Result<Answers<S::Answer>, Status> {
        // One answer, and the last word.
        let (answers, queue) = mpsc::channel(2);
        let driven = Box::pin(drive(session, answers, self.stall));
        self.begun.send(driven).await.map_err(|_gone| super::shutting_down())?;
        Ok(ReceiverStream::new(queue))
    }
}

async fn drive<S: Session>(mut session: S, answers: mpsc::Sender<Result<S::Answer, Status>>, stall: Duration) {
    let Ok(last) = answers.clone().reserve_owned().await else { return };
    let end = loop {
        let answer = tokio::select! { biased;
            // The client has gone.
            () = answers.closed() => return,
            answer = session.next() => answer,
        };
        match answer {
            Ok(Some(answer)) => match timeout(stall, answers.send(Ok(answer))).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return,
                Err(_elapsed) => break Some(Status::deadline_exceeded("the client does not read its answers")),
            },
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    // Who hears that it is over may come back at once, for the same place and the same files.
    drop(session);
    if let Some(status) = end {
        last.send(Err(status));
    }
}
