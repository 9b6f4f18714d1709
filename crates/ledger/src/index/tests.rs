use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::exclusive::tests::pairwise;
use crate::interval::Evidence;
use crate::interval::tests::{config, evidence, interval, t};

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 17));

fn index(held: &[Interval], coverage: &Coverage) -> Index<usize> {
    Index::build(held.iter().enumerate().map(|(n, i)| ("default", IP, *i, n)), coverage.clone())
}

/// The ends of time, times so near each other that they collide, and any.
fn instant() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), (-50..50i64).prop_map(t), any::<i64>().prop_map(t)]
}

/// Any bounds, in any order.
fn anything() -> impl Strategy<Value = Interval> {
    let end =
        prop_oneof![Just(None), instant().prop_filter("`Interval` has none", |t| *t != Timestamp::MAX).prop_map(Some)];
    (instant(), instant(), instant(), end, any::<bool>()).prop_map(
        |(start_earliest, start_latest, end_earliest, end_latest, may_end)| Interval {
            start_earliest,
            start_latest,
            end_earliest,
            end_latest,
            may_end,
        },
    )
}

/// The same answer in whatever order it names them.
fn sorted(answer: Answer<usize>) -> Answer<usize> {
    let in_order = |mut some: Vec<usize>| {
        some.sort_unstable();
        some
    };
    match answer {
        Answer::Ambiguous(some) => Answer::Ambiguous(in_order(some)),
        Answer::Unknown(why, some) => Answer::Unknown(why, in_order(some)),
        one => one,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_as_deciding_over_all_does(
        held in proptest::collection::vec(interval(), 0..10),
        spans in proptest::collection::vec((-1..13i64, 0..8i64), 0..3),
    ) {
        let coverage = Coverage::new(spans.iter().map(|(from, length)| (t(*from), t(from + length))), Duration::ZERO);
        let settled = pairwise(&held);
        let index = index(&held, &coverage);
        for at in (-2..15).map(t).chain([Timestamp::MIN, Timestamp::MAX]) {
            let want = decide(settled.iter().copied().enumerate(), &coverage, at);
            prop_assert_eq!(sorted(index.owner("default", IP, at)), sorted(want), "at {:?}", at);
        }
    }

    #[test]
    fn answers_so_with_many_blocks_beside_other_addresses(
        turns in proptest::collection::vec(proptest::collection::vec(anything(), 0..20), 1..4),
        more in prop_oneof![9 => 0..40i64, 1 => 260..400i64],
        asked in proptest::collection::vec(instant(), 1..20),
    ) {
        let coverage = Coverage::new([(t(-100), t(100))], Duration::ZERO);
        let mut turns = turns;
        // Enough of one address that there are fences of fences, at whatever place the ones before it leave.
        turns.last_mut().unwrap().extend((0..more).map(|n| Interval::starting(t(n - n % 3), t(n))));
        let ip = |n: usize| IpAddr::from(std::net::Ipv6Addr::from_bits(n as u128));
        let claims = turns.iter().enumerate().flat_map(|(a, held)| held.iter().enumerate().map(move |(n, i)| ("", ip(a), *i, n)));
        let index = Index::build(claims, coverage.clone());
        for (a, held) in turns.iter().enumerate() {
            let settled = pairwise(held);
            let edges = held.iter().flat_map(|i| [i.start_earliest, i.start_latest, i.end_earliest]).step_by(7);
            for at in asked.iter().copied().chain(edges) {
                let want = decide(settled.iter().copied().enumerate(), &coverage, at);
                prop_assert_eq!(sorted(index.owner("", ip(a), at)), sorted(want), "{} at {:?}", a, at);
            }
        }
    }

    #[test]
    fn who_was_certain_is_never_another_with_more_evidence(
        held in proptest::collection::vec(interval(), 1..6),
        more in proptest::collection::vec((any::<prop::sample::Index>(), evidence()), 0..12),
    ) {
        let coverage = Coverage::new([(t(-5), t(20))], Duration::ZERO);
        let mut held = held;
        let mut certain: HashMap<Timestamp, usize> = HashMap::new();
        let mut steps = more.into_iter();
        loop {
            let index = index(&held, &coverage);
            for at in (-2..15).map(t) {
                let answer = index.owner("default", IP, at);
                if let Some(was) = certain.get(&at) {
                    prop_assert!(answer.named().contains(was), "{:?} at {:?}, was {}", answer, at, was);
                }
                if let Answer::Certain(who) = answer {
                    certain.insert(at, who);
                }
            }
            let Some((which, evidence)) = steps.next() else { break };
            let which = which.index(held.len());
            held[which].tighten(evidence);
        }
    }
}

#[test]
fn networks_and_addresses_are_apart_and_families_are_not_mixed() {
    let all = Coverage::new([(t(0), t(100))], Duration::ZERO);
    let mut interval = Interval::starting(t(10), t(10));
    interval.tighten(Evidence::HeldUntil(t(90)));
    let six: IpAddr = "fd00::11".parse().unwrap();
    let index =
        Index::build([("default", IP, interval, 1), ("default", six, interval, 2), ("ns/blue", IP, interval, 3)], all);
    assert_eq!(index.len(), 3);
    assert!(!index.is_empty());
    for (network, ip, want) in [
        ("default", "10.244.0.17", Answer::Certain(1)),
        ("default", "::ffff:10.244.0.17", Answer::Certain(1)),
        ("default", "::10.244.0.17", Answer::Nobody),
        ("default", "fd00::11", Answer::Certain(2)),
        ("ns/blue", "10.244.0.17", Answer::Certain(3)),
        ("ns/blue", "fd00::11", Answer::Nobody),
        ("ns/red", "10.244.0.17", Answer::Nobody),
    ] {
        assert_eq!(index.owner(network, ip.parse().unwrap(), t(50)), want, "{network} {ip}");
    }
}

#[test]
fn an_interval_takes_41_bytes_of_an_address_that_has_many() {
    let turns: Vec<_> = (0..4096).map(|n| Interval::starting(t(n), t(n))).collect();
    let index = Index::build(turns.iter().map(|i| ("default", IP, *i, 0_u32)), Coverage::default());
    let fences: Vec<_> = index.fences.iter().map(Vec::len).collect();
    assert_eq!(fences, [256, 16]);
    let bytes = size_of_val(&index.held[..]) + fences.iter().sum::<usize>() * size_of::<i64>();
    assert_eq!(bytes.div_ceil(turns.len()), 41);
    assert_eq!(size_of::<(u32, Interval, u32)>(), 56);
}

#[test]
fn a_search_looks_at_few_of_many() {
    let coverage = Coverage::new([(t(0), t(1_000_000))], Duration::ZERO);
    let turns = (0..1000).map(|n| {
        let mut interval = Interval::starting(t(n * 10), t(n * 10 + 2));
        interval.tighten(Evidence::HeldUntil(t(n * 10 + 7)));
        interval
    });
    let index = index(&turns.collect::<Vec<_>>(), &coverage);
    let run = index.networks["default"][&key(IP)];
    for at in 0..10_000 {
        assert!(index.near(run, at).len() <= 1 + (1 << BLOCK), "at {at}");
    }
}
