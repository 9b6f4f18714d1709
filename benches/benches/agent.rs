//! What `flow-agent run` costs: 200,000 living connections read every 30 s, a tenth of them changed between readings, and 1,000
//! that end a second. Needs root; the network namespace is its own.
//!
//!     cargo build --release -p flow-agent && cargo bench -p podtrail-benches --bench agent [-- SECONDS]
//!
//! `FLOW_AGENT` names another binary.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on ends, and says what it found"
)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use podtrail_conntrack::wire::{Connection, Protocol, Tuple};
use podtrail_conntrack::{Filter, Table};
use podtrail_netns::Netns;

const LIVING: u32 = 200_000;
const INTERVAL: Duration = Duration::from_secs(30);
const CHANGED: u32 = LIVING / 10;
const CLOSES_PER_SECOND: u32 = 1000;
/// Those that are to end live for so many seconds.
const LIFE: u32 = 20;
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    // `cargo test` and `cargo bench` pass flags.
    let seconds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(95);
    if std::env::args().any(|word| word == "--test") {
        return;
    }
    let binary = binary();
    if !binary.exists() {
        eprintln!("skipped: there is no {}: cargo build --release -p flow-agent", binary.display());
        return;
    }
    let name = format!("ptb{}", std::process::id());
    let Some(_namespace) = Namespace::new(&name) else {
        eprintln!("skipped: a network namespace needs root and `ip`");
        return;
    };
    let netns = Netns::open(format!("/run/netns/{name}")).unwrap();
    let mut load = Load::new(&netns);
    let floor = load.reading();
    println!(
        "a reader that does nothing else: {:.2} s for a reading, {:.2} % of a core",
        floor.as_secs_f64(),
        floor.as_secs_f64() / INTERVAL.as_secs_f64() * 100.0
    );
    for with_state in [true, false] {
        measure(&binary, &name, &mut load, with_state, seconds);
    }
}

fn measure(binary: &Path, name: &str, load: &mut Load, with_state: bool, seconds: u64) {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    let mut command = Command::new(binary);
    command.args(["run", "--interval", "30s", "--node", "bench", "--netns", &format!("/run/netns/{name}")]);
    command.args(["--writer", &format!("file:{}", path("flows.ndjson"))]);
    if with_state {
        command.args(["--state", &path("state")]);
    }
    let mut agent = Agent(command.stderr(Stdio::null()).spawn().unwrap());
    // The first reading has everything to say.
    load.run(Duration::from_secs(12));
    let (began, before) = (Instant::now(), agent.cpu());
    load.run(Duration::from_secs(seconds));
    let used = agent.cpu() - before;
    let share = used / began.elapsed().as_secs_f64() * 100.0;
    let (holder, worker) = (resident(agent.0.id()), resident(agent.worker()));
    let lines = fs::read_to_string(path("flows.ndjson")).unwrap();
    let gaps = lines.lines().filter(|line| line.contains(r#""kind":"gap""#)).count();
    println!(
        "{}: {share:.2} % of a core over {seconds} s; RSS at most: holder {holder:.1} MB, worker {worker:.1} MB; {} lines, {gaps} gaps",
        if with_state { "with state" } else { "without state" },
        lines.lines().count(),
    );
    agent.stop();
}

/// Connections, some with traffic, some that end.
struct Load {
    table: Table,
    socket: UdpSocket,
    /// The next that changes, the next that begins, and the next that ends.
    changes: u32,
    begins: u32,
    ends: u32,
}

impl Load {
    fn new(netns: &Netns) -> Self {
        let socket = netns.run(|| UdpSocket::bind("10.0.0.1:1000").unwrap()).unwrap();
        let mut table = Table::open_in(netns).unwrap();
        for n in 0..LIVING {
            table.insert(&numbered(11, n)).unwrap();
        }
        let mut load = Self { table, socket, changes: 0, begins: 0, ends: 0 };
        while load.begins < CLOSES_PER_SECOND * LIFE {
            load.begin();
        }
        load
    }

    /// The processor's time for reading the table once, the median of five.
    fn reading(&mut self) -> Duration {
        let mut times = [(); 5].map(|()| {
            let before = on_cpu();
            let mut dump = self.table.dump(&Filter::default()).unwrap();
            while let Some(connection) = dump.next() {
                std::hint::black_box(connection.unwrap());
            }
            on_cpu() - before
        });
        times.sort();
        times[2]
    }

    fn begin(&mut self) {
        self.table.insert(&numbered(12, self.begins % (1 << 24))).unwrap();
        self.begins += 1;
    }

    /// In steps of 10 ms.
    fn run(&mut self, time: Duration) {
        let began = Instant::now();
        let mut step = 0_u32;
        while began.elapsed() < time {
            for _ in 0..CLOSES_PER_SECOND / 100 {
                let ended = numbered(12, self.ends % (1 << 24));
                assert!(self.table.delete(&ended.original, 0, None).unwrap());
                self.ends += 1;
                self.begin();
            }
            // 20,000 in 3,000 steps.
            let due = u64::from(step) * u64::from(CHANGED) / (INTERVAL.as_millis() as u64 / 10);
            while u64::from(self.changes) < due {
                // Each tenth connection's turn comes every ten readings.
                let n = self.changes.wrapping_mul(7919) % LIVING;
                let Connection { original: Tuple { dst, .. }, .. } = numbered(11, n);
                self.socket.send_to(&[0; 100], (dst, 53)).unwrap();
                self.changes += 1;
            }
            step += 1;
            let next = began + Duration::from_millis(10) * step;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.changes = 0;
    }
}

/// What this thread has used of a processor.
fn on_cpu() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap())
}

fn numbered(net: u8, n: u32) -> Connection<'static> {
    let [_, b, c, d] = n.to_be_bytes();
    let src = SocketAddr::from(([10, 0, 0, 1], 1000));
    let tuple = Tuple::with_ports(Protocol::UDP, src, SocketAddr::new(Ipv4Addr::new(net, b, c, d).into(), 53));
    let mut connection = Connection::new(tuple, tuple.inverse());
    connection.timeout = Some(86_400);
    connection
}

struct Agent(Child);

impl Agent {
    fn worker(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.0.id());
        fs::read_to_string(path).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Seconds of both processes.
    fn cpu(&self) -> f64 {
        [self.0.id(), self.worker()].into_iter().map(cpu).sum()
    }

    fn stop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [11, 12].map(|at| fields[at].parse::<f64>().unwrap()).iter().sum::<f64>() / TICKS_PER_SECOND
}

/// The most that was ever resident, in MB.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FLOW_AGENT") {
        return path.into();
    }
    // target/release/deps/agent-…
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("flow-agent")
}

/// A named network namespace where packets to 11.0.0.0/8 and 12.0.0.0/8 are tracked and go nowhere.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Option<Self> {
        if !Command::new("ip").args(["netns", "add", name]).status().is_ok_and(|status| status.success()) {
            return None;
        }
        let namespace = Self(name.to_owned());
        let script = "ip link set lo up && ip link add out0 type veth peer name out1 && ip addr add 10.0.0.1/8 dev out0 \
             && ip link set out0 up arp off && ip link set out1 up arp off \
             && ip route add 11.0.0.0/8 dev out0 && ip route add 12.0.0.0/8 dev out0 \
             && nft 'add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ct state new counter' \
             && for what in acct timestamp events; do echo 1 > /proc/sys/net/netfilter/nf_conntrack_$what; done";
        let netns = Netns::open(format!("/run/netns/{name}")).unwrap();
        let done = netns.run(|| Command::new("sh").args(["-c", script]).status().unwrap()).unwrap();
        done.success().then_some(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        Command::new("ip").args(["netns", "del", &self.0]).status().ok();
    }
}
