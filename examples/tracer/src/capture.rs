//! `capture`: packets of pods, as pcapng with the names of pods.

mod record;

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Exit, Failure, print_error};
use podtrail_event::DEFAULT_NETWORK;
use podtrail_netns::capture::{
    Capture, CaptureConfig, CaptureHandle, CaptureStats, Filter, LinkType, Recorder, Rotation, SectionInfo,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::annotate::say;
use crate::args::CaptureArgs;
use crate::owners::Owners;
use crate::pods::{Entrance, Found, Node};
use crate::request::Wanted;
use crate::tool::hang_up;
use record::{Record, Source};

/// Each has a ring of its own.
const PODS: usize = 64;
/// How often a reader that gets no packets looks whether others have failed, and who writes none, whether anybody reads.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is asked whether the pods are still there.
const WATCH: Duration = Duration::from_secs(3);
/// How long the last packets may take to where they are written.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn capture(args: &CaptureArgs) -> Result<u8, Failure> {
    let wanted = Wanted::of(&args.pods)?;
    let config = config(args)?;
    let is_rotated = args.rotate_size.is_some() || args.rotate_time.is_some();
    if args.write == "-" && is_rotated {
        return Err(Failure::usage(anyhow!("standard output cannot be rotated: name a file with -w")));
    }
    if args.keep.is_some() && !is_rotated {
        return Err(Failure::usage(anyhow!(
            "--keep is about files that are rotated: say --rotate-size or --rotate-time"
        )));
    }
    if args.write == "-" && io::stdout().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "packets are nothing for a terminal: name a file with -w, or pipe them to Wireshark"
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let exit = runtime.block_on(async {
        let node = Node::new(&args.pods)?;
        let pods = node.find(&args.pods, &wanted).await?;
        if pods.len() > PODS {
            return Err(Failure::usage(anyhow!(
                "{} pods are more than the {PODS} that can be captured at once",
                pods.len()
            )));
        }
        let (mut sources, mut refused) = (Vec::new(), None);
        for pod in &pods {
            match open(args, &node, pod, &config, wanted.is_many()).await {
                Ok(source) => sources.push(source),
                // One that has just ended does not keep the others waiting.
                Err(failure) if wanted.is_many() => {
                    print_error(failure.error.as_ref());
                    refused.get_or_insert(failure.exit);
                }
                Err(failure) => return Err(failure),
            }
        }
        if sources.is_empty() {
            let exit = refused.unwrap_or(Exit::Unavailable as u8);
            return Err(Failure { exit, error: anyhow!("no pod's packets can be captured") });
        }
        // Heard before it can be seen that there is a capture.
        let shutdown = podtrail_daemon::shutdown_signal().map_err(anyhow::Error::new)?;
        let hang_up = hang_up().context("cannot handle signals")?;
        let asked_to_end = async {
            tokio::select! {
                () = shutdown => {}
                () = hang_up => {}
            }
        };
        let record = Arc::new(Record::new(recorder(args)?, args.count));
        follow(args, &node, sources, record, asked_to_end).await
    });
    // A reader that waits for whoever reads the packets would hold up the end.
    runtime.shutdown_background();
    exit
}

fn config(args: &CaptureArgs) -> Result<CaptureConfig, Failure> {
    let mut config = CaptureConfig::default();
    let filter = args.filter.join(" ");
    if !filter.trim().is_empty() {
        config.filter = Some(checked(&filter, args.snap_length)?);
    }
    config.interfaces.clone_from(&args.interface);
    config.snap_length = args.snap_length;
    config.ring_size = (args.buffer as usize) << 20;
    config.promiscuous = args.promiscuous;
    Ok(config)
}

/// A filter for one type of link at least: what is none is said once, before anybody is asked for pods.
fn checked(text: &str, snap_length: u32) -> Result<Filter, Failure> {
    let filter = Filter::new(text).map_err(Failure::usage)?;
    let compiled = filter.compile(LinkType::ETHERNET, snap_length);
    let compiled = compiled.or_else(|e| filter.compile(LinkType::RAW, snap_length).map_err(|_as_well| e));
    match compiled {
        Ok(_) => Ok(filter),
        Err(e) if e.kind() == podtrail_netns::ErrorKind::Filter => Err(Failure::usage(e)),
        Err(e) => Err(Failure::unavailable(e)),
    }
}

async fn open(
    args: &CaptureArgs,
    node: &Node,
    pod: &Found,
    config: &CaptureConfig,
    is_one_of_many: bool,
) -> Result<Source, Failure> {
    let entrance = node.open(pod).await?;
    let capture = Capture::open(&entrance.netns, config).map_err(|e| {
        let is_usage = matches!(e.kind(), podtrail_netns::ErrorKind::Filter | podtrail_netns::ErrorKind::Config);
        let error = anyhow::Error::new(e).context(format!("cannot capture pod {}", pod.title()));
        if is_usage { Failure::usage(error) } else { Failure::unavailable(error) }
    })?;
    Ok(Source {
        id: entrance.sandbox.sandbox.id.clone(),
        pod: pod.title(),
        prefix: is_one_of_many.then(|| pod.title()),
        description: description(node, pod, &entrance),
        filter: config.filter.as_ref().map(|filter| filter.as_str().to_owned()).unwrap_or_default(),
        snap_length: config.snap_length,
        owners: owners(args)?,
        numbers: HashMap::new(),
        capture,
    })
}

fn description(node: &Node, pod: &Found, entrance: &Entrance) -> String {
    let addresses: Vec<_> = entrance.sandbox.addresses.iter().map(ToString::to_string).collect();
    let (title, uid, inode) = (pod.title(), &entrance.sandbox.sandbox.uid, entrance.netns.inode());
    format!(
        "pod {title} on node {}, addresses {}, UID {uid}, network namespace {inode}",
        node.name,
        addresses.join(" ")
    )
}

fn recorder(args: &CaptureArgs) -> Result<Recorder, Failure> {
    let mut section = SectionInfo::default();
    section.application = concat!("podtrail tracer ", env!("CARGO_PKG_VERSION")).to_owned();
    let system = rustix::system::uname();
    section.os = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    section.hardware = system.machine().to_string_lossy().into_owned();
    let mut rotation = Rotation::default();
    (rotation.size, rotation.period, rotation.keep) = (args.rotate_size, args.rotate_time, args.keep);
    let made = match &*args.write {
        "-" => Recorder::new(io::stdout(), &section),
        path => Recorder::create(path, rotation, &section),
    };
    // Who reads it knows at once what comes, if not yet which packets.
    made.and_then(|mut recorder| recorder.flush().map(|()| recorder)).map_err(Failure::unavailable)
}

fn owners(args: &CaptureArgs) -> Result<Option<Owners>, Failure> {
    let open = |path: &std::path::PathBuf| {
        Owners::open(path, DEFAULT_NETWORK).with_context(|| format!("cannot read ledger {}", path.display()))
    };
    args.ledger.as_ref().map(open).transpose().map_err(Failure::unavailable)
}

/// Reads all of them until they have ended, or it is enough.
async fn follow(
    args: &CaptureArgs,
    node: &Node,
    sources: Vec<Source>,
    record: Arc<Record>,
    asked_to_end: impl Future<Output = ()>,
) -> Result<u8, Failure> {
    let handles: Vec<CaptureHandle> = sources.iter().map(Source::handle).collect();
    let pods: Vec<_> = sources.iter().map(|source| (source.id.clone(), source.pod.clone(), source.handle())).collect();
    let readers = sources.into_iter().map(|mut source| {
        let record = Arc::clone(&record);
        tokio::task::spawn_blocking(move || {
            let read = source.read(&record, LOOK);
            // One that cannot go on is the end of all: nobody would notice that its packets are missing.
            if read.is_err() || record.is_full() {
                record.end();
            }
            (source.stats(), read)
        })
    });
    let mut readers = std::pin::pin!(futures::future::join_all(readers.collect::<Vec<_>>()));
    let ended = tokio::select! {
        ended = &mut readers => Ok(ended),
        () = asked_to_end => Err(()),
        () = enough(args) => Err(()),
        () = record.ended() => Err(()),
        never = watch(node, pods) => never,
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(()) => {
            handles.iter().for_each(CaptureHandle::stop);
            tokio::time::timeout(GRACE, readers).await.map_err(|_elapsed| {
                Failure::unavailable(anyhow!("who reads the packets does not: what was captured last is not written"))
            })?
        }
    };
    let (mut received, mut dropped, mut freezes, mut failure) = (0, Some(0), 0, None);
    for reader in ended {
        let (stats, read) = reader.context("a reader of packets panicked")?;
        dropped = dropped.zip(stats).map(|(sum, stats): (u64, CaptureStats)| sum + stats.dropped);
        received += stats.unwrap_or_default().received;
        freezes += stats.unwrap_or_default().freezes;
        failure = failure.or_else(|| read.err());
    }
    let mut stats = CaptureStats::default();
    (stats.received, stats.dropped, stats.freezes) = (received, dropped.unwrap_or_default(), freezes);
    let record = Arc::into_inner(record).expect("all readers have ended");
    let (written, finished) = record.finish(&stats);
    let dropped = dropped.map_or_else(|| "an unknown number".to_owned(), |dropped| dropped.to_string());
    say(&format!("{written}, {dropped} dropped for want of room"));
    match failure.or_else(|| finished.err().map(Into::into)) {
        Some(error) => Err(Failure::unavailable(error)),
        None => Ok(Exit::Ok as u8),
    }
}

/// Waits until the time is over, or nobody reads any more.
async fn enough(args: &CaptureArgs) {
    let timer = async {
        match args.timer {
            Some(timer) => tokio::time::sleep(timer).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = timer => {}
        () = abandoned(), if args.write == "-" => {}
    }
}

/// Waits until nobody can read standard output any more. Writing would show it, but only packets are written.
async fn abandoned() {
    let stdout = io::stdout();
    loop {
        // Nothing is asked for: what is said then is an error, or that the other end is gone.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        if poll(&mut polled, Some(&Timespec::default())).is_ok_and(|said| said > 0) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Stops what captures a pod that has ended: its namespace lives on as long as it is captured, but nothing happens there any more.
async fn watch(node: &Node, mut pods: Vec<(String, String, CaptureHandle)>) -> ! {
    loop {
        tokio::time::sleep(WATCH).await;
        let mut still = Vec::with_capacity(pods.len());
        for (id, pod, handle) in pods {
            let is_ready = match node.runtime.sandbox(&id).await {
                Ok(status) => status.sandbox.ready,
                // What cannot be known now may be known next time.
                Err(e) => e.kind() != podtrail_cri::ErrorKind::NotFound,
            };
            if is_ready {
                still.push((id, pod, handle));
            } else {
                say(&format!("pod {pod} has ended"));
                handle.stop();
            }
        }
        pods = still;
    }
}
