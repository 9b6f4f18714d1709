//! The tool's life: signals, the timer, and what it leaves behind.

use std::io::Read as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::Fault;
use crate::harness::{Running, World, ask, eventually, is_alive, nohup};

/// A parent and its child, each of which writes down the signal that it gets.
const FAMILY: &str = r#"
    exec 2> /dev/null
    trap "echo parent >> $0/got" $1
    sh -c 'trap "echo child >> $0/got; exit" $1; echo ready > $0/on; while :; do sleep 0.05; done' "$0" "$1"
    exit 7"#;

#[test]
fn signals_reach_the_whole_group_and_the_tool_decides() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let world = World::new();
        let mut running = Running::start(&mut world.ours(&[], &["sh", "-c", FAMILY, &world.text(""), name]));
        eventually("both", || (world.read("on") == "ready\n").then_some(()));
        running.signal(signal);
        assert_eq!(running.ends().all(), (Some(7), "", ""), "{name}");
        assert_eq!(world.read("got"), "child\nparent\n", "{name}");
    }
}

/// A tool that waits beside a child that does, and has written down the number of both.
const WAITING: &str = "sleep 1000 & echo $$ $! > $0/on; wait";

/// The numbers that a tool has written down.
fn numbers(world: &World) -> Vec<String> {
    let line = eventually("the tool", || Some(world.read("on")).filter(|line| line.ends_with('\n')));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn children_end_with_the_tool() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let world = World::new();
        let mut running = Running::start(&mut world.ours(&[], &["sh", "-c", WAITING, &world.text("")]));
        let processes = numbers(&world);
        running.signal(signal);
        assert_eq!(running.ends().all(), (Some(code), "", ""));
        assert!(running.since.elapsed() < Duration::from_secs(10));
        assert!(!processes.iter().any(|pid| is_alive(pid)), "{processes:?}");
    }
}

#[test]
fn a_tool_that_does_not_heed_sigterm_is_killed_after_a_while() {
    let world = World::new();
    let deaf = "trap '' TERM; echo $$ > $0/on; while :; do sleep 0.1; done";
    let mut running = Running::start(&mut world.ours(&[], &["sh", "-c", deaf, &world.text("")]));
    let processes = numbers(&world);
    running.signal(Signal::TERM);
    assert_eq!(running.ends().all(), (Some(137), "", ""));
    assert!((3..20).contains(&running.since.elapsed().as_secs()), "{:?}", running.since.elapsed());
    assert!(!is_alive(&processes[0]));
}

#[test]
fn the_timer_ends_the_tool_and_its_children_and_is_no_failure() {
    let world = World::new();
    let running = |mut command| {
        let mut running = Running::start(&mut command);
        let processes = numbers(&world);
        assert_eq!(running.ends().all(), (Some(0), "", ""));
        let taken = running.since.elapsed();
        assert!(taken >= Duration::from_secs(1) && taken < Duration::from_secs(15), "{taken:?}");
        assert!(!processes.iter().any(|pid| is_alive(pid)), "{processes:?}");
        std::fs::remove_file(world.path("on")).unwrap();
    };
    running(world.ours(&["-t", "1s"], &["sh", "-c", WAITING, &world.text("")]));
    running(world.theirs(&["sh", "-t", "1s", "-a", &format!("-c '{WAITING}' {}", world.text(""))]));
    running(world.theirs(&["sh", "--timer", "1s", "-a", &format!("-c '{WAITING}' {}", world.text(""))]));
}

#[test]
fn a_tool_that_ends_before_the_timer_has_its_own_code_at_once() {
    let world = World::new();
    let mut running = Running::start(&mut world.ours(&["-t", "60s"], &["sh", "-c", "echo out; exit 3"]));
    assert_eq!(running.ends().all(), (Some(3), "out\n", ""));
    assert!(running.since.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_the_tool_leaves_in_its_group_is_ended() {
    let world = World::new();
    let said = ask(&mut world.ours(&[], &["sh", "-c", "sleep 1000 & echo $!"]));
    assert_eq!((said.code, is_alive(said.text())), (Some(0), false), "{said:?}");
}

#[test]
fn who_left_the_group_is_left_alone_and_holds_nobody_up() {
    let world = World::new();
    // It keeps the pipe open that the output comes through.
    let tool = "setsid sleep 20 & echo $!; until [ $(cut -d' ' -f5 /proc/$!/stat) = $! ]; do sleep 0.01; done; exit 4";
    for flags in [&[][..], &["-s", "-f", "/dev/null"]] {
        let mut command = world.ours(flags, &["sh", "-c", tool]);
        let mut running = Running::start(&mut command);
        let mut first = [0; 32];
        let length = running.child().stdout.as_mut().unwrap().read(&mut first).unwrap();
        let pid = String::from_utf8(first[..length].to_owned()).unwrap();
        let status = eventually("its end", || running.child().try_wait().unwrap());
        assert_eq!((status.code(), is_alive(&pid)), (Some(4), true), "{flags:?}");
        assert!(running.since.elapsed() < Duration::from_secs(8), "{:?}", running.since.elapsed());
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn a_tool_that_is_stopped_ends_when_it_is_told_to() {
    let world = World::new();
    let mut running =
        Running::start(&mut world.ours(&[], &["sh", "-c", "echo $$ > $0/on; kill -STOP $$", &world.text("")]));
    let processes = numbers(&world);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", processes[0])).unwrap();
    eventually("it is stopped", || state().contains(") T ").then_some(()));
    running.signal(Signal::TERM);
    assert_eq!(running.ends().all(), (Some(143), "", ""));
}

#[test]
fn a_signal_is_heard_while_the_pod_is_looked_up() {
    let world = World::new();
    world.fake.state().fault = Some(Fault::Hang);
    let mut running =
        Running::start(&mut world.ours(&["--audit", &format!("file:{}", world.text("audit"))], &["true"]));
    // It has asked, and so it listens.
    eventually("its question", || (!world.fake.state().calls.is_empty()).then_some(()));
    running.signal(Signal::INT);
    let said = running.ends();
    assert_eq!((said.code, &*said.err), (Some(130), "error: told to end before the tool was started\n"));
    assert!(running.since.elapsed() < Duration::from_secs(8) && world.read("audit").contains("tool-run-refused"));
}

#[test]
fn a_hang_up_that_is_ignored_from_the_start_stays_so() {
    let world = World::new();
    let ours = world.ours(&[], &["sh", "-c", "echo $$ > $0/on; exec sleep 1000", &world.text("")]);
    let mut running = Running::start(&mut nohup(&ours));
    let tool = eventually("the tool", || Some(world.read("on")).filter(|line| line.ends_with('\n')));
    running.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(tool.trim()));
    running.signal(Signal::TERM);
    assert_eq!(running.ends().code, Some(143));
}
