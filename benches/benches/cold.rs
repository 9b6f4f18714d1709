//! How long `tracer run --local` takes from its start to its end around a program that does nothing, next to nsenter(1), which is told
//! the namespace. The container runtime is played by this process, and has a hundred pods. Needs root.
//!
//!     cargo build --release -p tracer && cargo bench -p podtrail-benches --bench cold [-- RUNS]

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on ends, and says what it found"
)]

#[path = "../../crates/cri/tests/cri/fake/mod.rs"]
#[allow(dead_code, reason = "much of it is for tests")]
mod fake;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fake::{Fake, sandbox};
use podtrail_netns::Netns;

const PODS: usize = 100;

fn main() {
    if std::env::args().any(|word| word == "--test") {
        return;
    }
    let runs = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100);
    let binary = binary();
    if !binary.exists() {
        return eprintln!("skipped: there is no {}: cargo build --release -p tracer", binary.display());
    }
    let name = format!("podtrail-bench-cold-{}", std::process::id());
    match Netns::create_named(&name) {
        Ok(_) => {}
        Err(e) => return eprintln!("skipped: {e}"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake = {
        let _entered = runtime.enter();
        Fake::start()
    };
    let info = format!(
        r#"{{"pid":1,"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"network","path":"/run/netns/{name}"}}]}}}}}}"#
    );
    let pod = |nth| sandbox(&format!("a{nth}"), &format!("web-{nth}"), &format!("u{nth}"), &info);
    fake.state().sandboxes = (0..PODS).map(pod).collect();
    compare(&binary, &format!("--net=/run/netns/{name}"), &fake.socket(), runs);
    Netns::delete_named(&name).unwrap();
}

/// Each in turn, and the median of each.
fn compare(binary: &Path, net: &str, socket: &Path, runs: usize) {
    let endpoint = format!("unix://{}", socket.display());
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("CONTAINER_RUNTIME_ENDPOINT", &endpoint).env("PODTRAIL_HOST_ROOT", "/");
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{arguments:?}: {status}");
        start.elapsed()
    };
    let ways: [(&str, &Path, &[&str]); 4] = [
        ("/bin/true", Path::new("/bin/true"), &[]),
        ("nsenter --net /bin/true", Path::new("nsenter"), &[net, "/bin/true"]),
        ("tracer version", binary, &["version"]),
        ("tracer run /bin/true", binary, &["run", "--local", "--pod", "default/web-7", "--", "/bin/true"]),
    ];
    let mut times = ways.map(|_| Vec::with_capacity(runs));
    for _ in 0..runs {
        for ((_, program, arguments), times) in ways.iter().zip(&mut times) {
            times.push(run(program, arguments));
        }
    }
    for ((name, ..), times) in ways.iter().zip(&mut times) {
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let [tenth, median, ninth] = [runs / 10, runs / 2, runs * 9 / 10].map(|nth| milliseconds(times[nth]));
        println!("{name:24} {median:6.2} ms ({tenth:.2} to {ninth:.2} in eight of ten)");
    }
}

fn binary() -> PathBuf {
    // target/release/deps/cold-…
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(Path::parent).unwrap().join("tracer")
}
