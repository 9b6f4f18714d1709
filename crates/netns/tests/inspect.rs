//! What is told of a namespace is what iproute2's ip and ss tell of it.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use podtrail_netns::inspect::{Hop, Protocol, Route, SocketState};
use podtrail_netns::{ErrorKind, Netns};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketType};
use serde_json::Value;
use skip::skip;

#[test]
fn interfaces_are_those_of_ip_link() {
    let Some(netns) = furnished() else { return };
    let other = Netns::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
    ip(&netns, &["link", "add", "far", "type", "veth", "peer", "name", "away", "netns", &path]);
    let interfaces = netns.interfaces().unwrap();
    let theirs = json(&netns, &["-d", "-s", "link"]);
    assert_eq!(interfaces.len(), theirs.len());
    for theirs in theirs {
        let ours = interfaces.iter().find(|ours| ours.index == number(&theirs["ifindex"])).unwrap();
        assert_eq!(theirs["ifname"], *ours.name);
        assert_eq!(theirs["mtu"], ours.mtu, "{}", ours.name);
        assert_eq!(theirs["operstate"].as_str().unwrap().to_lowercase(), ours.state);
        assert_eq!(theirs["linkinfo"]["info_kind"].as_str(), ours.kind.as_deref());
        assert_eq!(theirs["address"].as_str(), ours.address.as_ref().map(ToString::to_string).as_deref());
        let has = |flag| theirs["flags"].as_array().unwrap().iter().any(|of| of == flag);
        assert_eq!(has("UP"), ours.is_up(), "{}", ours.name);
        let name = |index| interfaces.iter().find(|other| Some(other.index) == index).map(|other| other.name.as_str());
        assert_eq!(theirs["master"].as_str(), name(ours.controller));
        match theirs["link"].as_str() {
            Some(peer) => assert_eq!((Some(peer), ours.peer_netns), (name(ours.peer), None)),
            None => assert_eq!(theirs["link_index"].as_u64(), ours.peer.map(u64::from), "{}", ours.name),
        }
        assert_eq!(theirs["link_netnsid"].as_i64(), ours.peer_netns.map(i64::from));
        let (rx, tx) = (&theirs["stats64"]["rx"], &theirs["stats64"]["tx"]);
        assert_eq!((&rx["bytes"], &rx["packets"]), (&ours.counters.rx_bytes.into(), &ours.counters.rx_packets.into()));
        assert_eq!((&tx["bytes"], &tx["packets"]), (&ours.counters.tx_bytes.into(), &ours.counters.tx_packets.into()));
        assert_eq!(
            (&rx["dropped"], &tx["dropped"]),
            (&ours.counters.rx_dropped.into(), &ours.counters.tx_dropped.into())
        );
        assert_eq!((&rx["errors"], &tx["errors"]), (&ours.counters.rx_errors.into(), &ours.counters.tx_errors.into()));
    }
    let far = interfaces.iter().find(|interface| interface.name == "far").unwrap();
    let away = other.interfaces().unwrap().into_iter().find(|interface| interface.name == "away").unwrap();
    assert_eq!((far.peer, away.peer), (Some(away.index), Some(far.index)));
    assert!(far.peer_netns.is_some());
}

/// Whoever may configure a namespace may send to the sockets in it.
#[test]
fn messages_of_others_do_not_keep_an_answer_away() {
    let Some(netns) = furnished() else { return };
    let expected = netns.routes().unwrap();
    let liar = netns.run(|| rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap()).unwrap();
    rustix::net::bind(&liar, &SocketAddrNetlink::new(u32::MAX / 3, 0)).unwrap();
    // The kernel gives the first socket of a process the process's number as its port.
    let victim = SocketAddrNetlink::new(std::process::id(), 0);
    let is_over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !is_over.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
                // There is a socket only now and then, whose queue is full at times.
                rustix::net::sendto(&liar, &[0xff; 4096], SendFlags::DONTWAIT, &victim).ok();
            }
        });
        let answers: Vec<_> = (0..200).map(|_| netns.routes()).collect();
        is_over.store(true, Ordering::Relaxed);
        answers
    });
    // Those of IPv6 come when the kernel comes to it.
    let count = |routes: &[Route]| routes.iter().filter(|route| route.destination.is_ipv4()).count();
    for answer in answers {
        assert_eq!(count(&answer.unwrap()), count(&expected));
    }
}

#[test]
fn addresses_are_those_of_ip_addr() {
    let Some(netns) = furnished() else { return };
    let (mut ours, theirs) = still(|| netns.addresses().unwrap(), || json(&netns, &["addr"]));
    for interface in theirs {
        for theirs in interface["addr_info"].as_array().unwrap() {
            let address: IpAddr = theirs["local"].as_str().unwrap().parse().unwrap();
            let interface = number(&interface["ifindex"]);
            let found = ours.iter().position(|ours| (ours.interface, ours.address) == (interface, address));
            let ours = ours.swap_remove(found.unwrap_or_else(|| panic!("{theirs}")));
            assert_eq!(theirs["prefixlen"], ours.prefix);
            assert_eq!(theirs["scope"], *ours.scope);
            assert_eq!(theirs["address"].as_str().map(str::parse), ours.peer.map(Ok), "{theirs}");
            assert_eq!(theirs["broadcast"].as_str().map(str::parse), ours.broadcast.map(Ok));
            assert_eq!(theirs["tentative"].as_bool().unwrap_or(false), ours.flags & 0x40 != 0);
        }
    }
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn routes_are_those_of_ip_route() {
    let Some(netns) = furnished() else { return };
    let interfaces = netns.interfaces().unwrap();
    let index = |name: &str| interfaces.iter().find(|of| of.name == name).map(|of| of.index);
    let families = ["-4", "-6"];
    let shown = |family| json(&netns, &[family, "-N", "-d", "route", "show", "table", "all"]);
    let (mut ours, theirs) = still(|| netns.routes().unwrap(), || families.map(shown));
    for (family, theirs) in families.into_iter().zip(theirs) {
        for theirs in theirs {
            let all = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            let network = theirs["dst"].as_str().unwrap().replace("default", all);
            let (destination, prefix) =
                network.split_once('/').unwrap_or((&network, if family == "-4" { "32" } else { "128" }));
            let hop = |hop: &Value| <Hop as Line>::of(hop, index(hop["dev"].as_str().unwrap()));
            let hops: Vec<_> = match theirs["nexthops"].as_array() {
                Some(several) => several.iter().map(hop).collect(),
                None => theirs["dev"].is_string().then(|| hop(&theirs)).into_iter().collect(),
            };
            let found = ours.iter().position(|ours| {
                ours.destination == destination.parse::<IpAddr>().unwrap()
                    && ours.prefix.to_string() == prefix
                    && ours.hops.iter().map(Hop::line).eq(hops.iter().cloned())
                    && Some(ours.kind.as_str())
                        == KINDS.get(theirs["type"].as_str().unwrap().parse::<usize>().unwrap()).copied()
                    && u64::from(ours.metric) == theirs["metric"].as_u64().unwrap_or(0)
            });
            let ours = ours.swap_remove(found.unwrap_or_else(|| panic!("{theirs}\n{hops:?}\n{ours:#?}")));
            let table = theirs["table"].as_str().unwrap_or("254");
            assert_eq!(table, ours.table.to_string(), "{theirs}");
            assert_eq!(theirs["prefsrc"].as_str().map(str::parse), ours.source.map(Ok));
            let protocol = match theirs["protocol"].as_str().unwrap() {
                "2" => "kernel",
                "3" => "boot",
                "4" => "static",
                "186" => "bgp",
                "251" => "251",
                other => panic!("{other}"),
            };
            assert_eq!(ours.protocol, protocol);
        }
    }
    assert!(ours.is_empty(), "{ours:?}");
}

const KINDS: [&str; 9] =
    ["", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"];

/// A hop in words, to compare it.
trait Line {
    fn of(theirs: &Value, interface: Option<u32>) -> String {
        let gateway = theirs["gateway"].as_str().or_else(|| theirs["via"]["host"].as_str()).unwrap_or("-");
        format!("{} {gateway} {}", interface.unwrap(), theirs["weight"].as_u64().unwrap_or(1))
    }

    fn line(&self) -> String;
}

impl Line for Hop {
    fn line(&self) -> String {
        let gateway = self.gateway.map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
        format!("{} {gateway} {}", self.interface.unwrap(), self.weight)
    }
}

#[test]
fn neighbours_are_those_of_ip_neigh() {
    let Some(netns) = furnished() else { return };
    let ours = netns.neighbours().unwrap();
    let interfaces = netns.interfaces().unwrap();
    let mut count = 0;
    for theirs in json(&netns, &["neigh", "show", "nud", "all"]) {
        let address: IpAddr = theirs["dst"].as_str().unwrap().parse().unwrap();
        let index = interfaces.iter().find(|of| of.name == theirs["dev"].as_str().unwrap()).unwrap().index;
        let ours = ours.iter().find(|ours| (ours.address, ours.interface) == (address, index)).unwrap();
        assert_eq!(theirs["lladdr"].as_str(), ours.hardware_address.as_ref().map(ToString::to_string).as_deref());
        assert_eq!(theirs["state"][0].as_str().unwrap().to_lowercase(), ours.state);
        count += 1;
    }
    assert!(count >= 3 && count == ours.len(), "{ours:?}");
}

#[test]
fn sockets_are_those_of_ss() {
    let Some(netns) = furnished() else { return };
    let made = netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[0; 5000]).unwrap();
        server.read_exact(&mut [0; 4000]).unwrap();
        let waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let six = TcpListener::bind("[::1]:0").unwrap();
        let six_client = TcpStream::connect(six.local_addr().unwrap()).unwrap();
        let connected = UdpSocket::bind("[::1]:0").unwrap();
        connected.connect("[::1]:9").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        (listener, client, server, waiting, six, six_client, connected, udp)
    });
    let made = made.unwrap();
    let sockets = netns.sockets().unwrap();
    let ours: BTreeSet<_> = sockets
        .iter()
        .map(|of| {
            let state = match of.state {
                SocketState::Established => "ESTAB",
                SocketState::Listen => "LISTEN",
                SocketState::Closed => "UNCONN",
                other => panic!("{other}"),
            };
            let (queues, inode) = (format!("{} {}", of.receive_queue, of.send_queue), of.inode);
            let star = |port: u16| if port == 0 { "*".to_owned() } else { port.to_string() };
            format!(
                "{} {state} {queues} {} {} {inode} {}",
                of.protocol,
                of.local.port(),
                star(of.remote.port()),
                of.uid
            )
        })
        .collect();
    let theirs: BTreeSet<_> = output(&netns, "ss", &["-Htuane"])
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let port = |of: &str| of.rsplit_once(':').unwrap().1.to_owned();
            let field = |name| words.iter().find_map(|word| word.strip_prefix(name)).unwrap_or("0");
            let (local, remote) = (port(words[4]), port(words[5]));
            format!("{} {local} {remote} {} {}", words[..4].join(" "), field("ino:"), field("uid:"))
        })
        .collect();
    assert_eq!(ours, theirs);
    let addresses: BTreeSet<_> = sockets.iter().map(|of| of.local).collect();
    for local in [made.0.local_addr(), made.4.local_addr(), made.6.local_addr(), made.7.local_addr()] {
        assert!(addresses.contains(&local.unwrap()));
    }
    let client = sockets.iter().find(|of| of.local == made.1.local_addr().unwrap()).unwrap();
    assert_eq!((client.protocol, client.remote), (Protocol::Tcp, made.0.local_addr().unwrap()));

    let tcp = client.tcp.unwrap();
    assert_eq!((tcp.bytes_sent, tcp.bytes_acknowledged, tcp.bytes_received), (5000, 5001, 0));
    let filter = format!("sport = :{}", client.local.port());
    let theirs = output(&netns, "ss", &["-Htin", &filter]);
    let value = |name: &str| theirs.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
    let micros = |time: Duration| format!("{}", time.as_micros() as f64 / 1000.0);
    assert_eq!(value("rtt"), Some(&*format!("{}/{}", micros(tcp.rtt), micros(tcp.rtt_variance))), "{theirs}");
    assert_eq!(value("minrtt"), Some(&*micros(tcp.min_rtt)), "{theirs}");
    assert_eq!(value("cwnd"), Some(&*tcp.congestion_window.to_string()), "{theirs}");
    assert_eq!(value("mss"), Some(&*tcp.segment_size.to_string()), "{theirs}");
    assert_eq!(value("pmtu"), Some(&*tcp.path_mtu.to_string()), "{theirs}");
    assert_eq!(value("segs_out"), Some(&*tcp.segments_sent.to_string()), "{theirs}");
    assert_eq!(value("segs_in"), Some(&*tcp.segments_received.to_string()), "{theirs}");
    assert_eq!(
        theirs.split_whitespace().find(|word| Some(*word) == client.congestion.as_deref()),
        client.congestion.as_deref()
    );
    drop(made);
}

#[test]
fn in_the_own_namespace_all_is_told_to_anybody() {
    let home = Netns::current().unwrap();
    assert!(home.interfaces().unwrap().iter().any(|interface| interface.name == "lo"));
    home.addresses().unwrap();
    home.routes().unwrap();
    home.neighbours().unwrap();
}

/// A namespace with something of everything; `None`, said aloud, if it may not be made.
fn furnished() -> Option<Netns> {
    let netns = match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            return None;
        }
        made => made.unwrap(),
    };
    for line in [
        "link set lo up",
        "link add veth0 type veth peer name veth1",
        "link add br0 type bridge",
        "link add veth2 type veth peer name veth3",
        "tuntap add tun0 mode tun",
        "link set veth1 master br0 mtu 1400",
        "link set veth0 up",
        "link set veth1 up",
        "link set br0 up",
        "link set veth2 up",
        "link set veth3 up",
        "addr add 10.7.0.1/24 broadcast 10.7.0.255 dev veth0",
        "addr add 10.8.0.1 peer 10.8.0.2/32 dev veth2",
        "addr add fd07::1/64 dev veth0 nodad",
        "addr add 10.7.0.9/24 dev veth0",
        "route add default via 10.7.0.254 proto static metric 7",
        "route add default via fd07::fe dev veth0",
        "route add 10.9.0.0/16 proto bgp src 10.7.0.9 nexthop via 10.7.0.2 weight 2 nexthop dev veth2 weight 3",
        "route add fd09::/32 nexthop via fd07::2 nexthop via fd07::3 weight 4",
        "route add blackhole 10.66.0.0/16 table 1000",
        "route add unreachable fd66::/16 proto 251",
        "route add 10.77.0.0/16 via inet6 fd07::7 dev veth0",
        "neigh add 10.7.0.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent",
        "neigh add fd07::2 lladdr 02:00:00:00:00:06 dev veth0 nud stale router",
    ] {
        ip(&netns, &line.split(' ').collect::<Vec<_>>());
    }
    // A neighbour that does not answer.
    netns.run(|| UdpSocket::bind("10.7.0.1:0").unwrap().send_to(b"", "10.7.0.3:9").unwrap()).unwrap();
    Some(netns)
}

fn ip(netns: &Netns, arguments: &[&str]) {
    output(netns, "ip", arguments);
}

/// What is read, and what the tool says, of the same moment: interfaces get addresses of their own when the kernel comes to it.
fn still<O, T: PartialEq>(ours: impl Fn() -> O, theirs: impl Fn() -> T) -> (O, T) {
    let mut attempts = std::iter::repeat_with(|| (theirs(), ours(), theirs())).take(100);
    let (theirs, ours, _) = attempts.find(|(before, _, after)| before == after).expect("it is still at last");
    (ours, theirs)
}

fn json(netns: &Netns, arguments: &[&str]) -> Vec<Value> {
    let all = output(netns, "ip", &[&["-j"], arguments].concat());
    serde_json::from_str(&all).unwrap()
}

fn output(netns: &Netns, program: &str, arguments: &[&str]) -> String {
    let child = netns.command(program).args(arguments).privileged().stdout(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}
