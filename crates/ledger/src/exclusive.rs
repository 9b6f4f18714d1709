use podtrail_event::Timestamp;

use crate::interval::{Evidence, Interval};

/// Applies exclusivity to the intervals of one address: at any instant at most one holds it, so what is known of one
/// bounds the others.
///
/// Of two, the first had ended when the second began. Which was first is known when the other cannot have been: it still
/// held, or had not begun, after the one had begun. Two that both cannot have been second contradict each other, and are
/// left as they are: where both are certain, an answer is ambiguous.
///
/// Yields them in order of [`start_latest`](Interval::start_latest), each with whether it is known that all before it had
/// ended by then.
pub(crate) fn exclude<H>(mut held: Vec<(Interval, H)>) -> impl Iterator<Item = (Interval, bool, H)> {
    held.sort_by_key(|(i, _)| (i.start_latest, i.start_earliest, i.end_earliest));
    let mut alone = vec![false; held.len()];
    let mut first = 0;
    for (next, outlast) in cuts(&held) {
        settle(&mut held[first..next]);
        if let Some((following, _)) = held.get(next) {
            let began = following.start_latest;
            held[first..next].iter_mut().for_each(|(i, _)| {
                i.tighten(Evidence::EndedBy(began));
            });
        }
        if let Some(previous) = outlast {
            held[first..next].iter_mut().for_each(|(i, _)| {
                i.tighten(Evidence::NotBefore(previous));
            });
        }
        if first < held.len() {
            alone[first] = true;
        }
        first = next;
    }
    held.into_iter().zip(alone).map(|((interval, holder), alone)| (interval, alone, holder))
}

/// No interval ended before this.
fn earliest_end(i: &Interval) -> Timestamp {
    i.end_earliest.max(i.start_earliest)
}

/// Where the sorted list falls apart into groups whose order is beyond doubt: for each group, where it ends and until when
/// some earlier one is known to have held.
fn cuts<H>(held: &[(Interval, H)]) -> Vec<(usize, Option<Timestamp>)> {
    // The least of `earliest_end` from each position on.
    let mut least = vec![Timestamp::MAX; held.len() + 1];
    for (n, (i, _)) in held.iter().enumerate().rev() {
        least[n] = least[n + 1].min(earliest_end(i));
    }
    let mut cuts = Vec::new();
    let (mut most, mut before) = (Timestamp::MIN, None);
    for n in 1..=held.len() {
        let last = &held[n - 1].0;
        most = most.max(earliest_end(last));
        let clean = held.get(n).is_none_or(|(next, _)| most <= next.start_latest && least[n] > last.start_latest);
        if clean {
            cuts.push((n, before));
            before = Some(most);
        }
    }
    cuts
}

/// Compares each with each: for the few whose order is in doubt.
fn settle<H>(group: &mut [(Interval, H)]) {
    let known: Vec<Interval> = group.iter().map(|(i, _)| *i).collect();
    for (n, (interval, _)) in group.iter_mut().enumerate() {
        for (m, other) in known.iter().enumerate() {
            let (this_first, other_first) = (precedes(&known[n], other), precedes(other, &known[n]));
            match (this_first, other_first) {
                (true, false) if n != m => interval.tighten(Evidence::EndedBy(other.start_latest)),
                (false, true) if n != m => interval.tighten(Evidence::NotBefore(earliest_end(other))),
                _ => false,
            };
        }
    }
}

/// Whether `b` cannot have been before `a`: it had not ended when `a` had begun.
fn precedes(a: &Interval, b: &Interval) -> bool {
    earliest_end(b) > a.start_latest
}
