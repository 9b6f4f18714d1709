//! What to ask the API server next, and what its answers mean: decisions only, no socket and no clock.

mod listing;
mod watching;

use std::time::Duration;

use podtrail_event::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::config::Config;
use crate::decode::{self, Failure};
use crate::delta::{Checkpoint, Delta, Rejected};
use crate::resource::Resource;
use listing::Listing;
use watching::{Connection, Coverage};

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    /// Since some fixed instant, by a clock that is never set.
    pub(crate) mono: Duration,
}

/// What to ask for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Page { limit: u32, more: Option<String> },
    StreamingList,
    Watch { version: u64 },
}

/// One line of a watch, decoded.
#[derive(Debug)]
pub(crate) enum Event<T> {
    Applied(T),
    Deleted(T),
    Bookmark { version: u64, ends_listing: bool },
    Failed(Failure),
}

/// Whether a watch is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    Continue,
    Close,
}

/// How a response ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// In good order, between two lines.
    Clean,
    Cut(String),
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    random: SmallRng,
    source: &'static str,
    phase: Phase,
    /// The last version seen: where a watch is resumed.
    last: Option<u64>,
    /// Whose frame that was; empty where it was no frame's.
    last_uid: String,
    coverage: Coverage,
    /// Why what was not watched since `coverage` was not.
    gap: Option<String>,
    connected: bool,
    /// Since the watch last made progress.
    failures: u32,
    /// A listing was begun since then because history was lost.
    started_over: bool,
    wait: Duration,
    streaming: Streaming,
    /// Whether the last watch ended before it was worth its while.
    short: bool,
    /// How often in a row a listing was of an earlier version than the last seen.
    backward: u32,
    /// How many frames in a row were of an earlier version than the last seen.
    stale: u32,
    /// How many watches in a row brought not a byte until they were given up.
    silent: u32,
    /// After which version a frame could not be decoded.
    undecodable: Option<u64>,
    page_size: u32,
}

#[derive(Clone, Debug)]
enum Phase {
    Listing(Listing),
    Watching(Connection),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streaming {
    Wanted,
    /// One has failed: the next list is paged.
    Paused,
    Off,
}

/// A streaming list that is silent for so long before its end is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// A consumer that takes so long over what came at once makes the stream lag.
const LAG: Duration = Duration::from_secs(2);
/// A watch that the server ends sooner, and that brought nothing, is resumed at once only the first time.
const SHORT: Duration = Duration::from_secs(1);
/// So many watches without a byte, not even a bookmark, and it is asked what there is.
const SILENT_WATCHES: u32 = 2;
/// The longest `Retry-After` that is honoured.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Machine {
    pub(crate) fn new(config: Config, source: &'static str, resume_from: Option<Checkpoint>, seed: u64) -> Self {
        let page_size = config.page_size.max(1);
        let streaming = if config.streaming_lists { Streaming::Wanted } else { Streaming::Off };
        let mut machine = Self {
            config,
            random: SmallRng::seed_from_u64(seed),
            source,
            phase: Phase::Listing(Listing::default()),
            last: None,
            last_uid: String::new(),
            coverage: Coverage::default(),
            gap: None,
            connected: false,
            failures: 0,
            started_over: false,
            wait: Duration::ZERO,
            streaming,
            short: false,
            backward: 0,
            stale: 0,
            silent: 0,
            undecodable: None,
            page_size,
        };
        if let Some(checkpoint) = resume_from {
            machine.coverage.prove(checkpoint.covered_until);
            match decode::version(&checkpoint.resource_version) {
                Ok(version) => {
                    machine.last = Some(version);
                    let start = Now { wall: checkpoint.covered_until, mono: Duration::ZERO };
                    machine.phase = Phase::Watching(Connection::new(start));
                }
                Err(error) => machine.gap = Some(format!("the stored checkpoint has {error}")),
            }
        }
        machine
    }

    /// How long to wait before the next request.
    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }

    /// What to ask for now.
    pub(crate) fn request(&mut self, now: Now) -> Request {
        self.wait = Duration::ZERO;
        match (&mut self.phase, self.last) {
            (Phase::Watching(_), Some(version)) => Request::Watch { version },
            (Phase::Listing(listing), _) => {
                listing.asked = Some(now);
                listing.last_byte = now.mono;
                match listing.more.clone() {
                    None if self.streaming == Streaming::Wanted => Request::StreamingList,
                    more => Request::Page { limit: self.page_size, more },
                }
            }
            (Phase::Watching(_), None) => unreachable!("a watch has a version to start from"),
        }
    }

    /// The request was answered with a status that is no success.
    pub(crate) fn refused<T>(
        &mut self,
        why: &Failure,
        retry_after: Option<Duration>,
        now: Now,
        out: &mut Vec<Delta<T>>,
    ) {
        let reason = format!("the API server answered {}: {}", why.code, why.message);
        match &self.phase {
            Phase::Watching(_) if why.is_expired() || matches!(why.code, 400 | 422) => self.relist(reason),
            Phase::Listing(listing) if listing.more.is_some() && why.is_expired() => self.start_over(),
            Phase::Listing(listing)
                if listing.more.is_none()
                    && self.streaming == Streaming::Wanted
                    && matches!(why.code, 400 | 403 | 404 | 405 | 410 | 422) =>
            {
                // An API server that has just started may forbid what it allows a moment later.
                self.streaming = if why.code == 403 { Streaming::Paused } else { Streaming::Off };
            }
            _ => {
                let asked = retry_after.unwrap_or_default().min(MOST_RETRY_AFTER);
                self.fail(reason, asked, now, out);
            }
        }
    }

    /// The request was not answered, or its answer is of no use.
    pub(crate) fn failed<T>(&mut self, reason: String, now: Now, out: &mut Vec<Delta<T>>) {
        self.fail(reason, Duration::ZERO, now, out);
    }

    /// A watch was answered with success.
    pub(crate) fn opened<T>(&mut self, now: Now, out: &mut Vec<Delta<T>>) {
        self.connect(now, out);
        match &mut self.phase {
            Phase::Watching(connection) => *connection = Connection::new(now),
            Phase::Listing(listing) => {
                listing.last_byte = now.mono;
                out.push(Delta::ListStarted { sent: listing.asked.map_or(now.wall, |asked| asked.wall) });
            }
        }
    }

    /// Bytes of a watch have come.
    pub(crate) const fn arrived(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Watching(connection) => {
                connection.arrived = now;
                self.silent = 0;
            }
            Phase::Listing(listing) => listing.last_byte = now.mono,
        }
    }

    /// What came has been given out; now there is silence.
    pub(crate) fn settled(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Watching(connection) => {
                connection.silent_since = now.mono;
                // While the consumer was busy, the server's frames waited: when they came is not when they happened.
                if now.mono.saturating_sub(connection.arrived.mono) > LAG {
                    connection.caught_up = false;
                }
            }
            Phase::Listing(listing) => listing.last_byte = now.mono,
        }
    }

    /// A line of a watch has come; `raw` is what it was.
    pub(crate) fn event<T: Resource>(
        &mut self,
        event: Event<T>,
        raw: &[u8],
        now: Now,
        out: &mut Vec<Delta<T>>,
    ) -> Flow {
        match &self.phase {
            Phase::Listing(listing) => {
                let sent = listing.asked.map_or(now.wall, |asked| asked.wall);
                self.listed(event, sent, now, out)
            }
            Phase::Watching(_) => self.watched(event, raw, now, out),
        }
    }

    /// A line of a watch cannot be decoded.
    pub(crate) fn undecodable<T>(&mut self, bad: Rejected, now: Now, out: &mut Vec<Delta<T>>) -> Flow {
        let reason = format!("a frame of the watch cannot be used: {}", bad.reason);
        match &self.phase {
            // As an item of a page: its object is listed, whatever else it is.
            Phase::Listing(_) if bad.key.is_some() => {
                out.push(Delta::Rejected(bad));
                return Flow::Continue;
            }
            Phase::Watching(_) if self.undecodable.is_some() && self.undecodable == self.last => {
                out.push(Delta::Rejected(bad));
                self.relist(reason);
            }
            Phase::Watching(_) => {
                self.undecodable = self.last;
                self.failed(reason, now, out);
            }
            Phase::Listing(_) => {
                self.streaming = Streaming::Paused;
                self.failed(reason, now, out);
                self.phase = Phase::Listing(Listing::default());
            }
        }
        Flow::Close
    }

    /// When [`idle`](Self::idle) wants to be called if nothing comes, as [`Now::mono`].
    pub(crate) fn deadline(&self) -> Duration {
        match &self.phase {
            Phase::Listing(listing) => listing.last_byte + PATIENCE.min(self.config.stall_timeout),
            Phase::Watching(connection) => {
                let dead = connection.silent_since + self.config.stall_timeout;
                dead.min(match connection.caught_up {
                    true => connection.spoken.max(connection.silent_since) + self.config.heartbeat,
                    false => connection.silent_since + self.config.quiet,
                })
            }
        }
    }

    /// Nothing has come for a while.
    pub(crate) fn idle<T>(&mut self, now: Now, out: &mut Vec<Delta<T>>) -> Flow {
        let stall = self.config.stall_timeout;
        match &mut self.phase {
            Phase::Listing(listing) if now.mono >= listing.last_byte + PATIENCE.min(stall) => {
                self.streaming = Streaming::Off;
                self.failed("a streaming list came to no end".to_owned(), now, out);
                self.phase = Phase::Listing(Listing::default());
                Flow::Close
            }
            Phase::Watching(connection) if now.mono >= connection.silent_since + stall => {
                // It may have been dead since its last byte.
                self.coverage.until = self.coverage.proven;
                let reason = format!("no byte of the watch came for {stall:?}");
                self.silent += 1;
                if self.silent >= SILENT_WATCHES {
                    // A server whose history went back says nothing of it until it is where it was.
                    self.silent = 0;
                    self.relist(format!("{SILENT_WATCHES} times in a row {reason}"));
                }
                self.failed(reason, now, out);
                Flow::Close
            }
            Phase::Watching(connection) => {
                let silence = now.mono.saturating_sub(connection.silent_since);
                let heartbeat = now.mono.saturating_sub(connection.spoken) >= self.config.heartbeat;
                if (connection.caught_up && heartbeat) || (!connection.caught_up && silence >= self.config.quiet) {
                    connection.caught_up = true;
                    connection.spoken = now.mono;
                    self.failures = 0;
                    self.started_over = false;
                    self.coverage.until = self.coverage.until.max(Some(now.wall));
                    let unheard = connection.arrived.mono == connection.opened;
                    let since = unheard.then_some(connection.arrived.wall);
                    out.push(Delta::Alive { since, at: now.wall });
                }
                Flow::Continue
            }
            Phase::Listing(_) => Flow::Continue,
        }
    }

    /// The response to a watch has ended.
    pub(crate) fn ended<T>(&mut self, end: End, now: Now, out: &mut Vec<Delta<T>>) {
        match (&self.phase, end) {
            (Phase::Watching(connection), End::Clean) => {
                let lasted = now.mono.saturating_sub(connection.opened);
                let worth = connection.progressed || lasted >= SHORT;
                if connection.caught_up {
                    self.coverage.prove(now.wall);
                }
                let again = std::mem::replace(&mut self.short, !worth);
                if again && !worth {
                    self.failed("the API server ended the watch as soon as it began".to_owned(), now, out);
                }
            }
            (Phase::Watching(_), End::Cut(reason)) => self.failed(format!("the watch was cut: {reason}"), now, out),
            (Phase::Listing(_), end) => {
                let reason = match end {
                    End::Clean => "it ended early".to_owned(),
                    End::Cut(reason) => reason,
                };
                self.streaming = Streaming::Paused;
                self.failed(format!("a streaming list was cut: {reason}"), now, out);
                self.phase = Phase::Listing(Listing::default());
            }
        }
    }

    fn fail<T>(&mut self, reason: String, at_least: Duration, now: Now, out: &mut Vec<Delta<T>>) {
        self.wait = self.backoff().max(at_least);
        self.failures = self.failures.saturating_add(1);
        self.connected = false;
        out.push(Delta::Disconnected { at: now.wall, reason, retry_in: self.wait });
    }

    fn backoff(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.min(20));
        let most = self.config.backoff_min.saturating_mul(doubled).min(self.config.backoff_max);
        most.mul_f64(self.random.random_range(0.5..=1.0))
    }

    fn connect<T>(&mut self, now: Now, out: &mut Vec<Delta<T>>) {
        if !self.connected {
            self.connected = true;
            out.push(Delta::Connected { at: now.wall });
        }
    }
}

fn said(failure: &Failure) -> String {
    format!("the API server ended the watch with {} {}: {}", failure.code, failure.reason, failure.message)
}

#[cfg(test)]
mod tests;
