use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{DecodeError, NetlinkBuffer};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recvfrom, sendto, socket_with,
};

use super::message::{HEADER, field};
use crate::{Error, ErrorKind, Netns, Result};

/// The kernel answers at once, or while it is read from: what it has not told in this time, it does not tell.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a dump is begun anew because something changed meanwhile.
const ATTEMPTS: usize = 8;
/// How many entries a list may have: more than the neighbours, routes or sockets of any pod.
const MOST: usize = 1 << 18;
/// Datagrams of a dump have 32 KiB at most.
const ROOM: usize = 1 << 16;

/// From linux/netlink.h.
mod constant {
    pub(super) const REQUEST_DUMP: u16 = 0x301;
    pub(super) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const OVERRUN: u16 = 4;
}

/// What the kernel is asked to list.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// For messages to the user: a plural.
    pub(super) what: &'static str,
    pub(super) protocol: Option<Protocol>,
    pub(super) kind: u16,
    /// The type of the entries that come.
    pub(super) answer: u16,
    pub(super) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// One of rtnetlink.
    pub(super) const fn route(what: &'static str, kind: u16, answer: u16, body: &'a [u8]) -> Self {
        // NETLINK_ROUTE is protocol 0.
        Self { what, protocol: None, kind, answer, body }
    }

    /// All entries that `read` finds something in.
    pub(super) fn dump<T>(
        &self,
        netns: &Netns,
        read: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>> {
        let socket = netns.run(|| open(self.protocol))?.map_err(|e| self.refused(e))?;
        for sequence in 1..=ATTEMPTS {
            let mut dump = Dump::new(self, sequence as u32);
            dump.receive(&socket, &read)?;
            if !dump.is_interrupted {
                return Ok(dump.found);
            }
        }
        Err(self.error(ErrorKind::Interrupted, "they changed again and again meanwhile"))
    }

    /// What one datagram tells, as an answer to the first such request.
    pub(super) fn told<T>(
        &self,
        datagram: &[u8],
        read: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>> {
        let mut dump = Dump::new(self, 1);
        dump.take(datagram, &read)?;
        Ok(dump.found)
    }

    fn message(&self, sequence: u32) -> Vec<u8> {
        let length = HEADER + self.body.len();
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend(self.kind.to_ne_bytes());
        message.extend(constant::REQUEST_DUMP.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(self.body);
        message
    }

    fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, format!("cannot list the {} of a network namespace: {why}", self.what), None)
    }

    fn refused(&self, e: impl Into<io::Error>) -> Error {
        let what = format!("cannot list the {} of a network namespace", self.what);
        Error::new(ErrorKind::Refused, what, e.into())
    }

    fn malformed(&self, e: DecodeError) -> Error {
        let what = format!("cannot read what the kernel tells of the {} of a network namespace", self.what);
        Error::new(ErrorKind::Malformed, what, io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    }
}

fn open(protocol: Option<Protocol>) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // To the kernel, which chooses the port: from here on it refuses messages of others, who could keep its answer away.
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

struct Dump<'a, T> {
    request: &'a Request<'a>,
    sequence: u32,
    found: Vec<T>,
    is_interrupted: bool,
}

impl<'a, T> Dump<'a, T> {
    const fn new(request: &'a Request<'a>, sequence: u32) -> Self {
        Self { request, sequence, found: Vec::new(), is_interrupted: false }
    }

    fn receive(&mut self, socket: &OwnedFd, read: &impl Fn(&[u8]) -> Result<Option<T>, DecodeError>) -> Result<()> {
        let request = self.request.message(self.sequence);
        sendto(socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|e| self.request.refused(e))?;
        let (mut buffer, start) = (vec![0; ROOM], Instant::now());
        // A message that is none of the answer is no reason to wait longer.
        while start.elapsed() < PATIENCE {
            let (_, length, sender) = match recvfrom(socket, &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(self.no_answer("the kernel does not answer")),
                Err(Errno::NOBUFS) => return Err(self.no_answer("the kernel lost part of the answer")),
                received => received.map_err(|e| self.request.refused(e))?,
            };
            // One that came before the socket was connected.
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            let Some(datagram) = buffer.get(..length) else {
                return Err(self.no_answer("the kernel sent more than there is room for"));
            };
            if self.take(datagram, read)? {
                return Ok(());
            }
        }
        Err(self.no_answer("the kernel does not come to an end"))
    }

    /// Whether it was the last datagram.
    fn take(&mut self, mut rest: &[u8], read: &impl Fn(&[u8]) -> Result<Option<T>, DecodeError>) -> Result<bool> {
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(|e| self.request.malformed(e))?;
            let next = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[next..];
            if message.sequence_number() != self.sequence {
                continue;
            }
            self.is_interrupted |= message.flags() & constant::DUMP_INTERRUPTED != 0;
            let payload = message.payload();
            match message.message_type() {
                constant::DONE | constant::ERROR => {
                    let errno = field(payload, 0).map(i32::from_ne_bytes).map_err(|e| self.request.malformed(e))?;
                    return match errno {
                        0 => Ok(true),
                        errno => Err(self.request.refused(io::Error::from_raw_os_error(errno.saturating_neg()))),
                    };
                }
                constant::OVERRUN => return Err(self.no_answer("the kernel lost part of the answer")),
                kind if kind == self.request.answer => {
                    self.found.extend(read(payload).map_err(|e| self.request.malformed(e))?);
                    if self.found.len() > MOST {
                        return Err(self.request.error(ErrorKind::TooMany, &format!("there are more than {MOST}")));
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn no_answer(&self, why: &str) -> Error {
        self.request.error(ErrorKind::NoAnswer, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> = Request::route("things", 18, 16, &[]);

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut message = Request { kind, body: payload, ..REQUEST }.message(sequence);
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    /// What a dump has found after a datagram, whether it is over and whether it was interrupted.
    #[track_caller]
    fn check(datagram: &[Vec<u8>], expected: Result<(&[u32], bool, bool), ErrorKind>) {
        let mut dump = Dump::new(&REQUEST, 1);
        let read = |payload: &[u8]| field(payload, 0).map(u32::from_ne_bytes).map(Some);
        let is_over = dump.take(&datagram.concat(), &read).map_err(|e| e.kind());
        let found = is_over.map(|is_over| (dump.found.as_slice(), is_over, dump.is_interrupted));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_dump_is_over_at_its_end_and_says_what_became_of_it() {
        let entry = |flags, sequence, value: u32| message(16, flags, sequence, &value.to_ne_bytes());
        let end = |kind, errno: i32| message(kind, 0, 1, &(-errno).to_ne_bytes());
        check(&[entry(0, 1, 7), entry(0, 1, 8)], Ok((&[7, 8], false, false)));
        check(&[entry(0, 1, 7), end(3, 0)], Ok((&[7], true, false)));
        check(&[entry(0x10, 1, 7), end(3, 0)], Ok((&[7], true, true)));
        // An answer to an earlier request, and a message of another type.
        check(&[entry(0x10, 9, 7), message(99, 0, 1, &[]), entry(0, 1, 8)], Ok((&[8], false, false)));
        check(&[entry(0, 1, 7), end(2, 1)], Err(ErrorKind::Refused));
        check(&[end(3, 95)], Err(ErrorKind::Refused));
        check(&[end(2, i32::MAX)], Err(ErrorKind::Refused));
        check(&[message(2, 0, 1, &i32::MIN.to_ne_bytes())], Err(ErrorKind::Refused));
        check(&[message(4, 0, 1, &[])], Err(ErrorKind::NoAnswer));
        check(&[message(16, 0, 1, &[1, 2])], Err(ErrorKind::Malformed));
        check(&[message(3, 0, 1, &[])], Err(ErrorKind::Malformed));
    }

    #[test]
    fn a_message_with_an_impossible_length_is_refused() {
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut bad = message(16, 0, 1, &[0; 4]);
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            check(&[bad], Err(ErrorKind::Malformed));
        }
        check(&[vec![0; 3]], Err(ErrorKind::Malformed));
    }
}
