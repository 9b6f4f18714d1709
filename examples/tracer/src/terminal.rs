//! The terminal, while a tool has it.

use std::fs::File;
use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, getpgrp};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal that controls this process.
#[derive(Debug)]
pub(crate) struct Terminal {
    file: File,
    ours: Pid,
    /// As it was before a tool had it, which may leave it as it likes.
    modes: Option<Termios>,
}

impl Terminal {
    /// `None` if there is none.
    pub(crate) fn of_this_session() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?;
        Some(Self { file: file.into(), ours: getpgrp(), modes: None })
    }

    /// Whether a tool that inherits standard input is expected to have it.
    pub(crate) fn is_stdin() -> bool {
        isatty(stdin())
    }

    /// Hands it to the group of the tool, if this process has it. Whether it had.
    pub(crate) fn give(&mut self, group: Pid) -> io::Result<bool> {
        if tcgetpgrp(&self.file)? != self.ours {
            return Ok(false);
        }
        self.modes = Some(tcgetattr(&self.file)?);
        tcsetpgrp(&self.file, group)?;
        Ok(true)
    }

    /// Takes it from the group of the tool, if that has it.
    pub(crate) fn take_back(&self, group: Pid) -> io::Result<()> {
        let Some(modes) = self.modes.as_ref().filter(|_| tcgetpgrp(&self.file).is_ok_and(|holder| holder == group))
        else {
            return Ok(());
        };
        // In the background now: without this the kernel would stop us for touching the terminal.
        let mut held = SigSet::empty();
        held.add(Signal::SIGTTOU);
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let taken =
            tcsetpgrp(&self.file, self.ours).and_then(|()| tcsetattr(&self.file, OptionalActions::Drain, modes));
        before.thread_set_mask()?;
        Ok(taken?)
    }
}
