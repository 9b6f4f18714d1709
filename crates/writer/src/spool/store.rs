use std::fs::File;
use std::sync::Arc;

use podtrail_event::EventId;

use super::{Change, DeadLetter, SpoolError, SpoolErrorKind};
use crate::{Item, Position, Row, StartFrom};

/// What keeps a spool's records: a file, or memory.
pub(super) trait Store: Send {
    fn write(&mut self, change: &Change) -> Result<(), SpoolError>;
    fn state(&self, space: u32, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), SpoolError>;
    fn get(&self, space: u32, slot: u32) -> Result<Option<Vec<u8>>, SpoolError>;

    /// Makes the sink known, if it is not yet.
    fn register(&mut self, sink: &str, start: StartFrom) -> Result<(), SpoolError>;
    fn position(&self, sink: &str) -> Result<Position, SpoolError>;
    fn read(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<Row>, SpoolError>;
    fn freeze(&mut self, sink: &str, last: u64) -> Result<(), SpoolError>;
    /// Also deletes some of what every sink has got then; whether there is more.
    fn commit(&mut self, sink: &str, position: &Position) -> Result<bool, SpoolError>;
    fn dead_letter(&mut self, sink: &str, seq: u64, item: &Item, reason: &str) -> Result<(), SpoolError>;
    /// Deletes some of what every sink has got; whether there is more.
    fn prune(&mut self) -> Result<bool, SpoolError>;

    fn sinks(&self) -> Result<Vec<(String, Position)>, SpoolError>;
    fn forget_sink(&mut self, name: &str) -> Result<bool, SpoolError>;
    fn dead_letters(&self, sink: &str) -> Result<Vec<DeadLetter>, SpoolError>;
    fn discard_dead_letters(&mut self, sink: &str, upto: u64) -> Result<u64, SpoolError>;

    fn totals(&self) -> Totals;
    /// Where what is not yet durable is, if that can be.
    fn log(&self) -> Option<Log>;
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The newest sequence number.
    pub(super) head: u64,
    /// The number before the oldest record.
    pub(super) tail: u64,
    /// What the slowest sink has got; without sinks, `tail`.
    pub(super) slowest: u64,
    /// Bytes in use.
    pub(super) bytes: u64,
}

impl Totals {
    /// Where a new sink starts.
    pub(super) fn start(&self, start: StartFrom) -> u64 {
        match start {
            StartFrom::Start => self.tail,
            StartFrom::Now => self.head,
        }
    }
}

/// SQLite's log: what was committed is in it, or already durable in the file that it belongs to.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) file: Arc<File>,
    pub(super) path: Arc<str>,
}

impl Log {
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        // After a failure the kernel may take for written what is not: trying again would prove nothing.
        self.file.sync_data().map_err(|e| SpoolError::new(SpoolErrorKind::Damaged, &*self.path).because(e))
    }
}

/// The identity of a record in a sink's dead letters.
pub(super) type Dead = (u64, EventId);
