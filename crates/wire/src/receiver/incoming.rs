use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// How long not to accept after a failure: it may be that too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// What each client begins with (RFC 9113 §3.4), in bytes. The server asks nothing of it before, not even pings.
const PREFACE: usize = 24;

/// The connections that come, at most so many at once; others stay in the listener's queue. One that has not begun within
/// that time fails.
pub(super) fn connections(
    listener: TcpListener,
    most: usize,
    begin: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    stream::unfold((listener, slots), move |(listener, slots)| async move {
        let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
        let socket = loop {
            match listener.accept().await {
                Ok((socket, _peer)) => break socket,
                // An error would end the serving, and one peer could bring it about.
                Err(_transient) => sleep(PAUSE).await,
            }
        };
        // Acknowledgements are small and waited for. Without it they are only slower.
        drop(socket.set_nodelay(true));
        let beginning = Some(Beginning { missing: PREFACE, deadline: Box::pin(sleep(begin)) });
        Some((Ok(Connection { socket, beginning, _slot: slot }), (listener, slots)))
    })
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    /// Until the preface is there.
    beginning: Option<Beginning>,
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Beginning {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = to.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, to);
        if let Some(beginning) = &mut self.beginning {
            beginning.missing = beginning.missing.saturating_sub(to.filled().len() - filled);
            if beginning.missing == 0 {
                self.beginning = None;
            } else if read.is_pending() && beginning.deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
