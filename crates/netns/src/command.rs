//! What to start in a namespace, and how.

use std::ffi::OsStr;
use std::ops::BitOr;
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Stdio};

use crate::{Capabilities, Netns};

/// Namespaces of a container besides the network's, by the numbers of linux/sched.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespaces(u32);

impl Namespaces {
    /// None.
    pub const NONE: Self = Self(0);
    /// Its files: the program is the container's own then, and the working directory is its `/`.
    pub const MOUNT: Self = Self(0x0002_0000);
    /// Its host name.
    pub const UTS: Self = Self(0x0400_0000);
    /// Its System V and POSIX message queues, semaphores and shared memory.
    pub const IPC: Self = Self(0x0800_0000);
    /// Its processes, among which the program can be seen, and traced by whoever may: only together with [`MOUNT`](Self::MOUNT), so
    /// that nobody reaches other files through it than those that it has open: its standard input, output and error, and what this
    /// process leaves to what it executes (see [`close_on_exec`](crate::close_on_exec)).
    pub const PID: Self = Self(0x2000_0000);

    #[cfg(target_os = "linux")]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

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
/// with capabilities of its file gives it any. Everything else is inherited, also descriptors that are not closed on execution, as
/// those that this process itself was given: [`close_on_exec`](crate::close_on_exec) closes these too.
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
    pub(crate) netns: &'a Netns,
    pub(crate) command: process::Command,
    /// `None` if nothing is given up.
    pub(crate) kept: Option<Capabilities>,
    #[cfg(unix)]
    pub(crate) joined: Option<(OwnedFd, Namespaces)>,
}

impl Netns {
    /// A program to start in the namespace: a path, or a name that is looked up in `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command<'_> {
        Command {
            netns: self,
            command: process::Command::new(program),
            kept: Some(Capabilities::NONE),
            #[cfg(unix)]
            joined: None,
        }
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
    #[cfg(unix)]
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
    ///
    /// Among its files the program is the container's: what is in the [environment](Self::env_clear), in open standard streams, on
    /// their terminal and in all that is not [closed on execution](crate::close_on_exec) is for it to use.
    #[cfg(unix)]
    pub fn join(&mut self, process: OwnedFd, namespaces: Namespaces) -> &mut Self {
        self.joined = Some((process, namespaces));
        self
    }
}
