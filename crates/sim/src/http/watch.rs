use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::mischief;
use super::query::Query;
use super::status::Status;
use super::{Api, injected, json_response};
use crate::cluster::Cluster;
use crate::fault::{Fault, Verb};
use crate::history::{Change, Entry, Next, Resource};
use crate::json;
use crate::selector::Selector;

/// About how many bytes of frames are sent as one chunk.
const CHUNK: usize = 128 << 10;
/// A watch that lasts longer than this is asked to last forever.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Answers a watch.
pub(super) fn answer(api: &Api, resource: Resource, query: Query) -> Result<Response, Status> {
    let cluster = &api.cluster;
    let mut number = None;
    if resource == Resource::Pods {
        number = Some(cluster.0.traffic.watch(query.version));
        injected(cluster, Verb::Watch)?;
    }
    let streamed = wants_initial_events(cluster, &query)?;
    let config = &cluster.0.config;
    let state = cluster.lock();
    let version = state.history.version();
    let mut feed = Feed {
        wake: state.history.wake(resource),
        closing: api.closing.clone(),
        cluster: cluster.clone(),
        resource,
        number,
        at: query.version,
        told: query.version,
        initial: None,
        steps: VecDeque::new(),
        bookmarks: query.bookmarks.then_some(config.bookmark_every),
        bookmark: Instant::now() + config.bookmark_every,
        end: Instant::now() + query.timeout.unwrap_or(config.watch_timeout).min(FOREVER),
        selector: query.selector,
    };
    if streamed || (query.version == 0 && query.initial.is_none()) {
        // A watch from no version in particular begins with what is there.
        let objects = state.history.list(resource, &feed.selector).into_iter();
        feed.initial = Some(Initial { objects, bookmark: streamed && query.bookmarks });
        feed.at = version;
        feed.told = 0;
    } else if query.version == 0 {
        feed.at = version;
        feed.told = version;
    } else if !state.history.reaches_back_to(resource, query.version) {
        let gone = Status::gone(query.version, version);
        drop(state);
        let pods = resource == Resource::Pods;
        if !(pods && cluster.faults().take(|fault| *fault == Fault::GoneInStream).is_some()) {
            return Err(gone);
        }
        // The feed finds the same and says so in the stream.
    }
    Ok(json_response(Body::from_stream(stream::unfold(feed, |mut feed| async move {
        let sent = feed.next().await?;
        Some((sent, feed))
    }))))
}

/// Whether the watch is to begin with the state and a bookmark, as the API server validates it.
fn wants_initial_events(cluster: &Cluster, query: &Query) -> Result<bool, Status> {
    let forbid = |field: &str, why: &str| {
        Err(Status::new(422, format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {field} {why}")))
    };
    match query.initial {
        Some(_) if !cluster.0.config.watch_list => {
            forbid("sendInitialEvents", "is forbidden for watch unless the WatchList feature gate is enabled")
        }
        Some(_) if !query.not_older_than => {
            forbid("resourceVersionMatch", "must be NotOlderThan when sendInitialEvents is set")
        }
        None if query.not_older_than => {
            forbid("resourceVersionMatch", "is forbidden for watch unless sendInitialEvents is provided")
        }
        initial => Ok(initial == Some(true)),
    }
}

/// The state that a watch begins with.
struct Initial {
    objects: std::vec::IntoIter<Arc<Entry>>,
    /// Whether a bookmark says where it ends.
    bookmark: bool,
}

/// Something for a watch to do.
pub(super) enum Step {
    /// Send these bytes, after which the client knows of everything up to this version.
    Send(Bytes, u64),
    /// Let what was sent leave before anything else does.
    Flush,
    /// Send nothing until then, but for bookmarks if `bookmarks`.
    Wait { until: Instant, bookmarks: bool },
    /// Break the connection.
    Break,
    /// End the answer.
    End,
}

/// What one watch is sent.
struct Feed {
    cluster: Cluster,
    resource: Resource,
    selector: Selector,
    /// Which pod watch it is, for [`Cluster::sent`].
    number: Option<u64>,
    initial: Option<Initial>,
    wake: watch::Receiver<u64>,
    closing: watch::Receiver<()>,
    /// How far the history has been read.
    at: u64,
    /// Up to which version the client was told everything.
    told: u64,
    steps: VecDeque<Step>,
    bookmarks: Option<Duration>,
    /// When the next bookmark is due.
    bookmark: Instant,
    /// When the watch ends.
    end: Instant,
}

impl Feed {
    /// The next bytes for the client, or none at the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let Some(step) = self.steps.pop_front() else {
                self.plan().await;
                continue;
            };
            match step {
                Step::Send(bytes, upto) => {
                    self.told = upto;
                    return Some(Ok(bytes));
                }
                // The connection writes out what it has when there is nothing more for the moment.
                Step::Flush => tokio::task::yield_now().await,
                Step::Wait { until, bookmarks } => {
                    if let Some(bookmark) = self.wait(until, bookmarks).await {
                        return Some(Ok(bookmark));
                    }
                }
                Step::Break => return Some(Err(io::ErrorKind::ConnectionAborted.into())),
                Step::End => return None,
            }
        }
    }

    /// Waits; a bookmark that falls due first is returned and the rest of the wait is left for later.
    async fn wait(&mut self, until: Instant, bookmarks: bool) -> Option<Bytes> {
        let due = self.bookmarks.filter(|_| bookmarks && self.bookmark < until);
        let wake = if due.is_some() { self.bookmark } else { until };
        tokio::select! {
            _ = self.closing.changed() => {
                self.steps.clear();
                self.steps.push_back(Step::End);
                return None;
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        let every = due?;
        self.bookmark = Instant::now() + every;
        self.steps.push_front(Step::Wait { until, bookmarks });
        Some(bookmark(self.resource, self.told, false))
    }

    /// Finds out what to do next, once there is something.
    async fn plan(&mut self) {
        loop {
            self.reached(self.told);
            if self.closing.has_changed().is_err() {
                self.steps.push_back(Step::End);
                return;
            }
            self.wake.mark_unchanged();
            let more = self.read();
            let now = Instant::now();
            if let Some(every) = self.bookmarks.filter(|_| self.initial.is_none() && now >= self.bookmark) {
                self.bookmark = now + every;
                self.steps.push_back(Step::Send(bookmark(self.resource, self.at, false), self.at));
            }
            if now >= self.end {
                self.steps.push_back(Step::End);
            }
            if !self.steps.is_empty() {
                return;
            }
            if more {
                continue;
            }
            self.told = self.at;
            self.reached(self.told);
            let wake = if self.bookmarks.is_some() { self.bookmark.min(self.end) } else { self.end };
            tokio::select! {
                _ = self.closing.changed() => self.steps.push_back(Step::End),
                // The cluster holds the sender and this holds the cluster: it cannot fail.
                _ = self.wake.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn reached(&self, version: u64) {
        if let Some(number) = self.number {
            self.cluster.0.traffic.reached(number, version);
        }
    }

    /// Plans the frames of the next changes, which may be none; returns whether there are more to read.
    fn read(&mut self) -> bool {
        if let Some(initial) = &mut self.initial {
            let mut size = 0;
            let wanted = |entry: &Arc<Entry>| {
                let fits = size < CHUNK;
                size += entry.frame().len();
                fits.then(|| entry.clone())
            };
            let batch: Vec<_> = initial.objects.as_slice().iter().map_while(wanted).collect();
            if !batch.is_empty() {
                initial.objects.nth(batch.len() - 1);
                self.send(batch.iter().map(|entry| (entry, Change::Added)), 0);
                return true;
            }
            let ends_with_bookmark = initial.bookmark;
            self.initial = None;
            if ends_with_bookmark {
                self.steps.push_back(Step::Send(bookmark(self.resource, self.at, true), self.at));
                return true;
            }
        }
        let next = self.cluster.lock().history.after(self.resource, self.at, CHUNK);
        match next {
            Next::Gone => {
                let gone = Status::gone(self.at, self.cluster.version());
                self.steps.push_back(Step::Send(gone.frame().into(), self.told));
                self.steps.push_back(Step::End);
                false
            }
            Next::Changes { entries, at, more } => {
                let seen: Vec<_> =
                    entries.iter().filter_map(|e| e.seen_through(&self.selector).map(|change| (e, change))).collect();
                self.at = at;
                self.send(seen.into_iter(), u64::MAX);
                more
            }
        }
    }

    /// Plans these frames, with the faults that they meet. The client knows of everything up to a frame's version once it has it, but
    /// of no version beyond `most`.
    fn send<'e>(&mut self, frames: impl Iterator<Item = (&'e Arc<Entry>, Change)>, most: u64) {
        let mut chunk = Vec::new();
        let mut told = self.told;
        for (entry, change) in frames {
            let fault = self.number.and_then(|_| self.cluster.faults().take_for_frame());
            let Some(fault) = fault else {
                entry.write_frame(change, &mut chunk);
                told = entry.version.min(most);
                continue;
            };
            if !chunk.is_empty() {
                self.steps.push_back(Step::Send(std::mem::take(&mut chunk).into(), told));
            }
            let mut frame = Vec::new();
            entry.write_frame(change, &mut frame);
            let older = || self.cluster.lock().history.before(self.resource, entry);
            self.steps.extend(mischief::apply(fault, frame, told, entry.version.min(most), older));
            if matches!(self.steps.back(), Some(Step::Break | Step::End)) {
                return;
            }
            told = entry.version.min(most);
        }
        if !chunk.is_empty() {
            self.steps.push_back(Step::Send(chunk.into(), told));
        }
    }
}

/// A frame that tells only how far the watch has got.
fn bookmark(resource: Resource, version: u64, ends_initial_events: bool) -> Bytes {
    let mut out = Vec::new();
    json::object(&mut out, |frame| {
        frame.text("type", "BOOKMARK");
        frame.object("object", |o| {
            o.text("kind", resource.kind());
            o.text("apiVersion", "v1");
            o.object("metadata", |m| {
                m.quoted("resourceVersion", version);
                m.bare("creationTimestamp", "null");
                if ends_initial_events {
                    m.object("annotations", |a| a.text("k8s.io/initial-events-end", "true"));
                }
            });
            if resource == Resource::Pods {
                o.raw_fields(br#""spec":{"containers":null},"status":{}"#);
            }
        });
    });
    out.push(b'\n');
    out.into()
}
