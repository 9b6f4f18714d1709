//! Captures of the test's own traffic, in network namespaces of its own.

#![cfg(all(target_os = "linux", feature = "capture"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod pair;
mod skip;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pair::{HERE, Pair, THERE, ip};
use podtrail_netns::ErrorKind;
use podtrail_netns::capture::{Capture, CaptureConfig, Direction, Filter, LinkType, Packet};
use skip::skip;

/// The kernel shows what is in a block that is not full after 100 ms.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that is captured until the capture has been stopped.
fn rest(capture: &mut Capture, mut each: impl FnMut(&Packet<'_>)) {
    capture.handle().stop();
    while !capture.is_finished() {
        for packet in capture.next(PATIENCE).unwrap().into_iter().flatten() {
            each(&packet);
        }
    }
}

fn payload<'a>(packet: &Packet<'a>) -> &'a [u8] {
    &packet.data[14 + 20 + 8..]
}

#[test]
fn every_packet_is_captured_once_with_its_bytes_its_time_and_its_way() {
    const MANY: u32 = 20_000;
    let Some(pair) = Pair::new() else { return };
    let (sender, receiver) = (pair.sender(5000), pair.receiver(5000));
    let mut capture = Capture::open(&pair.here, &udp_only()).unwrap();
    let before = now();
    let mut seen = HashMap::new();
    let mut last = 0;
    let mut each = |packet: &Packet<'_>| {
        assert_eq!((packet.link_type, packet.original_length), (LinkType::ETHERNET, packet.data.len() as u32));
        assert!(packet.time >= last && packet.time >= before, "{packet:?}");
        last = packet.time;
        let [here, there]: [IpAddr; 2] = [HERE, THERE].map(|address| address.parse().unwrap());
        let expected = if packet.direction == Direction::In { (there, here) } else { (here, there) };
        assert_eq!(packet.endpoints(), Some(expected));
        *seen.entry((packet.direction, payload(packet).to_vec())).or_insert(0) += 1;
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..MANY {
                let length = 4 + n as usize % 1400;
                let mut bytes = vec![n as u8; length];
                bytes[..4].copy_from_slice(&n.to_be_bytes());
                sender.send(&bytes).unwrap();
                if n % 10 == 0 {
                    receiver.send_to(&bytes, sender.local_addr().unwrap()).unwrap();
                }
            }
        });
        let mut count = 0;
        while count < MANY + MANY / 10 {
            for packet in capture.next(PATIENCE).unwrap().expect("all come") {
                each(&packet);
                count += 1;
            }
        }
    });
    rest(&mut capture, each);
    assert!(last <= now());
    assert_eq!(seen.len() as u32, MANY + MANY / 10);
    for ((direction, bytes), count) in seen {
        let n = u32::from_be_bytes(*bytes.first_chunk().unwrap());
        assert_eq!((count, bytes.len()), (1, 4 + n as usize % 1400), "{direction:?} {n}");
        assert!(bytes[4..].iter().all(|&byte| byte == n as u8));
    }
    let stats = capture.stats().unwrap();
    assert_eq!((stats.received, stats.dropped), (u64::from(MANY + MANY / 10), 0));
}

/// Of the namespace's traffic, not the questions for neighbours.
fn udp_only() -> CaptureConfig {
    let mut config = CaptureConfig::default();
    config.filter = libpcap().then(|| Filter::new("udp").unwrap());
    config
}

fn libpcap() -> bool {
    match Filter::new("").unwrap().compile(LinkType::ETHERNET, 100) {
        Err(e) if e.kind() == ErrorKind::Library => {
            eprintln!("without a filter: {e}");
            false
        }
        compiled => compiled.is_ok(),
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

#[test]
fn what_does_not_fit_into_the_ring_is_counted() {
    const MANY: u64 = 20_000;
    let Some(pair) = Pair::new() else { return };
    let (sender, _receiver) = (pair.sender(5001), pair.receiver(5001));
    let mut config = udp_only();
    config.ring_size = 256 << 10;
    let mut capture = Capture::open(&pair.here, &config).unwrap();
    for _ in 0..MANY {
        sender.send(&[7; 100]).unwrap();
    }
    let mut captured = 0;
    rest(&mut capture, |_| captured += 1);
    let stats = capture.stats().unwrap();
    assert!(stats.dropped > 0 && stats.freezes > 0, "{stats:?}");
    assert_eq!((stats.received, stats.received + stats.dropped), (captured, MANY));
}

#[test]
fn a_packet_on_loopback_is_captured_once() {
    let Some(pair) = Pair::new() else { return };
    let socket = pair.here.run(|| UdpSocket::bind("127.0.0.1:6000").unwrap()).unwrap();
    let mut capture = Capture::open(&pair.here, &CaptureConfig::default()).unwrap();
    socket.send_to(b"one", "127.0.0.1:6000").unwrap();
    let mut captured = Vec::new();
    rest(&mut capture, |packet| captured.push((packet.direction, payload(packet).to_vec())));
    assert_eq!(captured, [(Direction::In, b"one".to_vec())]);
}

#[test]
fn interfaces_are_chosen_by_name_and_later_ones_are_captured_too() {
    let Some(pair) = Pair::new() else { return };
    let open = |names: &[&str]| {
        let mut config = CaptureConfig::default();
        config.interfaces = names.iter().map(|&name| name.into()).collect();
        Capture::open(&pair.here, &config)
    };
    let mut all = open(&[]).unwrap();
    let mut one = open(&["lo"]).unwrap();
    let mut both = open(&["lo", "eth0"]).unwrap();
    assert_eq!(open(&["nothere"]).unwrap_err().kind(), ErrorKind::Interface);
    ip(&pair.here, "link add late0 type veth peer name late1");
    ip(&pair.here, "addr add 10.78.0.1/24 dev late0");
    ip(&pair.here, "link set late0 up");
    ip(&pair.here, "link set late1 up");
    ip(&pair.here, "neigh add 10.78.0.2 lladdr 02:00:00:00:00:02 dev late0");
    let socket = pair.here.run(|| UdpSocket::bind("0.0.0.0:6001").unwrap()).unwrap();
    for to in ["127.0.0.1:6001", "10.78.0.2:6001", "10.77.0.2:6001"] {
        socket.send_to(b"!", to).unwrap();
    }
    let names = |capture: &mut Capture| {
        let (handle, mut names) = (capture.handle(), Vec::new());
        rest(capture, |packet| {
            // The question for the neighbour, or the packet; not IPv6 of the new device.
            if packet.endpoints().is_some_and(|(source, _)| source.is_ipv4()) {
                names.push(handle.interface_of(packet).name);
            }
        });
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(names(&mut all), ["eth0", "late0", "late1", "lo"]);
    assert_eq!(names(&mut one), ["lo"]);
    assert_eq!(names(&mut both), ["eth0", "lo"]);
}

#[test]
fn an_interface_that_goes_away_ends_its_capture() {
    let Some(pair) = Pair::new() else { return };
    ip(&pair.here, "link add gone0 type veth peer name gone1");
    let mut config = CaptureConfig::default();
    config.interfaces = vec!["gone0".into()];
    let mut capture = Capture::open(&pair.here, &config).unwrap();
    assert!(capture.next(Duration::from_millis(20)).unwrap().is_none(), "it is down, which is no error");
    for line in ["link set gone0 up", "link set gone1 up", "address add 10.8.8.1/24 dev gone0"] {
        ip(&pair.here, line);
    }
    ip(&pair.here, "neighbour add 10.8.8.2 lladdr 2:0:0:0:0:1 dev gone0");
    let sender = pair.here.run(|| UdpSocket::bind("10.8.8.1:0").unwrap()).unwrap();
    sender.send_to(b"last words", "10.8.8.2:5000").unwrap();
    ip(&pair.here, "link del gone0");
    let mut heard = 0;
    let ended = (0..100).find_map(|_| match capture.next(Duration::from_millis(20)) {
        Ok(packets) => {
            heard += packets.into_iter().flatten().filter(|packet| packet.data.ends_with(b"last words")).count();
            None
        }
        Err(e) => Some(e.kind()),
    });
    assert_eq!((ended, heard), (Some(ErrorKind::Interface), 1));
    assert!(capture.next(PATIENCE).unwrap().is_none() && capture.is_finished());
}

#[test]
fn an_interface_that_is_down_when_it_goes_away_ends_its_capture() {
    let Some(pair) = Pair::new() else { return };
    ip(&pair.here, "link add gone0 type veth peer name gone1");
    let mut config = CaptureConfig::default();
    config.interfaces = vec!["gone0".into()];
    let mut capture = Capture::open(&pair.here, &config).unwrap();
    assert!(capture.next(Duration::from_millis(20)).unwrap().is_none());
    let reader = thread::spawn(move || capture.next(Duration::from_secs(60)).map(drop));
    // The kernel says nothing to who waits.
    thread::sleep(Duration::from_millis(100));
    ip(&pair.here, "link del gone0");
    let deleted = Instant::now();
    assert_eq!(reader.join().unwrap().map_err(|e| e.kind()), Err(ErrorKind::Interface));
    assert!(deleted.elapsed() < PATIENCE, "{:?}", deleted.elapsed());
}

/// Who may configure a namespace chooses the names in it.
#[test]
fn an_interface_whose_name_is_no_text_forbids_no_capture() {
    let Some(pair) = Pair::new() else { return };
    let name = OsStr::from_bytes(b"\xff\xfe");
    let add =
        || Command::new("ip").args(["link", "add"]).arg(name).args(["type", "veth", "peer", "name", "eth1"]).status();
    let added = pair.here.run(|| add().unwrap()).unwrap();
    assert!(added.success());
    let capture = Capture::open(&pair.here, &CaptureConfig::default()).unwrap();
    let names: Vec<_> = capture.interfaces().iter().map(|interface| &*interface.name).collect();
    assert!(names.starts_with(&["lo", "eth0"]), "{names:?}");
    assert!(names.contains(&"eth1"), "{names:?}");
}

#[test]
fn a_stop_from_another_thread_ends_the_wait() {
    let Some(pair) = Pair::new() else { return };
    let mut capture = Capture::open(&pair.here, &CaptureConfig::default()).unwrap();
    let handle = capture.handle();
    let start = Instant::now();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        handle.stop();
    });
    while !capture.is_finished() {
        capture.next(Duration::from_secs(60)).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    stopper.join().unwrap();
}

#[test]
fn a_stop_is_heard_while_packets_come_faster_than_they_are_read() {
    const BLOCKS: usize = 8;
    let Some(pair) = Pair::new() else { return };
    let mut config = CaptureConfig::default();
    config.ring_size = BLOCKS << 17;
    let mut capture = Capture::open(&pair.here, &config).unwrap();
    let socket = pair.here.run(|| UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let (is_over, handle, start) = (AtomicBool::new(false), capture.handle(), Instant::now());
    let (before, after) = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
                socket.send_to(&[0; 1400], socket.local_addr().unwrap()).unwrap();
            }
        });
        let mut slowly = |blocks| {
            let read = (0..blocks).take_while(|_| capture.next(PATIENCE).unwrap().is_some());
            read.inspect(|_| thread::sleep(Duration::from_millis(20))).count()
        };
        let before = slowly(3 * BLOCKS);
        handle.stop();
        let after = slowly(3 * BLOCKS);
        is_over.store(true, Ordering::Relaxed);
        (before, after)
    });
    assert_eq!(before, 3 * BLOCKS, "there is always something to read");
    assert!((1..=BLOCKS).contains(&after), "{after} blocks");
    assert!(capture.is_finished());
}

#[test]
fn a_tag_that_was_taken_out_is_put_back() {
    let Some(pair) = Pair::new() else { return };
    let mut config = CaptureConfig::default();
    config.interfaces = vec!["eth0".into()];
    let mut capture = Capture::open(&pair.here, &config).unwrap();
    config.snap_length = 40;
    let mut short = Capture::open(&pair.here, &config).unwrap();
    let python = "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0)); \
                  s.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x81\\x00\\x20\\x07' + b'\\x88\\xb5' + b'tagged' * 10)";
    let sent = pair.there.run(|| Command::new("python3").args(["-c", python]).status()).unwrap();
    if sent.is_err() {
        return skip("no python3");
    }
    assert!(sent.unwrap().success());
    let mut tagged = 0;
    rest(&mut capture, |packet| {
        if packet.data.ends_with(b"tagged") && packet.direction == Direction::In {
            assert_eq!(packet.data[..12], [[0xff; 6], [2; 6]].concat());
            assert_eq!(packet.data[12..18], [0x81, 0, 0x20, 7, 0x88, 0xb5], "{packet:?}");
            assert_eq!((packet.original_length, packet.data.len()), (78, 78));
            tagged += 1;
        }
    });
    assert_eq!(tagged, 1);
    let mut lengths = Vec::new();
    rest(&mut short, |packet| {
        if packet.data[12..14] == [0x81, 0] {
            lengths.push((packet.original_length, packet.data.len()));
        }
    });
    assert_eq!(lengths, [(78, 40)]);
}

#[test]
fn the_capability_that_is_missing_is_named() {
    let Some(pair) = Pair::new() else { return };
    // Of this thread alone, and of those that it starts.
    let error = thread::spawn(move || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::NET_RAW);
        rustix::thread::set_capabilities(None, sets).unwrap();
        Capture::open(&pair.here, &CaptureConfig::default()).unwrap_err()
    })
    .join()
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::MissingCapability);
    assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let here = podtrail_netns::Netns::current().unwrap();
    let check = |change: fn(&mut CaptureConfig)| {
        let mut config = CaptureConfig::default();
        change(&mut config);
        assert_eq!(Capture::open(&here, &config).unwrap_err().kind(), ErrorKind::Config, "{config:?}");
    };
    check(|config| config.snap_length = 0);
    check(|config| config.snap_length = 262_145);
    check(|config| config.ring_size = 1 << 17);
    check(|config| config.ring_size = usize::MAX);
    check(|config| config.block_timeout = Duration::ZERO);
    check(|config| config.block_timeout = Duration::MAX);
    check(|config| config.interfaces = vec!["lo".into(); 65]);
}
