//! `demo`, which needs nothing but loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{ask, stderr, stdout, tracker};

#[test]
fn it_shows_events_and_answers_and_all_are_right() {
    let home = tempfile::tempdir().unwrap();
    let output = tracker(&["demo", "--seed", "3", "--duration", "4s"]).env("TMPDIR", home.path()).output().unwrap();
    let text = stdout(&output);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{text}");
    for words in [
        "assigned",
        "released",
        "created",
        "deleted",
        "GAP",
        "pods were not watched",
        "(a confirmation found it)",
        "$ tracker who-had ",
        "certain: ",
        "ambiguous: ",
        "unknown: ",
        "why: ",
        "used by hostNetwork pods:",
        "right: in truth",
        "2000 right, 0 wrong",
        "evidence verify",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour where nobody looks");
    assert!(!text.contains("{\"v\""), "no JSON for people");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "the ledger is gone");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let pods = || {
        let output = ask(&["demo", "--seed", "5", "--duration", "2s"]);
        let created = stdout(&output).lines().filter(|line| line.contains("  created  "));
        let pod = |line: &str| line.split_whitespace().nth(2).unwrap().to_owned();
        created.map(pod).filter(|pod| pod.starts_with("team-")).take(6).collect::<Vec<_>>()
    };
    let (first, second) = (pods(), pods());
    assert_eq!(first.len(), 6);
    assert_eq!(first, second);
}

#[test]
fn a_signal_or_a_closed_pipe_ends_it_in_good_order() {
    for signal in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let mut command = tracker(&["demo", "--duration", "60s"]);
        let mut child =
            command.env("TMPDIR", home.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..5 {
            out.read_line(&mut String::new()).unwrap();
        }
        if signal {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            // Its last lines, so that it does not meet a closed pipe.
            out.lines().for_each(|line| drop(line.unwrap()));
        } else {
            drop(out);
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "by signal: {signal}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
