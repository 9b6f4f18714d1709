//! How captures end, and what is in their files then and before.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use podtrail_netns::capture::{Contents, PcapngReader};
use rustix::process::Signal;

use super::{PORT, capture, pod, recorded};
use crate::fake::{Fault, PodSandboxState};
use crate::harness::{Running, World, eventually, nohup};
use crate::skip::skip;

/// How many packets are in the file; `None` while a block is not whole.
fn count(world: &World) -> Option<usize> {
    let mut reader = PcapngReader::new(File::open(world.path("out")).ok()?);
    let mut count = 0;
    while let Some(block) = reader.next().ok()? {
        count += usize::from(matches!(block.contents, Contents::Packet { .. }));
    }
    Some(count)
}

/// Sends so many datagrams of this size to the port.
fn send(world: &World, datagrams: usize, size: usize) {
    let bind = |port| world.netns().run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap()).unwrap();
    let (sender, _taken) = (bind(0), bind(PORT));
    for _ in 0..datagrams {
        sender.send_to(&vec![7; size], (Ipv4Addr::LOCALHOST, PORT)).unwrap();
    }
}

/// Starts one of what is sent to the port, and waits until it hears.
fn start(world: &World, args: &[&str]) -> Running {
    let file = world.text("out");
    let running = Running::start(&mut capture(world, &[&["-w", &file], args, &["udp port 4000"]].concat()));
    // The file is made when all sockets listen.
    eventually("the file's beginning", || fs::metadata(&file).is_ok_and(|file| file.len() > 0).then_some(()));
    running
}

#[test]
fn a_reader_that_pauses_gets_the_rest_and_what_was_lost_is_counted() {
    let Some(world) = pod() else { return };
    // More than the ring and the pipe hold.
    const SENT: usize = 5000;
    let mut running = Running::start(&mut capture(&world, &["--buffer", "1", "udp port 4000"]));
    let mut out = running.child().stdout.take().unwrap();
    let mut bytes = vec![0; 16];
    out.read_exact(&mut bytes).unwrap();
    send(&world, SENT, 1000);
    thread::sleep(Duration::from_secs(1));
    let taken = Arc::new(AtomicUsize::new(0));
    let reading = thread::spawn({
        let taken = Arc::clone(&taken);
        move || {
            let mut some = vec![0; 1 << 16];
            while let count @ 1.. = out.read(&mut some).unwrap() {
                bytes.extend_from_slice(&some[..count]);
                taken.store(bytes.len(), Ordering::Relaxed);
            }
            bytes
        }
    });
    // What comes after the pause is there again, when there is room.
    let mut before = 0;
    eventually("all that was waiting", || {
        thread::sleep(Duration::from_millis(500));
        let now = taken.load(Ordering::Relaxed);
        (now > 0 && std::mem::replace(&mut before, now) == now).then_some(())
    });
    send(&world, 3, 50);
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    let said = running.ends();
    assert_eq!(said.code, Some(0), "{}", said.err);
    let recorded = recorded(&*reading.join().unwrap());
    let kept = recorded.packets.len();
    let lost = SENT + 3 - kept;
    assert!(lost > 0 && recorded.packets.iter().rev().take(3).all(|(_, packet)| packet.len() == 14 + 28 + 50));
    assert_eq!(said.err, format!("{kept} packets captured, {lost} dropped for want of room\n"));
    assert_eq!(recorded.dropped, [lost as u64]);
}

#[test]
fn a_reader_that_never_reads_does_not_hold_up_the_end() {
    let Some(world) = pod() else { return };
    let mut running = Running::start(&mut capture(&world, &["--buffer", "1", "udp port 4000"]));
    let mut out = running.child().stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    send(&world, 1000, 1000);
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    let said = running.ends();
    assert!(said.code == Some(69) && said.err.contains("who reads the packets does not"), "{said:?}");
}

#[test]
fn a_capture_ends_with_its_pod_and_not_with_its_runtime() {
    let (Some(removed), Some(stopped)) = (pod(), pod()) else { return };
    let mut captures = [removed, stopped].map(|world| {
        let running = start(&world, &[]);
        send(&world, 3, 50);
        world.fake.state().fault = Some(Fault::Fails);
        (world, running)
    });
    for (world, running) in &mut captures {
        let calls = || world.fake.state().calls.len();
        let before = calls();
        eventually("a question that is not answered", || (calls() > before).then_some(()));
        // Which says nothing about the pod.
        thread::sleep(Duration::from_millis(500));
        assert_eq!(running.child().try_wait().unwrap(), None);
        world.fake.state().fault = None;
    }
    captures[0].0.fake.state().sandboxes.clear();
    captures[1].0.fake.state().sandboxes[0].status().state = PodSandboxState::SandboxNotready.into();
    for (world, mut running) in captures {
        let words = "pod default/web has ended\n3 packets captured, 0 dropped for want of room\n";
        assert_eq!(running.ends().all(), (Some(0), "", words));
        assert_eq!(count(&world), Some(3));
    }
}

#[test]
fn a_capture_without_packets_ends_by_signal_or_time_and_is_whole() {
    let Some(world) = pod() else { return };
    let signals = [Signal::INT, Signal::TERM, Signal::HUP].map(|signal| (&[][..], Some(signal)));
    for (args, signal) in signals.into_iter().chain([(&["-t", "500ms"][..], None)]) {
        let mut running = start(&world, &[&["-c", "5"], args].concat());
        signal.iter().for_each(|signal| running.signal(*signal));
        assert_eq!(running.ends().all(), (Some(0), "", "0 packets captured, 0 dropped for want of room\n"));
        assert_eq!(count(&world), Some(0));
        fs::remove_file(world.path("out")).unwrap();
    }
}

#[test]
fn a_capture_goes_on_when_hang_ups_are_ignored_from_the_start() {
    let Some(world) = pod() else { return };
    let mut running = Running::start(&mut nohup(&capture(&world, &["-w", &world.text("out")])));
    eventually("the file", || fs::metadata(world.path("out")).is_ok_and(|file| file.len() > 0).then_some(()));
    running.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(running.child().try_wait().unwrap(), None);
    running.signal(Signal::TERM);
    assert_eq!(running.ends().code, Some(0));
}

#[test]
fn packets_are_in_the_file_when_they_come_and_the_last_that_is_wanted_ends_it() {
    let Some(world) = pod() else { return };
    let mut running = start(&world, &["-c", "5"]);
    for (sent, all) in [(1, 1), (2, 3)] {
        send(&world, sent, 50);
        eventually("the packets in the file", || (count(&world) == Some(all)).then_some(()));
        assert_eq!(running.child().try_wait().unwrap(), None);
    }
    // No packet comes after these.
    send(&world, 2, 50);
    assert_eq!(running.ends().all(), (Some(0), "", "5 packets captured, 0 dropped for want of room\n"));
    assert_eq!(count(&world), Some(5));
}

/// A pod with an interface `eth0` of which it sends to nobody; `None`, said aloud, if there can be none.
fn pod_with_interface() -> Option<World> {
    let world = pod()?;
    let lines = ["link add eth0 type veth peer name other", "link set eth0 up", "link set other up"];
    let done = lines.map(|line| ip(&world, line));
    if done.contains(&false) {
        skip("no veth");
        return None;
    }
    assert!(
        ip(&world, "address add 10.9.9.1/24 dev eth0")
            && ip(&world, "neighbour add 10.9.9.2 lladdr 2:0:0:0:0:1 dev eth0")
    );
    Some(world)
}

fn ip(world: &World, line: &str) -> bool {
    world.netns().run(|| Command::new("ip").args(line.split(' ')).status().unwrap().success()).unwrap()
}

#[test]
fn an_interface_that_goes_with_its_pod_does_not_end_the_capture_of_others() {
    let (Some(world), Some(another)) = (pod_with_interface(), pod_with_interface()) else { return };
    let mut sandbox = another.sandbox("bb", "web-1", "u2");
    sandbox.status().labels.insert("app".to_owned(), "web".to_owned());
    world.fake.state().sandboxes.push(sandbox);
    let args = ["capture", "--local", "-l", "app=web", "-i", "eth0", "-c", "3", "-w", &world.text("out")];
    let mut running = Running::start(world.tracer(args).arg("udp port 4000"));
    eventually("the file", || fs::metadata(world.path("out")).is_ok_and(|file| file.len() > 0).then_some(()));
    assert!(ip(&world, "link del eth0"));
    let mut line = String::new();
    let mut err = BufReader::new(running.child().stderr.take().unwrap());
    err.read_line(&mut line).unwrap();
    assert_eq!(line, "pod default/web: interface eth0 is gone\n");
    let sender = another.netns().run(|| UdpSocket::bind(("10.9.9.1", 0)).unwrap()).unwrap();
    (0..3).for_each(|_| assert_eq!(sender.send_to(b"1", ("10.9.9.2", PORT)).unwrap(), 1));
    assert_eq!(running.ends().code, Some(0));
    assert_eq!(count(&world), Some(3));
}
