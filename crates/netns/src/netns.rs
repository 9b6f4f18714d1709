use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::{fmt, io, panic, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FsWord, Mode, OFlags, Stat, fstat, fstatfs};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

#[expect(deprecated, reason = "as where it is used")]
use rustix::thread::unshare;

use crate::{Capabilities, Error, ErrorKind, Result};

/// `NSFS_MAGIC` of linux/magic.h: the file system that namespaces are files of.
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// A network namespace, pinned by an open descriptor.
///
/// Equality is that of device and inode: it is the same namespace, however it was opened.
#[derive(Debug)]
pub struct Netns {
    descriptor: OwnedFd,
    device: u64,
    inode: u64,
}

impl Netns {
    /// The network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Makes a new one, with nothing but a loopback device that is down. It lives as long as somebody has it open or is in it.
    ///
    /// # Errors
    ///
    /// If `CAP_SYS_ADMIN` is missing, or there may be no more namespaces.
    pub fn create() -> Result<Self> {
        let create = || {
            #[expect(deprecated, reason = "the safe form; of what it warns about, a network namespace does nothing")]
            unshare(UnshareFlags::NEWNET)?;
            Ok(Self::current())
        };
        match Self::on_a_thread(create)? {
            Ok(created) => created,
            Err(Errno::PERM) => Err(Capabilities::SYS_ADMIN.missing("cannot make a network namespace")),
            Err(e) => Err(Error::new(ErrorKind::Create, "cannot make a network namespace".into(), io::Error::from(e))),
        }
    }

    /// Opens the network namespace of a process.
    ///
    /// A number is used again when its process has ended: where that matters, use [`of_pidfd`](Self::of_pidfd).
    ///
    /// # Errors
    ///
    /// If there is no such process, or it is another user's and `CAP_SYS_PTRACE` is missing.
    pub fn of_process(pid: u32) -> Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net")).map_err(|e| match e.source_kind() {
            Some(io::ErrorKind::PermissionDenied) => {
                Capabilities::SYS_PTRACE.missing(&format!("cannot open the network namespace of process {pid}"))
            }
            _ => e,
        })
    }

    /// Opens the network namespace of the process that a descriptor of pidfd_open(2) is for: never that of another process that
    /// got its number since.
    ///
    /// # Errors
    ///
    /// If it has ended, the descriptor is none of a process, or it is another user's and `CAP_SYS_PTRACE` is missing.
    pub fn of_pidfd(process: impl AsFd) -> Result<Self> {
        let process = process.as_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()));
        let pid = info.ok().and_then(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("Pid:").map(str::trim).map(str::to_owned));
            line?.parse::<u32>().ok()
        });
        let gone = || {
            Error::new(ErrorKind::Open, "the process has ended, or the descriptor is none of a process".into(), None)
        };
        let netns = Self::of_process(pid.ok_or_else(gone)?)?;
        // As long as it has not ended nobody else has its number.
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut ended, Some(&Timespec::default())) {
            Ok(0) => Ok(netns),
            Ok(_) => Err(gone()),
            Err(e) => Err(cannot_open(&"the process", e)),
        }
    }

    /// Opens a network namespace by a path: a bind mount such as `/run/netns/NAME`, or `/proc/PID/ns/net`.
    ///
    /// What a path or a PID means may change; what was opened does not.
    ///
    /// # Errors
    ///
    /// If the path cannot be opened, or is something else than a network namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Opened before it is looked at, so that both are of one file. A namespace has nothing to wait for, but a pipe would.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| cannot_open(&path.display(), e))?;
        Self::of(descriptor, &path.display())
    }

    /// Takes over a descriptor that another process opened.
    ///
    /// # Errors
    ///
    /// If it is of something else than a network namespace.
    pub fn adopt(descriptor: OwnedFd) -> Result<Self> {
        Self::of(descriptor, &"the descriptor")
    }

    fn of(descriptor: OwnedFd, name: &dyn fmt::Display) -> Result<Self> {
        let not = |source| Error::new(ErrorKind::NotANamespace, format!("{name} is no network namespace"), source);
        if fstatfs(&descriptor).map_err(|e| cannot_open(name, e))?.f_type != NSFS_MAGIC {
            return Err(not(None));
        }
        let stat = fstat(&descriptor).map_err(|e| cannot_open(name, e))?;
        let netns = Self { descriptor, device: stat.st_dev, inode: stat.st_ino };
        // Namespaces of all types are files of nsfs. setns(2) looks at the type first, and at permissions then.
        match Self::on_a_thread(|| netns.enter())? {
            Err(e @ Errno::INVAL) => Err(not(Some(e.into()))),
            Ok(()) | Err(_) => Ok(netns),
        }
    }

    /// Another descriptor of the same namespace.
    pub(crate) fn again(&self) -> Result<Self> {
        let descriptor = self.descriptor.try_clone();
        let cannot =
            |e| Error::new(ErrorKind::Open, format!("cannot open network namespace {} again", self.inode), Some(e));
        Ok(Self { descriptor: descriptor.map_err(cannot)?, device: self.device, inode: self.inode })
    }

    /// The device of nsfs, which differs between machines only.
    pub const fn device(&self) -> u64 {
        self.device
    }

    /// The inode: the number in `net:[4026531840]`. The kernel uses it again when a namespace is gone.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Executes a closure in the namespace, on a thread of its own that ends with it, and waits for its value.
    ///
    /// Only the network namespace is another: files and mounts are those of the process. In the namespace that the caller is in
    /// already it needs no capability. A panic in the closure goes on in the caller.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered; the closure has not run then.
    pub fn run<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> Result<T> {
        Self::on_a_thread(|| self.stay().map(|()| closure()))?
    }

    /// Puts the calling thread into the namespace for the rest of its life, and makes sure that it is.
    pub(crate) fn stay(&self) -> Result<()> {
        if self.is_of_this_thread() {
            return Ok(());
        }
        let what = format!("cannot enter network namespace {}", self.inode);
        match self.enter() {
            Ok(()) if self.is_of_this_thread() => Ok(()),
            Ok(()) => {
                Err(Error::new(ErrorKind::Enter, format!("{what}: the thread is in another, or has no /proc"), None))
            }
            Err(Errno::PERM) => Err(Capabilities::SYS_ADMIN.missing(&what)),
            Err(e) => Err(Error::new(ErrorKind::Enter, what, io::Error::from(e))),
        }
    }

    fn is_of_this_thread(&self) -> bool {
        rustix::fs::stat("/proc/thread-self/ns/net").is_ok_and(|stat| self.is(&stat))
    }

    /// Whether this is what a file of nsfs says, which needs no further look: only of a namespace is there such a file.
    pub(crate) fn is(&self, stat: &Stat) -> bool {
        (stat.st_dev, stat.st_ino) == (self.device, self.inode)
    }

    fn enter(&self) -> Result<(), Errno> {
        move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
    }

    pub(crate) fn on_a_thread<T: Send>(closure: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, closure)
                .map_err(|e| Error::new(ErrorKind::Thread, "cannot start a thread".into(), e))?;
            Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
        })
    }
}

fn cannot_open(name: &dyn fmt::Display, source: Errno) -> Error {
    Error::new(ErrorKind::Open, format!("cannot open {name}"), io::Error::from(source))
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Eq for Netns {}

impl Hash for Netns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.device, self.inode).hash(state);
    }
}
