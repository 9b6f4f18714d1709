//! The state in the file: a table by key, and a log of what has changed since that was last brought up to date.
//!
//! Values that change are anywhere in the table, each on a page of its own; in the log they are side by side, and a change
//! of 500 costs five pages instead of 500. When the log is long, all that is in it goes into the table in order, and a
//! page that has many of them is written once.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _};

use super::StateChange;

/// The log goes into the table when it would have so many bytes: they are in memory, too.
const LONGEST: u64 = 2 << 20;
/// What an entry takes in memory beside its value.
const ENTRY: usize = 64;
/// In the log, the length of a value that was removed.
const REMOVED: u32 = u32::MAX;

type Value = Option<Box<[u8]>>;

/// What is in the log.
#[derive(Debug)]
pub(super) struct State {
    log: BTreeMap<i64, Value>,
    /// What was added to it, what is in it twice included.
    bytes: u64,
    longest: u64,
    body: Vec<u8>,
}

impl State {
    /// Reads the log of a spool with this limit, which is to be a small part of it.
    pub(super) fn load(db: &Connection, limit: u64) -> rusqlite::Result<Self> {
        let mut state = Self { log: BTreeMap::new(), bytes: 0, longest: (limit / 32).min(LONGEST), body: Vec::new() };
        let mut statement = db.prepare("SELECT body FROM changes ORDER BY n")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut rest = row.get_ref(0)?.as_blob()?;
            while !rest.is_empty() {
                let (key, value) = read(&mut rest).ok_or_else(|| {
                    let why = "a change of the state is not as it was written";
                    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, why.into())
                })?;
                state.bytes += weight(value);
                state.log.insert(key, value.map(Into::into));
            }
        }
        Ok(state)
    }

    /// Whether the log has room for these.
    pub(super) fn fits(&self, changes: &[StateChange]) -> bool {
        let weight: u64 = changes.iter().map(|change| weight(change.value.as_deref())).sum();
        self.bytes + weight <= self.longest
    }

    /// Appends these, which [fit](Self::fits), to the log in the file; [`Self::appended`] when that is committed.
    pub(super) fn append(&mut self, db: &Connection, changes: &[StateChange]) -> rusqlite::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.body.clear();
        for StateChange { space, slot, value } in changes {
            let length = value
                .as_ref()
                .map_or(REMOVED, |value| u32::try_from(value.len()).expect("the log has no room for a value so long"));
            self.body.extend_from_slice(&key(*space, *slot).to_le_bytes());
            self.body.extend_from_slice(&length.to_le_bytes());
            self.body.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        db.prepare_cached("INSERT INTO changes (body) VALUES (?1)")?.execute([&self.body]).map(drop)
    }

    pub(super) fn appended(&mut self, changes: &[StateChange]) {
        for StateChange { space, slot, value } in changes {
            self.bytes += weight(value.as_deref());
            self.log.insert(key(*space, *slot), value.as_deref().map(Into::into));
        }
    }

    /// Puts what is in the log, and then these, into the table; [`Self::merged`] when that is committed.
    pub(super) fn merge(&self, db: &Connection, changes: &[StateChange]) -> rusqlite::Result<()> {
        let new = changes.iter().map(|change| (key(change.space, change.slot), change.value.as_deref()));
        let mut all: Vec<_> = self.log.iter().map(|(key, value)| (*key, value.as_deref())).chain(new).collect();
        // In the order of the table; of several to one key, the last stays last.
        all.sort_by_key(|(key, _)| *key);
        let mut put = db.prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2)")?;
        let mut delete = db.prepare_cached("DELETE FROM state WHERE key = ?1")?;
        for same in all.chunk_by(|one, other| one.0 == other.0) {
            match same.last() {
                Some((key, Some(value))) => put.execute((key, value))?,
                Some((key, None)) => delete.execute([key])?,
                None => 0,
            };
        }
        db.prepare_cached("DELETE FROM changes")?.execute([]).map(drop)
    }

    pub(super) fn merged(&mut self) {
        self.log.clear();
        self.bytes = 0;
    }

    pub(super) fn get(&self, db: &Connection, space: u32, slot: u32) -> rusqlite::Result<Option<Vec<u8>>> {
        let key = key(space, slot);
        match self.log.get(&key) {
            Some(value) => Ok(value.as_deref().map(<[u8]>::to_vec)),
            None => {
                let sql = "SELECT value FROM state WHERE key = ?1";
                db.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()
            }
        }
    }

    /// Shows each value of a space, in order of slots.
    pub(super) fn each(&self, db: &Connection, space: u32, each: &mut dyn FnMut(u32, &[u8])) -> rusqlite::Result<()> {
        let ends = key(space, 0)..=key(space, u32::MAX);
        let mut show = |key: i64, value: Option<&[u8]>| {
            if let Some(value) = value {
                each((key & i64::from(u32::MAX)) as u32, value);
            }
        };
        let mut statement =
            db.prepare_cached("SELECT key, value FROM state WHERE key BETWEEN ?1 AND ?2 ORDER BY key")?;
        let mut rows = statement.query([ends.start(), ends.end()])?;
        let mut log = self.log.range(ends).peekable();
        while let Some(row) = rows.next()? {
            let stored: i64 = row.get(0)?;
            while let Some((key, value)) = log.next_if(|(key, _)| **key < stored) {
                show(*key, value.as_deref());
            }
            match log.next_if(|(key, _)| **key == stored) {
                Some((_, value)) => show(stored, value.as_deref()),
                None => show(stored, Some(row.get_ref(1)?.as_blob()?)),
            }
        }
        log.for_each(|(key, value)| show(*key, value.as_deref()));
        Ok(())
    }
}

fn key(space: u32, slot: u32) -> i64 {
    (u64::from(space) << 32 | u64::from(slot)).cast_signed()
}

fn weight(value: Option<&[u8]>) -> u64 {
    (ENTRY + value.map_or(0, <[u8]>::len)) as u64
}

/// The next change of a row of the log; `None` if it is not as it was written.
fn read<'a>(rest: &mut &'a [u8]) -> Option<(i64, Option<&'a [u8]>)> {
    let (key, after) = rest.split_first_chunk()?;
    let (length, after) = after.split_first_chunk()?;
    let (value, after) = match u32::from_le_bytes(*length) {
        REMOVED => (None, after),
        length => {
            let (value, after) = after.split_at_checked(length as usize)?;
            (Some(value), after)
        }
    };
    *rest = after;
    Some((i64::from_le_bytes(*key), value))
}
