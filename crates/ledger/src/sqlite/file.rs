//! The file as such: what it is, a new one, an older one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use podtrail_event::Cluster;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::header::{APPLICATION_ID, Header, LENGTH, SCHEMA_VERSION};
use super::{chain, schema};
use crate::{Error, ErrorKind};

/// Refuses what is no ledger, or a newer one, before SQLite touches it.
pub(super) fn check_header(path: &Path) -> Result<(), Error> {
    let object = path.display().to_string();
    let kind = |e: &std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::Missing,
        _ => ErrorKind::Io,
    };
    let mut bytes = Vec::with_capacity(LENGTH);
    File::open(path)
        .and_then(|file| file.take(LENGTH as u64).read_to_end(&mut bytes))
        .map_err(|e| Error::new(kind(&e), &*object).because(e))?;
    match Header::read(&bytes) {
        Header::Ledger(_) => Ok(()),
        Header::Newer(version) => {
            Err(Error::new(ErrorKind::Newer, object).because(format!("schema version {version}")))
        }
        Header::Foreign => {
            let why = if bytes.is_empty() { "it is empty" } else { "it does not begin as a ledger does" };
            Err(Error::new(ErrorKind::NotALedger, object).because(why))
        }
    }
}

/// Makes a ledger beside its place and moves it there, so that no half-made one is ever found.
pub(super) fn create(path: &Path, cluster: &Cluster) -> Result<(), Error> {
    let object = path.display().to_string();
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if std::fs::metadata(&wal).is_ok_and(|left| left.len() > 0) {
        // SQLite would take it for a part of the new ledger.
        let left = PathBuf::from(wal).display().to_string();
        return Err(Error::new(ErrorKind::NotALedger, left).because("it is what is left of a ledger that is gone"));
    }
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, &*object).because(e);
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let make = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(&new, flags)?;
        // Twice SQLite's own: evidence is a few hundred bytes a piece, and the log is written by pages.
        db.pragma_update(None, "page_size", 8192)?;
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
        db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        let transaction = db.transaction()?;
        transaction.execute_batch(schema::CREATE)?;
        transaction.execute("INSERT INTO meta VALUES ('cluster-uid', ?1)", [&cluster.uid])?;
        chain::start(&transaction, &cluster.uid)?;
        transaction.commit()?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.close().map_err(|(_, e)| e)
    };
    make().map_err(|e| Error::new(ErrorKind::Io, &*object).because(e))?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// The version of the ledger's schema. The file's header may say an older one, while a newer is in the WAL.
pub(super) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a ledger of an older release to this release's schema: all of it, or nothing.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    if from == SCHEMA_VERSION {
        return Ok(());
    }
    for (before, upgrade) in (1..).zip(schema::UPGRADES) {
        if before >= from {
            transaction.execute_batch(upgrade)?;
        }
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    // An older release reads the header, which is still in the WAL. A reader may hold that up; then it goes there later.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
