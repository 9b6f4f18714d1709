//! The program as its users meet it, but for `run`: the built binary, its exit codes and what it prints.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

#[path = "../../../crates/netns/tests/skip/mod.rs"]
mod skip;

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use podtrail_conntrack::wire::{Connection, Protocol, Status, TcpState, Tuple};
use podtrail_conntrack::{Preflight, Table};
use podtrail_netns::{ErrorKind, Netns};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::thread::CapabilitySet;
use serde_json::Value;
use skip::skip;

fn agent(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flow-agent"));
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

fn ask(args: &[&str]) -> Output {
    agent(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A network namespace that nobody else is in, with a path to it; `None`, said aloud, if one may not be made.
fn fresh() -> Option<(Netns, String)> {
    match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            None
        }
        made => {
            let netns = made.unwrap();
            let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
            Some((netns, path))
        }
    }
}

/// A namespace where connections over loopback are tracked and counted.
fn counting() -> Option<(Netns, String)> {
    let (netns, path) = fresh()?;
    let rules =
        "add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct state new";
    for command in [&["ip", "link", "set", "lo", "up"][..], &["nft", rules]] {
        let status = netns.run(|| Command::new(command[0]).args(&command[1..]).status()).unwrap();
        let Ok(status) = status else {
            skip(format!("{} is not installed", command[0]));
            return None;
        };
        assert!(status.success(), "{command:?}");
    }
    Preflight::enable(&netns).unwrap();
    Some((netns, path))
}

#[test]
fn help_and_completions_are_not_errors() {
    for (args, words) in [
        (&["--help"][..], "completions"),
        (&["list", "--help"], "reply-src="),
        (&["top", "--help"], "--interval"),
        (&["check", "--help"], "--enable"),
        (&["completions", "bash"], "complete -F _flow__agent"),
    ] {
        let output = ask(args);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
        assert!(stdout(&output).contains(words), "{args:?}");
    }
}

#[test]
fn bad_usage_is_64_and_says_what_is_wrong() {
    for (args, words) in [
        (&[][..], "Usage"),
        (&["list", "colour=red"], "colour=red is not known; the keys are proto, family, src"),
        (&["list", "tcp"], "tcp is not KEY=VALUE; the keys are proto, family, src"),
        (&["list", "port=x"], "port=x is wrong: not a port"),
        (&["list", "-o", "xml"], "[possible values: table, json]"),
        (&["top", "--by", "pod"], "[possible values: connection, address, port]"),
        (&["top", "--interval", "0s"], "not between"),
        (&["top", "--count", "0"], "0 is not in"),
        (&["check", "now"], "unexpected argument"),
        (&["completions", "cmd"], "[possible values: bash"),
    ] {
        let output = ask(args);
        assert_eq!((output.status.code(), stdout(&output)), (Some(64), ""), "{args:?}");
        assert!(stderr(&output).contains(words), "{args:?} says: {}", stderr(&output));
    }
}

#[test]
fn what_is_no_namespace_is_69() {
    for command in ["list", "top", "check"] {
        let output = ask(&[command, "--netns", "/nowhere"]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(69), ""), "{command}");
        assert!(stderr(&output).starts_with("error: cannot open /nowhere: "), "{}", stderr(&output));
    }
}

#[test]
fn a_capability_that_is_missing_is_said() {
    let other = fresh();
    let mut cases = vec![("list", "NET_ADMIN", None), ("top", "NET_ADMIN", None)];
    cases.extend(other.iter().map(|(_, path)| ("list", "SYS_ADMIN", Some(path.as_str()))));
    for (command, name, netns) in cases {
        let output = without(CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN, command, netns);
        assert_eq!((output.status.code(), stdout(&output)), (Some(69), ""), "{command}");
        let (missing, remedy) = (format!("CAP_{name} is missing"), format!("capabilities.add: [\"{name}\"]"));
        assert!(stderr(&output).contains(&missing) && stderr(&output).contains(&remedy), "{}", stderr(&output));
    }
    let checked = without(CapabilitySet::NET_ADMIN, "check", None);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    assert!(stdout(&checked).contains("\nCAP_NET_ADMIN is missing: "), "{}", stdout(&checked));
}

/// Runs a command without capabilities, which root has otherwise.
fn without(capabilities: CapabilitySet, command: &str, netns: Option<&str>) -> Output {
    thread::scope(|scope| {
        let run = || {
            // Of this thread, and of what it starts. Who is not root has none to lose.
            for capability in capabilities {
                rustix::thread::remove_capability_from_bounding_set(capability).ok();
            }
            let netns = netns.map(|path| format!("--netns={path}"));
            agent(&[command]).args(netns).output().unwrap()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// One that is translated both ways, IPv6, and one in a zone.
fn insert_three(netns: &Netns) {
    let end = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let tuple = |protocol, [src, dst]: [&str; 2]| Tuple::with_ports(protocol, end(src), end(dst));
    let original = tuple(Protocol::TCP, ["10.0.0.1:4711", "10.96.0.1:443"]);
    let mut web = Connection::new(original, tuple(Protocol::TCP, ["10.244.1.7:8443", "192.0.2.1:1024"]));
    (web.timeout, web.mark, web.tcp_state) = (Some(600), Some(0x11), Some(TcpState::ESTABLISHED));
    web.status = Some(Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED);
    let original = tuple(Protocol::UDP, ["[fd00::1]:5353", "[fd00::2]:53"]);
    let mut names = Connection::new(original, original.inverse());
    names.timeout = Some(30);
    let original = tuple(Protocol::UDP, ["10.0.0.1:4712", "10.0.0.2:53"]);
    let mut zoned = Connection::new(original, original.inverse());
    (zoned.timeout, zoned.zone) = (Some(30), 7);
    let mut table = Table::open_in(netns).unwrap();
    for connection in [web, names, zoned] {
        table.insert(&connection).unwrap();
    }
}

fn listed(netns: &str, filter: &[&str]) -> Vec<Value> {
    let output = ask(&[&["list", "--netns", netns, "-o", "json"], filter].concat());
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{filter:?}");
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_list_shows_what_the_filter_wants() {
    let Some((netns, path)) = fresh() else { return };
    Preflight::enable(&netns).unwrap();
    insert_three(&netns);
    for (filter, ports) in [
        (&[][..], &[4711, 4712, 5353][..]),
        (&["proto=tcp"], &[4711]),
        (&["proto=17", "family=ipv4"], &[4712]),
        (&["family=ipv6"], &[5353]),
        (&["src=10.0.0.1"], &[4711, 4712]),
        (&["src=10.0.0.1", "dport=53"], &[4712]),
        (&["reply-src=10.244.1.7", "reply-dport=1024"], &[4711]),
        (&["addr=192.0.2.1"], &[4711]),
        (&["addr=fd00::2", "sport=5353"], &[5353]),
        (&["port=53"], &[4712, 5353]),
        (&["zone=7"], &[4712]),
        (&["mark=0x1/0xf"], &[4711]),
        (&["mark=0x1"], &[]),
        (&["status=assured"], &[4711]),
        (&["status=unreplied"], &[4712, 5353]),
        (&["src=10.0.0.1", "dst=fd00::2"], &[]),
    ] {
        let mut found: Vec<_> =
            listed(&path, filter).iter().map(|line| line["original"]["srcPort"].as_u64().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, ports, "{filter:?}");
    }
}

#[test]
fn a_list_has_the_shape_that_it_says() {
    let Some((netns, path)) = fresh() else { return };
    Preflight::enable(&netns).unwrap();
    insert_three(&netns);

    let line = listed(&path, &["proto=tcp"]).remove(0);
    let zero = serde_json::json!({"originalPackets": 0, "originalBytes": 0, "replyPackets": 0, "replyBytes": 0});
    assert_eq!(line["netns"], netns.inode());
    assert_eq!(line["original"].to_string(), r#"{"dst":"10.96.0.1","dstPort":443,"src":"10.0.0.1","srcPort":4711}"#);
    assert_eq!(line["reply"]["src"], "10.244.1.7");
    assert_eq!((&line["total"], &line["state"], &line["mark"]), (&zero, &"ESTABLISHED".into(), &17.into()));
    assert!(line["connection"]["id"].is_u64() && line["connection"]["start"].as_str().unwrap().len() == 30, "{line}");
    assert!(line["timeout"].as_u64().unwrap() <= 600 && line["zone"] == 0 && line["protocol"] == 6, "{line}");
    let status = line["status"].as_array().unwrap();
    assert!(["seen-reply", "assured", "confirmed"].iter().all(|name| status.contains(&(*name).into())), "{line}");

    let table = ask(&["list", "--netns", &path]);
    let lines: Vec<_> = stdout(&table).lines().collect();
    assert_eq!((table.status.code(), lines.len()), (Some(0), 4), "{}", stderr(&table));
    let column = lines[0].find("DESTINATION").unwrap();
    let row = lines.iter().find(|line| line.starts_with("tcp ")).unwrap();
    assert_eq!(row[column..].split_whitespace().next(), Some("10.96.0.1:443"));
    assert!(row.ends_with("from 192.0.2.1:1024 to 10.244.1.7:8443 assured mark=0x11"), "{row}");
    let none = ask(&["list", "--netns", &path, "proto=icmp"]);
    assert_eq!((none.status.code(), stdout(&none)), (Some(0), "nothing found\n"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let Some((netns, path)) = fresh() else { return };
    insert_three(&netns);
    for args in [&["list"][..], &["list", "-o", "json"], &["check"], &["top", "--interval", "100ms"]] {
        let mut command = agent(args);
        let mut child = command.args(["--netns", &path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_check_is_0_when_all_is_well_and_1_otherwise() {
    let Some((netns, path)) = fresh() else { return };
    for name in ["acct", "timestamp", "events"] {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        netns.run(|| std::fs::write(path, "0")).unwrap().unwrap();
    }
    let before = ask(&["check", "--netns", &path]);
    assert_eq!(before.status.code(), Some(1), "{}", stderr(&before));
    for words in [
        "accounting     off",
        "timestamps     off",
        "events         off",
        "sysctl -w net.netfilter.nf_conntrack_acct=1",
    ] {
        assert!(stdout(&before).contains(words), "{}", stdout(&before));
    }
    let before = ask(&["check", "--netns", &path, "-o", "json"]);
    let report: Value = serde_json::from_str(stdout(&before)).unwrap();
    let kinds: Vec<_> = report["findings"].as_array().unwrap().iter().map(|found| &found["kind"]).collect();
    assert_eq!((before.status.code(), &report["netns"]), (Some(1), &netns.inode().into()));
    assert_eq!(kinds, ["accounting-off", "timestamps-off", "events-off"]);

    let after = ask(&["check", "--netns", &path, "--enable"]);
    assert_eq!(after.status.code(), Some(0), "{}", stdout(&after));
    assert!(stdout(&after).ends_with("all is well\n"), "{}", stdout(&after));
    assert_eq!(ask(&["check", "--netns", &path]).status.code(), Some(0));
}

/// Sends so many bytes over a new connection.
fn carry(netns: &Netns, port: u16, bytes: usize) {
    let exchange = || {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || client.write_all(&vec![0; bytes]).unwrap());
            server.read_to_end(&mut Vec::new()).unwrap();
        });
    };
    netns.run(exchange).unwrap();
}

/// Starts `top` in a namespace.
fn top(path: &str, args: &[&str], out: Stdio) -> Child {
    let mut command = agent(&["top", "--netns", path]);
    command.args(args).stdout(out).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads until a line has these words.
fn read_to(words: &str, from: &mut impl BufRead) -> String {
    let mut text = String::new();
    while from.read_line(&mut text).unwrap() > 0 {
        if text.contains(words) {
            return text;
        }
    }
    panic!("no {words} in {text}");
}

#[test]
fn top_shows_what_was_carried_and_what_ended_meanwhile() {
    let Some((netns, path)) = counting() else { return };
    carry(&netns, 1000, 5_000_000);
    let mut child = top(&path, &["--by", "port", "--interval", "1500ms", "--count", "3"], Stdio::piped());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    read_to("network namespace", &mut out);
    carry(&netns, 2000, 3_000_000);
    carry(&netns, 3000, 6_000_000);
    // All that is known of the connections now is in their last words.
    Table::open_in(&netns).unwrap().flush().unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));

    assert_eq!(text.matches("network namespace").count(), 2, "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("1000/tcp"), "{text}");
    let megabytes = |port: &str| -> f64 {
        let row = text.lines().find(|line| line.ends_with(port)).unwrap_or_else(|| panic!("{text}"));
        row.trim_start().split_once(" MB/s").unwrap_or_else(|| panic!("{text}")).0.parse().unwrap()
    };
    // With some headers, and with what a busy machine made the sender say again, over 1.5 s or a little more.
    let (less, more) = (megabytes("  2000/tcp"), megabytes("  3000/tcp"));
    assert!((1.0..3.0).contains(&less) && (2.0..6.0).contains(&more), "{text}");
    assert!(text.find("3000/tcp") < text.find("2000/tcp"), "{text}");
    assert!(text.ends_with("nothing was carried\n\n"), "{text}");
}

#[test]
fn top_ends_well_when_it_is_told_to() {
    let Some((netns, path)) = counting() else { return };
    for (signal, by) in [(Signal::TERM, "connection"), (Signal::INT, "address")] {
        let mut child = top(&path, &["--by", by, "--interval", "200ms", "-n", "1"], Stdio::piped());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        read_to("network namespace", &mut out);
        carry(&netns, 2000, 1_000_000);
        read_to("127.0.0.1", &mut out);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    }
}

#[test]
fn top_on_a_terminal_stays_within_it_and_gives_the_cursor_back() {
    let Some((netns, path)) = counting() else { return };
    let (master, terminal) = terminal(10, 60);
    let mut child = top(&path, &["--interval", "300ms", "--count", "3"], terminal.into());
    let mut out = BufReader::new(master);
    let mut bytes = read_to("network namespace", &mut out).into_bytes();
    (2000..2020).for_each(|port| carry(&netns, port, 1000));
    // A terminal whose other end is closed ends with an error.
    out.read_to_end(&mut bytes).ok();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("\u{1b}[?25l") && text.ends_with("\u{1b}[?25h"), "{text:?}");
    let frames: Vec<_> = text.split("\u{1b}[H").skip(2).collect();
    assert_eq!(frames.len(), 3, "{text:?}");
    assert!(frames.iter().any(|frame| frame.contains("tcp 127.0.0.1:")), "{text:?}");
    for frame in frames {
        let lines: Vec<_> = frame.split("\r\n").collect();
        assert!(lines.len() <= 10, "{frame:?}");
        let width = |line: &str| line.split('\u{1b}').next().unwrap().chars().count();
        assert!(lines.iter().all(|line| width(line) <= 60), "{frame:?}");
    }
}

/// A terminal of so many lines and columns: the end that a program is shown at, and the program's.
fn terminal(lines: u16, columns: u16) -> (File, OwnedFd) {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (master.into(), terminal)
}
