use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use podtrail_netns::Netns;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, connect, recvfrom, socket_with};

use super::sockopt::{self, Queue};
use crate::wire::{Connection, Kind, Messages};
use crate::{Error, ErrorKind, Result};

/// One event is one datagram, of a few hundred bytes.
const BUFFER: usize = 16 * 1024;
/// What one event takes of a receive buffer: its bytes and the kernel's bookkeeping.
const EVENT: u64 = 1280;

/// linux/netfilter/nfnetlink_compat.h, as the bits of a netlink address.
const GROUP_NEW: u32 = 1;
const GROUP_UPDATE: u32 = 1 << 1;
const GROUP_DESTROY: u32 = 1 << 2;

/// The receive buffer, in bytes, that loses nothing while `per_second` events come and the reader pauses for `pause`.
pub fn receive_buffer(per_second: u32, pause: Duration) -> usize {
    let bytes = u128::from(per_second) * pause.as_millis() * u128::from(EVENT) / 1000;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Which events are wanted, and how. By default: the end of each connection, in reliable mode, in a receive buffer of the system's
/// default size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Subscription {
    groups: u32,
    is_reliable: bool,
    receive_buffer: Option<usize>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { groups: GROUP_DESTROY, is_reliable: true, receive_buffer: None }
    }
}

impl Subscription {
    /// Also the beginning of each connection. It is not repeated in reliable mode.
    pub const fn with_new(mut self) -> Self {
        self.groups |= GROUP_NEW;
        self
    }

    /// Also changes of connections. They are not repeated in reliable mode.
    pub const fn with_updates(mut self) -> Self {
        self.groups |= GROUP_UPDATE;
        self
    }

    /// Whether the kernel keeps each connection that ended until this socket has its last word (`NETLINK_BROADCAST_ERROR`).
    ///
    /// Connections that are kept fill the table, and when it is full, the machine makes no new ones: whoever is in reliable mode
    /// reads without fail, or is watched by a [`Watchdog`](crate::Watchdog).
    pub const fn reliable(mut self, is_reliable: bool) -> Self {
        self.is_reliable = is_reliable;
        self
    }

    /// How many bytes of events may wait; see [`receive_buffer`]. More than `net.core.rmem_max` needs `CAP_NET_ADMIN` in the
    /// first user namespace; without it, that much is what there is.
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// It began.
    New(Connection<'e>),
    /// It changed.
    Updated(Connection<'e>),
    /// It ended: its last counters and both of its times.
    Destroyed(Connection<'e>),
    /// The queue was full: so many events did not get in since the last time that this was said. In reliable mode, ends of
    /// connections among them come again; all else is lost.
    Lost {
        /// How many, by the socket's own count; 0 if there was no memory for a message, which is not counted.
        drops: u32,
    },
}

/// What happens to the connections of a network namespace, as it happens.
///
/// It is one netlink socket. Dropping it ends the subscription; in reliable mode, whatever the kernel kept for it is then gone.
/// It may be handed to another process as a descriptor, with all that waits in it: see [`adopt`](Self::adopt).
#[derive(Debug)]
pub struct Events {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    /// What has not been read yet of the datagram in the buffer.
    rest: Range<usize>,
    drops: u32,
    /// The kernel has said that something was lost, and it has not been passed on.
    is_overrun: bool,
    foreign: u64,
}

impl Events {
    /// Subscribes in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If `CAP_NET_ADMIN` is missing, or there is no socket.
    pub fn open(subscription: &Subscription) -> Result<Self> {
        let cannot = |errno| match errno {
            Errno::PERM => {
                Error::new(ErrorKind::MissingCapability, "cannot listen to connections: CAP_NET_ADMIN is missing")
            }
            errno => Error::socket("cannot open a socket for events of connections", errno),
        };
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = socket_with(family, SocketType::RAW, flags, Some(netlink::NETFILTER)).map_err(cannot)?;
        if let Some(bytes) = subscription.receive_buffer {
            // The kernel takes twice the number.
            let half = bytes / 2;
            set_socket_recv_buffer_size_force(&socket, half)
                .or_else(|_not_allowed| set_socket_recv_buffer_size(&socket, half))
                .map_err(cannot)?;
        }
        // Before the first event can come.
        sockopt::set_reliable(&socket, subscription.is_reliable).map_err(cannot)?;
        bind(&socket, &SocketAddrNetlink::new(0, subscription.groups)).map_err(cannot)?;
        // Others could fill the queue: what they send to this socket alone is refused from here on.
        connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(cannot)?;
        Self::adopt(socket)
    }

    /// Subscribes in a network namespace, and stays out of it.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, which needs `CAP_SYS_ADMIN`; else as [`open`](Self::open).
    pub fn open_in(subscription: &Subscription, netns: &Netns) -> Result<Self> {
        netns.run(|| Self::open(subscription)).map_err(|e| {
            let what = format!("cannot listen to connections of network namespace {}", netns.inode());
            Error::caused(ErrorKind::Namespace, what, e)
        })?
    }

    /// Takes over a socket that another process opened, or that it holds too: an `Events` is made into a descriptor by `From`, and
    /// lends it by `AsFd`.
    ///
    /// Drops before this are counted already, and not said again.
    ///
    /// # Errors
    ///
    /// If it is no socket.
    pub fn adopt(socket: OwnedFd) -> Result<Self> {
        let queue = sockopt::queue(&socket).map_err(|errno| Error::socket("cannot look into the socket", errno))?;
        let buffer = vec![0; BUFFER].into();
        Ok(Self { socket, buffer, rest: 0..0, drops: queue.drops, is_overrun: false, foreign: 0 })
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    #[expect(clippy::should_implement_trait, reason = "an iterator's items cannot borrow from it")]
    pub fn next(&mut self) -> Result<Event<'_>> {
        let found = loop {
            if let Some(found) = self.find()? {
                break found;
            }
            let mut socket = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut socket, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::socket("cannot wait for events", errno)),
            }
        };
        self.event(found)
    }

    /// The next event, or `None` if none waits.
    ///
    /// # Errors
    ///
    /// An error of the kind [`Malformed`](ErrorKind::Malformed) is of one event: the others come after it. Any other is of the
    /// socket.
    pub fn try_next(&mut self) -> Result<Option<Event<'_>>> {
        match self.find()? {
            Some(found) => self.event(found).map(Some),
            None => Ok(None),
        }
    }

    /// What waits in the socket.
    ///
    /// # Errors
    ///
    /// If the kernel does not say (before Linux 4.12).
    pub fn queue(&self) -> Result<Queue> {
        sockopt::queue(&self.socket).map_err(|errno| Error::socket("cannot look into the socket", errno))
    }

    /// Whether it is in reliable mode.
    ///
    /// # Errors
    ///
    /// If the socket is none for events.
    pub fn is_reliable(&self) -> Result<bool> {
        let cannot = |errno| Error::socket("cannot read the mode of the socket", errno);
        sockopt::is_reliable(&self.socket).map_err(cannot)
    }

    /// Enters or leaves reliable mode: see [`Subscription::reliable`]. It is of the socket, and with that of all processes that
    /// hold it.
    ///
    /// # Errors
    ///
    /// If the socket is none for events.
    pub fn set_reliable(&self, is_reliable: bool) -> Result<()> {
        let cannot = |errno| Error::socket("cannot change the mode of the socket", errno);
        sockopt::set_reliable(&self.socket, is_reliable).map_err(cannot)
    }

    /// A number that no other network namespace of this boot has or will have; an inode may be used again.
    ///
    /// # Errors
    ///
    /// If the kernel has none (before Linux 5.14).
    pub fn netns_cookie(&self) -> Result<u64> {
        sockopt::netns_cookie(&self.socket).map_err(|errno| Error::socket("the network namespace has no cookie", errno))
    }

    /// How many datagrams were ignored because they were not from the kernel: other processes that may configure the network namespace
    /// may send to all who listen in it.
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// The next datagram from the kernel, which stays in the socket until [`consume`](Self::consume).
    pub(crate) fn peek(&mut self) -> Result<Option<Arrival<'_>>> {
        let arrived = self.receive(RecvFlags::PEEK)?;
        Ok(arrived.map(|arrived| match arrived {
            Arrived::Datagram(length) => Arrival::Datagram(&self.buffer[..length]),
            Arrived::Lost(drops) => Arrival::Lost(drops),
        }))
    }

    /// Takes out the datagram that was peeked at.
    pub(crate) fn consume(&mut self) -> Result<()> {
        loop {
            match recvfrom(&self.socket, &mut [0_u8; 1], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // Of others after it.
                Err(Errno::NOBUFS) => self.is_overrun = true,
                Err(errno) => return Err(Error::socket("cannot receive events", errno)),
            }
        }
    }

    pub(crate) fn find(&mut self) -> Result<Option<Found>> {
        loop {
            if self.rest.is_empty() {
                match self.receive(RecvFlags::empty())? {
                    Some(Arrived::Datagram(length)) => self.rest = 0..length,
                    Some(Arrived::Lost(drops)) => return Ok(Some(Found::Lost(drops))),
                    None => return Ok(None),
                }
            }
            let start = self.rest.start;
            let mut messages = Messages::new(&self.buffer[self.rest.clone()]);
            let message = messages.next();
            self.rest.start = self.rest.end - messages.remaining();
            match message {
                Some(Ok(message)) if matches!(message.kind(), Kind::Connection | Kind::Destroyed) => {
                    return Ok(Some(Found::Message(start..self.rest.start)));
                }
                Some(Ok(_)) | None => {}
                Some(Err(e)) => return Err(Error::malformed("cannot read an event", e)),
            }
        }
    }

    pub(crate) fn event(&self, found: Found) -> Result<Event<'_>> {
        let range = match found {
            Found::Lost(drops) => return Ok(Event::Lost { drops }),
            Found::Message(range) => range,
        };
        let message = Messages::new(&self.buffer[range]).next().and_then(Result::ok);
        let message = message.expect("the range is that of a message that was read before");
        let connection = message.connection().map_err(|e| Error::malformed("cannot read an event", e))?;
        Ok(match message.kind() {
            Kind::Destroyed => Event::Destroyed(connection),
            _ if message.is_new() => Event::New(connection),
            _ => Event::Updated(connection),
        })
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<Option<Arrived>> {
        loop {
            if std::mem::take(&mut self.is_overrun) {
                return self.overrun().map(|lost| Some(Arrived::Lost(lost)));
            }
            let flags = flags | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            match recvfrom(&self.socket, &mut *self.buffer, flags) {
                Ok((_, length, sender)) => {
                    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
                    let is_foreign = sender.is_none_or(|sender| sender.pid() != 0);
                    if !is_foreign && length <= self.buffer.len() {
                        return Ok(Some(Arrived::Datagram(length)));
                    }
                    // The kernel makes none that is longer than the buffer.
                    self.foreign += 1;
                    if flags.contains(RecvFlags::PEEK) {
                        self.consume()?;
                    }
                }
                Err(Errno::INTR) => {}
                // A full queue says so once, until it is empty: more may be lost by then.
                Err(Errno::AGAIN) => {
                    return Ok(Some(self.lost()?).filter(|lost| *lost > 0).map(Arrived::Lost));
                }
                Err(Errno::NOBUFS) => self.is_overrun = true,
                Err(errno) => return Err(Error::socket("cannot receive events", errno)),
            }
        }
    }

    fn overrun(&mut self) -> Result<u32> {
        match self.lost()? {
            // The kernel says it first, and counts it then.
            0 => {
                std::thread::sleep(Duration::from_millis(1));
                self.lost()
            }
            lost => Ok(lost),
        }
    }

    fn lost(&mut self) -> Result<u32> {
        let drops = self.queue()?.drops;
        let lost = drops.wrapping_sub(self.drops);
        self.drops = drops;
        Ok(lost)
    }
}

enum Arrived {
    Datagram(usize),
    Lost(u32),
}

pub(crate) enum Arrival<'e> {
    Datagram(&'e [u8]),
    Lost(u32),
}

pub(crate) enum Found {
    Message(Range<usize>),
    Lost(u32),
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Events> for OwnedFd {
    fn from(events: Events) -> Self {
        events.socket
    }
}
