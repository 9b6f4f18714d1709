//! Lines to a file, exactly once.
//!
//! `core` delivers and rotates, `standing` finds out after a restart how much of a batch the file already holds,
//! `parts` names, packs and removes closed parts. All three are synchronous; this file is their asynchronous shell.

mod core;
mod disk;
mod parts;
mod standing;
#[cfg(test)]
mod tests;
mod token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use podtrail_event::Timestamp;
use tokio::task::spawn_blocking;

use self::core::Core;
use crate::{Batch, Committed, Error, FileConfig, Writer};

/// Lines to a file, exactly once, with rotation and gzip of closed parts. Needs a tokio runtime.
///
/// The resume token holds the file's device, inode and length. After a restart, whole lines beyond that length are
/// compared with the batch and skipped, and a torn last line is cut. Lines there that are not the batch's are
/// somebody else's: that is an error, for the writer must be the file's only one.
///
/// **Rotation** happens between batches only, by size and by age of the file's first batch. The file is renamed to
/// `PATH.20261121T101112.123456789Z`, a new one is started, and once a batch in that is committed, the closed part is
/// packed to `….gz` during a delivery. Each step can be interrupted and is finished at the next start: if a part and
/// its `.gz` both exist, the `.gz` is whole; a `.gz.tmp` never counts. The parts in order of their names, and then
/// the file itself, are the stream.
///
/// **Rotation by others** that rename the file is noticed at the next batch. If it falls together with a crash in the
/// middle of a batch, the renamed file is found by its inode, whatever its name, unless it was packed already or moved
/// to another folder. Truncating a file in place (`copytruncate`) loses what a batch in flight wrote to it, and is not
/// for data that matters.
///
/// A full or failing disk is a retry, and so are folders and permissions that go missing; only at the start they are
/// fatal. New files have mode 0640. A file that exists when a sink is new is kept and appended to.
#[derive(Debug)]
pub struct File {
    core: Arc<Mutex<Core>>,
    handle: FileHandle,
    object: String,
}

/// Asks a [`File`] for things from elsewhere, such as a signal handler.
#[derive(Clone, Debug, Default)]
pub struct FileHandle {
    reopen: Arc<AtomicBool>,
}

impl FileHandle {
    /// Makes the next delivery close the file and open its path again, as programs do on SIGHUP.
    ///
    /// A rename is noticed without it; this is for those who expect the signal to be obeyed.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }
}

impl File {
    /// Prepares to write a file, and finishes what an interrupted rotation left. Does not create the file; that is
    /// left to the first batch.
    ///
    /// # Errors
    /// If the folder is missing or cannot be read, or the path is something else than a regular file.
    pub fn new(config: FileConfig) -> Result<Self, Error> {
        let object = format!("file {}", config.path.display());
        Ok(Self { core: Arc::new(Mutex::new(Core::new(config)?)), handle: FileHandle::default(), object })
    }

    /// A handle on this file, cheap to clone.
    pub fn handle(&self) -> FileHandle {
        self.handle.clone()
    }
}

#[async_trait]
impl Writer for File {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        let resume = batch.resume.map(str::to_owned);
        if batch.items.is_empty() {
            return Ok(Committed { resume });
        }
        let (core, reopen, text) = (Arc::clone(&self.core), Arc::clone(&self.handle.reopen), batch.to_text());
        let delivery = spawn_blocking(move || {
            // A panic left no open file behind: the next delivery finds out where things stand.
            let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
            if reopen.swap(false, Ordering::Relaxed) {
                core.close();
            }
            core.deliver(&text, resume.as_deref(), Timestamp::from(SystemTime::now()))
        });
        match delivery.await {
            Ok(token) => token.map(|token| Committed { resume: Some(token) }),
            Err(error) => Err(Error::fatal(&self.object, error)),
        }
    }
}
