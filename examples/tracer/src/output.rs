//! Where a tool's output goes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Mutex;

use crate::stream::Stream;
use crate::tool::End;

/// How much is read from a tool at a time: no more may be in one message of snoopy's.
const CHUNK: usize = 32 << 10;
/// A longer line of one of many tools is shown in pieces.
const LINE: usize = 16 << 10;

/// Opens the file for a tool's output: emptied, readable to its owner alone, and never by way of a symbolic link.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    let named = || format!("cannot write the tool's output to {}", path.display());
    // Not blocking, or a pipe that nobody reads would hold us up; no such thing is taken.
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file: File = opened
        .map_err(|e| match e {
            rustix::io::Errno::LOOP => anyhow!("it is a symbolic link, and those are not followed"),
            e => io::Error::from(e).into(),
        })
        .with_context(named)?
        .into();
    let metadata = file.metadata().with_context(named)?;
    match metadata.file_type() {
        kind if kind.is_file() => {
            file.set_permissions(PermissionsExt::from_mode(0o600)).with_context(named)?;
            file.set_len(0).with_context(named)?;
        }
        kind if kind.is_char_device() => {}
        _ => return Err(anyhow!("it is neither a file nor a character device")).with_context(named),
    }
    let flags = rustix::fs::fcntl_getfl(&file).map_err(io::Error::from).with_context(named)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(io::Error::from).with_context(named)?;
    Ok(file)
}

/// What the tool's standard output is, and what is done with what comes.
#[derive(Debug)]
pub(crate) struct Output {
    sinks: Vec<(String, Sink)>,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Stdout,
    Lines(Lines<tokio::io::Stdout>),
    Stream(Stream),
}

impl Output {
    pub(crate) const fn new() -> Self {
        Self { sinks: Vec::new() }
    }

    /// Copies to standard output; that of one tool of many by lines, each behind its pod's name.
    pub(crate) fn with_stdout(&mut self, lines: Option<Lines<tokio::io::Stdout>>) {
        self.sinks.push(("standard output".to_owned(), lines.map_or(Sink::Stdout, Sink::Lines)));
    }

    pub(crate) fn with_file(&mut self, path: &Path) -> anyhow::Result<()> {
        self.sinks.push((path.display().to_string(), Sink::File(open(path)?)));
        Ok(())
    }

    pub(crate) fn with_stream(&mut self, name: String, stream: Stream) {
        self.sinks.push((name, Sink::Stream(stream)));
    }

    /// What the tool is to have for its standard output: where it can write by itself, it does.
    pub(crate) fn stdio(&self) -> io::Result<Stdio> {
        Ok(match &self.sinks[..] {
            [] => Stdio::null(),
            [(_, Sink::Stdout)] => Stdio::inherit(),
            [(_, Sink::File(file))] => Stdio::from(file.try_clone()?),
            _ => Stdio::piped(),
        })
    }

    /// Copies what the tool writes to all that want it, until it writes no more or nobody is left. A sink that fails is given
    /// up, and the others get the rest. Gives the bytes that came, and what failed.
    pub(crate) async fn copy(&mut self, from: Option<OwnedFd>) -> (u64, Vec<anyhow::Error>) {
        let (mut copied, mut failures) = (0, Vec::new());
        let mut from = match from.map(Receiver::from_owned_fd).transpose() {
            Ok(Some(from)) => from,
            Ok(None) => return (0, failures),
            Err(e) => return (0, vec![anyhow::Error::new(e).context("cannot read the tool's output")]),
        };
        let mut chunk = vec![0; CHUNK];
        while !self.sinks.is_empty() {
            let read = tokio::select! {
                read = from.read(&mut chunk) => read,
                (at, error) = broken(&mut self.sinks) => {
                    let (name, _) = self.sinks.remove(at);
                    failures.push(incomplete(&name, error.into()));
                    continue;
                }
            };
            match read {
                Ok(0) => break,
                Ok(length) => {
                    copied += length as u64;
                    self.write(&chunk[..length], &mut failures).await;
                }
                Err(e) => {
                    failures.push(anyhow::Error::new(e).context("cannot read the tool's output"));
                    break;
                }
            }
        }
        (copied, failures)
    }

    async fn write(&mut self, chunk: &[u8], failures: &mut Vec<anyhow::Error>) {
        for (name, mut sink) in std::mem::take(&mut self.sinks) {
            match sink.write(chunk).await {
                Ok(()) => self.sinks.push((name, sink)),
                Err(e) => failures.push(incomplete(&name, e)),
            }
        }
    }

    /// Completes all that is left.
    pub(crate) async fn finish(self, end: End) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        for (name, sink) in self.sinks {
            if let Err(e) = sink.finish(end).await {
                failures.push(incomplete(&name, e));
            }
        }
        failures
    }
}

fn incomplete(name: &str, error: anyhow::Error) -> anyhow::Error {
    error.context(format!("the tool's output is not all at {name}"))
}

/// The first sink that fails while there is nothing to write, and why.
async fn broken(sinks: &mut [(String, Sink)]) -> (usize, podtrail_wire::Error) {
    let streams = sinks.iter_mut().enumerate().filter_map(|(at, (_, sink))| match sink {
        Sink::Stream(stream) => Some(Box::pin(async move { (at, stream.drive().await) })),
        _ => None,
    });
    let streams: Vec<_> = streams.collect();
    match streams.is_empty() {
        true => std::future::pending().await,
        false => futures::future::select_all(streams).await.0,
    }
}

impl Sink {
    async fn write(&mut self, chunk: &[u8]) -> anyhow::Result<()> {
        match self {
            // A local file: it takes what it is given.
            Self::File(file) => Ok(io::Write::write_all(file, chunk)?),
            Self::Stdout => {
                let mut out = tokio::io::stdout();
                out.write_all(chunk).await?;
                Ok(out.flush().await?)
            }
            Self::Lines(lines) => Ok(lines.write(chunk).await?),
            Self::Stream(stream) => Ok(stream.send(chunk).await?),
        }
    }

    async fn finish(self, end: End) -> anyhow::Result<()> {
        match self {
            Self::File(_) | Self::Stdout => Ok(()),
            Self::Lines(lines) => Ok(lines.finish().await?),
            Self::Stream(stream) => Ok(stream.finish(end).await?),
        }
    }
}

/// Whole lines, each behind a name, to something that others write lines to as well.
#[derive(Debug)]
pub(crate) struct Lines<W> {
    name: String,
    out: Arc<Mutex<W>>,
    line: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Lines<W> {
    pub(crate) const fn new(name: String, out: Arc<Mutex<W>>) -> Self {
        Self { name, out, line: Vec::new() }
    }

    pub(crate) async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut text = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") || self.line.len() >= LINE {
                self.take_line(&mut text);
            }
        }
        self.put(&text).await
    }

    /// Writes the last line, which has no end.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        let mut text = Vec::new();
        if !self.line.is_empty() {
            self.take_line(&mut text);
        }
        self.put(&text).await
    }

    fn take_line(&mut self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.name.as_bytes());
        text.extend_from_slice(b" | ");
        text.append(&mut self.line);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }

    async fn put(&self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = self.out.lock().await;
        out.write_all(text).await?;
        out.flush().await
    }
}

/// Copies lines until there are no more.
pub(crate) async fn copy_lines(
    mut from: impl AsyncRead + Unpin,
    mut to: Lines<impl AsyncWrite + Unpin>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).await? {
            0 => return to.finish().await,
            length => to.write(&chunk[..length]).await?,
        }
    }
}
