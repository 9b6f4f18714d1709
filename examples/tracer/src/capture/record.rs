//! From the rings of pods to one recording.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use podtrail_event::Timestamp;
use podtrail_netns::capture::{Capture, CaptureConfig, CaptureHandle, CaptureStats, InterfaceInfo, Packet, Recorder};
use tokio::sync::Notify;

use crate::Failure;
use crate::owners::Owners;

/// What all pods are recorded to.
#[derive(Debug)]
pub(super) struct Record {
    inner: Mutex<Inner>,
    ended: Notify,
}

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    owners: Option<Owners>,
    /// How many packets are still wanted.
    left: Option<u64>,
    written: u64,
    /// How many interfaces there are: each has a number of its own, whichever namespace it is in.
    interfaces: u32,
    has_failed: bool,
}

impl Record {
    pub(super) fn new(recorder: Recorder, owners: Option<Owners>, most: Option<u64>) -> Self {
        let inner = Inner { recorder, owners, left: most, written: 0, interfaces: 0, has_failed: false };
        Self { inner: Mutex::new(inner), ended: Notify::new() }
    }

    /// Says that no more is wanted.
    pub(super) fn end(&self, has_failed: bool) {
        self.lock().has_failed |= has_failed;
        self.ended.notify_one();
    }

    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Completes the recording; gives the number of packets in it.
    pub(super) fn finish(self, stats: &CaptureStats) -> Result<u64, Failure> {
        // What was written before a panic is in the file, whole or not.
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !inner.has_failed {
            let now = Timestamp::from(SystemTime::now()).as_nanosecond();
            inner.recorder.finish(now, stats).map_err(Failure::unavailable)?;
        }
        Ok(inner.written)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod whose packets are captured.
#[derive(Debug)]
pub(super) struct Source {
    capture: Capture,
    /// What its interfaces are named with, where those of others are in the same recording.
    title: Option<String>,
    description: String,
    filter: String,
    snap_length: u32,
    /// The numbers that its interfaces have in the recording.
    numbers: HashMap<u32, u32>,
}

impl Source {
    pub(super) fn new(capture: Capture, title: Option<String>, description: String, config: &CaptureConfig) -> Self {
        let filter = config.filter.as_ref().map(|filter| filter.as_str().to_owned()).unwrap_or_default();
        Self { capture, title, description, filter, snap_length: config.snap_length, numbers: HashMap::new() }
    }

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
            let Some(packets) = self.capture.next(look)? else {
                if self.capture.is_finished() {
                    return Ok(());
                }
                continue;
            };
            let inner = &mut *record.lock();
            for mut packet in packets {
                if inner.left == Some(0) || inner.has_failed {
                    return Ok(());
                }
                let number = *self.numbers.entry(packet.interface).or_insert_with(|| {
                    inner.interfaces += 1;
                    inner.interfaces
                });
                if !inner.recorder.knows(number, packet.link_type) {
                    let mut interface = handle.interface_of(&packet);
                    interface.index = number;
                    if let Some(title) = &self.title {
                        interface.name = format!("{title}:{}", interface.name);
                    }
                    let mut info = InterfaceInfo::new(interface);
                    info.description.clone_from(&self.description);
                    info.filter.clone_from(&self.filter);
                    info.snap_length = self.snap_length;
                    inner.recorder.interface(&info)?;
                }
                packet.interface = number;
                inner.write(&packet)?;
            }
            inner.recorder.flush()?;
        }
    }
}

impl Inner {
    fn write(&mut self, packet: &Packet<'_>) -> anyhow::Result<()> {
        let comments = match (&mut self.owners, packet.endpoints()) {
            (Some(owners), Some((source, destination))) => {
                let at = Timestamp::from_nanosecond(packet.time);
                owners.comments(at, [source, destination]).context("cannot read the ledger")?
            }
            _ => Vec::new(),
        };
        self.recorder.packet(packet, &comments)?;
        self.written += 1;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(())
    }
}
