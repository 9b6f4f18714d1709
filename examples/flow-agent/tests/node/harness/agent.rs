//! The binary under test.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::lines::Lines;

/// `flow-agent run`. Dropping it kills it.
pub(crate) struct Agent {
    child: Child,
    home: PathBuf,
    /// What was in the log before it.
    log_before: usize,
}

/// `flow-agent run` that counts in `netns`, with its files in `home`.
pub(crate) fn command(netns: &Path, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flow-agent"));
    command.args(["run", "--node", "proof", "--listen", "127.0.0.1:0", "--netns"]).arg(netns);
    if !arguments.contains(&"--interval") {
        command.args(["--interval", "1s"]);
    }
    command.arg("--writer").arg(format!("file:{}", home.join("flows.ndjson").display()));
    command.env_clear().args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Agent {
    /// Starts one with its state in `home` too, and waits until it has read the table.
    pub(crate) fn start(netns: &Path, home: &Path, arguments: &[&str]) -> Self {
        let agent = Self::spawn(command(netns, home, arguments).arg("--state").arg(home.join("state")), home);
        agent.wait_until_ready();
        agent
    }

    pub(crate) fn spawn(command: &mut Command, home: &Path) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(home.join("log")).unwrap();
        let log_before = log_of(home).len();
        Self { child: command.stderr(log).spawn().unwrap(), home: home.to_owned(), log_before }
    }

    pub(crate) fn wait_until_ready(&self) {
        wait("the agent is ready", Duration::from_secs(20), || {
            self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// What it has said since it was started.
    pub(crate) fn log(&self) -> String {
        log_of(&self.home).split_off(self.log_before)
    }

    fn get(&self, path: &str) -> Option<String> {
        let log = self.log();
        let (_, address) = log.rsplit_once("address=")?;
        let address: SocketAddr = address.split_whitespace().next()?.parse().ok()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: proof\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        let of_it =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        of_it.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).reduce(|a, b| a + b)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn lines(&self) -> Lines {
        Lines::read(&self.home.join("flows.ndjson"))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The worker's process, if there is one now.
    pub(crate) fn worker(&self) -> Option<Pid> {
        let pid = self.child.id();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().unwrap()))
    }

    pub(crate) fn wait_for_worker(&self) -> Pid {
        let mut worker = None;
        wait("there is a worker", Duration::from_secs(10), || {
            worker = self.worker();
            worker.is_some()
        });
        worker.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its worker ends with it.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            // Its end says more than what was all right before.
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

fn log_of(home: &Path) -> String {
    let mut text = String::new();
    File::open(home.join("log")).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Until it is so.
pub(crate) fn wait(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {patience:?} until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
