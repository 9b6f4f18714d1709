//! The figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::operation::{End, Way};

const SHOWN: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: BTreeMap<(Way, &'static str), usize>,
    wrong: Vec<String>,
    looks: usize,
    threads: usize,
    strayed: Vec<String>,
    summary: String,
}

impl Report {
    pub(crate) fn note(&mut self, (way, end): &(Way, End)) {
        let what = match end {
            End::Did(what) => what,
            End::Recycled => "recycled",
            End::Refused => "refused",
            End::SandboxChanged => "SandboxChanged",
            End::Cancelled => "cancelled",
            End::Wrong(why) => {
                self.wrong.push(format!("{way:?}: {why}"));
                "WRONG"
            }
        };
        *self.counts.entry((*way, what)).or_default() += 1;
    }

    pub(crate) fn looked(&mut self, (threads, strayed): (usize, Vec<String>)) {
        self.looks += 1;
        self.threads += threads;
        self.strayed.extend(strayed);
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.wrong.extend(other.wrong);
        self.looks += other.looks;
        self.threads += other.threads;
        self.strayed.extend(other.strayed);
    }

    pub(crate) fn took(&mut self, time: Duration, replaced: usize, seed: u64) {
        let (seconds, operations) = (time.as_secs_f64(), self.counts.values().sum::<usize>());
        let rate = replaced as f64 / seconds;
        self.summary = format!(
            "{operations} operations in {seconds:.1} s, seed {seed}; {replaced} namespaces replaced, {rate:.0} a second"
        );
    }

    pub(crate) fn print(&self) {
        println!("{}", self.summary);
        for way in [Way::Path, Way::Name, Way::Process, Way::Pidfd, Way::Sandbox] {
            let of_it = self.counts.iter().filter(|((other, _), _)| *other == way);
            let counts: Vec<_> = of_it.map(|((_, what), count)| format!("{what} {count}")).collect();
            println!("  {:8} {}", format!("{way:?}"), counts.join(", "));
        }
        println!("  {} threads seen in {} looks, {} strayed", self.threads, self.looks, self.strayed.len());
        println!("  {} in a wrong namespace, or refused without cause", self.wrong.len());
        self.wrong.iter().chain(&self.strayed).take(SHOWN).for_each(|what| println!("    {what}"));
    }

    /// That nothing was wrong, and that what could go wrong was tried.
    pub(crate) fn check(&self) {
        assert!(self.wrong.is_empty() && self.strayed.is_empty());
        // How often a number falls to another just then is chance: from 47 to 317 times in four runs.
        let tried =
            |way, what| assert!(self.counts.get(&(way, what)).is_some_and(|count| *count > 5), "{way:?} {what}");
        tried(Way::Process, "recycled");
        tried(Way::Sandbox, "SandboxChanged");
        tried(Way::Path, "refused");
        tried(Way::Pidfd, "refused");
    }
}
