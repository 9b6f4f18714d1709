//! `kill -9` at any moment.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use podtrail_ledger::{Change, Store};

use crate::ledger::{Place, claim, cluster, covered, interval, pod, said};

const PATH: &str = "PODTRAIL_TEST_KILL";
const ROUNDS: u64 = 60;

#[test]
fn all_that_was_acknowledged_survives_kill_9() {
    let place = Place::new();
    let (mut acknowledged, mut killed) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture"])
            .env(PATH, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over opening, which takes some milliseconds, and many commits.
        std::thread::sleep(Duration::from_micros(round * 7919 % 130 * 1000 + round));
        child.kill().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        killed += u64::from(!child.wait().unwrap().success());
        let last = said.lines().filter_map(|line| line.parse::<u64>().ok()).next_back();
        acknowledged = last.unwrap_or(acknowledged);

        let store = place.open();
        let head = store.head().unwrap();
        assert!(head == acknowledged || head == acknowledged + 1, "{head} is there, {acknowledged} was acknowledged");
        let verified = store.verify().unwrap();
        assert_eq!((verified.evidence, verified.claims), (head, head));
        let live = store.live().unwrap();
        assert_eq!(live.checkpoints.get("pods").map_or("0", |version| version), head.to_string(), "round {round}");
        assert_eq!(live.pods.len() as u64, head);
        acknowledged = head;
    }
    assert_eq!(killed, ROUNDS);
    assert!(acknowledged > ROUNDS, "hardly anything was committed: {acknowledged}");
}

/// Not a test by itself: commits until it is killed, and prints the number of each commit.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let mut store = Store::open(path, &cluster(), Duration::ZERO).unwrap();
    loop {
        let n = i64::try_from(store.head().unwrap()).unwrap() + 1;
        let ip = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        let changes = [
            Change::Pod(Box::new(pod(n))),
            said(n, &[claim(n, n, &ip, interval(n, None, None))]),
            covered(0, n),
            Change::Checkpoint("pods", n.to_string()),
        ];
        let done = store.commit(&changes).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{done}").unwrap();
        out.flush().unwrap();
    }
}
