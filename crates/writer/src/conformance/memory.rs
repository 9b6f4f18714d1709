use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use podtrail_event::EventId;
use tokio::sync::Notify;

use crate::{Item, Position, Row, Source, SourceError};

/// A [`Source`] in memory, for tests: clones share what is stored, so a clone is what a restarted process would find.
///
/// It grows with what is pushed; nothing is pruned.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    stored: Arc<Mutex<Stored>>,
    grown: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Stored {
    rows: Vec<Row>,
    position: Position,
    dead: BTreeMap<(u64, EventId), (Item, String)>,
}

impl MemorySource {
    /// An empty source with a sink at its start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row, and returns its sequence number.
    pub fn push(&self, items: Vec<Item>) -> u64 {
        let mut stored = self.stored();
        let seq = stored.rows.last().map_or(0, |row| row.seq) + 1;
        stored.rows.push(Row { seq, items });
        drop(stored);
        self.grown.notify_waiters();
        seq
    }

    /// Replaces the stored position, as when a sink starts elsewhere or an earlier process left it.
    pub fn set_position(&self, position: Position) {
        self.stored().position = position;
    }

    /// The stored position.
    pub fn stored_position(&self) -> Position {
        self.stored().position.clone()
    }

    /// The records that were set aside, with their sequence numbers and reasons.
    pub fn dead_letters(&self) -> Vec<(u64, Item, String)> {
        let stored = self.stored();
        stored.dead.iter().map(|((seq, _), (item, reason))| (*seq, item.clone(), reason.clone())).collect()
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        // Every change is a single assignment, so a panic elsewhere leaves nothing half done.
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn position(&mut self) -> Result<Position, SourceError> {
        Ok(self.stored_position())
    }

    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        let stored = self.stored();
        let wanted = stored.rows.iter().filter(|row| row.seq > after && upto.is_none_or(|upto| row.seq <= upto));
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        self.stored().position.frozen = Some(last);
        Ok(())
    }

    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        self.stored().position = position;
        Ok(())
    }

    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        self.stored().dead.insert((seq, item.id), (item.clone(), reason.to_owned()));
        Ok(())
    }

    async fn changed(&mut self, after: u64) -> Result<(), SourceError> {
        loop {
            let grown = self.grown.notified();
            if self.head_now() > after {
                return Ok(());
            }
            grown.await;
        }
    }

    async fn head(&mut self) -> Result<u64, SourceError> {
        Ok(self.head_now())
    }
}

impl MemorySource {
    fn head_now(&self) -> u64 {
        self.stored().rows.last().map_or(0, |row| row.seq)
    }
}
