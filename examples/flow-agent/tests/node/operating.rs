//! How it is started, and what it says when it cannot.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Agent, Disk, Lines, Place, Truth, command, compare, turn, wait};

#[test]
fn a_sink_that_cannot_write_keeps_nothing_from_another_one() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let disk = Disk::new(home.path().join("small"));
    let slow = disk.path().join("slow.ndjson");
    let truth = Truth::of(&place);
    let agent = Agent::start(&place.path(), home.path(), &["--writer", &format!("file:{}", slow.display())]);
    let mut caller = place.caller();
    let full = disk.fill();
    for _ in 0..500 {
        assert!(caller.call(100));
    }
    place.flush();
    wait("all is told by the other sink", Duration::from_secs(10), || agent.lines().closed() == 500);
    assert!(Lines::read(&slow).closed() < 500);
    drop(full);
    wait("all is told by both", Duration::from_secs(30), || Lines::read(&slow).closed() == 500);
    assert!(agent.stop().success());
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(text(&slow), text(&home.path().join("flows.ndjson")));
    compare(&Lines::read(&slow), &truth.ended());
}

#[test]
fn without_reliable_mode_what_fits_is_told() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let truth = Truth::of(&place);
    let agent = Agent::start(&place.path(), home.path(), &["--reliable", "never"]);
    assert_eq!(agent.metric("podtrail_flow_reliable"), Some(0.0));
    let mut caller = place.caller();
    for _ in 0..50 {
        assert!(caller.call(100));
    }
    place.flush();
    wait("all ends are told", Duration::from_secs(10), || agent.lines().closed() == 50);
    assert_eq!(agent.lines().reasons(), [""; 0]);
    compare(&agent.lines(), &truth.ended());
    assert!(agent.stop().success());
}

#[test]
fn two_namespaces_are_counted_apart_and_one_is_not_counted_twice() {
    let Some(_turn) = turn() else { return };
    let (places, home) = ([(); 2].map(|()| Place::tracked()), tempfile::tempdir().unwrap());
    let paths = places.each_ref().map(Place::path);
    let mut twice = command(&paths[0], home.path(), &["--netns"]);
    let (code, said) = refusal(twice.arg(&paths[0]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("are one namespace"), "{said}");

    let agent = Agent::start(&paths[0], home.path(), &["--netns", paths[1].to_str().unwrap()]);
    for place in &places {
        // The same tuples, and perhaps the same ids.
        place.fill(100);
        place.flush();
    }
    wait("all ends are told", Duration::from_secs(10), || agent.lines().closed() == 200);
    let lines = agent.lines();
    for place in &places {
        assert_eq!(lines.flows.iter().filter(|flow| flow.is_closed && flow.netns == place.netns.inode()).count(), 100);
    }
    assert!(agent.stop().success());
}

#[test]
fn a_capability_that_is_missing_is_named() {
    let Some(_turn) = turn() else { return };
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", env!("CARGO_BIN_EXE_flow-agent"), "run"]);
    let (code, said) = refusal(&mut without);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("needs the capability NET_ADMIN"), "{said}");
}

#[test]
fn a_state_folder_is_of_one_agent() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let mut second = command(&place.path(), home.path(), &["--state"]);
    let (code, said) = refusal(second.arg(home.path().join("state")));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("another process"), "{said}");
    assert!(agent.stop().success());
}

/// How it ends, and what it says.
fn refusal(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn sighup_opens_files_anew_and_ends_nothing() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let agent = Agent::start(&place.path(), home.path(), &[]);
    place.fill(2);
    wait("they are told", Duration::from_secs(10), || agent.lines().flows.len() == 2);
    fs::rename(home.path().join("flows.ndjson"), home.path().join("flows.1")).unwrap();
    agent.signal(Signal::HUP);
    place.flush();
    wait("the ends are in a new file", Duration::from_secs(10), || agent.lines().closed() == 2);
    assert_eq!(Lines::read(&home.path().join("flows.1")).flows.len(), 2);
    assert!(agent.stop().success());
}
