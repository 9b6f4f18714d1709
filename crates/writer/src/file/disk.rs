//! The few things done to a disk, each behind a named step at which tests can stop.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// Why something could not be done: a disk's own words, or ours with what to do.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Trouble {
    /// The error of a delivery to the file at `path`. Disks are emptied, volumes mounted and permissions given back
    /// while other sinks go on: only what says that somebody else uses the file is for good.
    pub(super) fn at(self, path: &Path) -> Error {
        let object = object(path);
        match self {
            Self::Refused(reason) => Error::fatal(object, reason),
            Self::Io(error) => Error::retry(object, explained(error, path)),
        }
    }

    /// The error of a start with the file at `path`: somebody is there to read it.
    pub(super) fn at_start(self, path: &Path) -> Error {
        let object = object(path);
        match self {
            Self::Refused(reason) => Error::fatal(object, reason),
            Self::Io(error) => Error::fatal(object, explained(error, path)),
        }
    }
}

fn object(path: &Path) -> String {
    format!("file {}", path.display())
}

/// With what to do, where that is known.
fn explained(error: io::Error, path: &Path) -> io::Error {
    let (kind, folder) = (error.kind(), folder(path));
    match kind {
        io::ErrorKind::NotFound if !folder.is_dir() => {
            io::Error::new(kind, format!("folder {} is missing: create or mount it", folder.display()))
        }
        io::ErrorKind::PermissionDenied => {
            io::Error::new(kind, format!("no permission to write it in folder {}", folder.display()))
        }
        _ => error,
    }
}

/// Marks that a step which outlives the process comes next.
pub(super) fn step(name: &'static str) -> io::Result<()> {
    #[cfg(test)]
    super::tests::faults::reach(name)?;
    let _ = name;
    Ok(())
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// `path` with `suffix` after its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// What is at `path`, if anything; anything but a regular file is refused.
pub(super) fn look(path: &Path) -> Result<Option<fs::Metadata>, Trouble> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(meta)),
        Ok(_) => Err(Trouble::Refused("it is not a regular file: name another path, or use stdout".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file to read it and to append to it, and creates it if need be.
pub(super) fn open(path: &Path) -> Result<fs::File, Trouble> {
    let mut options = fs::File::options();
    options.read(true).append(true).mode(0o640);
    if look(path)?.is_some() {
        return Ok(options.open(path)?);
    }
    step("create")?;
    let file = options.create(true).open(path)?;
    sync_folder(path)?;
    Ok(file)
}

/// Makes new, renamed and removed names beside `path` durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    step("sync folder")?;
    fs::File::open(folder(path))?.sync_all()
}

/// Cuts a file to `length`, durably.
pub(super) fn cut(file: &fs::File, length: u64) -> io::Result<()> {
    step("cut")?;
    file.set_len(length)?;
    step("sync cut")?;
    file.sync_all()
}

/// Reads a file from `start` on, at most `most` bytes.
pub(super) fn read_from(file: &fs::File, start: u64, most: usize) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().saturating_sub(start);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(most).min(most)];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
