use rusqlite::{Connection, OptionalExtension};

use super::store::Store;
use crate::Error;

/// How far a sink has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by outboxes")]
pub struct SinkPosition {
    /// All evidence up to this number is delivered.
    pub seq: u64,
    /// The writer's own token of where that is.
    pub resume: Option<String>,
    /// A batch that ends with this evidence was in flight.
    pub frozen: Option<u64>,
}

/// A record that a sink refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by outboxes")]
pub struct DeadLetter {
    /// The sink.
    pub sink: String,
    /// Number of the evidence that the record is from.
    pub seq: u64,
    /// The record's id.
    pub id: String,
    /// Why it was refused.
    pub reason: String,
    /// The record as it was to be delivered.
    pub line: String,
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn put_position(db: &Connection, sink: &str, position: &SinkPosition) -> rusqlite::Result<()> {
    let values = (sink, number(position.seq), &position.resume, position.frozen.map(number));
    db.prepare_cached("INSERT OR REPLACE INTO sinks VALUES (?1, ?2, ?3, ?4)")?.execute(values).map(drop)
}

pub(super) fn put_dead_letter(db: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    let values = (&letter.sink, number(letter.seq), &letter.id, &letter.reason, &letter.line);
    db.prepare_cached("INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(values).map(drop)
}

impl Store {
    /// How far the sink has got; `None` if it is new.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn position(&self, sink: &str) -> Result<Option<SinkPosition>, Error> {
        let read = || {
            self.db
                .prepare_cached("SELECT seq, resume, frozen FROM sinks WHERE name = ?1")?
                .query_row([sink], |row| {
                    let back = |n: i64| u64::try_from(n).unwrap_or_default();
                    let frozen: Option<i64> = row.get(2)?;
                    Ok(SinkPosition { seq: back(row.get(0)?), resume: row.get(1)?, frozen: frozen.map(back) })
                })
                .optional()
        };
        read().map_err(|e| self.failure(e))
    }

    /// The oldest evidence that is kept has the number after this.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn anchor(&self) -> Result<u64, Error> {
        let read = || self.db.query_row("SELECT seq FROM anchor", [], |row| row.get::<_, i64>(0));
        read().map(|n| u64::try_from(n).unwrap_or_default()).map_err(|e| self.failure(e))
    }
}
