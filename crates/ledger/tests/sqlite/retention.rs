//! What is forgotten, and what is not.

use std::time::Duration;

use podtrail_event::Gap;
use podtrail_ledger::{Answer, Change, ClaimRow, Observation, Retention, SinkPosition, Store, Uncovered};
use proptest::prelude::*;

use crate::ledger::{Place, claim, covered, interval, node, nodes_too, observed, pod, said, t};

const DAY: i64 = 86_400;

fn days(n: u64) -> Retention {
    Retention { age: Some(Duration::from_secs(n * 86_400)), size: None }
}

fn owner(store: &Store, ip: &str, at: i64) -> Answer<String> {
    store.owner("default", ip.parse().unwrap(), t(at)).unwrap().answer.map(|claim| claim.name)
}

/// Three pods over ten days: one that is long gone, one that stays, one that went of late; and a node that is gone.
fn ten_days(store: &mut Store) {
    let gone = |id, day: i64| {
        let mut row = pod(id);
        row.gone = Some(t(day * DAY));
        Change::Pod(Box::new(row))
    };
    let mut lost = node(1);
    lost.gone = Some(t(DAY));
    let gap = |from: i64| Gap { source: "pods".into(), from: t(from), to: t(from + 10), reason: "away".into() };
    let went = |day: i64| Observation { gap: Some((gap(day * DAY), day.to_string())), ..Observation::default() };
    let (early, late) = (
        claim(1, 1, "10.0.0.1", interval(100, Some(DAY), Some(2 * DAY))),
        claim(3, 3, "10.0.0.3", interval(7 * DAY, Some(8 * DAY), Some(9 * DAY))),
    );
    let open = claim(2, 2, "10.0.0.2", interval(200, None, None));
    let mut changes = vec![gone(1, 2), Change::Pod(Box::new(pod(2))), gone(3, 9), Change::Node(lost)];
    changes.extend([said(100, &[early]), said(200, &[open]), observed(DAY, went(1))]);
    changes.extend(
        (2..=6).map(|day| observed(day * DAY, Observation { held: vec![(2, t(day * DAY))], ..Default::default() })),
    );
    changes.extend([
        said(7 * DAY, &[late]),
        observed(8 * DAY, went(8)),
        covered(0, DAY),
        covered(DAY + 10, 8 * DAY),
        covered(8 * DAY + 10, 10 * DAY),
        nodes_too(),
    ]);
    store.commit(&changes).unwrap();
}

#[test]
fn what_is_left_verifies_and_nothing_is_said_of_what_was_before() {
    let place = Place::new();
    let mut store = place.open();
    ten_days(&mut store);
    assert_eq!(owner(&store, "10.0.0.1", 1000), Answer::Certain("web-1".into()));
    let (head, before) = (store.head().unwrap(), store.claims_of_pod(2).unwrap());
    let pruned = store.prune(&days(5), t(10 * DAY)).unwrap();
    assert_eq!((pruned.evidence, pruned.claims), (6, 1));
    drop(store);

    let mut store = place.open();
    let verified = store.verify().unwrap();
    assert_eq!((verified.anchor, verified.claims, store.anchor().unwrap()), (6, 2, 6));
    assert_eq!(store.head().unwrap(), head + 1, "one piece says what is carried forward");
    assert_eq!(store.claims_of_pod(2).unwrap(), before, "an open claim keeps its bounds");
    assert_eq!(store.pod(1).unwrap(), None);
    assert!(store.pod(2).unwrap().is_some() && store.pod(3).unwrap().is_some());
    assert!(store.live().unwrap().nodes.is_empty());
    assert_eq!(store.gaps().unwrap().len(), 1);

    let past =
        |some: &[&str]| Answer::Unknown(Uncovered::BeforeHistory, some.iter().map(ToString::to_string).collect());
    let check = |store: &Store| {
        assert_eq!(owner(store, "10.0.0.1", 1000), past(&[]));
        assert_eq!(owner(store, "10.0.0.9", 5 * DAY - 1), past(&[]));
        assert_eq!(owner(store, "10.0.0.9", 5 * DAY), Answer::Nobody);
        assert_eq!(owner(store, "10.0.0.1", 5 * DAY), Answer::Nobody);
        // It was there then, whatever else has been forgotten.
        assert_eq!(owner(store, "10.0.0.2", 1000), Answer::Certain("web-2".into()));
        assert_eq!(owner(store, "10.0.0.3", 8 * DAY), Answer::Certain("web-3".into()));
        assert_eq!(owner(store, "10.0.0.9", 8 * DAY + 5), Answer::Unknown(Uncovered::Gap, vec![]));
    };
    check(&store);
    // The tracker still says since when it has watched.
    store.commit(&[covered(0, DAY), covered(DAY + 10, 8 * DAY), covered(8 * DAY + 10, 11 * DAY), nodes_too()]).unwrap();
    check(&store);
    assert_eq!(owner(&store, "10.0.0.9", 11 * DAY), Answer::Nobody);
}

#[test]
fn what_a_sink_has_not_delivered_is_kept() {
    let place = Place::new();
    let mut store = place.open();
    ten_days(&mut store);
    let at = |seq| Change::Position("postgres:x".into(), SinkPosition { seq, ..SinkPosition::default() });
    let ahead = Change::Position("stdout:".into(), SinkPosition { seq: 9, ..SinkPosition::default() });
    for (seq, left) in [(0, 1), (2, 3), (2, 3), (5, 6), (100, 7)] {
        store.commit(&[at(seq), ahead.clone()]).unwrap();
        let undelivered = store.observations(seq, 100).unwrap();
        store.prune(&days(5), t(10 * DAY)).unwrap();
        assert_eq!(store.observations(0, 1).unwrap()[0].seq, left, "delivered until {seq}");
        let still = store.observations(seq, undelivered.len()).unwrap();
        assert_eq!(
            still.iter().map(|o| o.seq).collect::<Vec<_>>(),
            undelivered.iter().map(|o| o.seq).collect::<Vec<_>>()
        );
        store.verify().unwrap();
    }
}

#[test]
fn nothing_is_forgotten_without_need() {
    let place = Place::new();
    let mut store = place.open();
    for (retention, now) in [(days(1), 0), (Retention { age: None, size: Some(0) }, 0)] {
        assert_eq!(store.prune(&retention, t(now)).unwrap(), Default::default(), "of nothing");
    }
    ten_days(&mut store);
    for retention in [Retention::default(), days(10), Retention { age: None, size: Some(1 << 30) }] {
        assert_eq!(store.prune(&retention, t(10 * DAY)).unwrap(), Default::default());
    }
    assert_eq!(store.verify().unwrap().anchor, 0);
}

#[test]
fn only_claims_whose_evidence_goes_are_carried_forward() {
    let place = Place::new();
    let mut store = place.open();
    let address = |n: i64| format!("10.1.{}.{}", n >> 8, n & 255);
    let many = |ids: std::ops::Range<i64>, at| -> Vec<ClaimRow> {
        ids.map(|n| claim(n, n, &address(n), interval(at, None, None))).collect()
    };
    store.commit(&[said(DAY, &many(1..2501, DAY)), said(6 * DAY, &many(2501..5000, 6 * DAY))]).unwrap();
    let carried =
        |store: &Store| store.observations(2, 100).unwrap().iter().map(|o| o.observation.claims.len()).sum::<usize>();
    store.prune(&days(5), t(10 * DAY)).unwrap();
    assert_eq!(carried(&store), 2500);
    assert_eq!(store.verify().unwrap().claims, 4999);
    let head = store.head().unwrap();
    store.prune(&days(5), t(10 * DAY)).unwrap();
    assert_eq!(store.head().unwrap(), head, "there is nothing more to forget");
    store.prune(&days(5), t(11 * DAY + 1)).unwrap();
    assert_eq!(carried(&store), 2500 + 2499);
    // What was carried forward is carried further.
    store.prune(&days(5), t(20 * DAY)).unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.claims, verified.anchor > head), (4999, true));
}

#[test]
fn a_file_that_is_too_large_shrinks() {
    const SIZE: u64 = 400_000;
    let place = Place::new();
    let mut store = place.open();
    let mut changes = vec![nodes_too()];
    for n in 1..=2000 {
        let mut row = pod(n);
        (row.gone, row.pod.namespace) = (Some(t(n)), "x".repeat(200));
        let claims = [claim(n, n, "10.0.0.1", interval(n, Some(n), Some(n)))];
        let body = Observation { claims: claims.to_vec(), pod: Some(Box::new(row.pod.clone())), ..Default::default() };
        changes.extend([Change::Pod(Box::new(row)), observed(n, body), covered(0, n)]);
    }
    store.commit(&changes).unwrap();
    drop(store);
    let size = || std::fs::metadata(place.path()).unwrap().len();
    let before = size();
    assert!(before > 3 * SIZE, "{before}");
    let mut rounds = 0;
    let retention = Retention { age: None, size: Some(SIZE) };
    let mut store = place.open();
    while store.prune(&retention, t(2000)).unwrap().evidence > 0 {
        rounds += 1;
        assert!(rounds < 50, "it does not shrink");
    }
    assert_eq!(owner(&store, "10.0.0.1", 1999), Answer::Certain("web-1999".into()));
    assert_eq!(owner(&store, "10.0.0.1", 1), Answer::Unknown(Uncovered::BeforeHistory, vec![]));
    drop(store);
    assert!(size() <= SIZE + 8192, "{} of {before}", size());
    place.open().verify().unwrap();
}

/// Pods that hold 10.0.0.1 one after the other, and when their objects went.
fn turns(store: &mut Store, turns: &[(podtrail_ledger::Interval, Option<i64>)]) {
    let mut changes = vec![covered(0, 100 * DAY), nodes_too()];
    for (n, (interval, gone)) in (1..).zip(turns) {
        let mut row = pod(n);
        row.gone = gone.map(t);
        let at = interval.start_latest.as_nanosecond() / 1_000_000_000;
        changes.extend([Change::Pod(Box::new(row)), said(at, &[claim(n, n, "10.0.0.1", *interval)])]);
    }
    changes.extend((1..100).map(|day| observed(day * DAY, Observation::default())));
    store.commit(&changes).unwrap();
}

#[test]
fn a_claim_that_its_successor_ended_goes_with_it() {
    let place = Place::new();
    let mut store = place.open();
    // The first was never seen to end.
    turns(
        &mut store,
        &[
            (interval(DAY, Some(2 * DAY), None), Some(20 * DAY)),
            (interval(3 * DAY, Some(4 * DAY), Some(4 * DAY)), Some(4 * DAY)),
        ],
    );
    assert_eq!(owner(&store, "10.0.0.1", 10 * DAY), Answer::Nobody);
    let pruned = store.prune(&days(5), t(13 * DAY)).unwrap();
    assert_eq!(pruned.claims, 2);
    assert_eq!(owner(&store, "10.0.0.1", 10 * DAY), Answer::Nobody, "it is not possible again");
    assert_eq!(store.pod(2).unwrap(), None);
    store.verify().unwrap();
}

#[test]
fn what_ends_the_claim_of_a_living_pod_is_kept_with_it() {
    let place = Place::new();
    let mut store = place.open();
    let next = interval(3 * DAY, Some(4 * DAY), Some(4 * DAY));
    turns(&mut store, &[(interval(DAY, Some(2 * DAY), None), None), (next, Some(4 * DAY))]);
    assert_eq!(store.prune(&days(5), t(13 * DAY)).unwrap().claims, 0);
    assert_eq!(owner(&store, "10.0.0.1", 10 * DAY), Answer::Nobody);
    let mut gone = pod(1);
    gone.gone = Some(t(50 * DAY));
    store.commit(&[Change::Pod(Box::new(gone))]).unwrap();
    // What was said again then is looked at when it goes in its turn.
    store.prune(&days(5), t(120 * DAY)).unwrap();
    assert_eq!(store.verify().unwrap().claims, 0);
}

#[test]
fn a_claim_without_an_end_goes_long_after_its_pod() {
    for (gone, left) in [(None, 1), (Some(60), 1), (Some(40), 0)] {
        let place = Place::new();
        let mut store = place.open();
        turns(&mut store, &[(interval(DAY, Some(2 * DAY), None), gone.map(|day| day * DAY))]);
        store.prune(&days(10), t(60 * DAY)).unwrap();
        assert_eq!(store.verify().unwrap().claims, left, "{gone:?}");
        assert_eq!(store.pod(1).unwrap().is_some(), left == 1);
        let answer = owner(&store, "10.0.0.1", 55 * DAY);
        assert_eq!(answer == Answer::Nobody, left == 0, "{answer:?}");
    }
}

#[test]
fn a_big_first_prune_goes_in_short_steps() {
    const PIECES: i64 = 25_000;
    let place = Place::new();
    let mut store = place.open();
    let mut changes = vec![nodes_too(), covered(0, PIECES + 2 * DAY)];
    for n in 1..=PIECES {
        let mut row = pod(n);
        row.gone = Some(t(n));
        let ip = format!("10.0.{}.{}", n % 100, n % 7);
        changes.extend([Change::Pod(Box::new(row)), said(n, &[claim(n, n, &ip, interval(n, Some(n), Some(n)))])]);
    }
    store.commit(&changes).unwrap();
    let mut steps = vec![];
    loop {
        let pruned = store.prune(&days(1), t(PIECES + 2 * DAY)).unwrap();
        steps.push(pruned.evidence);
        if !pruned.more {
            break;
        }
    }
    assert!(steps.len() >= 3 && steps.iter().all(|evidence| *evidence <= 10_000), "{steps:?}");
    assert!(steps.iter().sum::<u64>() >= PIECES as u64, "{steps:?}");
    let verified = store.verify().unwrap();
    assert_eq!((verified.claims, store.pod(1).unwrap(), store.pod(PIECES).unwrap()), (0, None, None));
    assert_eq!(store.prune(&days(1), t(PIECES + 2 * DAY)).unwrap(), Default::default());
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Held(prop::sample::Index),
    End(prop::sample::Index),
    Deliver,
    Prune(u64),
    Shrink,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8).prop_map(Step::Begin),
        3 => any::<prop::sample::Index>().prop_map(Step::Held),
        3 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => Just(Step::Deliver),
        2 => (0..6u64).prop_map(Step::Prune),
        1 => Just(Step::Shrink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_verifies_after_whatever_was_done_in_whatever_order(steps in prop::collection::vec(step(), 1..25)) {
        let place = Place::new();
        let mut store = place.open();
        let mut claims: Vec<ClaimRow> = vec![];
        for (n, step) in steps.into_iter().enumerate() {
            let now = (n as i64 + 1) * DAY;
            let next = claims.len() as i64 + 1;
            let changes = match step {
                Step::Begin(ip) => {
                    claims.push(claim(next, next, &format!("10.0.0.{ip}"), interval(now, None, None)));
                    vec![Change::Pod(Box::new(pod(next))), said(now, &claims[claims.len() - 1..])]
                }
                Step::Held(_) | Step::End(_) if claims.is_empty() => vec![],
                Step::Held(which) => {
                    let held = vec![(which.index(claims.len()) as i64 + 1, t(now))];
                    vec![observed(now, Observation { held, ..Observation::default() })]
                }
                Step::End(which) => {
                    let which = &mut claims[which.index(next as usize - 1)];
                    which.interval.tighten(podtrail_ledger::Evidence::EndedBy(t(now)));
                    vec![said(now, std::slice::from_ref(which))]
                }
                Step::Deliver => {
                    let position = SinkPosition { seq: store.head().unwrap(), ..SinkPosition::default() };
                    vec![Change::Position("file:x".into(), position)]
                }
                Step::Prune(age) => {
                    store.prune(&days(age), t(now)).unwrap();
                    vec![]
                }
                Step::Shrink => {
                    store.prune(&Retention { age: None, size: Some(1) }, t(now)).unwrap();
                    vec![]
                }
            };
            store.commit(&changes).unwrap();
            let verified = store.verify().unwrap();
            let open = claims.iter().filter(|claim| claim.interval.end_latest.is_none()).count() as u64;
            prop_assert!(verified.claims >= open, "{:?}, of which {} are open", verified, open);
        }
    }
}
