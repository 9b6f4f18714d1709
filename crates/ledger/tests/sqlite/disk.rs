//! A disk that is full.

use std::process::Command;

use podtrail_ledger::{Change, ErrorKind, Store};

use crate::ledger::{Place, claim, interval, said, t, why};

const PATH: &str = "PODTRAIL_TEST_FULL_DISK";

/// Runs this test's own program with files limited to `blocks` of 512 bytes: writing more fails, as on a full disk.
fn limited(blocks: u32, place: &Place) -> bool {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --exact disk::child --nocapture");
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program).env(PATH, place.path());
    command.status().unwrap().success()
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    let place = Place::new();
    drop(place.open());
    assert!(limited(800, &place), "the child found nothing wrong");
    // With room again all goes on.
    let mut store = place.open();
    let head = store.head().unwrap();
    assert!(head > 0 && head.is_multiple_of(2), "{head}");
    assert_eq!(store.verify().unwrap().evidence, head);
    assert_eq!(store.live().unwrap().checkpoints["pods"], head.to_string());
    assert_eq!(store.commit(&changes(head)).unwrap(), head + 2);
    store.verify().unwrap();
}

/// Two pieces of evidence of 10 kB, a claim each, and a checkpoint that says how many there are.
fn changes(head: u64) -> Vec<Change> {
    let mut changes: Vec<Change> = (1..=2)
        .map(|n| {
            let id = i64::try_from(head + n).unwrap();
            let mut claim = claim(id, id, "10.0.0.1", interval(id, None, None));
            claim.network = format!("ns/{}", "x".repeat(10_000));
            said(id, &[claim])
        })
        .collect();
    changes.push(Change::Checkpoint("pods", (head + 2).to_string()));
    changes
}

/// Not a test by itself: commits until there is no more room.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let mut store = Store::open(path, &crate::ledger::cluster(), std::time::Duration::ZERO).unwrap();
    let mut head = 0;
    let e = loop {
        match store.commit(&changes(head)) {
            Ok(now) => head = now,
            Err(e) => break e,
        }
        assert!(head < 1000, "there is no limit");
    };
    assert_eq!(e.kind(), ErrorKind::Io, "{e}: {}", why(&e));
    assert!(e.is_retryable());
    for _ in 0..3 {
        assert!(store.commit(&changes(head)).is_err());
        assert_eq!(store.head().unwrap(), head);
        assert_eq!(store.verify().unwrap().evidence, head);
    }
    assert!(store.owner("default", "10.0.0.1".parse().unwrap(), t(1)).is_ok(), "it can still be asked");
}
