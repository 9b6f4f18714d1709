//! Answers from memory against true histories.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use podtrail_ledger::{Answer, Coverage, Evidence, Index, Interval};
use proptest::prelude::*;

mod truth;

use truth::{ASKED, History, history, t};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 17));

fn index(history: &History) -> Index<usize> {
    Index::build(history.claims.iter().map(|(n, i)| ("default", IP, *i, *n)), history.coverage.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_wrong(history in history()) {
        let index = index(&history);
        history.check(|at| index.owner("default", IP, at))?;
    }

    #[test]
    fn exact_evidence_leaves_no_doubt(turns in prop::collection::vec((0..3i64, 1..5i64), 0..12)) {
        let (mut now, mut claims) = (0, vec![]);
        for (n, (idle, length)) in turns.into_iter().enumerate() {
            let (start, end) = (now + idle, now + idle + length);
            let mut interval = Interval::starting(t(start), t(start));
            interval.tighten(Evidence::HeldUntil(t(end - 1)));
            interval.tighten(Evidence::EndedBy(t(end)));
            claims.push((n, start, end, interval));
            now = end;
        }
        let coverage = Coverage::new([(t(-20), t(200))], Duration::ZERO);
        let index = Index::build(claims.iter().map(|(n, _, _, i)| ("default", IP, *i, *n)), coverage);
        for at in ASKED {
            let at_end = claims.iter().find(|(_, _, end, _)| *end == at);
            let want = match (claims.iter().find(|(_, start, end, _)| (*start..*end).contains(&at)), at_end) {
                (Some((n, ..)), _) => Answer::Certain(*n),
                // Ended by then: whether just before or just then is not said.
                (None, Some((n, ..))) => Answer::Ambiguous(vec![*n]),
                (None, None) => Answer::Nobody,
            };
            prop_assert_eq!(index.owner("default", IP, t(at)), want, "at {}", at);
        }
    }
}
