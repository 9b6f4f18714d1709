//! The terminal, while a tool has it.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::{self, SigSet, SigmaskHow};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::process::{Pid, Signal, getpgrp};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use crate::tool::Ignored;

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

    /// Whether a tool that inherits the standard streams is to have it from its start. Where they lead to others, these may be in
    /// our group, as shells have it, and at the terminal too, as pagers are: then a tool gets it when it asks. Unless it cannot, as
    /// in a command substitution, since who ignores the signal is not stopped for it.
    pub(crate) fn is_for_the_tool() -> bool {
        isatty(stdin()) && (![stdout(), stderr()].into_iter().any(leads_to_others) || Ignored::now().has(Signal::TTIN))
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
        held.add(signal::Signal::SIGTTOU);
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let taken =
            tcsetpgrp(&self.file, self.ours).and_then(|()| tcsetattr(&self.file, OptionalActions::Drain, modes));
        before.thread_set_mask()?;
        Ok(taken?)
    }
}

/// Whether what is written to it is another process's to read.
fn leads_to_others(stream: BorrowedFd<'_>) -> bool {
    let kind = fstat(stream).map(|status| FileType::from_raw_mode(status.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}
