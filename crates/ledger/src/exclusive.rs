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
    // None ended before this; kept apart, as it was before any was bounded by another.
    let ends: Vec<Timestamp> = held.iter().map(|(i, _)| i.end_earliest.max(i.start_earliest)).collect();
    let mut by_end: Vec<usize> = (0..held.len()).collect();
    by_end.sort_by_key(|n| ends[*n]);
    let mut alone = Vec::with_capacity(held.len());
    let mut over = Timestamp::MIN;
    for n in 0..held.len() {
        let (begun, end) = (held[n].0.start_latest, ends[n]);
        // The earliest of those that it may precede, and that cannot have preceded it.
        let following = held.partition_point(|(i, _)| i.start_latest < end);
        let next = (following..held.len()).find(|m| ends[*m] > begun).map(|m| held[m].0.start_latest);
        // The latest of those that may have preceded it, and that it cannot have preceded.
        let preceding = by_end.partition_point(|m| ends[*m] <= begun);
        let last = by_end[..preceding].iter().rev().find(|m| held[**m].0.start_latest < end).map(|m| ends[*m]);
        let interval = &mut held[n].0;
        for evidence in [next.map(Evidence::EndedBy), last.map(Evidence::NotBefore)].into_iter().flatten() {
            interval.tighten(evidence);
        }
        alone.push(over <= begun);
        over = over.max(interval.end_latest.unwrap_or(Timestamp::MAX)).max(interval.end_earliest);
    }
    held.into_iter().zip(alone).map(|((interval, holder), alone)| (interval, alone, holder))
}

#[cfg(test)]
pub(crate) mod tests;
