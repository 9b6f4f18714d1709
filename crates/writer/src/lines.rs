use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::AsyncWrite;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Batch, Committed, Error, Writer};

/// A pipe that polls as writable takes so many bytes (`PIPE_BUF`) without blocking, pipe(7).
const PIECE: usize = 4096;
/// The longest that a thread waits for a full pipe before it looks whether anybody still wants it to.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Lines to any asynchronous writer, at least once.
///
/// Any failure to write is a retry: a closed pipe stays closed, but what it did not take is not lost, it stays with
/// the source. A batch that was written in part goes on after its last accepted byte when it is delivered again to
/// the same value; only a restart writes the whole batch again. Give a new process a new pipe or file: it does not know
/// where the one before tore a line, and would go on in that line.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    name: String,
    partial: Option<Partial>,
}

/// How much of which batch was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partial {
    first: u64,
    last: u64,
    length: usize,
    written: usize,
}

impl<W: AsyncWrite + Unpin + Send> Lines<W> {
    /// A writer to `out`, which errors call `name`.
    ///
    /// A partial batch is as exact as `out`: one that buffers and fails later has accepted what it loses.
    pub fn new(out: W, name: impl Into<String>) -> Self {
        Self { out, name: name.into(), partial: None }
    }

    /// The writer that the lines went to.
    pub fn into_inner(self) -> W {
        self.out
    }

    async fn write(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let text = batch.to_text();
        let fresh = Partial { first: batch.first, last: batch.last, length: text.len(), written: 0 };
        let partial = self.partial.get_or_insert(fresh);
        if (Partial { written: 0, ..*partial }) != fresh {
            *partial = fresh;
        }
        while partial.written < text.len() {
            match poll_fn(|cx| Pin::new(&mut self.out).poll_write(cx, &text[partial.written..])).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => partial.written += count,
            }
        }
        poll_fn(|cx| Pin::new(&mut self.out).poll_flush(cx)).await?;
        self.partial = None;
        Ok(())
    }
}

#[async_trait]
impl<W: AsyncWrite + Unpin + Send> Writer for Lines<W> {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        self.write(batch).await.map_err(|error| Error::retry(&self.name, error))?;
        Ok(Committed::default())
    }
}

/// Lines to standard output, at least once.
///
/// It writes to the descriptor itself, so that what the pipe did not take is known to the byte. A full pipe is waited
/// for without holding up the end of the process.
pub fn stdout() -> Lines<Stdout> {
    Lines::new(Stdout { writing: None }, "standard output")
}

/// Standard output without a buffer. Needs a tokio runtime.
///
/// If a write is cancelled, the next one must offer the same bytes again, as [`Lines`] does.
#[derive(Debug)]
pub struct Stdout {
    writing: Option<JoinHandle<io::Result<usize>>>,
}

impl AsyncWrite for Stdout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let writing = self.writing.get_or_insert_with(|| {
                let piece = text[..text.len().min(16 * PIECE)].to_vec();
                spawn_blocking(move || write_some(io::stdout().as_fd(), &piece))
            });
            let done = ready!(Pin::new(writing).poll(cx)).map_err(io::Error::other);
            self.writing = None;
            match done? {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes what `out` takes before it is full; fails only if it took nothing.
fn write_some(out: BorrowedFd<'_>, text: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    for piece in text.chunks(PIECE) {
        match write_when_ready(out, piece) {
            Ok(count) => written += count,
            Err(error) if written == 0 => return Err(error),
            Err(_) => break,
        }
        if written % PIECE != 0 {
            break;
        }
    }
    Ok(written)
}

fn write_when_ready(out: BorrowedFd<'_>, piece: &[u8]) -> io::Result<usize> {
    // Also ready when the reader is gone: then the write says so.
    let ready = poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&PATIENCE))?;
    if ready == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(out, piece)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use podtrail_event::EventId;

    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::conformance::{self, Guarantee, Harness};
    use crate::{Item, WriterExt as _};

    /// Lines to memory, which can break after some bytes.
    #[derive(Clone, Default)]
    struct Memory {
        taken: Arc<Mutex<Vec<u8>>>,
        room: Arc<Mutex<Option<usize>>>,
    }

    impl AsyncWrite for Memory {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
            let mut room = self.room.lock().unwrap();
            let count = room.unwrap_or(text.len()).min(text.len());
            *room = room.map(|room| room - count);
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.taken.lock().unwrap().extend_from_slice(&text[..count]);
            Poll::Ready(Ok(count))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[async_trait]
    impl Harness for Memory {
        type Writer = Lines<Self>;

        fn guarantee(&self) -> Guarantee {
            Guarantee::AtLeastOnce
        }
        async fn open(&mut self) -> Lines<Self> {
            Lines::new(self.clone(), "memory")
        }
        async fn delivered(&mut self) -> Vec<Bytes> {
            let taken = self.taken.lock().unwrap();
            let lines = taken.strip_suffix(b"\n").unwrap_or(&taken).split(|byte| *byte == b'\n');
            lines.filter(|line| !line.is_empty()).map(Bytes::copy_from_slice).collect()
        }
        async fn outage(&mut self, broken: bool) -> bool {
            *self.room.lock().unwrap() = broken.then_some(0);
            true
        }
    }

    #[tokio::test]
    async fn conforms_at_least_once() {
        conformance::run(|| async { Memory::default() }).await;
    }

    #[tokio::test]
    async fn every_partial_write_is_completed_without_a_double() {
        let items = items(&["one", "two", "three"]);
        let batch = Batch { first: 1, last: 3, items: &items, resume: None };
        for room in 0..14 {
            let memory = Memory::default();
            *memory.room.lock().unwrap() = Some(room);
            let mut lines = Lines::new(memory.clone(), "memory");
            assert!(lines.deliver(&batch).await.unwrap_err().is_retryable());
            *memory.room.lock().unwrap() = None;
            lines.deliver(&batch).await.unwrap();
            assert_eq!(*memory.taken.lock().unwrap(), b"one\ntwo\nthree\n", "room for {room}");
        }
    }

    /// Takes so many bytes a call; `None` is an error.
    struct Script {
        steps: Vec<Result<usize, io::ErrorKind>>,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Script {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
            let step = if self.steps.is_empty() { Ok(text.len()) } else { self.steps.remove(0) };
            Poll::Ready(match step {
                Ok(count) => {
                    let count = count.min(text.len());
                    self.taken.extend_from_slice(&text[..count]);
                    Ok(count)
                }
                Err(kind) => Err(kind.into()),
            })
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn items(lines: &[&'static str]) -> Vec<Item> {
        lines.iter().map(|line| Item { id: EventId::derive(&[line.as_bytes()]), line: (*line).into() }).collect()
    }

    #[tokio::test]
    async fn a_batch_goes_on_where_the_pipe_stopped() {
        use io::ErrorKind::{BrokenPipe, StorageFull, WouldBlock};
        for error in [BrokenPipe, WouldBlock, StorageFull] {
            let steps = vec![Ok(3), Err(error), Ok(2), Ok(0), Ok(1), Err(error)];
            let mut lines = Lines::new(Script { steps, taken: Vec::new() }, "a pipe");
            let items = items(&["one", "two"]);
            let batch = Batch { first: 1, last: 2, items: &items, resume: None };
            for _ in 0..3 {
                let error = lines.deliver(&batch).await.unwrap_err();
                assert!(error.is_retryable(), "{error}");
                assert_eq!(error.to_string(), "cannot deliver to a pipe yet");
            }
            lines.deliver(&batch).await.unwrap();
            lines.deliver_lines(3, &["three".into()], None).await.unwrap();
            assert_eq!(lines.into_inner().taken, b"one\ntwo\nthree\n", "{error}");
        }
    }

    #[tokio::test]
    async fn another_batch_after_a_partial_one_is_written_whole() {
        let steps = vec![Ok(8), Err(io::ErrorKind::WouldBlock)];
        let mut lines = Lines::new(Script { steps, taken: Vec::new() }, "a pipe");
        lines.deliver_lines(1, &["one".into(), "two".into(), "three".into()], None).await.unwrap_err();
        lines.deliver_lines(1, &["one".into(), "three".into()], None).await.unwrap();
        assert_eq!(lines.into_inner().taken, b"one\ntwo\none\nthree\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_a_retry() {
        let full = tokio::fs::OpenOptions::new().write(true).open("/dev/full").await.unwrap();
        let error = Lines::new(full, "a full disk").deliver_lines(1, &["one".into()], None).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
    }

    fn pipe() -> (io::PipeReader, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, writer.into())
    }

    #[test]
    fn a_full_pipe_takes_what_fits_and_then_would_block_without_blocking() {
        let (mut reader, writer) = pipe();
        let text: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let mut written = 0;
        let full = loop {
            match write_some(writer.as_fd(), &text[written..]) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(written >= PIECE && written < text.len(), "{written}");
        let mut read = vec![0; written];
        reader.read_exact(&mut read).unwrap();
        assert!(read == text[..written]);
    }

    #[test]
    fn a_closed_pipe_is_a_broken_pipe_and_no_signal() {
        let (reader, writer) = pipe();
        drop(reader);
        assert_eq!(write_some(writer.as_fd(), b"x\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
