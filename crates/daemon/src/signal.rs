//! The signals a daemon obeys.

use std::{future::pending, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Error, ErrorKind, Result};

/// Resolves at the first SIGTERM or SIGINT after this call.
///
/// From then on, for the rest of the process, neither signal ends the process by itself, a second one no more than the first:
/// draining must be bounded in time.
///
/// # Errors
///
/// [`ErrorKind::Signal`] when a handler cannot be installed.
///
/// # Panics
///
/// Outside a tokio runtime with its I/O driver on.
pub fn shutdown_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    Ok(std::future::poll_fn(move |cx| {
        let asked = [&mut terminate, &mut interrupt].map(|s| matches!(s.poll_recv(cx), Poll::Ready(Some(()))));
        if asked.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
    }))
}

/// Listens for SIGHUP, by which log rotation asks a daemon to open its files anew.
///
/// # Errors
///
/// [`ErrorKind::Signal`] when the handler cannot be installed.
///
/// # Panics
///
/// Outside a tokio runtime with its I/O driver on.
pub fn reopen_signal() -> Result<Reopen> {
    Ok(Reopen { hangup: listen(SignalKind::hangup(), "SIGHUP")? })
}

/// Requests to open files anew; see [`reopen_signal`].
#[derive(Debug)]
pub struct Reopen {
    hangup: Signal,
}

impl Reopen {
    /// Waits for the next request. Requests that nobody waited for count as one. Cancelling the wait loses nothing.
    pub async fn recv(&mut self) {
        if self.hangup.recv().await.is_none() {
            pending().await
        }
    }
}

fn listen(kind: SignalKind, name: &str) -> Result<Signal> {
    signal(kind).map_err(|e| Error::new(ErrorKind::Signal, format!("cannot handle {name}")).because(e))
}
