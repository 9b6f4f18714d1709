use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use podtrail_event::Timestamp;

use crate::exclusive::exclude;
use crate::interval::{Coverage, Interval};
use crate::owner::{Answer, decide};

/// Who held which address, in memory, for asking fast: built once, then only read.
///
/// 41 bytes an interval, where `H`, which says who held it, is a number of 4 bytes; and while it is built, 56 more.
///
/// ```
/// use std::time::Duration;
/// use podtrail_event::Timestamp;
/// use podtrail_ledger::{Answer, Coverage, Evidence, Index, Interval};
///
/// let t = Timestamp::from_second;
/// let mut first = Interval::starting(t(10), t(11));
/// first.tighten(Evidence::HeldUntil(t(50)));
/// let second = Interval::starting(t(60), t(61));
/// let ip = "10.244.0.17".parse()?;
/// let coverage = Coverage::new([(t(0), t(100))], Duration::ZERO);
/// let index = Index::build([("default", ip, first, 1), ("default", ip, second, 2)], coverage);
///
/// assert_eq!(index.owner("default", ip, t(30)), Answer::Certain(1));
/// assert_eq!(index.owner("default", ip, t(55)), Answer::Ambiguous(vec![1])); // or nobody
/// assert_eq!(index.owner("default", ip, t(90)), Answer::Presumed(2));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Index<H> {
    networks: HashMap<Box<str>, Runs, RandomState>,
    /// For the first interval of each block of `held`, the earliest start of it and of all that follow it in its run;
    /// then for each block of those; and so on. So a search reads few lines of memory, and most of them from the cache.
    fences: Vec<Vec<i64>>,
    held: Vec<Packed<H>>,
    coverage: Coverage,
}

/// A block is 2 to the power of this. Smaller ones need more levels, which costs more than to look through a larger one.
const BLOCK: u32 = 4;

/// The runs of a network. An address is 16 bytes, IPv4 mapped: one hash for both families.
type Runs = HashMap<u128, Run, RandomState>;

/// The intervals of one address: a range of `held`.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    from: u32,
    len: u32,
}

/// An [`Interval`] and its holder, smaller.
#[derive(Clone, Copy, Debug)]
struct Packed<H> {
    start_earliest: i64,
    start_latest: i64,
    end_earliest: i64,
    /// `i64::MAX`: none.
    end_latest: i64,
    holder: H,
    may_end: bool,
    /// All before it in its run had ended by its `start_latest`.
    alone: bool,
}

impl<H: Copy> Packed<H> {
    fn new(interval: Interval, alone: bool, holder: H) -> Self {
        Self {
            start_earliest: interval.start_earliest.as_nanosecond(),
            start_latest: interval.start_latest.as_nanosecond(),
            end_earliest: interval.end_earliest.as_nanosecond(),
            end_latest: interval.end_latest.map_or(i64::MAX, Timestamp::as_nanosecond),
            holder,
            may_end: interval.may_end,
            alone,
        }
    }

    fn interval(&self) -> Interval {
        let t = Timestamp::from_nanosecond;
        Interval {
            start_earliest: t(self.start_earliest),
            start_latest: t(self.start_latest),
            end_earliest: t(self.end_earliest),
            end_latest: (self.end_latest != i64::MAX).then(|| t(self.end_latest)),
            may_end: self.may_end,
        }
    }
}

fn key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
    .to_bits()
}

impl<H: Copy> Index<H> {
    /// The index of these intervals, in any order; fewer than 2³² of them, the rest is left out.
    ///
    /// Only of those who own an address: a hostNetwork pod, which uses its node's, would contradict the node.
    pub fn build<N: AsRef<str>>(
        claims: impl IntoIterator<Item = (N, IpAddr, Interval, H)>,
        coverage: Coverage,
    ) -> Self {
        let mut networks: HashMap<Box<str>, Runs, RandomState> = HashMap::default();
        let mut numbers = 0;
        // Sorted, not kept apart for each address: a hundred million of them are to fit in memory.
        let mut all: Vec<(u32, Interval, H)> = Vec::new();
        for (network, ip, interval, holder) in claims.into_iter().take(u32::MAX as usize) {
            let network = network.as_ref();
            let runs = match networks.get_mut(network) {
                Some(runs) => runs,
                None => networks.entry(network.into()).or_default(),
            };
            let run = runs.entry(key(ip)).or_default();
            if run.len == 0 {
                run.from = numbers;
                numbers += 1;
            }
            run.len += 1;
            all.push((run.from, interval, holder));
        }
        all.sort_unstable_by_key(|(number, interval, _)| (*number, interval.start_latest));
        let mut index = Self { networks, fences: vec![Vec::new()], held: Vec::with_capacity(all.len()), coverage };
        let runs = all.chunk_by(|a, b| a.0 == b.0);
        let from: Vec<u32> =
            runs.map(|run| index.push(run.iter().map(|(_, i, holder)| (*i, *holder)).collect())).collect();
        let mut longest = 0;
        for run in index.networks.values_mut().flat_map(Runs::values_mut) {
            run.from = from[run.from as usize];
            longest = longest.max(run.len);
        }
        index.raise(longest);
        index
    }

    /// Where the run of these begins.
    fn push(&mut self, held: Vec<(Interval, H)>) -> u32 {
        let from = self.held.len();
        self.held.extend(exclude(held).map(|(i, alone, holder)| Packed::new(i, alone, holder)));
        let mut earliest = i64::MAX;
        let blocks = self.fences[0].len();
        for (n, packed) in self.held.iter().enumerate().skip(from).rev() {
            earliest = earliest.min(packed.start_earliest).min(packed.start_latest);
            if n % (1 << BLOCK) == 0 {
                self.fences[0].push(earliest);
            }
        }
        self.fences[0][blocks..].reverse();
        u32::try_from(from).expect("no more than 32 bits can count were taken")
    }

    /// Fences for fences, until few are left of a run of so many intervals.
    fn raise(&mut self, longest: u32) {
        let mut left = longest >> BLOCK;
        while left > 1 << BLOCK {
            let below = &self.fences[self.fences.len() - 1];
            self.fences.push(below.iter().step_by(1 << BLOCK).copied().collect());
            left >>= BLOCK;
        }
    }

    /// Who held `ip` in `network` at `at`.
    pub fn owner(&self, network: &str, ip: IpAddr, at: Timestamp) -> Answer<H> {
        let run = self.networks.get(network).and_then(|runs| runs.get(&key(ip)));
        let near = run.map_or(&[][..], |run| self.near(*run, at.as_nanosecond()));
        decide(near.iter().map(|p| (p.holder, p.interval())), &self.coverage, at)
    }

    /// The part of a run that may hold at `at`: back from the block of the last that may have begun, to one that had and
    /// that all before it had made way for.
    fn near(&self, run: Run, at: i64) -> &[Packed<H>] {
        let held = &self.held[run.from as usize..self.begun(run, at)];
        let from = held.iter().rposition(|p| p.alone && p.start_latest < at).unwrap_or(0);
        &held[from..]
    }

    /// Where the block of a run ends after which none had begun at `at`.
    fn begun(&self, run: Run, at: i64) -> usize {
        let (mut from, mut to) = (run.from as usize, run.from as usize + run.len as usize);
        for (level, fences) in self.fences.iter().enumerate().rev() {
            let bits = BLOCK * (level as u32 + 1);
            let first = from >> bits;
            let after = &fences[first + 1..=(to - 1) >> bits];
            let block = first + after.partition_point(|start| *start <= at);
            from = from.max(block << bits);
            to = to.min((block + 1) << bits);
        }
        to
    }

    /// How many intervals there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests;
