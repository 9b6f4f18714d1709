//! The file as such: whose it is, what it is, a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::disk::{PAGE, failure};
use super::header::{APPLICATION_ID, Header, LENGTH, SCHEMA_VERSION};
use super::{SpoolError, SpoolErrorKind};

/// `last` is the last sequence number of a pack, which has them without holes; `key` is 32 bits of the space and 32 of the
/// slot, and `changes` is what is to go into `state`.
const CREATE: &str = "
CREATE TABLE records (last INTEGER PRIMARY KEY, heads BLOB NOT NULL, lines BLOB NOT NULL);
CREATE TABLE state (key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE changes (n INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE sinks (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, resume TEXT, frozen INTEGER) WITHOUT ROWID;
CREATE TABLE dead_letters (
  sink TEXT NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, reason TEXT NOT NULL, line BLOB NOT NULL,
  PRIMARY KEY (sink, seq, id)) WITHOUT ROWID;
";

/// Holds `PATH.lock` while the spool is open.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held while the file is open")] File);

impl Lock {
    /// `None` if there is no lock file, and it is not to be made.
    fn take(spool: &Path, create: bool) -> Result<Option<Self>, SpoolError> {
        let path = beside(spool, ".lock");
        let object = path.display().to_string();
        let mut options = OpenOptions::new();
        options.create(create).truncate(false).write(true).mode(0o600).custom_flags(flags(OFlags::NOFOLLOW));
        let file = match options.open(&path) {
            Err(e) if !create && e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| failed(&object, e))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(e @ Errno::WOULDBLOCK) => {
                Err(SpoolError::new(SpoolErrorKind::Locked, spool.display().to_string()).because(e))
            }
            Err(e) => Err(failed(&object, e)),
        }
    }
}

/// Makes the spool ours alone, and makes it if there is none. Its path by real folders, and what holds it.
pub(super) fn claim(path: &Path) -> Result<(PathBuf, Lock), SpoolError> {
    let object = path.display().to_string();
    let name = path.file_name().ok_or_else(|| failed(&object, io::Error::from(io::ErrorKind::InvalidInput)))?;
    let folder = fs::canonicalize(folder(path)).map_err(|e| failed(&object, e))?;
    let path = folder.join(name);
    // A file that is in use is not even opened: closing it again would end the locks that this process may have on it.
    let lock = Lock::take(&path, false)?;
    // Nothing is put beside a file that is not ours.
    check(&path)?;
    let lock = match lock {
        Some(lock) => lock,
        None => Lock::take(&path, true)?.expect("it is made if there is none"),
    };
    // Another may have made it meanwhile, and gone.
    if !check(&path)? {
        create(&path)?;
    }
    Ok((path, lock))
}

/// Whether there is a spool; refuses what is none, before SQLite touches it.
fn check(path: &Path) -> Result<bool, SpoolError> {
    let object = path.display().to_string();
    let foreign = |why: &str| Err(SpoolError::new(SpoolErrorKind::Foreign, &*object).because(why));
    let file = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path);
    let file = match file {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return foreign("it is a symbolic link"),
        file => file.map_err(|e| failed(&object, e))?,
    };
    if !file.metadata().map_err(|e| failed(&object, e))?.is_file() {
        return foreign("it is no regular file");
    }
    let mut bytes = Vec::with_capacity(LENGTH);
    file.take(LENGTH as u64).read_to_end(&mut bytes).map_err(|e| failed(&object, e))?;
    match Header::read(&bytes) {
        Header::Spool => Ok(true),
        Header::Newer(version) => {
            Err(SpoolError::new(SpoolErrorKind::Newer, object).because(format!("schema version {version}")))
        }
        Header::Foreign if bytes.is_empty() => foreign("it is empty"),
        Header::Foreign => foreign("it does not begin as a spool does"),
    }
}

/// Makes a spool beside its place and moves it there, so that no half-made one is ever found.
fn create(path: &Path) -> Result<(), SpoolError> {
    let object = path.display().to_string();
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|left| left.len() > 0) {
        // SQLite would take it for a part of the new spool.
        let left = log.display().to_string();
        return Err(
            SpoolError::new(SpoolErrorKind::Foreign, left).because("it is what is left of a spool that is gone")
        );
    }
    let new = beside(path, ".new");
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&object, e)),
        _ => {}
    }
    let make = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(&new, flags)?;
        db.pragma_update(None, "page_size", PAGE)?;
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
        db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        let transaction = db.transaction()?;
        transaction.execute_batch(CREATE)?;
        transaction.commit()?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.close().map_err(|(_, e)| e)
    };
    make().map_err(|e| failure(&object, e))?;
    let place = || {
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder(path))?.sync_all()
    };
    place().map_err(|e| failed(&object, e))
}

/// The file with `suffix` after the name of this one.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

fn failed(object: &str, e: impl Into<io::Error>) -> SpoolError {
    let e = e.into();
    let kind = if e.kind() == io::ErrorKind::StorageFull { SpoolErrorKind::Full } else { SpoolErrorKind::Io };
    SpoolError::new(kind, object).because(e)
}
