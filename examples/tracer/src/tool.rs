//! A running tool: its group of processes, and how it ends.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, kill_process, kill_process_group, waitid,
};
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
}

impl End {
    /// The exit code that says so, as shells have it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 | u8::try_from(signal).unwrap_or(0x7f),
            Self::Timer => 0,
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
        let passed = passed.into_iter().map(|(name, kind)| Ok((name, signal(kind)?))).collect::<io::Result<_>>()?;
        Ok(Self { passed, children: signal(SignalKind::child())? })
    }

    /// Waits for a signal that asks this process to end.
    pub(crate) async fn asked_to_end(&mut self) {
        loop {
            if matches!(Self::next(&mut self.passed).await, Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT) {
                return;
            }
        }
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

/// The group of a tool's processes: the tool leads it, and its number is the tool's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Pid);

impl Group {
    /// That of a child which was started as the leader of one.
    pub(crate) fn of(child: &std::process::Child) -> Self {
        Self(Pid::from_child(child))
    }

    /// Waits until the tool has ended, and ends what it left in its group. Passes signals on meanwhile.
    pub(crate) async fn end(
        self,
        signals: &mut Signals,
        timer: Option<Duration>,
        terminal: Option<&Terminal>,
    ) -> io::Result<End> {
        let mut timer = timer.map(|timer| Instant::now() + timer);
        let mut timed_out = false;
        let mut patience = None;
        loop {
            if let Some(end) = self.ended()? {
                self.clear(patience, signals).await?;
                return Ok(if timed_out { End::Timer } else { end });
            }
            if let Some(terminal) = terminal {
                self.stop_with_it(terminal)?;
            }
            tokio::select! {
                _ = signals.children.recv() => {}
                signal = Signals::next(&mut signals.passed) => {
                    self.send(signal)?;
                    if matches!(signal, Signal::TERM | Signal::HUP) {
                        patience.get_or_insert_with(|| Instant::now() + GRACE);
                    }
                }
                () = at(timer) => {
                    (timer, timed_out) = (None, true);
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

    /// How the tool ended, once it has. From then on its number may be another's.
    fn ended(self) -> io::Result<Option<End>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = retry(|| waitid(WaitId::Pid(self.0), options))?;
        Ok(status.map(|status| {
            // One of the two it is.
            let code = status.exit_status().and_then(|code| u8::try_from(code & 0xff).ok());
            code.map_or_else(|| End::Signalled(status.terminating_signal().unwrap_or_default()), End::Exited)
        }))
    }

    /// Ends what the tool left behind. Its processes are our children now, since we take in those that lose their parent.
    async fn clear(self, patience: Option<Instant>, signals: &mut Signals) -> io::Result<()> {
        let mut told = patience.is_some();
        let patience = patience.unwrap_or_else(|| Instant::now() + GRACE);
        while self.has_children()? {
            if !std::mem::replace(&mut told, true) {
                self.send(Signal::TERM)?;
            }
            if Instant::now() >= patience {
                // What even this does not end waits for a device, and ends when that answers.
                return self.send(Signal::KILL);
            }
            tokio::select! {
                _ = signals.children.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// Whether a process of the group is our child. As long as one is, the group's number is nobody else's.
    fn has_children(self) -> io::Result<bool> {
        loop {
            match waitid(WaitId::Pgid(Some(self.0)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(None) => return Ok(true),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn send(self, signal: Signal) -> io::Result<()> {
        // Who is stopped obeys when it goes on.
        let also = matches!(signal, Signal::TERM | Signal::HUP).then_some(Signal::CONT);
        for signal in std::iter::once(signal).chain(also) {
            match kill_process_group(self.0, signal) {
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

    /// Does as the tool does when it is stopped from the terminal: the shell gets it, until it lets both go on.
    fn stop_with_it(self, terminal: &Terminal) -> io::Result<()> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let Some(signal) =
            retry(|| waitid(WaitId::Pid(self.0), options))?.as_ref().and_then(WaitIdStatus::stopping_signal)
        else {
            return Ok(());
        };
        // It asked for the terminal before it had it.
        let early = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&signal);
        if !early {
            terminal.take_back(self.0)?;
            kill_process(getpid(), Signal::STOP)?;
        }
        terminal.give(self.0)?;
        self.send(Signal::CONT)
    }

    /// Gives the tool the terminal.
    pub(crate) fn take(self, terminal: &Terminal) -> io::Result<()> {
        terminal.give(self.0)?;
        // It may have asked before it had it, and been stopped for that.
        self.send(Signal::CONT)
    }

    /// Takes the terminal from the tool.
    pub(crate) fn leave(self, terminal: &Terminal) -> io::Result<()> {
        terminal.take_back(self.0)
    }
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
