//! A hundred thousand operations in network namespaces that are destroyed and made again underneath, under the same names and with
//! the same process numbers.
//!
//! All of it is in user, pid and mount namespaces of its own: names are nobody else's, process numbers can be given again at once,
//! and the kernel counts the network namespaces that are left.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and this one says what it did"
)]

mod churn;
#[path = "../cri/fake/mod.rs"]
#[allow(dead_code, reason = "much of it is for other tests")]
mod fake;
mod left;
mod operation;
mod report;
#[path = "../../../netns/tests/skip/mod.rs"]
mod skip;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use churn::Pods;
use fake::Fake;
use left::{Left, strayed};
use operation::Worker;
use report::Report;

const OPERATIONS: usize = 100_000;
const WORKERS: usize = 64;
const CHURNERS: usize = 40;
/// From one operation to the next, so that there is time for the churn.
const PACE: Duration = Duration::from_micros(1100);
const SELF: [&str; 4] = ["--ignored", "--exact", "inside", "--nocapture"];

#[test]
#[ignore = "it takes a minute or two: .ci/run torture"]
fn what_is_opened_is_never_another_pods_and_nothing_is_left() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "-m", "-p", "-f", "--mount-proc", "--kill-child"]);
        command
    };
    let may = unshare().args(["mount", "-t", "tmpfs", "none", "/run"]).output();
    match may {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            return skip::skip(format_args!("namespaces may not be made here: {}", why.trim()));
        }
        Err(e) => return skip::skip(format_args!("no unshare (util-linux): {e}")),
    }
    let status = unshare().arg(std::env::current_exe().unwrap()).args(SELF).env("PODTRAIL_TORTURE", "1").status();
    assert!(status.unwrap().success());
}

/// The test itself, as the first process of its pid namespace.
#[test]
#[ignore = "the other test executes it"]
fn inside() {
    if std::env::var_os("PODTRAIL_TORTURE").is_none() {
        return;
    }
    Command::new("mount").args(["-t", "tmpfs", "none", "/run"]).status().unwrap();
    let seed = std::env::var("PODTRAIL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let before = Left::now();
    let report = torture(seed);
    report.print();
    assert_eq!(Left::now(), before);
    left::no_namespace_is_left();
    report.check();
}

fn torture(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = runtime.enter();
    let fake = Fake::start();
    let client = fake.client();
    let mut random = SmallRng::seed_from_u64(seed);
    let pods = Pods::start(&fake, CHURNERS);
    let (ended, count, report) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Report::default()));
    let start = Instant::now();
    thread::scope(|scope| {
        for nth in 0..CHURNERS {
            let mut random = SmallRng::from_rng(&mut random);
            let (pods, ended) = (&pods, &ended);
            scope.spawn(move || pods.churn(nth, CHURNERS, &mut random, ended));
        }
        let workers = (0..WORKERS).map(|_| {
            let mut worker = Worker::new(&pods, &client, runtime.handle(), SmallRng::from_rng(&mut random));
            let (count, report) = (&count, &report);
            scope.spawn(move || {
                // The namespaces are to go while something is done in them, not when there is time.
                rustix::process::nice(10).unwrap();
                let mut mine = Report::default();
                loop {
                    let nth = count.fetch_add(1, Ordering::Relaxed);
                    if nth >= OPERATIONS {
                        break;
                    }
                    thread::sleep((start + PACE * nth as u32).saturating_duration_since(Instant::now()));
                    mine.note(&worker.operate());
                }
                report.lock().unwrap().add(mine);
            })
        });
        let workers: Vec<_> = workers.collect();
        let mut looks = Report::default();
        while workers.iter().any(|worker| !worker.is_finished()) {
            looks.looked(strayed());
            thread::sleep(Duration::from_millis(10));
        }
        report.lock().unwrap().add(looks);
        ended.store(true, Ordering::Relaxed);
    });
    let mut report = report.into_inner().unwrap();
    report.took(start.elapsed(), pods.replaced(), seed);
    drop(pods);
    drop((client, fake, entered));
    runtime.shutdown_timeout(Duration::from_secs(5));
    report
}

fn chance(random: &mut SmallRng, percent: u32) -> bool {
    random.random_ratio(percent, 100)
}
