//! Listings, paged and streaming.

use std::time::Duration;

use podtrail_event::{Gap, Timestamp};

use super::watching::Connection;
use super::{Event, Flow, Machine, Now, Phase, Streaming, said};
use crate::delta::Delta;
use crate::resource::Resource;

#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// When the request now made was sent.
    pub(super) asked: Option<Now>,
    /// Of the first page, or of the streaming list.
    pub(super) begun: Option<Begun>,
    pub(super) more: Option<String>,
    pub(super) last_byte: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) sent: Timestamp,
    pub(super) received: Timestamp,
    pub(super) version: u64,
}

/// How often a listing that goes back in history is tried again before it is believed.
const BACKWARD_TRIES: u32 = 3;

impl Machine {
    /// A page was longer than is taken.
    pub(crate) fn page_too_long<T>(&mut self, now: Now, out: &mut Vec<Delta<T>>) {
        if self.page_size > 1 {
            self.page_size /= 2;
        } else {
            self.failed("a page of one object is longer than max_page".to_owned(), now, out);
        }
    }

    /// A page of a list has come. Says whether its items count; then they are to be given out before
    /// [`page_end`](Self::page_end).
    pub(crate) fn page<T>(&mut self, version: u64, more: Option<String>, now: Now, out: &mut Vec<Delta<T>>) -> bool {
        self.connect(now, out);
        let Phase::Listing(listing) = &mut self.phase else { return false };
        match &mut listing.begun {
            // All pages of a list are of one version; a watch from the lowest misses nothing if they are not.
            Some(begun) => begun.version = begun.version.min(version),
            None => {
                let sent = listing.asked.map_or(now.wall, |asked| asked.wall);
                listing.begun = Some(Begun { sent, received: now.wall, version });
                if self.goes_back(version, now, out) {
                    return false;
                }
                out.push(Delta::ListStarted { sent });
            }
        }
        if let Phase::Listing(listing) = &mut self.phase {
            listing.more = more;
        }
        true
    }

    /// The items of a page have been given out.
    pub(crate) fn page_end<T>(&mut self, now: Now, out: &mut Vec<Delta<T>>) {
        if let Phase::Listing(Listing { begun: Some(begun), more: None, .. }) = &self.phase {
            let begun = *begun;
            self.snapshot(begun, now, out);
        }
    }

    /// One event of a streaming list.
    pub(super) fn listed<T: Resource>(
        &mut self,
        event: Event<T>,
        sent: Timestamp,
        now: Now,
        out: &mut Vec<Delta<T>>,
    ) -> Flow {
        match event {
            Event::Applied(object) => out.push(Delta::Listed(object)),
            Event::Deleted(object) => out.push(Delta::Deleted { object, received: now.wall, live: false }),
            Event::Bookmark { version, ends_listing: true } => {
                if self.goes_back(version, now, out) {
                    return Flow::Close;
                }
                self.snapshot(Begun { sent, received: now.wall, version }, now, out);
            }
            // No server sends another bookmark before the one that ends the listing: this one only ignored the wish.
            Event::Bookmark { .. } => {
                self.streaming = Streaming::Off;
                self.start_over();
                return Flow::Close;
            }
            Event::Failed(failure) => {
                self.streaming = Streaming::Paused;
                self.failed(said(&failure), now, out);
                self.phase = Phase::Listing(Listing::default());
                return Flow::Close;
            }
        }
        Flow::Continue
    }

    /// A listing is complete: watch from it.
    fn snapshot<T>(&mut self, begun: Begun, now: Now, out: &mut Vec<Delta<T>>) {
        let Begun { sent, received, version } = begun;
        let reason = self.gap.take();
        let gap = self.coverage.until.zip(reason).map(|(from, reason)| Gap {
            source: self.source.to_owned(),
            from,
            to: received.max(from),
            reason,
        });
        let after_version = gap.as_ref().and(self.last).map(|last| last.to_string());
        out.push(Delta::Snapshot { resource_version: version.to_string(), sent, received, gap, after_version });
        self.phase = Phase::Watching(Connection::new(now));
        self.last = Some(version);
        self.last_uid.clear();
        self.coverage.prove(sent);
        self.undecodable = None;
        (self.backward, self.stale) = (0, 0);
        if self.streaming == Streaming::Paused {
            self.streaming = Streaming::Wanted;
        }
    }

    /// Whether a listing of this version is older than what was seen, and is not believed yet; then it starts over.
    fn goes_back<T>(&mut self, version: u64, now: Now, out: &mut Vec<Delta<T>>) -> bool {
        let Some(last) = self.last.filter(|last| version < *last) else { return false };
        let reason = format!("the history went back: a listing of version {version} after {last}");
        if self.backward < BACKWARD_TRIES {
            self.backward += 1;
            self.failed(reason, now, out);
            self.phase = Phase::Listing(Listing::default());
            return true;
        }
        self.gap = Some(reason);
        false
    }

    /// What was missed cannot be had any more: list, and declare a gap.
    pub(super) fn relist(&mut self, reason: String) {
        // What was concluded from silence was concluded of a stream that now turns out to have missed something.
        self.coverage.until = self.coverage.proven;
        self.gap.get_or_insert(reason);
        self.start_over();
    }

    /// Lists from the beginning: at once the first time, later if that does not help.
    pub(super) fn start_over(&mut self) {
        self.phase = Phase::Listing(Listing::default());
        // A server that answers 410 is well: what failed before it did says nothing of the list.
        self.wait = if self.started_over { self.backoff() } else { Duration::ZERO };
        self.started_over = true;
        self.failures = self.failures.saturating_add(1);
    }
}
