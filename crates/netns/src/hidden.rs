use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use crate::{Error, ErrorKind, Result};

/// As long as one of these is there, only who has `CAP_SYS_PTRACE` where the process comes from may trace it (ptrace(2)).
///
/// Until it executes its program, a child among a container's processes shares the memory and the executable of this process, and
/// has no capabilities any more that would keep a container's root away from both.
pub(crate) struct Hidden;

/// How many there are, and how the process was before the first.
static HIDDEN: Mutex<(usize, Option<DumpableBehavior>)> = Mutex::new((0, None));

impl Hidden {
    pub(crate) fn now() -> Result<Self> {
        let mut hidden = lock();
        if hidden.0 == 0 {
            let before = dumpable_behavior();
            let is_set = before.and_then(|_| set_dumpable_behavior(DumpableBehavior::NotDumpable));
            let what = "cannot hide the process from the container";
            is_set.map_err(|e| Error::new(ErrorKind::Enter, what.into(), io::Error::from(e)))?;
            hidden.1 = before.ok();
        }
        hidden.0 += 1;
        Ok(Self)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let mut hidden = lock();
        hidden.0 -= 1;
        if hidden.0 == 0
            && let Some(before) = hidden.1.take()
        {
            // What only the kernel sets, it sets again by itself.
            set_dumpable_behavior(before).ok();
        }
    }
}

fn lock() -> MutexGuard<'static, (usize, Option<DumpableBehavior>)> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}
