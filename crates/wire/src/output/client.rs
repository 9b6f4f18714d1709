use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::core::{Core, Due, Frame, Limits};
use super::{Ending, Header};
use crate::generated::output::output_client::OutputClient;
use crate::generated::output::{self as proto, Ack, Message};
use crate::link::{self, LONGEST_ANSWER, Link};
use crate::{Destination, Error, ErrorKind, Result};

/// What bounds an [`Output`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutputConfig {
    /// The most bytes that are kept because nobody has acknowledged them yet. Default 4 MiB.
    pub buffer: usize,
    /// How long a server may take to accept a connection. Default 10 s.
    pub connect: Duration,
    /// How long a server may owe an answer before the connection is given up for a new one. Default 15 s.
    pub answer: Duration,
    /// How long nothing may be acknowledged while something waits, over three connections at least, before the stream is
    /// given up. Default 60 s.
    pub patience: Duration,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            buffer: 4 << 20,
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            patience: Duration::from_secs(60),
        }
    }
}

/// A tool's output on its way to a receiver that acknowledges what is durable; connections may be lost and servers may be
/// restarted on the way.
///
/// # Guarantees
/// When [`finish`](Self::finish) returns, the receiver has every byte once, in order, and the ending, and all of it durable.
/// At most [`OutputConfig::buffer`] bytes are kept here, and less than 2 MiB more in connections.
///
/// # Caveats
/// Connections are looked after while one of the methods runs, and no longer: [`drive`](Self::drive) is for the time in
/// which there is nothing to send.
#[derive(Debug)]
pub struct Output {
    destination: Destination,
    header: Header,
    config: OutputConfig,
    core: Core,
    connection: Connection,
    made: Instant,
    /// Why the last connection failed.
    last: Option<(ErrorKind, BoxError)>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Dialling = Pin<Box<dyn Future<Output = Result<Box<Link<Message, Ack>>>> + Send>>;

enum Connection {
    Down,
    Dialling(Dialling),
    Up(Box<Link<Message, Ack>>),
}

enum Event {
    Dialled(Result<Box<Link<Message, Ack>>>),
    Link(link::Event<Ack>),
}

impl Output {
    /// Connects, announces the run, and waits until the receiver has answered: once, without retry.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a header beyond the limits, [`ErrorKind::Connect`] if nobody answers,
    /// [`ErrorKind::Lost`], [`ErrorKind::Stalled`] and [`ErrorKind::Refused`] by what the receiver did.
    pub async fn connect(destination: &Destination, header: Header, config: OutputConfig) -> Result<Self> {
        header.check()?;
        destination.endpoint()?;
        let limits = Limits {
            buffer: config.buffer.max(1),
            answer: config.answer,
            patience: config.patience,
            salt: header.run.bytes(),
        };
        let mut output = Self {
            destination: destination.clone(),
            header,
            config,
            core: Core::new(limits),
            connection: Connection::Down,
            made: Instant::now(),
            last: None,
        };
        while !output.core.is_greeted() {
            output.step().await?;
            if output.core.failures() > 0 {
                return Err(output.failed("the stream cannot be opened"));
            }
        }
        Ok(output)
    }

    /// Takes the bytes into the buffer, and sends what the connection has room for. Waits while the buffer is full.
    ///
    /// When cancelled, a part of the bytes has been taken: [`sent`](Self::sent) says how much.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if the receiver refused, or said what cannot be true; [`ErrorKind::Lost`],
    /// [`ErrorKind::Stalled`] or [`ErrorKind::Connect`] if nothing was acknowledged for too long.
    pub async fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let taken = self.core.push(bytes, self.made.elapsed());
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                self.fill();
                return Ok(());
            }
            self.step().await?;
        }
    }

    /// Looks after the connection until the stream fails: what to do while there is nothing to send. May be cancelled at
    /// any time.
    pub async fn drive(&mut self) -> Error {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    /// Says that this was all, and waits until all of it and the ending are acknowledged.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn finish(mut self, ending: Ending) -> Result<()> {
        self.core.end(ending, self.made.elapsed());
        while !self.core.is_ended() {
            self.step().await?;
        }
        Ok(())
    }

    /// How many bytes [`send`](Self::send) has taken so far.
    pub fn sent(&self) -> u64 {
        self.core.length()
    }

    /// How many bytes are durable at the receiver.
    pub const fn acknowledged(&self) -> u64 {
        self.core.acknowledged()
    }

    /// Waits for one thing to happen, and handles it.
    async fn step(&mut self) -> Result<()> {
        self.fill();
        let deadline = self.core.deadline().map(|deadline| self.made + deadline);
        // What has happened comes before the time, which may have passed while nobody looked.
        let event = tokio::select! { biased;
            event = self.connection.event(self.core.has_frame()) => Some(event),
            () = sleep_until(deadline.unwrap_or(self.made)), if deadline.is_some() => None,
        };
        let now = self.made.elapsed();
        match event {
            None => return self.on_time(now),
            Some(Event::Dialled(Ok(link))) => {
                self.connection = Connection::Up(link);
                self.core.opened(now);
            }
            Some(Event::Dialled(Err(error))) => self.lose(error.kind(), error, now),
            Some(Event::Link(link::Event::Room)) => {}
            Some(Event::Link(link::Event::Answer(answer))) => return self.on_answer(answer, now),
        }
        Ok(())
    }

    fn on_answer(&mut self, answer: Result<Option<Ack>, Status>, now: Duration) -> Result<()> {
        match answer {
            Ok(Some(Ack { offset, ended })) => self
                .core
                .acknowledge(offset, ended, now)
                .map_err(|broken| self.error(ErrorKind::Refused, "the receiver breaks the contract").because(broken)),
            Err(status) if link::is_refusal(&status, self.core.is_greeted()) => {
                Err(self.error(ErrorKind::Refused, "the receiver refused the stream").because(status))
            }
            Err(status) => {
                self.lose(ErrorKind::Lost, status, now);
                Ok(())
            }
            Ok(None) => {
                self.lose(ErrorKind::Lost, "the receiver ended the stream early", now);
                Ok(())
            }
        }
    }

    fn lose(&mut self, kind: ErrorKind, why: impl Into<BoxError>, now: Duration) {
        self.last = Some((kind, why.into()));
        self.connection = Connection::Down;
        self.core.lost(now);
    }

    fn on_time(&mut self, now: Duration) -> Result<()> {
        match self.core.due(now) {
            Due::Nothing => Ok(()),
            Due::Dial => {
                self.connection = Connection::Dialling(self.dial());
                Ok(())
            }
            Due::HangUp => {
                self.connection = Connection::Down;
                let why = format!("no answer within {:?}", self.config.answer);
                self.last = Some((ErrorKind::Stalled, why.into()));
                Ok(())
            }
            Due::GiveUp => {
                Err(self.failed(&format!("nothing was acknowledged within {:?}: given up", self.config.patience)))
            }
        }
    }

    /// Gives the connection as much as it has room for.
    fn fill(&mut self) {
        let Connection::Up(link) = &self.connection else { return };
        // A connection that takes nothing says why among its answers.
        while self.core.has_frame()
            && let Ok(slot) = link.requests.try_reserve()
            && let Some(frame) = self.core.frame(self.made.elapsed())
        {
            slot.send(message(frame));
        }
    }

    fn dial(&self) -> Dialling {
        let (destination, within, header) = (self.destination.clone(), self.config.connect, self.header.to_message());
        Box::pin(async move {
            let channel = link::channel(&destination, within).await?;
            let mut client = OutputClient::new(channel).max_decoding_message_size(LONGEST_ANSWER);
            let link = Link::open(|requests| Box::pin(async move { client.write(requests).await }));
            link.requests.try_send(header).expect("an empty queue has room");
            Ok(Box::new(link))
        })
    }

    /// The error of a stream whose last connection failed.
    fn failed(&mut self, what: &str) -> Error {
        match self.last.take() {
            Some((kind, why)) => self.error(kind, what).because(why),
            None => self.error(ErrorKind::Stalled, what),
        }
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        let Header { namespace, pod, run, .. } = &self.header;
        let what = format!("receiver {}, run {run} in pod {namespace}/{pod}: {what}", self.destination);
        Error::new(kind, what).after(self.core.acknowledged())
    }
}

impl Connection {
    /// The next thing that happens; nothing ever does without a connection. Cancelling it loses nothing.
    async fn event(&mut self, has_frame: bool) -> Event {
        match self {
            Self::Down => std::future::pending().await,
            Self::Dialling(dialling) => Event::Dialled(dialling.await),
            Self::Up(link) => Event::Link(link.event(has_frame).await),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::Dialling(_) => "Dialling",
            Self::Up(_) => "Up",
        })
    }
}

fn message(frame: Frame) -> Message {
    let kind = match frame {
        Frame::Chunk { offset, data } => proto::message::Kind::Chunk(proto::Chunk { offset, data }),
        Frame::End { length, ending } => proto::message::Kind::End(ending.to_proto(length)),
    };
    Message { kind: Some(kind) }
}
