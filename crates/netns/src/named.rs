//! Namespaces with names, as ip-netns(8) keeps them: a file for each in `/run/netns`, on which the namespace is mounted.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind::{AlreadyExists, NotFound};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

use crate::{Capabilities, Error, ErrorKind, Netns, Result};

const FOLDER: &str = "/run/netns";

impl Netns {
    /// Opens the namespace of this name.
    ///
    /// # Errors
    ///
    /// If it is no name, there is no such namespace, or what has its name is something else.
    pub fn named(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::open(path(name.as_ref())?)
    }

    /// The names of all namespaces that have one, in order. What is said may have changed by the time it is read.
    ///
    /// # Errors
    ///
    /// If they cannot be listed. That there never was one is no error.
    pub fn names() -> Result<Vec<OsString>> {
        let cannot = |e| Error::new(ErrorKind::Name, format!("cannot list {FOLDER}"), Some(e));
        let entries = match fs::read_dir(FOLDER) {
            Err(e) if e.kind() == NotFound => return Ok(Vec::new()),
            entries => entries.map_err(cannot)?,
        };
        let mut names: Vec<_> =
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(cannot)?;
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a new namespace of this name, which lives until its name is [deleted](Self::delete_named) and nobody uses it.
    ///
    /// # Errors
    ///
    /// If it is no name, the name is taken, or `CAP_SYS_ADMIN` is missing.
    pub fn create_named(name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        let path = path(name)?;
        let cannot = |e: io::Error| failed("cannot name a network namespace", name, e);
        let netns = Self::create()?;
        make_shared().map_err(cannot)?;
        // A name that is taken stays whose it is.
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        drop(rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| cannot(e.into()))?);
        let mounted = netns
            .run(|| mount_bind("/proc/thread-self/ns/net", &path))
            .and_then(|done| done.map_err(|e| cannot(e.into())));
        match mounted {
            Ok(()) => Ok(netns),
            Err(e) => {
                // It was made for this alone; that it cannot be removed is the lesser trouble.
                fs::remove_file(&path).ok();
                Err(e)
            }
        }
    }

    /// Takes a name from a namespace. It ends when nobody uses it any more.
    ///
    /// # Errors
    ///
    /// If it is no name, there is no such namespace, or `CAP_SYS_ADMIN` is missing.
    pub fn delete_named(name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        let path = path(name)?;
        let cannot = |e: io::Error| failed("cannot delete network namespace", name, e);
        match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // A file without its namespace, which a crash left.
            Ok(()) | Err(Errno::INVAL) => fs::remove_file(&path).map_err(cannot),
            Err(e) => Err(cannot(e.into())),
        }
    }
}

/// Why a name could not be given or taken. That something is not permitted is said of mounts, not of files.
fn failed(what: &str, name: &OsStr, e: io::Error) -> Error {
    let what = format!("{what} {}", name.display());
    match Errno::from_io_error(&e) {
        Some(Errno::PERM) => Capabilities::SYS_ADMIN.missing(&what),
        _ => Error::new(ErrorKind::Name, what, e),
    }
}

/// Where a name is: it is one component of a path.
fn path(name: &OsStr) -> Result<PathBuf> {
    let bytes = name.as_bytes();
    let is_one = (1..=255).contains(&bytes.len()) && !bytes.contains(&b'/') && !bytes.contains(&0);
    match is_one && bytes != b"." && bytes != b".." {
        true => Ok(Path::new(FOLDER).join(name)),
        false => Err(Error::new(ErrorKind::Name, format!("{name:?} is no name for a network namespace"), None)),
    }
}

/// Mounts in the folder are seen in all mount namespaces that were made from this one, as ip-netns(8) has it.
fn make_shared() -> io::Result<()> {
    match fs::create_dir(FOLDER) {
        Err(e) if e.kind() == AlreadyExists => {}
        made => made?,
    }
    let share = || mount_change(FOLDER, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    match share() {
        Err(Errno::INVAL) => {}
        shared => return Ok(shared?),
    }
    // It is no mount of its own yet. Of those who find so at once, ip-netns(8) too, one makes it: a second one would lie over the names
    // that are mounted on the first.
    let folder = File::open(FOLDER)?;
    retry_on_intr(|| flock(&folder, FlockOperation::LockExclusive))?;
    match share() {
        Err(Errno::INVAL) => {
            mount_bind(FOLDER, FOLDER)?;
            Ok(share()?)
        }
        shared => Ok(shared?),
    }
}
