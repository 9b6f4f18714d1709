//! The loop that reads and counts.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use podtrail_conntrack::wire::Status;
use podtrail_conntrack::{ErrorKind, Filter, Table};
use podtrail_daemon::{Channel, Condition, Heartbeat};
use podtrail_flow::{Connection, Incarnation};
use podtrail_writer::{Change, Spool, SpoolErrorKind};
use tokio::sync::watch;

use super::site::Site;
use crate::convert;
use crate::hold::now;
use crate::metrics::Metrics;
use crate::orders::{Order, give_sign_of_life};

/// How often the sockets are looked at. Events wait meanwhile, which costs less than a wake-up for each.
const TICK: Duration = Duration::from_millis(100);
/// How often the holder hears of this.
const PULSE: Duration = Duration::from_millis(200);
/// How often what was counted is stored.
const COMMIT: Duration = Duration::from_secs(1);
/// What waits in the journal is counted and stored at once when it is more than this.
const MUCH: u64 = 256 << 10;
/// So many records are stored at once, about.
const BATCH: usize = 1000;
/// While a table is read, the sockets are looked at every so many connections.
const STRIDE: usize = 2048;
/// A snapshot that was not complete is repeated after so long, at most.
const SOON: Duration = Duration::from_secs(1);
/// A store that is full or out of order is tried again after so long.
const PAUSE: Duration = Duration::from_millis(100);
/// When the worker is to stop, the store may take so long to take what is left.
const LAST_TRY: Duration = Duration::from_secs(8);

/// What a snapshot showed.
#[derive(Clone, Copy, Default)]
struct Seen {
    connections: usize,
    unreadable: usize,
}

/// How the collector says that it works.
pub(crate) struct Report {
    pub(crate) counting: Condition,
    pub(crate) heartbeat: Heartbeat,
    /// Whoever writes to files opens them anew.
    pub(crate) reopen: watch::Sender<()>,
}

pub(crate) struct Collector {
    channel: Channel,
    spool: Spool,
    sites: Vec<Site>,
    /// The store outlives this process.
    is_durable: bool,
    interval: Duration,
    metrics: Arc<Metrics>,
    report: Report,
    change: Change,
    pulse: Instant,
    last_commit: Instant,
    /// Since when it is to stop.
    stopping: Option<Instant>,
}

impl Collector {
    pub(crate) fn new(
        channel: Channel,
        spool: Spool,
        is_durable: bool,
        sites: Vec<Site>,
        interval: Duration,
        metrics: Arc<Metrics>,
        report: Report,
    ) -> Self {
        let now = Instant::now();
        let (change, stopping) = (Change::default(), None);
        Self {
            channel,
            spool,
            is_durable,
            sites,
            interval,
            metrics,
            report,
            change,
            pulse: now,
            last_commit: now,
            stopping,
        }
    }

    /// Counts until the holder says that it is enough. `tables` are those of the sites.
    pub(crate) fn run(mut self, tables: &mut [Table]) -> anyhow::Result<()> {
        self.resume()?;
        // Before anything is counted: the holder then knows that something may be.
        give_sign_of_life(&self.channel);
        loop {
            self.listen()?;
            // What is heard later is for the next round.
            let is_last = self.stopping.is_some();
            let is_due = self.last_commit.elapsed() >= COMMIT || is_last;
            for index in 0..self.sites.len() {
                if is_due || self.sites[index].backlog() > MUCH {
                    self.count_events(index, tables)?;
                }
                if is_last || Instant::now() >= self.sites[index].next_dump {
                    self.read_table(index, tables)?;
                }
            }
            if is_due {
                self.last_commit = Instant::now();
            }
            if is_last {
                return self.finish(tables);
            }
            thread::sleep(TICK);
        }
    }

    fn resume(&mut self) -> anyhow::Result<()> {
        let cookies: Vec<u64> = self.sites.iter().map(Site::cookie).collect();
        let mut taken = Vec::new();
        for site in &mut self.sites {
            let resumed = match self.is_durable {
                true => site.resume(&self.spool, &cookies, &mut taken, || give_sign_of_life(&self.channel)),
                false => site.begin_anew(),
            };
            resumed.with_context(|| format!("cannot go on counting in {}", site.path()))?;
        }
        Ok(())
    }

    fn finish(&mut self, tables: &mut [Table]) -> anyhow::Result<()> {
        self.listen()?;
        for index in 0..self.sites.len() {
            self.sites[index].stop();
            self.count_events(index, tables)?;
        }
        Ok(())
    }

    /// Hears the holder, lets it hear, and takes events from all sockets.
    fn listen(&mut self) -> anyhow::Result<()> {
        while let Some(parcel) = self.channel.receive()? {
            match Order::from_bytes(&parcel.bytes)? {
                Order::Mode { index, mode } => {
                    for site in self.sites.iter_mut().filter(|site| site.index() == index) {
                        site.mode = mode;
                    }
                }
                Order::Stop => self.stopping = self.stopping.or_else(|| Some(Instant::now())),
                Order::Reopen => drop(self.report.reopen.send(())),
                Order::Count(_) => {}
            }
        }
        for site in &mut self.sites {
            site.take_events().with_context(|| format!("cannot take events of {}", site.path()))?;
        }
        // Only after events were taken: it says that they are.
        if self.pulse.elapsed() >= PULSE {
            self.pulse = Instant::now();
            give_sign_of_life(&self.channel);
            self.report.heartbeat.beat();
            self.metrics.spool(self.spool.backlog());
        }
        Ok(())
    }

    /// Asks the kernel something and listens while it does not answer: it has one lock for all who ask for connections, and
    /// whoever empties a table keeps it for seconds, in which the ends of all of them come.
    fn ask<T: Send>(&mut self, request: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let asker = thread::current();
        thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let answer = request();
                asker.unpark();
                answer
            });
            while !asking.is_finished() {
                self.listen()?;
                thread::park_timeout(TICK);
            }
            asking.join().map_err(|_panic| anyhow!("the connection table was not asked to the end"))
        })
    }

    /// Counts the ends of connections that have come, and stores all.
    fn count_events(&mut self, index: usize, tables: &mut [Table]) -> anyhow::Result<()> {
        // What comes meanwhile is for the next time.
        let mut left = self.sites[index].backlog();
        while left > 0 {
            left = left.saturating_sub(self.sites[index].count_events()?);
            if self.sites[index].out.records.len() >= BATCH {
                self.store(index)?;
                // Many take long, and the socket does not wait. When it is to stop, it takes no more.
                if self.stopping.is_none() {
                    self.listen()?;
                }
            }
        }
        let dying = match self.sites[index].is_owed()? {
            true => self.ask(|| dying(&mut tables[index]))?,
            false => Some(0),
        };
        self.sites[index].settle(dying)?;
        self.store(index)
    }

    /// Reads the whole table.
    fn read_table(&mut self, index: usize, tables: &mut [Table]) -> anyhow::Result<()> {
        // Ends that came before the snapshot are told before it.
        self.listen()?;
        self.count_events(index, tables)?;
        let (began, mut pause) = (Instant::now(), self.interval);
        self.sites[index].account.begin(now());
        let snapshot = self.snapshot(index, &mut tables[index]).and_then(|seen| {
            self.touch_dying(index, &mut tables[index])?;
            Ok(seen)
        });
        let is_complete = match snapshot {
            Ok(seen) => {
                self.sites[index].metrics.snapshot(seen.connections, began.elapsed());
                self.report.counting.set_ready();
                // Of what cannot be read nobody knows which connection it is: none is taken for gone.
                seen.unreadable == 0
            }
            Err(error) if error.is::<podtrail_conntrack::Error>() => {
                let netns = self.sites[index].path();
                tracing::warn!(
                    netns,
                    error = &*error as &dyn std::error::Error,
                    "the table was not read to its end, it is read again"
                );
                self.sites[index].metrics.interrupted();
                pause = pause.min(SOON);
                false
            }
            Err(error) => return Err(error),
        };
        let gone = self.sites[index].end_snapshot(is_complete);
        self.store(index)?;
        self.close_vanished(index, &gone)?;
        // Ends that came meanwhile are told after it.
        self.count_events(index, tables)?;
        self.metrics.account(self.sites[index].path(), &self.sites[index].account.stats());
        if let Ok(stats) = self.ask(|| tables[index].stats())? {
            self.sites[index].metrics.table(&stats);
        }
        self.sites[index].next_dump = began + pause;
        Ok(())
    }

    fn snapshot(&mut self, index: usize, table: &mut Table) -> anyhow::Result<Seen> {
        let (mut seen, mut unstamped) = (Seen::default(), Vec::new());
        let mut dump = self.ask(move || table.dump(&Filter::default()))??;
        while let Some(shown) = dump.next() {
            let site = &mut self.sites[index];
            match shown {
                Ok(shown) => {
                    let connection = convert::connection(site.cookie(), &shown);
                    // Its last word is on its way, or was here already.
                    if shown.status.is_some_and(|status| status.contains(Status::DYING)) {
                        site.account.touch(&connection);
                    } else if connection.identity.start.is_none() {
                        unstamped.push(connection);
                    } else {
                        site.account.observe(&connection, now, &mut site.out);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Malformed => {
                    seen.unreadable += 1;
                    site.metrics.malformed(&error);
                }
                Err(error) => return Err(error.into()),
            }
            seen.connections += 1;
            if seen.connections.is_multiple_of(STRIDE) {
                self.listen()?;
                if self.sites[index].out.records.len() >= BATCH {
                    self.store(index)?;
                }
            }
        }
        self.observe_unstamped(index, &unstamped)?;
        Ok(seen)
    }

    /// Without stamps only the order of things tells one incarnation from the next. Of what has ended since the snapshot began
    /// nobody knows which of the two was seen: the end tells all of the first, and the other one is seen in the next snapshot.
    fn observe_unstamped(&mut self, index: usize, seen: &[Connection]) -> anyhow::Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        let ended = self.sites[index].ends_waiting()?;
        for connection in seen {
            let site = &mut self.sites[index];
            if ended.as_ref().is_some_and(|ended| !ended.contains(&connection.identity.key())) {
                site.account.observe(connection, now, &mut site.out);
            } else {
                site.account.touch(connection);
            }
            if site.out.records.len() >= BATCH {
                self.store(index)?;
            }
        }
        Ok(())
    }

    /// Connections that ended and whose last word the kernel could not deliver yet are not gone.
    fn touch_dying(&mut self, index: usize, table: &mut Table) -> anyhow::Result<()> {
        let (mut seen, mut dump) = (0, self.ask(move || table.dying())??);
        while let Some(shown) = dump.next() {
            seen += 1;
            if seen % STRIDE == 0 {
                self.listen()?;
            }
            let shown = match shown {
                Ok(shown) => shown,
                Err(error) if error.kind() == ErrorKind::Malformed => continue,
                Err(error) => return Err(error.into()),
            };
            let site = &mut self.sites[index];
            site.account.touch(&convert::connection(site.cookie(), &shown));
        }
        Ok(())
    }

    fn close_vanished(&mut self, index: usize, gone: &[Incarnation]) -> anyhow::Result<()> {
        for incarnation in gone {
            let site = &mut self.sites[index];
            let saved = site.saved(&self.spool, incarnation.slot).context("cannot read the state")?;
            site.account.vanish(incarnation, saved.as_deref(), now(), &mut site.out);
            if site.out.records.len() >= BATCH {
                self.store(index)?;
            }
        }
        Ok(())
    }

    /// Stores what a site has to say. While there is no room, nothing more is counted: living connections go on being counted
    /// by the kernel, and ends of connections wait in the journal and the socket.
    fn store(&mut self, index: usize) -> anyhow::Result<()> {
        self.sites[index].change(&mut self.change);
        let mut is_said = false;
        loop {
            match self.spool.write(&self.change) {
                Ok(_) => break,
                Err(error) if !error.is_retryable() => return Err(error).context("cannot store what was counted"),
                Err(error) => {
                    if !std::mem::replace(&mut is_said, true) {
                        let is_full = error.kind() == SpoolErrorKind::Full;
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            is_full,
                            "counting pauses: it cannot be stored"
                        );
                        self.report.counting.set_not_ready("what is counted cannot be stored");
                    }
                    self.metrics.store_failed();
                    if self.stopping.is_some_and(|since| since.elapsed() >= LAST_TRY) {
                        return Err(error).context("cannot store what was counted");
                    }
                }
            }
            thread::sleep(PAUSE);
            self.listen()?;
        }
        if is_said {
            tracing::info!("counting goes on: it can be stored again");
            self.report.counting.set_ready();
        }
        self.change.clear();
        self.sites[index].stored()?;
        // Whoever stores much lives, and the socket does not wait.
        if self.pulse.elapsed() >= PULSE {
            self.listen()?;
        }
        Ok(())
    }
}

/// How many connections the kernel keeps until it can tell of their ends; `None` if that cannot be said.
fn dying(table: &mut Table) -> Option<usize> {
    let (mut count, mut dump) = (0, table.dying().ok()?);
    while let Some(shown) = dump.next() {
        shown.ok()?;
        count += 1;
    }
    Some(count)
}
