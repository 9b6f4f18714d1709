use std::net::IpAddr;
use std::ops::RangeInclusive;

use podtrail_event::{Claim, Gap, Pod, Record, Subject, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::observation::{ClaimRow, Observation};
use super::rows::{self, CLAIM, address_key, ns};
use super::store::Store;
use super::timeline::Rows;
use crate::Error;
use crate::exclusive::exclude;
use crate::interval::{Coverage, Uncovered};
use crate::owner::Answer;

/// What must have been watched for an answer to be whole.
const SOURCES: [&str; 2] = ["pods", "nodes"];

/// The answer to "who had this address then", with what it rests on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OwnerReply {
    /// Who.
    pub answer: Answer<Claim>,
    /// hostNetwork pods that used the address with its node then, or may have.
    pub users: Vec<Claim>,
    /// The gaps that the instant is in.
    pub gaps: Vec<Gap>,
    /// Why the answer is what it is, for people.
    pub reason: String,
}

/// An inclusive span of time.
pub type Span = RangeInclusive<Timestamp>;

/// Which claims a history is of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// All.
    All,
    /// Of the addresses in this range, both ends included; one family.
    Addresses(RangeInclusive<IpAddr>),
    /// Of the pods that had this namespace and name.
    Pod {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// Of the pod or node with this UID.
    Uid(String),
    /// Of this node and of the pods on it.
    Node(String),
}

/// A claim, and whether it is a hostNetwork pod's use of its node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The claim.
    pub claim: Claim,
    /// It used the address with its node and did not own it.
    pub shared: bool,
}

impl Store {
    /// Who held `ip` in `network` at `at`.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn owner(&self, network: &str, ip: IpAddr, at: Timestamp) -> Result<OwnerReply, Error> {
        self.owner_of(network, ip, at).map_err(|e| self.failure(e))
    }

    fn owner_of(&self, network: &str, ip: IpAddr, at: Timestamp) -> rusqlite::Result<OwnerReply> {
        let snapshot = self.db.unchecked_transaction()?;
        let rows = Rows::of(self, network, ip)?;
        let mut names = Names(self);
        let answer = transpose(rows.decide(at).map(|n| names.claim(&rows.owners[n])))?;
        let users: Vec<Claim> = rows.users(at).map(|row| names.claim(row)).collect::<rusqlite::Result<_>>()?;
        let Rows { coverage, unwatched, .. } = rows;
        let gaps = self.gaps_at(at)?;
        drop(snapshot);
        let reason = if unwatched.is_empty() || !matches!(answer, Answer::Unknown(..)) {
            reason(&answer, &coverage, at, &gaps)
        } else {
            format!("no watch of {} is recorded", unwatched.join(" or "))
        };
        Ok(OwnerReply { answer, users, gaps, reason })
    }

    /// When both the pods and the nodes were watched: who holds an address may be either.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn coverage(&self) -> Result<Coverage, Error> {
        self.covered().map(|(coverage, _)| coverage).map_err(|e| self.failure(e))
    }

    /// What was watched of every source, and the sources of which nothing was.
    pub(super) fn covered(&self) -> rusqlite::Result<(Coverage, Vec<&'static str>)> {
        let mut statement = self.db.prepare_cached("SELECT source, start, until FROM coverage ORDER BY source")?;
        let spans = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, (rows::time(row, 1)?, rows::time(row, 2)?))))?;
        let mut sources = std::collections::BTreeMap::<String, Vec<_>>::new();
        for span in spans {
            let (source, span) = span?;
            sources.entry(source).or_default().push(span);
        }
        let unwatched: Vec<_> = SOURCES.into_iter().filter(|source| !sources.contains_key(*source)).collect();
        if !unwatched.is_empty() {
            return Ok((Coverage::new([], self.worst_clock_error), unwatched));
        }
        let mut gaps = self.db.prepare_cached("SELECT from_time, to_time FROM gaps WHERE source = ?1")?;
        let mut coverages = Vec::with_capacity(sources.len());
        for (source, spans) in sources {
            let gaps = gaps.query_map([&source], |row| Ok((rows::time(row, 0)?, rows::time(row, 1)?)))?;
            let gaps: Vec<_> = gaps.collect::<rusqlite::Result<_>>()?;
            coverages.push(Coverage::new(spans, self.worst_clock_error).without(gaps));
        }
        let coverage = coverages.into_iter().reduce(|a, b| a.intersect(&b));
        Ok((coverage.unwrap_or_default(), unwatched))
    }

    fn gaps_at(&self, at: Timestamp) -> rusqlite::Result<Vec<Gap>> {
        let error = self.worst_clock_error;
        let (low, high) = (at.saturating_sub(error), at.saturating_add(error));
        self.db
            .prepare_cached(
                "SELECT source, from_time, to_time, reason FROM gaps WHERE from_time <= ?1 AND to_time >= ?2",
            )?
            .query_map((ns(high), ns(low)), gap)?
            .collect()
    }

    /// All gaps, oldest first.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn gaps(&self) -> Result<Vec<Gap>, Error> {
        let read = || {
            let mut statement = self.db.prepare("SELECT source, from_time, to_time, reason FROM gaps ORDER BY seq")?;
            statement.query_map([], gap)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.failure(e))
    }

    /// Calls `each` with every claim of `filter` that may have held within `span`, address by address, oldest first.
    ///
    /// # Errors
    /// If the ledger cannot be read, or `each` fails.
    pub fn history<E: From<Error>>(
        &self,
        filter: &Filter,
        span: &Span,
        mut each: impl FnMut(Held) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = |e| E::from(self.failure(e));
        let snapshot = self.db.unchecked_transaction().map_err(read)?;
        let mut names = Names(self);
        for (network, key) in self.addresses(filter).map_err(read)? {
            let (exclusive, shared): (Vec<_>, Vec<_>) =
                claims_of(&self.db, &network, key).map_err(read)?.into_iter().partition(|claim| !claim.shared);
            for row in settle(exclusive).into_iter().chain(shared) {
                let held = Held { claim: names.claim(&row).map_err(read)?, shared: row.shared };
                if overlaps(&row, span) && matches(filter, &held.claim) {
                    each(held)?;
                }
            }
        }
        drop(snapshot);
        Ok(())
    }

    /// The addresses that `filter` is about.
    fn addresses(&self, filter: &Filter) -> rusqlite::Result<Vec<(String, [u8; 16])>> {
        const PODS: &str =
            "SELECT DISTINCT c.network, c.key FROM claims c JOIN pods p ON c.subject = 'pod' AND p.id = c.holder";
        const NODES: &str =
            "SELECT DISTINCT c.network, c.key FROM claims c JOIN nodes n ON c.subject = 'node' AND n.id = c.holder";
        let (condition, values): (String, Vec<Value>) = match filter {
            Filter::All => ("SELECT DISTINCT network, key FROM claims".to_owned(), vec![]),
            Filter::Addresses(range) => {
                let bounds = [range.start(), range.end()].map(|ip| address_key(*ip).to_vec().into());
                ("SELECT DISTINCT network, key FROM claims WHERE key BETWEEN ?1 AND ?2".to_owned(), bounds.to_vec())
            }
            Filter::Pod { namespace, name } => (
                format!("{PODS} WHERE p.namespace = ?1 AND p.name = ?2"),
                vec![namespace.clone().into(), name.clone().into()],
            ),
            Filter::Uid(uid) => {
                (format!("{PODS} WHERE p.uid = ?1 UNION {NODES} WHERE n.uid = ?1"), vec![uid.clone().into()])
            }
            Filter::Node(name) => (
                format!("{PODS} WHERE json_extract(p.pod, '$.node') = ?1 UNION {NODES} WHERE n.name = ?1"),
                vec![name.clone().into()],
            ),
        };
        self.db
            .prepare(&format!("{condition} ORDER BY 2, 1"))?
            .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    /// Evidence after number `after`, at most `limit` pieces, in order.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn observations(&self, after: u64, limit: usize) -> Result<Vec<StoredObservation>, Error> {
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let read = || {
            self.db
                .prepare_cached("SELECT seq, at, source, body FROM evidence WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
                .query_map((after, limit), |row| {
                    let body = row.get_ref(3)?.as_str()?;
                    Ok(StoredObservation {
                        seq: u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default(),
                        at: rows::time(row, 1)?,
                        source: row.get(2)?,
                        observation: serde_json::from_str(body).map_err(|e| rows::invalid(3, e))?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.failure(e))
    }

    /// Number of the last evidence.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn head(&self) -> Result<u64, Error> {
        let head = super::chain::head(&self.db).map_err(|e| self.failure(e))?;
        Ok(u64::try_from(head.seq).unwrap_or_default())
    }
}

/// A piece of evidence with its place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredObservation {
    /// Its number; without holes, from 1.
    pub seq: u64,
    /// When it was received.
    pub at: Timestamp,
    /// Where it comes from.
    pub source: String,
    /// What it says.
    pub observation: Observation,
}

impl StoredObservation {
    /// The records that leave the tracker because of it.
    pub fn records(&self, cluster: &podtrail_event::Cluster) -> Vec<Record> {
        self.observation.records(cluster, &self.source)
    }
}

pub(super) fn claims_of(db: &Connection, network: &str, key: [u8; 16]) -> rusqlite::Result<Vec<ClaimRow>> {
    db.prepare_cached(&format!("SELECT {CLAIM} FROM claims c WHERE c.key = ?1 AND c.network = ?2"))?
        .query_map((key, network), rows::claim)?
        .collect()
}

fn gap(row: &rusqlite::Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap { source: row.get(0)?, from: rows::time(row, 1)?, to: rows::time(row, 2)?, reason: row.get(3)? })
}

/// The claims with their bounds as exclusivity leaves them.
pub(super) fn settle(claims: Vec<ClaimRow>) -> Vec<ClaimRow> {
    let held = claims.into_iter().map(|claim| (claim.interval, claim)).collect();
    exclude(held).map(|(interval, _, claim)| ClaimRow { interval, ..claim }).collect()
}

fn overlaps(row: &ClaimRow, span: &Span) -> bool {
    row.interval.start_earliest.min(row.interval.start_latest) <= *span.end()
        && row.interval.end_latest.is_none_or(|end| *span.start() <= end.max(row.interval.end_earliest))
}

fn matches(filter: &Filter, claim: &Claim) -> bool {
    match filter {
        Filter::All => true,
        // IPv4 is within IPv6 by its key only.
        Filter::Addresses(range) => range.contains(&claim.ip),
        Filter::Pod { namespace, name } => claim.namespace == *namespace && claim.name == *name,
        Filter::Uid(uid) => claim.uid == *uid,
        Filter::Node(name) => claim.node == *name,
    }
}

fn transpose(answer: Answer<rusqlite::Result<Claim>>) -> rusqlite::Result<Answer<Claim>> {
    Ok(match answer {
        Answer::Certain(one) => Answer::Certain(one?),
        Answer::Presumed(one) => Answer::Presumed(one?),
        Answer::Ambiguous(some) => Answer::Ambiguous(some.into_iter().collect::<rusqlite::Result<_>>()?),
        Answer::Nobody => Answer::Nobody,
        Answer::Unknown(why, some) => Answer::Unknown(why, some.into_iter().collect::<rusqlite::Result<_>>()?),
    })
}

/// Puts names to row numbers.
pub(super) struct Names<'a>(pub(super) &'a Store);

impl Names<'_> {
    pub(super) fn claim(&mut self, row: &ClaimRow) -> rusqlite::Result<Claim> {
        let db = &self.0.db;
        let (namespace, name, uid, node) = match row.subject {
            Subject::Pod => db
                .prepare_cached("SELECT pod FROM pods WHERE id = ?1")?
                .query_row([row.holder], |found| {
                    let pod: Pod =
                        serde_json::from_str(found.get_ref(0)?.as_str()?).map_err(|e| rows::invalid(0, e))?;
                    Ok((pod.namespace, pod.name, pod.uid, pod.node.unwrap_or_default()))
                })
                .optional()?,
            Subject::Node => db
                .prepare_cached("SELECT name, uid FROM nodes WHERE id = ?1")?
                .query_row([row.holder], |found| {
                    let name: String = found.get(0)?;
                    Ok((String::new(), name.clone(), found.get(1)?, name))
                })
                .optional()?,
        }
        .unwrap_or_default();
        let interval = &row.interval;
        let (network, ip, subject) = (row.network.clone(), row.ip, row.subject);
        Ok(Claim { network, ip, subject, namespace, name, uid, node, start: interval.start(), end: interval.end() })
    }
}

fn reason(answer: &Answer<Claim>, coverage: &Coverage, at: Timestamp, gaps: &[Gap]) -> String {
    let spans = coverage.spans();
    match answer {
        Answer::Certain(claim) => {
            let until = claim.end.map_or_else(
                || "and nothing has ended it".to_owned(),
                |end| format!("until {} at least", end.earliest),
            );
            let since = claim.start.latest.map(|t| t.to_string()).unwrap_or_default();
            format!(
                "evidence from before and after shows that it held the address: since {since} at the latest, {until}"
            )
        }
        Answer::Presumed(_) => "nothing contradicts it, but it was last confirmed before then".to_owned(),
        Answer::Ambiguous(some) if some.len() > 1 => "the evidence allows each of these, or nobody".to_owned(),
        Answer::Ambiguous(some) => match some.first() {
            Some(claim) if claim.start.latest.is_some_and(|latest| at < latest) => {
                "it began to hold the address about then: it may not have had it yet".to_owned()
            }
            _ => "it may have released the address by then".to_owned(),
        },
        Answer::Nobody => "all that happened then was seen, and nothing held the address".to_owned(),
        Answer::Unknown(Uncovered::BeforeHistory, _) => match spans.first() {
            Some((from, _)) => format!("before history: nothing was watched before {from}"),
            None => "pods and nodes were never watched together".to_owned(),
        },
        Answer::Unknown(Uncovered::Unseen, _) => {
            "hostNetwork pods used the address with their node, but no node is known to have had it then".to_owned()
        }
        Answer::Unknown(Uncovered::NotYet, _) => match spans.last() {
            Some((_, until)) => format!("not watched yet: what happened is known until {until}"),
            None => "pods and nodes were never watched together".to_owned(),
        },
        Answer::Unknown(Uncovered::Gap, _) => match gaps.first() {
            Some(gap) => format!("not watched from {} to {}: {}", gap.from, gap.to, gap.reason),
            None => "then was not watched".to_owned(),
        },
    }
}
