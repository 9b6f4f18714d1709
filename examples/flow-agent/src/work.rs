//! The worker: reads the sockets that the holder lent it, counts, and writes.

mod collector;
mod sinks;
mod site;
mod state;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Channel, Failure, Health, Parcel, bind, inherit, reopen_signal, serve, shutdown_signal};
use podtrail_writer::{Spec, Spool, SpoolErrorKind};
use prometheus_client::registry::Registry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;

use crate::args::RunArgs;
use crate::metrics::Metrics;
use crate::orders::{Order, Site};
use collector::Collector;

/// Orders come at once, and a process that is killed ends at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// The collector goes round many times a second; this long without is a fault.
const STUCK: Duration = Duration::from_secs(60);
/// A store that is in use is tried again after so long.
const PAUSE: Duration = Duration::from_millis(100);
/// What is kept in memory, at most, where there is no folder for it.
const MEMORY: u64 = 64 << 20;

pub(crate) fn work(args: RunArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // The collector, and the outboxes' reads and writes: each thread has memory of its own.
        .max_blocking_threads(3)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let guard = runtime.enter();
    // Whoever signals all processes of a group means the holder, which tells this one.
    let (_terminated, _hung_up) = (shutdown_signal()?, reopen_signal()?);
    let channel = inherit()?;
    let lent = receive_all(&channel)?;
    let specs = Spec::parse_all(&args.writers).map_err(Failure::usage)?;
    let spool = spool(&args)?;
    sinks::forget_others(&spool, &specs)?;
    drop(guard);
    runtime.block_on(run(args, channel, lent, specs, spool))
}

async fn run(
    args: RunArgs,
    channel: Channel,
    lent: Vec<(Site, Parcel)>,
    specs: Vec<Spec>,
    spool: Spool,
) -> Result<(), Failure> {
    let mut registry = Registry::default();
    podtrail_daemon::register_process_metrics(&mut registry);
    let metrics = Metrics::new(&mut registry);
    let health = Health::new();
    let counting = health.condition("counting", "the connection table has not been read yet");
    let heartbeat = health.heartbeat("collector", STUCK);
    let mut sinks = sinks::Sinks::open(&spool, specs, &metrics, &health)?;
    if let Some(address) = &args.listen {
        let listener = bind(address).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        tracing::info!(%address, "serving /livez, /readyz and /metrics");
        drop(tokio::spawn(serve(listener, health.clone(), Arc::new(registry), std::future::pending())));
    }
    let (mut sites, mut tables) = (Vec::new(), Vec::new());
    let limit = args.max_connections as usize;
    for (site, parcel) in lent {
        let (site, table) = site::Site::take_over(site, parcel, node(&args)?, limit, &metrics)?;
        sites.push(site);
        tables.push(table);
    }
    let ((stop, stopped), (reopen, reopened)) = (watch::channel(false), watch::channel(()));
    sinks.start(&stopped, &reopened);
    let report = collector::Report { counting, heartbeat, reopen };
    let collector = Collector::new(channel, spool, args.state.is_some(), sites, args.interval, metrics, report);
    let collecting = tokio::task::spawn_blocking(move || collector.run(&mut tables));
    let collected = collecting.await.context("the collector ended")?;
    stop.send_replace(true);
    sinks.finish().await;
    Ok(collected?)
}

/// What the holder lends: for each namespace, what it says and the descriptors.
fn receive_all(channel: &Channel) -> Result<Vec<(Site, Parcel)>, Failure> {
    let mut sites: Vec<(Site, Parcel)> = Vec::new();
    loop {
        while let Some(parcel) = channel.receive()? {
            if let Order::Count(site) = Order::from_bytes(&parcel.bytes)? {
                sites.push((site, parcel));
            }
            if sites.first().is_some_and(|(site, _)| sites.len() == site.of) {
                return Ok(sites);
            }
        }
        let timeout = Timespec::try_from(PATIENCE).context("the time to wait is too long")?;
        let ready =
            poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&timeout)).context("cannot wait for orders")?;
        if ready == 0 {
            return Err(anyhow!("the holder said nothing for {} s", PATIENCE.as_secs()).into());
        }
    }
}

fn spool(args: &RunArgs) -> Result<Spool, Failure> {
    let Some(folder) = &args.state else { return Ok(Spool::in_memory(MEMORY)) };
    let context = || format!("cannot use the folder {} for state", folder.display());
    std::fs::create_dir_all(folder).with_context(context).map_err(Failure::unavailable)?;
    let (file, began) = (folder.join("flows.db"), Instant::now());
    loop {
        match Spool::open(&file, args.state_limit << 20) {
            // The worker of a holder that was killed is about to end, too.
            Err(error) if error.kind() == SpoolErrorKind::Locked && began.elapsed() < PATIENCE => thread::sleep(PAUSE),
            opened => return opened.with_context(context).map_err(Failure::unavailable),
        }
    }
}

fn node(args: &RunArgs) -> anyhow::Result<String> {
    if let Some(node) = &args.node {
        return Ok(node.clone());
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host's name")?;
    Ok(name.trim_end().to_owned())
}
