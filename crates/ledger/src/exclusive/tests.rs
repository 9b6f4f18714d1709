use proptest::prelude::*;

use super::*;
use crate::interval::tests::{config, interval, t};

/// The rule of exclusivity as it is written, for each two: what is fast must say the same.
pub(crate) fn pairwise(held: &[Interval]) -> Vec<Interval> {
    let ended = |i: &Interval| i.end_earliest.max(i.start_earliest);
    // That `b` was first would contradict what is known.
    let first = |a: &Interval, b: &Interval| ended(b) > a.start_latest;
    let mut settled = held.to_vec();
    for (n, a) in held.iter().enumerate() {
        for (m, b) in held.iter().enumerate() {
            if n != m && first(a, b) && !first(b, a) {
                settled[n].tighten(Evidence::EndedBy(b.start_latest));
                settled[m].tighten(Evidence::NotBefore(ended(a)));
            }
        }
    }
    settled
}

fn fast(held: &[Interval]) -> Vec<(Interval, bool, usize)> {
    exclude(held.iter().enumerate().map(|(n, i)| (*i, n)).collect()).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn is_the_rule_for_each_two(held in proptest::collection::vec(interval(), 0..8)) {
        let want = pairwise(&held);
        let got = fast(&held);
        prop_assert_eq!(got.len(), held.len());
        prop_assert!(got.is_sorted_by_key(|(i, ..)| i.start_latest));
        for (interval, _, n) in &got {
            prop_assert_eq!(*interval, want[*n], "{} of {:?}", n, held);
        }
    }

    #[test]
    fn before_one_that_is_alone_all_had_ended(held in proptest::collection::vec(interval(), 0..8)) {
        let got = fast(&held);
        for (n, (interval, alone, _)) in got.iter().enumerate() {
            let over =
 |i: &Interval| i.end_latest.unwrap_or(Timestamp::MAX).max(i.end_earliest) <= interval.start_latest;
            prop_assert!(!alone || got[..n].iter().all(|(i, ..)| over(i)), "{:?}", got);
        }
    }

    #[test]
    fn takes_away_no_certainty(held in proptest::collection::vec(interval(), 0..8), at in -1..14i64) {
        for (interval, _, n) in fast(&held) {
            prop_assert!(interval.certain_at(t(at)) >= held[n].certain_at(t(at)), "{} of {:?}", n, held);
        }
    }
}

fn starting(earliest: i64, latest: i64, until: Option<i64>) -> Interval {
    let mut interval = Interval::starting(t(earliest), t(latest));
    until.map(|at| interval.tighten(Evidence::HeldUntil(t(at))));
    interval
}

#[test]
fn the_next_holder_ends_the_one_before() {
    let got = fast(&[starting(40, 45, None), starting(10, 12, Some(30)), starting(20, 33, Some(34))]);
    let ends: Vec<_> = got.iter().map(|(i, alone, n)| (*n, *alone, i.start_earliest, i.end_latest)).collect();
    // The third began after 30, when the first still held.
    assert_eq!(ends, [(1, true, t(10), Some(t(33))), (2, true, t(30), Some(t(45))), (0, true, t(40), None)]);
}

#[test]
fn those_whose_order_is_in_doubt_do_not_bound_each_other() {
    let doubtful = [starting(0, 50, None), starting(0, 60, None)];
    assert!(fast(&doubtful).iter().all(|(i, ..)| i.end_latest.is_none() && i.start_earliest == t(0)));
    let contradictory = [starting(10, 10, Some(50)), starting(20, 20, Some(70))];
    let got = fast(&contradictory);
    assert!(got.iter().all(|(i, _, n)| *i == contradictory[*n]), "{got:?}");
    assert!(!got[1].1, "the first has not ended");
}

#[test]
fn none_and_one_are_left_as_they_are() {
    assert_eq!(fast(&[]), []);
    assert_eq!(fast(&[starting(1, 2, None)]), [(starting(1, 2, None), true, 0)]);
}

#[test]
fn one_that_contradicts_all_others_does_not_make_it_slow() {
    // Compared each with each, this takes a minute.
    let mut held = vec![starting(0, 0, Some(1_000_000))];
    held.extend((1..20_000).map(|n| starting(n * 10, n * 10, Some(n * 10 + 5))));
    let started = std::time::Instant::now();
    let got = fast(&held);
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(got[1].0.end_latest, Some(t(20)));
}
