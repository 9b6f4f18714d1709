//! Random histories of a simulated cluster, told to a tracker in random ways, and then asked for: no answer contradicts
//! the simulator's truth, at any instant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod history;
mod questions;
mod telling;

use std::sync::atomic::{AtomicU64, Ordering};

use questions::Tally;
use telling::Telling;

/// Histories to try; more with `PODTRAIL_SEEDS`.
const SEEDS: u64 = 300;

fn tell(seed: u64) -> Tally {
    let mut telling = Telling::new(seed);
    for _ in 0..12 {
        for _ in 0..12 {
            telling.step();
        }
        telling.ask(20);
    }
    telling.finish();
    telling.ask(200)
}

#[test]
fn answers_never_contradict_the_truth() {
    let seeds = std::env::var("PODTRAIL_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("PODTRAIL_SEED").map_or(0, |seed| seed.parse().unwrap());
    let next = AtomicU64::new(first);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return tally;
            }
            tally.add(&tell(seed));
        }
    };
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let mut all = Tally::default();
        threads.into_iter().for_each(|thread| all.add(&thread.join().unwrap()));
        all
    });
    // Nor are they right by saying nothing.
    let asked = tally.definite + tally.ambiguous;
    assert!(tally.definite * 2 > asked, "{tally:?}");
    assert!(tally.certain * 20 > asked, "{tally:?}");
    assert!(tally.unknown < asked, "{tally:?}");
    println!("{seeds} histories: {tally:?}");
}
