//! Which pods held the addresses of packets, in words.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use podtrail_event::{Claim, Subject, Timestamp};
use podtrail_ledger::{Answer, Error, Store, Timeline, Uncovered};

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
    pub(crate) fn comments(&mut self, at: Timestamp, addresses: [IpAddr; 2]) -> Result<Vec<String>, Error> {
        let mut comments = Vec::new();
        for ip in addresses {
            let timeline = self.timeline(ip, at)?;
            if !timeline.is_empty() {
                comments.push(words(ip, &timeline.owner(at)));
            }
        }
        comments.dedup();
        Ok(comments)
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

/// An answer in a line: what is not certain says so.
fn words(ip: IpAddr, answer: &Answer<&Claim>) -> String {
    let mut words = format!("{ip} ");
    let one = |claim: &Claim| {
        let (kind, title) = match claim.subject {
            Subject::Pod => ("pod", format!("{}/{}", claim.namespace, claim.name)),
            Subject::Node => ("node", claim.name.clone()),
        };
        let node = if claim.node.is_empty() || claim.subject == Subject::Node {
            String::new()
        } else {
            format!(" on {}", claim.node)
        };
        format!("{kind} {title}{node}")
    };
    let any = |claims: &[&Claim]| claims.iter().map(|claim| one(claim)).collect::<Vec<_>>().join(" or ");
    let said = match answer {
        Answer::Certain(claim) => write!(words, "is {}", one(claim)),
        Answer::Presumed(claim) => write!(words, "is presumably {}", one(claim)),
        Answer::Ambiguous(claims) => write!(words, "is {} or nobody", any(claims)),
        Answer::Nobody => write!(words, "is nobody's"),
        Answer::Unknown(Uncovered::NotYet, claims) if !claims.is_empty() => {
            write!(words, "was last {} (this late, nothing is recorded yet)", any(claims))
        }
        Answer::Unknown(_, claims) if claims.is_empty() => write!(words, "is not known: nobody watched"),
        Answer::Unknown(_, claims) => write!(words, "is not known: nobody watched; it may be {}", any(claims)),
    };
    said.expect("a String takes all that is written");
    words
}
