use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, fstatvfs, openat};
use rustix::io::Errno;

use super::snoopy;

/// How often the files are counted again when there are too many: some may have been taken away.
const RECOUNT: Duration = Duration::from_secs(10);

/// How much may be in a folder.
#[derive(Debug)]
pub(super) struct Room {
    folder: OwnedFd,
    most_files: u64,
    free_bytes: u64,
    /// How many files there are, and when they were counted; those that were made since are added.
    files: Mutex<Option<(u64, Instant)>>,
}

impl Room {
    pub(super) const fn new(folder: OwnedFd, most_files: u64, free_bytes: u64) -> Self {
        Self { folder, most_files, free_bytes, files: Mutex::new(None) }
    }

    /// Checks that there may be so many files more, and takes them for made.
    pub(super) fn take_files(&self, more: u64) -> io::Result<()> {
        self.check_bytes(0)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |count: u64| count.saturating_add(more) <= self.most_files;
        let (mut count, mut counted) = match *files {
            Some(known) => known,
            None => (self.count()?, Instant::now()),
        };
        if !fits(count) && counted.elapsed() >= RECOUNT {
            (count, counted) = (self.count()?, Instant::now());
        }
        let made = if fits(count) { more } else { 0 };
        *files = Some((count + made, counted));
        if made == more {
            return Ok(());
        }
        let what = format!("{count} files are there, and there may be {}", self.most_files);
        Err(io::Error::new(ErrorKind::QuotaExceeded, what))
    }

    /// Checks that there is room for so many bytes.
    pub(super) fn check_bytes(&self, more: usize) -> io::Result<()> {
        let system = fstatvfs(&self.folder)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        if free >= self.free_bytes.saturating_add(more as u64) {
            return Ok(());
        }
        let what = format!("{free} bytes are free on its file system, and {} are to stay so", self.free_bytes);
        Err(io::Error::new(ErrorKind::StorageFull, what))
    }

    fn count(&self) -> io::Result<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let own = entries(Dir::read_from(&self.folder)?)?;
        match openat(&self.folder, snoopy::FOLDER, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(own),
            // The folder itself is no file.
            folder => Ok(own.saturating_sub(1) + entries(Dir::read_from(folder?)?)?),
        }
    }
}

fn entries(folder: Dir) -> io::Result<u64> {
    let mut entries = 0;
    for entry in folder {
        entries += u64::from(!matches!(entry?.file_name().to_bytes(), b"." | b".."));
    }
    Ok(entries)
}
