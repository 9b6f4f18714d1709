use std::time::Duration;

use super::*;
use crate::interval::Evidence;
use crate::interval::tests::t;

fn held(start: i64, until: Option<i64>, end: Option<i64>) -> Interval {
    let mut interval = Interval::starting(t(start), t(start));
    until.map(|at| interval.tighten(Evidence::HeldUntil(t(at))));
    end.map(|at| interval.tighten(Evidence::EndedBy(t(at))));
    interval
}

fn check(claims: &[(char, Interval)], cases: &[(i64, Answer<char>)]) {
    let coverage = Coverage::new([(t(0), t(100))], Duration::ZERO);
    for (at, want) in cases {
        assert_eq!(decide(claims.iter().copied(), &coverage, t(*at)), *want, "at {at}");
    }
}

#[test]
fn one_holder_is_certain_then_presumed_until_something_speaks_against_it() {
    use Answer::{Ambiguous, Certain, Nobody, Presumed, Unknown};
    let open = held(10, Some(50), None);
    let late = (101, Unknown(Uncovered::NotYet, vec!['a']));
    check(&[('a', open)], &[(9, Nobody), (10, Certain('a')), (50, Certain('a')), (51, Presumed('a')), late.clone()]);
    let mut terminating = open;
    terminating.tighten(Evidence::MayEnd);
    check(&[('a', terminating)], &[(50, Certain('a')), (51, Ambiguous(vec!['a'])), late]);
    let over = held(10, Some(50), Some(60));
    check(
        &[('a', over)],
        &[
            (55, Ambiguous(vec!['a'])),
            (60, Ambiguous(vec!['a'])),
            (61, Nobody),
            (101, Unknown(Uncovered::NotYet, vec![])),
        ],
    );
    let mut doubtful = Interval::starting(t(-5), t(20));
    doubtful.tighten(Evidence::HeldUntil(t(30)));
    check(
        &[('a', doubtful)],
        &[(-1, Unknown(Uncovered::BeforeHistory, vec!['a'])), (10, Ambiguous(vec!['a'])), (20, Certain('a'))],
    );
}

#[test]
fn evidence_from_both_sides_is_certain_through_a_gap() {
    let coverage = Coverage::new([(t(0), t(20)), (t(40), t(60))], Duration::ZERO);
    let owner = |at| decide([('a', held(10, Some(50), None))], &coverage, t(at));
    assert_eq!(owner(30), Answer::Certain('a'));
    assert_eq!(owner(70), Answer::Unknown(Uncovered::NotYet, vec!['a']));
    let unseen = decide([('a', held(10, Some(20), None))], &coverage, t(30));
    assert_eq!(unseen, Answer::Unknown(Uncovered::Gap, vec!['a']));
}

#[test]
fn two_live_claims_are_ambiguous_where_they_overlap_and_certain_elsewhere() {
    use Answer::{Ambiguous, Certain, Nobody};
    // Both are seen again and again, as a node that came back and a pod that took its place may be.
    check(
        &[('a', held(10, Some(50), Some(51))), ('b', held(30, Some(70), Some(71)))],
        &[
            (10, Certain('a')),
            (29, Certain('a')),
            (30, Ambiguous(vec!['a', 'b'])),
            (50, Ambiguous(vec!['a', 'b'])),
            (51, Certain('b')),
            (70, Certain('b')),
            (71, Ambiguous(vec!['b'])),
            (72, Nobody),
        ],
    );
    // One that is not known to have ended casts doubt on a certain one after it.
    check(
        &[('a', held(10, Some(50), None)), ('b', held(30, Some(70), None))],
        &[
            (29, Certain('a')),
            (40, Ambiguous(vec!['a', 'b'])),
            (60, Ambiguous(vec!['a', 'b'])),
            (80, Ambiguous(vec!['a', 'b'])),
        ],
    );
}

#[test]
fn one_that_may_not_have_begun_or_is_over_casts_no_doubt_on_a_certain_one() {
    let mut later = Interval::starting(t(20), t(60));
    later.tighten(Evidence::HeldUntil(t(70)));
    check(
        &[('a', held(10, Some(50), None)), ('b', later)],
        &[(40, Answer::Certain('a')), (55, Answer::Ambiguous(vec!['b', 'a']))],
    );
    check(&[('a', held(0, Some(5), Some(30))), ('b', held(30, Some(50), None))], &[(30, Answer::Certain('b'))]);
}

#[test]
fn one_whose_own_evidence_contradicts_itself_casts_doubt() {
    // Ended by 20, held until 40.
    let torn = held(10, Some(40), Some(20));
    check(
        &[('a', torn), ('b', held(15, Some(50), None))],
        &[(12, Answer::Certain('a')), (30, Answer::Ambiguous(vec!['a', 'b'])), (41, Answer::Certain('b'))],
    );
}

#[test]
fn names_and_maps_keep_the_kind_of_answer() {
    for (answer, word, named) in [
        (Answer::Certain(1), "certain", vec![1]),
        (Answer::Presumed(1), "presumed", vec![1]),
        (Answer::Ambiguous(vec![1, 2]), "ambiguous", vec![1, 2]),
        (Answer::Nobody, "nobody", vec![]),
        (Answer::Unknown(Uncovered::Gap, vec![3]), "unknown", vec![3]),
    ] {
        assert_eq!((answer.as_str(), answer.named()), (word, &named[..]));
        let doubled = answer.clone().map(|n| n * 2);
        assert_eq!(doubled.as_str(), word);
        assert_eq!(doubled.named(), named.iter().map(|n| n * 2).collect::<Vec<_>>());
    }
}
