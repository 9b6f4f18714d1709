//! The loop that moves rows from a source to a writer. What it decides is in `plan`, without clock or I/O.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::{Batch, Committed, Error, ErrorKind, Position, Rejection, Row, Source, SourceError, Writer};
use plan::{Backoff, Flight};

/// So many rows without a record for this sink are passed before their position is worth a durable write.
const SKIPPED_ROWS: u64 = 4096;
/// After so long without new rows, the position past rows without a record is written.
const SKIPPED_TIME: Duration = Duration::from_secs(10);

/// How an outbox batches, waits and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxConfig {
    /// Most rows of a batch; at least 1.
    pub max_rows: usize,
    /// Most bytes of a batch; a row that is larger goes alone.
    pub max_bytes: usize,
    /// The wait after a first failure; each further one doubles it.
    pub min_backoff: Duration,
    /// The longest wait between tries, unless the backend asks for more.
    pub max_backoff: Duration,
    /// How long a shutdown may take to deliver what is already recorded.
    pub drain: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            max_rows: 1000,
            max_bytes: 1 << 20,
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Is told what an outbox does, to count it. Calls are made between steps and should be quick; `()` ignores them.
pub trait Observer: Send + Sync {
    /// A batch was delivered and its position stored.
    fn delivered(&self, records: usize, bytes: usize) {
        let _ = (records, bytes);
    }
    /// A delivery failed and is tried again after `wait`.
    fn retried(&self, error: &Error, wait: Duration) {
        let _ = (error, wait);
    }
    /// A record was set aside for good.
    fn rejected(&self, rejection: &Rejection) {
        let _ = rejection;
    }
    /// The source failed and is tried again after `wait`.
    fn stalled(&self, error: &SourceError, wait: Duration) {
        let _ = (error, wait);
    }
    /// So many sequence numbers are not delivered yet.
    fn lag(&self, rows: u64) {
        let _ = rows;
    }
}

impl Observer for () {}

/// Delivers everything that `source` has and gets to `writer`, until `shutdown`.
///
/// Each batch is frozen in the source before it is delivered; one that was in flight when the process ended is
/// delivered first, the same bytes with the same token. Failures that may pass are tried again for ever, with jittered
/// exponential waits; a record that the writer rejects is dead-lettered and the rest of its batch delivered again. On
/// shutdown what is recorded by then is still delivered, for at most [`OutboxConfig::drain`]; what remains is
/// delivered at the next start. Until that limit, no delivery is cancelled.
///
/// # Errors
/// If the writer or the source gives up, or the writer rejects records that it was not given.
pub async fn run<S: Source, W: Writer>(
    source: S,
    writer: W,
    config: OutboxConfig,
    observer: &dyn Observer,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (stop, stopped) = watch::channel(false);
    let drain = config.drain;
    let mut outbox = Outbox {
        source,
        writer,
        config,
        observer,
        position: Position::default(),
        cursor: 0,
        waiting: VecDeque::new(),
        stopped,
    };
    let mut work = pin!(outbox.work());
    tokio::select! {
        biased;
        () = shutdown => {}
        done = &mut work => return done,
    }
    stop.send_replace(true);
    timeout(drain, work).await.unwrap_or_else(|_elapsed| {
        tracing::warn!("drain timed out, the rest is delivered at the next start");
        Ok(())
    })
}

struct Outbox<'a, S, W> {
    source: S,
    writer: W,
    config: OutboxConfig,
    observer: &'a dyn Observer,
    /// What the source has stored.
    position: Position,
    /// The last row that is delivered or has nothing for this sink; ahead of `position` only by the latter.
    cursor: u64,
    /// Rows read and not yet in a batch, at most one read's worth.
    waiting: VecDeque<Row>,
    stopped: watch::Receiver<bool>,
}

/// Calls the source until it answers or gives up.
macro_rules! patiently {
    ($outbox:ident, $call:expr) => {{
        let mut backoff = Backoff::new(&$outbox.config);
        loop {
            match $call.await {
                Ok(answer) => break answer,
                Err(error) => $outbox.stall(error, &mut backoff).await?,
            }
        }
    }};
}

impl<S: Source, W: Writer> Outbox<'_, S, W> {
    /// Works until told to stop and then until what was recorded by then is delivered.
    async fn work(&mut self) -> Result<(), Error> {
        self.position = patiently!(self, self.source.position());
        self.cursor = self.position.seq;
        if let Some(last) = self.position.frozen.filter(|last| *last > self.position.seq) {
            let rows = self.reread(last).await?;
            self.deliver(Flight::new(self.position.seq + 1, last, rows)).await?;
        }
        let mut target = None;
        loop {
            if target.is_none() && *self.stopped.borrow() {
                target = Some(patiently!(self, self.source.head()));
            }
            let at_target = target.is_some_and(|target| self.cursor >= target);
            if self.waiting.is_empty() && !at_target {
                self.waiting = patiently!(self, self.source.read(self.cursor, target, self.config.max_rows)).into();
            }
            match plan::cut(&self.waiting, &self.config) {
                _ if at_target => return self.commit_skipped().await,
                0 if target.is_some() => return self.commit_skipped().await,
                0 => self.idle().await?,
                rows => {
                    let rows = self.waiting.drain(..rows).collect();
                    self.advance(rows).await?;
                }
            }
        }
    }

    /// The rows of a batch that was in flight.
    async fn reread(&mut self, last: u64) -> Result<Vec<Row>, Error> {
        let (mut rows, mut after) = (Vec::new(), self.position.seq);
        while after < last {
            let page = patiently!(self, self.source.read(after, Some(last), self.config.max_rows));
            let Some(end) = page.last() else { break };
            after = end.seq;
            rows.extend(page);
        }
        Ok(rows)
    }

    /// Gets past `rows`, which are the next ones: delivers them, or only moves on if there is nothing to deliver.
    async fn advance(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let last = rows.last().map_or(self.cursor, |row| row.seq);
        if rows.iter().all(|row| row.items.is_empty()) {
            self.cursor = last;
            if last - self.position.seq >= SKIPPED_ROWS {
                self.commit_skipped().await?;
            }
        } else {
            patiently!(self, self.source.freeze(last));
            // From the stored position, not the cursor: a restart knows only that.
            self.deliver(Flight::new(self.position.seq + 1, last, rows)).await?;
        }
        let head = patiently!(self, self.source.head());
        self.observer.lag(head.saturating_sub(self.cursor));
        Ok(())
    }

    /// Delivers a frozen batch and stores the position after it.
    async fn deliver(&mut self, mut flight: Flight) -> Result<(), Error> {
        let mut backoff = Backoff::new(&self.config);
        let committed = loop {
            let resume = self.position.resume.as_deref();
            if flight.items.is_empty() {
                break Committed { resume: resume.map(str::to_owned) };
            }
            let batch = Batch { first: flight.first, last: flight.last, items: &flight.items, resume };
            match self.writer.deliver(&batch).await {
                Ok(committed) => break committed,
                Err(error) => self.settle(error, &mut flight, &mut backoff).await?,
            }
        };
        if backoff.tries() > 0 {
            tracing::info!(
                first = flight.first,
                last = flight.last,
                tries = backoff.tries(),
                "delivered after failures"
            );
        }
        self.commit(Position { seq: flight.last, resume: committed.resume, frozen: None }).await?;
        let bytes = flight.items.iter().map(|item| item.line.len()).sum();
        self.observer.delivered(flight.items.len(), bytes);
        Ok(())
    }

    /// Does what a failed delivery asks for, so that the batch can be delivered again.
    async fn settle(&mut self, error: Error, flight: &mut Flight, backoff: &mut Backoff) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::Retry { after } => {
                let wait = backoff.next(*after, rand::random());
                let cause = cause(&error);
                let (retry_ms, first, last) = (millis(wait), flight.first, flight.last);
                tracing::warn!(%error, cause, retry_ms, first, last, "delivery failed");
                self.observer.retried(&error, wait);
                self.pause(wait, backoff).await;
                Ok(())
            }
            ErrorKind::Rejected(rejections) => {
                let aside = flight.set_aside(rejections);
                if aside.is_empty() {
                    return Err(Error::fatal(error.object(), "it rejects records, but none of this batch"));
                }
                for (seq, item, rejection) in aside {
                    let (id, reason) = (rejection.id, &rejection.reason);
                    patiently!(self, self.source.dead_letter(seq, &item, reason));
                    tracing::error!(seq, %id, reason, "record rejected and set aside");
                    self.observer.rejected(&rejection);
                }
                Ok(())
            }
            ErrorKind::Fatal => Err(error),
        }
    }

    /// Waits for rows, a stop, or the time to store that rows without a record were passed.
    async fn idle(&mut self) -> Result<(), Error> {
        self.observer.lag(0);
        let mut backoff = Backoff::new(&self.config);
        let skipped = self.cursor > self.position.seq;
        loop {
            let changed = tokio::select! {
                biased;
                () = stop(&mut self.stopped) => return Ok(()),
                changed = self.source.changed(self.cursor) => changed,
                () = sleep(SKIPPED_TIME), if skipped => return self.commit_skipped().await,
            };
            match changed {
                Ok(()) => return Ok(()),
                Err(error) => self.stall(error, &mut backoff).await?,
            }
        }
    }

    async fn commit_skipped(&mut self) -> Result<(), Error> {
        if self.cursor == self.position.seq {
            return Ok(());
        }
        let resume = self.position.resume.clone();
        self.commit(Position { seq: self.cursor, resume, frozen: None }).await
    }

    async fn commit(&mut self, position: Position) -> Result<(), Error> {
        patiently!(self, self.source.commit(position.clone()));
        self.cursor = position.seq;
        self.position = position;
        Ok(())
    }

    /// Waits after a failure of the source, or gives up.
    async fn stall(&mut self, error: SourceError, backoff: &mut Backoff) -> Result<(), Error> {
        if !error.is_retryable() {
            return Err(Error::fatal("the writer, for want of its source", error));
        }
        let wait = backoff.next(None, rand::random());
        tracing::warn!(%error, cause = cause(&error), retry_ms = millis(wait), "source failed");
        self.observer.stalled(&error, wait);
        self.pause(wait, backoff).await;
        Ok(())
    }

    /// Waits, but not through the start of a shutdown: then there is little time left, so waits start small again.
    async fn pause(&mut self, wait: Duration, backoff: &mut Backoff) {
        if *self.stopped.borrow() {
            return sleep(wait).await;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = stop(&mut self.stopped) => backoff.shorten(),
        }
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Why an error came about, for the log.
fn cause(error: &dyn StdError) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.map(ToString::to_string).reduce(|all, cause| format!("{all}: {cause}"))
}

/// Waits for the shutdown. Its sender lives as long as the outbox does.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
