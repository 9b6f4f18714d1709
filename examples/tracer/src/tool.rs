//! A running tool: its group of processes, and how it ends.

use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpgrp, kill_process_group, waitid};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::terminal::Terminal;

/// How long a group that was told to end may take for it; then it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether a group is gone, besides when a child ended.
const LOOK: Duration = Duration::from_millis(50);

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
    /// The timer ended it.
    Timer,
    /// Not known: it could not be seen to its end.
    Lost,
}

impl End {
    /// The exit code that says so, as shells have it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 | u8::try_from(signal).unwrap_or(0x7f),
            Self::Timer => 0,
            Self::Lost => 1,
        }
    }
}

/// The signals that are passed on to tools, and those that say that a child ended or stopped.
///
/// From when it is made on, none of them ends this process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    passed: Vec<(Signal, Listener)>,
    children: Listener,
    /// Only kept from ending this process, which is told by the write as well that its file may not grow.
    _too_long: Option<Listener>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let passed = [
            (Signal::TERM, SignalKind::terminate()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
            (Signal::WINCH, SignalKind::window_change()),
        ];
        // What was ignored from the start stays so, for the tool too.
        let ignored = Ignored::now();
        let passed = passed.into_iter().filter(|(name, _)| !ignored.has(*name));
        let passed = passed.map(|(name, kind)| Ok((name, signal(kind)?))).collect::<io::Result<_>>()?;
        let too_long = (!ignored.has(Signal::XFSZ)).then(|| signal(SignalKind::from_raw(Signal::XFSZ.as_raw())));
        Ok(Self { passed, children: signal(SignalKind::child())?, _too_long: too_long.transpose()? })
    }

    /// Waits for a signal that asks this process to end.
    pub(crate) async fn asked_to_end(&mut self) -> Signal {
        loop {
            let signal = Self::next(&mut self.passed).await;
            if matches!(signal, Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT) {
                return signal;
            }
        }
    }

    /// Forgets those that came until now: they were for the tool.
    pub(crate) fn forget(&mut self) {
        while Self::next(&mut self.passed).now_or_never().is_some() {}
    }

    /// The next signal to pass on.
    async fn next(passed: &mut [(Signal, Listener)]) -> Signal {
        std::future::poll_fn(|context| {
            let ready =
                passed.iter_mut().find_map(|(name, listener)| listener.poll_recv(context).is_ready().then_some(*name));
            ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

/// When this process is hung up on, for what has no tool.
pub(crate) fn hang_up() -> io::Result<impl Future<Output = ()>> {
    let listener = if Ignored::now().has(Signal::HUP) { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        match listener {
            Some(mut listener) => drop(listener.recv().await),
            None => std::future::pending().await,
        }
    })
}

/// The signals that this process ignores, as nohup(1) has it: a bit for each, from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ignored(u64);

impl Ignored {
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    pub(crate) const fn has(self, signal: Signal) -> bool {
        self.0 >> (signal.as_raw() - 1) & 1 == 1
    }
}

/// The group of a tool's processes: the tool leads it, and its number is the tool's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    leader: Pid,
    /// It is in another pid namespace, from which orphans do not come to us.
    is_below: bool,
}

impl Group {
    /// That of a child which was started as the leader of one.
    pub(crate) fn of(child: &std::process::Child, is_below: bool) -> Self {
        Self { leader: Pid::from_child(child), is_below }
    }

    /// Waits until the tool has ended, and ends what it left in its group. Passes signals on meanwhile.
    ///
    /// # Errors
    /// If that cannot be done; what could be ended then was killed.
    pub(crate) async fn end(
        self,
        signals: &mut Signals,
        timer: Option<Duration>,
        terminal: &mut Option<Terminal>,
    ) -> io::Result<End> {
        let ended = self.see_to_end(signals, timer, terminal).await;
        if ended.is_err() {
            // The error says enough.
            self.send(Signal::KILL).ok();
        }
        ended
    }

    async fn see_to_end(
        self,
        signals: &mut Signals,
        timer: Option<Duration>,
        terminal: &mut Option<Terminal>,
    ) -> io::Result<End> {
        let mut timer = timer.map(|timer| Instant::now() + timer);
        let mut timed_out = false;
        let mut patience = None;
        loop {
            if let Some(end) = self.ended()? {
                self.clear(patience, signals).await?;
                return Ok(if timed_out { End::Timer } else { end });
            }
            self.stop_with_it(terminal)?;
            tokio::select! {
                _ = signals.children.recv() => {}
                signal = Signals::next(&mut signals.passed) => {
                    self.send(signal)?;
                    if matches!(signal, Signal::TERM | Signal::HUP) {
                        patience.get_or_insert_with(|| Instant::now() + GRACE);
                    }
                }
                () = at(timer) => {
                    // If it was told to end already, it is not the timer that ends it.
                    (timer, timed_out) = (None, patience.is_none());
                    self.send(Signal::TERM)?;
                    patience.get_or_insert_with(|| Instant::now() + GRACE);
                }
                () = at(patience) => {
                    patience = None;
                    self.send(Signal::KILL)?;
                }
            }
        }
    }

    /// How the tool ended, once it has. From then on its number may be another's, unless its processes are out of our reach.
    fn ended(self) -> io::Result<Option<End>> {
        let mut options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if self.is_below {
            options |= WaitIdOptions::NOWAIT;
        }
        let status = retry(|| waitid(WaitId::Pid(self.leader), options))?;
        Ok(status.map(|status| {
            // One of the two it is.
            let code = status.exit_status().and_then(|code| u8::try_from(code & 0xff).ok());
            code.map_or_else(|| End::Signalled(status.terminating_signal().unwrap_or_default()), End::Exited)
        }))
    }

    /// Ends what the tool left behind. Its processes are our children now, since we take in those that lose their parent.
    async fn clear(self, patience: Option<Instant>, signals: &mut Signals) -> io::Result<()> {
        let mut told = patience.is_some();
        let mut patience = patience.unwrap_or_else(|| Instant::now() + GRACE);
        let mut killed = false;
        while self.has_others()? {
            if !std::mem::replace(&mut told, true) {
                self.send(Signal::TERM)?;
            }
            if Instant::now() >= patience {
                if killed {
                    // What even that does not end waits for a device, and ends when that answers.
                    break;
                }
                self.send(Signal::KILL)?;
                (killed, patience) = (true, Instant::now() + LOOK * 10);
            }
            tokio::select! {
                _ = signals.children.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if self.is_below {
            // Until now its number was kept for it.
            retry(|| waitid(WaitId::Pid(self.leader), WaitIdOptions::EXITED | WaitIdOptions::NOHANG))?;
        }
        Ok(())
    }

    /// Whether there is a process in the group besides the tool, which has ended. As long as one is our child, or the tool has not
    /// been waited for, the group's number is nobody else's.
    fn has_others(self) -> io::Result<bool> {
        if self.is_below {
            return others(self.leader);
        }
        loop {
            match waitid(WaitId::Pgid(Some(self.leader)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(None) => return Ok(true),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn send(self, signal: Signal) -> io::Result<()> {
        // Who is stopped obeys when it goes on.
        let ends = matches!(signal, Signal::TERM | Signal::HUP | Signal::INT | Signal::QUIT);
        for signal in std::iter::once(signal).chain(ends.then_some(Signal::CONT)) {
            match kill_process_group(self.leader, signal) {
                // It has just ended.
                Ok(()) | Err(Errno::SRCH) => {}
                // As tcpdump does. A tool that stays as it was started cannot be out of reach.
                Err(Errno::PERM) => {
                    let text = "it goes on, since it has become another user's: CAP_KILL is missing to end it";
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Does as the tool does when it is stopped from the terminal, or because it has not got it: the shell gets it, until it lets
    /// both go on. One that wants a terminal which it cannot have is hung up on, as one without a shell is by the kernel.
    fn stop_with_it(self, terminal: &mut Option<Terminal>) -> io::Result<()> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let stopped = match retry(|| waitid(WaitId::Pid(self.leader), options)) {
            // One that has ended since cannot be stopped any more.
            Err(e) if e.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => None,
            stopped => stopped?,
        };
        let Some(signal) = stopped.as_ref().and_then(WaitIdStatus::stopping_signal) else { return Ok(()) };
        let wants = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&signal);
        let Some(terminal) = terminal else {
            return if wants { self.send(Signal::HUP) } else { Ok(()) };
        };
        // It wanted the terminal before it had it, and we have it to give.
        if wants && terminal.give(self.leader)? {
            return self.send(Signal::CONT);
        }
        terminal.take_back(self.leader)?;
        // The whole job, as the terminal does it. Where no shell could let it go on, the kernel ignores this.
        kill_process_group(getpgrp(), Signal::TSTP)?;
        terminal.give(self.leader)?;
        self.send(Signal::CONT)
    }

    /// Gives the tool the terminal.
    pub(crate) fn take(self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.give(self.leader)?;
        // It may have asked before it had it, and been stopped for that.
        self.send(Signal::CONT)
    }

    /// Takes the terminal from the tool.
    pub(crate) fn leave(self, terminal: &Terminal) -> io::Result<()> {
        terminal.take_back(self.leader)
    }
}

/// Whether a process of this group runs, besides its leader.
fn others(leader: Pid) -> io::Result<bool> {
    let group = leader.to_string();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && **name != group) else {
            continue;
        };
        // One that has ended meanwhile is in no group. Fields behind the name, which is in brackets: state, parent, group.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ')).into_iter().flatten();
        let (state, of) = (fields.next(), fields.nth(1));
        if of == Some(&group) && state != Some("Z") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// At this instant; without one, never.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(Into::into),
        }
    }
}
