use rusqlite::{Connection, OptionalExtension, Row};

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

/// Columns of `sinks` as [`position`] reads them.
const POSITION: &str = "seq, resume, frozen, name";

fn position(row: &Row<'_>) -> rusqlite::Result<SinkPosition> {
    let frozen: Option<i64> = row.get(2)?;
    Ok(SinkPosition { seq: back(row.get(0)?), resume: row.get(1)?, frozen: frozen.map(back) })
}

fn back(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
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
                .prepare_cached(&format!("SELECT {POSITION} FROM sinks WHERE name = ?1"))?
                .query_row([sink], position)
                .optional()
        };
        read().map_err(|e| self.failure(e))
    }

    /// All sinks that the ledger knows, by name, and how far they have got: what they have not, retention keeps.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn sinks(&self) -> Result<Vec<(String, SinkPosition)>, Error> {
        let read = || {
            let mut statement = self.db.prepare(&format!("SELECT {POSITION} FROM sinks ORDER BY name"))?;
            statement.query_map([], |row| Ok((row.get("name")?, position(row)?)))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| self.failure(e))
    }

    /// Forgets how far a sink has got: nothing is kept for it any more. Should it come back, it is new. What it refused
    /// stays. Whether it was known.
    ///
    /// # Errors
    /// If the ledger cannot be changed.
    pub fn forget_sink(&mut self, name: &str) -> Result<bool, Error> {
        let forgotten = self.db.execute("DELETE FROM sinks WHERE name = ?1", [name]);
        forgotten.map(|rows| rows > 0).map_err(|e| self.failure(e))
    }

    /// What a sink refused, in order; until retention forgets the evidence that it is from.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn dead_letters(&self, sink: &str) -> Result<Vec<DeadLetter>, Error> {
        let read = || {
            let sql = "SELECT sink, seq, id, reason, line FROM dead_letters WHERE sink = ?1 ORDER BY seq, id";
            let letter = |row: &Row<'_>| {
                let (sink, seq) = (row.get(0)?, back(row.get(1)?));
                Ok(DeadLetter { sink, seq, id: row.get(2)?, reason: row.get(3)?, line: row.get(4)? })
            };
            self.db.prepare(sql)?.query_map([sink], letter)?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| self.failure(e))
    }

    /// The oldest evidence that is kept has the number after this.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn anchor(&self) -> Result<u64, Error> {
        let read = || self.db.query_row("SELECT seq FROM anchor", [], |row| row.get::<_, i64>(0));
        read().map(back).map_err(|e| self.failure(e))
    }
}
