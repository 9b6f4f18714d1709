//! A limit that is reached, and a disk that is full.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use podtrail_writer::{Change, Item, Source as _, Spool, SpoolError, SpoolErrorKind, StartFrom, StateChange};

use crate::harness::{ROOMY, at, both, item, kept, put, records};

/// Writes until there is no more room, and keeps the last number in slot 0. That number, and why there is no more.
fn fill(spool: &Spool) -> (u64, SpoolError) {
    let mut head = spool.write(&records([])).unwrap();
    loop {
        let mut change = records(head + 1..=head + 100);
        change.state.push(put(0, (head + 100).to_le_bytes()));
        match spool.write(&change) {
            Ok(newest) => head = newest,
            Err(e) => {
                assert_eq!((e.kind(), e.is_retryable()), (SpoolErrorKind::Full, true), "{e:?}");
                return (head, e);
            }
        }
    }
}

#[tokio::test]
async fn at_the_limit_nothing_more_is_taken_and_what_is_delivered_makes_room() {
    const LIMIT: u64 = 1 << 20;
    for (spool, folder) in both(LIMIT) {
        let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
        let (full, _) = fill(&spool);
        let backlog = spool.backlog();
        assert_eq!(backlog.records, full);
        assert!(backlog.bytes <= LIMIT && backlog.bytes > LIMIT * 8 / 10, "{backlog:?}");
        if folder.is_some() {
            assert_eq!(spool.get(0, 0).unwrap().unwrap(), full.to_le_bytes(), "nothing of what was refused is kept");
        }
        // These go on.
        feed.freeze(full).await.unwrap();
        feed.dead_letter(1, &item(1), "bad").await.unwrap();
        feed.commit(at(full)).await.unwrap();
        assert_eq!(spool.backlog().records, 0);

        let (again, _) = fill(&spool);
        assert!(again > full + full * 8 / 10, "{again} after {full}");
        assert_eq!(kept(&mut feed, full).await, (full + 1..=again).collect::<Vec<_>>());
        let large = Item { line: vec![b'x'; 1 + (1 << 20)].into(), ..item(0) };
        let error = spool.write(&Change { records: vec![large], state: vec![] }).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (SpoolErrorKind::TooLarge, false));
    }
}

#[test]
fn state_counts_and_may_be_changed_and_deleted_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path().join("spool.db"), 1 << 20).unwrap();
    let state = |slots: std::ops::Range<u32>, value: Option<&[u8]>| Change {
        records: vec![],
        state: slots.map(|slot| StateChange { space: 0, slot, value: value.map(<[u8]>::to_vec) }).collect(),
    };
    let mut slots = 0;
    while spool.write(&state(slots..slots + 100, Some(&[1; 150]))).is_ok() {
        slots += 100;
    }
    assert!((5000..7000).contains(&slots), "{slots}");
    assert_eq!(spool.get(0, slots).unwrap(), None);
    spool.write(&state(0..slots, Some(&[2; 150]))).unwrap();
    spool.write(&state(0..slots / 2, None)).unwrap();
    spool.write(&state(slots..slots + slots / 3, Some(&[3; 150]))).unwrap();
}

#[tokio::test]
async fn a_file_does_not_grow_while_records_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = Spool::open(&path, 16 << 20).unwrap();
    let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
    let (mut head, mut largest, mut written) = (0, 0, 0);
    for round in 0..40 {
        for _ in 0..10 {
            let mut change = records(head + 1..=head + 2000);
            written += change.records.iter().map(|item| item.line.len() + 20).sum::<usize>();
            change.state = (0..100).map(|slot| put(slot * 17, vec![round; 120])).collect();
            head = spool.write(&change).unwrap();
        }
        feed.commit(at(head)).await.unwrap();
        let log = fs::metadata(folder.path().join("spool.db-wal")).unwrap().len();
        largest = largest.max(log + fs::metadata(&path).unwrap().len());
    }
    assert!(written > 24 << 20 && largest < 8 << 20, "{largest} bytes for {written}");
}

/// A file system of 8 MB.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        eprintln!("skipped: it takes root to mount a small file system");
        None
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_got_over() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(folder.path()) else { return };
    let (path, others) = (folder.path().join("spool.db"), folder.path().join("others"));
    let spool = Spool::open(&path, 4 << 20).unwrap();
    let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
    for round in 0..5 {
        fs::write(&others, vec![0; 8 << 20]).unwrap_err();
        let before = feed.position().await.unwrap().seq;
        let (head, error) = fill(&spool);
        assert!(round > 0 || error.source().is_some(), "the disk, not the limit");
        assert_eq!(kept(&mut feed, before).await, (before + 1..=head).collect::<Vec<_>>());
        if head > 0 {
            assert_eq!(spool.get(0, 0).unwrap().unwrap(), head.to_le_bytes());
        }
        match feed.freeze(head).await {
            Ok(()) => feed.commit(at(head)).await.unwrap(),
            Err(e) => assert!(e.is_retryable(), "{e:?}"),
        }
        fs::remove_file(&others).unwrap();
        let mut change = records(head + 1..=head + 1000);
        change.state.push(put(0, (head + 1000).to_le_bytes()));
        let head = spool.write(&change).unwrap();
        feed.freeze(head).await.unwrap();
        feed.commit(at(head)).await.unwrap();
    }
    fs::write(&others, vec![0; 8 << 20]).unwrap_err();
    let head = spool.write(&records([])).unwrap();
    drop((feed, spool));
    let spool = Spool::open(&path, ROOMY).unwrap();
    assert_eq!(spool.sinks().unwrap(), [("sink".to_owned(), at(head))]);
}
