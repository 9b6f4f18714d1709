//! What a tool writes, and when that is over though others still have its pipe.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long those are listened to who left the tool's group and have its pipe, when all others have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// When the tool ended, with all of its group; nothing before.
pub(crate) type Ended = watch::Receiver<Option<Instant>>;

/// A pipe that a tool writes to.
#[derive(Debug)]
pub(crate) struct Source {
    pipe: Receiver,
    ended: Ended,
    rest: Option<Rest>,
}

/// What is left when the tool has ended.
#[derive(Debug)]
struct Rest {
    /// How much of what was in the pipe then is still there. It is the tool's, and waits for whoever takes it.
    length: u64,
    until: Instant,
    /// Whether somebody wrote since.
    goes_on: bool,
}

impl Source {
    pub(crate) fn new(pipe: OwnedFd, ended: &Ended) -> io::Result<Self> {
        Ok(Self { pipe: Receiver::from_owned_fd(pipe)?, ended: ended.clone(), rest: None })
    }

    /// What comes next: how many bytes; none if it is over. Nothing is lost when it is cancelled.
    pub(crate) async fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None => tokio::select! {
                biased;
                ended = when(&mut self.ended) => {
                    let length = ioctl_fionread(&self.pipe)?;
                    self.rest.insert(Rest { length, until: ended + LAST_WORDS, goes_on: false })
                }
                read = self.pipe.read(chunk) => return read,
            },
        };
        if rest.length > 0 {
            let read = self.pipe.read(chunk).await?;
            rest.length = rest.length.saturating_sub(read as u64);
            return Ok(read);
        }
        // Not left to the timer, which who always has something to say would never let come up.
        if Instant::now() < rest.until
            && let Ok(read) = timeout_at(rest.until, self.pipe.read(chunk)).await
        {
            rest.goes_on |= read.as_ref().is_ok_and(|read| *read > 0);
            return read;
        }
        let is_cut = match self.pipe.try_read(&mut [0]) {
            Ok(length) => length > 0,
            // Nothing just now, from somebody who is still there.
            Err(_) => rest.goes_on,
        };
        if is_cut {
            tracing::warn!(
                "what the tool left behind goes on writing: from 1 s after the tool's end on it is not kept"
            );
        }
        Ok(0)
    }
}

async fn when(ended: &mut Ended) -> Instant {
    match ended.wait_for(Option::is_some).await.map(|ended| *ended) {
        Ok(Some(ended)) => ended,
        // Whoever could say it is gone only when nobody waits any more.
        _ => std::future::pending().await,
    }
}
