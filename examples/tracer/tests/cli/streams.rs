//! The tool's output on its way to collectors.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use podtrail_wire::{Receiver, ReceiverLimits};
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::{Running, World, ask, eventually, tracer};

/// A server of both contracts in this process.
struct Collector {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Collector {
    fn start(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        fs::create_dir_all(folder).unwrap();
        let receiver = Receiver::new(folder, ReceiverLimits::default()).unwrap();
        runtime.spawn(receiver.serve(listener, std::future::pending()));
        Self { address, runtime: Some(runtime) }
    }

    /// Ends, without a word to those that are connected.
    fn die(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    fn flags(&self) -> [String; 4] {
        ["-d".to_owned(), self.address.ip().to_string(), "-p".to_owned(), self.address.port().to_string()]
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_snoopy_server_gets_exactly_the_bytes_under_the_pods_name() {
    for length in [0, 1, 100 << 10, 5 << 20] {
        let world = World::new();
        let collector = Collector::start(&world.path("pcap"));
        let tool = format!("head -c {length} /dev/urandom | tee {}", world.text("truth"));
        let said = ask(&mut world.ours(&words(&collector.flags()), &["sh", "-c", &tool]));
        assert_eq!(said.all(), (Some(0), "", ""), "{length}");
        let got = fs::read(world.path("pcap/snoopy/web")).unwrap_or_default();
        assert!(got.len() == length && got == fs::read(world.path("truth")).unwrap(), "{} of {length}", got.len());
    }
}

#[test]
fn podtracers_long_names_lead_to_a_snoopy_server_as_well() {
    let world = World::new();
    let collector = Collector::start(&world.path("pcap"));
    let port = collector.address.port().to_string();
    let flags = ["printf", "-a", "hi", "--destination", "localhost", "--port", &port, "--timer", "20s"];
    assert_eq!(ask(&mut world.theirs(&flags)).all(), (Some(0), "", ""));
    assert_eq!(world.read("pcap/snoopy/web"), "hi");
}

/// `tracer receive`, and where it listens.
fn receive(world: &World, listen: &str) -> (Running, String) {
    receive_within(world, listen, &[])
}

fn receive_within(world: &World, listen: &str, limits: &[&str]) -> (Running, String) {
    let log = fs::File::create(world.path("log")).unwrap();
    fs::create_dir_all(world.path("kept")).unwrap();
    let mut command = tracer(["receive", "--listen", listen, &world.text("kept"), "--log-format", "json"]);
    let mut running = Running::start(command.args(limits));
    let mut from = running.child().stderr.take().unwrap();
    let mut to = log;
    std::thread::spawn(move || std::io::copy(&mut from, &mut to).unwrap());
    let address = eventually("it listens", || {
        let line: Value = serde_json::from_str(world.read("log").lines().next()?).ok()?;
        line["address"].as_str().map(str::to_owned)
    });
    (running, address)
}

/// The one complete run that was received: what is said of it, and its output.
fn kept(world: &World) -> (Value, Vec<u8>) {
    let names = fs::read_dir(world.path("kept")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names.remove(0);
    (serde_json::from_slice(&fs::read(&name).unwrap()).unwrap(), fs::read(name.with_extension("out")).unwrap())
}

#[test]
fn an_acknowledged_stream_is_on_the_receivers_disk_with_all_that_is_known_of_the_run() {
    let world = World::new();
    let (mut receiver, address) = receive(&world, "127.0.0.1:0");
    let tool = format!("head -c 5000000 /dev/urandom | tee {}; exit 3", world.text("truth"));
    let audit = format!("file:{}", world.text("audit"));
    let flags = ["--stream", &address, "--node", "node-7", "--audit", &audit];
    let said = ask(&mut world.ours(&flags, &["sh", "-c", &tool]));
    assert_eq!(said.all(), (Some(3), "", ""));
    let (about, bytes) = kept(&world);
    assert!(bytes == fs::read(world.path("truth")).unwrap(), "{} bytes", bytes.len());
    let event: Value = serde_json::from_str(world.read("audit").lines().next().unwrap()).unwrap();
    let told = about.to_string();
    for word in ["default", "web", "node-7", "sh", event["run"].as_str().unwrap()] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!about["end"].is_null(), "{told}");
    receiver.signal(Signal::TERM);
    assert_eq!(receiver.ends().code, Some(0));
}

#[test]
fn a_receiver_that_is_killed_and_comes_back_has_all_of_it_once() {
    let world = World::new();
    let (receiver, address) = receive(&world, "127.0.0.1:0");
    let tool = "head -c 300000 /dev/urandom | tee $0/one; touch $0/on; while [ ! -e $0/go ]; do sleep 0.02; done
                head -c 300000 /dev/urandom | tee $0/two";
    let mut running = Running::start(&mut world.ours(&["--stream", &address], &["sh", "-c", tool, &world.text("")]));
    eventually("the first half", || world.path("on").exists().then_some(()));
    drop(receiver);
    fs::write(world.path("go"), "").unwrap();
    let (_again, _) = receive(&world, &address);
    assert_eq!(running.ends().all(), (Some(0), "", ""));
    let truth = [fs::read(world.path("one")).unwrap(), fs::read(world.path("two")).unwrap()].concat();
    assert!(kept(&world).1 == truth);
}

#[test]
fn without_a_receiver_the_tool_does_not_run() {
    let world = World::new();
    let address = nobody();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    for flags in [
        &["-d", &host, "-p", &port][..],
        &["--stream", &address.to_string()],
        &["-d", "no-such-host.invalid", "-p", "1"],
    ] {
        let said = ask(&mut world.ours(flags, &["touch", &world.text("ran")]));
        assert_eq!((said.code, said.text(), world.path("ran").exists()), (Some(69), "", false), "{flags:?}");
        assert!(said.err.contains("cannot connect to "), "{}", said.err);
    }
}

#[test]
fn without_room_at_the_receiver_the_tool_does_not_run() {
    for limits in [["--max-files", "1"], ["--keep-free", "1000000GiB"]] {
        let world = World::new();
        let (_receiver, address) = receive_within(&world, "127.0.0.1:0", &limits);
        let said = ask(&mut world.ours(&["--stream", &address], &["touch", &world.text("ran")]));
        assert_eq!((said.code, said.text(), world.path("ran").exists()), (Some(69), "", false), "{limits:?}");
        assert!(said.err.contains("the receiver's folder is full"), "{}", said.err);
    }
}

#[test]
fn a_receiver_is_told_that_a_tool_could_not_be_started() {
    let world = World::new();
    let (_receiver, address) = receive(&world, "127.0.0.1:0");
    assert_eq!(ask(&mut world.ours(&["--stream", &address], &["/etc/passwd"])).code, Some(126));
    let (about, bytes) = kept(&world);
    assert!(bytes.is_empty() && about["end"].to_string().contains("126"), "{about}");
    let (host, port) = address.split_once(':').unwrap();
    assert_eq!(ask(&mut world.ours(&["-d", host, "-p", port], &["/etc/passwd"])).code, Some(126));
}

#[test]
fn a_receiver_that_dies_midway_is_said_and_the_others_get_the_rest() {
    let world = World::new();
    let mut collector = Collector::start(&world.path("pcap"));
    let tool =
        "head -c 100000 /dev/zero; touch $0/on; while [ ! -e $0/go ]; do sleep 0.02; done; head -c 100000 /dev/zero";
    let flags = [&collector.flags()[..], &["-s".to_owned(), "-f".to_owned(), world.text("out")]].concat();
    let mut running = Running::start(&mut world.ours(&words(&flags), &["sh", "-c", tool, &world.text("")]));
    let mut pipe = running.child().stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()).unwrap());
    eventually("the first half", || world.path("on").exists().then_some(()));
    collector.die();
    fs::write(world.path("go"), "").unwrap();
    let said = running.ends();
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{}", said.err);
    let words = format!("error: the tool's output is not all at {}: ", collector.address);
    assert!(said.err.starts_with(&words), "{}", said.err);
    assert_eq!((reader.join().unwrap(), fs::metadata(world.path("out")).unwrap().len()), (200_000, 200_000));
}

#[test]
fn all_sinks_at_once_get_the_same_bytes() {
    let world = World::new();
    let collector = Collector::start(&world.path("kept"));
    let tool = format!("head -c 6000000 /dev/urandom | tee {}", world.text("truth"));
    let stream = collector.address.to_string();
    let flags =
        [&collector.flags()[..], &["-s", "--stream", &stream, "-f", &world.text("out")].map(str::to_owned)].concat();
    let said = ask(&mut world.ours(&words(&flags), &["sh", "-c", &tool]));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let truth = fs::read(world.path("truth")).unwrap();
    let got = [
        said.out,
        fs::read(world.path("out")).unwrap(),
        fs::read(world.path("kept/snoopy/web")).unwrap(),
        kept(&world).1,
    ];
    for (sink, bytes) in got.iter().enumerate() {
        assert!(*bytes == truth, "sink {sink} has {} of {} bytes", bytes.len(), truth.len());
    }
}
