//! Whether the process still moves, and whether it can serve.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::text;

/// Characters kept of a reason, which may quote text from outside.
const REASON_LIMIT: usize = 500;

/// What a daemon says of itself; clones share one state.
///
/// Liveness ([`Heartbeat`]s) fails when a loop is stuck, so that a restart can help. Readiness ([`Condition`]s) fails while the daemon
/// cannot serve, which a restart would not change. A daemon that is not alive is not ready either. With nothing registered both hold.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use podtrail_daemon::Health;
///
/// let health = Health::new();
/// let listed = health.condition("watch", "no list was read yet");
/// assert_eq!(health.readiness(Instant::now()).to_string(), "[-]watch: no list was read yet\n");
/// listed.set_ready();
/// let commit = health.heartbeat("commit", Duration::from_secs(30));
/// assert!(health.readiness(Instant::now()).is_ok());
/// assert!(!health.liveness(Instant::now() + Duration::from_secs(60)).is_ok());
/// # drop(commit);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pulses: BTreeMap<String, Arc<Pulse>>,
    /// The reason why the condition does not hold, if it does not.
    conditions: BTreeMap<String, Option<String>>,
}

#[derive(Debug)]
struct Pulse {
    max_age: Duration,
    last: Mutex<Instant>,
}

impl Health {
    /// Healthy, with nothing to watch yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches a loop that will call [`Heartbeat::beat`] at least every `max_age`, counted from now.
    ///
    /// Dropping the handle does not end the watch: a loop that died is to be seen. A second heartbeat of the same name takes the place of
    /// the first.
    #[must_use = "a heartbeat that nobody keeps beating makes the daemon look dead"]
    pub fn heartbeat(&self, name: impl Into<String>, max_age: Duration) -> Heartbeat {
        let pulse = Arc::new(Pulse { max_age, last: Mutex::new(Instant::now()) });
        lock(&self.state).pulses.insert(name.into(), Arc::clone(&pulse));
        Heartbeat { pulse }
    }

    /// Declares something the daemon needs before it can serve, and which does not hold yet because of `reason`.
    ///
    /// A condition declared again starts again as not holding.
    pub fn condition(&self, name: impl Into<String>, reason: impl AsRef<str>) -> Condition {
        let condition = Condition { name: name.into(), health: self.clone() };
        condition.set_not_ready(reason);
        condition
    }

    /// Whether every loop has moved recently enough, at `now`.
    #[must_use]
    pub fn liveness(&self, now: Instant) -> Report {
        let state = lock(&self.state);
        let checks = state.pulses.iter().map(|(name, pulse)| (name.clone(), pulse.problem(now)));
        Report { checks: checks.collect() }
    }

    /// Whether the daemon can serve, at `now`: every condition holds and it is alive.
    #[must_use]
    pub fn readiness(&self, now: Instant) -> Report {
        let mut report = self.liveness(now);
        report.checks.extend(lock(&self.state).conditions.clone());
        report
    }
}

impl Pulse {
    fn problem(&self, now: Instant) -> Option<String> {
        let age = now.saturating_duration_since(*lock(&self.last));
        (age > self.max_age).then(|| {
            format!("last moved {:.1} s ago, at most {:.1} s expected", age.as_secs_f64(), self.max_age.as_secs_f64())
        })
    }
}

/// The pulse of one loop; see [`Health::heartbeat`].
#[derive(Debug)]
pub struct Heartbeat {
    pulse: Arc<Pulse>,
}

impl Heartbeat {
    /// Says that the loop moves now.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Says that the loop moved at `now`; a time before the last beat changes nothing.
    fn beat_at(&self, now: Instant) {
        let mut last = lock(&self.pulse.last);
        *last = now.max(*last);
    }
}

/// Something the daemon needs before it can serve; see [`Health::condition`]. Clones speak of the same condition.
#[derive(Debug, Clone)]
pub struct Condition {
    name: String,
    health: Health,
}

impl Condition {
    /// Says that the condition holds.
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// Says that the condition does not hold, because of `reason`, of which the first 500 characters are kept.
    pub fn set_not_ready(&self, reason: impl AsRef<str>) {
        self.set(Some(text::escape(reason.as_ref()).chars().take(REASON_LIMIT).collect()));
    }

    fn set(&self, problem: Option<String>) {
        lock(&self.health.state).conditions.insert(self.name.clone(), problem);
    }
}

/// What was right and wrong at one instant.
///
/// It prints one line a check, as Kubernetes does: `[+]name ok` or `[-]name: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    checks: Vec<(String, Option<String>)>,
}

impl Report {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems().next().is_none()
    }

    /// What was wrong: names with their reasons.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.checks.iter().filter_map(|(name, problem)| Some((name.as_str(), problem.as_deref()?)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, problem) in &self.checks {
            match problem {
                None => writeln!(f, "[+]{name} ok")?,
                Some(reason) => writeln!(f, "[-]{name}: {reason}")?,
            }
        }
        Ok(())
    }
}

/// Each write under these locks is one assignment, so what a panicking holder left behind is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(30);

    #[test]
    fn nothing_registered_is_healthy() {
        let health = Health::new();
        assert!(health.liveness(Instant::now()).is_ok());
        assert!(health.readiness(Instant::now()).is_ok());
    }

    #[test]
    fn a_loop_is_alive_up_to_its_age_and_not_beyond() {
        let health = Health::new();
        let beat = health.heartbeat("commit", MAX_AGE);
        let start = Instant::now();
        beat.beat_at(start);
        for (age, alive) in [(0, true), (29_999, true), (30_000, true), (30_001, false), (90_000, false)] {
            assert_eq!(health.liveness(start + Duration::from_millis(age)).is_ok(), alive, "{age} ms");
        }
        beat.beat_at(start + Duration::from_secs(90));
        beat.beat_at(start);
        assert!(health.liveness(start + Duration::from_secs(120)).is_ok());
        assert_eq!(
            health.liveness(start + Duration::from_secs(125)).to_string(),
            "[-]commit: last moved 35.0 s ago, at most 30.0 s expected\n"
        );
    }

    #[test]
    fn a_loop_that_died_is_seen() {
        let health = Health::new();
        drop(health.heartbeat("died", MAX_AGE));
        let report = health.liveness(Instant::now() + Duration::from_secs(60));
        assert_eq!(report.problems().map(|(name, _)| name).collect::<Vec<_>>(), ["died"]);
    }

    #[test]
    fn an_older_heartbeat_does_not_revive_a_newer_one_of_its_name() {
        let health = Health::new();
        let old = health.heartbeat("watch", MAX_AGE);
        let _new = health.heartbeat("watch", MAX_AGE);
        let later = Instant::now() + Duration::from_secs(60);
        old.beat_at(later);
        assert!(!health.liveness(later).is_ok());
    }

    #[test]
    fn readiness_needs_every_condition_and_life() {
        let health = Health::new();
        let ledger = health.condition("ledger", "opening");
        let watch = health.condition("watch", "no list yet");
        let beat = health.heartbeat("commit", MAX_AGE);
        let now = Instant::now();
        beat.beat_at(now);
        assert_eq!(health.readiness(now).to_string(), "[+]commit ok\n[-]ledger: opening\n[-]watch: no list yet\n");
        ledger.clone().set_ready();
        assert!(!health.readiness(now).is_ok());
        watch.set_ready();
        assert!(health.readiness(now).is_ok());
        assert!(!health.readiness(now + Duration::from_secs(60)).is_ok());
        watch.set_not_ready("410");
        assert_eq!(health.readiness(now).problems().collect::<Vec<_>>(), [("watch", "410")]);
        assert!(health.liveness(now).is_ok());
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let health = Health::new();
        let reason = format!("{}\n[+]forged ok", "x".repeat(480));
        health.condition("watch", &reason).set_not_ready(reason + &"y".repeat(5000));
        let report = health.readiness(Instant::now()).to_string();
        assert_eq!(report.lines().count(), 1);
        assert!(report.contains("\\n[+]forged"));
        assert_eq!(report.chars().count(), "[-]watch: \n".len() + REASON_LIMIT);
    }
}
