//! `kill -9` while records and state are written and records delivered: each record is delivered once, in order, and
//! the state is that of the last record.

use std::fs;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use podtrail_writer::{File, FileConfig, OutboxConfig, Spool, StartFrom, StateChange, run};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::harness::{ROOMY, item, put, records};

/// The folder of a child's spool.
const CHILD: &str = "PODTRAIL_SPOOL_CHILD";
const KILLS: u32 = 40;
const SLOTS: u32 = 3000;

fn open(home: &Path) -> Spool {
    Spool::open(home.join("spool.db"), ROOMY).unwrap()
}

async fn deliver(spool: &Spool, home: &Path, shutdown: impl Future<Output = ()>) {
    let file = File::new(FileConfig::new(home.join("out.ndjson"))).unwrap();
    let mut config = OutboxConfig::default();
    config.max_rows = 100;
    run(spool.feed("file", StartFrom::Start).unwrap(), file, config, &(), shutdown).await.unwrap();
}

/// The last number that was written.
fn last(spool: &Spool) -> u64 {
    spool.get(0, 0).unwrap().map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

#[test]
#[ignore = "what the other test starts, to kill it"]
fn child() {
    let Some(home) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let spool = open(&home);
    let writing = thread::spawn({
        let spool = spool.clone();
        move || {
            let (mut rng, mut n) = (SmallRng::from_os_rng(), last(&spool));
            loop {
                let count = if rng.random_ratio(1, 20) { 2000 } else { rng.random_range(1..50) };
                let mut change = records(n + 1..=n + count);
                change.state = (n + 1..=n + count)
                    .map(|n| StateChange {
                        space: 1,
                        slot: u32::try_from(n % u64::from(SLOTS)).unwrap(),
                        value: Some(n.to_le_bytes().repeat(15)),
                    })
                    .collect();
                n += count;
                change.state.push(put(0, n.to_le_bytes()));
                spool.write(&change).unwrap();
                thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(deliver(&spool, &home, std::future::pending()));
    writing.join().unwrap();
}

#[tokio::test]
async fn killed_at_any_moment_each_record_is_delivered_once_and_the_state_is_theirs() {
    let home = tempfile::tempdir().unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(CHILD, home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(rng.random_range(5..120)));
        assert!(child.try_wait().unwrap().is_none(), "it runs until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let spool = open(home.path());
    let last = last(&spool);
    deliver(&spool, home.path(), ready(())).await;
    assert_eq!(spool.backlog().records, 0);
    let lines = fs::read_to_string(home.path().join("out.ndjson")).unwrap();
    let expected = (1..=last).map(|n| String::from_utf8(item(n).line.to_vec()).unwrap());
    assert!(lines.lines().eq(expected), "{last} records");
    assert!(last > 10_000, "{last}");
    let mut slots = 0;
    spool
        .state(1, |slot, value| {
            let newest = last - (last - u64::from(slot)) % u64::from(SLOTS);
            assert_eq!(value, newest.to_le_bytes().repeat(15), "slot {slot}");
            slots += 1;
        })
        .unwrap();
    assert_eq!(slots, SLOTS);
}
