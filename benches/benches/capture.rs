//! Small packets over a cable between two network namespaces, captured to /dev/null by `podtrail-netns` and by tcpdump, in turns.
//!
//! `cargo bench -p podtrail-benches --bench capture`. It needs root, two cores, `ip` and `tcpdump`: the sender, whose
//! core also runs the kernel's part of the capture, has the first, and the process that captures the second.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

use std::io::{BufRead as _, BufReader, IoSlice, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;
use podtrail_netns::Netns;
use podtrail_netns::capture::{Capture, CaptureConfig, Filter, InterfaceInfo, Recorder, Rotation, SectionInfo};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

const PACKETS: usize = 1_000_000;
const ROUNDS: usize = 3;
const RING: usize = 64 << 20;
/// With its headers a packet has 60 bytes.
const PAYLOAD: [u8; 18] = [7; 18];

#[derive(Clone, Copy, PartialEq)]
enum Reader {
    /// Looks at each packet, and writes nothing.
    Look,
    Write,
    /// Finds the addresses of each packet, and gives it two comments.
    Comment,
    /// Writes what a filter wants, which is all.
    Filtered,
    Tcpdump,
}

const READERS: [(Reader, &str); 5] = [
    (Reader::Look, "look"),
    (Reader::Write, "write"),
    (Reader::Comment, "comment"),
    (Reader::Filtered, "filtered"),
    (Reader::Tcpdump, "tcpdump"),
];

fn main() -> Result<()> {
    let name = std::env::args().nth(1);
    if let Some((reader, _)) = READERS.into_iter().find(|(_, other)| name.as_deref() == Some(*other)) {
        return capture(reader);
    }
    let made = Netns::create().and_then(|here| Ok((here, Netns::create()?)));
    let (here, there) = match made {
        Ok(made) => made,
        Err(e) => {
            println!("skipped: {e}");
            return Ok(());
        }
    };
    ensure!(thread::available_parallelism()?.get() > 1, "it needs two cores");
    connect(&here, &there)?;
    println!("{PACKETS} packets of {} bytes, a ring of {RING} bytes; medians of {ROUNDS} runs", PAYLOAD.len() + 42);
    let mut results = READERS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((reader, name), results) in READERS.into_iter().zip(&mut results) {
            results.push(run(reader, name, &here, &there)?);
        }
    }
    for ((_, name), results) in READERS.into_iter().zip(&results) {
        let median = |of: fn(&Outcome) -> f64| {
            let mut values: Vec<_> = results.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "  {name:9} {:7.0} k packets/s, {:7.0} k packets per second of its CPU time; dropped {}, not accounted for {}",
            median(|o| o.captured as f64 / o.wall.as_secs_f64()) / 1e3,
            median(|o| o.captured as f64 / o.cpu.as_secs_f64().max(1e-3)) / 1e3,
            results.iter().map(|o| o.dropped).sum::<u64>(),
            results.iter().map(|o| PACKETS as i64 - (o.captured + o.dropped) as i64).sum::<i64>(),
        );
    }
    Ok(())
}

struct Outcome {
    captured: u64,
    dropped: u64,
    /// That the sender took.
    wall: Duration,
    /// That the reader took.
    cpu: Duration,
}

fn run(reader: Reader, name: &str, here: &Netns, there: &Netns) -> Result<Outcome> {
    let before = cpu_of_children()?;
    let mut command = if reader == Reader::Tcpdump {
        let mut command = Command::new("tcpdump");
        command.args(["-i", "eth0", "-n", "-w", "/dev/null", "-B", &(RING >> 10).to_string()]);
        command
    } else {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name);
        command
    };
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    // A child is in the namespace, and on the core, of the thread that starts it.
    let mut child = here.run(|| -> Result<Child> {
        pin(1)?;
        Ok(command.spawn()?)
    })??;
    let mut errors = BufReader::new(child.stderr.take().context("it is piped")?);
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        ensure!(errors.read_line(&mut line)? > 0, "{name} did not begin");
    }
    let wall = there.run(send)??;
    thread::sleep(Duration::from_millis(300));
    if reader == Reader::Tcpdump {
        kill(Pid::from_raw(child.id().try_into()?), Signal::SIGINT)?;
    }
    drop(child.stdin.take());
    let mut said = String::new();
    errors.read_to_string(&mut said)?;
    ensure!(child.wait()?.success(), "{name} failed: {said}");
    let number = |what: &str| {
        let line = said.lines().find(|line| line.ends_with(what)).with_context(|| format!("{name} said {said}"))?;
        Ok::<u64, anyhow::Error>(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    let (captured, dropped) = (number("packets captured")?, number("packets dropped by kernel")?);
    Ok(Outcome { captured, dropped, wall, cpu: cpu_of_children()? - before })
}

/// As a process of its own, until its input ends.
fn capture(reader: Reader) -> Result<()> {
    let mut config = CaptureConfig::default();
    config.interfaces = vec!["eth0".into()];
    config.ring_size = RING;
    config.filter = (reader == Reader::Filtered).then(|| Filter::new("udp and dst port 9")).transpose()?;
    let mut capture = Capture::open(&Netns::current()?, &config)?;
    let mut recorder = Recorder::create("/dev/null", Rotation::default(), &SectionInfo::default())?;
    recorder.interface(&InterfaceInfo::new(capture.interfaces()[0].clone()))?;
    let handle = capture.handle();
    thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        handle.stop();
    });
    eprint_line("listening");
    let mut captured = 0_u64;
    while !capture.is_finished() {
        for packet in capture.next(Duration::from_secs(1))?.into_iter().flatten() {
            captured += 1;
            match reader {
                Reader::Look => drop(std::hint::black_box(packet)),
                Reader::Comment => {
                    let pods = packet.endpoints().map(|_| ["src=shop/web-0", "dst=shop/database-0"]);
                    recorder.packet(&packet, pods.into_iter().flatten())?;
                }
                _ => recorder.packet(&packet, [""; 0])?,
            }
        }
    }
    let stats = capture.stats()?;
    recorder.finish(0, &stats)?;
    eprint_line(&format!("{captured} packets captured\n{} packets dropped by kernel", stats.dropped));
    Ok(())
}

#[expect(clippy::print_stderr, reason = "where tcpdump says it too")]
fn eprint_line(line: &str) {
    eprintln!("{line}");
}

/// As fast as it goes, to a machine that is not there: whole frames, so that the sender's part of the way is short.
fn send() -> Result<Duration> {
    pin(0)?;
    let device = getifaddrs()?.find(|found| found.interface_name == "eth0").and_then(|found| found.address);
    let device = device.context("eth0 has no link")?;
    let device = device.as_link_addr().context("eth0 has no link")?;
    // Protocol 0: it hears nothing.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), device)?;
    let frame = frame();
    let payload = [IoSlice::new(&frame)];
    let start = Instant::now();
    let mut sent = 0;
    while sent < PACKETS {
        let mut controls: [_; 64] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut messages: Vec<_> = controls.iter_mut().map(|control| MMsgHdr::new(&payload, control)).collect();
        let left = messages.len().min(PACKETS - sent);
        sent += sendmmsg(&socket, &mut messages[..left], SendFlags::empty())?;
    }
    Ok(start.elapsed())
}

/// UDP from 10.77.0.2:7 to 10.77.0.9:9.
fn frame() -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 8, 0];
    let ip = [0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0x26, 0x22, 10, 77, 0, 2, 10, 77, 0, 9];
    let udp = [0, 7, 0, 9, 0, 26, 0, 0];
    [&ethernet[..], &ip, &udp, &PAYLOAD].concat()
}

/// A cable between the two.
fn connect(here: &Netns, there: &Netns) -> Result<()> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_fd().as_raw_fd());
    ip(here, &format!("link add eth0 type veth peer name eth0 netns {path}"))?;
    for (netns, address) in [(here, "10.77.0.1/24"), (there, "10.77.0.2/24")] {
        netns.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"))??;
        ip(netns, &format!("addr add {address} dev eth0"))?;
        ip(netns, "link set eth0 up")?;
    }
    Ok(())
}

fn ip(netns: &Netns, arguments: &str) -> Result<()> {
    let status = netns.run(|| Command::new("ip").args(arguments.split_whitespace()).status())??;
    ensure!(status.success(), "ip {arguments}");
    Ok(())
}

fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Of all processes that this one has waited for, in user space and in the kernel.
fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.try_into()?))
}
