//! Runs the binary, once or as a daemon against a simulated cluster.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use podtrail_sim::{Cluster, Config, Pod, PodSpec};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The binary, with nothing of the test's environment.
pub(crate) fn tracker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn ask(args: &[&str]) -> Output {
    tracker(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Waits until it is so.
pub(crate) fn eventually<T>(what: &str, mut now: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = now() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A simulated cluster with two nodes, its API on loopback, and a folder for what a tracker of it leaves.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) home: TempDir,
    _runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cluster = Cluster::new(Config { bookmark_every: Duration::from_millis(200), ..Config::default() });
        for (i, name) in ["node-0", "node-1"].into_iter().enumerate() {
            let ip = format!("198.18.0.{}", 10 + i);
            cluster.add_node(name, &[("Hostname", name), ("InternalIP", &ip)]).unwrap();
        }
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let home = tempfile::tempdir().unwrap();
        write_kubeconfig(&home.path().join("kubeconfig"), &format!("http://{}", listener.local_addr().unwrap()));
        runtime.spawn(podtrail_sim::serve(cluster.clone(), listener, std::future::pending()));
        Self { cluster, home, _runtime: runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A pod that runs on node-0 with this address.
    pub(crate) fn pod(&self, namespace: &str, name: &str, ip: &str) -> Pod {
        let pod = self.cluster.create(PodSpec::new(namespace, name, "node-0").label("app", name)).unwrap();
        self.cluster.run(&pod, &[ip.parse().unwrap()]).unwrap();
        pod
    }

    /// `tracker run` with its ledger and logs here.
    pub(crate) fn run(&self, args: &[&str]) -> Daemon {
        let mut command = tracker(&["run", "--log-format", "json", "--kubeconfig", &self.text("kubeconfig")]);
        command.args(["--ledger", &self.text("ledger.db")]).args(args);
        let log = self.path(&format!("log-{:?}", Instant::now()));
        Daemon::start(command, log)
    }

    /// What `who-had` says now of the last moment that it can know of.
    pub(crate) fn who_had(&self, ip: &str) -> Value {
        let output = ask(&["who-had", ip, "-o", "json", "--ledger", &self.text("ledger.db")]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

pub(crate) fn write_kubeconfig(path: &Path, server: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{{name: u, user: {{}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    fs::write(path, text).unwrap();
}

/// A running `tracker run`; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    /// What it has logged so far: one object a line.
    pub(crate) fn logged(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// Waits for a log line with this message.
    pub(crate) fn says(&self, message: &str) -> Value {
        eventually(message, || self.logged().into_iter().find(|line| line["message"] == message))
    }

    /// Waits until both watches are on.
    pub(crate) fn watches(self) -> Self {
        eventually("both watches", || {
            (self.logged().iter().filter(|line| line["message"] == "watching").count() == 2).then_some(())
        });
        self
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as an init system does; what it wrote to standard output since it was last read.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut text).unwrap();
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", fs::read_to_string(&self.log).unwrap());
        text
    }

    /// Its exit code, and what it wrote to standard error.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let code = eventually("its end", || self.child.try_wait().unwrap()).code();
        (code, fs::read_to_string(&self.log).unwrap())
    }

    /// Status and body of what it serves at `path`.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let address = self.says("serving /livez, /readyz and /metrics")["address"].as_str().unwrap().to_owned();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The whole lines of a file as JSON; none if there is no file yet.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// Event and pod of each line of our own format.
pub(crate) fn told(lines: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| format!("{} {}", text(&line["event"]), text(&line["pod"]["name"]))).collect()
}
