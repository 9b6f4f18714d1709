//! Filters against those of tcpdump, which is made with the same library.

#![cfg(all(target_os = "linux", feature = "capture"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod pair;
mod skip;

use std::process::Command;
use std::time::Duration;

use pair::{HERE, Pair};
use podtrail_netns::capture::{Capture, CaptureConfig, Filter, LinkType};
use podtrail_netns::{ErrorKind, Netns};
use skip::skip;

const FILTERS: [&str; 14] = [
    "",
    "icmp",
    "arp or rarp",
    "host 10.1.2.3",
    "src net 10.0.0.0/8 and not dst net 10.1.0.0/16",
    "tcp port 443",
    "udp portrange 5000-6000",
    "ip6 and tcp dst port 80",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "greater 1000 or less 64",
    "ether[0] & 1 = 0 and ip[16] >= 224",
    "ip proto 132",
    "host 2001:db8::1 and (port 53 or port 853)",
    "(tcp or udp) and not port 22 and not host 192.0.2.1",
];

/// As nobody: without a device it needs nothing.
#[test]
fn programs_are_those_of_tcpdump() {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        return skip("no tcpdump");
    }
    for (link_type, name) in [(LinkType::ETHERNET, "EN10MB"), (LinkType::RAW, "RAW")] {
        for filter in FILTERS {
            let mut command = Command::new("tcpdump");
            let output = command.args(["-s", "1234", "-y", name, "-ddd", filter]).output().unwrap();
            let program = match Filter::new(filter).unwrap().compile(link_type, 1234) {
                Err(e) if e.kind() == ErrorKind::Library => return skip(e),
                Err(e) => {
                    assert!(!output.status.success(), "{name} {filter}: {e}");
                    continue;
                }
                Ok(program) => program,
            };
            let mut expected = format!("{}\n", program.len());
            for i in program {
                expected += &format!("{} {} {} {}\n", i.code, i.if_true, i.if_false, i.operand);
            }
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{name} {filter}");
        }
    }
}

#[test]
fn what_is_no_filter_is_refused_with_what_libpcap_says() {
    let refused = |filter: &str| {
        let compile = |filter: Filter| filter.compile(LinkType::ETHERNET, 100);
        Filter::new(filter).and_then(compile).unwrap_err()
    };
    assert_eq!(refused("port\0 80").kind(), ErrorKind::Filter);
    assert_eq!(refused(&" ".repeat(8193)).kind(), ErrorKind::Filter);
    for filter in ["port and", "host", "ip broadcast", "tcp port 99999", "-z sh", "((((", "$(id)"] {
        let error = refused(filter);
        if error.kind() == ErrorKind::Library {
            return skip(error);
        }
        assert_eq!(error.kind(), ErrorKind::Filter, "{filter}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!source.is_empty() && error.to_string().contains(filter), "{error}: {source}");
    }
    let many = (0..2000).map(|n| n.to_string()).collect::<Vec<_>>().join("||");
    assert_eq!(refused(&format!("port {many}")).kind(), ErrorKind::Filter);
}

#[test]
fn a_capture_by_vlan_is_refused() {
    let mut config = CaptureConfig::default();
    config.filter = Some(Filter::new("not vlan 7").unwrap());
    let error = Capture::open(&Netns::current().unwrap(), &config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Filter);
}

#[test]
fn a_capture_sees_what_its_filter_wants_and_nothing_else() {
    let Some(pair) = Pair::new() else { return };
    let sender = pair.sender(7000);
    let _receivers = [7000, 7001].map(|port| pair.receiver(port));
    let captures = ["udp dst port 7001", "greater 500", "udp and inbound", "ip6", "udp and outbound"].map(|text| {
        let mut config = CaptureConfig::default();
        config.filter = Some(Filter::new(text).unwrap());
        match Capture::open(&pair.here, &config) {
            Err(e) if e.kind() == ErrorKind::Library => {
                skip(e);
                None
            }
            opened => Some(opened.unwrap()),
        }
    });
    for n in 0..300_u16 {
        sender.send_to(&vec![0; usize::from(n) * 4], (HERE, 7000 + n % 3 % 2)).unwrap();
    }
    for (capture, expected) in captures.into_iter().zip([100, 185, 300, 0, 0]) {
        let Some(mut capture) = capture else { return };
        capture.handle().stop();
        let mut count = 0;
        while !capture.is_finished() {
            count += capture.next(Duration::from_secs(1)).unwrap().map_or(0, Iterator::count);
        }
        assert_eq!(count, expected);
    }
}
