use std::error::Error as StdError;

use async_trait::async_trait;

use crate::Item;

/// Where records come from, and where one sink's position among them is kept: a ledger's store, a spool.
///
/// Every method may be called again after a retryable error, and may be cancelled by dropping its future.
#[async_trait]
pub trait Source: Send {
    /// What was last committed or frozen for this sink.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn position(&mut self) -> Result<Position, SourceError>;

    /// Rows with `after < seq`, and `seq <= upto` if given, in order of `seq`; at most `limit` of them, and none only
    /// if there is none. A row none of whose records this sink gets has no items.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError>;

    /// Keeps durably that the batch now in flight ends at `last`: [`Position::frozen`] until the next `commit`.
    ///
    /// # Errors
    /// If the store cannot be written.
    async fn freeze(&mut self, last: u64) -> Result<(), SourceError>;

    /// Keeps the position durably, as a whole.
    ///
    /// # Errors
    /// If the store cannot be written.
    async fn commit(&mut self, position: Position) -> Result<(), SourceError>;

    /// Keeps a record that the backend will never take, durably; the same `(seq, id)` again changes nothing.
    ///
    /// # Errors
    /// If the store cannot be written; that blocks the sink, for a record is never dropped.
    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError>;

    /// Waits until there may be rows after `after`; may return early.
    ///
    /// # Errors
    /// If the store cannot be watched.
    async fn changed(&mut self, after: u64) -> Result<(), SourceError>;

    /// The newest sequence number, 0 if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn head(&mut self) -> Result<u64, SourceError>;
}

/// What one sequence number holds for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "sources build it literally")]
pub struct Row {
    /// The sequence number; they grow, and may have holes.
    pub seq: u64,
    /// The records, possibly none.
    pub items: Vec<Item>,
}

/// How far a sink is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "sources build it literally")]
pub struct Position {
    /// The last sequence number that is delivered; 0 before the first.
    pub seq: u64,
    /// The writer's token for it.
    pub resume: Option<String>,
    /// The last sequence number of a batch that was in flight.
    pub frozen: Option<u64>,
}

/// Why a [`Source`] could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {object}")]
pub struct SourceError {
    object: String,
    retryable: bool,
    source: Box<dyn StdError + Send + Sync>,
}

impl SourceError {
    /// A failure that may pass, such as a locked database or a full disk.
    pub fn retry(object: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { object: object.into(), retryable: true, source: source.into() }
    }

    /// A failure that does not pass by itself.
    pub fn fatal(object: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { object: object.into(), retryable: false, source: source.into() }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}
