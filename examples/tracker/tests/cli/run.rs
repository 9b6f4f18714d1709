//! `run` against a simulated cluster: its life, what it serves and logs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use podtrail_sim::{Fault, Verb};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Daemon, World, ask, eventually, lines, stdout, told, write_kubeconfig};

/// Waits until the file has this many lines.
fn has(world: &World, file: &str, count: usize) -> Vec<serde_json::Value> {
    eventually(&format!("{count} lines in {file}"), || {
        let found = lines(&world.path(file));
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn a_restart_goes_on_where_it_stopped_and_writes_nothing_twice() {
    let world = World::new();
    let file = format!("file:{}", world.text("events.ndjson"));
    let args = ["--writer", "stdout,name=pipe", "--writer", &file, "--clock-error", "50ms", "--confirm-every", "500ms"];
    let gone = world.pod("shop", "web-1", "10.244.0.17");

    let first = world.run(&args).watches();
    has(&world, "events.ndjson", 2);
    let mut piped = first.stop();
    let asked = world.cluster.requests();

    world.cluster.remove(&gone).unwrap();
    world.pod("shop", "web-2", "10.244.0.17");
    let second = world.run(&args).watches();
    let found = has(&world, "events.ndjson", 6);
    piped.push_str(&second.stop());
    let third = world.run(&args).watches();
    // Stamps are whole seconds: only a confirmation shows that the second pod still has what the first had a moment ago.
    let answer = eventually("an answer beyond doubt", || {
        let said = world.who_had("10.244.0.17");
        ["certain", "presumed"].iter().any(|word| said["answer"] == *word).then_some(said)
    });
    assert_eq!(answer["claims"][0]["name"], "web-2", "{answer}");
    piped.push_str(&third.stop());

    let expected = [
        "address-assigned web-1",
        "created web-1",
        "address-released web-1",
        "deleted web-1",
        "address-assigned web-2",
        "created web-2",
    ];
    assert_eq!(told(&lines(&world.path("events.ndjson"))), expected);
    assert_eq!(std::fs::read_to_string(world.path("events.ndjson")).unwrap(), piped, "both sinks got the same");
    let ids: BTreeSet<_> = found.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 6);
    let now = world.cluster.requests();
    assert_eq!((now.list, now.write), (asked.list, 0), "it resumed, and wrote nothing to the API");
    assert!(now.watched_from.iter().skip(asked.watched_from.len()).all(|version| *version > 0));

    let verified = ask(&["verify", "--ledger", &world.text("ledger.db")]);
    assert!(stdout(&verified).starts_with("ok: "), "{verified:?}");
}

#[test]
fn only_events_go_to_stdout_and_the_configuration_is_logged_once() {
    let world = World::new();
    world.pod("shop", "web-1", "10.244.0.17");
    let args = ["--namespaces", "shop,team-*", "--confirm-rate", "5", "--tracked-by", "audit", "--retain-age", "48h"];
    let daemon = world.run(&args).watches();
    eventually("an answer", || (world.who_had("10.244.0.17")["answer"] != "unknown").then_some(()));
    let configuration = daemon.says("configuration");
    let logged = daemon.logged();
    let out = daemon.stop();

    for (field, value) in [
        ("level", json!("INFO")),
        ("namespaces", json!("shop,team-*")),
        ("confirm_rate", json!(5.0)),
        ("confirm_every", json!("300s")),
        ("clock_error", json!("1s")),
        ("retain_age", json!("172800s")),
        ("tracked_by", json!("audit")),
        ("writers", json!("[\"stdout\"]")),
        ("kubeconfig", json!(world.text("kubeconfig"))),
    ] {
        assert_eq!(configuration[field], value, "{field}");
    }
    assert_eq!(logged.iter().filter(|line| line["message"] == "configuration").count(), 1);
    assert!(logged.iter().all(|line| line.get("event").is_none()), "no event among the logs");
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told(&events), ["address-assigned web-1", "created web-1"]);
    assert!(events.iter().all(|event| event["v"] == 1 && event["trackedBy"] == "audit"));
}

#[test]
fn it_serves_health_and_these_metrics() {
    let world = World::new();
    let pod = world.pod("shop", "web-1", "10.244.0.17");
    let file = format!("file:{}", world.text("events.ndjson"));
    let daemon = world.run(&["--listen", "127.0.0.1:0", "--writer", &file]).watches();
    world.cluster.remove(&pod).unwrap();
    has(&world, "events.ndjson", 4);
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
    assert_eq!(daemon.get("/livez").0, 200);
    assert_eq!(daemon.get("/nothing").0, 404);
    let metrics = eventually("a delivery", || {
        let (status, text) = daemon.get("/metrics");
        (status == 200 && text.contains("podtrail_delivered_total")).then_some(text)
    });
    let kinds: BTreeMap<_, _> = metrics.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let ours: Vec<_> =
        kinds.iter().filter(|(name, _)| name.starts_with("podtrail_")).map(|(n, k)| format!("{n} {k}")).collect();
    assert_eq!(
        ours,
        [
            "podtrail_clock_skews counter",
            "podtrail_commit_failures counter",
            "podtrail_commit_seconds histogram",
            "podtrail_confirm_period_seconds gauge",
            "podtrail_confirmation_failures counter",
            "podtrail_confirmations counter",
            "podtrail_dead_letters counter",
            "podtrail_delivered counter",
            "podtrail_delivery_retries counter",
            "podtrail_divergences counter",
            "podtrail_duplicates counter",
            "podtrail_events counter",
            "podtrail_frame_to_commit_seconds histogram",
            "podtrail_gaps counter",
            "podtrail_open_claims gauge",
            "podtrail_outbox_lag gauge",
            "podtrail_pods gauge",
            "podtrail_rejected counter",
            "podtrail_relists counter",
            "podtrail_watch_age_seconds gauge",
            "podtrail_watch_connected gauge",
        ]
    );
    assert!(kinds.contains_key("process_resident_memory_bytes"));
    let sink = format!("podtrail_delivered_total{{sink=\"{file}\"}} 4");
    for line in [
        "podtrail_events_total{kind=\"created\"} 1",
        "podtrail_events_total{kind=\"deleted\"} 1",
        "podtrail_relists_total 1",
        "podtrail_gaps_total 0",
        "podtrail_watch_connected{source=\"nodes\"} 1",
        &sink,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in {metrics}");
    }
    daemon.stop();
}

/// A ledger of an earlier run says nothing of now.
#[test]
fn it_is_not_ready_before_it_watches_again() {
    let world = World::new();
    let daemon = world.run(&["--listen", "127.0.0.1:0"]).watches();
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
    daemon.stop();
    let busy = Fault::Status { on: Verb::Watch, code: 503, retry_after: Some(Duration::from_secs(2)) };
    world.cluster.inject(busy);
    let daemon = world.run(&["--listen", "127.0.0.1:0"]);
    daemon.says("API server does not answer as it should");
    let (status, why) = daemon.get("/readyz");
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("the pods or the nodes are not watched just now"), "{why}");
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
}

#[test]
fn a_second_tracker_of_one_ledger_is_refused() {
    let world = World::new();
    let first = world.run(&[]).watches();
    let (code, log) = world.run(&[]).ends();
    assert_eq!(code, Some(1));
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("error: ") && last.contains("ledger.db is being written by another tracker"), "{last}");
    first.stop();
}

#[test]
fn a_ledger_of_another_cluster_is_refused() {
    let world = World::new();
    let path = world.path("ledger.db");
    crate::ledger::make(&path);
    let before = std::fs::read(&path).unwrap();
    let (code, log) = world.run(&[]).ends();
    assert_eq!(code, Some(1));
    assert!(log.contains("a ledger holds one cluster only"), "{log}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn an_api_server_that_is_away_is_waited_for() {
    let world = World::new();
    write_kubeconfig(&world.path("kubeconfig"), "http://127.0.0.1:1");
    let daemon: Daemon = world.run(&[]);
    let line = daemon.says("cluster cannot be reached yet");
    assert_eq!(line["level"], "WARN");
    assert!(line["retry_ms"].as_u64().is_some_and(|wait| wait > 0));
    daemon.signal(Signal::HUP);
    daemon.says("opening files anew");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ends().0, Some(0));
}

#[test]
fn an_api_server_that_only_starts_may_forbid_at_first() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    write_kubeconfig(&world.path("kubeconfig"), &format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        let uid = "{\"metadata\":{\"uid\":\"here\"}}";
        for (status, body) in [("403 Forbidden", ""), ("200 OK", uid)] {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let daemon = world.run(&[]);
    assert_eq!(daemon.says("tracking")["cluster"], "here");
}
