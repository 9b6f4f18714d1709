//! Who ran what in which pod is written down, or it does not run.

use std::collections::HashSet;
use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Running, World, ask, eventually};

fn events(world: &World) -> Vec<Value> {
    world.read("audit").lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn audit(world: &World) -> String {
    format!("file:{}", world.text("audit"))
}

#[test]
fn a_run_is_written_down_when_it_starts_and_when_it_has_ended() {
    let world = World::new();
    let flags = ["--audit", &audit(&world), "--node", "node-0", "-s", "-f", "/dev/null"];
    let mut command = world.ours(&flags, &["sh", "-c", "echo hi; exit 3"]);
    assert_eq!(ask(command.env("SUDO_USER", "alice")).all(), (Some(3), "hi\n", ""));
    let [started, ended] = &events(&world)[..] else { panic!("{}", world.read("audit")) };
    for event in [started, ended] {
        assert_eq!(event["pod"], json!({"namespace": "default", "name": "web"}));
        assert_eq!((&event["v"], &event["node"], &event["tool"]), (&json!(1), &json!("node-0"), &json!("sh")));
        assert_eq!(event["arguments"], json!(["-c", "echo hi; exit 3"]));
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(event["user"], json!({"uid": uid, "sudo": "alice"}));
        assert_eq!(event["destinations"], json!(["stdout", "file:/dev/null"]));
        assert!(event["capabilities"].as_str().unwrap().contains("CAP_NET_RAW"), "{event}");
        assert!(event["time"].as_str().unwrap().starts_with("20"), "{event}");
    }
    assert_eq!((&started["event"], &ended["event"]), (&json!("tool-run-started"), &json!("tool-run-ended")));
    assert_eq!((&started["podUid"], &started["sandbox"]), (&json!("u1"), &json!("aa")));
    assert_eq!(started["netns"], world.netns().inode());
    assert_eq!((&ended["exitCode"], &ended["timer"], &ended["outputBytes"]), (&json!(3), &json!(false), &json!(3)));
    assert_eq!((&ended["failures"], ended.get("signal")), (&json!([]), None));
    assert_eq!(started["run"], ended["run"]);
    assert_ne!(started["id"], ended["id"]);
}

#[test]
fn how_a_run_ended_is_told_apart() {
    let world = World::new();
    for (flags, tool, expected) in [
        (&[][..], &["sh", "-c", "kill -KILL $$"][..], json!([null, 9, false])),
        (&["-t", "1s"], &["sleep", "60"], json!([null, null, true])),
        (&["--privileged"], &["true"], json!([0, null, false])),
    ] {
        ask(&mut world.ours(&[&["--audit", &audit(&world)], flags].concat(), tool));
        let ended = events(&world).pop().unwrap();
        assert_eq!(json!([ended["exitCode"], ended["signal"], ended["timer"]]), expected, "{ended}");
        assert_eq!(ended["capabilities"] == "all", flags.contains(&"--privileged"));
    }
    let tool = format!("touch {}; exec sleep 60", world.text("runs"));
    let mut running = Running::start(&mut world.ours(&["--audit", &audit(&world)], &["sh", "-c", &tool]));
    eventually("it runs", || world.path("runs").exists().then_some(()));
    running.signal(Signal::TERM);
    assert_eq!((running.ends().code, &events(&world)[7]["signal"]), (Some(143), &json!(15)));
}

#[test]
fn what_is_refused_is_written_down_with_the_reason() {
    let world = World::new();
    let audit = audit(&world);
    let elsewhere = ["run", "--local", "--pod", "default/none", "--audit", &audit, "--", "true"];
    let refused = [
        (world.tracer(elsewhere), 69, "default/none"),
        (world.ours(&["--audit", &audit, "-f", "/"], &["true"]), 69, "cannot write to /"),
        (world.ours(&["--audit", &audit, "-d", "127.0.0.1", "-p", "1"], &["true"]), 69, "cannot connect"),
    ];
    for (mut command, code, words) in refused {
        assert_eq!(ask(&mut command).code, Some(code), "{command:?}");
        let event = events(&world).pop().unwrap();
        assert_eq!((&event["event"], event.get("exitCode")), (&json!("tool-run-refused"), None));
        assert!(event["reason"].as_str().unwrap().contains(words), "{event}");
    }
    assert_eq!(ask(&mut world.ours(&["--audit", &audit], &["/no/such/tool"])).code, Some(127));
    // One that was said to start, and could not be.
    assert_eq!(ask(&mut world.ours(&["--audit", &audit], &["/etc/passwd"])).code, Some(126));
    let mut labelled = world.tracer(["run", "--local", "-l", "app=none", "--audit", &audit, "--", "true"]);
    assert_eq!(ask(&mut labelled).code, Some(69));
    let last = events(&world).split_off(3);
    let names: Vec<_> = last.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["tool-run-refused", "tool-run-started", "tool-run-refused", "tool-run-refused"]);
    assert_eq!(last[3]["pods"], json!({"namespace": null, "selector": "app=none"}));
    let rotated = world.ours(&["--audit", &format!("{audit},max-size=1MiB")], &["true"]);
    assert_eq!(ask(&mut { rotated }).code, Some(64));
}

#[test]
fn what_cannot_be_written_down_does_not_run() {
    let world = World::new();
    for path in [world.text("no/where"), "/".to_owned(), "/dev/full".to_owned()] {
        let said = ask(&mut world.ours(&["--audit", &format!("file:{path}")], &["touch", &world.text("ran")]));
        assert_eq!((said.code, said.text(), world.path("ran").exists()), (Some(69), "", false), "{path}: {}", said.err);
        assert_eq!(said.err.matches("an audit event cannot be written").count(), 1, "{path}: {}", said.err);
    }
}

#[test]
fn what_others_may_have_put_at_its_path_is_not_written_to() {
    let world = World::new();
    fs::write(world.path("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(world.path("precious"), world.path("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for (name, words) in [("link", "symbolic link"), ("pipe", "not a regular file"), ("", "")] {
        let path = world.text(name);
        let mut running =
            Running::start(&mut world.ours(&["--audit", &format!("file:{path}")], &["touch", &world.text("ran")]));
        let said = running.ends();
        assert_eq!((said.code, said.text(), world.path("ran").exists()), (Some(69), "", false), "{path}: {}", said.err);
        assert!(said.err.contains(&path) && said.err.contains(words), "{path}: {}", said.err);
    }
    assert_eq!(world.read("precious"), "precious");
    // One that somebody reads is none either.
    let mut reader =
        std::process::Command::new("cat").arg(world.path("pipe")).stdout(std::process::Stdio::null()).spawn().unwrap();
    let said = Running::start(&mut world.ours(&["--audit", &format!("file:{}", world.text("pipe"))], &["true"])).ends();
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(said.code == Some(69), "{said:?}");
}

#[test]
fn runs_at_once_write_to_one_file_without_damage() {
    const RUNS: usize = 12;
    let world = World::new();
    let (audit, long) = (audit(&world), "x".repeat(20_000));
    let mut all: Vec<_> = (0..RUNS)
        .map(|_| Running::start(&mut world.ours(&["--audit", &audit], &["sh", "-c", "sleep 0.2; exit 4", &long])))
        .collect();
    for running in &mut all {
        assert_eq!(running.ends().all(), (Some(4), "", ""));
    }
    let events = events(&world);
    let distinct = |key: &str| events.iter().map(|event| event[key].as_str().unwrap()).collect::<HashSet<_>>().len();
    assert_eq!((events.len(), distinct("id"), distinct("run")), (2 * RUNS, 2 * RUNS, RUNS));
}

#[test]
fn events_can_go_to_standard_output_and_the_variable_is_heeded() {
    let world = World::new();
    let said = ask(&mut world.theirs(&["true", "--audit", "stdout"]));
    assert_eq!((said.code, said.text().lines().count()), (Some(0), 2), "{said:?}");
    ask(world.ours(&[], &["true"]).env("PODTRAIL_AUDIT", audit(&world)));
    assert_eq!(fs::read_to_string(world.path("audit")).unwrap().lines().count(), 2);
}
