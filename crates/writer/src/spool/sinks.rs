//! Sinks' positions and dead letters in the file.

use bytes::Bytes;
use podtrail_event::EventId;
use rusqlite::{Connection, OptionalExtension as _};

use super::DeadLetter;
use crate::{Item, Position};

/// Columns of `sinks` as [`read`] takes them.
const POSITION: &str = "seq, resume, frozen, name";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { seq: row.get(0)?, resume: row.get(1)?, frozen: row.get(2)? })
}

pub(super) fn position(db: &Connection, sink: &str) -> rusqlite::Result<Option<Position>> {
    db.prepare_cached(&format!("SELECT {POSITION} FROM sinks WHERE name = ?1"))?.query_row([sink], read).optional()
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<(String, Position)>> {
    let mut statement = db.prepare(&format!("SELECT {POSITION} FROM sinks ORDER BY name"))?;
    statement.query_map([], |row| Ok((row.get("name")?, read(row)?)))?.collect()
}

pub(super) fn register(db: &Connection, sink: &str, seq: u64) -> rusqlite::Result<()> {
    db.execute("INSERT INTO sinks VALUES (?1, ?2, NULL, NULL)", (sink, seq)).map(drop)
}

/// Whether the sink is known.
pub(super) fn freeze(db: &Connection, sink: &str, last: u64) -> rusqlite::Result<bool> {
    let rows = db.prepare_cached("UPDATE sinks SET frozen = ?2 WHERE name = ?1")?.execute((sink, last))?;
    Ok(rows > 0)
}

/// Whether the sink is known.
pub(super) fn commit(db: &Connection, sink: &str, position: &Position) -> rusqlite::Result<bool> {
    let values = (sink, position.seq, &position.resume, position.frozen);
    let sql = "UPDATE sinks SET seq = ?2, resume = ?3, frozen = ?4 WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.execute(values)? > 0)
}

/// Whether the sink was known.
pub(super) fn forget(db: &Connection, sink: &str) -> rusqlite::Result<bool> {
    Ok(db.execute("DELETE FROM sinks WHERE name = ?1", [sink])? > 0)
}

pub(super) fn put_dead_letter(
    db: &Connection,
    sink: &str,
    seq: u64,
    item: &Item,
    reason: &str,
) -> rusqlite::Result<()> {
    let values = (sink, seq, item.id.as_bytes(), reason, &item.line[..]);
    db.prepare_cached("INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(values).map(drop)
}

pub(super) fn dead_letters(db: &Connection, sink: &str) -> rusqlite::Result<Vec<DeadLetter>> {
    let letter = |row: &rusqlite::Row<'_>| {
        let (id, line) = (EventId::from_bytes(row.get(1)?), Bytes::from(row.get::<_, Vec<u8>>(3)?));
        Ok(DeadLetter { seq: row.get(0)?, item: Item { id, line }, reason: row.get(2)? })
    };
    let sql = "SELECT seq, id, reason, line FROM dead_letters WHERE sink = ?1 ORDER BY seq, id";
    db.prepare(sql)?.query_map([sink], letter)?.collect()
}

pub(super) fn discard_dead_letters(db: &Connection, sink: &str, upto: u64) -> rusqlite::Result<u64> {
    let upto = i64::try_from(upto).unwrap_or(i64::MAX);
    let rows = db.execute("DELETE FROM dead_letters WHERE sink = ?1 AND seq <= ?2", (sink, upto))?;
    Ok(rows as u64)
}
