use std::io::{self, PipeReader};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, set_dumpable_behavior, test_kill_process};

use crate::{Error, ErrorKind, Result};

/// As long as one of these is there, only who has `CAP_SYS_PTRACE` where the process comes from may trace it (ptrace(2)).
///
/// A thread that has given up its capabilities shares the memory of this process, and so does the program that it starts, until that is
/// executed. Whoever may trace either of them reads and writes all of it, and then has the capabilities of the other threads: any process
/// of the same user with no fewer capabilities than the thread, such as root of a container whose processes it is among.
pub(crate) struct Hidden;

/// How long it is waited at most for what takes a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many there are, and whether the process could be traced before the first.
static HIDDEN: Mutex<(usize, bool)> = Mutex::new((0, false));

impl Hidden {
    pub(crate) fn now() -> Result<Self> {
        let mut hidden = lock();
        if hidden.0 == 0 {
            let hide = || {
                let is_open = dumpable_behavior()? == DumpableBehavior::Dumpable;
                if is_open {
                    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
                }
                Ok(is_open)
            };
            let what = "cannot hide the process from those that it could be traced by";
            hidden.1 = hide().map_err(|e: Errno| Error::new(ErrorKind::Enter, what.into(), io::Error::from(e)))?;
        }
        hidden.0 += 1;
        Ok(Self)
    }

    /// Waits until a thread that was joined and the program that it started have left the memory, of which both are said shortly before:
    /// the program when nobody holds the other end of the pipe, the thread when there is none of its number.
    pub(crate) fn until_they_left(self, thread: Pid, executed: &PipeReader) {
        // Only a child that is never executed keeps the pipe longer, and only a debugger the thread, without the memory.
        let up = Instant::now() + PATIENCE;
        let timeout = Timespec::try_from(PATIENCE).ok();
        while poll(&mut [PollFd::new(executed, PollFlags::empty())], timeout.as_ref()) == Err(Errno::INTR)
            && Instant::now() < up
        {}
        while test_kill_process(thread).is_ok() && Instant::now() < up {
            thread::yield_now();
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let mut hidden = lock();
        hidden.0 -= 1;
        if *hidden == (0, true) {
            // It fails for no reason but a bad argument.
            set_dumpable_behavior(DumpableBehavior::Dumpable).ok();
        }
    }
}

fn lock() -> MutexGuard<'static, (usize, bool)> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}
