use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;

use netlink_packet_core::DecodeError;
use rustix::net::netlink;

use super::TcpInfo;
use super::dump::Request;
use super::message::{AF_INET, AF_INET6, address_at, attributes, field, text, u8_at, u32_at};
use crate::{Netns, Result};

/// From linux/sock_diag.h and linux/inet_diag.h.
mod constant {
    pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
    /// `struct inet_diag_req_v2`.
    pub(super) const REQUEST: usize = 56;
    /// `struct inet_diag_msg`.
    pub(super) const HEADER: usize = 72;
    pub(super) const INFO: u16 = 2;
    pub(super) const CONGESTION: u16 = 4;
    /// A bit for each attribute, from 1.
    pub(super) const EXTENSIONS: u8 = 1 << (INFO - 1) | 1 << (CONGESTION - 1);
}

/// A transport protocol that has sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The state of a socket, by the numbers of `tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketState {
    /// Connected.
    Established,
    /// Connecting.
    SynSent,
    /// Being connected to.
    SynReceived,
    /// Closed here.
    FinWait1,
    /// Closed here, which the other end knows.
    FinWait2,
    /// Closed at both ends; late packets may come.
    TimeWait,
    /// Not connected: all UDP sockets that only receive.
    Closed,
    /// Closed at the other end.
    CloseWait,
    /// Closed at the other end first and then here.
    LastAck,
    /// Waiting for connections.
    Listen,
    /// Closed at both ends at the same time.
    Closing,
    /// Another one.
    Other(u8),
}

/// A TCP or UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Socket {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its state.
    pub state: SocketState,
    /// Its own address.
    pub local: SocketAddr,
    /// The address that it is connected to; unspecified, with port 0, if to none.
    pub remote: SocketAddr,
    /// The user that it belongs to.
    pub uid: u32,
    /// The inode that `/proc/PID/fd` has for it; 0 if no process has it open any more.
    pub inode: u32,
    /// Bytes that wait to be read, or connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes that the other end has not confirmed, or how many connections may wait.
    pub send_queue: u32,
    /// The index of the interface that it is bound to.
    pub interface: Option<u32>,
    /// What TCP measures of a connection.
    pub tcp: Option<TcpInfo>,
    /// The algorithm that avoids congestion, of TCP.
    pub congestion: Option<String>,
}

impl Netns {
    /// The TCP and UDP sockets of both families, each once, in no order. Connections that nobody has accepted yet are among them, and have
    /// no inode. One that appears or changes during the call may be missing, and so may others if some end meanwhile.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel does not list them: also if it has no module for it.
    pub fn sockets(&self) -> Result<Vec<Socket>> {
        let mut found = Vec::new();
        for (what, protocol, number) in [("TCP sockets", Protocol::Tcp, 6), ("UDP sockets", Protocol::Udp, 17)] {
            for family in [AF_INET, AF_INET6] {
                let mut body = [0; constant::REQUEST];
                body[..3].copy_from_slice(&[family, number, constant::EXTENSIONS]);
                // In all states.
                body[4..8].fill(0xff);
                found.extend(request(what, &body).dump(self, |message| socket(protocol, message))?);
            }
        }
        Ok(each_once(found))
    }
}

pub(super) const fn request<'a>(what: &'static str, body: &'a [u8]) -> Request<'a> {
    const KIND: u16 = constant::SOCK_DIAG_BY_FAMILY;
    Request { what, protocol: Some(netlink::SOCK_DIAG), kind: KIND, answer: KIND, body }
}

/// The kernel goes on where it was in a table that has changed meanwhile, and may tell of a socket again. It has the same cookie then, also
/// if it is in another state.
pub(super) fn each_once(found: Vec<(u64, Socket)>) -> Vec<Socket> {
    let mut cookies = HashSet::new();
    found.into_iter().filter(|(cookie, _)| cookies.insert(*cookie)).map(|(_, socket)| socket).collect()
}

/// With its cookie, which no other socket has.
pub(super) fn socket(protocol: Protocol, message: &[u8]) -> Result<Option<(u64, Socket)>, DecodeError> {
    let family = u8_at(message, 0)?;
    let end = |port, address| {
        let port = field(message, port).map(u16::from_be_bytes)?;
        Ok::<_, DecodeError>(SocketAddr::from((address_at(family, message, address)?, port)))
    };
    let mut socket = Socket {
        protocol,
        state: u8_at(message, 1)?.into(),
        local: end(4, 8)?,
        remote: end(6, 24)?,
        interface: Some(u32_at(message, 40)?).filter(|interface| *interface != 0),
        receive_queue: u32_at(message, 56)?,
        send_queue: u32_at(message, 60)?,
        uid: u32_at(message, 64)?,
        inode: u32_at(message, 68)?,
        tcp: None,
        congestion: None,
    };
    let is_connection = protocol == Protocol::Tcp && socket.state != SocketState::Listen;
    for attribute in attributes(message, constant::HEADER)? {
        let attribute = attribute?;
        match attribute.kind() {
            // Of a listening socket the same numbers say something else.
            constant::INFO if is_connection => socket.tcp = Some(TcpInfo::read(attribute.value())),
            constant::CONGESTION => socket.congestion = Some(text(attribute.value())),
            _ => {}
        }
    }
    let cookie = field(message, 44).map(u64::from_ne_bytes)?;
    Ok(Some((cookie, socket)))
}

const STATES: [(SocketState, &str); 11] = [
    (SocketState::Established, "established"),
    (SocketState::SynSent, "syn-sent"),
    (SocketState::SynReceived, "syn-recv"),
    (SocketState::FinWait1, "fin-wait-1"),
    (SocketState::FinWait2, "fin-wait-2"),
    (SocketState::TimeWait, "time-wait"),
    (SocketState::Closed, "closed"),
    (SocketState::CloseWait, "close-wait"),
    (SocketState::LastAck, "last-ack"),
    (SocketState::Listen, "listening"),
    (SocketState::Closing, "closing"),
];

impl From<u8> for SocketState {
    fn from(number: u8) -> Self {
        let known = usize::from(number).checked_sub(1).and_then(|nth| STATES.get(nth));
        match number {
            // A connection that is being made, as the kernel keeps it.
            12 => Self::SynReceived,
            _ => known.map_or(Self::Other(number), |(state, _)| *state),
        }
    }
}

impl fmt::Display for SocketState {
    /// As ss(8) names states in its filters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, STATES.iter().find(|(state, _)| state == self)) {
            (_, Some((_, name))) => f.write_str(name),
            (Self::Other(number), _) => number.fmt(f),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_told_of_again_is_listed_once() {
        let message = |state: u8, port: u8, cookie: u64| {
            let mut message = [0; constant::HEADER];
            (message[0], message[1], message[5]) = (AF_INET, state, port);
            message[44..52].copy_from_slice(&cookie.to_ne_bytes());
            socket(Protocol::Tcp, &message).unwrap().unwrap()
        };
        // The same ports are no sign: sockets may share them.
        let listed = each_once(vec![message(1, 7, 1), message(10, 7, 2), message(6, 7, 1), message(10, 7, 3)]);
        let states: Vec<_> = listed.iter().map(|socket| socket.state).collect();
        assert_eq!(states, [SocketState::Established, SocketState::Listen, SocketState::Listen]);
    }
}
