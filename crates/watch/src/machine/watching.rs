//! A watch, and how far it reaches.

use std::time::Duration;

use podtrail_event::Timestamp;

use super::{Event, Flow, Machine, Now, Phase, said};
use crate::delta::{Delta, Rejected};
use crate::resource::Resource;

/// A watch that is open, or about to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) opened: Duration,
    /// Whether it has brought a version that was not known.
    pub(super) progressed: bool,
    pub(super) caught_up: bool,
    /// When the bytes now worked on came, and since when there have been none.
    pub(super) arrived: Now,
    pub(super) silent_since: Duration,
    /// When coverage was last spoken of.
    pub(super) spoken: Duration,
}

impl Connection {
    pub(super) const fn new(now: Now) -> Self {
        let mono = now.mono;
        Self { opened: mono, progressed: false, caught_up: false, arrived: now, silent_since: mono, spoken: mono }
    }
}

/// Until when all is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Coverage {
    pub(super) until: Option<Timestamp>,
    /// The same without what was concluded from silence.
    pub(super) proven: Option<Timestamp>,
}

impl Coverage {
    pub(super) fn prove(&mut self, at: Timestamp) {
        self.proven = self.proven.max(Some(at));
        self.until = self.until.max(self.proven);
    }
}

/// So many frames in a row that go back in history mean that the history has changed.
const STALE_FRAMES: u32 = 8;

impl Machine {
    /// One event of a watch.
    pub(super) fn watched<T: Resource>(
        &mut self,
        event: Event<T>,
        raw: &[u8],
        now: Now,
        out: &mut Vec<Delta<T>>,
    ) -> Flow {
        let last = self.last.unwrap_or(0);
        match event {
            Event::Bookmark { version, .. } if version < last => {
                // A bookmark says where the server is now.
                let reason = format!("the history went back: a bookmark of version {version} after {last}");
                out.push(Delta::Rejected(Rejected::new(None, reason.as_str(), raw, now.wall)));
                self.relist(reason);
                return Flow::Close;
            }
            Event::Bookmark { version, .. } => {
                self.advance(version, "");
                self.catch_up(now);
                out.push(Delta::Bookmark { resource_version: version.to_string(), received: now.wall });
            }
            Event::Applied(object) => match self.take(&object, raw, now, out) {
                Take::Use { live } => out.push(Delta::Applied { object, received: now.wall, live }),
                Take::Drop => {}
                Take::Close => return Flow::Close,
            },
            Event::Deleted(object) => match self.take(&object, raw, now, out) {
                Take::Use { live } => out.push(Delta::Deleted { object, received: now.wall, live }),
                Take::Drop => {}
                Take::Close => return Flow::Close,
            },
            Event::Failed(failure) if failure.is_expired() => {
                self.relist(said(&failure));
                return Flow::Close;
            }
            Event::Failed(failure) => {
                self.failed(said(&failure), now, out);
                return Flow::Close;
            }
        }
        Flow::Continue
    }

    /// Whether a frame's object is news.
    fn take<T: Resource>(&mut self, object: &T, raw: &[u8], now: Now, out: &mut Vec<Delta<T>>) -> Take {
        let (version, last) = (object.version(), self.last.unwrap_or(0));
        if version < last {
            let reason = format!("version {version} after {last}");
            out.push(Delta::Rejected(Rejected::new(Some(object.key()), reason.as_str(), raw, now.wall)));
            self.stale += 1;
            if self.stale < STALE_FRAMES {
                return Take::Drop;
            }
            self.relist(format!("the history went back: {STALE_FRAMES} frames in a row, the last of {reason}"));
            return Take::Close;
        }
        if version == last && (self.last_uid.is_empty() || self.last_uid == object.uid()) {
            out.push(Delta::Duplicate { received: now.wall });
            return Take::Drop;
        }
        self.advance(version, object.uid());
        let caught_up = matches!(&self.phase, Phase::Watching(connection) if connection.caught_up);
        let live = caught_up || object.is_fresh(now.wall);
        if live {
            self.catch_up(now);
        }
        Take::Use { live }
    }

    fn advance(&mut self, version: u64, uid: &str) {
        if let Phase::Watching(connection) = &mut self.phase
            && self.last < Some(version)
        {
            connection.progressed = true;
            self.failures = 0;
            self.started_over = false;
        }
        self.last = Some(version);
        self.last_uid.clear();
        self.last_uid.push_str(uid);
        self.stale = 0;
    }

    fn catch_up(&mut self, now: Now) {
        if let Phase::Watching(connection) = &mut self.phase {
            connection.caught_up = true;
            connection.spoken = now.mono;
            self.coverage.prove(now.wall);
        }
    }
}

enum Take {
    Use { live: bool },
    Drop,
    Close,
}
