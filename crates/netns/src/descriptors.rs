//! What programs that are started do not inherit.
#![expect(unsafe_code, reason = "close_range(2) and fcntl(2) are told numbers of descriptors that are not ours")]

use std::ffi::{c_int, c_uint};
use std::fs;
use std::io;

use crate::{Error, ErrorKind, Result};

/// The first descriptor that is no standard input, output or error.
const FIRST: c_int = 3;

/// Closes all descriptors but standard input, output and error when a program is executed, as those that Rust opens are anyway:
/// what this process was given by its parent does not reach its children.
///
/// For the start of a program that starts others among a container's [files](crate::Namespaces::MOUNT): an open directory of the
/// node would lead a container's program to all of the node's files. Where another thread starts a program just then, to which it
/// means to leave a descriptor, that may be closed for it.
///
/// # Errors
///
/// If the kernel has no `CLOSE_RANGE_CLOEXEC` (before Linux 5.11, or because a filter of system calls denies it) and `/proc` is not
/// there either.
pub fn close_on_exec() -> Result<()> {
    in_one_go().or_else(|_| one_by_one()).map_err(|e| {
        let what = "cannot keep descriptors that this process inherited from programs that it starts";
        Error::new(ErrorKind::Open, what.into(), e)
    })
}

fn in_one_go() -> io::Result<()> {
    // SAFETY: it takes no pointers, and with this flag closes nothing: whoever owns a descriptor still has it.
    outcome(unsafe {
        libc::syscall(libc::SYS_close_range, FIRST as c_uint, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as c_uint)
    })
}

fn one_by_one() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<c_int> = name.to_str().and_then(|name| name.parse().ok());
        let Some(descriptor) = number.filter(|descriptor| *descriptor >= FIRST) else { continue };
        // SAFETY: it takes no pointers and closes nothing.
        let set = outcome(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) });
        // Another thread may have closed it meanwhile.
        set.or_else(|e| if e.raw_os_error() == Some(libc::EBADF) { Ok(()) } else { Err(e) })?;
    }
    Ok(())
}

fn outcome(returned: impl Into<i64>) -> io::Result<()> {
    if returned.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

    use super::*;

    #[test]
    fn both_ways_reach_every_descriptor_and_close_none() {
        for way in [in_one_go, one_by_one] {
            let file = fs::File::open("/dev/null").unwrap();
            let far = fcntl_dupfd_cloexec(&file, 200).unwrap();
            for descriptor in [file.as_fd(), far.as_fd()] {
                fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
            }
            match way() {
                // An old kernel, for which there is the other way.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) => continue,
                done => done.unwrap(),
            }
            for descriptor in [file.as_fd(), far.as_fd()] {
                assert_eq!(fcntl_getfd(descriptor).unwrap(), FdFlags::CLOEXEC);
            }
        }
    }
}
