//! Programs in a namespace.
//!
//! A thread of its own enters, gives up capabilities, starts the program and ends: all of it is a property of the thread in Linux,
//! which the program inherits and no other thread of the process notices.

use std::ffi::OsStr;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child, Stdio};

use rustix::fs::{AtFlags, Mode, OFlags, open, statat};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};

#[expect(deprecated, reason = "as where it is used")]
use rustix::thread::unshare;

use crate::capabilities::Capabilities;
use crate::{Error, ErrorKind, Netns, Result};

/// Namespaces of a container besides the network's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespaces(u32);

impl Namespaces {
    /// None.
    pub const NONE: Self = Self(0);
    /// Its files: the program is the container's own then, and the working directory is its `/`.
    pub const MOUNT: Self = Self(ThreadNameSpaceType::MOUNT.bits());
    /// Its host name.
    pub const UTS: Self = Self(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME.bits());
    /// Its System V and POSIX message queues, semaphores and shared memory.
    pub const IPC: Self = Self(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION.bits());
    /// Its processes.
    pub const PID: Self = Self(ThreadNameSpaceType::PROCESS_ID.bits());

    /// Whether all of `others` are in it.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A program to start in a network namespace, as [`std::process::Command`] has it.
///
/// It has no capabilities and gets none, also as root, but what is [kept](Self::keep): neither a set-user-ID program nor one
/// with capabilities of its file gives it any. Everything else is inherited.
///
/// ```no_run
/// use podtrail_netns::{Capabilities, Netns};
///
/// let blue = Netns::named("blue")?;
/// let mut ping = blue.command("ping").arg("-c1").arg("10.0.0.1").keep(Capabilities::NET_RAW).spawn()?;
/// println!("{}", ping.wait()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Command<'a> {
    netns: &'a Netns,
    command: process::Command,
    /// `None` if nothing is given up.
    kept: Option<Capabilities>,
    joined: Option<(OwnedFd, Namespaces)>,
}

impl Netns {
    /// A program to start in the namespace: a path, or a name that is looked up in `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command<'_> {
        let command = process::Command::new(program);
        Command { netns: self, command, kept: Some(Capabilities::NONE), joined: None }
    }
}

impl Command<'_> {
    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(key, value);
        self
    }

    /// Takes a variable from the environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.command.env_remove(key);
        self
    }

    /// Starts from an empty environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.command.env_clear();
        self
    }

    /// Its working directory: the caller's by default, and `/` of the container if its files are [joined](Self::join).
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.command.current_dir(dir);
        self
    }

    /// Its standard input: the caller's by default.
    ///
    /// [`Stdio::null`] is `/dev/null` of the container if its files are [joined](Self::join), which the container may have made
    /// something to wait at: give an open `/dev/null` there.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(stdin);
        self
    }

    /// Its standard output: the caller's by default. Of [`Stdio::null`] the same holds as for [`stdin`](Self::stdin).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.command.stdout(stdout);
        self
    }

    /// Its standard error: the caller's by default. Of [`Stdio::null`] the same holds as for [`stdin`](Self::stdin).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.command.stderr(stderr);
        self
    }

    /// Its process group: the caller's by default, one of its own if 0.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.command.process_group(group);
        self
    }

    /// The capabilities that it has of those that the caller has: none by default.
    pub fn keep(&mut self, capabilities: Capabilities) -> &mut Self {
        self.kept = Some(capabilities);
        self
    }

    /// Starts it as [`std::process::Command`] would: nothing is given up, and set-user-ID programs and capabilities of files give
    /// what they give.
    pub fn privileged(&mut self) -> &mut Self {
        self.kept = None;
        self
    }

    /// Enters other namespaces too: those of the process that a descriptor of pidfd_open(2) is for, a container's.
    ///
    /// That needs `CAP_SYS_PTRACE` over the process, and `CAP_SYS_CHROOT` for its files. The network stays this one, whatever the
    /// container's is.
    pub fn join(&mut self, process: OwnedFd, namespaces: Namespaces) -> &mut Self {
        self.joined = Some((process, namespaces));
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If a namespace cannot be entered, capabilities cannot be given up, or the program cannot be started.
    pub fn spawn(&mut self) -> Result<Child> {
        Netns::on_a_thread(|| {
            self.netns.stay()?;
            if let Some((process, namespaces)) = &self.joined {
                self.enter(process, *namespaces)?;
            }
            if let Some(kept) = self.kept {
                kept.keep_only()?;
            }
            self.command.spawn().map_err(|e| self.failed(e))
        })?
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
        let types = ThreadNameSpaceType::from_bits_retain(namespaces.0);
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
        let joined = self.joined.as_ref().map_or(Namespaces::NONE, |(_, namespaces)| *namespaces);
        let place = match joined.contains(Namespaces::MOUNT) {
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
            Some(Errno::NOMEM) if joined.contains(Namespaces::PID) => {
                (ErrorKind::Enter, format!("cannot start {program}: the first process of the container has ended"))
            }
            Some(Errno::AGAIN | Errno::NOMEM) => (ErrorKind::Thread, format!("cannot start {program}")),
            Some(Errno::PERM) => {
                let what = format!("cannot start {program} {place}: it may want capabilities that are not kept");
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
