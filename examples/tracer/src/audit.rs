//! Who ran what in which pod: an event when a tool starts, when it has ended, and when it was refused.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Failure, print_error};
use podtrail_event::{EventId, Timestamp};
use podtrail_writer::{Spec, Target as To, WriterExt as _};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use crate::args::RunArgs;
use crate::pods::{self, Found};
use crate::request::{Keep, Request, Wanted};
use crate::run::Outcome;
use crate::tool::End;

/// How long others may take to write theirs.
const TURN: Duration = Duration::from_secs(10);

/// Where audit events go.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    spec: Option<Spec>,
}

/// What all events of a run say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// 32 hex digits: the same in all events of the run, and in what it sends with `--stream`.
    pub(crate) run: EventId,
    pub(crate) node: String,
    /// The pod, or which pods were wanted.
    #[serde(flatten)]
    target: Target,
    tool: String,
    arguments: Vec<String>,
    /// Which namespaces of which container the tool entered besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enter: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// What it may keep of the capabilities that there are; "all" with `--privileged`.
    capabilities: String,
    destinations: Vec<String>,
    user: User,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Target {
    Pod { namespace: String, name: String },
    Pods { namespace: Option<String>, selector: String },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    uid: u32,
    /// Whom sudo(8) says that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<String>,
}

impl Run {
    /// A run in a pod that was found.
    pub(crate) fn new(args: &RunArgs, request: &Request, node: &str, pod: &Found) -> Self {
        let target = Target::Pod { namespace: pod.namespace.clone(), name: pod.name.clone() };
        Self::at(args, request, node.to_owned(), target)
    }

    /// One that did not come to that.
    pub(crate) fn wanted(args: &RunArgs, request: &Request) -> Self {
        let target = match request.wanted.clone() {
            Wanted::One { namespace, name } => Target::Pod { namespace, name },
            Wanted::Labelled { namespace, selector } => Target::Pods { namespace, selector },
        };
        Self::at(args, request, pods::node_name(&args.pods).0, target)
    }

    fn at(args: &RunArgs, request: &Request, node: String, target: Target) -> Self {
        let now = Timestamp::from(SystemTime::now());
        let (process, nanoseconds) = (std::process::id().to_le_bytes(), now.as_nanosecond().to_le_bytes());
        let (namespace, name) = match &target {
            Target::Pod { namespace, name } => (namespace.as_str(), name.as_str()),
            Target::Pods { namespace, selector } => (namespace.as_deref().unwrap_or_default(), selector.as_str()),
        };
        // Time and process tell the runs of a machine apart, and the node the machines.
        let parts: [&[u8]; 6] =
            [b"tool-run", node.as_bytes(), &process, &nanoseconds, namespace.as_bytes(), name.as_bytes()];
        let capabilities = match request.keep {
            Keep::These(these) => these.to_string(),
            Keep::Everything => "all".to_owned(),
        };
        Self {
            run: EventId::derive(&parts),
            node,
            target,
            tool: request.tool.program.to_string_lossy().into_owned(),
            arguments: request.tool.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            enter: args.enter.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect(),
            container: args.container.clone(),
            capabilities,
            destinations: request.sinks.names(),
            user: User { uid: rustix::process::getuid().as_raw(), sudo: std::env::var("SUDO_USER").ok() },
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    v: u8,
    id: EventId,
    event: &'static str,
    time: Timestamp,
    #[serde(flatten)]
    run: &'a Run,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Started(&'a Place),
    #[serde(rename_all = "camelCase")]
    Ended {
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        timer: bool,
        output_bytes: Option<u64>,
        failures: Vec<String>,
    },
    Refused {
        reason: &'a str,
    },
}

/// Where the tool runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    pub(crate) pod_uid: String,
    pub(crate) sandbox: String,
    /// The inode of the network namespace.
    pub(crate) netns: u64,
}

impl Audit {
    pub(crate) fn new(spec: Option<&str>) -> Result<Self, Failure> {
        let spec = spec.map(Spec::parse).transpose().context("--audit").map_err(Failure::usage)?;
        if let Some(To::File(file)) = spec.as_ref().map(|spec| &spec.target)
            && (file.max_size.is_some() || file.max_age.is_some() || file.keep.is_some())
        {
            let text = "--audit: many runs write to the file, and none of them can rotate it; logrotate(8) can";
            return Err(Failure::usage(anyhow!(text)));
        }
        Ok(Self { spec })
    }

    pub(crate) async fn started(&self, run: &Run, place: &Place) -> Result<(), Failure> {
        self.write("tool-run-started", run, What::Started(place)).await
    }

    pub(crate) async fn ended(&self, run: &Run, outcome: &Outcome) -> Result<(), Failure> {
        let (exit_code, signal) = match outcome.end {
            End::Exited(code) => (Some(code), None),
            End::Signalled(signal) => (None, Some(signal)),
            End::Timer | End::Lost => (None, None),
        };
        let failures = outcome.failures.iter().map(|failure| format!("{failure:#}")).collect();
        let what =
            What::Ended { exit_code, signal, timer: outcome.end == End::Timer, output_bytes: outcome.copied, failures };
        self.write("tool-run-ended", run, what).await
    }

    /// That this cannot be written does not change what is refused: it is said beside.
    pub(crate) async fn refused(&self, run: &Run, failure: &Failure) {
        let reason = format!("{:#}", failure.error);
        if let Err(failure) = self.write("tool-run-refused", run, What::Refused { reason: &reason }).await
            // Where it is why the run was refused, it is said already.
            && format!("{:#}", failure.error) != reason
        {
            print_error(failure.error.as_ref());
        }
    }

    async fn write(&self, event: &'static str, run: &Run, what: What<'_>) -> Result<(), Failure> {
        let Some(spec) = &self.spec else { return Ok(()) };
        let id = EventId::derive(&[run.run.as_bytes(), event.as_bytes()]);
        let event = Event { v: 1, id, event, time: SystemTime::now().into(), run, what };
        let line = serde_json::to_vec(&event).context("an audit event cannot be written as JSON")?;
        // Opened for each event: other runs write to the same file, one after the other.
        let deliver = async {
            let _turn = match &spec.target {
                To::File(file) => {
                    Some(turn(&file.path).await.with_context(|| format!("cannot write to {}", file.path.display()))?)
                }
                _ => None,
            };
            let (mut writer, _) = spec.open()?;
            Ok::<_, anyhow::Error>(writer.deliver_lines(1, &[line.into()], None).await?)
        };
        deliver.await.context("an audit event cannot be written").map_err(Failure::unavailable)?;
        Ok(())
    }
}

/// Waits until nobody else writes an event.
async fn turn(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads is not waited for; a link may lead where somebody else wants us to write.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let file = match rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, mode) {
        Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link, and those are not followed")),
        Err(Errno::NXIO) => return Err(not_regular()),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    let until = Instant::now() + TURN;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(2)).await,
            locked => return locked.map(|()| file).map_err(Into::into),
        }
    }
}

fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file: name another path, or use stdout")
}
