use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Opens a file for what is nobody else's, or makes it. What is in it stays there until it is [emptied](empty_private).
///
/// The path may lead where somebody else has prepared something: a symbolic link is refused, and so is a file of another user than the
/// effective one, or with a second name. What is no file, such as a device or a pipe with a reader, is opened as it is.
///
/// # Errors
///
/// If it is refused, or cannot be opened. It is as it was then.
pub fn open_private(path: impl AsRef<Path>) -> io::Result<File> {
    // A pipe without a reader is not waited for.
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
            return Err(refused("the file has a second name (hard links), by which it may be read elsewhere"));
        }
    }
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file.into())
}

/// Takes away what is in a file, and from everybody but its owner the right to read what comes. What is no file stays as it is.
///
/// # Errors
///
/// If it cannot be changed.
pub fn empty_private(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
