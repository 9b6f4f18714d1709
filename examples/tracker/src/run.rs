//! `tracker run`: wires the crates to signals, threads and tasks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Failure, Health, Reopen, bind, reopen_signal, serve, shutdown_signal};
use podtrail_event::Cluster;
use podtrail_ledger::{Retention, Store};
use podtrail_track::{Config, Metrics, Sink, Tracking};
use podtrail_watch::{ErrorKind, Globs, NamespaceFilter, split_list};
use podtrail_writer::{FileHandle, Spec, StartFrom};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::RunArgs;
use crate::running::{Destination, Running, done};

/// The commit loop goes round many times a second; this long without is a fault.
const STUCK: Duration = Duration::from_secs(60);
/// An API server that has just started forbids what it allows a moment later.
const STARTING: Duration = Duration::from_secs(3);

pub(crate) fn run(args: Box<RunArgs>) -> Result<(), Failure> {
    let sinks = sinks(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(track(*args, sinks))
}

/// Where events go, and the files among it, which SIGHUP opens anew.
struct Sinks {
    destinations: Vec<Destination>,
    files: Vec<FileHandle>,
}

fn sinks(args: &RunArgs) -> Result<Sinks, Failure> {
    let namespaces = NamespaceFilter {
        include: if args.namespaces.is_empty() { Globs::all() } else { globs(&args.namespaces)? },
        exclude: globs(&args.exclude_namespaces)?,
    };
    if namespaces.include.is_empty() {
        return Err(Failure::usage(anyhow!("--namespaces names none: no sink would get a pod's events")));
    }
    let specs = Spec::parse_all(&args.writers).map_err(Failure::usage)?;
    let (mut destinations, mut files) = (Vec::new(), Vec::new());
    for spec in specs {
        let (namespaces, from_now) = (namespaces.clone(), spec.from == StartFrom::Now);
        let sink = Sink { namespaces, from_now, ..args.look.sink(spec.sink_name()) };
        let (writer, file) = spec.open()?;
        files.extend(file);
        destinations.push(Destination { sink, writer });
    }
    Ok(Sinks { destinations, files })
}

fn globs(lists: &[String]) -> Result<Globs, Failure> {
    Globs::new(lists.iter().flat_map(|list| split_list(list))).map_err(Failure::usage)
}

async fn track(args: RunArgs, sinks: Sinks) -> Result<(), Failure> {
    let (stop, mut stopped) = watch::channel(false);
    let (signal, hangup) = (shutdown_signal()?, reopen_signal()?);
    // They end with this function; none of them can fail.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        signal.await;
        tracing::info!("stopping: what was seen is being written");
        stop.send_replace(true);
    });
    tasks.spawn(reopen(hangup, sinks.files));
    say_configuration(&args);

    let mut registry = Registry::default();
    podtrail_daemon::register_process_metrics(&mut registry);
    let metrics = Metrics::new(&mut registry);
    let health = Health::new();
    let ready = health.condition("watch", "the cluster is not watched yet");
    let (end_http, http_ended) = watch::channel(false);
    let http = match &args.listen {
        Some(address) => {
            let listener = bind(address).await?;
            tracing::info!(address = %listener.local_addr()?, "serving /livez, /readyz and /metrics");
            Some(tokio::spawn(serve(listener, health.clone(), Arc::new(registry), done(http_ended))))
        }
        None => None,
    };

    let client = podtrail_watch::client(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let client = client.map_err(Failure::unavailable)?;
    let Some(uid) = cluster_uid(&client, &mut stopped).await? else { return Ok(()) };
    let cluster = Cluster::new(uid).named(args.cluster_name.clone());
    let store = Store::open(&args.ledger.ledger, &cluster, args.clock_error)?;
    tracing::info!(ledger = %args.ledger.ledger.display(), cluster = cluster.uid, "tracking");
    let tracking = Tracking::new(store, config(&args), metrics.clone())?;
    let heartbeat = health.heartbeat("commit", STUCK);
    let running = Running::start(tracking, client, sinks.destinations, move || heartbeat.beat())?;
    tasks.spawn(readiness(metrics, ready));
    let result = running.until(done(stopped)).await;
    end_http.send_replace(true);
    if let Some(http) = http {
        http.await.context("the HTTP server ended")??;
    }
    Ok(result?)
}

/// Says once what applies: a path to secrets at most, never one.
fn say_configuration(args: &RunArgs) {
    let path = |path: &std::path::PathBuf| path.display().to_string();
    tracing::info!(
        kubeconfig = args.kubeconfig.as_ref().map(path),
        context = args.context,
        cluster_name = args.cluster_name,
        namespaces = args.namespaces.join(","),
        exclude_namespaces = args.exclude_namespaces.join(","),
        ledger = path(&args.ledger.ledger),
        writers = ?args.writers,
        event_format = ?args.look.event_format,
        tracked_by = args.look.tracked_by,
        confirm_every = ?args.confirm_every,
        confirm_rate = args.confirm_rate,
        clock_error = ?args.clock_error,
        retain_age = args.retain_age.map(tracing::field::debug),
        retain_size_mib = args.retain_size,
        listen = args.listen,
        "configuration"
    );
}

fn config(args: &RunArgs) -> Config {
    let mut config = Config::default();
    config.confirm_every = args.confirm_every;
    config.confirm_rate = args.confirm_rate;
    config.retention =
        Retention { age: args.retain_age, size: args.retain_size.map(|mib| mib.saturating_mul(1 << 20)) };
    config
}

/// The cluster's UID, as soon as its API server answers; `None` if told to stop before.
async fn cluster_uid(client: &kube::Client, stopped: &mut watch::Receiver<bool>) -> Result<Option<String>, Failure> {
    let (mut forbidden, mut wait) = (None, Duration::from_millis(500));
    loop {
        let error = match podtrail_watch::cluster_uid(client).await {
            Ok(uid) => return Ok(Some(uid)),
            Err(e) if e.is_retryable() => e,
            Err(e) if e.kind() == ErrorKind::Status(403) => {
                if forbidden.get_or_insert_with(Instant::now).elapsed() >= STARTING {
                    return Err(Failure::unavailable(e));
                }
                e
            }
            Err(e) => return Err(Failure::unavailable(e)),
        };
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(error = &error as &dyn std::error::Error, retry_ms, "cluster cannot be reached yet");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = done(stopped.clone()) => return Ok(None),
        }
        wait = (wait * 2).min(Duration::from_secs(30));
    }
}

/// On SIGHUP, files are opened anew.
async fn reopen(mut hangup: Reopen, files: Vec<FileHandle>) {
    loop {
        hangup.recv().await;
        tracing::info!("opening files anew");
        files.iter().for_each(FileHandle::reopen);
    }
}

async fn readiness(metrics: Arc<Metrics>, ready: podtrail_daemon::Condition) {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        if metrics.is_ready() {
            ready.set_ready();
        } else {
            ready.set_not_ready("the pods or the nodes are not watched just now, or the ledger cannot be written");
        }
    }
}
