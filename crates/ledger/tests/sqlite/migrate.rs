//! A ledger of an older release is brought up to date, whole or not at all.

use std::time::Duration;

use podtrail_event::Cluster;
use podtrail_ledger::{Change, ErrorKind, Header, SinkPosition, Store};
use rusqlite::Connection;

use crate::ledger::{Place, claim, cluster, covered, interval, pod, said, t, why};

/// What version 1 made.
const VERSION_1: &str = "
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1886348404;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE evidence (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TABLE anchor (
  one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL, since INTEGER NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE pods (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  created INTEGER NOT NULL, deleted INTEGER NOT NULL, gone INTEGER, pod TEXT NOT NULL);
CREATE UNIQUE INDEX pods_by_uid ON pods (uid);
CREATE INDEX pods_by_name ON pods (namespace, name);
CREATE INDEX pods_alive ON pods (id) WHERE gone IS NULL;
CREATE TABLE nodes (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, addresses TEXT NOT NULL, gone INTEGER);
CREATE TABLE claims (
  id INTEGER PRIMARY KEY, network TEXT NOT NULL, key BLOB NOT NULL, address TEXT NOT NULL, subject TEXT NOT NULL,
  holder INTEGER NOT NULL, ordinal INTEGER NOT NULL, shared INTEGER NOT NULL, start_earliest INTEGER NOT NULL,
  start_latest INTEGER NOT NULL, end_earliest INTEGER NOT NULL, end_latest INTEGER, may_end INTEGER NOT NULL);
CREATE INDEX claims_by_address ON claims (key, network);
CREATE INDEX claims_by_holder ON claims (holder, subject);
CREATE TABLE gaps (
  seq INTEGER PRIMARY KEY, source TEXT NOT NULL, from_time INTEGER NOT NULL, to_time INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE coverage (source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (source, start))
  WITHOUT ROWID;
CREATE TABLE checkpoints (source TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sinks (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, resume TEXT, frozen INTEGER) WITHOUT ROWID;
CREATE TABLE dead_letters (
  sink TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL,
  PRIMARY KEY (sink, seq, id)) WITHOUT ROWID;
CREATE VIEW held AS
  SELECT c.network, c.address, c.subject, coalesce(p.namespace, '') AS namespace, coalesce(p.name, n.name) AS name,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.start_earliest / 1e9, 'unixepoch') AS start_earliest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.start_latest / 1e9, 'unixepoch') AS start_latest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.end_earliest / 1e9, 'unixepoch') AS end_earliest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.end_latest / 1e9, 'unixepoch') AS end_latest
  FROM claims c
  LEFT JOIN pods p ON c.subject = 'pod' AND p.id = c.holder
  LEFT JOIN nodes n ON c.subject = 'node' AND n.id = c.holder;
";

/// A ledger of version 1 with two claims, watched twice.
fn version_1() -> Place {
    let now = Place::new();
    let mut store = now.open();
    let claims =
        [claim(1, 1, "10.0.0.1", interval(10, Some(20), Some(30))), claim(2, 2, "10.0.0.2", interval(15, None, None))];
    let pods = [1, 2].map(|id| Change::Pod(Box::new(pod(id))));
    let position = Change::Position("stdout:".into(), SinkPosition { seq: 1, ..SinkPosition::default() });
    let again = said(16, &claims[..1]);
    store.commit(&[&pods[..], &[said(10, &claims[..1]), said(15, &claims[1..]), again, position]].concat()).unwrap();
    drop(store);
    let place = Place::new();
    let db = place.sqlite();
    db.execute_batch(VERSION_1).unwrap();
    db.execute("ATTACH ?1 AS now", [now.path().to_str().unwrap()]).unwrap();
    for table in ["meta", "evidence", "anchor", "head", "pods", "sinks"] {
        db.execute_batch(&format!("INSERT INTO {table} SELECT * FROM now.{table}")).unwrap();
    }
    let columns =
        "id, network, key, address, subject, holder, ordinal, shared, start_earliest, start_latest, end_earliest,
        end_latest, may_end";
    db.execute_batch(&format!("INSERT INTO claims SELECT {columns} FROM now.claims")).unwrap();
    db.execute_batch("DELETE FROM meta WHERE key NOT IN ('cluster-uid', 'clock-error-ns')").unwrap();
    let second = |n: i64| n * 1_000_000_000;
    for (source, start, until) in [("pods", 0, 5), ("pods", 8, 40), ("nodes", 1, 40)] {
        db.execute("INSERT INTO coverage VALUES (?1, ?2, ?3)", (source, second(start), second(until))).unwrap();
    }
    drop(db);
    assert_eq!(Header::read(&std::fs::read(place.path()).unwrap()), Header::Ledger(1));
    place
}

fn schema(db: &Connection) -> Vec<(String, String, String, bool, i64)> {
    let sql = "SELECT m.type, m.name, c.name, c.\"notnull\", c.pk FROM sqlite_schema m, pragma_table_xinfo(m.name) c
        ORDER BY m.name, c.cid";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn an_old_ledger_keeps_all_that_it_holds_and_verifies() {
    let place = version_1();
    place.sqlite().execute_batch("UPDATE meta SET value = '3000000000' WHERE key = 'clock-error-ns'").unwrap();
    let store = place.open();
    assert_eq!(store.coverage().unwrap().clock_error(), Duration::from_secs(3), "by which it was measured");
    let verified = store.verify().unwrap();
    assert_eq!((verified.evidence, verified.claims, verified.anchor), (3, 2, 0));
    assert_eq!(store.coverage().unwrap().spans(), [(t(1), t(5)), (t(8), t(40))]);
    let proven = |source| store.live().unwrap().coverage[source].proven;
    assert_eq!((proven("pods"), proven("nodes")), (t(8), t(1)), "of a span only its beginning is proven");
    assert_eq!(store.live().unwrap().pods, [pod(1), pod(2)]);
    assert_eq!(store.position("stdout:").unwrap().map(|position| position.seq), Some(1));
    drop(store);
    let new = Place::new();
    drop(new.open());
    assert_eq!(schema(&place.sqlite()), schema(&new.sqlite()), "it is as one that was made by this release");
}

#[test]
fn what_it_has_become_is_in_the_header_at_once() {
    let place = version_1();
    let mut store = place.open();
    assert_eq!(Header::read(&std::fs::read(place.path()).unwrap()), Header::Ledger(2));
    store.commit(&[covered(8, 50)]).unwrap();
    assert_eq!(place.open_read_only().coverage().unwrap().spans().last(), Some(&(t(8), t(40))), "the nodes' span");
}

#[test]
fn for_reading_an_old_ledger_is_refused_until_a_tracker_has_had_it() {
    let place = version_1();
    let before = std::fs::read(place.path()).unwrap();
    let e = Store::open_read_only(place.path()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Older);
    assert!(e.to_string().contains("tracker run") && !e.is_retryable(), "{e}");
    assert!(std::fs::read(place.path()).unwrap() == before);
    drop(place.open());
    place.open_read_only().verify().unwrap();
}

#[test]
fn what_is_refused_or_fails_is_not_brought_up_to_date() {
    let place = version_1();
    let before = std::fs::read(place.path()).unwrap();
    let e = Store::open(place.path(), &Cluster::new("cluster-2"), Duration::ZERO).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::OtherCluster);
    assert!(std::fs::read(place.path()).unwrap() == before);

    // The last step cannot be done: there is such a table.
    place.sqlite().execute_batch("CREATE TABLE skews (a)").unwrap();
    Store::open(place.path(), &cluster(), Duration::ZERO).unwrap_err();
    let db = place.sqlite();
    assert_eq!(db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    assert_eq!(db.query_row("SELECT count(*) FROM coverage", [], |row| row.get::<_, i64>(0)).unwrap(), 3);
}

#[test]
fn a_newer_ledger_is_refused_also_where_only_its_log_says_so() {
    let place = Place::new();
    drop(place.open());
    let newer = place.sqlite();
    newer.execute_batch("PRAGMA user_version = 3; INSERT INTO meta VALUES ('future', '1')").unwrap();
    let before = std::fs::read(place.path()).unwrap();
    assert_eq!(Header::read(&before), Header::Ledger(2));
    // As after a crash: nobody has it open, and what it wrote is in the log.
    newer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(newer);
    for opened in [Store::open(place.path(), &cluster(), Duration::ZERO), Store::open_read_only(place.path())] {
        let e = opened.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Newer, "{e}: {}", why(&e));
    }
    assert!(std::fs::read(place.path()).unwrap() == before);
}

#[test]
fn quarantined_input_of_before_has_no_hash() {
    let old = r#"{"quarantined":{"reason":"no JSON","excerpt":"{","length":1}}"#;
    let observation: podtrail_ledger::Observation = serde_json::from_str(old).unwrap();
    assert_eq!(observation.quarantined.as_ref().map(|input| input.sha256.as_deref()), Some(None));
    assert_eq!(serde_json::to_string(&observation).unwrap(), old);
}
