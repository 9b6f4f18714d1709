//! `annotate`: the pod that held an address when the packet passed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use podtrail_event::{Cluster, Pod, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Evidence, Interval, Observation, PodRow, Source, Store};
use podtrail_netns::capture::{
    Contents, Interface, InterfaceInfo, LinkType, Packet, PcapngReader, PcapngWriter, SectionInfo,
};
use tempfile::TempDir;

use crate::harness::{ask, tracer};

/// What two pods had one after the other.
const REUSED: [u8; 4] = [10, 244, 0, 17];
/// Of which nothing is known.
const STRANGER: [u8; 4] = [192, 0, 2, 1];

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_769_284_800 + seconds)
}

fn pod(id: i64, name: &str, gone: Option<i64>) -> Change {
    let (uid, node) = (format!("u{id}"), Some("node-0".to_owned()));
    let pod = Pod { uid, namespace: "shop".into(), name: name.into(), node, created: Some(t(0)), ..Pod::default() };
    Change::Pod(Box::new(PodRow { id, version: 7, created: true, deleted: gone.is_some(), gone: gone.map(t), pod }))
}

fn claim(id: i64, start: (i64, i64), evidence: &[Evidence]) -> Change {
    let mut interval = Interval::starting(t(start.0), t(start.1));
    for evidence in evidence {
        interval.tighten(*evidence);
    }
    let network = "default".to_owned();
    let row = ClaimRow {
        id,
        network,
        ip: REUSED.into(),
        subject: Subject::Pod,
        holder: id,
        ordinal: 0,
        shared: false,
        interval,
    };
    Change::Observed(
        interval.start_latest,
        Source::Watch,
        Box::new(Observation { claims: vec![row], ..Observation::default() }),
    )
}

/// Watched from 0 s to 600 s: shop/web-1 has the address from 10..12 s to 60..65 s, then shop/web-2 from 70..72 s on, which was seen
/// last at 300 s.
fn ledger(path: &Path) {
    let mut store = Store::open(path, &Cluster::new("cluster-uid"), Duration::from_secs(1)).unwrap();
    let covered = |source| Change::Covered { source, start: t(0), until: t(600), proven: t(600) };
    let changes = [
        pod(1, "web-1", Some(65)),
        pod(2, "web-2", None),
        claim(1, (10, 12), &[Evidence::HeldUntil(t(60)), Evidence::EndedBy(t(65))]),
        claim(2, (70, 72), &[Evidence::HeldUntil(t(300))]),
        covered("pods"),
        covered("nodes"),
    ];
    store.commit(&changes).unwrap();
}

/// When packets passed, and what is to be said of them.
const PACKETS: [(i64, &[&str]); 7] = [
    (-50, &["podtrail: 10.244.0.17 is not known: nobody watched"]),
    (5, &["podtrail: 10.244.0.17 is nobody's"]),
    (30, &["podtrail: 10.244.0.17 is pod shop/web-1 on node-0"]),
    (62, &["podtrail: 10.244.0.17 is pod shop/web-1 on node-0 or nobody"]),
    (100, &["podtrail: 10.244.0.17 is pod shop/web-2 on node-0"]),
    (400, &["podtrail: 10.244.0.17 is presumably pod shop/web-2 on node-0"]),
    (700, &["podtrail: 10.244.0.17 was last pod shop/web-2 on node-0 (this late, nothing is recorded yet)"]),
];

fn frame() -> Vec<u8> {
    let mut frame = vec![0; 14 + 20 + 8];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    (frame[14], frame[22], frame[23]) = (0x45, 64, 17);
    frame[16..18].copy_from_slice(&[0, 28]);
    frame[26..30].copy_from_slice(&STRANGER);
    frame[30..34].copy_from_slice(&REUSED);
    frame
}

/// With these comments on each packet.
fn capture(path: &Path, comments: &[&str]) {
    let mut writer = PcapngWriter::new(File::create(path).unwrap(), &SectionInfo::default()).unwrap();
    writer.interface(&InterfaceInfo::new(Interface::new(1, "eth0", Some(LinkType::ETHERNET)))).unwrap();
    for (at, _) in PACKETS {
        let frame = frame();
        writer.packet(&Packet::new(t(at).as_nanosecond(), 1, LinkType::ETHERNET, &frame), comments).unwrap();
    }
    writer.flush().unwrap();
}

/// The comments of each packet.
fn comments(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = PcapngReader::new(bytes);
    let mut all = Vec::new();
    while let Some(block) = reader.next().unwrap() {
        if let Contents::Packet { options, data, .. } = block.contents {
            assert_eq!(data, frame());
            all.push(options.comments().map(str::to_owned).collect());
        }
    }
    all
}

fn place() -> (TempDir, impl Fn(&str) -> String) {
    let home = tempfile::tempdir().unwrap();
    ledger(&home.path().join("ledger.db"));
    capture(&home.path().join("in.pcapng"), &[]);
    let folder = home.path().to_str().unwrap().to_owned();
    (home, move |name| format!("{folder}/{name}"))
}

#[test]
fn a_packet_has_the_pod_that_held_its_address_then() {
    let (home, path) = place();
    let words = format!("{} packets, {} of them with the names of pods\n", PACKETS.len(), PACKETS.len());
    let said = ask(&mut tracer(["annotate", &path("in.pcapng"), &path("out.pcapng"), "--ledger", &path("ledger.db")]));
    assert_eq!(said.all(), (Some(0), "", &*words));
    let got = comments(&fs::read(home.path().join("out.pcapng")).unwrap());
    assert_eq!(got, PACKETS.map(|(_, words)| words.to_vec()));
    // From standard input to standard output.
    let input = File::open(path("in.pcapng")).unwrap();
    let said = ask(tracer(["annotate", "-", "--ledger", &path("ledger.db")]).stdin(Stdio::from(input)));
    assert_eq!((said.code, comments(&said.out)), (Some(0), got));
    // On another network nothing is known of it.
    let args = ["annotate", &path("in.pcapng"), "--ledger", &path("ledger.db"), "--network", "blue"];
    let said = ask(&mut tracer(args));
    assert_eq!((said.code, comments(&said.out)), (Some(0), vec![Vec::<String>::new(); PACKETS.len()]));
}

#[test]
fn what_was_said_while_it_was_captured_gives_way_to_what_is_known_later_and_others_words_do_not() {
    const LATE: &str = "podtrail: 10.244.0.17 was last pod shop/web-0 on node-0 (this late, nothing is recorded yet)";
    const THEIRS: &str = "10.244.0.17 is pod shop/web-0 on node-0";
    let (home, path) = place();
    capture(&home.path().join("live.pcapng"), &[LATE, THEIRS]);
    let annotate =
        |from: &str, to: &str| ask(&mut tracer(["annotate", &path(from), &path(to), "--ledger", &path("ledger.db")]));
    let words = format!("{} packets, {} of them with the names of pods\n", PACKETS.len(), PACKETS.len());
    assert_eq!(annotate("live.pcapng", "once.pcapng").all(), (Some(0), "", &*words));
    assert_eq!(annotate("once.pcapng", "twice.pcapng").all(), (Some(0), "", &*words));
    let once = fs::read(path("once.pcapng")).unwrap();
    // Of a time that nobody watched, the capture itself knew more.
    let expected = |(_, words): (i64, &[&'static str])| match words {
        [word] if word.ends_with("nobody watched") => vec![LATE, THEIRS],
        words => [&[THEIRS], words].concat(),
    };
    assert_eq!(comments(&once), PACKETS.map(expected));
    assert!(fs::read(path("twice.pcapng")).unwrap() == once);
    shown(&path("once.pcapng"), THEIRS);
}

/// That Wireshark's own reader shows each packet's words and these, and nothing else, without complaint.
fn shown(file: &str, theirs: &str) {
    let fields = ["-T", "fields", "-E", "aggregator=|", "-e", "frame.comment"];
    let Ok(tshark) = Command::new("tshark").args(["-r", file]).args(fields).output() else {
        eprintln!("skipped in part: no tshark");
        return;
    };
    let complaints = String::from_utf8_lossy(&tshark.stderr)
        .replace("Running as user \"root\" and group \"root\". This could be dangerous.", "");
    assert!(tshark.status.success() && complaints.trim().is_empty(), "{complaints}");
    let lines = String::from_utf8(tshark.stdout).unwrap();
    let expected: Vec<_> = PACKETS[1..].iter().map(|(_, words)| format!("{theirs}|{}", words[0])).collect();
    assert_eq!(lines.lines().skip(1).collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_be_annotated_is_refused_and_nothing_is_overwritten() {
    let (home, path) = place();
    let [input, ledger] = [path("in.pcapng"), path("ledger.db")];
    let before = fs::read(&input).unwrap();
    fs::write(path("text"), "this is no capture\n").unwrap();
    std::os::unix::fs::symlink(&input, path("link")).unwrap();
    for (args, code, words) in [
        (&[&*input, &*input, "--ledger", &*ledger][..], 64, "is the input: it would be emptied"),
        (&[&input, &path("link"), "--ledger", &ledger], 64, "is the input: it would be emptied"),
        (&[&path("none"), &path("out"), "--ledger", &ledger], 69, "cannot read"),
        (&[&input, &path("out"), "--ledger", &path("none.db")], 69, "cannot read ledger"),
        (&[&input, &path("out"), "--ledger", &path("text")], 69, "cannot read ledger"),
        (&[&path("text"), &path("out"), "--ledger", &ledger], 1, "cannot annotate"),
    ] {
        let said = ask(&mut tracer([&["annotate"], args].concat()));
        assert_eq!((said.code, said.text()), (Some(code), ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
    assert!(fs::read(&input).unwrap() == before);
    assert!(!home.path().join("none.db").exists());
}
