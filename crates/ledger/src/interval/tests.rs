use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::*;

pub(crate) fn t(n: i64) -> Timestamp {
    Timestamp::from_nanosecond(n)
}

pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any evidence, true or not; times so few that they collide.
pub(crate) fn evidence() -> impl Strategy<Value = Evidence> {
    let at = || (0..12i64).prop_map(t);
    prop_oneof![
        at().prop_map(Evidence::NotBefore),
        at().prop_map(Evidence::HeldBy),
        at().prop_map(Evidence::HeldUntil),
        Just(Evidence::MayEnd),
        at().prop_map(Evidence::EndedBy),
    ]
}

/// Any interval, contradictory ones too.
pub(crate) fn interval() -> impl Strategy<Value = Interval> {
    let edge = || prop_oneof![4 => (0..12i64).prop_map(t), 1 => Just(Timestamp::MIN), 1 => Just(Timestamp::MAX)];
    (edge(), edge(), proptest::collection::vec(evidence(), 0..5)).prop_map(|(earliest, latest, evidence)| {
        let mut interval = Interval::starting(earliest, latest);
        for e in evidence {
            interval.tighten(e);
        }
        interval
    })
}

/// A true interval, half-open, and true evidence of it.
fn truth() -> impl Strategy<Value = (i64, i64, Vec<Evidence>)> {
    (0..12i64, 1..12i64).prop_flat_map(|(start, length)| {
        let end = start + length;
        let one = prop_oneof![
            (-2..=start).prop_map(t).prop_map(Evidence::NotBefore),
            (start..26).prop_map(t).prop_map(Evidence::HeldBy),
            (start..end).prop_map(t).prop_map(Evidence::HeldUntil),
            Just(Evidence::MayEnd),
            (end..26).prop_map(t).prop_map(Evidence::EndedBy),
        ];
        (Just(start), Just(end), proptest::collection::vec(one, 0..8))
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn evidence_never_widens_a_bound(before in interval(), evidence in evidence()) {
        let mut after = before;
        let told = after.tighten(evidence);
        prop_assert_eq!(told, after != before);
        prop_assert!(after.start_earliest >= before.start_earliest && after.start_latest <= before.start_latest);
        prop_assert!(after.end_earliest >= before.end_earliest && after.may_end >= before.may_end);
        let end = |i: Interval| i.end_latest.unwrap_or(Timestamp::MAX);
        prop_assert!(end(after) <= end(before));
        prop_assert!(!after.tighten(evidence), "the same again tells nothing");
    }

    #[test]
    fn the_order_and_the_repetition_of_evidence_make_no_difference(
        start in interval(),
        evidence in proptest::collection::vec(evidence(), 0..10),
        again in proptest::collection::vec((any::<Pick>(), any::<Pick>()), 0..10),
    ) {
        let after = |evidence: &[Evidence]| {
            let mut interval = start;
            for e in evidence { interval.tighten(*e); }
            interval
        };
        let mut shuffled = evidence.clone();
        for (what, place) in again {
            if !evidence.is_empty() {
                let (doubled, to) = (evidence[what.index(evidence.len())], place.index(shuffled.len()));
                shuffled.insert(to, doubled);
                let other = what.index(shuffled.len());
                shuffled.swap(to, other);
            }
        }
        prop_assert_eq!(after(&evidence), after(&shuffled));
    }

    #[test]
    fn true_evidence_only_ever_makes_more_certain((start, end, evidence) in truth()) {
        let mut interval = Interval::starting(Timestamp::MIN, Timestamp::MAX);
        for evidence in evidence {
            let before = interval;
            interval.tighten(evidence);
            for at in -3..28 {
                let (at, held) = (t(at), (start..end).contains(&at));
                prop_assert!(held || !interval.certain_at(at), "{:?} at {:?}", interval, at);
                prop_assert!(!held || interval.possible_at(at), "{:?} at {:?}", interval, at);
                prop_assert!(interval.certain_at(at) >= before.certain_at(at));
                prop_assert!(interval.possible_at(at) <= before.possible_at(at));
            }
        }
    }

    #[test]
    fn coverage_is_its_spans_whatever_their_order(
        ours in proptest::collection::vec((0..30i64, 0..8i64), 0..8),
        theirs in proptest::collection::vec((0..30i64, 0..8i64), 0..8),
    ) {
        let of = |spans: &[(i64, i64)]| {
            Coverage::new(spans.iter().map(|(from, length)| (t(*from), t(from + length - 1))), Duration::ZERO)
        };
        let within = |spans: &[(i64, i64)], at: i64| spans.iter().any(|(from, length)| (*from..from + length).contains(&at));
        let (a, b) = (of(&ours), of(&theirs));
        let both = a.intersect(&b);
        prop_assert_eq!(&both, &b.intersect(&a));
        prop_assert!(a.spans().windows(2).all(|w| w[0].1 < w[1].0), "{:?}", a);
        for at in -1..40 {
            prop_assert_eq!(a.check(t(at)).is_ok(), within(&ours, at));
            prop_assert_eq!(both.check(t(at)).is_ok(), within(&ours, at) && within(&theirs, at), "{} in {:?}", at, both);
        }
    }
}

#[test]
fn spans_that_touch_are_one() {
    let coverage = Coverage::new([(t(20), t(30)), (t(0), t(10)), (t(10), t(15)), (t(9), t(3))], Duration::ZERO);
    assert_eq!(coverage.spans(), [(t(0), t(15)), (t(20), t(30))]);
}

#[test]
fn an_instant_within_the_clock_error_of_an_edge_is_not_covered() {
    use Uncovered::{BeforeHistory, Gap, NotYet};
    let coverage = Coverage::new([(t(0), t(100)), (t(120), t(125)), (t(200), t(300))], Duration::from_nanos(10));
    for (at, want) in [
        (i64::MIN, Err(BeforeHistory)),
        (-1, Err(BeforeHistory)),
        (9, Err(BeforeHistory)),
        (10, Ok(())),
        (90, Ok(())),
        (91, Err(Gap)),
        (122, Err(Gap)), // a span shorter than the clock's error on both sides shows nothing
        (209, Err(Gap)),
        (210, Ok(())),
        (290, Ok(())),
        (291, Err(NotYet)),
        (i64::MAX, Err(NotYet)),
    ] {
        assert_eq!(coverage.check(t(at)), want, "{at}");
    }
    assert_eq!(Coverage::default().check(t(0)), Err(BeforeHistory));
}

#[test]
fn a_gap_is_not_covered_wherever_it_lies() {
    let coverage = Coverage::new([(t(0), t(100)), (t(120), t(200))], Duration::ZERO);
    for (gap, want) in [
        ((100, 120), &[(0, 100), (120, 200)][..]),
        ((90, 120), &[(0, 90), (120, 200)]), // silence was taken for coverage from 90 to 100
        ((40, 60), &[(0, 40), (60, 100), (120, 200)]),
        ((105, 110), &[(0, 100), (120, 200)]),
        ((-5, 300), &[]),
    ] {
        let left = coverage.without([(t(gap.0), t(gap.1))]);
        let want: Vec<_> = want.iter().map(|(from, until)| (t(*from), t(*until))).collect();
        assert_eq!(left.spans(), want, "{gap:?}");
    }
}

#[test]
fn what_both_cover_has_the_larger_clock_error() {
    let of = |error| Coverage::new([(t(0), t(100))], Duration::from_nanos(error));
    assert_eq!(of(3).intersect(&of(7)).clock_error(), Duration::from_nanos(7));
}

#[test]
fn bounds_say_whether_it_still_holds() {
    let mut interval = Interval::starting(t(5), t(9));
    assert_eq!(interval.start(), Bounds { earliest: t(5), latest: Some(t(9)) });
    assert_eq!(interval.end(), None);
    interval.tighten(Evidence::MayEnd);
    assert_eq!(interval.end(), Some(Bounds { earliest: t(5), latest: None }));
    interval.tighten(Evidence::HeldUntil(t(20)));
    interval.tighten(Evidence::EndedBy(t(30)));
    assert_eq!(interval.end(), Some(Bounds { earliest: t(20), latest: Some(t(30)) }));
}

#[test]
fn contradicting_evidence_of_one_interval_makes_nothing_certain() {
    // Held until 20, ended by 10; begun by 0, not before 5.
    let mut interval = Interval::starting(t(5), t(0));
    interval.tighten(Evidence::HeldUntil(t(20)));
    interval.tighten(Evidence::EndedBy(t(10)));
    for (at, certain, possible) in [
        (-1, false, false),
        (0, false, true),
        (4, false, true),
        (5, true, true),
        (10, true, true),
        (11, false, true),
        (20, false, true),
        (21, false, false),
    ] {
        assert_eq!((interval.certain_at(t(at)), interval.possible_at(t(at))), (certain, possible), "{at}");
    }
}
