use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use podtrail_event::Timestamp;

use crate::exclusive::exclude;
use crate::interval::{Coverage, Interval};
use crate::owner::{Answer, decide};

/// Who held which address, in memory, for asking fast: built once, then only read.
///
/// 48 bytes an interval where `H`, which says who held it, is a number of 4 bytes.
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
    networks: HashMap<Box<str>, HashMap<Key, Run>>,
    /// For each interval, the earliest start of it and of all that follow it in its run: apart, so that a search touches
    /// little memory.
    starts: Vec<i64>,
    held: Vec<Packed<H>>,
    coverage: Coverage,
}

/// An address as 16 bytes, IPv4 mapped: one hash for both families.
type Key = u128;

/// The intervals of one address: a range of the arrays.
#[derive(Clone, Copy, Debug)]
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

fn key(ip: IpAddr) -> Key {
    let v6: Ipv6Addr = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    u128::from(v6)
}

impl<H: Copy> Index<H> {
    /// The index of these intervals, in any order; at most 2³² of them, the rest is left out.
    ///
    /// Only of those who own an address: a hostNetwork pod, which uses its node's, would contradict the node.
    pub fn build<N: AsRef<str>>(
        claims: impl IntoIterator<Item = (N, IpAddr, Interval, H)>,
        coverage: Coverage,
    ) -> Self {
        type Addresses<H> = HashMap<Key, Vec<(Interval, H)>>;
        let mut by_address: HashMap<Box<str>, Addresses<H>> = HashMap::new();
        for (network, ip, interval, holder) in claims {
            let network = network.as_ref();
            let addresses = match by_address.get_mut(network) {
                Some(addresses) => addresses,
                None => by_address.entry(network.into()).or_default(),
            };
            addresses.entry(key(ip)).or_default().push((interval, holder));
        }
        let mut index = Self { networks: HashMap::new(), starts: Vec::new(), held: Vec::new(), coverage };
        for (network, addresses) in by_address {
            let runs = addresses.into_iter().map(|(key, held)| (key, index.push(held))).collect();
            index.networks.insert(network, runs);
        }
        index
    }

    fn push(&mut self, held: Vec<(Interval, H)>) -> Run {
        let from = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let room = usize::try_from(u32::MAX - from).unwrap_or(usize::MAX);
        let mut packed: Vec<_> = exclude(held).map(|(i, alone, holder)| Packed::new(i, alone, holder)).collect();
        packed.truncate(room);
        let len = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let mut starts: Vec<i64> = packed.iter().map(|p| p.start_earliest.min(p.start_latest)).collect();
        for i in (1..starts.len()).rev() {
            starts[i - 1] = starts[i - 1].min(starts[i]);
        }
        self.starts.append(&mut starts);
        self.held.append(&mut packed);
        Run { from, len }
    }

    /// Who held `ip` in `network` at `at`.
    pub fn owner(&self, network: &str, ip: IpAddr, at: Timestamp) -> Answer<H> {
        let run = self.networks.get(network).and_then(|addresses| addresses.get(&key(ip)));
        let near = run.map_or(&[][..], |run| self.near(*run, at.as_nanosecond()));
        decide(near.iter().map(|p| (p.holder, p.interval())), &self.coverage, at)
    }

    /// The part of a run that may hold at `at`: back from the last that may have begun, to one that had and that all
    /// before it had made way for.
    fn near(&self, run: Run, at: i64) -> &[Packed<H>] {
        let range = run.from as usize..run.from as usize + run.len as usize;
        let held = &self.held[range.clone()];
        let end = self.starts[range].partition_point(|start| *start <= at);
        let from = held[..end].iter().rposition(|p| p.alone && p.start_latest < at).unwrap_or(0);
        &held[from..end]
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
