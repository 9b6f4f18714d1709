//! Socket options that rustix does not have. The only unsafe code of this crate.
#![expect(unsafe_code, reason = "getsockopt(2) and setsockopt(2) take pointers")]

use std::ffi::c_int;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// linux/socket.h and linux/netlink.h.
const SOL_NETLINK: c_int = 270;
const NETLINK_BROADCAST_ERROR: c_int = 4;
const NETLINK_NO_ENOBUFS: c_int = 5;

/// linux/sock_diag.h: the elements of what `SO_MEMINFO` gives.
const SK_MEMINFO_RMEM_ALLOC: usize = 0;
const SK_MEMINFO_RCVBUF: usize = 1;
const SK_MEMINFO_DROPS: usize = 8;
const SK_MEMINFO_VARS: usize = 9;

/// What waits in a socket, and what did not get in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Bytes of the kernel's memory that waiting messages take; an event takes about 1,280.
    pub bytes: u32,
    /// So many they may take.
    pub capacity: u32,
    /// How many deliveries failed since the socket was opened, for want of room; it wraps around.
    pub drops: u32,
}

pub(crate) fn queue(socket: impl AsFd) -> Result<Queue, Errno> {
    let mut values = [0_u32; SK_MEMINFO_VARS];
    get(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut values)?;
    Ok(Queue {
        bytes: values[SK_MEMINFO_RMEM_ALLOC],
        capacity: values[SK_MEMINFO_RCVBUF],
        drops: values[SK_MEMINFO_DROPS],
    })
}

/// A number that no other network namespace of this boot has or will have (Linux 5.14).
pub(crate) fn netns_cookie(socket: impl AsFd) -> Result<u64, Errno> {
    let mut cookie = [0_u64];
    get(socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, &mut cookie)?;
    Ok(cookie[0])
}

/// Whether the kernel repeats what it could not deliver.
pub(crate) fn is_reliable(socket: impl AsFd) -> Result<bool, Errno> {
    let mut is_on = [0_u32];
    get(socket, SOL_NETLINK, NETLINK_BROADCAST_ERROR, &mut is_on)?;
    Ok(is_on[0] != 0)
}

/// Makes the kernel repeat what it could not deliver for want of room in the socket (`NETLINK_BROADCAST_ERROR`) or of memory for the
/// message: it looks whether somebody who was told of the second would not hear of it (`NETLINK_NO_ENOBUFS`).
pub(crate) fn set_reliable(socket: impl AsFd, is_on: bool) -> Result<(), Errno> {
    set(&socket, NETLINK_BROADCAST_ERROR, is_on)?;
    set(&socket, NETLINK_NO_ENOBUFS, is_on)
}

fn set(socket: impl AsFd, name: c_int, is_on: bool) -> Result<(), Errno> {
    let value = c_int::from(is_on);
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to `length` bytes that live and do not change during the call.
    let done = unsafe {
        let value = std::ptr::from_ref(&value).cast();
        libc::setsockopt(socket.as_fd().as_raw_fd(), SOL_NETLINK, name, value, length)
    };
    outcome(done)
}

/// Any bits are an integer: what the kernel writes is a value, and where it writes less, zeros are left.
trait Integer: Copy {}
impl Integer for u32 {}
impl Integer for u64 {}

fn get<T: Integer>(socket: impl AsFd, level: c_int, name: c_int, values: &mut [T]) -> Result<(), Errno> {
    let mut length = libc::socklen_t::try_from(size_of_val(values)).expect("a few integers are short");
    // SAFETY: the kernel writes at most `length` bytes to where `values` has as many, and any bytes are integers.
    let done = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, values.as_mut_ptr().cast(), &raw mut length)
    };
    outcome(done)
}

fn outcome(done: c_int) -> Result<(), Errno> {
    match done {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
