use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, ftruncate, open};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Opens a file for what is nobody else's: emptied, and readable to its owner alone, who is the effective user.
///
/// The path may lead where somebody else has prepared something: a symbolic link is refused, and so is a file of another user or with
/// other names. What is no file, such as a device or a pipe with a reader, is opened as it is.
///
/// # Errors
///
/// If it is refused, or cannot be opened. It is as it was then.
pub(super) fn create_private(path: impl AsRef<Path>) -> io::Result<File> {
    // Not truncated before it is known what it is; a pipe without a reader is not waited for.
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path.as_ref(), flags, Mode::RUSR | Mode::WUSR).map_err(|e| match e {
        Errno::LOOP => refused("it is a symbolic link, and those are not followed"),
        e => e.into(),
    })?;
    let status = fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
        if status.st_uid != geteuid().as_raw() {
            return Err(refused("it is another user's file"));
        }
        if status.st_nlink > 1 {
            return Err(refused("the file has other names (hard links)"));
        }
        fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        ftruncate(&file, 0)?;
    }
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file.into())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
