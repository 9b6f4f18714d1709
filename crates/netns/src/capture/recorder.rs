use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{empty_private, open_private};
use super::{CaptureStats, InterfaceInfo, LinkType, Packet, PcapngWriter, SectionInfo};
use crate::{Error, ErrorKind, Result};

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

/// When a file ends and the next begins, and how many are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// A file ends before the packet that would make it longer than this many bytes, if it has one already. What is not known then, its
    /// comments, may make it longer.
    pub size: Option<u64>,
    /// A file ends before the packet that is so much later than its first. Only packets end it.
    pub period: Option<Duration>,
    /// Of the files that were written, so many are kept; all, if nothing is said.
    pub keep: Option<NonZeroU32>,
}

impl Rotation {
    const fn is_off(&self) -> bool {
        self.size.is_none() && self.period.is_none()
    }
}

/// Writes what was captured to an output, or to a file or a row of files: each is a whole pcapng file.
///
/// Without rotation a file has the name that was given. With it, `NAME.pcapng` becomes `NAME.00001.pcapng` and so on, from 1 at each start:
/// files that are there already are written over when their turn comes.
#[derive(Debug)]
pub struct Recorder {
    writer: PcapngWriter<Output>,
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    path: PathBuf,
    rotation: Rotation,
    number: u32,
    kept: VecDeque<PathBuf>,
    /// When the first packet of the current one was captured.
    begun: Option<i64>,
}

struct Output {
    buffer: BufWriter<Box<dyn Write + Send>>,
    bytes: u64,
}

impl Recorder {
    /// Writes to anything: a pipe, a socket.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn new(output: impl Write + Send + 'static, section: &SectionInfo) -> Result<Self> {
        Ok(Self { writer: PcapngWriter::new(Output::new(output), section)?, files: None })
    }

    /// Writes to a file, or to a row of files if `rotation` says so. They are made anew, for their owner only, who is the effective user: a
    /// symbolic link in their place is refused, and so is a file of another user or with other names. What is no file is refused if there
    /// is to be a row.
    ///
    /// # Errors
    ///
    /// If a file cannot be made.
    pub fn create(path: impl Into<PathBuf>, rotation: Rotation, section: &SectionInfo) -> Result<Self> {
        let mut files = Files { path: path.into(), rotation, number: 0, kept: VecDeque::new(), begun: None };
        let writer = PcapngWriter::new(files.open_next()?, section)?;
        let files = (!files.rotation.is_off()).then_some(files);
        Ok(Self { writer, files })
    }

    /// As [`PcapngWriter::interface`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn interface(&mut self, info: &InterfaceInfo) -> Result<()> {
        self.writer.interface(info)
    }

    /// As [`PcapngWriter::knows`].
    pub fn knows(&self, index: u32, link_type: LinkType) -> bool {
        self.writer.knows(index, link_type)
    }

    /// As [`PcapngWriter::packet`]; it begins the next file before, if this one has ended.
    ///
    /// # Errors
    ///
    /// As there, or if the next file cannot be made, or the last one not be finished.
    pub fn packet(&mut self, packet: &Packet<'_>, comments: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        if let Some(files) = &mut self.files {
            if files.has_ended(self.writer.output().bytes, packet) {
                let mut last = self.writer.replace(files.open_next()?)?;
                last.flush().map_err(|e| files.cannot("finish", e))?;
                files.forget()?;
            }
            files.begun.get_or_insert(packet.time);
        }
        self.writer.packet(packet, comments)
    }

    /// Hands on what was written so far.
    ///
    /// # Errors
    ///
    /// If the output fails.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush()
    }

    /// Ends with what became of the packets, as [`PcapngWriter::statistics`]: it is about the capture as a whole, and numbers of packets that
    /// were delivered are those of the last file.
    ///
    /// # Errors
    ///
    /// If the output fails.
    pub fn finish(mut self, time: i64, stats: &CaptureStats) -> Result<()> {
        self.writer.statistics(time, stats)?;
        self.writer.flush()
    }
}

impl Files {
    /// A packet adds some 32 bytes of header, and its comments, to its length.
    fn has_ended(&self, bytes: u64, packet: &Packet<'_>) -> bool {
        let Some(begun) = self.begun else { return false };
        let is_full = self.rotation.size.is_some_and(|size| bytes + 44 + packet.data.len() as u64 > size);
        let age = i128::from(packet.time) - i128::from(begun);
        is_full
            || self.rotation.period.is_some_and(|period| age >= i128::try_from(period.as_nanos()).unwrap_or(i128::MAX))
    }

    fn open_next(&mut self) -> Result<Output> {
        self.begun = None;
        if self.rotation.is_off() {
            return Ok(Output::new(create(&self.path, false)?));
        }
        self.number += 1;
        let path = numbered(&self.path, self.number);
        let file = create(&path, true)?;
        self.kept.push_back(path);
        Ok(Output::new(file))
    }

    /// Deletes what is not kept.
    fn forget(&mut self) -> Result<()> {
        let Some(keep) = self.rotation.keep else {
            self.kept.clear();
            return Ok(());
        };
        while self.kept.len() > keep.get() as usize {
            let Some(oldest) = self.kept.pop_front() else { break };
            match std::fs::remove_file(&oldest) {
                // Somebody else may have taken it away.
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::new(ErrorKind::Write, format!("cannot delete {}", oldest.display()), e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str, e: io::Error) -> Error {
        Error::new(ErrorKind::Write, format!("cannot {what} {}", numbered(&self.path, self.number).display()), e)
    }
}

/// `a/b.pcapng` as `a/b.00007.pcapng`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{number:05}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn create(path: &Path, must_be_file: bool) -> Result<File> {
    let cannot = |e| Error::new(ErrorKind::Write, format!("cannot make {}", path.display()), e);
    let file = open_private(path).map_err(cannot)?;
    if must_be_file && !file.metadata().map_err(cannot)?.is_file() {
        return Err(Error::new(ErrorKind::Write, format!("{} is no file: it cannot be rotated", path.display()), None));
    }
    empty_private(&file).map_err(cannot)?;
    Ok(file)
}

impl Output {
    fn new(output: impl Write + Send + 'static) -> Self {
        Self { buffer: BufWriter::with_capacity(BUFFER, Box::new(output)), bytes: 0 }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.buffer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
