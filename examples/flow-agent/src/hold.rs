//! The process that is started: it holds the sockets, so that no event is lost while its worker is not there, and sees to it that they
//! harm nobody.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use podtrail_conntrack::{
    ErrorKind, Events, Journal, Preflight, Subscription, Verdict, Vitals, Watchdog, WatchdogConfig, receive_buffer,
};
use podtrail_daemon::{Channel, Exit, Failure, reopen_signal, shutdown_signal, spawn};
use podtrail_event::Timestamp;
use podtrail_netns::Netns;

use crate::args::{Reliable, RunArgs};
use crate::orders::{Mode, Order, Site};

/// How often the worker and the sockets are looked at.
const TICK: Duration = Duration::from_millis(100);
/// A worker that was told to stop may take so long.
const DRAIN: Duration = Duration::from_secs(13);
/// A worker that lived for so long is no sign of a lasting fault.
const LASTING: Duration = Duration::from_secs(1);
/// The longest wait before a worker is started again.
const MAX_WAIT: Duration = Duration::from_secs(1);

pub(crate) fn hold(args: &RunArgs) -> Result<(), Failure> {
    let sites = open_all(args)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    // Workers end with this thread, which is the main one.
    runtime.block_on(Holder { sites, heard: None }.run())
}

/// A network namespace, with what must outlive a worker.
struct Held {
    site: Site,
    netns: Netns,
    events: Events,
    journal: Journal,
    fill: Option<Fill>,
    watchdog: Option<Watchdog>,
}

fn open_all(args: &RunArgs) -> Result<Vec<Held>, Failure> {
    let own = vec!["/proc/self/ns/net".into()];
    let paths = if args.netns.is_empty() { &own } else { &args.netns };
    let holder = format!("{}-{}", std::process::id(), now().as_nanosecond());
    let mut sites: Vec<Held> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let netns = Netns::open(path).map_err(Failure::unavailable)?;
        if let Some(other) = sites.iter().find(|held| held.netns == netns) {
            let other = &other.site.path;
            return Err(Failure::usage(anyhow!(
                "--netns {} and {other} are one namespace: leave one out",
                path.display()
            )));
        }
        let (path, holder) = (path.display().to_string(), holder.clone());
        let site = Site { index, of: paths.len(), path, holder, since: 0, heard: None, mode: Mode::default() };
        sites.push(Held::open(site, netns, args)?);
    }
    Ok(sites)
}

impl Held {
    fn open(mut site: Site, netns: Netns, args: &RunArgs) -> Result<Self, Failure> {
        let preflight = if args.enable_accounting { Preflight::enable(&netns) } else { Preflight::read(&netns) };
        let preflight = preflight.map_err(Failure::unavailable)?;
        for finding in preflight.findings() {
            tracing::warn!(netns = site.path, remedy = finding.remedy, "{}: {}", finding.kind, finding.cost);
        }
        let config = WatchdogConfig::default();
        let is_calm = preflight.fill() * 100.0 < f64::from(config.calm);
        let is_reliable = match args.reliable {
            Reliable::Auto => is_calm,
            Reliable::Always => true,
            Reliable::Never => false,
        };
        let buffer = receive_buffer(5000, Duration::from_secs(1));
        let subscription = Subscription::default().reliable(is_reliable).receive_buffer(buffer);
        let events = Events::open_in(&subscription, &netns).map_err(|e| match e.kind() {
            ErrorKind::MissingCapability => Failure::unavailable(anyhow!(e).context(
                "flow-agent needs the capability NET_ADMIN (in Kubernetes: securityContext.capabilities.add: [\"NET_ADMIN\"])",
            )),
            _ => Failure::unavailable(e),
        })?;
        site.since = now().as_nanosecond();
        site.mode.is_reliable = is_reliable;
        let fill = Fill::open(&netns);
        let journal = Journal::create().map_err(Failure::unavailable)?;
        let watchdog = (args.reliable == Reliable::Auto).then(|| Watchdog::new(config, is_reliable));
        tracing::info!(netns = site.path, inode = netns.inode(), is_reliable, "listening");
        Ok(Self { site, netns, events, journal, fill, watchdog })
    }

    /// Looks after the socket; says what was done, if anything.
    fn watch(&mut self, heard: Instant) -> anyhow::Result<Option<Verdict>> {
        let Some(watchdog) = &mut self.watchdog else { return Ok(None) };
        let table = self.fill.as_ref().and_then(Fill::read);
        let vitals = Vitals { heard, queue: self.events.queue()?, table };
        let verdict = watchdog.check(Instant::now(), &vitals);
        let is_reliable = match verdict {
            Verdict::Leave(_) => false,
            Verdict::Enter => true,
            _ => return Ok(None),
        };
        let before = self.events.queue()?.drops;
        self.events.set_reliable(is_reliable)?;
        let after = self.events.queue()?.drops;
        let mode = &mut self.site.mode;
        // A delivery that failed between the two was tried again by the kernel, or was not: nobody can tell.
        mode.unsure += u64::from(before != after);
        if is_reliable {
            mode.lost = mode.lost(before);
        } else {
            (mode.mark, mode.trips) = (after, mode.trips + 1);
        }
        mode.is_reliable = is_reliable;
        Ok(Some(verdict))
    }
}

/// How full a namespace's table is, to be read from outside of it.
struct Fill {
    count: File,
    max: File,
}

impl Fill {
    fn open(netns: &Netns) -> Option<Self> {
        let open = |name: &str| File::open(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok();
        netns.run(|| Some(Self { count: open("count")?, max: open("max")? })).ok()?
    }

    fn read(&self) -> Option<(u64, u64)> {
        let number = |file: &File| {
            let mut text = [0; 32];
            let length = file.read_at(&mut text, 0).ok()?;
            std::str::from_utf8(&text[..length]).ok()?.trim().parse::<u64>().ok()
        };
        // 0 is no limit.
        Some((number(&self.count)?, number(&self.max)?)).filter(|(_, max)| *max > 0)
    }
}

struct Holder {
    sites: Vec<Held>,
    /// When a worker was last heard of, if ever.
    heard: Option<(Instant, SystemTime)>,
}

struct Worker {
    child: Child,
    channel: Channel,
    started: Instant,
    /// It was told to stop.
    is_stopping: bool,
}

/// When there is to be a worker.
struct Schedule {
    next_start: Instant,
    wait: Duration,
    /// From here on none is to go on.
    deadline: Option<Instant>,
}

impl Holder {
    async fn run(mut self) -> Result<(), Failure> {
        let (mut signal, mut hangup) = (std::pin::pin!(shutdown_signal()?), reopen_signal()?);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let begin = Instant::now();
        let mut schedule = Schedule { next_start: begin, wait: Duration::ZERO, deadline: None };
        let mut worker = Some(self.start()?);
        loop {
            tokio::select! {
                () = &mut signal, if schedule.deadline.is_none() => {
                    tracing::info!("stopping: what was counted is being written");
                    schedule.deadline = Some(Instant::now() + DRAIN);
                }
                () = hangup.recv() => {
                    if let Some(worker) = &worker {
                        worker.tell(&Order::Reopen);
                    }
                }
                _ = ticks.tick() => {}
            }
            if let Some(end) = self.tend(&mut worker, &mut schedule)? {
                return finished(end);
            }
            let heard = self.heard.map_or(begin, |(heard, _)| heard);
            self.watch(heard, worker.as_ref())?;
        }
    }

    /// Sees to it that there is a worker; says how the last one ended.
    fn tend(&mut self, worker: &mut Option<Worker>, schedule: &mut Schedule) -> Result<Option<ExitStatus>, Failure> {
        let now = Instant::now();
        // Also to stop there must be one: it writes what has come since the last one ended.
        if worker.is_none() && now >= schedule.next_start {
            match self.start() {
                Ok(started) => *worker = Some(started),
                Err(failure) => {
                    schedule.put_off();
                    tracing::error!(error = format!("{:#}", failure.error), wait = ?schedule.wait, "no worker can be started");
                }
            }
        }
        let Some(working) = worker else { return Ok(None) };
        if let Some(deadline) = schedule.deadline {
            if !std::mem::replace(&mut working.is_stopping, true) {
                working.tell(&Order::Stop);
            }
            if now >= deadline {
                working.child.kill().context("cannot end the worker")?;
            }
        }
        let Some(status) = self.hear(working)? else { return Ok(None) };
        let is_over = schedule.deadline.is_some_and(|deadline| status.success() || now >= deadline);
        // One that was never heard of and says itself that it cannot go on is not helped by another one.
        if is_over || (self.heard.is_none() && status.code().is_some()) {
            return Ok(Some(status));
        }
        match working.started.elapsed() >= LASTING {
            true => (schedule.wait, schedule.next_start) = (Duration::ZERO, now),
            false => schedule.put_off(),
        }
        tracing::warn!(%status, wait = ?schedule.wait, "the worker has ended, another one will go on");
        *worker = None;
        Ok(None)
    }

    fn start(&self) -> Result<Worker, Failure> {
        let arguments = std::env::args_os().skip(1).chain(["--worker".into()]);
        let (child, channel) = spawn(arguments)?;
        for held in &self.sites {
            let heard = self.heard.map(|(_, at)| Timestamp::from(at).as_nanosecond());
            let site = Site { heard, ..held.site.clone() };
            let descriptors = [held.netns.as_fd(), held.events.as_fd(), held.journal.as_fd()];
            // One that has ended already is noticed as any other.
            if channel.send(&Order::Count(site).to_bytes(), &descriptors).is_err() {
                break;
            }
        }
        Ok(Worker { child, channel, started: Instant::now(), is_stopping: false })
    }

    /// Takes the worker's signs of life; says how it ended, if it has.
    fn hear(&mut self, worker: &mut Worker) -> anyhow::Result<Option<ExitStatus>> {
        // First, so that nothing it said before its end is missed.
        let ended = worker.child.try_wait().context("cannot wait for the worker")?;
        while let Ok(Some(_)) = worker.channel.receive() {
            self.heard = Some((Instant::now(), SystemTime::now()));
        }
        Ok(ended)
    }

    fn watch(&mut self, heard: Instant, worker: Option<&Worker>) -> anyhow::Result<()> {
        let verdicts: Vec<_> = self.sites.iter_mut().map(|held| held.watch(heard)).collect::<Result<_, _>>()?;
        // Only now: to say it may take long.
        for (held, verdict) in self.sites.iter().zip(verdicts) {
            let (netns, mode) = (&held.site.path, held.site.mode);
            match verdict {
                Some(Verdict::Leave(trouble)) => {
                    tracing::warn!(netns, %trouble, "left reliable mode: ends of connections may be lost, and are counted then");
                }
                Some(_) => tracing::info!(netns, "in reliable mode again"),
                None => continue,
            }
            if let Some(worker) = worker {
                worker.tell(&Order::Mode { index: held.site.index, mode });
            }
        }
        Ok(())
    }
}

impl Worker {
    /// One that does not read it is in trouble that shows elsewhere, and its successor is told all that still matters.
    fn tell(&self, order: &Order) {
        self.channel.send(&order.to_bytes(), &[]).ok();
    }
}

impl Schedule {
    fn put_off(&mut self) {
        self.wait = (self.wait * 2).clamp(TICK / 2, MAX_WAIT);
        self.next_start = Instant::now() + self.wait;
    }
}

/// What the worker's end means for the whole.
fn finished(status: ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    // It has said why itself.
    let exit = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failure as u8);
    let error = match status.signal() {
        Some(signal) => anyhow!("the worker was ended by signal {signal}"),
        None => anyhow!("the worker could not go on"),
    };
    Err(Failure { exit, error })
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
