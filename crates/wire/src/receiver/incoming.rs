use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;

use super::ReceiverLimits;
use super::share::{Share, Shares};

/// How long not to accept after a failure: it may be that too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// What each client begins with (RFC 9113 §3.4), in bytes. The server asks nothing of it before, not even pings.
const PREFACE: usize = 24;

/// The connections that come, at most so many at once; others stay in the listener's queue. Those of a peer that has its
/// share are closed.
pub(super) fn connections(
    listener: TcpListener,
    limits: &ReceiverLimits,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let shares = Shares::new(limits.peer_connections);
    // The server asks the client to go when a connection is so old. This is for those that do not.
    let (begin, unused) = (limits.begin, limits.unused + limits.begin);
    stream::unfold((listener, slots), move |(listener, slots)| {
        let shares = Arc::clone(&shares);
        async move {
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            let (socket, peer, share) = loop {
                match listener.accept().await {
                    Ok((socket, peer)) => {
                        if let Some(share) = shares.take(peer.ip()) {
                            break (socket, peer.ip(), share);
                        }
                    }
                    // An error would end the serving, and one peer could bring it about.
                    Err(_transient) => sleep(PAUSE).await,
                }
            };
            // Acknowledgements are small and waited for. Without it they are only slower.
            drop(socket.set_nodelay(true));
            let peer = Peer { address: peer, streams: Arc::new(Mutex::new((0, Instant::now()))) };
            let connection = Connection {
                socket,
                peer,
                missing: PREFACE,
                unused,
                look: Box::pin(sleep(begin)),
                _slot: slot,
                _share: share,
            };
            Some((Ok(connection), (listener, slots)))
        }
    })
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// How many streams are open, or since when there is none.
    streams: Arc<Mutex<(usize, Instant)>>,
}

/// A stream over a connection, which is in use as long as this is there.
#[derive(Debug)]
pub(super) struct Used(Peer);

impl Peer {
    pub(super) fn used(&self) -> Used {
        self.streams().0 += 1;
        Used(self.clone())
    }

    fn streams(&self) -> MutexGuard<'_, (usize, Instant)> {
        // Nothing panics while it is held.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut streams = self.0.streams();
        *streams = (streams.0.saturating_sub(1), Instant::now());
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    peer: Peer,
    /// How much of the preface.
    missing: usize,
    /// How long there may be no streams.
    unused: Duration,
    /// When to look whether it has begun, and later whether it is in use.
    look: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

impl Connection {
    /// An error when the connection's time is up. Otherwise whoever polls it is woken when it may be.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.look.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let until = match *self.peer.streams() {
                (0, since) => since + self.unused,
                _ => now + self.unused,
            };
            if self.missing > 0 || until <= now {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.look.as_mut().reset(until);
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = to.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, to);
        self.missing = self.missing.saturating_sub(to.filled().len() - filled);
        self.check(context)?;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        // While there is no room for what is to be written, nothing is read.
        self.check(context)?;
        Pin::new(&mut self.socket).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
