use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recvfrom, sendto, socket_with,
};

use crate::{Error, ErrorKind, Result};

/// The kernel answers at once, or while it is read from: this long without an answer means that none comes.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// A netlink socket to the netfilter subsystems of the namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    foreign: u64,
}

impl Socket {
    pub(crate) fn open() -> Result<Self> {
        let cannot = |errno| Error::socket("cannot open a netfilter netlink socket", errno);
        let descriptor =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))
                .map_err(cannot)?;
        // To the kernel, which chooses the port: from here on it refuses messages of others, who could keep its answers away.
        connect(&descriptor, &SocketAddrNetlink::new(0, 0)).map_err(cannot)?;
        set_socket_timeout(&descriptor, Timeout::Recv, Some(PATIENCE)).map_err(cannot)?;
        Ok(Self { descriptor, foreign: 0 })
    }

    pub(crate) fn send(&self, request: &[u8]) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        loop {
            match sendto(&self.descriptor, request, SendFlags::empty(), &kernel) {
                // A datagram is taken as a whole.
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::socket("cannot send a request to the kernel", errno)),
            }
        }
    }

    /// Waits for the next datagram from the kernel, and says how long it is. Those of processes, which came before the socket was
    /// connected, are ignored and counted.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match recvfrom(&self.descriptor, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, length, sender)) => {
                    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
                    if sender.is_none_or(|sender| sender.pid() != 0) {
                        self.foreign += 1;
                    } else if length > buffer.len() {
                        let what = format!("the kernel sent {length} bytes, and there was room for {}", buffer.len());
                        return Err(Error::new(ErrorKind::NoAnswer, what));
                    } else {
                        return Ok(length);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let what = format!("the kernel did not answer within {} s", PATIENCE.as_secs());
                    return Err(Error::new(ErrorKind::NoAnswer, what));
                }
                Err(errno) => return Err(Error::socket("cannot receive from the kernel", errno)),
            }
        }
    }

    /// How many datagrams came from other senders than the kernel.
    pub(crate) const fn foreign(&self) -> u64 {
        self.foreign
    }
}
