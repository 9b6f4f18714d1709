//! What an outbox decides, without clock, I/O or chance of its own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::{Item, OutboxConfig, Rejection, Row};

/// A backend may ask for a longer wait than `max_backoff`, but not for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How many of `rows` the next batch takes: as many as fit, and at least one if there is one.
pub(super) fn cut(rows: &VecDeque<Row>, config: &OutboxConfig) -> usize {
    let mut bytes = 0usize;
    let fits = |row: &&Row| {
        bytes = row.items.iter().fold(bytes, |sum, item| sum.saturating_add(item.line.len() + 1));
        bytes <= config.max_bytes
    };
    let fitting = rows.iter().take(config.max_rows).take_while(fits).count();
    fitting.max(1).min(rows.len())
}

/// A frozen batch and, for each item, the row that it is from.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) items: Vec<Item>,
    seqs: Vec<u64>,
}

impl Flight {
    pub(super) fn new(first: u64, last: u64, rows: Vec<Row>) -> Self {
        let (seqs, items) =
            rows.into_iter().flat_map(|row| row.items.into_iter().map(move |item| (row.seq, item))).unzip();
        Self { first, last, items, seqs }
    }

    /// Takes out the rejected items, each with its row and its rejection.
    pub(super) fn set_aside(&mut self, rejections: &[Rejection]) -> Vec<(u64, Item, Rejection)> {
        let rejected: HashMap<_, _> = rejections.iter().map(|rejection| (rejection.id, rejection)).collect();
        let (mut aside, mut rest) = (Vec::new(), Vec::with_capacity(self.items.len()));
        for (seq, item) in self.seqs.drain(..).zip(self.items.drain(..)) {
            match rejected.get(&item.id) {
                Some(rejection) => aside.push((seq, item, (*rejection).clone())),
                None => rest.push((seq, item)),
            }
        }
        (self.seqs, self.items) = rest.into_iter().unzip();
        aside
    }
}

/// Exponential waits with jitter: each between half and the whole of twice the one before, up to a limit.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    tries: u32,
    exponent: u32,
}

impl Backoff {
    pub(super) fn new(config: &OutboxConfig) -> Self {
        Self { min: config.min_backoff, max: config.max_backoff, tries: 0, exponent: 0 }
    }

    /// The wait before the next try: what the backend asked for, or the next step with `chance` from 0 to 1.
    pub(super) fn next(&mut self, after: Option<Duration>, chance: f64) -> Duration {
        self.tries = self.tries.saturating_add(1);
        let step = self.min.saturating_mul(1 << self.exponent.min(30)).min(self.max);
        self.exponent += u32::from(step < self.max);
        after.map_or_else(|| step.mul_f64(0.5 + chance / 2.0), |after| after.min(LONGEST_WAIT))
    }

    /// How many waits there were.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Starts with small waits again.
    pub(super) fn shorten(&mut self) {
        self.exponent = 0;
    }
}

#[cfg(test)]
mod tests {
    use podtrail_event::EventId;

    use super::*;

    fn row(seq: u64, lines: &[&'static str]) -> Row {
        let item = |line: &&'static str| Item { id: EventId::derive(&[line.as_bytes()]), line: (*line).into() };
        Row { seq, items: lines.iter().map(item).collect() }
    }

    #[test]
    fn a_batch_takes_what_fits_and_at_least_one_row() {
        let rows: VecDeque<_> = [row(1, &["aaaa"]), row(2, &[]), row(3, &["bb", "cc"]), row(4, &["d"])].into();
        let cases = [(10, 100, 4), (2, 100, 2), (10, 10, 2), (10, 11, 3), (10, 1, 1), (0, 0, 1)];
        for (max_rows, max_bytes, taken) in cases {
            let config = OutboxConfig { max_rows, max_bytes, ..OutboxConfig::default() };
            assert_eq!(cut(&rows, &config), taken, "{max_rows} rows, {max_bytes} bytes");
        }
        assert_eq!(cut(&VecDeque::new(), &OutboxConfig::default()), 0);
    }

    #[test]
    fn rejected_items_leave_with_their_row_and_the_rest_keeps_its_order() {
        let mut flight = Flight::new(1, 9, vec![row(2, &["a", "b"]), row(5, &["c"]), row(7, &["d"])]);
        let reject = |line: &str| Rejection { id: EventId::derive(&[line.as_bytes()]), reason: line.to_owned() };
        let aside = flight.set_aside(&[reject("c"), reject("a"), reject("not here")]);
        let aside: Vec<_> = aside.iter().map(|(seq, item, why)| (*seq, &item.line[..], why.reason.as_str())).collect();
        assert_eq!(aside, [(2, &b"a"[..], "a"), (5, b"c", "c")]);
        assert_eq!(flight.items.iter().map(|item| &item.line[..]).collect::<Vec<_>>(), [b"b", b"d"]);
        assert_eq!(flight.set_aside(&[reject("d")])[0].0, 7);
        assert!(flight.set_aside(&[reject("a")]).is_empty());
    }

    #[test]
    fn waits_double_up_to_the_limit_with_jitter_below_and_honour_the_backend() {
        let config = OutboxConfig { max_backoff: Duration::from_secs(1), ..OutboxConfig::default() };
        let mut backoff = Backoff::new(&config);
        let most: Vec<_> = (0..6).map(|_| backoff.next(None, 1.0).as_millis()).collect();
        assert_eq!(most, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.next(None, 0.0).as_millis(), 500);
        assert_eq!(backoff.next(Some(Duration::from_secs(90)), 0.3).as_secs(), 90);
        assert_eq!(backoff.next(Some(Duration::MAX), 0.3), LONGEST_WAIT);
        assert_eq!(backoff.tries(), 9);
        backoff.shorten();
        assert_eq!(backoff.next(None, 1.0).as_millis(), 100);
    }
}
