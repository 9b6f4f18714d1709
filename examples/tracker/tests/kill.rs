//! `kill -9` of `tracker run`, again and again, while pods come and go: nothing is lost, nothing is written twice.
//!
//! `PODTRAIL_KILLS` says how often in the ignored test, 200 by default: `cargo test -p tracker --test kill -- --ignored`.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use podtrail_sim::{Churn, ChurnConfig, Cluster, Config};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn killed_now_and_then_nothing_is_lost_or_doubled() {
    survives(10, 1);
}

#[test]
#[ignore = "takes minutes: CI asks for it"]
fn killed_hundreds_of_times_nothing_is_lost_or_doubled() {
    let kills = std::env::var("PODTRAIL_KILLS").map_or(200, |n| n.parse().expect("PODTRAIL_KILLS is a number"));
    survives(kills, 2);
}

fn survives(kills: u32, seed: u64) {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // All history is kept: whatever the tracker misses while it is dead, the watch tells it when it is back.
    let history = Config { log_capacity: 5_000_000, bookmark_every: Duration::from_millis(200), ..Config::default() };
    let cluster = Cluster::new(history);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    kubeconfig(&home.path().join("kubeconfig"), &format!("http://{}", listener.local_addr().unwrap()));
    runtime.spawn(podtrail_sim::serve(cluster.clone(), listener, std::future::pending()));
    let stop = Arc::new(AtomicBool::new(false));
    let churning = std::thread::spawn({
        let (cluster, stop) = (cluster.clone(), stop.clone());
        move || churn(&cluster, seed, &stop)
    });

    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..kills {
        // Settings that are other than those that a batch in flight began with.
        let name = ["one", "another", "a third"][rng.random_range(0..3)];
        let mut tracker = run(home.path(), name);
        std::thread::sleep(Duration::from_millis(rng.random_range(20..600)));
        tracker.kill().unwrap();
        tracker.wait().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    churning.join().unwrap();
    let tracker = run(home.path(), "the last");
    wait_for_deletes(home.path(), &cluster);
    terminate(tracker);
    judge(home.path(), &cluster);
    // Only what was killed before its first list was committed had to list again.
    let requests = cluster.requests();
    assert!(requests.list <= 1 + u64::from(kills) / 10, "it resumes by watch: {requests:?}");
    let from = &requests.watched_from;
    let lists = from.iter().filter(|version| **version == 0).count();
    assert!(from.is_sorted() && lists <= 1 + kills as usize / 10, "from the version that was stored: {from:?}");
    assert_eq!(requests.write, 0);
    let packed = fs::read_dir(home.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".gz")
    });
    assert!(packed.count() > 1, "kills met rotation and packing");
}

fn churn(cluster: &Cluster, seed: u64, stop: &AtomicBool) {
    let ms = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
    let config = ChurnConfig {
        addresses: 60,
        births_per_second: 40.0,
        pending: ms(5, 50),
        lifetime: ms(200, 1500),
        terminating: ms(20, 200),
        finished: ms(100, 1000),
        host_network_share: 0.05,
        ..ChurnConfig::default()
    };
    let mut churn = Churn::new(seed, config);
    while !stop.load(Ordering::Relaxed) {
        churn.step(cluster, cluster.now()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    churn.drain(cluster).unwrap();
}

fn kubeconfig(path: &Path, url: &str) {
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    fs::write(path, config.to_string()).unwrap();
}

fn tracker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.args(args).stdin(Stdio::null()).env_clear();
    command
}

/// A tracker whose file is so small that kills meet it while it is rotated and packed.
fn run(home: &Path, name: &str) -> Child {
    let writer = format!("file:{},max-size=64KiB", home.join("events.ndjson").display());
    let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log")).unwrap();
    tracker(&["run", "--cluster-name", name, "--tracked-by", name, "--writer", &writer, "--kubeconfig"])
        .arg(home.join("kubeconfig"))
        .arg("--ledger")
        .arg(home.join("ledger.db"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn terminate(mut tracker: Child) {
    kill_process(Pid::from_child(&tracker), Signal::TERM).unwrap();
    let status = tracker.wait().unwrap();
    assert!(status.success(), "{status}");
}

/// The parts of the file in order, and then the file: what was written, line by line.
fn written(home: &Path) -> Vec<String> {
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(home).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stamp) = name.strip_prefix("events.ndjson.") else { continue };
        if stamp.ends_with(".tmp") {
            continue;
        }
        let bytes = fs::read(home.join(&name)).unwrap_or_default();
        let (stamp, text) = match stamp.strip_suffix(".gz") {
            Some(stamp) => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
                (stamp, text)
            }
            None => (stamp, String::from_utf8(bytes).unwrap()),
        };
        parts.insert(stamp.to_owned(), text);
    }
    let last = fs::read_to_string(home.join("events.ndjson")).unwrap_or_default();
    let whole: String = parts.into_values().chain([last]).collect();
    whole.lines().map(str::to_owned).collect()
}

/// UIDs of the pods that these events, of this kind, are about; each once.
fn about(lines: &[String], kind: &str) -> BTreeSet<String> {
    let events = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut uids = BTreeSet::new();
    for event in events.filter(|event| event["event"] == kind) {
        let uid = event["pod"]["uid"].as_str().unwrap().to_owned();
        assert!(uids.insert(uid.clone()), "{kind} of {uid} twice");
    }
    uids
}

/// The event without what depends on the settings.
fn unnamed(line: &str) -> serde_json::Value {
    let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
    event.as_object_mut().unwrap().remove("trackedBy");
    event["cluster"].as_object_mut().unwrap().remove("name");
    event
}

fn held(cluster: &Cluster) -> BTreeSet<String> {
    cluster.truth().iter().map(|hold| hold.uid.to_string()).collect()
}

fn wait_for_deletes(home: &Path, cluster: &Cluster) {
    let (all, deadline) = (held(cluster), Instant::now() + Duration::from_secs(60));
    // While it is being rotated the file may be read twice or not at all: what counts is judged later.
    let deleted = || {
        let lines = written(home);
        lines.iter().filter(|line| line.contains(r#""event":"deleted""#)).count()
    };
    while deleted() < all.len() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn judge(home: &Path, cluster: &Cluster) {
    let lines = written(home);
    let ledger = home.join("ledger.db");
    let ask = |command: &[&str]| {
        let output = tracker(command).arg("--ledger").arg(&ledger).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let recorded = ask(&["export", "--what", "events"]);
    let recorded = recorded.lines().map(unnamed);
    assert!(recorded.eq(lines.iter().map(|line| unnamed(line))), "the parts joined are the stream");
    let ids: BTreeSet<_> = lines.iter().map(|line| line.split_once(r#""id":""#).unwrap().1[..32].to_owned()).collect();
    assert_eq!(ids.len(), lines.len(), "no id twice");
    let truth = held(cluster);
    assert!(truth.len() > 20, "{}", truth.len());
    assert_eq!(about(&lines, "created"), truth);
    assert_eq!(about(&lines, "deleted"), truth);
    assert!(ask(&["verify"]).starts_with("ok"));
}
