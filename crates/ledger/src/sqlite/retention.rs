use std::time::Duration;

use podtrail_event::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::chain;
use super::observation::{ClaimRow, Observation, Source};
use super::rows::{self, CLAIM, ns};
use super::store::Store;
use crate::Error;

/// What a ledger keeps. An open claim is never forgotten, nor evidence that a sink still has to deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two limits, each optional")]
pub struct Retention {
    /// Claims that ended, and evidence, longer ago than this are forgotten.
    pub age: Option<Duration>,
    /// Of a file larger than this many bytes, the oldest tenth of the evidence is forgotten at a time.
    pub size: Option<u64>,
}

/// What [`Store::prune`] forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Pieces of evidence.
    pub evidence: u64,
    /// Ended claims.
    pub claims: u64,
}

/// Claims to a carried-forward record.
const CARRY: usize = 1000;

impl Store {
    /// Forgets what `retention` does not keep, as seen at `now`.
    ///
    /// What is left still verifies: the chain goes on from an anchor, and the claims that are kept are carried forward.
    /// Answers about times before what is kept are "before history".
    ///
    /// # Errors
    /// If the ledger cannot be changed; then nothing is forgotten.
    pub fn prune(&mut self, retention: &Retention, now: Timestamp) -> Result<Pruned, Error> {
        let run = |db: &mut Connection| -> rusqlite::Result<Pruned> {
            let Some(cut) = cut(db, retention, now)? else { return Ok(Pruned::default()) };
            let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let pruned = forget(&transaction, cut, now)?;
            vacuum(&transaction)?;
            transaction.commit()?;
            Ok(pruned)
        };
        let pruned = run(&mut self.db);
        pruned.map_err(|e| self.failure(e))
    }
}

/// The last evidence to forget, and the time before which ended claims are forgotten.
#[derive(Clone, Copy)]
struct Cut {
    seq: i64,
    before: i64,
}

fn cut(db: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<Option<Cut>> {
    let by_age = match retention.age {
        Some(age) => last_before(db, ns(now.saturating_sub(age)))?,
        None => None,
    };
    let pages = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let bytes = (pages("PRAGMA page_count")? - pages("PRAGMA freelist_count")?) * pages("PRAGMA page_size")?;
    let by_size = match retention.size {
        Some(size) if bytes > i64::try_from(size).unwrap_or(i64::MAX) => {
            db.query_row("SELECT min(seq) + (max(seq) - min(seq)) / 10 FROM evidence", [], |row| {
                row.get::<_, Option<i64>>(0)
            })?
        }
        _ => None,
    };
    let delivered: Option<i64> = db.query_row("SELECT min(seq) FROM sinks", [], |row| row.get(0))?;
    let Some(seq) = by_age.max(by_size).map(|seq| seq.min(delivered.unwrap_or(i64::MAX))) else { return Ok(None) };
    let found = db.query_row("SELECT at FROM evidence WHERE seq = ?1", [seq], |row| row.get(0)).optional()?;
    Ok(found.map(|before| Cut { seq, before }))
}

fn last_before(db: &Connection, at: i64) -> rusqlite::Result<Option<i64>> {
    // Times follow the numbers but for steps of the clock: the first that is kept bounds what goes.
    let first_kept =
        db.query_row("SELECT min(seq) FROM evidence WHERE at >= ?1", [at], |row| row.get::<_, Option<i64>>(0))?;
    let first_kept = match first_kept {
        Some(seq) => seq,
        None => db.query_row("SELECT seq + 1 FROM head", [], |row| row.get(0))?,
    };
    db.query_row("SELECT max(seq) FROM evidence WHERE seq < ?1", [first_kept], |row| row.get(0))
}

fn forget(db: &Transaction<'_>, cut: Cut, now: Timestamp) -> rusqlite::Result<Pruned> {
    let ended = "end_latest IS NOT NULL AND max(end_latest, end_earliest) < ?1";
    let forgotten: Vec<i64> = db
        .prepare(&format!("SELECT id FROM claims WHERE {ended}"))?
        .query_map([cut.before], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let claims = forgotten.len() as u64;
    db.execute(&format!("DELETE FROM claims WHERE {ended}"), [cut.before])?;
    carry_forward(db, forgotten, cut.seq, now)?;
    db.execute(
        "UPDATE anchor SET (seq, hash, since) =
           (SELECT e.seq, e.hash, max(anchor.since, ?2) FROM evidence e WHERE e.seq = ?1)",
        [cut.seq, cut.before],
    )?;
    let evidence = db.execute("DELETE FROM evidence WHERE seq <= ?1", [cut.seq])?;
    db.execute("DELETE FROM gaps WHERE to_time < ?1", [cut.before])?;
    db.execute(
        "INSERT INTO coverage SELECT source, ?1, max(until), max(proven, ?1) FROM coverage WHERE start < ?1 AND until >= ?1 GROUP BY source
           ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
        [cut.before],
    )?;
    db.execute("DELETE FROM coverage WHERE start < ?1", [cut.before])?;
    let held = "SELECT holder FROM claims WHERE subject = ";
    db.execute(&format!("DELETE FROM pods WHERE gone IS NOT NULL AND id NOT IN ({held} 'pod')"), [])?;
    db.execute(&format!("DELETE FROM nodes WHERE gone IS NOT NULL AND id NOT IN ({held} 'node')"), [])?;
    Ok(Pruned { evidence: evidence as u64, claims })
}

/// Says again, at the end of the chain, the claims that are kept though evidence of them up to `until` will be forgotten.
fn carry_forward(db: &Transaction<'_>, forgotten: Vec<i64>, until: i64, now: Timestamp) -> rusqlite::Result<()> {
    let mut head = chain::head(db)?;
    let said =
        "SELECT json_extract(j.value, '$.id') FROM evidence e, json_each(e.body, '$.claims') j WHERE e.seq <= ?1";
    let mut statement = db.prepare(&format!("SELECT {CLAIM} FROM claims c WHERE c.id IN ({said}) ORDER BY c.id"))?;
    let mut kept = statement.query_map([until], rows::claim)?;
    let mut observation = Observation { forgotten, ..Observation::default() };
    loop {
        let claims = kept.by_ref().take(CARRY).collect::<rusqlite::Result<Vec<ClaimRow>>>()?;
        let last = claims.len() < CARRY;
        observation.claims = claims;
        head.append(db, now, Source::Tracker, &observation)?;
        observation = Observation::default();
        if last {
            break;
        }
    }
    head.store(db)
}

/// Gives the pages that are free back to the file system.
fn vacuum(db: &Transaction<'_>) -> rusqlite::Result<()> {
    // A page a step: `execute_batch` would make one.
    let mut statement = db.prepare("PRAGMA incremental_vacuum")?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}
