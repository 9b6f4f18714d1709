//! What it costs to execute a program and to open a socket in a pod's network namespace, next to doing the same at home and to
//! nsenter(1) and ip-netns(8). Needs root; the namespace is its own.
//!
//!     cargo bench -p podtrail-benches --bench exec [-- RUNS]
//!
//! All ways take turns, so that what else the machine does hits them alike; the middle of the runs is what is said.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on ends, and says what it found"
)]

use std::hint::black_box;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use podtrail_netns::{Capabilities, Netns};

fn main() {
    // `cargo test` and `cargo bench` pass flags.
    let runs = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(400);
    if std::env::args().any(|word| word == "--test") {
        return;
    }
    let name = format!("podtrail-bench-{}", std::process::id());
    let netns = match Netns::create_named(&name) {
        Ok(netns) => netns,
        Err(e) => return eprintln!("skipped: {e}"),
    };
    programs(&netns, &name, runs);
    sockets(&netns, runs * 10);
    Netns::delete_named(&name).unwrap();
}

fn programs(netns: &Netns, name: &str, runs: usize) {
    let mut pod = netns.command("sleep").arg("600").spawn().unwrap();
    let path = format!("--net=/proc/{}/ns/net", pod.id());
    let plain = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        assert!(command.status().unwrap().success());
    };
    let ours = |kept: Option<Capabilities>| {
        let mut command = netns.command("/bin/true");
        command.stdin(Stdio::null());
        match kept {
            Some(kept) => command.keep(kept),
            None => command.privileged(),
        };
        assert!(command.spawn().unwrap().wait().unwrap().success());
    };
    compare(
        runs,
        &[
            ("plain spawn of /bin/true", &|| plain("/bin/true", &[])),
            ("ours", &|| ours(Some(Capabilities::NONE))),
            ("ours, privileged", &|| ours(None)),
            ("nsenter --net", &|| plain("nsenter", &[&path, "/bin/true"])),
            ("ip netns exec", &|| plain("ip", &["netns", "exec", name, "/bin/true"])),
        ],
    );
    pod.kill().unwrap();
    pod.wait().unwrap();
}

fn sockets(netns: &Netns, runs: usize) {
    let open = || UdpSocket::bind("0.0.0.0:0").unwrap();
    let resident = netns.resident().unwrap();
    compare(
        runs,
        &[
            ("a socket at home", &|| drop(black_box(open()))),
            ("a socket by a resident", &|| drop(black_box(resident.run(open).unwrap()))),
            ("16 sockets by a resident", &|| drop(black_box([(); 16].map(|()| resident.run(open).unwrap())))),
            ("a socket by run", &|| drop(black_box(netns.run(open).unwrap()))),
            ("16 sockets by one run", &|| drop(black_box(netns.run(|| [(); 16].map(|()| open())).unwrap()))),
        ],
    );
}

/// The median of each, and how many times the first one's it is.
fn compare(runs: usize, ways: &[(&str, &dyn Fn())]) {
    let mut times = vec![Vec::with_capacity(runs); ways.len()];
    for run in 0..runs + runs / 10 {
        for ((_, way), times) in ways.iter().zip(&mut times) {
            let start = Instant::now();
            way();
            // The first ones find nothing in caches.
            if run >= runs / 10 {
                times.push(start.elapsed());
            }
        }
    }
    let medians: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect();
    for ((name, _), median) in ways.iter().zip(&medians) {
        let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
        println!("{name:26} {:9.1} us {ratio:6.2} x", median.as_secs_f64() * 1e6);
    }
}
