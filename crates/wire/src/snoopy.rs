use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;

use crate::generated::snoopy::data_endpoint_client::DataEndpointClient;
use crate::generated::snoopy::{PodData, Response};
use crate::link::{self, CHUNK, Event, LONGEST_ANSWER, Link};
use crate::name::check_name;
use crate::{Destination, Error, ErrorKind, Result};

/// How many chunks may wait to be answered. Connections hold fewer, unless a server takes them and never answers.
const MOST_UNANSWERED: usize = 1 << 14;

/// How long a snoopy server may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SnoopyLimits {
    /// To accept the connection. Default 10 s.
    pub connect: Duration,
    /// To take or answer anything while more waits to be sent. Default 30 s.
    pub stall: Duration,
    /// To answer anything once all is sent. Default 30 s.
    pub finish: Duration,
}

impl Default for SnoopyLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(30), finish: Duration::from_secs(30) }
    }
}

/// A tool's output on its way to a [snoopy](https://github.com/fennec-project/snoopy-operator) data endpoint: one stream
/// for the whole run, in order.
///
/// The server answers each chunk when it has received it, before it writes it; that is all that the contract promises. A
/// lost connection is an error: the server would append again what it has already.
///
/// Dropping it without [`finish`](Self::finish) looks to the server like an end.
#[derive(Debug)]
pub struct Snoopy {
    link: Option<Link<PodData, Response>>,
    destination: Destination,
    pod: String,
    limits: SnoopyLimits,
    /// The lengths of the chunks that are not answered yet.
    unanswered: VecDeque<usize>,
    sent: u64,
    acknowledged: u64,
}

impl Snoopy {
    /// Connects, and opens the stream for the pod of this name. The name goes to the server as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that is none in Kubernetes, [`ErrorKind::Connect`] if nobody answers.
    pub async fn connect(destination: &Destination, pod: &str, limits: SnoopyLimits) -> Result<Self> {
        check_name("pod", pod)?;
        let channel = link::channel(destination, limits.connect).await?;
        let mut client = DataEndpointClient::new(channel).max_decoding_message_size(LONGEST_ANSWER);
        let link = Link::open(|requests| Box::pin(async move { client.export_pod_data(requests).await }));
        Ok(Self {
            link: Some(link),
            destination: destination.clone(),
            pod: pod.to_owned(),
            limits,
            unanswered: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
        })
    }

    /// Sends the bytes, in chunks of at most 32 KiB. Waits while the server takes none and 8 chunks wait already, and while
    /// 16384 chunks wait for an answer.
    ///
    /// When cancelled, a part of the bytes has been sent: [`sent`](Self::sent) says how much.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] or [`ErrorKind::Refused`] if the server ended the stream, [`ErrorKind::Stalled`] if it did
    /// nothing for too long. The stream is over then.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(CHUNK) {
            let sent = self.send_chunk(chunk).await;
            if sent.is_err() {
                self.link = None;
            }
            sent?;
        }
        Ok(())
    }

    async fn send_chunk(&mut self, data: &[u8]) -> Result<()> {
        let mut message = PodData { name: self.pod.clone(), data: data.to_owned() };
        loop {
            let Some(link) = &mut self.link else { return Err(self.lost("the stream is over")) };
            let may_send = self.unanswered.len() < MOST_UNANSWERED;
            let answer = match timeout(self.limits.stall, link.event(may_send)).await {
                Ok(Event::Answer(answer)) => answer,
                Ok(Event::Room) => match link.requests.try_send(message) {
                    Ok(()) => {
                        self.unanswered.push_back(data.len());
                        self.sent += data.len() as u64;
                        return Ok(());
                    }
                    Err(full) => {
                        message = full.into_inner();
                        continue;
                    }
                },
                Err(_elapsed) => return Err(self.stalled(self.limits.stall)),
            };
            match answer {
                Ok(Some(_)) => self.note_answer(),
                Ok(None) => return Err(self.lost("the server ended the stream early")),
                Err(status) => return Err(self.failed(status)),
            }
        }
    }

    /// Reads answers until the stream fails: what to do while there is nothing to send. May be cancelled at any time.
    pub async fn drive(&mut self) -> Error {
        loop {
            let Some(link) = &mut self.link else { return self.lost("the stream is over") };
            let error = match link.answers.next().await {
                Ok(Some(_)) => {
                    self.note_answer();
                    continue;
                }
                Ok(None) => self.lost("the server ended the stream early"),
                Err(status) => self.failed(status),
            };
            self.link = None;
            return error;
        }
    }

    /// Says that this was all, and waits until the server has answered all of it and ended the stream.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn finish(mut self) -> Result<()> {
        let Some(Link { requests, mut answers }) = self.link.take() else {
            return Err(self.lost("the stream is over"));
        };
        drop(requests);
        loop {
            let answer = timeout(self.limits.finish, answers.next()).await;
            match answer {
                Ok(Ok(Some(_))) => self.note_answer(),
                // What the connection has taken, a server that ended the stream need not have read.
                Ok(Ok(None)) if self.unanswered.is_empty() => return Ok(()),
                Ok(Ok(None)) => return Err(self.lost("the server ended the stream early")),
                Ok(Err(status)) => return Err(self.failed(status)),
                Err(_elapsed) => return Err(self.stalled(self.limits.finish)),
            }
        }
    }

    /// How many bytes [`send`](Self::send) has sent so far.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes the server has answered so far.
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn note_answer(&mut self) {
        let length = self.unanswered.pop_front().unwrap_or(0);
        self.acknowledged += length as u64;
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("snoopy endpoint {}, pod {}: {what}", self.destination, self.pod))
    }

    fn lost(&self, what: &str) -> Error {
        self.error(ErrorKind::Lost, what).after(self.acknowledged)
    }

    fn stalled(&self, within: Duration) -> Error {
        self.error(ErrorKind::Stalled, &format!("no answer within {within:?}")).after(self.acknowledged)
    }

    fn failed(&self, status: Status) -> Error {
        let refused = link::is_refusal(&status, self.acknowledged > 0);
        let kind = if refused { ErrorKind::Refused } else { ErrorKind::Lost };
        let what = if refused { "the server refused the stream" } else { "the stream was cut" };
        self.error(kind, what).after(self.acknowledged).because(status)
    }
}
