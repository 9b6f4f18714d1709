//! What is committed is there after reopening; what is not is not.

use std::time::Duration;

use podtrail_event::{Gap, Subject};
use podtrail_ledger::{Change, ClaimRow, DeadLetter, ErrorKind, Observation, SinkPosition, Store, Watched};

use crate::ledger::{Place, claim, cluster, covered, interval, node, observed, pod, said, t, why};

fn skew(node: &str, fast: u64, slow: u64) -> Change {
    Change::Skew { node: node.into(), fast: Duration::from_secs(fast), slow: Duration::from_secs(slow) }
}

fn everything() -> Vec<Change> {
    let gap = Gap { source: "pods".into(), from: t(5), to: t(8), reason: "the API server was away".into() };
    let gone = podtrail_ledger::PodRow { gone: Some(t(60)), deleted: true, ..pod(2) };
    let of_node = ClaimRow { subject: Subject::Node, ..claim(3, 1, "172.18.0.2", interval(10, None, None)) };
    let over = ClaimRow { subject: Subject::Node, ..claim(4, 1, "172.18.0.3", interval(10, None, Some(20))) };
    vec![
        Change::Pod(Box::new(pod(1))),
        Change::Pod(Box::new(gone)),
        Change::Node(node(1)),
        said(
            10,
            &[claim(1, 1, "10.0.0.1", interval(10, None, None)), claim(2, 2, "fd00::1", interval(10, None, None))],
        ),
        said(10, &[of_node, over]),
        observed(12, Observation { gap: Some((gap, "41".into())), ..Observation::default() }),
        observed(40, Observation { held: vec![(1, t(40)), (1, t(30))], ..Observation::default() }),
        covered(0, 5),
        covered(8, 40),
        covered(8, 30),
        Change::Covered { source: "nodes", start: t(1), until: t(40), proven: t(35) },
        Change::Covered { source: "nodes", start: t(1), until: t(38), proven: t(36) },
        skew("b", 3, 1),
        skew("a", 5, 0),
        skew("b", 2, 4),
        Change::Checkpoint("pods", "42".into()),
        Change::Position("stdout:".into(), SinkPosition { seq: 2, resume: Some("x".into()), frozen: Some(3) }),
        Change::DeadLetter(DeadLetter {
            sink: "stdout:".into(),
            seq: 1,
            id: "i".into(),
            reason: "r".into(),
            line: "l".into(),
        }),
    ]
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let place = Place::new();
    assert_eq!(place.open().commit(&everything()).unwrap(), 4);
    for store in [place.open(), Store::open_read_only(place.path()).unwrap()] {
        let live = store.live().unwrap();
        assert_eq!(live.pods, [pod(1)], "gone and forgotten pods are not gone on with");
        let mut claims = live.claims;
        claims.sort_by_key(|claim| claim.id);
        assert_eq!(
            claims.iter().map(|c| c.id).collect::<Vec<_>>(),
            [1, 3],
            "of gone pods and ended ones of nodes neither"
        );
        assert_eq!(claims[0].interval, interval(10, Some(40), None), "held until the latest that was said");
        assert_eq!(live.nodes, [node(1)]);
        assert_eq!(live.checkpoints, [("pods".to_owned(), "42".to_owned())].into());
        let span = |start, proven| Watched { start: t(start), until: t(40), proven: t(proven) };
        let spans = [("nodes".to_owned(), span(1, 36)), ("pods".to_owned(), span(8, 40))];
        assert_eq!(live.coverage, spans.into(), "each bound is the latest that was said");
        let s = Duration::from_secs;
        assert_eq!(live.skews, [("a".to_owned(), s(5), s(0)), ("b".to_owned(), s(3), s(4))], "the largest");
        assert_eq!(live.next, (3, 2, 5));
        assert_eq!(store.coverage().unwrap().spans(), [(t(1), t(5)), (t(8), t(40))]);
        assert_eq!(store.pod(2).unwrap().unwrap().gone, Some(t(60)));
        assert_eq!(store.pod_by_uid("pod-1").unwrap(), Some(pod(1)));
        assert_eq!(store.pod(7).unwrap(), None);
        assert_eq!(store.claims_of_pod(2).unwrap().len(), 1);
        assert_eq!(store.claims_of_pod(1).unwrap().len(), 1, "a node's claims are not a pod's of the same number");
        let position = SinkPosition { seq: 2, resume: Some("x".into()), frozen: Some(3) };
        assert_eq!(store.position("stdout:").unwrap(), Some(position));
        assert_eq!(store.position("other").unwrap(), None);
        assert_eq!((store.head().unwrap(), store.anchor().unwrap()), (4, 0));
        assert_eq!(store.gaps().unwrap()[0].reason, "the API server was away");
        let verified = store.verify().unwrap();
        assert_eq!((verified.evidence, verified.claims, verified.anchor), (4, 4, 0));
    }
}

#[test]
fn evidence_comes_back_in_order_as_it_was() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&everything()).unwrap();
    let all = store.observations(0, 100).unwrap();
    assert_eq!(all.iter().map(|o| o.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let written: Vec<_> = everything()
        .into_iter()
        .filter_map(|change| match change {
            Change::Observed(at, source, observation) => Some((at, source.as_str().to_owned(), *observation)),
            _ => None,
        })
        .collect();
    let read: Vec<_> = all.into_iter().map(|o| (o.at, o.source, o.observation)).collect();
    assert_eq!(read, written);
    assert_eq!(store.observations(2, 1).unwrap()[0].seq, 3);
    assert!(store.observations(u64::MAX, 9).unwrap().is_empty());
    assert_eq!(store.commit(&[]).unwrap(), 4);
}

#[test]
fn a_failed_commit_leaves_nothing_half_done() {
    let place = Place::new();
    let mut store = place.open();
    store.commit(&everything()).unwrap();
    // Another row with the UID of pod 1, after all that could be written.
    let twin = podtrail_ledger::PodRow { id: 9, ..pod(1) };
    let changes = [
        said(50, &[claim(5, 1, "10.0.0.5", interval(50, None, None))]),
        covered(8, 50),
        Change::Checkpoint("pods", "50".into()),
        Change::Pod(Box::new(twin)),
    ];
    let e = store.commit(&changes).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{}", why(&e));
    assert!(!e.is_retryable(), "it would never succeed");
    let check = |store: &Store| {
        assert_eq!(store.head().unwrap(), 4);
        assert_eq!(store.live().unwrap().checkpoints["pods"], "42");
        assert_eq!(store.coverage().unwrap().spans().last(), Some(&(t(8), t(40))));
        assert_eq!(store.verify().unwrap().claims, 4);
    };
    check(&store);
    assert_eq!(store.commit(&changes[..3]).unwrap(), 5, "the next goes on where the last whole one ended");
    drop(store);
    place.open().verify().unwrap();
}

#[test]
fn readers_see_whole_commits_while_a_tracker_writes() {
    const COMMITS: i64 = 150;
    let place = Place::new();
    let mut writer = place.open();
    writer.commit(&[Change::Pod(Box::new(pod(1)))]).unwrap();
    let path = place.path();
    let write = std::thread::spawn(move || {
        for n in 1..=COMMITS {
            let both = |id, last| claim(id, 1, &format!("10.0.{last}.{n}"), interval(n, Some(n), None));
            writer.commit(&[said(n, &[both(2 * n, 0)]), said(n, &[both(2 * n + 1, 1)]), covered(0, n)]).unwrap();
        }
    });
    let (mut last, mut reads) = (0, 0);
    while last < 2 * COMMITS as u64 {
        let reader = Store::open_read_only(&path).unwrap();
        let verified = reader.verify().unwrap();
        assert_eq!(verified.evidence, verified.claims);
        assert!(verified.evidence.is_multiple_of(2) && verified.evidence >= last, "{verified:?} after {last}");
        last = verified.evidence;
        reads += 1;
        if write.is_finished() {
            last = last.max(Store::open_read_only(&path).unwrap().head().unwrap());
        }
    }
    write.join().unwrap();
    assert!(reads > 1);
}

#[test]
fn reading_does_not_write() {
    let place = Place::new();
    place.open().commit(&everything()).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let store = Store::open_read_only(place.path()).unwrap();
    store.verify().unwrap();
    let mut store = store;
    let e = store.commit(&[covered(0, 1)]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io, "{}", why(&e));
    drop(store);
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[test]
fn only_one_writes() {
    let place = Place::new();
    let first = place.open();
    let second = || Store::open(place.path(), &cluster(), Duration::ZERO).map(drop);
    let e = second().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Locked);
    assert!(e.is_retryable());
    let link = place.path().with_file_name("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let e = Store::open(&link, &cluster(), Duration::ZERO).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Locked, "also by another name");
    drop(first);
    second().unwrap();
}

#[test]
fn a_name_that_is_learnt_later_is_kept() {
    let place = Place::new();
    drop(place.open());
    let named = cluster().named(Some("prod".into()));
    drop(Store::open(place.path(), &named, Duration::from_millis(250)).unwrap());
    let store = Store::open_read_only(place.path()).unwrap();
    assert_eq!(store.cluster(), &named);
    assert_eq!(store.clock_error(), Duration::from_millis(250));
}
