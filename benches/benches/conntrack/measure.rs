//! Runs in turns, and what is said of them.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

pub(crate) const WARM_UPS: usize = 2;
pub(crate) const REPEATS: usize = 15;

/// Times of one thing, in seconds.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// How many times as much as `other` the median is.
    pub(crate) fn ratio(&self, other: &Self) -> Ratio {
        let mut rng = SmallRng::seed_from_u64(1);
        let ratios: Vec<_> =
            (0..2000).map(|_| self.resampled(&mut rng).median() / other.resampled(&mut rng).median()).collect();
        let ratios = Self(ratios);
        Ratio { value: self.median() / other.median(), low: ratios.quantile(0.025), high: ratios.quantile(0.975) }
    }

    /// For a bootstrap: as many, drawn with replacement.
    fn resampled(&self, rng: &mut SmallRng) -> Self {
        Self((0..self.0.len()).map(|_| self.0[rng.random_range(0..self.0.len())]).collect())
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * q).round() as usize]
    }

    /// The median and the 5th and 95th percentile of one of `n`, in nanoseconds.
    pub(crate) fn per(&self, n: u32) -> String {
        let [median, low, high] = [0.5, 0.05, 0.95].map(|q| self.quantile(q) * 1e9 / f64::from(n));
        format!("{median:.0} ns ({low:.0} to {high:.0})")
    }
}

/// Of two medians, with the interval that 95 % of the bootstraps are in.
pub(crate) struct Ratio {
    value: f64,
    low: f64,
    high: f64,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.value, self.low, self.high)
    }
}

/// What processes took.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) wall: Samples,
    /// The kernel counts it in ticks of 4 ms: of one run it says little, of all together enough.
    pub(crate) user: Samples,
}

/// Runs each of the commands once, and that again and again.
pub(crate) fn in_turns<const N: usize>(mut commands: [Command; N]) -> Result<[Runs; N]> {
    let mut runs: [Runs; N] = std::array::from_fn(|_| Runs::default());
    for repeat in 0..WARM_UPS + REPEATS {
        for (command, runs) in commands.iter_mut().zip(&mut runs) {
            let before = user_time()?;
            let start = Instant::now();
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            let wall = start.elapsed();
            ensure!(status.success(), "{command:?} failed");
            if repeat >= WARM_UPS {
                runs.wall.push(wall);
                runs.user.push(user_time()? - before);
            }
        }
    }
    Ok(runs)
}

/// Of all processes that this one has waited for.
fn user_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(Duration::from_micros(usage.user_time().num_microseconds().try_into()?))
}
