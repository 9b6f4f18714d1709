//! `capture`: packets of a pod on the fake node, over loopback in a namespace of the test's own.

mod ends;

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use podtrail_netns::Capabilities;
use podtrail_netns::capture::{Contents, PcapngReader};
use rustix::process::Signal;

use crate::fake::NamespaceMode;
use crate::harness::{Running, Said, World, ask, eventually, under};
use crate::skip::skip;

const PORT: u16 = 4000;
const OTHER: u16 = 5000;

/// A pod whose loopback device is up; `None`, said aloud, if there can be none.
fn pod() -> Option<World> {
    let world = World::with_own_network()?;
    let up = || Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let Ok(status) = world.netns().run(up).unwrap() else {
        skip("no ip (iproute2)");
        return None;
    };
    assert!(status.success());
    let mut sandbox = world.sandbox("aa", "web", "u1");
    sandbox.status().labels.insert("app".to_owned(), "web".to_owned());
    world.has(vec![sandbox]);
    Some(world)
}

/// Sends to both ports until this ends.
fn with_traffic<T>(world: &World, meanwhile: impl FnOnce() -> T) -> T {
    let bind = |port| world.netns().run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap()).unwrap();
    let (sender, _taken, _other) = (bind(0), bind(PORT), bind(OTHER));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded, if what is tested never ends.
            for n in 0..10_000_u32 {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                for port in [PORT, OTHER] {
                    sender.send_to(&n.to_be_bytes(), (Ipv4Addr::LOCALHOST, port)).unwrap();
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let result = meanwhile();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn capture(world: &World, args: &[&str]) -> Command {
    world.tracer([&["capture", "--local", "--pod", "default/web"], args].concat())
}

fn captured(world: &World, args: &[&str]) -> Said {
    with_traffic(world, || Running::start(&mut capture(world, args)).ends())
}

/// What is in a file: what is said of each interface (name, description, filter; how many were dropped), and the bytes of each packet.
#[derive(Debug, Default)]
struct Recorded {
    interfaces: Vec<[String; 3]>,
    packets: Vec<(u32, Vec<u8>)>,
    dropped: Vec<u64>,
}

fn recorded(from: impl Read) -> Recorded {
    let mut reader = PcapngReader::new(from);
    let mut recorded = Recorded::default();
    while let Some(block) = reader.next().unwrap() {
        match block.contents {
            Contents::Interface { options, .. } => {
                let all: Vec<_> = options.collect();
                // The numbers of the options, by the pcapng specification.
                let text = |code| {
                    let found = all.iter().find(|(of, _)| *of == code).map(|(_, value)| *value);
                    String::from_utf8_lossy(found.unwrap_or_default()).trim_start_matches('\0').to_owned()
                };
                recorded.interfaces.push([text(2), text(3), text(11)]);
            }
            Contents::Packet { interface, data, .. } => recorded.packets.push((interface, data.to_owned())),
            Contents::Statistics { mut options, .. } => {
                let dropped = options.find_map(|(code, value)| (code == 7).then_some(value));
                recorded.dropped.extend(dropped.map(|value| u64::from_le_bytes(value.try_into().unwrap())));
            }
            _ => {}
        }
    }
    recorded
}

/// The port that a datagram over Ethernet and IPv4 is sent to.
fn port(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[14 + 20 + 2], packet[14 + 20 + 3]])
}

#[test]
fn so_many_packets_that_match_are_in_the_file_with_the_pods_name() {
    let Some(world) = pod() else { return };
    let said = captured(&world, &["-c", "5", "-w", &world.text("out.pcapng"), "udp", "port 4000"]);
    assert_eq!(said.all(), (Some(0), "", "5 packets captured, 0 dropped for want of room\n"));
    let recorded = recorded(File::open(world.path("out.pcapng")).unwrap());
    let ports: Vec<_> = recorded.packets.iter().map(|(_, packet)| port(packet)).collect();
    assert_eq!(ports, [PORT; 5]);
    let [[name, description, filter]] = &recorded.interfaces[..] else { panic!("{:?}", recorded.interfaces) };
    assert_eq!((&**name, &**filter), ("lo", "udp port 4000"));
    for words in ["pod default/web on node ", "UID u1", &format!("network namespace {}", world.netns().inode())] {
        assert!(description.contains(words), "{description}");
    }
    assert_eq!(fs::metadata(world.path("out.pcapng")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_capture_goes_to_standard_output_and_ends_by_time_or_signal() {
    let Some(world) = pod() else { return };
    for args in [&["-w", "-", "-t", "500ms", "udp port 4000"][..], &["-t", "500ms", "udp port 4000"]] {
        let said = captured(&world, args);
        let recorded = recorded(&*said.out);
        assert!(said.code == Some(0) && !recorded.packets.is_empty(), "{said:?}");
        let words = format!("{} packets captured, 0 dropped", recorded.packets.len());
        assert!(said.err.starts_with(&words), "{}", said.err);
    }
    for signal in [Signal::INT, Signal::TERM] {
        let said = with_traffic(&world, || {
            let mut running = Running::start(&mut capture(&world, &["-w", &world.text("out")]));
            eventually("packets", || fs::metadata(world.path("out")).is_ok_and(|file| file.len() > 2000).then_some(()));
            running.signal(signal);
            running.ends()
        });
        assert_eq!(said.code, Some(0), "{}", said.err);
        let count = recorded(File::open(world.path("out")).unwrap()).packets.len();
        assert!(said.err.starts_with(&format!("{count} packets captured")), "{count}: {}", said.err);
        fs::remove_file(world.path("out")).unwrap();
    }
}

#[test]
fn a_reader_of_packets_that_has_seen_enough_is_no_failure() {
    let Some(world) = pod() else { return };
    let said = with_traffic(&world, || {
        let mut running = Running::start(&mut capture(&world, &[]));
        let mut first = [0; 4];
        let mut out = running.child().stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        running.ends()
    });
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn a_reader_that_leaves_is_noticed_where_no_packet_passes() {
    let Some(world) = pod() else { return };
    let mut running = Running::start(&mut capture(&world, &["-w", "-"]));
    let mut first = [0; 4];
    let mut out = running.child().stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    assert_eq!(first, [0x0a, 0x0d, 0x0d, 0x0a], "the header of the section, though there are no packets");
    drop(out);
    let said = running.ends();
    assert!(said.code == Some(0), "{said:?}");
}

#[test]
fn packets_that_are_not_in_the_file_are_not_said_to_be() {
    let Some(world) = pod() else { return };
    // As on a full disk, at 32 KiB.
    let limited = "trap '' 25; ulimit -f 64; exec \"$@\"";
    let inner = capture(&world, &["-w", &world.text("out"), "-t", "20s"]);
    let mut command = under("sh", &["-c", limited, "sh"], &inner);
    let said = with_traffic(&world, || Running::start(&mut command).ends());
    assert!(said.code == Some(69) && said.err.contains("cannot write packets: File too large"), "{said:?}");
    let mut reader = PcapngReader::new(File::open(world.path("out")).unwrap());
    let mut there = 0;
    while let Ok(Some(block)) = reader.next() {
        there += usize::from(matches!(block.contents, Contents::Packet { .. }));
    }
    let numbers: Vec<usize> = said.err.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [all, certain, 0, ..] = numbers[..] else { panic!("{}", said.err) };
    assert!(
        said.err.starts_with(&format!("{all} packets captured, only {certain} of them written for certain, 0 dropped")),
        "{}",
        said.err
    );
    assert!(certain <= there && there < all, "{certain}, {there}, {all}");
}

#[test]
fn an_interface_can_be_named_and_must_be_there() {
    let Some(world) = pod() else { return };
    let said = captured(&world, &["-i", "lo", "-c", "2", "-w", &world.text("out")]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = captured(&world, &["-i", "eth7", "-c", "2", "-w", &world.text("none")]);
    assert!(said.code == Some(69) && said.err.contains("eth7"), "{said:?}");
    assert!(!world.path("none").exists());
}

#[test]
fn files_are_rotated_and_the_last_are_kept() {
    let Some(world) = pod() else { return };
    fs::create_dir(world.path("files")).unwrap();
    let name = world.text("files/a.pcapng");
    let said = captured(&world, &["-c", "60", "-w", &name, "--rotate-size", "2KiB", "--keep", "3"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let mut names: Vec<_> = fs::read_dir(world.path("files")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 3, "{names:?}");
    let count = |path: &Path| recorded(File::open(path).unwrap()).packets.len();
    assert!(names.iter().all(|path| count(path) > 0 && fs::metadata(path).unwrap().len() <= 2048), "{names:?}");
}

#[test]
fn many_pods_are_in_one_file_each_under_its_name() {
    let Some(world) = pod() else { return };
    let another = {
        let mut sandbox = world.sandbox("bb", "web-1", "u2");
        sandbox.status().labels.insert("app".to_owned(), "web".to_owned());
        sandbox
    };
    world.fake.state().sandboxes.push(another);
    let mut command = world.tracer(["capture", "--local", "-l", "app=web", "-t", "1s", "-w", &world.text("out")]);
    let said = with_traffic(&world, || Running::start(&mut command).ends());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let recorded = recorded(File::open(world.path("out")).unwrap());
    let mut names: Vec<_> = recorded.interfaces.iter().map(|[name, ..]| &**name).collect();
    names.sort_unstable();
    assert_eq!(names, ["default/web-1:lo", "default/web:lo"]);
    for interface in 0..2 {
        assert!(recorded.packets.iter().any(|(of, _)| *of == interface));
    }
}

#[test]
fn a_bad_filter_is_one_error_before_anybody_is_asked_for_pods() {
    let world = World::new();
    let socket = world.text("no.sock");
    for pods in [&["--pod", "default/web"][..], &["-l", "app=web"]] {
        let flags = ["capture", "--local", "-w", &world.text("out"), "--runtime-endpoint", &socket];
        let said = ask(&mut world.tracer([&flags, pods, &["tcp prt 80"]].concat()));
        assert_eq!(
            (said.code, said.err.lines().count(), world.path("out").exists()),
            (Some(64), 1, false),
            "{}",
            said.err
        );
        assert!(said.err.starts_with("error: \"tcp prt 80\" is not a filter here: "), "{}", said.err);
    }
}

#[test]
fn where_no_pod_of_many_can_be_captured_the_code_is_that_of_one() {
    let world = World::new();
    let mut host = world.sandbox("aa", "web", "u1");
    host.status().labels.insert("app".to_owned(), "host".to_owned());
    let namespaces = host.status().linux.as_mut().unwrap().namespaces.as_mut().unwrap();
    namespaces.options.as_mut().unwrap().network = NamespaceMode::Node.into();
    world.has(vec![host]);
    let words: [&[&str]; 3] = [&["run", "--", "true"], &["ns"], &["capture", "-w", &world.text("out")]];
    for command in words {
        let said = ask(&mut world.tracer([&command[..1], &["--local", "-l", "app=host"], &command[1..]].concat()));
        assert_eq!((said.code, said.text()), (Some(64), ""), "{command:?}: {}", said.err);
        assert!(said.err.contains("--allow-host"), "{}", said.err);
    }
}

#[test]
fn what_cannot_be_captured_is_refused_and_says_why() {
    let world = World::new();
    fs::write(world.path("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(world.path("precious"), world.path("link")).unwrap();
    let file = world.text("out");
    for (args, code, words) in [
        (&["--rotate-size", "1MiB"][..], 64, "standard output cannot be rotated"),
        (&["-w", &file, "--keep", "2"], 64, "--keep is about files that are rotated"),
        (&["-w", &file, "-c", "0"], 64, "0 is not in"),
        (&["-w", &file, "-S", "1"], 64, "1 is not in"),
        (&["-w", &file, "--rotate-size", "1MB"], 64, "not a size above 0, such as 100MiB"),
    ] {
        let said = Running::start(&mut capture(&world, args)).ends();
        assert_eq!((said.code, said.text(), world.path("out").exists()), (Some(code), "", false), "{args:?}");
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
    if !Capabilities::of_this_thread().unwrap().contains(Capabilities::NET_RAW) {
        let said = Running::start(&mut capture(&world, &["-w", &file])).ends();
        assert!(said.code == Some(69) && said.err.contains("CAP_NET_RAW is missing"), "{said:?}");
        return;
    }
    for (args, code, words) in [
        (&["-w", &file, "port", "nonsense"][..], 64, "nonsense"),
        (&["-w", &world.text("link")], 69, "link"),
        (&["-w", &file, "--ledger", "/no/where"], 69, "/no/where"),
    ] {
        let said = Running::start(&mut capture(&world, args)).ends();
        assert!(said.code == Some(code) && said.err.contains(words), "{said:?}");
    }
    assert_eq!(world.read("precious"), "precious");
}
