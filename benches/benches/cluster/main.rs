//! A cluster of 50,000 pods, simulated over loopback: the first list into a durable ledger, churn, and memory.
//!
//! `cargo bench -p podtrail-benches --bench cluster [list|churn|memory]`. Memory is that of processes of their own: this
//! program starts itself again. With `PODTRAIL_TRACKER` it also measures that binary's `run`.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use podtrail_event::Timestamp;
use podtrail_ledger::Store;
use podtrail_sim::{Cluster, Config, populate};
use podtrail_track::{Metrics, Tracking};
use podtrail_watch::Delta;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;

mod churn;

const PODS: usize = 50_000;
/// Makes a pod about 9 KB.
const MANAGED_FIELDS: usize = 6200;

type Result<T> = anyhow::Result<T>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.first().map(String::as_str) {
        Some("child") if words[1] == "churn" => churn::simulate(words[2].parse()?),
        Some("child") => child(&words[1], &words[2]),
        Some("list") => list(),
        Some("churn") => churn::run(),
        Some("memory") => memory(),
        Some(other) => bail!("no such benchmark: {other}"),
        None => list().and_then(|()| churn::run()).and_then(|()| memory()),
    }
}

/// A simulated API server on a runtime of its own.
fn serve(cluster: &Cluster) -> Result<(Runtime, String)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}", listener.local_addr()?);
    runtime.spawn(podtrail_sim::serve(cluster.clone(), listener, std::future::pending()));
    Ok((runtime, url))
}

fn client(url: &str) -> Result<kube::Client> {
    let mut config = kube::Config::new(url.parse()?);
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

fn populated() -> Result<Cluster> {
    let cluster = Cluster::new(Config { managed_fields: MANAGED_FIELDS, keep_truth: false, ..Config::default() });
    populate(&cluster, PODS)?;
    Ok(cluster)
}

/// A tracker in this process, without sinks.
struct Tracker {
    committing: std::thread::JoinHandle<std::result::Result<(), podtrail_track::Error>>,
    watching: tokio::task::JoinHandle<()>,
    tracking: Tracking,
    registry: Registry,
}

impl Tracker {
    fn start(runtime: &Runtime, url: &str, ledger: &std::path::Path) -> Result<Self> {
        let store = Store::open(ledger, &podtrail_event::Cluster::new("bench"), Duration::from_secs(1))?;
        let mut registry = Registry::default();
        let mut tracking = Tracking::new(store, podtrail_track::Config::default(), Metrics::new(&mut registry))?;
        let committer = tracking.committer().context("taken once")?;
        let committing = std::thread::spawn(move || committer.run(|| ()));
        let _guard = runtime.enter();
        let watching = runtime.spawn(tracking.watch(client(url)?, std::future::pending()));
        Ok(Self { committing, watching, tracking, registry })
    }

    fn metric(&self, name: &str) -> Result<f64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).with_context(|| format!("no metric {name}"))
    }

    /// The upper bound of each bucket of a histogram, and how many values are at most that.
    fn buckets(&self, name: &str) -> Result<Vec<(f64, f64)>> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        let bucket = |line: &str| -> Option<(f64, f64)> {
            let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
            let (le, count) = rest.split_once("\"} ")?;
            Some((le.parse().unwrap_or(f64::INFINITY), count.split(' ').next()?.parse().ok()?))
        };
        Ok(text.lines().filter_map(bucket).collect())
    }

    fn stop(self, runtime: &Runtime) -> Result<()> {
        self.watching.abort();
        runtime.block_on(self.tracking.flush());
        drop(self.tracking);
        match self.committing.join() {
            Ok(done) => Ok(done?),
            Err(_) => bail!("the commit loop panicked"),
        }
    }
}

fn tracker_runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// From the start of a tracker to all of a cluster's pods in its ledger, committed.
fn list() -> Result<()> {
    let cluster = populated()?;
    let (_server, url) = serve(&cluster)?;
    let mut walls = Vec::new();
    for _ in 0..5 {
        let folder = tempfile::tempdir()?;
        let runtime = tracker_runtime()?;
        let started = Instant::now();
        let tracker = Tracker::start(&runtime, &url, &folder.path().join("ledger.db"))?;
        while tracker.metric("podtrail_relists_total")? < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        walls.push(started.elapsed().as_secs_f64());
        anyhow::ensure!(tracker.metric("podtrail_pods")? as usize == PODS, "some pods are missing");
        tracker.stop(&runtime)?;
    }
    println!(
        "list: {PODS} pods of 9 KB into the ledger, durable: median {:.2} s of {walls:.2?}",
        median(walls.clone())
    );
    Ok(())
}

fn resident() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no figure")?.parse::<usize>()? * 1024)
}

/// What 50,000 pods cost in memory: here, and in a stock reflector.
fn memory() -> Result<()> {
    let cluster = populated()?;
    let (_server, url) = serve(&cluster)?;
    let this = std::env::current_exe()?;
    let measure = |what: &str| -> Result<usize> {
        let output = Command::new(&this).args(["child", what, &url]).stderr(Stdio::inherit()).output()?;
        String::from_utf8(output.stdout)?.trim().parse().with_context(|| format!("{what} gave no figure"))
    };
    let (ours, stock) = (measure("tracker")?, measure("reflector")?);
    println!(
        "memory: {} B a pod in the tracker, {} B a pod in a kube reflector of Pod: {:.1} times less",
        ours / PODS,
        stock / PODS,
        stock as f64 / ours as f64
    );
    if let Ok(binary) = std::env::var("PODTRAIL_TRACKER") {
        let resident = run(&binary, &url)?;
        println!("memory: tracker run holds {:.0} MB resident with {PODS} pods", resident as f64 / 1e6);
    }
    Ok(())
}

/// Resident bytes of the real program after the first list, when it has settled.
fn run(binary: &str, url: &str) -> Result<usize> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        r#"{{"apiVersion":"v1","kind":"Config","current-context":"c","users":[{{"name":"u","user":{{}}}}],"clusters":[{{"name":"c","cluster":{{"server":"{url}"}}}}],"contexts":[{{"name":"c","context":{{"cluster":"c","user":"u"}}}}]}}"#
    );
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, config)?;
    let events = folder.path().join("events.ndjson");
    let mut child = Command::new(binary)
        .arg("run")
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .arg("--ledger")
        .arg(folder.path().join("ledger.db"))
        .arg(format!("--writer=file:{}", events.display()))
        .stderr(Stdio::null())
        .spawn()?;
    let lines = || std::fs::read(&events).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count());
    let started = Instant::now();
    while lines() < 2 * PODS && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(3));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    child.kill()?;
    child.wait()?;
    let status = status?;
    let figure = |name: &str| -> Option<usize> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib * 1024)
    };
    println!("memory: at its peak {:.0} MB", figure("VmHWM:").unwrap_or_default() as f64 / 1e6);
    figure("VmRSS:").context("no VmRSS")
}

/// Holds all pods of the cluster at `url` in memory, and prints how much that took.
fn child(what: &str, url: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let taken = runtime.block_on(async {
        let client = client(url)?;
        let before = resident()?;
        match what {
            "tracker" => track(client, before).await,
            _ => reflect(client, before).await,
        }
    })?;
    println!("{taken}");
    Ok(())
}

struct Nothing;

impl podtrail_track::Recall for Nothing {
    fn pod(&self, _: i64) -> std::result::Result<Option<podtrail_ledger::PodRow>, podtrail_ledger::Error> {
        Ok(None)
    }
    fn pod_by_uid(&self, _: &str) -> std::result::Result<Option<podtrail_ledger::PodRow>, podtrail_ledger::Error> {
        Ok(None)
    }
    fn claims_of(&self, _: i64) -> std::result::Result<Vec<podtrail_ledger::ClaimRow>, podtrail_ledger::Error> {
        Ok(Vec::new())
    }
}

async fn track(client: kube::Client, before: usize) -> Result<usize> {
    let mut tracker = podtrail_track::Tracker::new(podtrail_ledger::Live::default(), Duration::from_secs(1));
    let mut pods = std::pin::pin!(podtrail_watch::pods(client, podtrail_watch::Config::default(), None));
    while let Some(delta) = pods.next().await {
        let end = matches!(delta, Delta::Snapshot { .. });
        let now = Timestamp::from(std::time::SystemTime::now());
        tracker.pods(delta, now, &Nothing)?;
        drop(tracker.take(now));
        drop(tracker.take_turnover());
        if end {
            break;
        }
    }
    anyhow::ensure!(tracker.pods_known() == PODS, "some pods are missing");
    Ok(resident()?.saturating_sub(before))
}

async fn reflect(client: kube::Client, before: usize) -> Result<usize> {
    use kube::runtime::{reflector, reflector::store, watcher};
    let api = kube::Api::<k8s_openapi::api::core::v1::Pod>::all(client);
    let (reader, writer) = store();
    let mut stream = std::pin::pin!(reflector(writer, watcher(api, watcher::Config::default())));
    while let Some(event) = stream.try_next().await? {
        if matches!(event, watcher::Event::InitDone) {
            break;
        }
    }
    anyhow::ensure!(reader.len() == PODS, "some pods are missing");
    let taken = resident()?.saturating_sub(before);
    drop(Arc::new(reader));
    Ok(taken)
}
