//! A tool in the network namespaces of pods.

mod many;

use std::error::Error as _;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Exit, Failure, print_error};
use podtrail_netns::{ErrorKind, Namespaces, Netns};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::args::{Kind, RunArgs, given};
use crate::audit::{Audit, Place, Run};
use crate::output::{Ended, Lines, Output, Source, copy_lines};
use crate::pods::{Entrance, Found, Node};
use crate::request::{Keep, Request};
use crate::stream::Stream;
use crate::terminal::Terminal;
use crate::tool::{End, Group, Signals};

/// The exit code of shells where there is no such program.
const NOT_FOUND: u8 = 127;

/// Where containers have their programs, and machines too.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a tool fared.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// How many bytes it wrote, if that went through our hands.
    pub(crate) copied: Option<u64>,
    /// Where its output did not get.
    pub(crate) failures: Vec<anyhow::Error>,
}

impl Outcome {
    /// The tool's exit code; but 1 where it is 0 and output was lost.
    pub(crate) fn code(&self) -> u8 {
        match self.end.code() {
            0 if !self.failures.is_empty() => Exit::Failure as u8,
            code => code,
        }
    }
}

/// Where what many tools write is brought together.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) stdout: Arc<Mutex<tokio::io::Stdout>>,
    pub(crate) stderr: Arc<Mutex<tokio::io::Stderr>>,
}

pub(crate) fn run(args: &RunArgs) -> Result<u8, Failure> {
    let request = Request::of(args)?;
    let audit = Audit::new(given(args.audit.as_deref()))?;
    // Scripts of podtracer's users mean it; who looks on may not.
    if request.sinks.names().is_empty() && io::stderr().is_terminal() {
        tracing::warn!(
            "the tool's output goes nowhere: say -s, -f or -d, or give the tool and its arguments after `--`"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let exit = runtime.block_on(async {
        // Processes that the tool leaves behind become our children, and are ended with it.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("cannot take in orphans")?;
        let mut signals = Signals::listen().context("cannot handle signals")?;
        let found = async {
            let node = Node::new(&args.pods)?;
            let pods = node.find(&args.pods, &request.wanted).await?;
            Ok((node, pods))
        };
        let (node, mut pods) = match unless_asked(&mut signals, found).await {
            Ok(found) => found,
            Err(failure) => {
                audit.refused(&Run::wanted(args, &request), &failure).await;
                return Err(failure);
            }
        };
        let errand = Errand { args, request, node, audit };
        if errand.request.wanted.is_many() {
            return many::run(&errand, pods, signals).await;
        }
        let pod = pods.swap_remove(0);
        let outcome = errand.run(&pod, signals, None).await?;
        outcome.failures.iter().for_each(|failure| print_error(failure.as_ref()));
        Ok(outcome.code())
    });
    // A read of standard input that waits would hold up the end.
    runtime.shutdown_background();
    exit
}

/// What is done before a tool starts, unless a signal asks this process to end before.
async fn unless_asked<T>(signals: &mut Signals, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        signal = signals.asked_to_end() => {
            let exit = End::Signalled(signal.as_raw()).code();
            Err(Failure { exit, error: anyhow!("told to end before the tool was started") })
        }
    }
}

/// All that a run in a pod needs to know.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    args: &'a RunArgs,
    request: Request,
    node: Node,
    audit: Audit,
}

impl Errand<'_> {
    /// Runs the tool in one pod; one of many if its output is shared with others.
    pub(crate) async fn run(
        &self,
        pod: &Found,
        mut signals: Signals,
        shared: Option<&Shared>,
    ) -> Result<Outcome, Failure> {
        let run = Run::new(self.args, &self.request, &self.node.name, pod);
        // Once it has started there is nothing to wait for: it is never cancelled after that.
        let started = match unless_asked(&mut signals, self.start(pod, &run, shared)).await {
            Ok(started) => started,
            Err(failure) => {
                self.audit.refused(&run, &failure).await;
                return Err(failure);
            }
        };
        let mut outcome = self.attend(started, signals).await;
        if let Err(failure) = self.audit.ended(&run, &outcome).await {
            outcome.failures.push(failure.error);
        }
        Ok(outcome)
    }

    async fn start(&self, pod: &Found, run: &Run, shared: Option<&Shared>) -> Result<Started, Failure> {
        let entrance = self.node.open(pod).await?;
        let process = match &self.args.enter[..] {
            [] => {
                look_up(&self.request.tool.program)?;
                self.check_container(pod, &entrance).await?;
                None
            }
            kinds => {
                // What a caller forgot to close, or means for a tool of the node, is not for a container's program.
                podtrail_netns::close_on_exec().map_err(Failure::unavailable)?;
                Some((self.container(&entrance).await?, namespaces(kinds)))
            }
        };
        let mut output = self.output(pod, run, shared).await?;
        let place = Place {
            pod_uid: entrance.sandbox.sandbox.uid.clone(),
            sandbox: entrance.sandbox.sandbox.id.clone(),
            netns: entrance.netns.inode(),
        };
        let ready = async {
            self.audit.started(run, &place).await?;
            let stdout = output.stdio().context("cannot hand over the tool's output")?;
            self.spawn(&entrance.netns, stdout, process, shared.map(|shared| (pod.title(), shared)))
        };
        match ready.await {
            Ok(tool) => {
                output.begin();
                Ok(Started { tool, output })
            }
            Err(failure) => {
                // Who was told of the run is told that nothing comes, with the code that says so.
                output.finish(End::Exited(failure.exit)).await;
                Err(failure)
            }
        }
    }

    /// A container that was named is there, though its network is that of all.
    async fn check_container(&self, pod: &Found, entrance: &Entrance) -> Result<(), Failure> {
        let Some(name) = &self.args.container else { return Ok(()) };
        let containers = self.node.runtime.containers(&entrance.sandbox.sandbox).await.map_err(Failure::unavailable)?;
        if containers.found.iter().any(|container| container.name == *name) {
            return Ok(());
        }
        let names: Vec<_> = containers.found.iter().map(|container| container.name.as_str()).collect();
        let text = format!("pod {} has no container {name}; it has {}", pod.title(), names.join(", "));
        Err(Failure::unavailable(match containers.malformed.into_iter().next() {
            Some(e) => anyhow::Error::new(e).context(format!("{text}, and what cannot be read")),
            None => anyhow!(text),
        }))
    }

    async fn container(&self, entrance: &Entrance) -> Result<OwnedFd, Failure> {
        let name = self.args.container.as_deref();
        let process = self.node.runtime.container_process(&entrance.sandbox, name).await;
        process.map(OwnedFd::from).map_err(Failure::unavailable)
    }

    /// Opened and connected before the tool starts: it is not to run for nothing.
    async fn output(&self, pod: &Found, run: &Run, shared: Option<&Shared>) -> Result<Output, Failure> {
        let (sinks, mut output) = (&self.request.sinks, Output::new());
        if sinks.stdout {
            output.with_stdout(shared.map(|shared| Lines::new(pod.title(), Arc::clone(&shared.stdout))));
        }
        if let Some(to) = &sinks.snoopy {
            let stream = Stream::snoopy(to, &pod.name).await.map_err(Failure::unavailable)?;
            output.with_stream(to.to_string(), stream);
        }
        if let Some(to) = &sinks.stream {
            let stream = Stream::acknowledged(to, run, pod, &self.request.tool).await.map_err(Failure::unavailable)?;
            output.with_stream(to.to_string(), stream);
        }
        if let Some(path) = sinks.file_of(&pod.namespace, &pod.name) {
            output.with_file(&path).map_err(Failure::unavailable)?;
        }
        Ok(output)
    }

    fn spawn(
        &self,
        netns: &Netns,
        stdout: Stdio,
        process: Option<(OwnedFd, Namespaces)>,
        shared: Option<(String, &Shared)>,
    ) -> Result<Running, Failure> {
        let tool = &self.request.tool;
        let mut command = netns.command(&tool.program);
        command.args(&tool.arguments).process_group(0).stdout(stdout);
        if shared.is_some() {
            // One that is ours, also where the tool's files are the container's.
            command.stdin(File::open("/dev/null").context("cannot open /dev/null")?).stderr(Stdio::piped());
        }
        match self.request.keep {
            Keep::These(capabilities) => command.keep(capabilities),
            Keep::Everything => command.privileged(),
        };
        if std::env::var_os("PATH").is_none() {
            command.env("PATH", USUAL_PATH);
        }
        if let Some((process, namespaces)) = process {
            if namespaces.contains(Namespaces::MOUNT) {
                // The tool is the container's, and what is in our environment is not for it.
                command.env_clear().env("PATH", USUAL_PATH);
                let kept = ["TERM", "LANG", "LC_ALL"].map(|name| (name, std::env::var_os(name)));
                kept.into_iter().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
                    command.env(name, value);
                });
            }
            command.join(process, namespaces);
        }
        let mut child = command.spawn().map_err(not_started)?;
        let errors = child
            .stderr
            .take()
            .zip(shared)
            .map(|(pipe, (name, shared))| (OwnedFd::from(pipe), Lines::new(name, Arc::clone(&shared.stderr))));
        let is_below = self.args.enter.contains(&Kind::Pid);
        Ok(Running { group: Group::of(&child, is_below), out: child.stdout.take().map(OwnedFd::from), errors })
    }

    /// Sees it through.
    async fn attend(&self, started: Started, mut signals: Signals) -> Outcome {
        let Started { tool: Running { group, out, errors }, mut output } = started;
        // Many share the terminal with us, and none has it.
        let mut terminal = errors.is_none().then(Terminal::of_this_session).flatten();
        if let Some(terminal) = terminal.as_mut().filter(|_| Terminal::is_for_the_tool()) {
            note(group.take(terminal), "cannot give the tool the terminal");
        }
        let piped = out.is_some();
        let (say_ended, ended) = watch::channel(None);
        let (end, is_copied) = {
            let copying = async { tokio::join!(output.copy(out, &ended), complaints(errors, &ended)) };
            let mut copying = std::pin::pin!(copying);
            let (end, is_copied) = {
                let mut ending = std::pin::pin!(group.end(&mut signals, self.args.timer.0, &mut terminal));
                tokio::select! {
                    end = &mut ending => (end, false),
                    _ = &mut copying => (ending.await, true),
                }
            };
            if let Some(terminal) = &terminal {
                // It may have been hung up.
                note(group.leave(terminal), "cannot take the terminal back");
            }
            signals.forget();
            say_ended.send_replace(Some(Instant::now()));
            let is_done = is_copied || unless_ended(&mut signals, copying).await;
            (end, is_done)
        };
        let (end, failure) = match end {
            Ok(end) => (end, None),
            Err(e) => (End::Lost, Some(anyhow::Error::new(e).context("cannot see to the end of the tool"))),
        };
        let is_done = is_copied && unless_ended(&mut signals, output.finish(end)).await;
        let Output { copied, mut failures, .. } = output;
        failures.extend(failure);
        if !is_done {
            failures.push(anyhow!("told to end before all of the tool's output was where it should be"));
        }
        Outcome { end, copied: piped.then_some(copied), failures }
    }
}

/// Does what is left when the tool has ended, unless a signal asks this process to end. Whether it was done.
async fn unless_ended<T>(signals: &mut Signals, work: impl Future<Output = T>) -> bool {
    tokio::select! {
        biased;
        _ = work => true,
        _ = signals.asked_to_end() => false,
    }
}

fn note(done: io::Result<()>, what: &str) {
    if let Err(error) = done {
        tracing::warn!(%error, "{what}");
    }
}

/// Whether there is such a tool on this machine: nobody is told of one that there is not.
fn look_up(program: &OsStr) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    let is_there = match program.as_encoded_bytes().contains(&b'/') {
        true => Path::new(program).exists(),
        false => std::env::split_paths(&path).any(|folder| folder.join(program).is_file()),
    };
    if is_there {
        return Ok(());
    }
    Err(Failure { exit: NOT_FOUND, error: anyhow!("program {} is not found on this machine", program.display()) })
}

/// Shows what one tool of many writes to its standard error. What cannot be shown of that cannot be complained about.
async fn complaints(from: Option<(OwnedFd, Lines<tokio::io::Stderr>)>, ended: &Ended) {
    let Some((pipe, lines)) = from else { return };
    if let Ok(pipe) = Source::new(pipe, ended) {
        copy_lines(pipe, lines).await.ok();
    }
}

/// A tool that runs, and where its output goes.
struct Started {
    tool: Running,
    output: Output,
}

/// Its processes, and what of them is ours to read.
struct Running {
    group: Group,
    out: Option<OwnedFd>,
    errors: Option<(OwnedFd, Lines<tokio::io::Stderr>)>,
}

fn namespaces(kinds: &[Kind]) -> Namespaces {
    kinds.iter().fold(Namespaces::NONE, |all, kind| {
        all | match kind {
            Kind::Mount => Namespaces::MOUNT,
            Kind::Uts => Namespaces::UTS,
            Kind::Ipc => Namespaces::IPC,
            Kind::Pid => Namespaces::PID,
        }
    })
}

/// Shells end with 127 where there is no such tool, and with 126 where it is none.
fn not_started(error: podtrail_netns::Error) -> Failure {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let exit = match (error.kind(), cause) {
        (ErrorKind::Program, Some(io::ErrorKind::NotFound)) => NOT_FOUND,
        (ErrorKind::Program, _) => 126,
        _ => Exit::Unavailable as u8,
    };
    Failure { exit, error: error.into() }
}
