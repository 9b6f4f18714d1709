//! Starting a program in a namespace.
//!
//! A thread of its own enters, gives up capabilities, starts the program and ends: all of it is a property of the thread in Linux,
//! which the program inherits and no other thread of the process notices.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Child;

use rustix::fs::{AtFlags, Mode, OFlags, open, statat};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, gettid, move_into_thread_name_spaces};

#[expect(deprecated, reason = "as where it is used")]
use rustix::thread::unshare;

use crate::hidden::Hidden;
use crate::{Capabilities, Command, Error, ErrorKind, Namespaces, Netns, Result};

impl Command<'_> {
    /// Starts it.
    ///
    /// For the moment that this takes, unless the program is [privileged](Self::privileged), the process cannot be traced and leaves no
    /// core (prctl(2), `PR_SET_DUMPABLE`); whoever changes that meanwhile is overruled.
    ///
    /// # Errors
    ///
    /// If a namespace cannot be entered, capabilities cannot be given up, or the program cannot be started; and if
    /// [`PID`](Namespaces::PID) is joined without [`MOUNT`](Namespaces::MOUNT).
    pub fn spawn(&mut self) -> Result<Child> {
        if self.joins(Namespaces::PID) && !self.joins(Namespaces::MOUNT) {
            let what = "a container's processes are entered together with its files only: a process of the container could reach \
                        the node's files through a program that is among its processes and not among its files";
            return Err(Error::new(ErrorKind::Config, what.into(), None));
        }
        if self.kept.is_none() && !self.joins(Namespaces::PID) {
            return Netns::on_a_thread(|| self.spawn_here())?;
        }
        let hidden = Hidden::now()?;
        // The other end is closed when the program is executed, which is when it has left this memory.
        let (executed, held) =
            io::pipe().map_err(|e| Error::new(ErrorKind::Thread, "cannot start a program".into(), e))?;
        let (thread, child) = Netns::on_a_thread(|| (gettid(), self.spawn_here()))?;
        drop(held);
        hidden.until_they_left(thread, &executed);
        child
    }

    /// On a thread that ends afterwards.
    fn spawn_here(&mut self) -> Result<Child> {
        self.netns.stay()?;
        if let Some((process, namespaces)) = &self.joined {
            self.enter(process, *namespaces)?;
        }
        if let Some(kept) = self.kept {
            kept.keep_only()?;
        }
        // It returns just before the program is executed.
        self.command.spawn().map_err(|e| self.failed(e))
    }

    fn joins(&self, namespaces: Namespaces) -> bool {
        self.joined.as_ref().is_some_and(|(_, joined)| joined.contains(namespaces))
    }

    fn enter(&self, process: &OwnedFd, namespaces: Namespaces) -> Result<()> {
        let cannot = |e: Errno| {
            Error::new(ErrorKind::Enter, "cannot enter the namespaces of the container".into(), io::Error::from(e))
        };
        // Afterwards /proc may be the container's.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let ours = open("/proc/thread-self/ns", flags, Mode::empty()).map_err(cannot)?;
        if namespaces.contains(Namespaces::MOUNT) {
            #[expect(deprecated, reason = "the safe form; it warns about descriptors, which stay shared")]
            unshare(UnshareFlags::FS).map_err(cannot)?;
        }
        let types = ThreadNameSpaceType::from_bits_retain(namespaces.bits());
        if !types.is_empty() {
            move_into_thread_name_spaces(process.as_fd(), types).map_err(|e| match e {
                Errno::PERM => needed(namespaces).missing("cannot enter the namespaces of the container"),
                Errno::SRCH => Error::new(ErrorKind::Enter, "the process of the container has ended".into(), None),
                e => cannot(e),
            })?;
        }
        match statat(&ours, "net", AtFlags::empty()) {
            Ok(stat) if self.netns.is(&stat) => Ok(()),
            Ok(_) => {
                Err(Error::new(ErrorKind::Enter, "the thread left its network namespace for another".into(), None))
            }
            Err(e) => Err(cannot(e)),
        }
    }

    /// Why the program could not be started.
    fn failed(&self, e: io::Error) -> Error {
        let program = self.command.get_program().display();
        let place = match self.joins(Namespaces::MOUNT) {
            true => "in the container",
            false => "on this machine",
        };
        let (kind, what) = match Errno::from_io_error(&e) {
            Some(Errno::NOENT) => match self.command.get_current_dir() {
                None => (ErrorKind::Program, format!("program {program} is not found {place}")),
                Some(dir) => {
                    let dir = dir.display();
                    (ErrorKind::Program, format!("program {program} or its directory {dir} is not found {place}"))
                }
            },
            Some(Errno::NOMEM) if self.joins(Namespaces::PID) => {
                (ErrorKind::Enter, format!("cannot start {program}: the first process of the container has ended"))
            }
            Some(Errno::AGAIN | Errno::NOMEM) => (ErrorKind::Thread, format!("cannot start {program}")),
            Some(Errno::PERM) => {
                let what =
                    format!("cannot start {program} {place}: its file may want capabilities that nobody here may have");
                (ErrorKind::Program, what)
            }
            _ => (ErrorKind::Program, format!("cannot start {program} {place}")),
        };
        Error::new(kind, what, e)
    }
}

/// What setns(2) asks for.
fn needed(namespaces: Namespaces) -> Capabilities {
    let always = Capabilities::SYS_ADMIN | Capabilities::SYS_PTRACE;
    match namespaces.contains(Namespaces::MOUNT) {
        true => always | Capabilities::SYS_CHROOT,
        false => always,
    }
}
