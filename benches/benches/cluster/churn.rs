//! Pods that come and go at a steady rate, simulated in a process of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use podtrail_sim::{Churn, ChurnConfig, Cluster, Config};

use super::{Result, Tracker, serve, tracker_runtime};

const WARM_UP: Duration = Duration::from_secs(5);
const SUSTAINED: Duration = Duration::from_secs(30);

/// How many pod lives a second are recorded, at how much delay, when they are offered evenly.
pub(crate) fn run() -> Result<()> {
    let rate = std::env::var("PODTRAIL_BENCH_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(5000.0);
    let mut churning = Churning::start(rate)?;
    let folder = tempfile::tempdir()?;
    let runtime = tracker_runtime()?;
    let tracker = Tracker::start(&runtime, &churning.url, &folder.path().join("ledger.db"))?;
    while tracker.metric("podtrail_relists_total")? < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    churning.changes()?; // the first question lets it begin
    std::thread::sleep(WARM_UP);
    let (begun, before) = (Instant::now(), Sample::take(&tracker, &churning)?);
    std::thread::sleep(SUSTAINED);
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Sample::take(&tracker, &churning)?);
    let (changes, writes) = churning.changes()?;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| after.latency(&before, share) * 1000.0);
    println!(
        "churn: {:.0} pod lives/s recorded over {seconds:.0} s of {rate} offered, from frame to commit p50 <= {p50} ms, \
         p99 <= {p99} ms, p99.9 <= {p999} ms; at the end {} frames behind, {} lists, {writes} writes to the API; \
         cores used: tracker {:.2}, simulator {:.2}",
        (after.deleted - before.deleted) / seconds,
        changes.saturating_sub(tracker.metric("podtrail_frame_to_commit_seconds_count")? as u64),
        tracker.metric("podtrail_relists_total")?,
        (after.ours - before.ours) / seconds,
        (after.theirs - before.theirs) / seconds,
    );
    tracker.stop(&runtime)
}

/// What was measured up to some instant.
struct Sample {
    deleted: f64,
    latency: Vec<(f64, f64)>,
    /// Seconds of CPU used, here and by the simulator.
    ours: f64,
    theirs: f64,
}

impl Sample {
    fn take(tracker: &Tracker, churning: &Churning) -> Result<Self> {
        Ok(Self {
            deleted: tracker.metric("podtrail_events_total{kind=\"deleted\"}")?,
            latency: tracker.buckets("podtrail_frame_to_commit_seconds")?,
            ours: cpu(std::process::id())?,
            theirs: cpu(churning.child.id())?,
        })
    }

    /// Upper bound of the histogram's bucket that holds this share of what came since `before`.
    fn latency(&self, before: &Self, share: f64) -> f64 {
        let since: Vec<_> =
            self.latency.iter().zip(&before.latency).map(|((le, now), (_, then))| (le, now - then)).collect();
        let total = since.last().map_or(0.0, |(_, count)| *count);
        since.iter().find(|(_, count)| *count >= share * total).map_or(f64::INFINITY, |(le, _)| **le)
    }
}

/// Seconds of CPU that a process has used.
fn cpu(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold spaces; user and system time are fields 14 and 15, in hundredths.
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / 100.0)
}

/// A simulated API server in a process of its own, whose pods come and go.
struct Churning {
    child: Child,
    said: std::io::Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Churning {
    fn start(rate: f64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["child", "churn", &rate.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let url = said.next().context("the simulator says where it is")??;
        Ok(Self { child, said, url })
    }

    /// How many changes it has made to pods, and how many writes its API was asked for.
    fn changes(&mut self) -> Result<(u64, u64)> {
        self.child.stdin.as_mut().context("it is piped")?.write_all(b"\n")?;
        let line = self.said.next().context("the simulator has ended")??;
        let (changes, writes) = line.split_once(' ').context("two numbers")?;
        Ok((changes.parse()?, writes.parse()?))
    }
}

impl Drop for Churning {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// The other side of [`Churning`]: begins at the first line of its input, answers each line, and ends with them.
pub(crate) fn simulate(rate: f64) -> Result<()> {
    let cluster = Cluster::new(Config { keep_truth: false, log_capacity: 20_000, ..Config::default() });
    let (_server, url) = serve(&cluster)?;
    let second = |from: f64, to: f64| Duration::from_secs_f64(from)..Duration::from_secs_f64(to);
    let config = ChurnConfig {
        addresses: 60_000,
        births_per_second: rate,
        pending: second(0.1, 0.3),
        lifetime: second(0.5, 1.5),
        terminating: second(0.1, 0.3),
        finished: second(0.1, 0.3),
        stateful_share: 0.0,
        ..ChurnConfig::default()
    };
    // Nodes and namespaces only: births are planned, and this one is forgotten.
    Churn::new(1, config.clone()).step(&cluster, cluster.now())?;
    let base = cluster.version();
    println!("{url}");
    let (ask, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(|line| line.ok()).try_for_each(|_| ask.send(())));
    asked.recv()?;
    println!("0 0");
    let mut churn = Churn::new(1, config);
    loop {
        churn.step(&cluster, cluster.now())?;
        std::thread::sleep(Duration::from_millis(2));
        match asked.try_recv() {
            Ok(()) => println!("{} {}", cluster.version() - base, cluster.requests().write),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}
