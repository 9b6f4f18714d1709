//! The packet socket and the ring that the kernel shares with it: one of the two modules of the capture with unsafe code.
//!
//! Layouts are those of linux/if_packet.h; the ring is TPACKET_V3 of packet_mmap.rst.
#![expect(unsafe_code, reason = "mmap(2), bind(2), ioctl(2), setsockopt(2) and getsockopt(2) take pointers")]

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::program::BpfInstruction;

/// Where in a block its owner is: `block_status` of `struct tpacket_hdr_v1` in `struct tpacket_block_desc`.
const BLOCK_STATUS: usize = 8;
const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;
/// What the kernel checks and does not use in this version of the ring.
const FRAME: usize = 2048;

/// A packet socket that hears nothing until it is bound.
pub(super) fn packet_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

/// From here on the socket hears one interface, or all of them for 0.
pub(super) fn bind(socket: impl AsFd, interface: u32) -> Result<(), Errno> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is to an address of that length, which lives during the call.
    outcome(unsafe {
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast(), length)
    })
}

/// Replaces the socket's filter, at one stroke.
pub(super) fn attach(socket: impl AsFd, program: &[BpfInstruction]) -> Result<(), Errno> {
    let mut instructions: Vec<_> = program
        .iter()
        .map(|i| libc::sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.operand })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(|_too_many| Errno::INVAL)?,
        filter: instructions.as_mut_ptr(),
    };
    // SAFETY: the pointers are to a program and to `len` instructions, which live during the call; the kernel only reads them.
    outcome(unsafe {
        let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, length)
    })
}

/// Has an interface take packets for others too, as long as the socket is open.
pub(super) fn set_promiscuous(socket: impl AsFd, interface: u32) -> Result<(), Errno> {
    // struct packet_mreq: the interface, the type, and an address that this type has not.
    let mut request = [0_u8; 16];
    request[..4].copy_from_slice(&interface.to_ne_bytes());
    request[4..6].copy_from_slice(&(libc::PACKET_MR_PROMISC as u16).to_ne_bytes());
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// `ARPHRD_*`: what kind of device an interface is. Any socket of the namespace does.
pub(super) fn device_type(socket: impl AsFd, name: &str) -> Result<u16, Errno> {
    // SAFETY: all zeros are an empty name and an empty union of integers and addresses.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::NODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    // SAFETY: this request reads the name, which ends with a zero, and writes an address within the structure.
    outcome(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFHWADDR as c_ulong as _, &raw mut request) })?;
    // SAFETY: the request that succeeded wrote this member of the union; any bits are an integer.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// Packets that passed the filter, those of them that found no room, and how often the ring was full; the kernel begins anew.
pub(super) fn statistics(socket: impl AsFd) -> Result<[u32; 3], Errno> {
    // struct tpacket_stats_v3.
    let mut values = [0_u32; 3];
    let mut length = size_of_val(&values) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes to where `values` has as many, and any bytes are integers.
    outcome(unsafe {
        let to = values.as_mut_ptr().cast();
        libc::getsockopt(descriptor, libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &raw mut length)
    })?;
    Ok(values)
}

fn set(socket: impl AsFd, name: c_int, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_too_long| Errno::INVAL)?;
    // SAFETY: the pointer is to `length` bytes that live and do not change during the call.
    outcome(unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_PACKET, name, value.as_ptr().cast(), length)
    })
}

fn outcome(done: c_int) -> Result<(), Errno> {
    match done {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// A packet socket's ring of blocks, mapped: each block is either the kernel's or ours.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    block_size: usize,
    blocks: usize,
    /// The next that the kernel fills, or the one that is ours.
    current: usize,
    socket: OwnedFd,
}

// SAFETY: the memory belongs to this value alone, and no thread is special to the kernel.
unsafe impl Send for Ring {}

impl Ring {
    /// Gives the socket a ring. A block that is not full is handed over `timeout` milliseconds after its first packet.
    pub(super) fn new(socket: OwnedFd, block_size: u32, blocks: u32, timeout: u32) -> Result<Self, Errno> {
        set(&socket, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as c_int).to_ne_bytes())?;
        // struct tpacket_req3: sizes and numbers of blocks and frames, the timeout, no private room, no feature.
        let frames = block_size / FRAME as u32 * blocks;
        let request = [block_size, blocks, FRAME as u32, frames, timeout, 0, 0];
        set(&socket, libc::PACKET_RX_RING, request.map(u32::to_ne_bytes).as_flattened())?;
        let (block_size, blocks) = (block_size as usize, blocks as usize);
        let length = block_size.checked_mul(blocks).ok_or(Errno::NOMEM)?;
        // SAFETY: no address is asked for, so that it replaces no other mapping.
        let memory = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &socket, 0)?
        };
        let memory = NonNull::new(memory.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { memory, block_size, blocks, current: 0, socket })
    }

    /// Whether the current block is ours.
    pub(super) fn is_ready(&self) -> bool {
        self.status().load(Ordering::Acquire) & TP_STATUS_USER != 0
    }

    /// The current block, if it is ours: then the kernel leaves it alone until it is released.
    pub(super) fn block(&mut self) -> Option<&mut [u8]> {
        if !self.is_ready() {
            return None;
        }
        // SAFETY: the block lies within the mapping, and the kernel filled it with zeros at first. It is ours until `release`,
        // which needs `self` again, as all else does that could make another reference to it.
        Some(unsafe { slice::from_raw_parts_mut(self.start(), self.block_size) })
    }

    /// Gives the current block back to the kernel, which must be ours, and goes on to the next.
    pub(super) fn release(&mut self) {
        debug_assert!(self.is_ready(), "only a block that is ours can be given back");
        self.status().store(TP_STATUS_KERNEL, Ordering::Release);
        self.current = (self.current + 1) % self.blocks;
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: `current` is less than `blocks`, and the mapping is `blocks` times `block_size` long.
        unsafe { self.memory.as_ptr().add(self.current * self.block_size) }
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: it lies within the block, is aligned since blocks begin at pages, and while nobody has `block` it is only used
        // through this: by us, and by the kernel as atomically.
        unsafe { AtomicU32::from_ptr(self.start().add(BLOCK_STATUS).cast()) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, as a whole, and references to it do not outlive this value.
        let unmapped = unsafe { munmap(self.memory.as_ptr().cast::<c_void>(), self.block_size * self.blocks) };
        debug_assert_eq!(unmapped, Ok(()), "the mapping is whole until here");
    }
}
