//! Where a tool's output goes.

mod source;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use podtrail_netns::capture::{empty_private, open_private};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

pub(crate) use self::source::{Ended, Source};
use crate::stream::Stream;
use crate::tool::End;

/// How much is read from a tool at a time: no more may be in one message of snoopy's.
const CHUNK: usize = 32 << 10;
/// A longer line of one of many tools is shown in pieces.
const LINE: usize = 16 << 10;

/// Opens a file for output as [`open_private`] does, or a device that keeps nobody waiting.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    let named = || format!("cannot write to {}", path.display());
    let file = open_private(path).with_context(named)?;
    let kind = file.metadata().with_context(named)?.file_type();
    // A terminal may keep whoever writes to it waiting for as long as it likes.
    let is_device = kind.is_char_device() && !rustix::termios::isatty(&file);
    if !kind.is_file() && !is_device {
        return Err(anyhow!("it is neither a file nor a device such as /dev/null")).with_context(named);
    }
    Ok(file)
}

/// What the tool's standard output is, and what is done with what comes.
#[derive(Debug)]
pub(crate) struct Output {
    sinks: Vec<(String, Sink)>,
    /// How many bytes came.
    pub(crate) copied: u64,
    /// Where they did not get.
    pub(crate) failures: Vec<anyhow::Error>,
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
        Self { sinks: Vec::new(), copied: 0, failures: Vec::new() }
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

    /// Empties the files, now that the tool has been started: what they had is lost only to what comes.
    pub(crate) fn begin(&mut self) {
        let Self { sinks, failures, .. } = self;
        sinks.retain(|(name, sink)| {
            let Sink::File(file) = sink else { return true };
            let emptied = empty_private(file).context("cannot empty it");
            emptied.map_err(|e| failures.push(incomplete(name, e))).is_ok()
        });
    }

    /// What the tool is to have for its standard output: where nothing is to be done with what it writes, that itself.
    pub(crate) fn stdio(&self) -> io::Result<Stdio> {
        Ok(match &self.sinks[..] {
            // Opened here: where the tool's files are the container's, /dev/null may be anything.
            [] => Stdio::from(File::options().write(true).open("/dev/null")?),
            [(_, Sink::Stdout)] => Stdio::inherit(),
            // Also for a file alone: before it is known that the tool runs, nothing may be written to it.
            _ => Stdio::piped(),
        })
    }

    /// Copies what the tool writes to all that want it, until it writes no more or nobody is left. A sink that fails is given
    /// up, and the others get the rest.
    pub(crate) async fn copy(&mut self, from: Option<OwnedFd>, ended: &Ended) {
        let unreadable = |e| anyhow::Error::new(e).context("cannot read the tool's output");
        let mut from = match from.map(|pipe| Source::new(pipe, ended)).transpose() {
            Ok(Some(from)) => from,
            Ok(None) => return,
            Err(e) => return self.failures.push(unreadable(e)),
        };
        let mut chunk = vec![0; CHUNK];
        while !self.sinks.is_empty() {
            let read = tokio::select! {
                read = from.read(&mut chunk) => read,
                (at, error) = broken(&mut self.sinks) => {
                    let (name, _) = self.sinks.remove(at);
                    self.failures.push(incomplete(&name, error.into()));
                    continue;
                }
            };
            let length = match read {
                Ok(0) => return,
                Ok(length) => length,
                Err(e) => return self.failures.push(unreadable(e)),
            };
            self.copied += length as u64;
            self.write(&chunk[..length]).await;
        }
    }

    async fn write(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while let Some((_, sink)) = self.sinks.get_mut(at) {
            match sink.write(chunk).await {
                Ok(()) => at += 1,
                Err(e) => {
                    let (name, _) = self.sinks.remove(at);
                    self.failures.push(incomplete(&name, e));
                }
            }
        }
    }

    /// Completes all that is left.
    pub(crate) async fn finish(&mut self, end: End) {
        while let Some((name, sink)) = self.sinks.pop() {
            if let Err(e) = sink.finish(end).await {
                self.failures.push(incomplete(&name, e));
            }
        }
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
            // A file takes what it is given, as far as a program can wait for one.
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
pub(crate) async fn copy_lines(mut from: Source, mut to: Lines<impl AsyncWrite + Unpin>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).await? {
            0 => return to.finish().await,
            length => to.write(&chunk[..length]).await?,
        }
    }
}
