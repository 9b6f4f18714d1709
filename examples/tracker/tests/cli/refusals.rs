//! What it refuses, with which exit code and which words.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::harness::{ask, stderr, stdout, write_kubeconfig};
use crate::ledger;

/// Each is refused with this code, says one line with all of these words, and prints nothing else.
fn refuses(code: i32, cases: &[(&[&str], &str)]) {
    for (args, words) in cases {
        let output = ask(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(stderr(&output).contains(words), "{args:?} says: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{args:?}");
    }
}

#[test]
fn help_version_and_completions_are_not_errors() {
    for (args, words) in [
        (&["--help"][..], "Exit codes"),
        (&["run", "--help"], "--confirm-rate"),
        (&["--version"], concat!("tracker ", env!("CARGO_PKG_VERSION"))),
        (&["completions", "bash"], "complete"),
        (&["completions", "fish"], "who-had"),
    ] {
        let output = ask(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(stdout(&output).contains(words), "{args:?}: {}", stdout(&output));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_wrong_command_line_is_64() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    ledger::make(&path);
    let ledger = path.to_str().unwrap();
    refuses(
        64,
        &[
            (&[], "Usage"),
            (&["frobnicate"], "frobnicate"),
            (&["run", "--frobnicate"], "--frobnicate"),
            (&["run", "--log-level", "loud"], "loud"),
            (&["who-had"], "IP"),
            (&["who-had", "10.244.0.300"], "not an IPv4 or IPv6 address"),
            (&["who-had", "10.244.0.1", "--at", "yesterday"], "RFC 3339"),
            (&["who-had", "10.244.0.1", "--at", "2026-01-24T20:45:00"], "RFC 3339"),
            (&["who-had", "10.244.0.1", "--at", "2199-01-01T00:00:00Z", "--ledger", ledger], "in the future"),
            (&["who-had", "10.244.0.1", "--at", "2199-01-01T00:00:00Z"], "in the future"),
            (&["who-had", "10.244.0.1", "--at", "2300-01-01T00:00:00Z"], "in the future"),
            (&["who-had", "10.244.0.1", "--at", "0001-01-01T00:00:00Z"], "before the year 1678"),
            (&["who-had", "10.244.0.1", "--network", "macvlan"], "neither default nor NAMESPACE/NAME"),
            (&["who-had", "10.244.0.1", "--network", "shop/"], "neither default nor NAMESPACE/NAME"),
            (&["who-had", "10.244.0.1", "-o", "xml"], "xml"),
            (&["history"], "--ip"),
            (&["history", "--ip", "10.0.0.1", "--uid", "x"], "cannot be used with"),
            (&["history", "--cidr", "10.0.0.0/33", "--ledger", ledger], "more bits"),
            (&["history", "--pod", "web-1", "--ledger", ledger], "NAMESPACE/NAME"),
            (&["history", "--pod", "/"], "NAMESPACE/NAME"),
            (&["history", "--pod", "shop/"], "NAMESPACE/NAME"),
            (&["history", "--uid", ""], "--uid"),
            (&["history", "--node", ""], "--node"),
            (
                &["history", "--ip", "10.0.0.1", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
                "--to is before --from",
            ),
            (&["run", "--namespaces", "team-[a"], "team-[a"),
            (&["run", "--exclude-namespaces", "{a,b"], "{a,b"),
            (&["run", "--writer", "file:a", "--writer", "file:a,keep=3"], "two writers write to file:a"),
            (&["run", "--writer", "file:a,name=x", "--writer", "file:./a,name=y"], "two writers write to file:./a"),
            (&["run", "--writer", "stdout", "--writer", "stdout,name=b"], "two writers write to stdout"),
            (&["run", "--writer", "file:a,name=x", "--writer", "file:b,name=x"], "two writers are called x"),
            (&["run", "--writer", "carrier-pigeon"], "carrier-pigeon"),
            (&["run", "--writer", "file:"], "path"),
            (&["run", "--writer", "stdout,max-size=1MiB"], "max-size"),
            (&["run", "--writer", "file:a,keep=some"], "keep"),
            (&["run", "--confirm-rate", "0"], "above 0"),
            (&["run", "--confirm-rate", "NaN"], "above 0"),
            (&["run", "--confirm-every", "soon"], "duration"),
            (&["run", "--confirm-every", "0s"], "not above 0"),
            (&["run", "--retain-age", "0s"], "not above 0"),
            (&["run", "--retain-size", "0"], "0 is not in 1.."),
            (&["run", "--namespaces", ""], "--namespaces names none"),
            (&["run", "--clock-error", "999999h"], "more than 1h"),
            (&["run", "--clock-error", "-1s"], "'-1'"),
            (&["run", "--clock-error=-1s"], "negative"),
            (&["run", "--event-format", "xml"], "xml"),
            (&["demo", "--duration", "1s"], "too short"),
            (&["demo", "--seed", "x"], "--seed"),
            (&["completions", "cobol"], "cobol"),
        ],
    );
}

#[test]
fn a_ledger_that_cannot_be_read_is_1_and_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = home.path().join("missing.db").to_str().unwrap().to_owned();
    let (empty, foreign) = (file("empty.db", b""), file("foreign.db", &[b'x'; 4096]));
    let sqlite = file("sqlite.db", &[b"SQLite format 3\0".as_slice(), &[0; 4080]].concat());
    for command in [&["who-had", "10.0.0.1"][..], &["history", "--ip", "10.0.0.1"], &["export"], &["verify"]] {
        for (path, words) in [
            (&missing, "does not exist"),
            (&empty, "is not a whole podtrail ledger"),
            (&foreign, "is not a whole podtrail ledger"),
            (&sqlite, "is not a whole podtrail ledger"),
        ] {
            refuses(1, &[(&[command, &["--ledger", path]].concat(), words)]);
        }
    }
    assert_eq!(fs::read(&foreign).unwrap(), [b'x'; 4096]);
    let mut left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty.db", "foreign.db", "sqlite.db"]);
}

#[test]
fn a_cluster_that_cannot_be_had_is_69() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let ledger = path("ledger.db");
    let (missing, garbage, good, refusing) = (path("missing"), path("garbage"), path("good"), path("refusing"));
    fs::write(&garbage, ":\n- {").unwrap();
    write_kubeconfig(good.as_ref(), "http://127.0.0.1:1");
    // An API server that lets nobody in.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    write_kubeconfig(refusing.as_ref(), &format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // One read takes so small a request.
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for (kubeconfig, context, words) in [
        (&missing, None, "cannot use kubeconfig"),
        (&garbage, None, "cannot use kubeconfig"),
        (&good, Some("nowhere"), "cannot use kubeconfig"),
        (&refusing, None, "403"),
    ] {
        let mut args = vec!["run", "--log-level", "off", "--ledger", &ledger, "--kubeconfig", kubeconfig];
        args.extend(context.map(|context| ["--context", context]).into_iter().flatten());
        refuses(69, &[(&args, words)]);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["run", "--log-level", "off", "--ledger", &ledger, "--kubeconfig", &good, "--listen", &address];
    refuses(69, &[(&args, &address)]);
    assert!(!fs::exists(&ledger).unwrap(), "no ledger is made of a cluster that was not reached");
}
