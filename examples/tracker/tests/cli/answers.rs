//! `who-had`, `history`, `export` and `verify`, of a ledger with a known history.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{ask, stderr, stdout, tracker};
use crate::ledger::{make, t};

struct Ledger {
    home: TempDir,
    path: String,
}

fn ledger() -> Ledger {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    make(&path);
    let path = path.to_str().unwrap().to_owned();
    Ledger { home, path }
}

impl Ledger {
    /// Standard output of a command on this ledger that succeeds.
    fn says(&self, args: &[&str]) -> String {
        let output = ask(&[args, &["--ledger", &self.path]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{args:?}");
        stdout(&output).to_owned()
    }

    fn who_had(&self, ip: &str, at: i64) -> Value {
        serde_json::from_str(&self.says(&["who-had", ip, "--at", &t(at).to_string(), "-o", "json"])).unwrap()
    }
}

fn bounds(earliest: i64, latest: Option<i64>) -> Value {
    json!({"earliest": t(earliest), "latest": latest.map(t)})
}

#[test]
fn a_certain_answer_has_exactly_the_documented_form() {
    let answer = ledger().who_had("10.244.0.17", 30);
    let claim = json!({
        "network": "default", "ip": "10.244.0.17", "subject": "pod", "namespace": "shop", "name": "web-1",
        "uid": "uid-1", "node": "node-0", "start": bounds(10, Some(12)), "end": bounds(60, Some(65)),
    });
    let reason = answer["reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    let query = json!({"ip": "10.244.0.17", "network": "default", "at": t(30)});
    assert_eq!(
        answer,
        json!({"v": 1, "query": query, "answer": "certain", "claims": [claim], "users": [], "reason": reason, "gaps": []})
    );
}

#[test]
fn each_kind_of_answer_names_whom_it_should() {
    let ledger = ledger();
    for (ip, at, answer, named) in [
        ("10.244.0.17", 5, "nobody", &[][..]),
        ("10.244.0.17", 11, "ambiguous", &["web-1"]),
        ("10.244.0.17", 62, "ambiguous", &["web-1"]),
        ("10.244.0.17", 68, "nobody", &[]),
        ("10.244.0.17", 200, "certain", &["web-2"]),
        ("10.244.0.17", 350, "presumed", &["web-2"]),
        ("10.244.0.17", 410, "unknown", &["web-2"]),
        ("10.244.0.17", 500, "presumed", &["web-2"]),
        ("10.244.0.17", 5000, "unknown", &["web-2"]),
        ("10.244.0.17", -50, "unknown", &[]),
        ("fd00::17", 100, "ambiguous", &["web-2"]),
        ("10.244.9.9", 100, "nobody", &[]),
        ("10.244.9.9", 410, "unknown", &[]),
        ("198.18.0.10", 410, "certain", &["node-0"]),
    ] {
        let said = ledger.who_had(ip, at);
        let names: Vec<_> = said["claims"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!((said["answer"].as_str().unwrap(), &*names), (answer, named), "{ip} at {at} s: {said}");
    }
}

#[test]
fn open_ends_gaps_and_users_are_said_as_documented() {
    let ledger = ledger();
    assert_eq!(ledger.who_had("10.244.0.17", 200)["claims"][0]["end"], Value::Null);
    assert_eq!(ledger.who_had("fd00::17", 80)["claims"][0]["end"], bounds(90, None));
    let gap = json!({"source": "pods", "from": t(400), "to": t(420), "reason": "history was compacted"});
    assert_eq!(ledger.who_had("10.244.0.17", 410)["gaps"], json!([gap]));
    let node = ledger.who_had("198.18.0.10", 100);
    assert_eq!(node["claims"][0]["subject"], "node");
    assert_eq!((&node["claims"][0]["namespace"], &node["claims"][0]["uid"]), (&json!(""), &json!("uid-node")));
    assert_eq!((&node["users"][0]["name"], &node["users"][0]["subject"]), (&json!("proxy"), &json!("pod")));
}

#[test]
fn an_answer_for_people_says_who_and_why() {
    let ledger = ledger();
    let text = |ip, at| ledger.says(&["who-had", ip, "--at", &t(at).to_string()]);
    let certain = text("10.244.0.17", 30);
    assert!(certain.starts_with("certain: pod shop/web-1 had 10.244.0.17 at 2026-01-24T20:00:30Z\n"), "{certain}");
    assert!(text("10.244.0.17", 80).contains(" (-2.0s), open, uid uid-2\n"));
    assert!(certain.contains("\nwhy: evidence from before and after"), "{certain}");
    assert!(text("10.244.0.17", 11).starts_with("ambiguous: pod shop/web-1 or nobody had"));
    assert!(text("10.244.0.17", 410).contains("history was compacted"));
    assert!(text("198.18.0.10", 100).contains("used by hostNetwork pods:\n  pod shop/proxy on node-0"));
    assert!(ledger.says(&["who-had", "10.244.0.17"]).starts_with("unknown: "), "now, the ledger knows nothing yet");
    let elsewhere = ledger.says(&["who-had", "10.244.0.17", "--network", "shop/macvlan", "--at", &t(30).to_string()]);
    assert!(elsewhere.starts_with("nobody: "), "{elsewhere}");
}

#[test]
fn history_is_a_table_json_or_csv() {
    let ledger = ledger();
    let text = ledger.says(&["history", "--ip", "10.244.0.17"]);
    let columns: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["IP", "HOLDER", "NODE", "SINCE", "UNTIL", "NETWORK", "UID"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().nth(2).unwrap().contains(" open "), "{text}");
    let relative = ledger.says(&["history", "--ip", "10.244.0.17", "--relative"]);
    assert!(relative.contains(" ago") && !relative.contains("2026-01-24"), "{relative}");

    let json = ledger.says(&["history", "--ip", "10.244.0.17", "-o", "json"]);
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((json.len(), &json[0]["uid"], &json[1]["end"]), (2, &json!("uid-1"), &Value::Null));
    assert_eq!((&json[0]["v"], &json[0]["shared"]), (&json!(1), &json!(false)));

    let csv = ledger.says(&["history", "--ip", "10.244.0.17", "-o", "csv"]);
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(
        rows[0],
        "network,ip,subject,namespace,name,uid,node,start_earliest,start_latest,end_earliest,end_latest,shared"
    );
    assert_eq!(
        rows[1],
        "default,10.244.0.17,pod,shop,web-1,uid-1,node-0,2026-01-24T20:00:10Z,2026-01-24T20:00:12Z,\
         2026-01-24T20:01:00Z,2026-01-24T20:01:05Z,false"
    );
    assert!(rows[2].ends_with(",2026-01-24T20:01:12Z,,,false"), "{}", rows[2]);
}

#[test]
fn history_can_be_of_anything_and_of_a_span() {
    let ledger = ledger();
    let (early, late) = (t(66).to_string(), t(69).to_string());
    for (args, names) in [
        (&["--cidr", "10.244.0.0/16"][..], &["web-1", "web-2"][..]),
        (&["--cidr", "fd00::/64"], &["web-2"]),
        (&["--pod", "shop/web-2"], &["web-2", "web-2"]),
        (&["--uid", "uid-1"], &["web-1"]),
        (&["--uid", "uid-node"], &["node-0"]),
        (&["--node", "node-0"], &["web-1", "web-2", "node-0", "proxy", "web-2"]),
        (&["--ip", "::ffff:10.244.0.17", "--to", "9999-12-31T00:00:00Z"], &["web-1", "web-2"]),
        (&["--cidr", "::ffff:10.244.0.0/112"], &["web-1", "web-2"]),
        (&["--ip", "10.244.0.17", "--to", &early], &["web-1"]),
        (&["--ip", "10.244.0.17", "--from", &early], &["web-2"]),
        (&["--ip", "10.244.0.17", "--from", &early, "--to", &late], &[]),
        (&["--pod", "shop/none"], &[]),
    ] {
        let text = ledger.says(&[&["history", "-o", "json"], args].concat());
        let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<_> = found.iter().map(|claim| claim["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{args:?}");
    }
    assert_eq!(ledger.says(&["history", "--pod", "shop/none"]), "nothing found\n");
}

#[test]
fn export_gives_all_claims_and_all_events() {
    let ledger = ledger();
    let claims = ledger.says(&["export"]);
    assert_eq!(claims.lines().count(), 5);
    assert_eq!(ledger.says(&["export", "--format", "csv"]).lines().count(), 6);
    let events = ledger.says(&["export", "--what", "events"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["address-assigned", "address-assigned", "address-assigned", "address-assigned", "gap"]);
    assert!(events.iter().all(|event| event["v"] == 1 && event["cluster"]["uid"] == "cluster-uid"));
    let args = ["export", "--what", "events", "--event-format", "podtracker", "--tracked-by", "audit"];
    assert_eq!(ledger.says(&args), "", "no pod was created here");
    let tracked = ledger.says(&["export", "--what", "events", "--tracked-by", "audit"]);
    assert!(tracked.lines().all(|line| line.contains(r#""trackedBy":"audit""#)), "{tracked}");
    let refused = ask(&["export", "--what", "events", "--format", "csv", "--ledger", &ledger.path]);
    assert_eq!(refused.status.code(), Some(64));
}

#[test]
fn verify_finds_a_changed_byte() {
    let ledger = ledger();
    assert!(ledger.says(&["verify"]).starts_with("ok: 6 pieces of evidence from the beginning"));
    // What is still in the WAL is moved into the file by the last connection that closes it.
    let copy = ledger.home.path().join("copy.db");
    fs::copy(&ledger.path, &copy).unwrap();
    let mut file = fs::OpenOptions::new().read(true).write(true).open(&copy).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let reason = b"history was compacted";
    let at = bytes.windows(reason.len()).position(|window| window == reason).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(b"H").unwrap();
    drop(file);
    let copy = copy.to_str().unwrap();
    let output = ask(&["verify", "--ledger", copy]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert!(stderr(&output).contains("is damaged"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let ledger = ledger();
    for args in
        [&["export"][..], &["history", "--node", "node-0"], &["who-had", "10.244.0.17"], &["completions", "zsh"]]
    {
        let ledger = if args[0] == "completions" { vec![] } else { vec!["--ledger", &*ledger.path] };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = tracker(args).args(ledger).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
    }
}
