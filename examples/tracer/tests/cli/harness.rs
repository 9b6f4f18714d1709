//! A node with a pod, and the program on it.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use podtrail_netns::{ErrorKind, Netns};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::fake::{Fake, PodSandboxStatusResponse, sandbox};
use crate::skip::skip;

/// A node whose runtime has one pod, `default/web`.
pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) home: TempDir,
    named: Option<Named>,
    pub(crate) runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fake = {
            let _entered = runtime.enter();
            Fake::start()
        };
        let world = Self { fake, home: tempfile::tempdir().unwrap(), named: Named::new(), runtime };
        world.has(vec![world.sandbox("aa", "web", "u1")]);
        world
    }

    /// `None`, said aloud, if the pod cannot have a network namespace of its own.
    pub(crate) fn with_own_network() -> Option<Self> {
        let world = Self::new();
        if world.named.is_none() {
            skip("a network namespace cannot be made");
        }
        world.named.is_some().then_some(world)
    }

    /// What the runtime has from now on.
    pub(crate) fn has(&self, sandboxes: Vec<PodSandboxStatusResponse>) {
        self.fake.state().sandboxes = sandboxes;
    }

    /// A sandbox with the network namespace.
    pub(crate) fn sandbox(&self, id: &str, name: &str, uid: &str) -> PodSandboxStatusResponse {
        let path = self.network();
        let namespaces = format!(r#"[{{"type":"network","path":"{path}"}}]"#);
        sandbox(id, name, uid, &format!(r#"{{"pid":1,"runtimeSpec":{{"linux":{{"namespaces":{namespaces}}}}}}}"#))
    }

    /// The path of the pod's network namespace.
    pub(crate) fn network(&self) -> String {
        let own = || format!("/proc/{}/ns/net", std::process::id());
        self.named.as_ref().map_or_else(own, |named| format!("/run/netns/{}", named.0))
    }

    pub(crate) fn netns(&self) -> Netns {
        Netns::open(self.network()).unwrap()
    }

    /// The namespace as the kernel names it to a process in it.
    pub(crate) fn link(&self) -> String {
        format!("net:[{}]", self.netns().inode())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A path in the home folder, as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The program on this node.
    pub(crate) fn tracer(&self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
        let mut command = tracer(args);
        let endpoint = format!("unix://{}", self.fake.socket().display());
        command.env("CONTAINER_RUNTIME_ENDPOINT", endpoint).env("PODTRAIL_HOST_ROOT", "/");
        command
    }

    /// `run` in our form, in the pod.
    pub(crate) fn ours(&self, flags: &[&str], tool: &[&str]) -> Command {
        let start = ["run", "--local", "--pod", "default/web"];
        self.tracer([&start, flags, &["--"], tool].concat())
    }

    /// `run` in podtracer's form, in the pod.
    pub(crate) fn theirs(&self, args: &[&str]) -> Command {
        self.tracer([&["run"], args, &["--pod", "web", "-n", "default", "--local"]].concat())
    }
}

/// The program, with nothing of the test's environment but where tools are.
pub(crate) fn tracer(args: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.args(args).stdin(Stdio::null());
    command
}

/// The same, with hang-ups ignored from the start.
pub(crate) fn nohup(command: &Command) -> Command {
    under("sh", &["-c", r#"trap "" HUP; exec "$@""#, "sh"], command)
}

/// The command as the last arguments of another, in the same environment.
pub(crate) fn under(program: &str, args: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(args).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Said {
    /// Standard output, which is text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Its code, and what is on standard output and standard error.
    pub(crate) fn all(&self) -> (Option<i32>, &str, &str) {
        (self.code, self.text(), &self.err)
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), out: output.stdout, err }
    }
}

/// Runs it to its end.
pub(crate) fn ask(command: &mut Command) -> Said {
    command.output().unwrap().into()
}

/// A program that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) since: Instant,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, since: Instant::now() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end. What it said is little enough for a pipe.
    pub(crate) fn ends(&mut self) -> Said {
        let status = eventually("its end", || self.child.try_wait().unwrap());
        let (mut out, mut err) = (Vec::new(), String::new());
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut out).unwrap();
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut err).unwrap();
        }
        Said { code: status.code(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until it is so.
pub(crate) fn eventually<T>(what: &str, mut now: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = now() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn is_alive(pid: &str) -> bool {
    test_kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap()).is_ok()
}

/// A network namespace with a name of its own, as long as it is kept.
struct Named(String);

/// With the process and a number behind it, a name of these.
const NAMES: &str = "podtrail-tracer-";

impl Named {
    /// `None` if one may not be made.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            clear_names();
        }
        let name = format!("{NAMES}{}-{number}", std::process::id());
        match Netns::create_named(&name) {
            Err(e) if e.kind() == ErrorKind::MissingCapability => None,
            made => made.map(|_| Self(name)).ok(),
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        Netns::delete_named(&self.0).unwrap();
    }
}

/// Takes away what tests have left that were killed.
fn clear_names() {
    for name in Netns::names().unwrap_or_default() {
        let numbers = name.to_str().and_then(|name| name.strip_prefix(NAMES)?.split_once('-'));
        let Some((process, number)) = numbers else { continue };
        let Some(process) = process.parse().ok().and_then(Pid::from_raw) else { continue };
        if number.parse::<u32>().is_ok() && test_kill_process(process) == Err(Errno::SRCH) {
            // Another test may do so at the same time.
            Netns::delete_named(&name).ok();
        }
    }
}
