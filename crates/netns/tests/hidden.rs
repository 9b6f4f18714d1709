//! While a program is started the process cannot be traced: for that moment one of its threads has no more capabilities than others have.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use podtrail_netns::Netns;
use rustix::process::{DumpableBehavior, dumpable_behavior, getuid, set_dumpable_behavior};
use skip::skip;

/// Whose memory and environment the attacker tries to open.
const VICTIM: &str = "PODTRAIL_NETNS_VICTIM";

/// Says how many threads of the victim that start a program it met, and how many of their files it could open.
#[test]
#[ignore = "another test executes it without privilege"]
fn attack() {
    let Ok(victim) = std::env::var(VICTIM) else { return };
    let (mut met, mut opened, end) = (0, 0, Instant::now() + Duration::from_secs(3));
    while Instant::now() < end {
        for thread in fs::read_dir(format!("/proc/{victim}/task")).unwrap().flatten().map(|entry| entry.path()) {
            if fs::read(thread.join("comm")).is_ok_and(|name| name == b"netns\n") {
                met += 1;
                opened += ["environ", "mem"].iter().filter(|file| File::open(thread.join(file)).is_ok()).count();
            }
        }
    }
    println!("met={met} opened={opened}");
}

#[test]
fn a_process_without_capabilities_does_not_reach_the_one_that_starts_a_program() {
    let _alone = alone();
    if !getuid().is_root() {
        return skip("only root has what others lack");
    }
    let attacker = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "attack", "--ignored", "--nocapture"])
        .env(VICTIM, std::process::id().to_string())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(attacker) = attacker else { return skip("no setpriv (util-linux)") };
    let is_over = AtomicBool::new(false);
    let said = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (home, start) = (Netns::current().unwrap(), Instant::now());
                while !is_over.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
                    start_true(&home);
                }
            });
        }
        let said = attacker.wait_with_output();
        is_over.store(true, Ordering::Relaxed);
        String::from_utf8(said.unwrap().stdout).unwrap()
    });
    let number = |name| {
        let value =
            said.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap_or_else(|| panic!("{said}"));
        value.parse::<u64>().unwrap()
    };
    assert!(number("met=") > 0, "{said}");
    assert_eq!(number("opened="), 0, "{said}");
}

/// Says whether it may be traced.
#[test]
#[ignore = "another test starts it"]
fn answer() {
    println!("{:?}", dumpable_behavior().unwrap());
}

#[test]
fn when_programs_have_started_the_process_is_as_it_was_and_they_are_as_usual() {
    let _alone = alone();
    for before in [DumpableBehavior::NotDumpable, DumpableBehavior::Dumpable] {
        set_dumpable_behavior(before).unwrap();
        let home = Netns::current().unwrap();
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| (0..20).for_each(|_| start_true(&home))))));
        assert_eq!(dumpable_behavior().unwrap(), before);
        let mut program = home.command(std::env::current_exe().unwrap());
        program.args(["--exact", "answer", "--ignored", "--nocapture"]).stdout(Stdio::piped());
        let said = program.spawn().unwrap().wait_with_output().unwrap().stdout;
        assert!(
            String::from_utf8_lossy(&said).split_whitespace().any(|word| word == "Dumpable"),
            "{}",
            said.escape_ascii()
        );
        assert_eq!(dumpable_behavior().unwrap(), before);
    }
}

fn start_true(home: &Netns) {
    assert!(home.command("true").spawn().unwrap().wait().unwrap().success());
}

/// It is of the process, and tests share one.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
