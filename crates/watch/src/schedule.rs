use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use podtrail_event::Timestamp;

/// A caller that is late by so much does not lower the rate; one that is later does.
const CATCH_UP: Duration = Duration::from_millis(250);

/// When to confirm what: each key once a period, spread evenly, and never more than so many a second.
///
/// With more keys than the rate allows within the period, the period is stretched for all of them. It reads no clock:
/// times come with the calls, and where they step backwards the schedule goes on as if they had stood still.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    every: Duration,
    spacing: Duration,
    keys: HashMap<K, (Timestamp, u64)>,
    queue: BTreeMap<(Timestamp, u64), K>,
    /// Not before this, because of the rate.
    free: Timestamp,
    serial: u64,
    /// The latest time given, and how much the times given lag behind what they would be without steps back.
    latest: Timestamp,
    lag: Duration,
}

impl<K: Clone + Eq + Hash> Default for Schedule<K> {
    /// Each key every 5 minutes, at most 20 a second.
    fn default() -> Self {
        Self::new(Duration::from_secs(300), 20.0)
    }
}

impl<K: Clone + Eq + Hash> Schedule<K> {
    /// A schedule that confirms each key every `every`, at most `rate` keys a second (kept within 0.001 and 1,000,000).
    pub fn new(every: Duration, rate: f64) -> Self {
        let rate = if rate.is_finite() { rate.clamp(0.001, 1e6) } else { 1e6 };
        Self {
            every,
            spacing: Duration::from_secs_f64(1.0 / rate),
            keys: HashMap::new(),
            queue: BTreeMap::new(),
            free: Timestamp::MIN,
            serial: 0,
            latest: Timestamp::MIN,
            lag: Duration::ZERO,
        }
    }

    /// Adds a key, to be confirmed for the first time within a period from now. One that is there stays as it is.
    pub fn insert(&mut self, key: K, now: Timestamp) {
        if self.keys.contains_key(&key) {
            return;
        }
        let now = self.steady(now);
        // Multiples of the golden ratio spread what is added at once over the whole period.
        let share = (self.serial as f64 * 0.618_033_988_749_894_9).fract();
        let due = now.saturating_add(self.period(self.keys.len() + 1).mul_f64(1.0 - share));
        self.put(key, due);
    }

    /// Takes a key away; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let place = self.keys.remove(key);
        place.is_some_and(|place| self.queue.remove(&place).is_some())
    }

    /// Has a key that is there confirmed `after` so long already, if that is sooner than its turn.
    pub fn hasten(&mut self, key: &K, now: Timestamp, after: Duration) {
        let due = self.steady(now).saturating_add(after);
        if self.keys.get(key).is_some_and(|(turn, _)| due < *turn) {
            self.remove(key);
            self.put(key.clone(), due);
        }
    }

    /// The key to confirm now, if one is due and the rate allows; it is due again a period from now.
    pub fn due(&mut self, now: Timestamp) -> Option<K> {
        let now = self.steady(now);
        let (&(due, _), _) = self.queue.first_key_value()?;
        if now < due.max(self.free) {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.keys.remove(&key);
        // From when it was free, not from now, so that a late caller does not lower the rate; but never a burst.
        self.free = self.free.max(now.saturating_sub(CATCH_UP)).saturating_add(self.spacing);
        let again = now.saturating_add(self.period(self.keys.len() + 1));
        self.put(key.clone(), again);
        Some(key)
    }

    /// When [`due`](Self::due) will give a key.
    pub fn next_at(&self) -> Option<Timestamp> {
        let (&(due, _), _) = self.queue.first_key_value()?;
        Some(due.max(self.free).saturating_sub(self.lag))
    }

    /// How often each of `len` keys can be confirmed: the period asked for, or longer if the rate does not allow it.
    pub fn period(&self, len: usize) -> Duration {
        self.every.max(self.spacing.mul_f64(len as f64))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn put(&mut self, key: K, due: Timestamp) {
        let place = (due, self.serial);
        self.serial += 1;
        self.keys.insert(key.clone(), place);
        self.queue.insert(place, key);
    }

    /// The time given, made to never go backwards.
    fn steady(&mut self, now: Timestamp) -> Timestamp {
        let shifted = now.saturating_add(self.lag);
        self.lag += self.latest.saturating_duration_since(shifted);
        self.latest = self.latest.max(shifted);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_second(1_000_000).saturating_add(Duration::from_secs_f64(seconds))
    }

    /// What is confirmed, and when, for so long.
    fn run(schedule: &mut Schedule<u32>, from: Timestamp, length: Duration) -> Vec<(Timestamp, u32)> {
        let (mut now, end, mut done) = (from, from.saturating_add(length), Vec::new());
        while now < end {
            if let Some(key) = schedule.due(now) {
                done.push((now, key));
            }
            let Some(next) = schedule.next_at() else { break };
            now = now.max(next);
        }
        done
    }

    #[test]
    fn each_key_is_confirmed_once_a_period() {
        let mut schedule = Schedule::new(5 * MINUTE, 20.0);
        (0..1000).for_each(|key| schedule.insert(key, at(0.0)));
        let done = run(&mut schedule, at(0.0), 10 * MINUTE);
        let mut counts = HashMap::new();
        done.iter().for_each(|(_, key)| *counts.entry(*key).or_insert(0) += 1);
        assert_eq!(counts.len(), 1000);
        assert!(counts.values().all(|n| (1..=3).contains(n)), "{counts:?}");
    }

    #[test]
    fn keys_added_at_once_are_spread_over_the_period() {
        let mut schedule = Schedule::new(5 * MINUTE, 100.0);
        (0..3000).for_each(|key| schedule.insert(key, at(0.0)));
        let done = run(&mut schedule, at(0.0), 5 * MINUTE);
        for minute in 0..5 {
            let span = at(60.0 * f64::from(minute))..at(60.0 * f64::from(minute + 1));
            let n = done.iter().filter(|(when, _)| span.contains(when)).count();
            assert!((500..700).contains(&n), "{n} in minute {minute}");
        }
    }

    #[test]
    fn the_rate_is_never_exceeded_and_stretches_the_period() {
        let mut schedule = Schedule::new(MINUTE, 20.0);
        (0..6000).for_each(|key| schedule.insert(key, at(0.0)));
        assert_eq!(schedule.period(schedule.len()), 5 * MINUTE);
        assert_eq!(schedule.period(10), MINUTE);
        let done = run(&mut schedule, at(0.0), 10 * MINUTE);
        // 20 a second, and the few of a quarter of a second that are caught up.
        for many in done.windows(27) {
            assert!(many[26].0.saturating_duration_since(many[0].0) >= Duration::from_secs(1), "{many:?}");
        }
        let distinct: std::collections::HashSet<_> = done.iter().map(|(_, key)| key).collect();
        assert_eq!(distinct.len(), 6000);
    }

    #[test]
    fn a_caller_that_is_a_little_late_does_not_lower_the_rate() {
        let mut schedule = Schedule::new(MINUTE, 20.0);
        (0..6000).for_each(|key| schedule.insert(key, at(0.0)));
        // Each 70 ms, all that it gives.
        let turns = (1..=1000).map(|turn| at(f64::from(turn) * 0.07));
        let given: usize = turns.map(|now| std::iter::from_fn(|| schedule.due(now)).count()).sum();
        assert!((1350..=1410).contains(&given), "{given} in 70 s");
    }

    #[test]
    fn a_key_that_is_hastened_comes_sooner_and_once_and_then_in_its_turn() {
        let mut schedule = Schedule::new(5 * MINUTE, 20.0);
        (0..10).for_each(|key| schedule.insert(key, at(0.0)));
        while schedule.due(at(301.0)).is_some() {}
        let given = run(&mut schedule, at(301.0), MINUTE);
        let left = (0..10).find(|key| !given.iter().any(|(_, done)| done == key)).unwrap();
        for _ in 0..2 {
            schedule.hasten(&left, at(361.0), Duration::from_secs(2));
        }
        schedule.hasten(&99, at(361.0), Duration::from_secs(2));
        assert_eq!((schedule.len(), schedule.due(at(362.9))), (10, None));
        assert_eq!(schedule.due(at(363.0)), Some(left));
        assert_eq!((schedule.len(), schedule.due(at(364.0))), (10, None));
    }

    #[test]
    fn keys_removed_are_not_confirmed_and_keys_known_keep_their_place() {
        let mut schedule = Schedule::new(MINUTE, 20.0);
        assert_eq!((schedule.next_at(), schedule.due(at(0.0))), (None, None));
        schedule.insert(1, at(0.0));
        let first = schedule.next_at();
        schedule.insert(1, at(30.0));
        assert_eq!((schedule.next_at(), schedule.len()), (first, 1));
        assert!(schedule.remove(&1) && !schedule.remove(&1) && schedule.is_empty());
        assert_eq!(schedule.due(at(1e6)), None);
    }

    #[test]
    fn a_clock_that_steps_back_neither_stops_nor_bursts_it() {
        let mut schedule = Schedule::new(MINUTE, 20.0);
        (0..10).for_each(|key| schedule.insert(key, at(7200.0)));
        assert_eq!(schedule.due(at(3600.0)), None);
        assert!(schedule.next_at().unwrap() <= at(3660.0));
        assert_eq!(run(&mut schedule, at(3600.0), MINUTE + Duration::from_secs(1)).len(), 10);
    }

    proptest! {
        #[test]
        fn next_at_is_when_due_gives_a_key(ops in proptest::collection::vec((0_u8..4, 0_u32..20, 0_u32..90), 1..200)) {
            let mut schedule = Schedule::new(MINUTE, 2.0);
            let (mut now, mut keys) = (at(0.0), std::collections::HashSet::new());
            for (op, key, seconds) in ops {
                now = now.saturating_add(Duration::from_secs(seconds.into()));
                match op {
                    0 | 1 => {
                        schedule.insert(key, now);
                        keys.insert(key);
                    }
                    2 => prop_assert_eq!(schedule.remove(&key), keys.remove(&key)),
                    _ => {
                        let ready = schedule.next_at().is_some_and(|next| next <= now);
                        let given = schedule.due(now);
                        prop_assert_eq!(given.is_some(), ready);
                        prop_assert!(given.is_none_or(|key| keys.contains(&key)));
                    }
                }
                prop_assert_eq!(schedule.len(), keys.len());
                prop_assert_eq!(schedule.queue.len(), keys.len());
            }
        }
    }
}
