use std::fmt;
use std::ops::Range;

use podtrail_netns::Netns;
use rustix::io::Errno;

use super::dump::Dump;
use super::socket::Socket;
use crate::wire::{self, Connection, Kind, Malformed, Message, Messages, REQUEST_ROOM, Stats, Tuple};
use crate::{Error, ErrorKind, Filter, Result};

/// The kernel makes datagrams of at most 32 KiB for a dump (`netlink_dump`).
const BUFFER: usize = 64 * 1024;

/// The connection table of a network namespace.
///
/// It is one netlink socket and one buffer of 64 KiB; connections are read in place. Everything it does needs `CAP_NET_ADMIN`.
pub struct Table {
    socket: Socket,
    buffer: Box<[u8]>,
    sequence: u32,
    /// A dump was left before its end: the kernel begins no other one on this socket until it has been read.
    pub(crate) is_dumping: bool,
    filters_replies: Option<bool>,
}

impl Table {
    /// Opens the table of the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If the kernel has no netfilter netlink sockets, or no descriptor is left. Whether `CAP_NET_ADMIN` is missing turns out with
    /// the first request.
    pub fn open() -> Result<Self> {
        let buffer = vec![0; BUFFER].into();
        Ok(Self { socket: Socket::open()?, buffer, sequence: 0, is_dumping: false, filters_replies: None })
    }

    /// Opens the table of a network namespace, and stays out of it.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, which needs `CAP_SYS_ADMIN`; else as [`open`](Self::open).
    pub fn open_in(netns: &Netns) -> Result<Self> {
        netns.run(Self::open).map_err(|e| {
            let what = format!("cannot open the connection table of network namespace {}", netns.inode());
            Error::caused(ErrorKind::Namespace, what, e)
        })?
    }

    /// Reads the connections that match a filter.
    ///
    /// A connection that begins or ends meanwhile is in it or not. Nothing in the kernel is changed: counters are not zeroed. The
    /// kernel filters as far as it can, and what it sends is matched again: the result is the same with every kernel.
    ///
    /// # Errors
    ///
    /// If the request cannot be sent. What the kernel answers to it comes from [`Dump::next`].
    pub fn dump(&mut self, filter: &Filter) -> Result<Dump<'_>> {
        let kernel_filter =
            if filter.asks_for_reply() && !self.filters_replies()? { filter.without_reply() } else { *filter };
        Dump::begin(self, filter, kernel_filter)
    }

    /// Reads the connections that have ended while an event of that could not be delivered yet: in the reliable mode the kernel
    /// keeps them until each listener has room.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn dying(&mut self) -> Result<Dump<'_>> {
        self.send(wire::dying)?;
        self.is_dumping = true;
        Ok(Dump::new(self, &Filter::default(), Filter::default(), None))
    }

    /// How full the table is, and what the kernel has counted in its namespace.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, does not answer, or answers what cannot be understood.
    pub fn stats(&mut self) -> Result<Stats> {
        let mut stats = Stats::default();
        self.add_stats(&mut stats, wire::stats)?;
        self.add_stats(&mut stats, wire::stats_cpu)?;
        Ok(stats)
    }

    /// Looks up the connection of which `tuple` is one direction.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, does not answer, or answers what cannot be understood.
    pub fn get(&mut self, tuple: &Tuple, zone: u16) -> Result<Option<Connection<'_>>> {
        match self.ask(|buffer, sequence| wire::get(buffer, sequence, tuple, zone))? {
            Answer::Connection(range) => self.message(range).connection().map(Some).map_err(unreadable),
            Answer::Errno(NO_SUCH_CONNECTION) => Ok(None),
            Answer::Errno(errno) => Err(Error::refused(errno)),
        }
    }

    /// Inserts a connection, for tests and tools. It must have a [`timeout`](Connection::timeout); the kernel gives it its id, and
    /// its counters begin at zero.
    ///
    /// # Errors
    ///
    /// If it is there already, the kernel refuses it, or it cannot be encoded.
    pub fn insert(&mut self, connection: &Connection<'_>) -> Result<()> {
        self.ask(|buffer, sequence| wire::insert(buffer, sequence, connection))?.acknowledged()
    }

    /// Deletes the connection of which `tuple` is one direction, if its id is `id`, and says whether there was one.
    ///
    /// # Errors
    ///
    /// If the kernel refuses or does not answer.
    pub fn delete(&mut self, tuple: &Tuple, zone: u16, id: Option<u32>) -> Result<bool> {
        match self.ask(|buffer, sequence| wire::delete(buffer, sequence, tuple, zone, id))? {
            Answer::Errno(NO_SUCH_CONNECTION) => Ok(false),
            answer => answer.acknowledged().map(|()| true),
        }
    }

    /// Deletes all connections of the namespace.
    ///
    /// # Errors
    ///
    /// If the kernel refuses or does not answer.
    pub fn flush(&mut self) -> Result<()> {
        self.ask(wire::flush)?.acknowledged()
    }

    /// How many datagrams were ignored because they were not from the kernel: other processes may send to a netlink socket at the moment
    /// that it is opened, and are refused then.
    pub const fn foreign(&self) -> u64 {
        self.socket.foreign()
    }

    fn add_stats(&mut self, stats: &mut Stats, request: fn(&mut [u8], u32) -> Result<&[u8], Malformed>) -> Result<()> {
        self.send(request)?;
        self.is_dumping = true;
        let mut rest = 0..0;
        loop {
            let range = self.next_message(&mut rest)?;
            let message = self.message(range);
            match message.kind() {
                Kind::Done | Kind::Error => {
                    let errno = message.errno().map_err(unreadable);
                    self.is_dumping = false;
                    return Answer::Errno(errno?).acknowledged();
                }
                Kind::Other(_) => stats.add(&message).map_err(unreadable)?,
                _ => {}
            }
        }
    }

    fn ask(&mut self, encode: impl FnOnce(&mut [u8], u32) -> Result<&[u8], Malformed>) -> Result<Answer> {
        self.send(encode)?;
        let mut rest = 0..0;
        loop {
            let range = self.next_message(&mut rest)?;
            let message = self.message(range.clone());
            match message.kind() {
                Kind::Connection => return Ok(Answer::Connection(range)),
                Kind::Error => return message.errno().map(Answer::Errno).map_err(unreadable),
                _ => {}
            }
        }
    }

    pub(crate) fn ask_for_dump(&mut self, filter: &Filter) -> Result<()> {
        self.send(|buffer, sequence| wire::dump(buffer, sequence, filter))?;
        self.is_dumping = true;
        Ok(())
    }

    /// Whether the kernel filters by the reply's tuple as it should; asked once.
    fn filters_replies(&mut self) -> Result<bool> {
        if let Some(known) = self.filters_replies {
            return Ok(known);
        }
        self.send(wire::dump_of_half_a_reply)?;
        self.is_dumping = true;
        let errno = self.skip_dump()?;
        let filters = errno == Some(INVALID);
        // Without the capability nothing is known yet.
        self.filters_replies = (errno == Some(0) || filters).then_some(filters);
        Ok(filters)
    }

    fn send(&mut self, encode: impl FnOnce(&mut [u8], u32) -> Result<&[u8], Malformed>) -> Result<()> {
        if self.is_dumping {
            self.skip_dump()?;
        }
        // Events have the number 0.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let mut room = [0; REQUEST_ROOM];
        let request = encode(&mut room, self.sequence).map_err(|e| Error::malformed("cannot encode the request", e))?;
        self.socket.send(request)
    }

    /// Reads and forgets the rest of a dump, and says with which error it ended, if that can be read.
    fn skip_dump(&mut self) -> Result<Option<i32>> {
        let mut rest = 0..0;
        let mut errno = None;
        while self.is_dumping {
            match self.next_message(&mut rest) {
                Ok(range) => {
                    let message = self.message(range);
                    if matches!(message.kind(), Kind::Done | Kind::Error) {
                        errno = message.errno().ok();
                        self.is_dumping = false;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Malformed => {}
                Err(e) if e.kind() == ErrorKind::NoAnswer => self.is_dumping = false,
                Err(e) => return Err(e),
            }
        }
        Ok(errno)
    }

    /// The next message that answers the last request, as a range of the buffer. `rest` is what has not been read yet of the
    /// datagram in the buffer; when that is nothing, the next one is received.
    pub(crate) fn next_message(&mut self, rest: &mut Range<usize>) -> Result<Range<usize>> {
        loop {
            if rest.start == rest.end {
                *rest = 0..self.socket.receive(&mut self.buffer)?;
            }
            let start = rest.start;
            let mut messages = Messages::new(&self.buffer[rest.clone()]);
            let message = messages.next();
            rest.start = rest.end - messages.remaining();
            match message {
                Some(Ok(message)) if message.sequence() == self.sequence => return Ok(start..rest.start),
                Some(Ok(_)) | None => {}
                Some(Err(e)) => return Err(unreadable(e)),
            }
        }
    }

    /// Puts a datagram into the buffer, as if it had been received.
    #[cfg(test)]
    pub(crate) fn load(&mut self, datagram: &[u8]) -> usize {
        self.buffer[..datagram.len()].copy_from_slice(datagram);
        datagram.len()
    }

    /// The message in a range that [`next_message`](Self::next_message) gave.
    pub(crate) fn message(&self, range: Range<usize>) -> Message<'_> {
        let first = Messages::new(&self.buffer[range]).next();
        first.and_then(Result::ok).expect("the range is that of a message that was read before")
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What the kernel says of a connection that is not there.
const NO_SUCH_CONNECTION: i32 = Errno::NOENT.raw_os_error();

/// What the kernel says of a request that is not complete.
const INVALID: i32 = Errno::INVAL.raw_os_error();

enum Answer {
    /// It is in this range of the buffer.
    Connection(Range<usize>),
    /// 0 is an acknowledgement.
    Errno(i32),
}

impl Answer {
    fn acknowledged(self) -> Result<()> {
        match self {
            Self::Connection(_) | Self::Errno(0) => Ok(()),
            Self::Errno(errno) => Err(Error::refused(errno)),
        }
    }
}

pub(crate) fn unreadable(e: Malformed) -> Error {
    Error::malformed("cannot read the kernel's answer", e)
}
