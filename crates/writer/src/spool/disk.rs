use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::file::{self, Lock};
use super::header::SCHEMA_VERSION;
use super::pack::{self, Pack};
use super::state::State;
use super::store::{Log, Store, Totals};
use super::{Change, DeadLetter, SpoolError, SpoolErrorKind, sinks};
use crate::{Item, Position, Row, StartFrom};

/// A read ends after so many bytes of lines.
const READ_BYTES: usize = 1 << 20;
/// A transaction deletes the packs of about so many records.
const DELETE_RECORDS: i64 = 16_384;

/// SQLite's page. What is written is long (packs, the log of the state, all of the state): with pages of 4 KB it takes half as
/// long again, for each is written twice, by calls of its own. A larger one makes positions dear.
pub(super) const PAGE: u64 = 16 << 10;
/// The log goes into the file when it is a quarter of the limit, within these bounds: the more is in it, the more pages
/// that many commits have changed are written once.
const MIN_LOG: u64 = 1 << 20;
const MAX_LOG: u64 = 32 << 20;

/// A spool in an SQLite file. A commit writes its log but does not wait for the disk; who needs that waits afterwards.
pub(super) struct Disk {
    db: Connection,
    object: Arc<str>,
    limit: u64,
    totals: Totals,
    state: State,
    pack: Pack,
    log: Log,
    _lock: Lock,
}

impl Disk {
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, SpoolError> {
        let object: Arc<str> = path.display().to_string().into();
        let (path, lock) = file::claim(path)?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let failed = |e| failure(&object, e);
        let db = Connection::open_with_flags(&path, flags).map_err(failed)?;
        // Until it is known to be ours, closing it is not to change it. Its header may say an older version than its log.
        let version = db
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_| db.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)))
            .map_err(failed)?;
        if version != SCHEMA_VERSION {
            return Err(SpoolError::new(SpoolErrorKind::Newer, &*object).because(format!("schema version {version}")));
        }
        begin(&db, limit).map_err(failed)?;
        let log = file::beside(&path, "-wal");
        let file = File::open(&log).map_err(|e| SpoolError::new(SpoolErrorKind::Io, &*object).because(e))?;
        let log = Log { file: Arc::new(file), path: log.display().to_string().into() };
        let (totals, state) = (totals(&db).map_err(failed)?, State::load(&db, limit).map_err(failed)?);
        Ok(Self { db, object, limit, totals, state, pack: Pack::default(), log, _lock: lock })
    }

    /// A small change, which is made even if the spool is full.
    fn change<T>(&mut self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        let attempt = || {
            let transaction = transaction(&self.db)?;
            let done = work(&transaction)?;
            let totals = totals(&transaction)?;
            transaction.commit()?;
            Ok((done, totals))
        };
        let done = match attempt() {
            // What is in the log may have a place in the file: then the log begins again, in the room that it has.
            Err(e) if is_full(&e) => checkpoint(&self.db, "PASSIVE").and_then(|()| attempt()),
            done => done,
        };
        let (done, totals) = done.map_err(|e| failure(&self.object, e))?;
        self.totals = totals;
        Ok(done)
    }

    /// Makes all of a change, with the log of the state or without; `false` if that would pass the limit.
    fn attempt(&mut self, change: &Change, merge: bool) -> Result<bool, SpoolError> {
        let mut attempt = || {
            let transaction = transaction(&self.db)?;
            append(&transaction, self.totals.head, &change.records, &mut self.pack)?;
            match merge {
                true => self.state.merge(&transaction, &change.state)?,
                false => self.state.append(&transaction, &change.state)?,
            }
            let totals = totals(&transaction)?;
            if totals.bytes > self.limit && totals.bytes > self.totals.bytes {
                return Ok(false);
            }
            transaction.commit()?;
            self.totals = totals;
            Ok(true)
        };
        let done = attempt().map_err(|e| failure(&self.object, e))?;
        match merge {
            true if done => self.state.merged(),
            false if done => self.state.appended(&change.state),
            _ => {}
        }
        Ok(done)
    }

    fn query<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        work(&self.db).map_err(|e| failure(&self.object, e))
    }

    fn error(&self, kind: SpoolErrorKind) -> SpoolError {
        SpoolError::new(kind, &*self.object)
    }
}

/// Makes the connection fit for writing.
fn begin(db: &Connection, limit: u64) -> rusqlite::Result<()> {
    db.busy_timeout(Duration::from_secs(10))?;
    db.set_prepared_statement_cache_capacity(32);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -2048)?;
    let log = (limit / 4).clamp(MIN_LOG, MAX_LOG);
    db.pragma_update(None, "wal_autocheckpoint", log / PAGE)?;
    // After a change that was larger.
    db.pragma_update(None, "journal_size_limit", log)?;
    // An earlier process may have left in its log what the disk failed to take: in the file it is written anew.
    match checkpoint(db, "TRUNCATE") {
        Err(e) if !is_full(&e) => Err(e),
        _ => Ok(()),
    }
}

fn transaction(db: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(db, TransactionBehavior::Immediate)
}

fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<()> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

fn totals(db: &Connection) -> rusqlite::Result<Totals> {
    let pragma = |sql| db.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
    let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
    let sql = "SELECT (SELECT max(last) FROM records), (SELECT min(seq) FROM sinks),
      (SELECT last - length(heads) / 20 FROM records ORDER BY last LIMIT 1)";
    db.prepare_cached(sql)?.query_row([], |row| {
        let (head, tail) = (row.get::<_, Option<_>>(0)?.unwrap_or(0), row.get::<_, Option<_>>(2)?.unwrap_or(0));
        let slowest = row.get::<_, Option<_>>(1)?.unwrap_or(tail);
        Ok(Totals { head, tail, slowest, bytes: pages * PAGE })
    })
}

fn append(db: &Connection, mut last: u64, mut records: &[Item], pack: &mut Pack) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
    while !records.is_empty() {
        let count = pack.fill(records).ok_or_else(|| {
            let code = ffi::Error { code: ErrorCode::TooBig, extended_code: ffi::SQLITE_TOOBIG };
            rusqlite::Error::SqliteFailure(code, None)
        })?;
        last += count as u64;
        records = &records[count..];
        insert.execute((last, &pack.heads, &pack.lines))?;
    }
    Ok(())
}

/// Deletes some of the packs that every sink has got; whether there are more. The newest stays: it says where to go on.
fn delete_delivered(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT (SELECT min(last) FROM records), (SELECT max(last) FROM records), (SELECT min(seq) FROM sinks)";
    let ends: (Option<i64>, Option<i64>, Option<i64>) =
        db.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (Some(oldest), Some(newest), Some(slowest)) = ends else { return Ok(false) };
    let end = slowest.min(newest - 1);
    let upto = end.min(oldest + DELETE_RECORDS);
    db.prepare_cached("DELETE FROM records WHERE last <= ?1")?.execute([upto])?;
    Ok(upto < end)
}

impl Store for Disk {
    fn write(&mut self, change: &Change) -> Result<(), SpoolError> {
        let lines: usize = change.records.iter().map(|item| item.line.len()).sum();
        let values: usize = change.state.iter().filter_map(|change| change.value.as_ref().map(Vec::len)).sum();
        if (lines + values) as u64 > self.limit {
            return Err(self.error(SpoolErrorKind::TooLarge));
        }
        if lines > 0 && self.totals.bytes.saturating_add(lines as u64) > self.limit {
            return Err(self.error(SpoolErrorKind::Full));
        }
        // A log that has no room any more may have some as a part of the table.
        let appended = self.state.fits(&change.state) && self.attempt(change, false)?;
        if appended || self.attempt(change, true)? { Ok(()) } else { Err(self.error(SpoolErrorKind::Full)) }
    }

    fn state(&self, space: u32, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), SpoolError> {
        self.query(|db| self.state.each(db, space, each))
    }

    fn get(&self, space: u32, slot: u32) -> Result<Option<Vec<u8>>, SpoolError> {
        self.query(|db| self.state.get(db, space, slot))
    }

    fn register(&mut self, sink: &str, start: StartFrom) -> Result<(), SpoolError> {
        if self.query(|db| sinks::position(db, sink))?.is_some() {
            return Ok(());
        }
        let seq = self.totals.start(start);
        self.change(|db| sinks::register(db, sink, seq))
    }

    fn position(&self, sink: &str) -> Result<Position, SpoolError> {
        self.query(|db| sinks::position(db, sink))?.ok_or_else(|| SpoolError::forgotten(sink))
    }

    fn read(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<Row>, SpoolError> {
        self.query(|db| {
            let sql = "SELECT last, heads, lines FROM records WHERE last > ?1 ORDER BY last";
            let mut statement = db.prepare_cached(sql)?;
            let (mut packs, mut rows, mut bytes) = (statement.query([after])?, Vec::new(), 0);
            while let Some(row) = packs.next()? {
                let (last, heads): (u64, _) = (row.get(0)?, row.get_ref(1)?.as_blob()?);
                let lines = row.get_ref(2)?.as_blob()?;
                let items = pack::unpack(heads, lines).ok_or_else(|| {
                    let why = format!("the records up to {last} are not as they were written");
                    rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, why.into())
                })?;
                bytes += lines.len();
                let seqs = (last + 1).saturating_sub(items.len() as u64)..;
                let wanted = seqs.zip(items).skip_while(|(seq, _)| *seq <= after).take_while(|(seq, _)| *seq <= upto);
                let room = limit - rows.len();
                rows.extend(wanted.take(room).map(|(seq, item)| Row { seq, items: vec![item] }));
                if rows.len() == limit || last >= upto || bytes >= READ_BYTES {
                    break;
                }
            }
            Ok(rows)
        })
    }

    fn freeze(&mut self, sink: &str, last: u64) -> Result<(), SpoolError> {
        self.change(|db| sinks::freeze(db, sink, last))?.then_some(()).ok_or_else(|| SpoolError::forgotten(sink))
    }

    fn commit(&mut self, sink: &str, position: &Position) -> Result<bool, SpoolError> {
        let more = self.change(|db| match sinks::commit(db, sink, position)? {
            true => delete_delivered(db).map(Some),
            false => Ok(None),
        })?;
        more.ok_or_else(|| SpoolError::forgotten(sink))
    }

    fn dead_letter(&mut self, sink: &str, seq: u64, item: &Item, reason: &str) -> Result<(), SpoolError> {
        self.change(|db| sinks::put_dead_letter(db, sink, seq, item, reason))
    }

    fn prune(&mut self) -> Result<bool, SpoolError> {
        self.change(delete_delivered)
    }

    fn sinks(&self) -> Result<Vec<(String, Position)>, SpoolError> {
        self.query(sinks::all)
    }

    fn forget_sink(&mut self, name: &str) -> Result<bool, SpoolError> {
        self.change(|db| sinks::forget(db, name))
    }

    fn dead_letters(&self, sink: &str) -> Result<Vec<DeadLetter>, SpoolError> {
        self.query(|db| sinks::dead_letters(db, sink))
    }

    fn discard_dead_letters(&mut self, sink: &str, upto: u64) -> Result<u64, SpoolError> {
        self.change(|db| sinks::discard_dead_letters(db, sink, upto))
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn log(&self) -> Option<Log> {
        Some(self.log.clone())
    }
}

fn is_full(e: &rusqlite::Error) -> bool {
    let extended = e.sqlite_error().map(|e| e.extended_code);
    e.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// What SQLite's error means for a spool.
pub(super) fn failure(object: &str, e: rusqlite::Error) -> SpoolError {
    let extended = e.sqlite_error().map(|e| e.extended_code);
    let kind = match e.sqlite_error_code() {
        _ if is_full(&e) => SpoolErrorKind::Full,
        // Whatever was committed since the last success may not be durable, and trying again would not tell.
        _ if matches!(extended, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) => SpoolErrorKind::Damaged,
        Some(ErrorCode::TooBig) => SpoolErrorKind::TooLarge,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SpoolErrorKind::Locked,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SpoolErrorKind::Damaged,
        // What is to be written does not fit what is there, and never will.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown) | None => {
            SpoolErrorKind::Damaged
        }
        Some(_) => SpoolErrorKind::Io,
    };
    SpoolError::new(kind, object).because(e)
}
