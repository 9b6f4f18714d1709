use std::time::{Duration, Instant};

use crate::Queue;

/// When a [`Watchdog`] leaves reliable mode, and when it comes back. A share is in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchdogConfig {
    /// The reader has not been heard of for so long.
    pub silence: Duration,
    /// Events have been waiting for so long in a queue that is more than half full, which was never seen to get emptier than that.
    /// The ends of a whole table at once keep it so for seconds while they are read; the harm that they could do is to fill the
    /// table, and that is watched too.
    pub stall: Duration,
    /// The connection table is so full that the machine may soon make no new connections.
    pub full: u8,
    /// It comes back only when the table is less full than this.
    pub calm: u8,
    /// It comes back only when all was well for so long.
    pub quiet: Duration,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            silence: Duration::from_millis(1500),
            stall: Duration::from_secs(10),
            full: 75,
            calm: 50,
            quiet: Duration::from_secs(5),
        }
    }
}

/// What is known of a reader and of the table that it reads, at one time.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "built literally by whoever watches")]
pub struct Vitals {
    /// When the reader was last heard of.
    pub heard: Instant,
    /// What waits in its socket.
    pub queue: Queue,
    /// How many connections there are, and may be; if that can be read.
    pub table: Option<(u64, u64)>,
}

/// What a [`Watchdog`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Leave things as they are.
    Stay,
    /// Leave reliable mode now, because of this.
    Leave(Trouble),
    /// Reliable mode is safe again.
    Enter,
}

/// Why reliable mode is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The reader gives no sign of life.
    Silent,
    /// The reader lives, and does not read as fast as events come.
    Stalled,
    /// The connection table is nearly full.
    Full,
}

/// Decides when a socket must leave reliable mode, so that a reader in trouble does not become the machine's: pure, it is told
/// what is the case and what time it is. It must be asked several times a second, by a process that is not the reader.
#[derive(Debug)]
pub struct Watchdog {
    config: WatchdogConfig,
    is_reliable: bool,
    /// Since when the queue has been more than half full.
    crowded: Option<Instant>,
    /// Since when all has been well.
    well: Option<Instant>,
}

impl Watchdog {
    /// Of a socket in reliable mode, or not.
    pub const fn new(config: WatchdogConfig, is_reliable: bool) -> Self {
        Self { config, is_reliable, crowded: None, well: None }
    }

    /// Decides; what it decides is assumed to be done.
    pub fn check(&mut self, now: Instant, vitals: &Vitals) -> Verdict {
        let trouble = self.trouble(now, vitals);
        match trouble {
            Some(trouble) => {
                self.well = None;
                if std::mem::take(&mut self.is_reliable) { Verdict::Leave(trouble) } else { Verdict::Stay }
            }
            None => {
                let well = *self.well.get_or_insert(now);
                let is_calm = self.crowded.is_none() && !is_over(vitals.table, self.config.calm);
                if self.is_reliable || !is_calm || now.saturating_duration_since(well) < self.config.quiet {
                    return Verdict::Stay;
                }
                self.is_reliable = true;
                Verdict::Enter
            }
        }
    }

    fn trouble(&mut self, now: Instant, vitals: &Vitals) -> Option<Trouble> {
        let Queue { bytes, capacity, .. } = vitals.queue;
        if bytes <= capacity / 2 {
            self.crowded = None;
        }
        let is_crowded = bytes > capacity / 2;
        let crowded = is_crowded.then(|| *self.crowded.get_or_insert(now));
        if now.saturating_duration_since(vitals.heard) >= self.config.silence {
            Some(Trouble::Silent)
        } else if crowded.is_some_and(|since| now.saturating_duration_since(since) >= self.config.stall) {
            Some(Trouble::Stalled)
        } else if is_over(vitals.table, self.config.full) {
            Some(Trouble::Full)
        } else {
            None
        }
    }
}

fn is_over(table: Option<(u64, u64)>, share: u8) -> bool {
    table.is_some_and(|(count, max)| u128::from(count) * 100 >= u128::from(max) * u128::from(share))
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Silent => "the reader gives no sign of life",
            Self::Stalled => "events come faster than they are read",
            Self::Full => "the connection table is nearly full",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u32 = 1000;

    struct Scene {
        start: Instant,
        watchdog: Watchdog,
    }

    impl Scene {
        fn new(is_reliable: bool) -> Self {
            Self { start: Instant::now(), watchdog: Watchdog::new(WatchdogConfig::default(), is_reliable) }
        }

        /// Milliseconds from the start; when the reader was last heard of; bytes that wait; connections of 100.
        fn check(&mut self, now: u64, heard: u64, bytes: u32, count: u64) -> Verdict {
            let at = |ms| self.start + Duration::from_millis(ms);
            let queue = Queue { bytes, capacity: CAPACITY, drops: 0 };
            let vitals = Vitals { heard: at(heard), queue, table: Some((count, 100)) };
            self.watchdog.check(at(now), &vitals)
        }
    }

    #[test]
    fn a_silent_reader_is_left_before_two_seconds_and_once() {
        let mut scene = Scene::new(true);
        assert_eq!(scene.check(1_400, 0, 0, 1), Verdict::Stay);
        assert_eq!(scene.check(1_500, 0, 0, 1), Verdict::Leave(Trouble::Silent));
        assert_eq!(scene.check(1_700, 0, CAPACITY, 1), Verdict::Stay);
    }

    #[test]
    fn a_queue_that_stays_crowded_is_a_stall_and_one_that_is_read_is_none() {
        let mut scene = Scene::new(true);
        for now in [0, 5_000, 9_900] {
            assert_eq!(scene.check(now, now, CAPACITY, 1), Verdict::Stay);
        }
        assert_eq!(scene.check(9_950, 9_950, CAPACITY / 2, 1), Verdict::Stay);
        assert_eq!(scene.check(10_100, 10_100, CAPACITY, 1), Verdict::Stay);
        assert_eq!(scene.check(20_100, 20_100, CAPACITY, 1), Verdict::Leave(Trouble::Stalled));
    }

    #[test]
    fn a_full_table_is_left_alone() {
        let mut scene = Scene::new(true);
        assert_eq!(scene.check(0, 0, 0, 74), Verdict::Stay);
        assert_eq!(scene.check(100, 100, 0, 75), Verdict::Leave(Trouble::Full));
    }

    #[test]
    fn it_comes_back_when_all_was_well_for_a_while() {
        let mut scene = Scene::new(false);
        for (now, heard, bytes, count) in
            [(0, 0, 0, 1), (4_900, 4_900, 0, 1), (5_000, 5_000, 0, 60), (5_100, 5_100, CAPACITY, 1)]
        {
            assert_eq!(scene.check(now, heard, bytes, count), Verdict::Stay);
        }
        assert_eq!(scene.check(5_200, 5_200, 0, 49), Verdict::Enter);
        // A trouble in between begins the wait anew.
        assert_eq!(scene.check(9_000, 5_200, 0, 1), Verdict::Leave(Trouble::Silent));
        assert_eq!(scene.check(9_100, 9_100, 0, 1), Verdict::Stay);
        assert_eq!(scene.check(14_000, 14_000, 0, 1), Verdict::Stay);
        assert_eq!(scene.check(14_100, 14_100, 0, 1), Verdict::Enter);
    }
}
