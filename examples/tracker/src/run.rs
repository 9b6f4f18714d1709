//! `tracker run`: wires the crates to signals, threads and tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Health, bind, reopen_signal, serve, shutdown_signal};
use podtrail_event::Cluster;
use podtrail_ledger::{Retention, Store};
use podtrail_track::{Config, Format, Metrics, Sink, Tracking};
use podtrail_watch::{Globs, NamespaceFilter, split_list};
use podtrail_writer::{File, FileHandle, OutboxConfig, Spec, StartFrom, Target, Writer};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Failure;
use crate::args::{EventFormat, RunArgs};

/// The commit loop goes round many times a second; this long without is a fault.
const STUCK: Duration = Duration::from_secs(60);

pub(crate) fn run(args: Box<RunArgs>) -> Result<(), Failure> {
    let sinks = sinks(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(track(*args, sinks))
}

/// A sink, and where it goes.
struct Destination {
    sink: Sink,
    writer: Box<dyn Writer>,
    reopen: Option<FileHandle>,
}

fn sinks(args: &RunArgs) -> Result<Vec<Destination>, Failure> {
    let namespaces = NamespaceFilter {
        include: if args.namespaces.is_empty() { Globs::all() } else { globs(&args.namespaces)? },
        exclude: globs(&args.exclude_namespaces)?,
    };
    let mut sinks: Vec<Destination> = Vec::new();
    for spec in &args.writers {
        let spec = Spec::parse(spec).map_err(Failure::usage)?;
        let name = spec.sink_name();
        if sinks.iter().any(|other| other.sink.name == name) {
            return Err(Failure::usage(anyhow!("two writers are called {name}; give one of them name=NAME")));
        }
        let sink = Sink {
            name,
            namespaces: namespaces.clone(),
            format: match args.event_format {
                EventFormat::Podtracker => Format::PodTracker,
                EventFormat::Podtrail => Format::Podtrail,
            },
            tracked_by: args.tracked_by.clone(),
            from_now: spec.from == StartFrom::Now,
        };
        let (writer, reopen): (Box<dyn Writer>, _) = match spec.target {
            Target::Stdout => (Box::new(podtrail_writer::stdout()), None),
            Target::File(config) => {
                let file = File::new(config)?;
                let handle = file.handle();
                (Box::new(file), Some(handle))
            }
            other => return Err(Failure::usage(anyhow!("{other:?} is no place that this program writes to"))),
        };
        sinks.push(Destination { sink, writer, reopen });
    }
    Ok(sinks)
}

fn globs(lists: &[String]) -> Result<Globs, Failure> {
    Globs::new(lists.iter().flat_map(|list| split_list(list))).map_err(Failure::usage)
}

async fn track(args: RunArgs, sinks: Vec<Destination>) -> Result<(), Failure> {
    let (stop, mut stopped) = watch::channel(false);
    let signal = shutdown_signal()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        signal.await;
        tracing::info!("stopping: what was seen is being written");
        stop.send_replace(true);
        Ok(())
    });

    let mut registry = Registry::default();
    podtrail_daemon::register_process_metrics(&mut registry);
    let metrics = Metrics::new(&mut registry);
    let health = Health::new();
    let ready = health.condition("watch", "the cluster is not watched yet");
    let (end_http, http_ended) = watch::channel(false);
    let http = match &args.listen {
        Some(address) => {
            let listener = bind(address).await.map_err(|e| Failure { exit: e.exit(), error: e.into() })?;
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
    let mut tracking = Tracking::new(store, config(&args), metrics.clone())?;

    let committer = tracking.committer().context("the commit loop was taken")?;
    let heartbeat = health.heartbeat("commit", STUCK);
    let committing = tokio::task::spawn_blocking(move || committer.run(|| heartbeat.beat()));
    let watching = tokio::spawn(tracking.watch(client, done(stopped.clone())));
    let (drain, drained) = watch::channel(false);
    let mut outboxes = JoinSet::new();
    let mut handles = Vec::new();
    for Destination { sink, writer, reopen } in sinks {
        handles.extend(reopen);
        let name = sink.name.clone();
        let (feed, observer, drained) = (tracking.feed(sink)?, metrics.outbox(&name), drained.clone());
        outboxes.spawn(async move {
            let run = podtrail_writer::run(feed, writer, OutboxConfig::default(), &observer, done(drained));
            run.await.with_context(|| format!("cannot go on writing to {name}"))
        });
    }
    tasks.spawn(reopen(handles));
    tasks.spawn(readiness(metrics, ready));

    // Runs until it is told to stop, or until a part of it cannot go on.
    let mut committing = committing;
    let failed = tokio::select! {
        () = done(stopped.clone()) => None,
        committed = &mut committing => {
            committed.context("the commit loop ended")??;
            return Err(anyhow!("the commit loop ended").into());
        }
        Some(outbox) = outboxes.join_next() => outbox.context("an outbox ended")?.err(),
    };
    watching.abort();
    tracking.flush().await;
    drain.send_replace(true);
    let mut result = failed.map_or(Ok(()), |e| Err(Failure::from(e)));
    while let Some(outbox) = outboxes.join_next().await {
        if let Err(e) = outbox.context("an outbox ended")? {
            result = Err(e.into());
        }
    }
    drop(tracking);
    drop(watching.await);
    committing.await.context("the commit loop ended")??;
    end_http.send_replace(true);
    if let Some(http) = http {
        http.await.context("the HTTP server ended")??;
    }
    result
}

fn config(args: &RunArgs) -> Config {
    let mut config = Config::default();
    config.confirm_every = args.confirm_every;
    config.confirm_rate = args.confirm_rate;
    config.retention = Retention { age: args.retain_age, size: args.retain_size.map(|mib| mib.saturating_mul(1 << 20)) };
    config
}

/// Resolves when the flag is set, or when nobody is left to set it.
async fn done(mut flag: watch::Receiver<bool>) {
    drop(flag.wait_for(|set| *set).await);
}

/// The cluster's UID, as soon as its API server answers; `None` if told to stop before.
async fn cluster_uid(client: &kube::Client, stopped: &mut watch::Receiver<bool>) -> Result<Option<String>, Failure> {
    let mut wait = Duration::from_millis(500);
    loop {
        let error = match podtrail_watch::cluster_uid(client).await {
            Ok(uid) => return Ok(Some(uid)),
            Err(e) if !e.is_retryable() => return Err(Failure::unavailable(e)),
            Err(e) => e,
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
async fn reopen(files: Vec<FileHandle>) -> anyhow::Result<()> {
    let mut signal = reopen_signal()?;
    loop {
        signal.recv().await;
        tracing::info!("opening files anew");
        files.iter().for_each(FileHandle::reopen);
    }
}

async fn readiness(metrics: Arc<Metrics>, ready: podtrail_daemon::Condition) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        if metrics.is_ready() {
            ready.set_ready();
        } else {
            ready.set_not_ready("the cluster is not watched, or the ledger cannot be written");
        }
    }
}
