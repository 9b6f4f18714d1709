//! The shell: performs what the machine asks for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, sleep_until, timeout};

use crate::client::{self, Incomplete};
use crate::clock::Clock;
use crate::config::Config;
use crate::decode::{self, Page};
use crate::delta::{Checkpoint, Delta, Rejected};
use crate::error::chain;
use crate::lines::{Line, Lines};
use crate::machine::{End, Flow, Machine, Request};
use crate::node::NodeState;
use crate::pod::PodState;
use crate::resource::Resource;

/// The changes of all pods of a cluster, from a checkpoint or from a first listing; it never ends and never fails.
///
/// It does nothing while it is not polled; a consumer that is slow makes the server wait. Whatever happens between it and
/// the server, it goes on: from the version it had reached where that is still known, or else by listing, and then the
/// [`Snapshot`](Delta::Snapshot) holds the gap.
pub fn pods(
    client: Client,
    config: Config,
    resume_from: Option<Checkpoint>,
) -> impl Stream<Item = Delta<PodState>> + Send + Unpin {
    Deltas::new(client, config, resume_from)
}

/// The changes of all nodes of a cluster; as [`pods`].
pub fn nodes(
    client: Client,
    config: Config,
    resume_from: Option<Checkpoint>,
) -> impl Stream<Item = Delta<NodeState>> + Send + Unpin {
    Deltas::new(client, config, resume_from)
}

/// How many deltas may lie between the shell and its consumer; the shell does not go on while there is no room.
const ROOM: usize = 64;

/// The shell as a stream: a future that sends what it finds to the stream that polls it.
struct Deltas<T> {
    found: Receiver<Delta<T>>,
    shell: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<T: Resource + Unpin> Deltas<T> {
    fn new(client: Client, config: Config, resume_from: Option<Checkpoint>) -> Self {
        let (give, found) = channel(ROOM);
        let machine = Machine::new(config.clone(), T::SOURCE, resume_from, rand::random());
        Self { found, shell: Box::pin(async move { Shell::new(client, config, machine, give).run().await }) }
    }
}

impl<T> Stream for Deltas<T> {
    type Item = Delta<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delta<T>>> {
        let this = self.get_mut();
        if let Poll::Ready(found) = this.found.poll_recv(context) {
            return Poll::Ready(found);
        }
        // The shell never ends while this, its consumer, is there.
        if this.shell.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        this.found.poll_recv(context)
    }
}

/// The consumer is gone.
struct Dropped;

struct Shell<T> {
    client: Client,
    config: Config,
    clock: Clock,
    machine: Machine,
    /// What the machine says, on its way to `give`.
    out: Vec<Delta<T>>,
    rejected: Vec<Rejected>,
    give: Sender<Delta<T>>,
}

impl<T: Resource> Shell<T> {
    fn new(client: Client, config: Config, machine: Machine, give: Sender<Delta<T>>) -> Self {
        Self { client, config, clock: Clock::start(), machine, out: Vec::new(), rejected: Vec::new(), give }
    }

    async fn run(mut self) {
        while self.exchange().await.is_ok() {}
    }

    /// One request and its response.
    async fn exchange(&mut self) -> Result<(), Dropped> {
        let wait = self.machine.wait();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let request = self.machine.request(self.clock.now());
        let path = path::<T>(&request, &self.config);
        let answer = timeout(self.config.request_timeout, client::send(&self.client, &path)).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return self.failed(chain(&error)).await,
            Err(_) => return self.failed(format!("no answer came for {:?}", self.config.request_timeout)).await,
        };
        let (status, retry_after) = (response.status(), client::retry_after(&response));
        let mut body = response.into_body();
        if !status.is_success() {
            let failure = client::failure(status, &mut body, self.config.stall_timeout).await;
            self.machine.refused(&failure, retry_after, self.clock.now(), &mut self.out);
            return self.flush().await;
        }
        match request {
            Request::Page { .. } => self.page(&mut body).await,
            Request::StreamingList | Request::Watch { .. } => self.watch(&mut body).await,
        }
    }

    async fn page(&mut self, body: &mut Body) -> Result<(), Dropped> {
        let body = match client::collect(body, self.config.max_page, self.config.stall_timeout).await {
            Ok(body) => body,
            Err(Incomplete::TooLong) => {
                self.machine.page_too_long(self.clock.now(), &mut self.out);
                return self.flush().await;
            }
            Err(Incomplete::Cut(why)) => return self.failed(format!("a page of the list was cut: {why}")).await,
        };
        let now = self.clock.now();
        let decoded = Page::decode(&body, T::LIST_KIND).and_then(|page| Ok((page.version()?, page)));
        let (version, page) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => return self.failed(chain(&error)).await,
        };
        let counts = self.machine.page(version, page.more(), now, &mut self.out);
        self.flush().await?;
        if !counts {
            return Ok(());
        }
        for item in page.items() {
            let json = item.get().as_bytes();
            match T::object(json, now.wall, &mut self.rejected) {
                Ok(object) => self.out.push(Delta::Listed(object)),
                Err(error) => {
                    let key = decode::key_of_object(json);
                    self.rejected.push(Rejected::new(key, chain(&error), json, now.wall));
                }
            }
            self.flush().await?;
        }
        self.machine.page_end(self.clock.now(), &mut self.out);
        self.flush().await
    }

    async fn watch(&mut self, body: &mut Body) -> Result<(), Dropped> {
        self.machine.opened(self.clock.now(), &mut self.out);
        self.flush().await?;
        let mut lines = Lines::new(self.config.max_frame);
        loop {
            let deadline = self.clock.at(self.machine.deadline());
            let came = tokio::select! {
                biased;
                came = body.frame() => came,
                () = sleep_until(deadline) => {
                    let flow = self.machine.idle(self.clock.now(), &mut self.out);
                    self.flush().await?;
                    if flow == Flow::Close {
                        return Ok(());
                    }
                    continue;
                }
            };
            let end = match came {
                None if lines.is_cut() => End::Cut("it ended within a line".to_owned()),
                None => End::Clean,
                Some(Err(error)) => End::Cut(chain(&error)),
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if self.chunk(chunk, &mut lines).await? == Flow::Close {
                        return Ok(());
                    }
                    continue;
                }
            };
            self.machine.ended(end, self.clock.now(), &mut self.out);
            return self.flush().await;
        }
    }

    async fn chunk(&mut self, chunk: Bytes, lines: &mut Lines) -> Result<Flow, Dropped> {
        let now = self.clock.now();
        self.machine.arrived(now);
        lines.push(chunk);
        while let Some(line) = lines.next() {
            let flow = match line {
                Line::Whole(raw) => match T::event(&raw, now.wall, &mut self.rejected) {
                    Ok(event) => self.machine.event(event, &raw, now, &mut self.out),
                    Err(error) => {
                        self.rejected.clear();
                        let bad = Rejected::new(decode::key_of_frame(&raw), chain(&error), &raw, now.wall);
                        self.machine.undecodable(bad, now, &mut self.out)
                    }
                },
                Line::Oversize { head, length, sha256 } => {
                    let reason = format!("longer than {} bytes", self.config.max_frame);
                    let bad = Rejected { length, sha256, ..Rejected::new(None, reason, &head, now.wall) };
                    self.machine.undecodable(bad, now, &mut self.out)
                }
            };
            self.flush().await?;
            if flow == Flow::Close {
                return Ok(flow);
            }
        }
        self.machine.settled(self.clock.now());
        Ok(Flow::Continue)
    }

    async fn failed(&mut self, reason: String) -> Result<(), Dropped> {
        self.machine.failed(reason, self.clock.now(), &mut self.out);
        self.flush().await
    }

    /// Gives out what there is, and waits while there is no room for it.
    async fn flush(&mut self) -> Result<(), Dropped> {
        for delta in self.out.drain(..).chain(self.rejected.drain(..).map(Delta::Rejected)) {
            if let Delta::Disconnected { reason, retry_in, .. } = &delta {
                tracing::debug!(source = T::SOURCE, reason, ?retry_in, "disconnected");
            }
            self.give.send(delta).await.map_err(|_undelivered| Dropped)?;
        }
        Ok(())
    }
}

fn path<T: Resource>(request: &Request, config: &Config) -> String {
    let path = T::PATH;
    let seconds = config.watch_timeout.as_secs().max(1);
    let watch = format!("{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}");
    match request {
        Request::Page { limit, more: None } => format!("{path}?limit={limit}"),
        Request::Page { limit, more: Some(more) } => format!("{path}?limit={limit}&continue={}", client::encode(more)),
        Request::StreamingList => format!("{watch}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
        Request::Watch { version } => format!("{watch}&resourceVersion={version}"),
    }
}
