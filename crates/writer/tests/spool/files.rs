//! Files that are not what they should be, and files that a power loss left.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use podtrail_writer::{Change, Spool, SpoolErrorKind, StartFrom};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::harness::{ROOMY, item, kept, put, records};

#[test]
fn a_spool_is_for_its_owner_alone_and_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = Spool::open(&path, ROOMY).unwrap();
    spool.write(&records(1..=10)).unwrap();
    spool.sync().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    let second = Spool::open(&path, ROOMY).unwrap_err();
    assert_eq!((second.kind(), second.is_retryable()), (SpoolErrorKind::Locked, true));
    assert_eq!(second.to_string(), format!("{} is in use by another process", path.display()));
    let handle = spool.clone();
    drop(spool);
    assert!(Spool::open(&path, ROOMY).is_err(), "a clone holds it, too");
    drop(handle);
    assert_eq!(Spool::open(&path, ROOMY).unwrap().write(&records([11])).unwrap(), 11);
}

#[test]
fn what_is_no_spool_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.db");
    Spool::open(&good, ROOMY).unwrap().write(&records(1..=1000)).unwrap();
    let whole = fs::read(&good).unwrap();
    let with = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    let half = whole[..whole.len() / 2].to_vec();
    for (name, bytes, kind, why) in [
        ("empty", vec![], SpoolErrorKind::Foreign, "it is empty"),
        ("text", b"{}\n".repeat(100), SpoolErrorKind::Foreign, "it does not begin as a spool does"),
        ("short", whole[..99].to_vec(), SpoolErrorKind::Foreign, "it does not begin as a spool does"),
        ("ledger", with(68, 0x706f_6474), SpoolErrorKind::Foreign, "it does not begin as a spool does"),
        ("newer", with(60, 2), SpoolErrorKind::Newer, "schema version 2"),
        ("older", with(60, 0), SpoolErrorKind::Foreign, "it does not begin as a spool does"),
        ("truncated", half, SpoolErrorKind::Damaged, "malformed"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        refused(&path, kind, why);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
        let lock = folder.path().join(format!("{name}.lock"));
        assert_eq!(lock.exists(), kind == SpoolErrorKind::Damaged, "nothing is put beside what is not ours: {name}");
    }
}

#[test]
fn what_is_no_file_or_not_where_it_seems_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name| folder.path().join(name);
    let good = place("good.db");
    drop(Spool::open(&good, ROOMY).unwrap());
    symlink(&good, place("link")).unwrap();
    refused(&place("link"), SpoolErrorKind::Foreign, "it is a symbolic link");
    symlink(place("nowhere"), place("dangling")).unwrap();
    refused(&place("dangling"), SpoolErrorKind::Foreign, "it is a symbolic link");
    fs::create_dir(place("folder")).unwrap();
    refused(&place("folder"), SpoolErrorKind::Foreign, "it is no regular file");
    refused(&place("missing/spool.db"), SpoolErrorKind::Io, "No such file");
    fs::write(place("gone.db-wal"), "left").unwrap();
    refused(&place("gone.db"), SpoolErrorKind::Foreign, "it is what is left of a spool that is gone");
    symlink(&good, place("taken.db.lock")).unwrap();
    refused(&place("taken.db"), SpoolErrorKind::Io, "symbolic link");
    // A link to the folder is no matter.
    symlink(folder.path(), place("here")).unwrap();
    drop(Spool::open(place("here/good.db"), ROOMY).unwrap());
}

#[track_caller]
fn refused(path: &Path, kind: SpoolErrorKind, why: &str) {
    let error = Spool::open(path, ROOMY).unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains(why), "{cause}");
}

#[tokio::test]
async fn after_a_power_loss_records_and_state_are_those_of_one_instant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = Spool::open(&path, ROOMY).unwrap();
    let (mut next, mut synced) = (0, Vec::new());
    for write in 1..=60u32 {
        let records = (0..u64::from(write)).map(|_| {
            next += 1;
            item(next)
        });
        let mut change = Change { records: records.collect(), state: Vec::new() };
        change.state.push(put(write % 7, next.to_le_bytes()));
        change.state.push(put(100, next.to_le_bytes()));
        spool.write(&change).unwrap();
        spool.sync().unwrap();
        synced.push((fs::metadata(folder.path().join("spool.db-wal")).unwrap().len(), next));
    }
    let (file, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("spool.db-wal")).unwrap());
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..100 {
        // What was not synced may be there in part, or not as it was.
        let cut = rng.random_range(0..=log.len());
        let mut left = log[..cut].to_vec();
        if let Some(byte) = left.last_mut() {
            *byte ^= rng.random_range(0..2);
        }
        let whole = tempfile::tempdir().unwrap();
        let copy = whole.path().join("spool.db");
        fs::write(&copy, &file).unwrap();
        fs::write(whole.path().join("spool.db-wal"), &left).unwrap();
        let spool = Spool::open(&copy, ROOMY).unwrap();
        let kept = kept(&mut spool.feed("sink", StartFrom::Start).unwrap(), 0).await;
        let state = spool.get(0, 100).unwrap().map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()));
        assert_eq!(kept, (1..=state).collect::<Vec<_>>());
        let durable = synced.iter().rev().find(|(length, _)| *length < cut as u64).map_or(0, |(_, n)| *n);
        assert!(state >= durable, "{state} of {durable}");
    }
}
