//! A disk that can be full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lab::sh;

/// A file system of 16 MiB, which ends with this.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn new(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        sh(&format!("mount -t tmpfs -o size=16m podtrail-proof {}", path.display()));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all of its room, and what is freed meanwhile, until that is dropped.
    pub(crate) fn fill(&self) -> Full {
        let (ballast, stop) = (self.0.join("ballast"), Arc::new(AtomicBool::new(false)));
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let filling = thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    while file.write_all(&[0; 4096]).is_ok() {}
                    thread::sleep(Duration::from_millis(5));
                }
                fs::remove_file(ballast).unwrap();
            }
        });
        Full { stop, filling: Some(filling) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Agents that are to be killed may be on it still.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

pub(crate) struct Full {
    stop: Arc<AtomicBool>,
    filling: Option<JoinHandle<()>>,
}

impl Drop for Full {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.filling.take().map(JoinHandle::join);
    }
}
