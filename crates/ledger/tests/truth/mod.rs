//! True histories of one address, and what may have been learnt of them.

use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_ledger::{Answer, Coverage, Evidence, Interval};
use proptest::prelude::*;

/// Instants that are asked about; nothing happens near their ends.
pub(crate) const ASKED: std::ops::Range<i64> = -12..90;

pub(crate) fn t(n: i64) -> Timestamp {
    Timestamp::from_nanosecond(n)
}

/// Holders taking an address in turn, and what was learnt of them: true, but neither complete nor exact.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Who held the address, from when, until before when; seen or not.
    turns: Vec<(i64, i64)>,
    /// Of the holders that were seen, by their place in `turns`.
    pub(crate) claims: Vec<(usize, Interval)>,
    /// Holders that were not seen, and ends of which there is no sign at all, are outside it.
    pub(crate) coverage: Coverage,
}

#[derive(Clone, Debug)]
struct Turn {
    idle: i64,
    length: i64,
    /// Whether anything is known of it.
    seen: bool,
    /// How far off its bounds are; `None`: not known at all.
    earlier: Option<i64>,
    later: Option<i64>,
    /// When it was seen to hold, as a share of its length.
    held: Vec<prop::sample::Index>,
    may_end: bool,
    ended: Option<i64>,
}

fn turn() -> impl Strategy<Value = Turn> {
    let off = || prop_oneof![3 => Just(Some(0)), 6 => (0..8i64).prop_map(Some), 1 => Just(None)];
    let held = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let ended = prop_oneof![2 => Just(None), 1 => Just(Some(0)), 3 => (0..9i64).prop_map(Some)];
    (0..4i64, 1..7i64, prop::bool::weighted(0.85), off(), off(), held, prop::bool::weighted(0.4), ended).prop_map(
        |(idle, length, seen, earlier, later, held, may_end, ended)| Turn {
            idle,
            length,
            seen,
            earlier,
            later,
            held,
            may_end,
            ended,
        },
    )
}

impl Turn {
    /// What is known of it, one thing at a time.
    fn evidence(&self, (start, end): (i64, i64)) -> Vec<Evidence> {
        let mut evidence = vec![];
        evidence.extend(self.earlier.map(|off| Evidence::NotBefore(t(start - off))));
        evidence.extend(self.later.map(|off| Evidence::HeldBy(t(start + off))));
        let length = usize::try_from(end.min(80) - start).unwrap();
        evidence.extend(self.held.iter().map(|at| Evidence::HeldUntil(t(start + at.index(length) as i64))));
        evidence.extend(self.may_end.then_some(Evidence::MayEnd));
        evidence.extend(self.ended.filter(|_| end < 80).map(|off| Evidence::EndedBy(t(end + off))));
        evidence
    }
}

pub(crate) fn history() -> impl Strategy<Value = History> {
    let spans = prop_oneof![
        Just(vec![(-20, 200)]),
        prop::collection::vec((-10..60i64, 0..40i64), 0..4)
            .prop_map(|spans| spans.into_iter().map(|(from, length)| (from, from + length)).collect::<Vec<_>>()),
    ];
    (prop::collection::vec(turn(), 0..8), any::<bool>(), spans, any::<u64>()).prop_map(
        |(turns, lasts, spans, shuffle)| {
            let mut now = 0;
            let mut times: Vec<(i64, i64)> = Vec::new();
            for turn in &turns {
                times.push((now + turn.idle, now + turn.idle + turn.length));
                now += turn.idle + turn.length;
            }
            if let Some((_, end)) = times.last_mut().filter(|_| lasts) {
                *end = 1000;
            }
            let mut claims = Vec::new();
            let mut covered: Vec<i64> = ASKED.filter(|at| spans.iter().any(|(a, b)| a <= at && at <= b)).collect();
            for (n, (turn, &(start, end))) in turns.iter().zip(&times).enumerate() {
                if !turn.seen {
                    covered.retain(|at| !(start..end).contains(at));
                    continue;
                }
                let mut interval = Interval::starting(Timestamp::MIN, Timestamp::MAX);
                let mut evidence = turn.evidence((start, end));
                let by = shuffle as usize % evidence.len().max(1);
                evidence.rotate_left(by);
                for evidence in evidence {
                    interval.tighten(evidence);
                }
                if !interval.may_end && interval.end_latest.is_none() {
                    // While all is watched, an end shows.
                    covered.retain(|at| *at < end);
                }
                claims.push((n, interval));
            }
            let by = shuffle as usize % claims.len().max(1);
            claims.rotate_left(by);
            let spans = covered.chunk_by(|a, b| a + 1 == *b).map(|run| (t(run[0]), t(run[run.len() - 1])));
            let coverage = Coverage::new(spans, Duration::ZERO);
            History { turns: times, claims, coverage }
        },
    )
}

impl History {
    /// Who held the address at `at`.
    fn truth(&self, at: i64) -> Option<usize> {
        self.turns.iter().position(|(start, end)| (*start..*end).contains(&at))
    }

    /// Checks that what `owner` says is true, at every instant.
    pub(crate) fn check(&self, owner: impl Fn(Timestamp) -> Answer<usize>) -> Result<(), TestCaseError> {
        for at in ASKED {
            let (truth, answer) = (self.truth(at), owner(t(at)));
            let covered = self.coverage.check(t(at));
            let seen = |who| self.claims.iter().any(|(n, _)| *n == who);
            let right = match &answer {
                Answer::Certain(who) | Answer::Presumed(who) => truth == Some(*who),
                Answer::Ambiguous(some) => !some.is_empty() && truth.is_none_or(|who| some.contains(&who)),
                Answer::Nobody => truth.is_none(),
                Answer::Unknown(why, some) => {
                    covered == Err(*why) && truth.is_none_or(|who| some.contains(&who) || !seen(who))
                }
            };
            prop_assert!(right, "{:?} at {}, where it was {:?}", answer, at, truth);
            let named = answer.named();
            prop_assert!((1..named.len()).all(|n| !named[..n].contains(&named[n])), "{:?} names one twice", answer);
            prop_assert!(covered.is_ok() || !matches!(answer, Answer::Presumed(_) | Answer::Nobody));
        }
        Ok(())
    }
}
