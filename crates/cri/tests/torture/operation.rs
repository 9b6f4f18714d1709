//! What is done in pods' namespaces, and whether it was done in the right one.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use podtrail_cri::{Client, ErrorKind as CriError, Pod, SandboxStatus};
use podtrail_netns::inspect::Protocol;
use podtrail_netns::{ErrorKind, Netns};
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::chance;
use crate::churn::{FILE, Label, PODS, Pods, Process};

/// How a namespace is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Path,
    Name,
    Process,
    Pidfd,
    Sandbox,
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was done there, in this way.
    Did(&'static str),
    /// A process number is another's now, as its documentation warns; that other's namespace is what was entered.
    Recycled,
    /// An error, of a pod that was being replaced.
    Refused,
    SandboxChanged,
    Cancelled,
    Wrong(String),
}

/// Why nothing was opened, and for what life of the pod; `None` if any would have done.
enum Refusal {
    Gone(String, Option<u64>),
    Changed(String, Option<u64>),
    Cancelled,
    Wrong(String),
}

pub(crate) struct Worker<'a> {
    pods: &'a Pods<'a>,
    client: &'a Client,
    runtime: &'a Handle,
    random: SmallRng,
    home: u64,
    /// What was looked up earlier.
    kept: HashMap<usize, SandboxStatus>,
    kept_processes: HashMap<usize, Process>,
}

/// What was opened, and which life of the pod it must be; `None` if any that the pod had meanwhile.
type Opened = Result<(Netns, Option<u64>), Refusal>;

impl<'a> Worker<'a> {
    pub(crate) fn new(pods: &'a Pods<'a>, client: &'a Client, runtime: &'a Handle, random: SmallRng) -> Self {
        Self { pods, client, runtime, random, home: inode_here(), kept: HashMap::new(), kept_processes: HashMap::new() }
    }

    pub(crate) fn operate(&mut self) -> (Way, End) {
        let nth = self.random.random_range(0..PODS);
        let way = [Way::Path, Way::Name, Way::Process, Way::Pidfd, Way::Sandbox][self.random.random_range(0..5)];
        let before = self.pods.stage(nth);
        let opened = self.open(way, nth);
        let after = self.pods.stage(nth);
        // Whether that life was announced before and after, so that there is no excuse.
        let holds = |life: Option<u64>| {
            before == after && before.is_stable() && !life.is_some_and(|life| before.is_after(life))
        };
        let end = match opened {
            Err(Refusal::Gone(why, life) | Refusal::Changed(why, life)) if holds(life) => {
                End::Wrong(format!("refused without cause: {why}"))
            }
            Err(Refusal::Gone(..)) => End::Refused,
            Err(Refusal::Changed(..)) => End::SandboxChanged,
            Err(Refusal::Cancelled) => End::Cancelled,
            Err(Refusal::Wrong(e)) => End::Wrong(e),
            Ok((netns, life)) => {
                let may_be_anothers = way == Way::Process && !holds(life);
                let lives = life.map_or_else(|| before.lives(after), |life| life..=life);
                match (netns.inode() == self.home).then_some(None).map_or_else(|| self.check(&netns, nth, &lives), Err)
                {
                    Ok(label) => self.act(&netns, label),
                    Err(label) if may_be_anothers && (label.is_some() || netns.inode() == self.home) => End::Recycled,
                    Err(label) => End::Wrong(format!("pod {nth}, life {lives:?}: it is {label:?}, {netns:?}")),
                }
            }
        };
        match inode_here() == self.home {
            true => (way, end),
            false => (way, End::Wrong(format!("the caller is in another namespace after {end:?}"))),
        }
    }

    fn open(&mut self, way: Way, nth: usize) -> Opened {
        let name = self.pods.name(nth);
        match way {
            Way::Path => {
                Netns::open(format!("/run/netns/{name}")).map(|netns| (netns, None)).map_err(|e| refusal(&e, None))
            }
            Way::Name => Netns::named(name).map(|netns| (netns, None)).map_err(|e| refusal(&e, None)),
            Way::Sandbox => self.open_sandbox(nth),
            Way::Process | Way::Pidfd => self.open_process(way, nth),
        }
    }

    fn open_process(&mut self, way: Way, nth: usize) -> Opened {
        let kept = if chance(&mut self.random, 50) { self.kept_processes.remove(&nth) } else { None };
        let Some(process) = kept.or_else(|| self.pods.process(nth)) else {
            return Err(Refusal::Gone("it has no process".into(), None));
        };
        self.dawdle();
        let Process { pid, pidfd, life } = &process;
        let opened = if way == Way::Process { Netns::of_process(*pid) } else { Netns::of_pidfd(pidfd) };
        let opened = opened.map(|netns| (netns, Some(*life))).map_err(|e| refusal(&e, Some(*life)));
        if chance(&mut self.random, 50) {
            self.kept_processes.insert(nth, process);
        }
        opened
    }

    fn open_sandbox(&mut self, nth: usize) -> Opened {
        let kept = if chance(&mut self.random, 50) { self.kept.remove(&nth) } else { None };
        let status = match kept {
            Some(status) => status,
            None => {
                let pod = Pod::named("default", self.pods.name(nth));
                self.runtime.block_on(self.client.sandbox_of(&pod)).map_err(|e| match e.kind() {
                    CriError::NoSandbox | CriError::NotReady | CriError::SandboxChanged => {
                        Refusal::Gone(e.to_string(), None)
                    }
                    kind => Refusal::Wrong(format!("{kind:?}: {e}")),
                })?
            }
        };
        if chance(&mut self.random, 50) {
            self.kept.insert(nth, status.clone());
        }
        self.dawdle();
        let uid = &status.sandbox.uid;
        let life = uid.rsplit('-').next().unwrap().parse().unwrap();
        let is_over = self.pods.stage(nth).is_after(life);
        let opening = self.client.open_namespace(&status);
        let opened = if chance(&mut self.random, 5) {
            let patience = Duration::from_micros(self.random.random_range(0..1000));
            self.runtime.block_on(async { timeout(patience, opening).await }).map_err(|_late| Refusal::Cancelled)?
        } else {
            self.runtime.block_on(opening)
        };
        match opened {
            Ok(_) if is_over => Err(Refusal::Wrong(format!("{uid} was over, and something was opened"))),
            Ok(netns) => Ok((netns, Some(life))),
            Err(e) if e.kind() == CriError::SandboxChanged => Err(Refusal::Changed(e.to_string(), Some(life))),
            Err(e) => Err(Refusal::Wrong(format!("{:?}: {e}", e.kind()))),
        }
    }

    /// Between what was seen and what is done about it, things happen.
    fn dawdle(&mut self) {
        if chance(&mut self.random, 20) {
            thread::sleep(Duration::from_micros(self.random.random_range(0..5000)));
        }
    }

    /// Whether the namespace is that of one of these lives of the pod, by the label in it and by its inode. If not, what it is.
    fn check(&self, netns: &Netns, nth: usize, lives: &RangeInclusive<u64>) -> Result<Label, Option<Label>> {
        let (label, inode) = netns.run(|| (label_here(), inode_here())).unwrap();
        let label = label.ok_or(None)?;
        let is_true = inode == netns.inode() && inode == self.pods.inode(label);
        match (is_true, label.pod == nth && lives.contains(&label.life)) {
            (true, true) => Ok(label),
            (true, false) => Err(Some(label)),
            (false, _) => Err(None),
        }
    }

    fn act(&mut self, netns: &Netns, label: Label) -> End {
        let (did, seen) = match self.random.random_range(0..100) {
            0..3 => ("program", self.program(netns)),
            3..8 => ("inspect", inspected(netns, label)),
            8..15 => ("resident", resident(netns)),
            15..30 => ("panic", panicking(netns)),
            _ => ("look", Some(label)),
        };
        // The socket that is looked for is closed when the pod ends.
        let is_closed = did == "inspect" && seen.is_none() && self.pods.stage(label.pod).is_after(label.life);
        match seen == Some(label) || is_closed {
            true => End::Did(did),
            false => End::Wrong(format!("{did} in {netns:?}, {label:?}, was in {seen:?}")),
        }
    }

    fn program(&mut self, netns: &Netns) -> Option<Label> {
        let child = netns.command("cat").arg(FILE).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        Label::read(std::str::from_utf8(&output.stdout).unwrap())
    }
}

fn refusal(e: &podtrail_netns::Error, life: Option<u64>) -> Refusal {
    match e.kind() {
        ErrorKind::Open | ErrorKind::NotANamespace => Refusal::Gone(e.to_string(), life),
        kind => Refusal::Wrong(format!("{kind:?}: {e}")),
    }
}

fn panicking(netns: &Netns) -> Option<Label> {
    // Without the hook that would say so each time.
    let panic = catch_unwind(AssertUnwindSafe(|| netns.run(|| resume_unwind(Box::new(label_here()))))).unwrap_err();
    *panic.downcast().unwrap()
}

fn resident(netns: &Netns) -> Option<Label> {
    let resident = netns.resident().unwrap();
    let labels = [(); 3].map(|()| resident.run(label_here).unwrap());
    let panicked = catch_unwind(AssertUnwindSafe(|| resident.run(|| resume_unwind(Box::new(())))));
    assert!(panicked.is_err());
    resident.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    labels.into_iter().reduce(|one, other| if one == other { one } else { None }).flatten()
}

/// The label, if the socket that is bound to it is there.
fn inspected(netns: &Netns, label: Label) -> Option<Label> {
    let is_bound = netns
        .sockets()
        .unwrap()
        .iter()
        .any(|socket| socket.protocol == Protocol::Udp && socket.local.port() == label.port());
    let names: Vec<_> = netns.interfaces().unwrap().into_iter().map(|interface| interface.name).collect();
    (is_bound && names == ["lo"]).then_some(label)
}

/// That of the namespace that the thread is in, once it has one.
fn label_here() -> Option<Label> {
    (0..5000).find_map(|wait| {
        if wait > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        Label::read(&std::fs::read_to_string(FILE).unwrap())
    })
}

fn inode_here() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}
