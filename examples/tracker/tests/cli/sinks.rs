//! What reaches the sinks of `run`: namespaces, formats, files that are moved, readers that go away.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{World, eventually, lines, told};

#[test]
fn globs_choose_what_a_sink_gets_and_not_what_the_ledger_knows() {
    let world = World::new();
    for (i, namespace) in ["team-a", "team-b", "team-c", "shop-1", "shop-test", "other"].into_iter().enumerate() {
        world.pod(namespace, &format!("in-{namespace}"), &format!("10.244.0.{}", 20 + i));
    }
    let file = format!("file:{}", world.text("events.ndjson"));
    let daemon = world
        .run(&[
            "--namespaces",
            "team-{a,b}, shop-*",
            "--exclude-namespaces",
            "team-b",
            "--exclude-namespaces",
            "*-test",
            "--event-format",
            "podtracker",
            "--tracked-by",
            "audit",
            "--writer",
            &file,
        ])
        .watches();
    let path = world.path("events.ndjson");
    let found = eventually("two lines", || Some(lines(&path)).filter(|found| found.len() >= 2));
    eventually("an answer", || (world.who_had("10.244.0.25")["answer"] != "unknown").then_some(()));
    assert_eq!(world.who_had("10.244.0.25")["claims"][0]["namespace"], "other");
    daemon.stop();

    let mut names: Vec<_> = found.iter().map(|line| line["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["in-shop-1", "in-team-a"]);
    assert_eq!(lines(&path).len(), 2);
    let text = fs::read_to_string(&path).unwrap();
    let keys = [
        "trackedBy",
        "id",
        "event",
        "name",
        "namespace",
        "labels",
        "annotations",
        "creationTimestamp",
        "deletionTimestamp",
        "podIP",
        "node",
        "nodeIPs",
    ];
    for line in text.lines() {
        let places: Vec<_> = keys.iter().map(|key| line.find(&format!("\"{key}\":"))).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{line}");
        assert!(line.starts_with(r#"{"trackedBy":"audit","id":""#) && line.contains(r#""event":"Create""#), "{line}");
        assert!(line.ends_with(r#""nodeIPs":{"Hostname":["node-0"],"InternalIP":["198.18.0.10"]}}"#), "{line}");
    }
}

#[test]
fn a_file_that_was_renamed_is_opened_anew_on_sighup() {
    let world = World::new();
    world.pod("shop", "web-1", "10.244.0.17");
    let file = format!("file:{}", world.text("events.ndjson"));
    let daemon = world.run(&["--writer", &file]).watches();
    let (path, moved) = (world.path("events.ndjson"), world.path("events.old"));
    eventually("two lines", || (lines(&path).len() == 2).then_some(()));
    fs::rename(&path, &moved).unwrap();
    daemon.signal(Signal::HUP);
    daemon.says("opening files anew");
    world.pod("shop", "web-2", "10.244.0.18");
    eventually("two lines in a new file", || (lines(&path).len() == 2).then_some(()));
    daemon.stop();
    assert_eq!(told(&lines(&moved)), ["address-assigned web-1", "created web-1"]);
    assert_eq!(told(&lines(&path)), ["address-assigned web-2", "created web-2"]);
}

#[test]
fn a_closed_pipe_loses_nothing_and_stops_nothing() {
    let world = World::new();
    world.pod("shop", "web-1", "10.244.0.17");
    let file = format!("file:{}", world.text("events.ndjson"));
    let args = ["--writer", "stdout", "--writer", &file];
    let mut daemon = world.run(&args).watches();
    let mut out = BufReader::new(daemon.child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);

    world.pod("shop", "web-2", "10.244.0.18");
    let path = world.path("events.ndjson");
    let found = eventually("the other sink", || Some(lines(&path)).filter(|found| found.len() == 4));
    daemon.says("delivery failed");
    assert!(daemon.child.try_wait().unwrap().is_none(), "it runs on");
    let asked = std::time::Instant::now();
    daemon.stop();
    assert!(asked.elapsed() < Duration::from_secs(20), "a sink that takes nothing holds the end up for a while only");

    // What is recorded by then is delivered before it ends.
    let text = world.run(&args).watches().stop();
    let got: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in found.iter().skip(2) {
        assert!(got.contains(event), "not lost: {event}");
    }
    assert_eq!(lines(&path).len(), 4, "the file has each once");
}

#[test]
fn a_file_whose_folder_goes_away_stops_nothing_else() {
    let world = World::new();
    let (volume, away) = (world.path("volume"), world.path("away"));
    fs::create_dir(&volume).unwrap();
    let specs = ["volume/events.ndjson", "events.ndjson"].map(|name| format!("file:{}", world.text(name)));
    let daemon = world.run(&["--writer", &specs[0], "--writer", &specs[1]]).watches();
    world.pod("shop", "web-1", "10.244.0.17");
    let other = world.path("events.ndjson");
    eventually("two lines in each", || {
        (lines(&other).len() == 2 && lines(&volume.join("events.ndjson")).len() == 2).then_some(())
    });
    fs::rename(&volume, &away).unwrap();
    world.pod("shop", "web-2", "10.244.0.18");
    let line = daemon.says("delivery failed");
    assert!(line["cause"].as_str().unwrap().contains("volume is missing"), "{line}");
    assert!(line["retry_ms"].as_u64().is_some_and(|wait| wait > 0), "{line}");
    let found = eventually("the other sink", || Some(lines(&other)).filter(|found| found.len() == 4));
    fs::rename(&away, &volume).unwrap();
    eventually("the rest", || (lines(&volume.join("events.ndjson")).len() == 4).then_some(()));
    daemon.stop();
    assert_eq!(lines(&volume.join("events.ndjson")), found);
}
