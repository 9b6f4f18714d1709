//! From the rings of pods to one recording.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use podtrail_event::Timestamp;
use podtrail_netns::ErrorKind;
use podtrail_netns::capture::{Capture, CaptureHandle, CaptureStats, InterfaceInfo, Packet, Recorder};
use tokio::sync::Notify;

use crate::annotate::say;
use crate::owners::Owners;

/// How many packets were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    all: u64,
    /// Those that are where they should be; of the others only some are, if writing failed.
    certain: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets captured", self.all)?;
        if self.certain < self.all {
            write!(f, ", only {} of them written for certain", self.certain)?;
        }
        Ok(())
    }
}

/// What all pods are recorded to.
#[derive(Debug)]
pub(super) struct Record {
    inner: Mutex<Inner>,
    /// How many interfaces there are: each has a number of its own, whichever namespace it is in.
    interfaces: AtomicU32,
    ended: Notify,
}

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    /// How many packets are still wanted.
    left: Option<u64>,
    written: Written,
    /// What was written ends anywhere.
    has_failed: bool,
}

impl Record {
    pub(super) fn new(recorder: Recorder, most: Option<u64>) -> Self {
        let inner = Inner { recorder, left: most, written: Written::default(), has_failed: false };
        Self { inner: Mutex::new(inner), interfaces: AtomicU32::new(0), ended: Notify::new() }
    }

    /// Says that no more is wanted.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Whether there are as many packets as were wanted.
    pub(super) fn is_full(&self) -> bool {
        self.lock().left == Some(0)
    }

    /// Completes the recording, unless it has failed before; says how many packets are in it.
    pub(super) fn finish(self, stats: &CaptureStats) -> (Written, podtrail_netns::Result<()>) {
        // What was written before a panic is in the file, whole or not.
        let Inner { recorder, mut written, has_failed, .. } =
            self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        if has_failed {
            return (written, Ok(()));
        }
        let finished = recorder.finish(Timestamp::from(SystemTime::now()).as_nanosecond(), stats);
        if finished.is_ok() {
            written.certain = written.all;
        }
        (written, finished)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod whose packets are captured.
#[derive(Debug)]
pub(super) struct Source {
    /// Its sandbox.
    pub(super) id: String,
    pub(super) pod: String,
    /// What its interfaces are named with, where those of others are in the same recording.
    pub(super) prefix: Option<String>,
    pub(super) description: String,
    pub(super) filter: String,
    pub(super) snap_length: u32,
    /// Each has its own: the others' packets do not wait while a ledger is read.
    pub(super) owners: Option<Owners>,
    /// The numbers that its interfaces have in the recording.
    pub(super) numbers: HashMap<u32, u32>,
    pub(super) capture: Capture,
}

impl Source {
    pub(super) fn handle(&self) -> CaptureHandle {
        self.capture.handle()
    }

    pub(super) fn stats(&mut self) -> Option<CaptureStats> {
        self.capture.stats().ok()
    }

    /// Records packets until the capture was stopped, or there are enough.
    pub(super) fn read(&mut self, record: &Record, look: Duration) -> anyhow::Result<()> {
        let handle = self.capture.handle();
        loop {
            let packets = match self.capture.next(look) {
                // It goes with its pod, which is not the end of the others.
                Err(e) if e.kind() == ErrorKind::Interface => {
                    say(&format!("pod {}: {e}", self.pod));
                    return Ok(());
                }
                packets => packets?,
            };
            let Some(packets) = packets else {
                if self.capture.is_finished() {
                    return Ok(());
                }
                continue;
            };
            for mut packet in packets {
                let comments = comments(self.owners.as_mut(), &packet)?;
                let number = self.numbers.entry(packet.interface);
                let number = *number.or_insert_with(|| record.interfaces.fetch_add(1, Ordering::Relaxed));
                let describe = |packet: &Packet<'_>| {
                    let mut interface = handle.interface_of(packet);
                    interface.index = number;
                    if let Some(prefix) = &self.prefix {
                        interface.name = format!("{prefix}:{}", interface.name);
                    }
                    let mut info = InterfaceInfo::new(interface);
                    info.description.clone_from(&self.description);
                    info.filter.clone_from(&self.filter);
                    info.snap_length = self.snap_length;
                    info
                };
                let inner = &mut *record.lock();
                if inner.left == Some(0) || inner.has_failed {
                    return Ok(());
                }
                let is_known = inner.recorder.knows(number, packet.link_type);
                let info = (!is_known).then(|| describe(&packet));
                packet.interface = number;
                inner.write(&packet, info.as_ref(), &comments)?;
            }
            let inner = &mut *record.lock();
            let flushed = inner.recorder.flush();
            inner.noted(flushed)?;
            inner.written.certain = inner.written.all;
            if inner.left == Some(0) {
                return Ok(());
            }
        }
    }
}

impl Inner {
    fn write(&mut self, packet: &Packet<'_>, info: Option<&InterfaceInfo>, comments: &[String]) -> anyhow::Result<()> {
        let described = info.map_or(Ok(()), |info| self.recorder.interface(info));
        let written = described.and_then(|()| self.recorder.packet(packet, comments));
        self.noted(written)?;
        self.written.all += 1;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(())
    }

    fn noted(&mut self, done: podtrail_netns::Result<()>) -> anyhow::Result<()> {
        self.has_failed |= done.is_err();
        Ok(done?)
    }
}

/// Who held the addresses of a packet.
fn comments(owners: Option<&mut Owners>, packet: &Packet<'_>) -> anyhow::Result<Vec<String>> {
    let (Some(owners), Some((source, destination))) = (owners, packet.endpoints()) else { return Ok(Vec::new()) };
    let at = Timestamp::from_nanosecond(packet.time);
    let said = owners.said(at, [source, destination]).context("cannot read the ledger")?;
    Ok(said.into_iter().map(|said| said.text).collect())
}
