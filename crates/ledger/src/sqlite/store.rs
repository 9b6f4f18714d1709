use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podtrail_event::{Cluster, Pod, Timestamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::change::{Change, NodeRow, PodRow, apply};
use super::header::SCHEMA_VERSION;
use super::lock::Lock;
use super::observation::{ClaimRow, Observation, Source};
use super::rows::{self, CLAIM};
use super::{chain, file};
use crate::{Error, ErrorKind};

/// In `meta`, in nanoseconds.
const CLOCK_ERROR: &str = "clock-error-ns";
const WORST_CLOCK_ERROR: &str = "worst-clock-error-ns";

/// A ledger in a file: evidence, claims, gaps, checkpoints and sinks' positions, changed together or not at all.
///
/// One process writes it ([`open`](Self::open)); any number read it meanwhile ([`open_read_only`](Self::open_read_only)).
/// What [`commit`](Self::commit) has returned for survives `kill -9` and power loss (WAL, `synchronous=FULL`).
/// Calls block: keep them off an async runtime's threads.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Connection,
    pub(super) path: PathBuf,
    cluster: Cluster,
    clock_error: Duration,
    /// The largest that ever applied: what was watched is measured with it.
    pub(super) worst_clock_error: Duration,
    _lock: Option<Lock>,
}

/// A span in which a source was watched without interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by trackers")]
pub struct Watched {
    /// Since when.
    pub start: Timestamp,
    /// Until when, silence on a connection that seemed alive included.
    pub until: Timestamp,
    /// When something was really heard last.
    pub proven: Timestamp,
}

/// What a tracker goes on from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Live {
    /// Pods that are not known to be gone.
    pub pods: Vec<PodRow>,
    /// The claims of those pods, and of the nodes.
    pub claims: Vec<ClaimRow>,
    /// All nodes, gone ones too.
    pub nodes: Vec<NodeRow>,
    /// Where to resume each watch.
    pub checkpoints: BTreeMap<String, String>,
    /// The latest span of each source that was watched.
    pub coverage: BTreeMap<String, Watched>,
    /// Nodes whose clocks were found to be off: by how much ahead, and by how much behind.
    pub skews: Vec<(String, Duration, Duration)>,
    /// Row numbers from here on are free: pods, nodes, claims.
    pub next: (i64, i64, i64),
}

impl Store {
    /// Opens the ledger of `cluster` for writing; makes it if there is none, and brings one of an older release to this
    /// release's schema.
    ///
    /// `clock_error` says by how much the clock that this tracker stamps with may be wrong.
    ///
    /// # Errors
    /// If the file is no ledger, is newer, damaged, of another cluster, or being written by another process. It is then
    /// left as it was.
    pub fn open(path: impl AsRef<Path>, cluster: &Cluster, clock_error: Duration) -> Result<Self, Error> {
        let path = path.as_ref();
        let exists = || path.try_exists().map_err(|e| Error::new(ErrorKind::Io, path.display().to_string()).because(e));
        // Before the lock: nothing is put beside a file that is not ours.
        if exists()? {
            file::check_header(path)?;
        }
        let lock = Lock::take(path)?;
        // Another may have made it meanwhile, and gone.
        if !exists()? {
            file::create(path, cluster)?;
        }
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, Some(lock))?;
        if store.cluster.uid != cluster.uid {
            let why = format!("it holds cluster {}, this is {}", store.cluster.uid, cluster.uid);
            return Err(store.error(ErrorKind::OtherCluster).because(why));
        }
        store.cluster.name.clone_from(&cluster.name);
        store.clock_error = clock_error;
        store.worst_clock_error = store.worst_clock_error.max(clock_error);
        store.begin()?;
        Ok(store)
    }

    /// Opens a ledger for asking, whether or not a tracker writes it.
    ///
    /// # Errors
    /// If there is no such file, or it is no ledger, older, newer or damaged.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        file::check_header(path.as_ref())?;
        let store = Self::connect(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_ONLY, None)?;
        match file::version(&store.db).map_err(|e| store.failure(e))? {
            SCHEMA_VERSION => Ok(store),
            older => Err(store.error(ErrorKind::Older).because(format!("schema version {older}"))),
        }
    }

    fn connect(path: &Path, flags: OpenFlags, lock: Option<Lock>) -> Result<Self, Error> {
        let object = path.display().to_string();
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|e| Error::new(ErrorKind::Io, &*object).because(e))?;
        let read = || -> rusqlite::Result<(Cluster, Duration, Duration)> {
            db.busy_timeout(Duration::from_secs(10))?;
            db.set_prepared_statement_cache_capacity(64);
            let meta = |key| {
                db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get::<_, String>(0)).optional()
            };
            let uid = meta("cluster-uid")?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let length = |key| -> rusqlite::Result<Option<Duration>> {
                Ok(meta(key)?.and_then(|text| text.parse().ok()).map(Duration::from_nanos))
            };
            let now = length(CLOCK_ERROR)?;
            // A ledger that has just been made has none yet, nor anything that was watched.
            let worst = length(WORST_CLOCK_ERROR)?.max(now).unwrap_or_default();
            Ok((Cluster::new(uid).named(meta("cluster-name")?), now.unwrap_or(Duration::from_secs(1)), worst))
        };
        // Until it is known to be ours, closing it is not to change it either.
        let version = db
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_| file::version(&db))
            .map_err(|e| failure(&object, e))?;
        if version > SCHEMA_VERSION {
            return Err(Error::new(ErrorKind::Newer, object).because(format!("schema version {version}")));
        }
        let (cluster, clock_error, worst_clock_error) = read().map_err(|e| failure(&object, e))?;
        Ok(Self { db, path: path.to_owned(), cluster, clock_error, worst_clock_error, _lock: lock })
    }

    /// Checks that the last evidence is what the head says, and makes the ledger and the connection fit for writing.
    fn begin(&mut self) -> Result<(), Error> {
        if !chain::head_matches(&self.db).map_err(|e| self.failure(e))? {
            return Err(self.error(ErrorKind::Corrupt).because("its last evidence is not what was written last"));
        }
        let mut write = || -> rusqlite::Result<()> {
            self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            self.db.pragma_update(None, "journal_mode", "WAL")?;
            self.db.pragma_update(None, "synchronous", "FULL")?;
            self.db.pragma_update(None, "cache_size", -16_000)?;
            file::migrate(&mut self.db)?;
            // 32 MB of log, not 4: a page that many commits have changed goes into the file once.
            self.db.pragma_update(None, "wal_autocheckpoint", 4000)?;
            let put = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
            for (key, error) in [(WORST_CLOCK_ERROR, self.worst_clock_error), (CLOCK_ERROR, self.clock_error)] {
                self.db.execute(put, (key, error.as_nanos().to_string()))?;
            }
            if let Some(name) = &self.cluster.name {
                self.db.execute(put, ("cluster-name", name))?;
            }
            Ok(())
        };
        write().map_err(|e| self.failure(e))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose ledger it is.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// By how much the clock of the tracker that writes it may be wrong, now. What was watched is judged by the largest
    /// error that ever applied; claims have in their bounds what applied when they were made.
    pub const fn clock_error(&self) -> Duration {
        self.clock_error
    }

    /// Makes all of `changes`, durably, or none of them. Returns the number of the last evidence.
    ///
    /// # Errors
    /// If they cannot be written (a full disk, …); the same call may be made again.
    pub fn commit(&mut self, changes: &[Change]) -> Result<u64, Error> {
        let run = |db: &mut Connection| -> rusqlite::Result<i64> {
            let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let mut head = chain::head(&transaction)?;
            let before = head.seq;
            let mut append = |at: Timestamp, source: Source, observation: &Observation| {
                head.append(&transaction, at, source, observation)
            };
            changes.iter().try_for_each(|change| apply(&transaction, change, &mut append))?;
            if head.seq != before {
                head.store(&transaction)?;
            }
            transaction.commit()?;
            Ok(head.seq)
        };
        let seq = run(&mut self.db).map_err(|e| failure(&self.path.display().to_string(), e))?;
        Ok(u64::try_from(seq).unwrap_or_default())
    }

    /// What a tracker goes on from.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn live(&self) -> Result<Live, Error> {
        self.load().map_err(|e| self.failure(e))
    }

    fn load(&self) -> rusqlite::Result<Live> {
        let db = &self.db;
        let next = |table| db.query_row(&format!("SELECT coalesce(max(id), 0) + 1 FROM {table}"), [], |row| row.get(0));
        let pods = db
            .prepare("SELECT id, version, created, deleted, gone, pod FROM pods WHERE gone IS NULL")?
            .query_map([], pod_row)?
            .collect::<rusqlite::Result<_>>()?;
        let claims = format!(
            "SELECT {CLAIM} FROM claims c WHERE (c.subject = 'pod' AND c.holder IN (SELECT id FROM pods WHERE gone IS NULL))
             OR (c.subject = 'node' AND c.end_latest IS NULL)"
        );
        let nodes = db
            .prepare("SELECT id, uid, name, addresses, gone FROM nodes")?
            .query_map([], |row| {
                let addresses: String = row.get(3)?;
                Ok(NodeRow {
                    id: row.get(0)?,
                    uid: row.get(1)?,
                    name: row.get(2)?,
                    addresses: serde_json::from_str(&addresses).map_err(|e| rows::invalid(3, e))?,
                    gone: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_nanosecond),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Live {
            pods,
            claims: db.prepare(&claims)?.query_map([], rows::claim)?.collect::<rusqlite::Result<_>>()?,
            nodes,
            checkpoints: db
                .prepare("SELECT source, version FROM checkpoints")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?,
            coverage: db
                // One that only silence suggests may begin later than the one that was then heard of: the last wins.
                .prepare("SELECT source, start, until, proven FROM coverage ORDER BY source, proven, until")?
                .query_map([], |row| {
                    let (start, until, proven) = (rows::time(row, 1)?, rows::time(row, 2)?, rows::time(row, 3)?);
                    Ok((row.get(0)?, Watched { start, until, proven }))
                })?
                .collect::<rusqlite::Result<_>>()?,
            skews: db
                .prepare("SELECT node, fast, slow FROM skews ORDER BY node")?
                .query_map([], |row| Ok((row.get(0)?, rows::length(row, 1)?, rows::length(row, 2)?)))?
                .collect::<rusqlite::Result<_>>()?,
            next: (next("pods")?, next("nodes")?, next("claims")?),
        })
    }

    /// The pod of row `id`, as last known.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pod(&self, id: i64) -> Result<Option<PodRow>, Error> {
        self.pod_where("id", id)
    }

    /// The pod with this UID, as last known.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pod_by_uid(&self, uid: &str) -> Result<Option<PodRow>, Error> {
        self.pod_where("uid", uid)
    }

    /// All claims that the pod of row `id` ever had.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn claims_of_pod(&self, id: i64) -> Result<Vec<ClaimRow>, Error> {
        let sql = format!("SELECT {CLAIM} FROM claims c WHERE c.holder = ?1 AND c.subject = 'pod'");
        let run = || self.db.prepare_cached(&sql)?.query_map([id], rows::claim)?.collect::<rusqlite::Result<_>>();
        run().map_err(|e| self.failure(e))
    }

    fn pod_where(&self, column: &str, value: impl rusqlite::ToSql) -> Result<Option<PodRow>, Error> {
        let sql = format!("SELECT id, version, created, deleted, gone, pod FROM pods WHERE {column} = ?1");
        let run = || self.db.prepare_cached(&sql)?.query_row([value], pod_row).optional();
        run().map_err(|e| self.failure(e))
    }

    pub(super) fn failure(&self, e: rusqlite::Error) -> Error {
        failure(&self.path.display().to_string(), e)
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.path.display().to_string())
    }
}

fn pod_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<PodRow> {
    let pod: Pod = serde_json::from_str(row.get_ref(5)?.as_str()?).map_err(|e| rows::invalid(5, e))?;
    Ok(PodRow {
        id: row.get(0)?,
        version: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
        created: row.get(2)?,
        deleted: row.get(3)?,
        gone: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_nanosecond),
        pod,
    })
}

/// What SQLite's error means for a ledger.
fn failure(object: &str, e: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        // What is to be written does not fit what is there, and never will.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown) | None => {
            ErrorKind::Corrupt
        }
        Some(_) => ErrorKind::Io,
    };
    Error::new(kind, object).because(e)
}
