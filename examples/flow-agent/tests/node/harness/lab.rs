//! Network namespaces of a test's own.

use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{env, fs};

use podtrail_conntrack::Table;
use podtrail_conntrack::wire::{Connection, Protocol, Status, Tuple};
use podtrail_netns::Netns;

use crate::skip::skip;

/// Tests that measure are not disturbed by others of the same binary.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A test's turn; `None`, said aloud, if what it needs is not there.
pub(crate) fn turn() -> Option<MutexGuard<'static, ()>> {
    if !rustix::process::geteuid().is_root() {
        skip("network namespaces of one's own need root");
        return None;
    }
    for tool in ["ip", "nft", "conntrack"] {
        if !env::split_paths(&env::var_os("PATH")?).any(|folder| folder.join(tool).is_file()) {
            skip(format!("{tool} is missing"));
            return None;
        }
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A network namespace with a name, which ends with this.
pub(crate) struct Place {
    name: String,
    pub(crate) netns: Netns,
}

impl Place {
    pub(crate) fn new(role: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("podtrail-{}-{number}-{role}", std::process::id());
        sh(&format!("ip netns add {name}"));
        let netns = Netns::open(Path::new("/run/netns").join(&name)).unwrap();
        sh(&format!("ip -n {name} link set lo up"));
        Self { name, netns }
    }

    /// One that tracks the connections within it, with UDP that is forgotten soon.
    pub(crate) fn tracked() -> Self {
        let place = Self::new("alone");
        place.account();
        place.nft(
            "table inet proof { chain every { type filter hook output priority 0; ct state invalid counter; }; }\n",
        );
        place
    }

    /// Switches on what the kernel counts; connections that ended are forgotten soon.
    pub(crate) fn account(&self) {
        for name in ["acct", "timestamp"] {
            self.set(name, 1);
        }
        for name in ["udp_timeout", "udp_timeout_stream", "icmp_timeout", "icmpv6_timeout", "tcp_timeout_time_wait"] {
            self.set(name, 2);
        }
    }

    pub(crate) fn set(&self, name: &str, value: u32) {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        self.netns.run(|| fs::write(&path, value.to_string()).unwrap()).unwrap();
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    pub(crate) fn nft(&self, rules: &str) {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped());
        let mut nft = nft.spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refused {rules}");
    }

    pub(crate) fn sh(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} {command}", self.name))
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let netns = Netns::open(self.path()).unwrap();
        thread::spawn(move || netns.run(work).unwrap())
    }

    /// Puts so many connections into the table.
    pub(crate) fn fill(&self, connections: u32) {
        let mut table = Table::open_in(&self.netns).unwrap();
        for number in 0..connections {
            let [_, b, c, d] = number.to_be_bytes();
            let (src, dst) = (Ipv4Addr::new(10, b, c, d), Ipv4Addr::new(11, b, c, d));
            let tuple = Tuple::with_ports(Protocol::UDP, (src, 1000).into(), (dst, 53).into());
            let mut connection = Connection::new(tuple, tuple.inverse());
            connection.timeout = Some(600);
            // The kernel makes no room by ending those.
            connection.status = Some(Status::CONFIRMED | Status::ASSURED | Status::SEEN_REPLY);
            table.insert(&connection).unwrap();
        }
    }

    /// How many SYNs, and answers to them, its hosts sent again (`TCPSynRetrans` of `TcpExt`).
    pub(crate) fn repeated_syns(&self) -> u64 {
        let text = self.netns.run(|| fs::read_to_string("/proc/thread-self/net/netstat")).unwrap().unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut pairs = names.split(' ').zip(values.split(' '));
        pairs.find(|(name, _)| *name == "TCPSynRetrans").unwrap().1.parse().unwrap()
    }

    /// Ends all connections.
    pub(crate) fn flush(&self) {
        Table::open_in(&self.netns).unwrap().flush().unwrap();
    }

    /// A socket that makes a new connection with each destination in 127/8 that it sends to.
    pub(crate) fn caller(&self) -> Caller {
        self.netns
            .run(|| {
                let sink = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9)).unwrap();
                Caller { socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), _sink: sink, next: 0 }
            })
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
    }
}

/// Begins connections from within a [`Place::tracked`].
pub(crate) struct Caller {
    socket: UdpSocket,
    _sink: UdpSocket,
    next: u32,
}

impl Caller {
    /// Sends a datagram as a new connection. Whether the kernel let it.
    pub(crate) fn call(&mut self, bytes: usize) -> bool {
        self.next = (self.next + 1) % (1 << 23);
        let to = Ipv4Addr::from(0x7f00_0002_u32 + self.next);
        self.send(to, bytes)
    }

    /// That of the connection with this destination.
    pub(crate) fn tuple(&self, to: Ipv4Addr) -> Tuple {
        Tuple::with_ports(Protocol::UDP, self.socket.local_addr().unwrap(), (to, 9).into())
    }

    pub(crate) fn send(&self, to: Ipv4Addr, bytes: usize) -> bool {
        self.socket.send_to(&vec![0; bytes], (to, 9)).is_ok()
    }
}

/// A client and a server, with a router between them that has addresses translated, and counts what passes.
pub(crate) struct Lab {
    pub(crate) client: Place,
    pub(crate) router: Place,
    pub(crate) server: Place,
}

const RULES: &str = "
table inet proof {
    counter tcp_original {}
    counter tcp_reply {}
    counter udp_original {}
    counter udp_reply {}
    counter icmp_original {}
    counter icmp_reply {}
    chain tracked {
        meta l4proto tcp ct direction original counter name tcp_original
        meta l4proto tcp ct direction reply counter name tcp_reply
        meta l4proto udp ct direction original counter name udp_original
        meta l4proto udp ct direction reply counter name udp_reply
        meta l4proto { icmp, icmpv6 } ct direction original counter name icmp_original
        meta l4proto { icmp, icmpv6 } ct direction reply counter name icmp_reply
    }
    chain count { type filter hook prerouting priority mangle; ct state { new, established } jump tracked; }
    chain pre {
        type nat hook prerouting priority dstnat
        ip daddr 198.18.102.1 tcp dport 80 dnat ip to 198.18.101.2:8080
        ip daddr 198.18.102.1 udp dport 80 dnat ip to 198.18.101.2:8080
    }
    chain post { type nat hook postrouting priority srcnat; meta l4proto { tcp, udp } th dport 8081 masquerade; }
}";

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self { client: Place::new("client"), router: Place::new("router"), server: Place::new("server") };
        let router = &lab.router.name;
        for (place, net) in [(&lab.client, 100), (&lab.server, 101)] {
            let name = &place.name;
            sh(&format!("ip link add eth0 netns {name} type veth peer name eth{net} netns {router}"));
            for (place, device, host) in [(name, "eth0", 2), (router, &*format!("eth{net}"), 1)] {
                sh(&format!("ip -n {place} addr add 198.18.{net}.{host}/24 dev {device}"));
                sh(&format!("ip -n {place} -6 addr add fd00:18:{net}::{host}/64 dev {device} nodad"));
                sh(&format!("ip -n {place} link set {device} up"));
            }
            sh(&format!("ip -n {name} route add 198.18.0.0/16 via 198.18.{net}.1"));
            sh(&format!("ip -n {name} -6 route add fd00:18::/32 via fd00:18:{net}::1"));
        }
        let forward = || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        };
        lab.router.netns.run(forward).unwrap();
        lab.router.account();
        lab.router.nft(RULES);
        lab
    }

    /// What nft has counted: packets and bytes of a protocol, in a direction.
    pub(crate) fn counted(&self, name: &str) -> [u64; 2] {
        let text = self.router.sh(&format!("nft list counter inet proof {name}"));
        let after = |word: &str| text.split_whitespace().skip_while(|part| *part != word).nth(1).unwrap().parse();
        [after("packets").unwrap(), after("bytes").unwrap()]
    }
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn sh(command: &str) -> String {
    let mut words = command.split_whitespace();
    let run = Command::new(words.next().unwrap()).args(words).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = run.unwrap();
    assert!(status.success(), "{command}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
