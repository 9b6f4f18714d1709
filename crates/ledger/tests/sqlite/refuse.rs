//! What is not a ledger, or not whole, is refused and left as it was.

use std::time::Duration;

use podtrail_event::Cluster;
use podtrail_ledger::{Error, ErrorKind, Header, Store};
use rusqlite::Connection;

use crate::ledger::{Place, claim, cluster, covered, interval, pod, said, why};

/// A small ledger's bytes.
fn ledger() -> Vec<u8> {
    let place = Place::new();
    let mut store = place.open();
    for n in 1..200 {
        let change = said(n, &[claim(n, n, &format!("10.0.0.{n}"), interval(n, None, None))]);
        store.commit(&[podtrail_ledger::Change::Pod(Box::new(pod(n))), change, covered(0, n)]).unwrap();
    }
    drop(store);
    std::fs::read(place.path()).unwrap()
}

/// An SQLite file of another program.
fn sqlite(statements: &str) -> Vec<u8> {
    let place = Place::new();
    let db = place.sqlite();
    db.execute_batch(statements).unwrap();
    drop(db);
    std::fs::read(place.path()).unwrap()
}

#[test]
fn a_foreign_file_is_refused_and_nothing_is_put_beside_it() {
    let whole = ledger();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (what, bytes, kind) in [
        ("empty", vec![], ErrorKind::NotALedger),
        ("text", b"all: podtrail\n".repeat(20), ErrorKind::NotALedger),
        ("zeros", vec![0; 8192], ErrorKind::NotALedger),
        ("a header cut short", whole[..99].to_vec(), ErrorKind::NotALedger),
        ("bad magic", with(0, b"sqlite"), ErrorKind::NotALedger),
        ("another program's", sqlite("CREATE TABLE t (a); PRAGMA user_version = 1"), ErrorKind::NotALedger),
        ("another's, with an id", sqlite("PRAGMA application_id = 7; CREATE TABLE t (a)"), ErrorKind::NotALedger),
        ("no version", with(60, &[0; 4]), ErrorKind::NotALedger),
        ("of a newer release", with(60, &3u32.to_be_bytes()), ErrorKind::Newer),
        ("of a much newer release", with(60, &u32::MAX.to_be_bytes()), ErrorKind::Newer),
    ] {
        let place = Place::new();
        std::fs::write(place.path(), &bytes).unwrap();
        for opened in [Store::open(place.path(), &cluster(), Duration::ZERO), Store::open_read_only(place.path())] {
            let e = opened.unwrap_err();
            assert_eq!(e.kind(), kind, "{what}: {e}");
            assert!(!e.is_retryable() && e.to_string().contains("podtrail.db"), "{what}: {e}");
        }
        assert!(std::fs::read(place.path()).unwrap() == bytes, "{what} was changed");
        assert_eq!(place.names(), ["podtrail.db"], "{what}");
    }
}

#[test]
fn a_ledger_of_another_cluster_is_refused() {
    let place = Place::new();
    std::fs::write(place.path(), ledger()).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let e = Store::open(place.path(), &Cluster::new("cluster-2"), Duration::from_secs(9)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::OtherCluster);
    assert!(why(&e).contains("cluster-1") && why(&e).contains("cluster-2"), "{}", why(&e));
    assert!(std::fs::read(place.path()).unwrap() == before);
    place.open().verify().unwrap();
}

#[test]
fn what_does_not_exist_is_made_for_writing_and_missed_for_reading() {
    let place = Place::new();
    let e = Store::open_read_only(place.path()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Missing);
    assert!(place.names().is_empty());
    drop(place.open());
    assert_eq!(place.names(), ["podtrail.db", "podtrail.db.lock"]);
    use std::os::unix::fs::PermissionsExt;
    for name in place.names() {
        let mode = std::fs::metadata(place.path().with_file_name(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}: an audit is nobody else's to read");
    }
    assert_eq!(Header::read(&std::fs::read(place.path()).unwrap()), Header::Ledger(2));
    let nowhere = place.path().join("no/such/folder.db");
    assert_eq!(Store::open(nowhere, &cluster(), Duration::ZERO).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_half_made_ledger_of_before_is_replaced() {
    let place = Place::new();
    std::fs::write(place.path().with_extension("db.new"), &ledger()[..5000]).unwrap();
    std::fs::write(place.path().with_extension("db.new-journal"), vec![7; 5000]).unwrap();
    let mut store = place.open();
    store.commit(&[covered(0, 1)]).unwrap();
    store.verify().unwrap();
    assert!(!place.names().iter().any(|name| name == "podtrail.db.new"), "{:?}", place.names());
}

#[test]
fn the_log_of_a_ledger_that_is_gone_is_not_taken_for_a_part_of_a_new_one() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&[said(1, &[claim(1, 1, "10.0.0.1", interval(1, None, None))])]).unwrap();
    let log = place.path().with_extension("db-wal");
    let left = std::fs::read(&log).unwrap();
    drop(store);
    std::fs::remove_file(place.path()).unwrap();
    std::fs::write(&log, &left).unwrap();
    let e = Store::open(place.path(), &cluster(), Duration::ZERO).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotALedger);
    assert!(e.to_string().contains("podtrail.db-wal"), "{e}");
    assert!(std::fs::read(&log).unwrap() == left && !place.path().exists());
    std::fs::remove_file(&log).unwrap();
    assert_eq!(place.open().verify().unwrap().evidence, 0);
}

/// Of the ledger's file.
const PAGE: usize = 8192;

#[test]
fn a_ledger_cut_short_is_refused_and_left_as_it_was() {
    let whole = ledger();
    let place = Place::new();
    let found = |opened: Result<Store, Error>, length: usize| {
        let e = opened.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{length}: {e}: {}", why(&e));
        assert!(std::fs::read(place.path()).unwrap() == whole[..length], "{length}");
    };
    for length in [100, 512, PAGE, PAGE + 1, whole.len() / 2, whole.len() - PAGE] {
        std::fs::write(place.path(), &whole[..length]).unwrap();
        found(Store::open(place.path(), &cluster(), Duration::ZERO), length);
        found(Store::open_read_only(place.path()), length);
    }
    // Less than a page is missed when all is read.
    std::fs::write(place.path(), &whole[..whole.len() - 1]).unwrap();
    found(Store::open_read_only(place.path()).and_then(|store| store.verify().map(|_| store)), whole.len() - 1);
}

#[test]
fn a_page_of_garbage_is_found_wherever_it_is() {
    let whole = ledger();
    let place = Place::new();
    for page in 1..whole.len() / PAGE {
        let mut changed = whole.clone();
        changed[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        std::fs::write(place.path(), &changed).unwrap();
        let found = Store::open_read_only(place.path()).and_then(|store| store.verify());
        let e = found.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "page {page}: {e}: {}", why(&e));
        if let Err(e) = Store::open(place.path(), &cluster(), Duration::ZERO) {
            assert_eq!(e.kind(), ErrorKind::Corrupt, "page {page}: {e}");
            assert!(std::fs::read(place.path()).unwrap() == changed, "page {page}");
        }
    }
}

#[test]
fn a_lost_tail_is_found_when_opening() {
    let place = Place::new();
    std::fs::write(place.path(), ledger()).unwrap();
    place.sqlite().execute("DELETE FROM evidence WHERE seq > 190", []).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let e = Store::open(place.path(), &cluster(), Duration::from_secs(9)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert!(std::fs::read(place.path()).unwrap() == before);
}

#[test]
fn anyone_can_read_it_with_sqlite() {
    let place = Place::new();
    std::fs::write(place.path(), ledger()).unwrap();
    let db: Connection = place.sqlite();
    let sql = "SELECT namespace || '/' || name || ' ' || start_latest FROM held WHERE address = '10.0.0.7'";
    let row: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(row, "shop/web-7 1970-01-01T00:00:07.000Z");
}
