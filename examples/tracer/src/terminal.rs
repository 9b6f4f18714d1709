//! The terminal, while a tool has it.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, getpgrp};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal that standard input is, in whose foreground this process was started.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// As it was before: a tool that is killed leaves it as it had it.
    modes: Termios,
    ours: Pid,
}

impl Terminal {
    /// `None` if there is none, or another job has it.
    pub(crate) fn of_this_job() -> Option<Self> {
        let ours = getpgrp();
        let mine = isatty(stdin()) && tcgetpgrp(stdin()).is_ok_and(|group| group == ours);
        mine.then(|| tcgetattr(stdin()).ok()).flatten().map(|modes| Self { modes, ours })
    }

    /// Hands it to the group of the tool, if this process has it.
    pub(crate) fn give(&self, group: Pid) -> io::Result<()> {
        if tcgetpgrp(stdin())? == self.ours {
            tcsetpgrp(stdin(), group)?;
        }
        Ok(())
    }

    /// Takes it from the group of the tool, if that has it.
    pub(crate) fn take_back(&self, group: Pid) -> io::Result<()> {
        if tcgetpgrp(stdin()).is_ok_and(|holder| holder != group) {
            return Ok(());
        }
        // In the background now: without this the kernel would stop us for touching the terminal.
        let mut held = SigSet::empty();
        held.add(Signal::SIGTTOU);
        let before = held.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let taken =
            tcsetpgrp(stdin(), self.ours).and_then(|()| tcsetattr(stdin(), OptionalActions::Drain, &self.modes));
        before.thread_set_mask()?;
        Ok(taken?)
    }
}
