//! A store between whoever makes records and the outboxes that deliver them.

mod disk;
mod error;
mod feed;
mod file;
mod header;
mod memory;
mod pack;
mod sinks;
mod state;
mod store;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Item, Position, StartFrom};
use disk::Disk;
pub use error::{SpoolError, SpoolErrorKind};
pub use feed::Feed;
use memory::Memory;
use store::{Store, Totals};

/// Records on their way to sinks, and what their maker must know to go on, changed together or not at all.
///
/// Clones are handles on the same store. What [`write`](Self::write) has returned for survives `kill -9`; it survives
/// power loss once it is on its way to a sink, or after [`sync`](Self::sync). After a power loss all that was written
/// up to some instant is there, and nothing of what came later: no sink has a record that the spool does not know.
///
/// Records that every sink has got are deleted and their room is used again; while there is no sink, all are kept.
///
/// Calls may wait for a disk: keep them off an async runtime's threads, save [`backlog`](Self::backlog).
///
#[cfg_attr(feature = "stdout", doc = "```")]
#[cfg_attr(not(feature = "stdout"), doc = "```ignore")]
/// use podtrail_writer::{Change, OutboxConfig, Spool, StartFrom, StateChange, run, stdout};
/// # use podtrail_event::EventId;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("spool.db");
/// let spool = Spool::open(&path, 64 << 20)?;
/// let feed = spool.feed("stdout", StartFrom::Start)?;
///
/// let mut change = Change::default();
/// let item = podtrail_writer::Item { id: EventId::derive(&[b"1"]), line: r#"{"n":1}"#.into() };
/// change.records.push(item);
/// change.state.push(StateChange { space: 0, slot: 7, value: Some(b"up to 1".to_vec()) });
/// spool.write(&change)?;
///
/// let shutdown = std::future::ready(()); // after what there is
/// run(feed, stdout(), OutboxConfig::default(), &(), shutdown).await?;
/// assert_eq!(spool.backlog().records, 0);
/// assert_eq!(spool.get(0, 7)?.as_deref(), Some(&b"up to 1"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

/// What [`Spool::write`] changes. Made to be used again: [`clear`](Self::clear) keeps its room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its maker builds it literally")]
pub struct Change {
    /// Records to append, in order; each gets the next sequence number.
    pub records: Vec<Item>,
    /// Changes of the maker's own state; of several to one slot the last holds.
    pub state: Vec<StateChange>,
}

/// One value of a record maker's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its maker builds it literally")]
pub struct StateChange {
    /// What kind of value it is, as its maker numbers them.
    pub space: u32,
    /// Which one of its kind; values whose numbers are near each other are stored near each other.
    pub slot: u32,
    /// The new value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Empties it, to be filled again.
    pub fn clear(&mut self) {
        self.records.clear();
        self.state.clear();
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.state.is_empty()
    }
}

/// How much a spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Records that some sink has not got; all that are kept, while there is no sink.
    pub records: u64,
    /// Bytes in use, which the spool's limit is for: records (for a while those too that all sinks have got), state,
    /// dead letters. The file may be larger by what is free to be used again, and SQLite's log is beside it.
    pub bytes: u64,
}

/// A record that a sink refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The record's sequence number.
    pub seq: u64,
    /// The record.
    pub item: Item,
    /// Why it was refused.
    pub reason: String,
}

impl Spool {
    /// Opens the spool in this file, which may hold `limit` bytes; makes it if there is none, for its owner's eyes only.
    ///
    /// While it is open it has one owner, and beside it are `PATH.lock` and SQLite's `PATH-wal` and `PATH-shm`: its log, a
    /// quarter of `limit` long (1 to 32 MiB; for a while longer after a change that was) and not counted by it.
    ///
    /// # Errors
    /// If the file is no spool, is newer, damaged or in use, or cannot be made. It is then left as it was.
    pub fn open(path: impl AsRef<Path>, limit: u64) -> Result<Self, SpoolError> {
        Ok(Self::new(Box::new(Disk::open(path.as_ref(), limit)?), true))
    }

    /// A spool without a file, which may hold `limit` bytes of records and forgets everything with its last handle.
    /// Changes of state are ignored: there is nobody to go on from it.
    pub fn in_memory(limit: u64) -> Self {
        Self::new(Box::new(Memory::new(limit)), false)
    }

    fn new(store: Box<dyn Store>, blocks: bool) -> Self {
        let totals = watch::Sender::new(store.totals());
        Self { shared: Arc::new(Shared { store: Mutex::new(store), totals, blocks }) }
    }

    /// Makes all of a change or, after an error, nothing of it. Returns the newest record's sequence number.
    ///
    /// # Errors
    /// [`SpoolErrorKind::Full`] if it would pass the limit, or the disk is full; or if it cannot be written.
    pub fn write(&self, change: &Change) -> Result<u64, SpoolError> {
        self.shared.with(|store| store.write(change))?;
        Ok(self.shared.totals.borrow().head)
    }

    /// Shows each value of a space, in order of slots. The spool waits meanwhile: `each` must not use it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn state(&self, space: u32, mut each: impl FnMut(u32, &[u8])) -> Result<(), SpoolError> {
        self.shared.with(|store| store.state(space, &mut each))
    }

    /// One value of the state, if it is there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, space: u32, slot: u32) -> Result<Option<Vec<u8>>, SpoolError> {
        self.shared.with(|store| store.get(space, slot))
    }

    /// The source for the outbox of a sink; one at a time for each. From here on what this sink has not got is kept,
    /// until it is [forgotten](Self::forget_sink): for a new one, from `start` on.
    ///
    /// # Errors
    /// If a new sink cannot be stored.
    pub fn feed(&self, sink: &str, start: StartFrom) -> Result<Feed, SpoolError> {
        self.shared.with(|store| store.register(sink, start))?;
        Ok(Feed::new(self.shared.clone(), sink))
    }

    /// All sinks that the spool keeps records for, by name, and how far they have got.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn sinks(&self) -> Result<Vec<(String, Position)>, SpoolError> {
        self.shared.with(|store| store.sinks())
    }

    /// Forgets how far a sink has got: nothing is kept for it any more. Should it come back, it is new. Whether it was
    /// known. What it refused stays. An outbox that still runs for it gives up.
    ///
    /// # Errors
    /// If the spool cannot be changed.
    pub fn forget_sink(&self, name: &str) -> Result<bool, SpoolError> {
        let known = self.shared.with(|store| store.forget_sink(name))?;
        self.shared.prune()?;
        Ok(known)
    }

    /// What a sink refused, in order; kept until it is [discarded](Self::discard_dead_letters).
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn dead_letters(&self, sink: &str) -> Result<Vec<DeadLetter>, SpoolError> {
        self.shared.with(|store| store.dead_letters(sink))
    }

    /// Discards what a sink refused, up to a sequence number. Returns how many there were.
    ///
    /// # Errors
    /// If the spool cannot be changed.
    pub fn discard_dead_letters(&self, sink: &str, upto: u64) -> Result<u64, SpoolError> {
        self.shared.with(|store| store.discard_dead_letters(sink, upto))
    }

    /// How much there is; never waits.
    pub fn backlog(&self) -> Backlog {
        let totals = *self.shared.totals.borrow();
        Backlog { records: totals.head.saturating_sub(totals.slowest), bytes: totals.bytes }
    }

    /// Returns when everything that was written before survives power loss.
    ///
    /// # Errors
    /// If the disk does not say so.
    pub fn sync(&self) -> Result<(), SpoolError> {
        self.shared.sync()
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("backlog", &self.backlog()).finish_non_exhaustive()
    }
}

/// What all handles and feeds of a spool share.
struct Shared {
    store: Mutex<Box<dyn Store>>,
    /// As of the last change; who watches it is woken by new records only.
    totals: watch::Sender<Totals>,
    /// Whether calls may wait for a disk.
    blocks: bool,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut dyn Store) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        let mut store = self.lock();
        let done = work(&mut **store);
        self.totals.send_if_modified(|totals| {
            let before = std::mem::replace(totals, store.totals());
            before.head < totals.head
        });
        done
    }

    /// Deletes what every sink has got, in steps, so that a writer need not wait for all of it.
    fn prune(&self) -> Result<(), SpoolError> {
        while self.with(|store| store.prune())? {}
        Ok(())
    }

    /// Makes what was written so far durable, while others write on.
    fn sync(&self) -> Result<(), SpoolError> {
        let log = self.lock().log();
        log.map_or(Ok(()), |log| log.sync())
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Store>> {
        // A transaction that a panic interrupts is rolled back; in memory each change is made in one go.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
