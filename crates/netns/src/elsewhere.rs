//! What there is on other systems than Linux: nothing that can be made.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;

use crate::{Capabilities, Command, Error, ErrorKind, Result};

/// A network namespace, of which there is none on this system.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Netns(Infallible);

/// A thread in a network namespace, of which there is none on this system.
#[derive(Debug)]
pub struct Resident(Infallible);

fn unsupported<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "network namespaces exist on Linux only".into(), None))
}

/// An error.
///
/// # Errors
/// Always.
pub fn close_on_exec() -> Result<()> {
    unsupported()
}

#[expect(clippy::missing_errors_doc, reason = "each is an error of the kind Unsupported")]
impl Netns {
    /// An error.
    pub fn current() -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn create() -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn of_process(_pid: u32) -> Result<Self> {
        unsupported()
    }

    /// An error.
    #[cfg(unix)]
    pub fn of_pidfd(_process: impl AsFd) -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn open(_path: impl AsRef<Path>) -> Result<Self> {
        unsupported()
    }

    /// An error.
    #[cfg(unix)]
    pub fn adopt(_descriptor: OwnedFd) -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn named(_name: impl AsRef<OsStr>) -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn names() -> Result<Vec<OsString>> {
        unsupported()
    }

    /// An error.
    pub fn create_named(_name: impl AsRef<OsStr>) -> Result<Self> {
        unsupported()
    }

    /// An error.
    pub fn delete_named(_name: impl AsRef<OsStr>) -> Result<()> {
        unsupported()
    }

    /// Nobody can call it.
    pub const fn device(&self) -> u64 {
        match self.0 {}
    }

    /// Nobody can call it.
    pub const fn inode(&self) -> u64 {
        match self.0 {}
    }

    /// Nobody can call it.
    pub fn run<T: Send>(&self, _closure: impl FnOnce() -> T + Send) -> Result<T> {
        match self.0 {}
    }

    /// Nobody can call it.
    pub fn resident(&self) -> Result<Resident> {
        match self.0 {}
    }
}

#[cfg(unix)]
impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

#[expect(clippy::missing_errors_doc, reason = "nobody can call it")]
impl Resident {
    /// Nobody can call it.
    pub fn run<T: Send + 'static>(&self, _closure: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        match self.0 {}
    }
}

#[expect(clippy::missing_errors_doc, reason = "nobody can call it")]
impl Command<'_> {
    /// Nobody can call it.
    pub fn spawn(&mut self) -> Result<Child> {
        match self.netns.0 {}
    }
}

#[expect(clippy::missing_errors_doc, reason = "it is an error of the kind Unsupported")]
impl Capabilities {
    /// An error.
    pub fn of_this_thread() -> Result<Self> {
        unsupported()
    }
}
