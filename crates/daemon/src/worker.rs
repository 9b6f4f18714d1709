//! A process of the same program that does the work, while the one that started it holds what must outlive it.

use std::{
    ffi::OsStr,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
        sockopt::socket_peercred,
    },
    process::{Signal, getppid, set_parent_process_death_signal},
};

use crate::{Error, ErrorKind, Result};

/// Descriptors that one message may carry.
const DESCRIPTORS: usize = 8;
/// Bytes that one message may have.
const BYTES: usize = 16 * 1024;

/// Starts this program anew, with these arguments, as a worker: its standard input is the other end of the channel that is given
/// back. It is the program that is running, also where another was put in its place.
///
/// The worker dies with the *thread* that called this: call it on the main thread. See [`inherit`].
///
/// # Errors
///
/// [`ErrorKind::Worker`] when the system starts no process.
pub fn spawn<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<(Child, Channel)> {
    let cannot = |e: io::Error| Error::new(ErrorKind::Worker, "cannot start a worker".to_owned()).because(e);
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| cannot(e.into()))?;
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    let child = command.args(arguments).stdin(Stdio::from(theirs)).spawn().map_err(cannot)?;
    Ok((child, Channel { socket: ours }))
}

/// Makes this process the worker of the one that [`spawn`]ed it: it is killed when that one ends. Gives its end of the channel,
/// which was standard input.
///
/// # Errors
///
/// [`ErrorKind::Worker`] when standard input is no such channel, or the process at its other end is not the parent: it may have
/// ended already.
pub fn inherit() -> Result<Channel> {
    let not = |e: Errno| {
        let message = "this is no worker: standard input is no channel to the process that started it";
        Error::new(ErrorKind::Worker, message.to_owned()).because(io::Error::from(e))
    };
    let stdin = io::stdin();
    // Of who made the pair of sockets.
    let parent = socket_peercred(&stdin).map_err(not)?.pid;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(not)?;
    // Asked after the signal was set: from here on the end of the parent is this one's too.
    if getppid() != Some(parent) {
        return Err(Error::new(ErrorKind::Worker, "the process that started this worker has ended".to_owned()));
    }
    Ok(Channel { socket: fcntl_dupfd_cloexec(&stdin, 3).map_err(not)? })
}

/// One end of the connection between a process and its worker. A message is bytes, and open descriptors with them.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// A message from the other end.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Parcel {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Sends a message of up to 16 KiB, with up to 8 descriptors. Does not wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Worker`] when the other end is closed, or does not read and there is no room; with the error as its source.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let cannot = |e: io::Error| Error::new(ErrorKind::Worker, "cannot reach the worker".to_owned()).because(e);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let is_too_much = bytes.is_empty() || bytes.len() > BYTES;
        if is_too_much || !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(cannot(io::ErrorKind::InvalidInput.into()));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(cannot(e.into())),
            }
        }
    }

    /// The next message; `None` if none waits. Does not wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the other end is closed and all of it was read; [`ErrorKind::Worker`] for anything else.
    pub fn receive(&self) -> Result<Option<Parcel>> {
        let cannot = |e: io::Error| Error::new(ErrorKind::Worker, "cannot hear the worker".to_owned()).because(e);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; BYTES];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(e) => return Err(cannot(e.into())),
            }
        };
        if received.bytes == 0 {
            return Err(Error::new(ErrorKind::Closed, "the other process has ended".to_owned()));
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(cannot(io::Error::other("a message was cut: no descriptor is left, or it is too long")));
        }
        bytes.truncate(received.bytes);
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok(Some(Parcel { bytes, descriptors }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (Channel { socket: a }, Channel { socket: b })
    }

    #[test]
    fn messages_arrive_whole_in_order_with_their_descriptors() {
        let (ours, theirs) = pair();
        assert!(theirs.receive().unwrap().is_none());
        let mut file = tempfile();
        file.write_all(b"kept open").unwrap();
        ours.send(b"first", &[file.as_fd(), file.as_fd()]).unwrap();
        ours.send(b"second", &[]).unwrap();
        drop(file);

        let first = theirs.receive().unwrap().unwrap();
        assert_eq!((&*first.bytes, first.descriptors.len()), (&b"first"[..], 2));
        let mut text = String::new();
        let mut same = std::fs::File::from(first.descriptors.into_iter().next().unwrap());
        same.rewind().unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept open");
        assert_eq!(theirs.receive().unwrap().unwrap().bytes, b"second");
        drop(ours);
        assert_eq!(theirs.receive().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(theirs.send(b"x", &[]).unwrap_err().kind(), ErrorKind::Worker);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nobody_waits() {
        let (ours, _theirs) = pair();
        assert!(ours.send(&vec![0; BYTES + 1], &[]).is_err());
        assert!(ours.send(b"", &[]).is_err());
        let sent = (0..10_000).take_while(|_| ours.send(&[0; BYTES], &[]).is_ok()).count();
        assert!((1..10_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_process_that_nobody_spawned_is_no_worker() {
        assert_eq!(inherit().unwrap_err().kind(), ErrorKind::Worker);
    }

    fn tempfile() -> std::fs::File {
        rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
    }
}
