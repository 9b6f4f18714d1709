//! What is read of each connection against what `conntrack -L` says of it, in a network namespace of the test's own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use namespace::fresh;
use namespace::skip::skip;
use podtrail_conntrack::wire::{Connection, Counters, Protocol, Status, TcpState, Transport, Tuple};
use podtrail_conntrack::{Filter, Preflight, Table};
use rustix::net::{AddressFamily, SendFlags, SocketType};

/// Lists, translations and whatever else connections can have, for traffic of the machine with itself.
const RULES: &str = r#"
table inet tracking {
    ct helper ftp-control { type "ftp" protocol tcp; }
    chain early {
        type filter hook output priority -300;
        udp dport 5007 ct zone set 7
        udp dport 5008 ct original zone set 8
        udp dport 5009 ct reply zone set 9
    }
    chain output {
        type filter hook output priority 0;
        tcp dport 2121 ct helper set "ftp-control"
        udp dport 5010 ct mark set 0x2a
    }
    chain input {
        type filter hook input priority 0;
        tcp dport 9 drop
    }
}
table inet translation {
    chain output {
        type nat hook output priority -100;
        ip daddr 10.7.0.100 udp dport 53 dnat ip to 10.7.0.2:5353
        ip6 daddr fd07::100 udp dport 53 dnat ip6 to [fd07::2]:5353
        ip daddr 10.7.0.100 tcp dport 80 dnat ip to 10.7.0.2:8080
        ip6 daddr fd07::100 tcp dport 80 dnat ip6 to [fd07::2]:8080
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        udp dport { 5353, 6000 } ip daddr 10.7.0.2 snat ip to 10.7.0.9:20000-30000
        udp dport { 5353, 6000 } ip6 daddr fd07::2 snat ip6 to [fd07::9]:20000-30000
    }
}
"#;

#[test]
fn each_field_is_what_the_tool_says() {
    let Some(netns) = fresh() else { return };
    for tool in ["ip", "nft", "conntrack"] {
        if Command::new(tool).arg("--version").output().is_err() {
            skip(format!("there is no {tool}"));
            return;
        }
    }
    Preflight::enable(&netns).unwrap();
    let sockets = netns
        .run(|| {
            prepare();
            traffic()
        })
        .unwrap();
    let mut table = Table::open_in(&netns).unwrap();
    for connection in inserted() {
        table.insert(&connection).unwrap_or_else(|e| panic!("{connection:?}: {e}"));
    }

    // An acknowledgement may come late.
    let [xml, lines] = loop {
        let before = packets(&mut table);
        let lists = netns.run(|| ["xml,id,ktimestamp", "extended,id"].map(list)).unwrap();
        if packets(&mut table) == before {
            break lists;
        }
    };
    let mut flows: BTreeMap<_, _> =
        xml.split("<flow>").skip(1).map(elements).map(|flow| (flow["independent/id"].clone(), flow)).collect();
    let mut seen = Seen::default();
    let mut dump = table.dump(&Filter::default()).unwrap();
    while let Some(connection) = dump.next() {
        let connection = connection.unwrap();
        let id = connection.id.unwrap().to_string();
        let flow = flows.remove(&id).unwrap_or_else(|| panic!("the tool does not list {connection:?}"));
        compare(&connection, flow);
        let line = lines.lines().find(|line| line.ends_with(&format!(" id={id}"))).unwrap();
        for tuple in [connection.original, connection.reply] {
            // The tool names the direction of such a zone, and shows ports of DCCP where the kernel has none.
            let shown = Tuple { zone: 0, ..tuple }.to_string();
            assert!(line.contains(&shown), "{shown} is not in: {line}");
        }
        seen.add(&connection);
    }
    assert!(flows.is_empty(), "only the tool lists {flows:?}");
    seen.check();
    known_traffic(&mut table);
    drop(sockets);
}

/// What kinds of connections there were, so that none is forgotten.
#[derive(Debug, Default)]
struct Seen {
    protocols: BTreeSet<(u8, bool)>,
    states: BTreeSet<String>,
    zones: BTreeSet<[u16; 3]>,
    helpers: usize,
    marks: BTreeSet<u32>,
    translated: [usize; 3],
}

impl Seen {
    fn add(&mut self, connection: &Connection<'_>) {
        let Connection { original, reply, .. } = connection;
        self.protocols.insert((original.protocol.0, original.src.is_ipv4()));
        self.states.extend(connection.tcp_state.map(|state| state.to_string()));
        self.zones.insert([connection.zone, original.zone, reply.zone]);
        self.helpers += usize::from(connection.helper == Some(b"ftp"));
        self.marks.extend(connection.mark);
        match (reply.dst != original.src, reply.src != original.dst) {
            (false, false) => {}
            (true, false) => self.translated[0] += 1,
            (false, true) => self.translated[1] += 1,
            (true, true) => self.translated[2] += 1,
        }
    }

    fn check(&self) {
        let v4 = [1, 6, 17, 33, 47, 99, 132, 136].map(|protocol| (protocol, true));
        let v6 = [6, 17, 33, 58, 132, 136].map(|protocol| (protocol, false));
        assert_eq!(self.protocols, v4.into_iter().chain(v6).collect(), "{self:?}");
        let states = ["CLOSE_WAIT", "ESTABLISHED", "SYN_RECV", "SYN_SENT", "TIME_WAIT"];
        assert_eq!(self.states, states.map(String::from).into(), "{self:?}");
        assert_eq!(self.zones, [[0, 0, 0], [7, 0, 0], [0, 8, 0], [0, 0, 9], [65535, 0, 0]].into(), "{self:?}");
        assert_eq!(self.marks, [0, 0x2a, u32::MAX].into(), "{self:?}");
        assert_eq!(self.helpers, 2, "{self:?}");
        // By source, by destination, and by both.
        assert_eq!(self.translated, [2, 2, 2], "{self:?}");
    }
}

/// What was sent is counted, to the byte.
fn known_traffic(table: &mut Table) {
    let filter = Filter::default().protocol(Protocol::UDP).original_dst_port(4000);
    let mut dump = table.dump(&filter).unwrap();
    let mut families = 0;
    while let Some(connection) = dump.next() {
        let connection = connection.unwrap();
        let headers = if connection.original.src.is_ipv4() { 28 } else { 48 };
        let counters = |packets, payload| Some(Counters { packets, bytes: packets * headers + payload });
        assert_eq!(connection.original_counters, counters(3, 300), "{connection:?}");
        assert_eq!(connection.reply_counters, counters(1, 50), "{connection:?}");
        families += 1;
    }
    assert_eq!(families, 2);
}

/// How many packets each connection has had.
fn packets(table: &mut Table) -> BTreeMap<Option<u32>, [Option<Counters>; 2]> {
    let mut packets = BTreeMap::new();
    let mut dump = table.dump(&Filter::default()).unwrap();
    while let Some(connection) = dump.next() {
        let connection = connection.unwrap();
        packets.insert(connection.id, [connection.original_counters, connection.reply_counters]);
    }
    packets
}

fn prepare() {
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
    for address in ["10.7.0.1/32", "10.7.0.2/32", "10.7.0.9/32", "fd07::1/128", "fd07::2/128", "fd07::9/128"] {
        // Addresses of IPv6 are there at once only if nobody is asked whether they have them.
        let nodad = address.contains(':').then_some("nodad");
        run(Command::new("ip").args(["address", "add", address, "dev", "lo"]).args(nodad));
    }
    // So that what is translated has a way until then.
    run(Command::new("ip").args(["route", "add", "10.7.0.100/32", "dev", "lo", "src", "10.7.0.1"]));
    run(Command::new("ip").args(["route", "add", "fd07::100/128", "dev", "lo", "src", "fd07::1"]));
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(RULES.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

/// Makes connections of every kind that needs no other machine, and returns what keeps them as they are.
fn traffic() -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for [here, there, service] in [["10.7.0.1", "10.7.0.2", "10.7.0.100"], ["[fd07::1]", "[fd07::2]", "[fd07::100]"]] {
        let address = |host: &str, port: u16| format!("{host}:{port}").parse::<SocketAddr>().unwrap();
        sockets.extend(tcp(address(there, 2121), address(there, 2121)));
        sockets.extend(tcp(address(there, 8080), address(service, 80)));
        // Closed by one side, and by both.
        let [client, server] = tcp(address(there, 8081), address(there, 8081));
        client.shutdown(Shutdown::Write).unwrap();
        sockets.extend([client, server]);
        drop(tcp(address(there, 8082), address(there, 8082)));
        // Nobody answers.
        TcpStream::connect_timeout(&address(there, 9), Duration::from_millis(50)).unwrap_err();

        let server = UdpSocket::bind(address(there, 4000)).unwrap();
        let client = UdpSocket::bind(address(here, 0)).unwrap();
        for _ in 0..3 {
            client.send_to(&[0; 100], server.local_addr().unwrap()).unwrap();
            server.recv(&mut [0; 100]).unwrap();
        }
        server.send_to(&[0; 50], client.local_addr().unwrap()).unwrap();
        for port in [5007, 5008, 5009, 5010, 6000] {
            client.send_to(&[0; 10], address(there, port)).unwrap();
        }
        client.send_to(&[0; 10], address(service, 53)).unwrap();
    }
    let echo = [8, 0, 0xf7, 0xf7, 0, 7, 0, 1];
    raw(AddressFamily::INET, 1, "10.7.0.2:0", &echo);
    raw(AddressFamily::INET6, 58, "[fd07::2]:0", &[128, 0, 0, 0, 0, 7, 0, 1]);
    raw(AddressFamily::INET, 47, "10.7.0.2:0", &[0, 0, 8, 0, 0, 0, 0, 0]);
    raw(AddressFamily::INET, 99, "10.7.0.2:0", &[0; 20]);
    sockets
}

/// Both ends of a connection that has carried something.
fn tcp(listen: SocketAddr, connect: SocketAddr) -> [TcpStream; 2] {
    let listener = TcpListener::bind(listen).unwrap();
    let mut client = TcpStream::connect(connect).unwrap();
    let mut server = listener.accept().unwrap().0;
    client.write_all(&[0; 1000]).unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    [client, server]
}

fn raw(family: AddressFamily, protocol: u32, to: &str, packet: &[u8]) {
    let protocol = std::num::NonZero::new(protocol).map(rustix::net::Protocol::from_raw);
    let socket = rustix::net::socket(family, SocketType::RAW, protocol).unwrap();
    let to: SocketAddr = to.parse().unwrap();
    assert_eq!(rustix::net::sendto(&socket, packet, SendFlags::empty(), &to), Ok(packet.len()));
}

/// What there is no traffic of here.
fn inserted() -> Vec<Connection<'static>> {
    let mut all = Vec::new();
    for protocol in [Protocol::SCTP, Protocol::UDPLITE, Protocol::DCCP, Protocol::TCP] {
        for (src, dst) in [("10.8.0.1:1111", "10.8.0.2:2222"), ("[fd08::1]:1111", "[fd08::2]:2222")] {
            let original = Tuple::with_ports(protocol, src.parse().unwrap(), dst.parse().unwrap());
            let mut connection = Connection::new(original, original.inverse());
            connection.timeout = Some(600);
            connection.tcp_state = (protocol == Protocol::TCP).then_some(TcpState::SYN_RECV);
            connection.mark = Some(u32::MAX);
            connection.zone = 65535;
            all.push(connection);
        }
    }
    all
}

/// The whole of what the tool says, but for how long ago and how often used.
fn compare(connection: &Connection<'_>, mut flow: BTreeMap<String, String>) {
    flow.retain(|key, _| !["independent/use", "independent/deltatime"].contains(&key.as_str()));
    if connection.original.protocol != Protocol::TCP {
        // Of SCTP; not read here.
        flow.remove("independent/state");
    }
    let timeout: u32 = flow.remove("independent/timeout").unwrap().parse().unwrap();
    assert!(connection.timeout.unwrap().abs_diff(timeout) <= 2, "{connection:?}, {flow:?}");
    assert_eq!(expected(connection), flow, "{connection:?}");
}

/// A connection as the tool shows it.
fn expected(connection: &Connection<'_>) -> BTreeMap<String, String> {
    let mut flow = BTreeMap::new();
    let mut add = |key: &str, value: &dyn ToString| assert_eq!(flow.insert(key.into(), value.to_string()), None);
    for (name, tuple, counters) in [
        ("original", connection.original, connection.original_counters),
        ("reply", connection.reply, connection.reply_counters),
    ] {
        add(&format!("{name}/layer3@"), &if tuple.src.is_ipv4() { 2 } else { 10 });
        add(&format!("{name}/layer3/src"), &tuple.src);
        add(&format!("{name}/layer3/dst"), &tuple.dst);
        add(&format!("{name}/layer4@"), &tuple.protocol.0);
        let (sport, dport, [src, dst]) = match (tuple.transport, tuple.protocol) {
            (Transport::Ports { src, dst }, Protocol::GRE) => {
                ("srckey", "dstkey", [format!("{src:#x}"), format!("{dst:#x}")])
            }
            (Transport::Ports { src, dst }, _) => ("sport", "dport", [src, dst].map(|port| port.to_string())),
            (Transport::None, Protocol::DCCP) => ("sport", "dport", ["0", "0"].map(String::from)),
            _ => ("", "", Default::default()),
        };
        if !sport.is_empty() {
            add(&format!("{name}/layer4/{sport}"), &src);
            add(&format!("{name}/layer4/{dport}"), &dst);
        }
        if tuple.zone != 0 {
            add(&format!("{name}/zone"), &tuple.zone);
        }
        let counters = counters.unwrap();
        add(&format!("{name}/counters/packets"), &counters.packets);
        add(&format!("{name}/counters/bytes"), &counters.bytes);
    }
    add("independent/id", &connection.id.unwrap());
    add("independent/mark", &connection.mark.unwrap_or_default());
    add("independent/timestamp/start", &connection.start.unwrap());
    if connection.zone != 0 {
        add("independent/zone", &connection.zone);
    }
    if let Some(state) = connection.tcp_state {
        add("independent/state", &state);
    }
    let status = connection.status.unwrap();
    if status.contains(Status::ASSURED) {
        add("independent/assured", &"");
    }
    if !status.contains(Status::SEEN_REPLY) {
        add("independent/unreplied", &"");
    }
    if let Some(helper) = connection.helper {
        add("helper", &std::str::from_utf8(helper).unwrap());
    }
    flow
}

/// The values in the XML of a flow, by where they are: `original/layer3/src`. A `meta` is called by its direction; the number of a
/// protocol is at its element's path and `@`.
fn elements(xml: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut path: Vec<&str> = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        if tag.starts_with('/') {
            if path.pop().is_none() {
                break;
            }
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        let value = |attribute| Some(tag.split_once(attribute)?.1.split('"').nth(1).unwrap());
        path.push(value("direction=").unwrap_or(name));
        if let Some(number) = value("protonum=") {
            values.insert(format!("{}@", path.join("/")), number.into());
        }
        if tag.ends_with('/') {
            values.insert(path.join("/"), String::new());
            path.pop();
        } else if !text.trim().is_empty() {
            values.insert(path.join("/"), text.into());
        }
    }
    values
}

fn list(output: &str) -> String {
    let family = |family| run(Command::new("conntrack").args(["-L", "-f", family, "-o", output]));
    ["ipv4", "ipv6"].map(family).concat()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
