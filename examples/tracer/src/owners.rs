//! Which pods held the addresses of packets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use podtrail_event::Timestamp;
use podtrail_ledger::{Error, Store, Timeline};

use crate::said::Said;

/// How many addresses are known at a time.
const ADDRESSES: usize = 100_000;
/// A tracker says about twice a second how far it has seen.
const STALE: Duration = Duration::from_millis(500);

/// Asks a ledger, of each address once, and again where the tracker may know more by now.
#[derive(Debug)]
pub(crate) struct Owners {
    store: Store,
    network: String,
    known: HashMap<IpAddr, (Timeline, Instant)>,
}

impl Owners {
    pub(crate) fn open(ledger: &Path, network: &str) -> Result<Self, Error> {
        Ok(Self { store: Store::open_read_only(ledger)?, network: network.to_owned(), known: HashMap::new() })
    }

    /// What is to be said of a packet: a line for each address of which something is known.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub(crate) fn said(&mut self, at: Timestamp, addresses: [IpAddr; 2]) -> Result<Vec<Said>, Error> {
        let mut said = Vec::new();
        for ip in addresses {
            let timeline = self.timeline(ip, at)?;
            if !timeline.is_empty() {
                said.push(Said::new(ip, &timeline.owner(at)));
            }
        }
        said.dedup();
        Ok(said)
    }

    fn timeline(&mut self, ip: IpAddr, at: Timestamp) -> Result<&Timeline, Error> {
        let is_settled = |(timeline, read): &(Timeline, Instant)| {
            let may_be_news = timeline.coverage().spans().last().is_none_or(|(_, until)| at > *until);
            !may_be_news || read.elapsed() < STALE
        };
        if !self.known.get(&ip).is_some_and(is_settled) {
            if self.known.len() >= ADDRESSES {
                self.known.clear();
            }
            let timeline = self.store.timeline(&self.network, ip)?;
            self.known.insert(ip, (timeline, Instant::now()));
        }
        Ok(&self.known[&ip].0)
    }
}
