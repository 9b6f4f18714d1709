use std::time::Duration;

use podtrail_event::{Gap, NodeAddresses, Pod, Timestamp};
use rusqlite::Connection;

use super::observation::{ClaimRow, Observation, Source};
use super::rows::{self, address_key, ns};
use super::sinks::{DeadLetter, SinkPosition};

/// A pod, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by trackers")]
pub struct PodRow {
    /// The row's number.
    pub id: i64,
    /// Last seen version.
    pub version: u64,
    /// Its `created` event has been recorded.
    pub created: bool,
    /// Its `deleted` event has been recorded.
    pub deleted: bool,
    /// Its object is gone, known at this time.
    pub gone: Option<Timestamp>,
    /// The pod, as last known.
    pub pod: Pod,
}

/// A node, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a row, written by trackers")]
pub struct NodeRow {
    /// The row's number.
    pub id: i64,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.name`.
    pub name: String,
    /// Last known addresses.
    pub addresses: NodeAddresses,
    /// Its object is gone, known at this time.
    pub gone: Option<Timestamp>,
}

/// One change of the ledger; a commit makes many, all or none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Appends evidence; the claims and the gap within are stored too.
    Observed(Timestamp, Source, Box<Observation>),
    /// Inserts or replaces a pod.
    Pod(Box<PodRow>),
    /// Inserts or replaces a node.
    Node(NodeRow),
    /// A source was watched without interruption since `start`, until `until`.
    ///
    /// `until` counts silence on a connection that seemed alive; only until `proven` was something heard.
    Covered {
        /// `pods`, `nodes`.
        source: &'static str,
        /// Since when.
        start: Timestamp,
        /// Until when.
        until: Timestamp,
        /// When a frame, a bookmark or a list came last; at most `until`.
        proven: Timestamp,
    },
    /// Where a watch is to be resumed.
    Checkpoint(&'static str, String),
    /// A node's clock was found to be off. What was found before stays: the larger counts.
    Skew {
        /// The node's name.
        node: String,
        /// By how much it was ahead.
        fast: Duration,
        /// By how much it was behind.
        slow: Duration,
    },
    /// A sink's position.
    Position(String, SinkPosition),
    /// A record that a sink refused.
    DeadLetter(DeadLetter),
}

/// Applies one change. Evidence gets its number and hash from `append`.
pub(super) fn apply(
    db: &Connection,
    change: &Change,
    append: &mut impl FnMut(Timestamp, Source, &Observation) -> rusqlite::Result<i64>,
) -> rusqlite::Result<()> {
    match change {
        Change::Observed(at, source, observation) => {
            let seq = append(*at, *source, observation)?;
            observation.claims.iter().try_for_each(|claim| put_claim(db, seq, claim))?;
            held(db, &observation.held)?;
            if let Some((gap, _)) = &observation.gap {
                put_gap(db, seq, gap)?;
            }
            Ok(())
        }
        Change::Pod(row) => put_pod(db, row),
        Change::Node(row) => put_node(db, row),
        Change::Covered { source, start, until, proven } => db
            .prepare_cached(
                // What retention has forgotten stays forgotten, also where a tracker has watched since before.
                "INSERT INTO coverage SELECT ?1, max(?2, since), ?3, max(?4, since) FROM anchor WHERE ?3 >= since
                   ON CONFLICT DO UPDATE SET until = max(until, excluded.until), proven = max(proven, excluded.proven)",
            )?
            .execute((source, ns(*start), ns(*until), ns(*proven)))
            .map(drop),
        Change::Checkpoint(source, version) => db
            .prepare_cached("INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2)")?
            .execute((source, version))
            .map(drop),
        Change::Skew { node, fast, slow } => db
            .prepare_cached(
                "INSERT INTO skews VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET fast = max(fast, excluded.fast), slow = max(slow, excluded.slow)",
            )?
            .execute((node, rows::nanoseconds(*fast), rows::nanoseconds(*slow)))
            .map(drop),
        Change::Position(sink, position) => super::sinks::put_position(db, sink, position),
        Change::DeadLetter(letter) => super::sinks::put_dead_letter(db, letter),
    }
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn put_pod(db: &Connection, row: &PodRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO pods VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET version = excluded.version,
        created = excluded.created, deleted = excluded.deleted, gone = excluded.gone, pod = excluded.pod";
    let version = i64::try_from(row.version).unwrap_or(i64::MAX);
    let pod = &row.pod;
    let gone = row.gone.map(ns);
    let values = (row.id, &pod.uid, &pod.namespace, &pod.name, version, row.created, row.deleted, gone, json(pod)?);
    db.prepare_cached(sql)?.execute(values).map(drop)
}

fn put_node(db: &Connection, row: &NodeRow) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO nodes VALUES (?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute((row.id, &row.uid, &row.name, json(&row.addresses)?, row.gone.map(ns))).map(drop)
}

fn put_claim(db: &Connection, seq: i64, row: &ClaimRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO claims VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
        ON CONFLICT (id) DO UPDATE SET start_earliest = excluded.start_earliest, start_latest = excluded.start_latest,
        end_earliest = excluded.end_earliest, end_latest = excluded.end_latest, may_end = excluded.may_end";
    let (i, subject) = (&row.interval, rows::subject(row.subject));
    db.prepare_cached(sql)?
        .execute(rusqlite::params![
            row.id,
            row.network,
            address_key(row.ip),
            row.ip.to_string(),
            subject,
            row.holder,
            row.ordinal,
            row.shared,
            ns(i.start_earliest),
            ns(i.start_latest),
            ns(i.end_earliest),
            i.end_latest.map(ns),
            i.may_end,
            seq,
        ])
        .map(drop)
}

fn held(db: &Connection, held: &[(i64, Timestamp)]) -> rusqlite::Result<()> {
    let mut update = db.prepare_cached("UPDATE claims SET end_earliest = max(end_earliest, ?2) WHERE id = ?1")?;
    held.iter().try_for_each(|(id, until)| update.execute((id, ns(*until))).map(drop))
}

fn put_gap(db: &Connection, seq: i64, gap: &Gap) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO gaps VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((seq, &gap.source, ns(gap.from), ns(gap.to), &gap.reason))
        .map(drop)
}
