mod over;

use std::time::Duration;

use podtrail_event::{Subject, Timestamp};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::chain;
use super::observation::{ClaimRow, Observation, Source};
use super::rows::ns;
use super::store::Store;
use crate::Error;
use over::{Sorted, sort};

/// What a ledger keeps. Evidence that a sink still has to deliver is never forgotten, nor what a living pod still holds.
///
/// A claim is forgotten when it ended before all that is kept, be it because the next holder of its address had begun. One
/// whose end nobody ever saw is forgotten when its last sign, and the end of its pod's object, are before that.
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
    /// Claims that were over.
    pub claims: u64,
    /// There is more to forget now: it was left for the next call, to keep this one short.
    pub more: bool,
}

/// So many pieces of evidence, and about so many claims, one call looks at.
const MOST: i64 = 10_000;
/// So many pages one call gives back to the file system.
const PAGES: i64 = 5_000;
/// Claims to a carried-forward record.
const CARRY: usize = 1000;

impl Store {
    /// Forgets what `retention` does not keep, as seen at `now`: a part of it, if it is [much](Pruned::more).
    ///
    /// What is left still verifies: the chain goes on from an anchor, and the claims that are kept are carried forward.
    /// Answers about times before what is kept are "before history".
    ///
    /// # Errors
    /// If the ledger cannot be changed; then nothing is forgotten.
    pub fn prune(&mut self, retention: &Retention, now: Timestamp) -> Result<Pruned, Error> {
        self.prune_some(retention, now, MOST)
    }

    fn prune_some(&mut self, retention: &Retention, now: Timestamp, most: i64) -> Result<Pruned, Error> {
        let run = |db: &mut Connection| -> rusqlite::Result<Pruned> {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut pruned = match cut(&transaction, retention, now, most)? {
                Some(cut) => forget(&transaction, &cut, now, most)?,
                None => Pruned::default(),
            };
            pruned.more |= vacuum(&transaction)?;
            transaction.commit()?;
            Ok(pruned)
        };
        let pruned = run(&mut self.db);
        pruned.map_err(|e| self.failure(e))
    }
}

/// The last evidence to forget now, and the time before which claims that are over are forgotten.
struct Cut {
    seq: i64,
    before: i64,
    /// Evidence after `seq` is to be forgotten too.
    more: bool,
}

fn cut(db: &Connection, retention: &Retention, now: Timestamp, most: i64) -> rusqlite::Result<Option<Cut>> {
    let (anchor, head) = (chain::anchor(db)?.seq, chain::head(db)?.seq);
    let furthest = head.min(anchor.saturating_add(most));
    let (mut seq, mut before) = (anchor, i64::MIN);
    if let Some(age) = retention.age {
        before = ns(now.saturating_sub(age));
        // Times follow the numbers but for steps of the clock: the first that is kept bounds what goes.
        let kept = "SELECT seq FROM evidence WHERE seq <= ?1 AND at >= ?2 ORDER BY seq LIMIT 1";
        let kept: Option<i64> = db.query_row(kept, (furthest + 1, before), |row| row.get(0)).optional()?;
        seq = kept.map_or(head, |seq| seq - 1);
    }
    if let Some(size) = retention.size
        && head > anchor
        && bytes(db)? > i64::try_from(size).unwrap_or(i64::MAX)
    {
        let tenth = anchor + 1 + (head - anchor - 1) / 10;
        let at = "SELECT at FROM evidence WHERE seq = ?1";
        before = before.max(db.query_row(at, [tenth.min(furthest)], |row| row.get(0))?);
        seq = seq.max(tenth);
    }
    let delivered: Option<i64> = db.query_row("SELECT min(seq) FROM sinks", [], |row| row.get(0))?;
    seq = seq.min(delivered.unwrap_or(i64::MAX));
    Ok((seq > anchor).then(|| Cut { seq: seq.min(furthest), before, more: seq > furthest }))
}

/// How large the file is without its free pages.
fn bytes(db: &Connection) -> rusqlite::Result<i64> {
    Ok((pages(db, "page_count")? - pages(db, "freelist_count")?) * pages(db, "page_size")?)
}

fn pages(db: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

fn forget(db: &Connection, cut: &Cut, now: Timestamp, most: i64) -> rusqlite::Result<Pruned> {
    let Sorted { over, kept, until } = sort(db, cut.seq, cut.before, most)?;
    for claim in &over {
        db.prepare_cached("DELETE FROM claims WHERE id = ?1")?.execute([claim.id])?;
        if claim.subject == Subject::Pod {
            let pod = "DELETE FROM pods WHERE id = ?1 AND gone IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM claims WHERE holder = ?1 AND subject = 'pod')";
            db.prepare_cached(pod)?.execute([claim.holder])?;
        }
    }
    carry_forward(db, over.iter().map(|claim| claim.id).collect(), kept, now)?;
    let evidence = forget_evidence(db, until)?;
    db.execute("UPDATE anchor SET since = max(since, ?1)", [cut.before])?;
    db.execute("DELETE FROM gaps WHERE to_time < ?1", [cut.before])?;
    db.execute(
        "INSERT INTO coverage SELECT source, ?1, max(until), max(max(proven), ?1)
           FROM coverage WHERE start < ?1 AND until >= ?1 GROUP BY source
           ON CONFLICT DO UPDATE SET until = max(until, excluded.until), proven = max(proven, excluded.proven)",
        [cut.before],
    )?;
    db.execute("DELETE FROM coverage WHERE start < ?1", [cut.before])?;
    let more = cut.more || until < cut.seq;
    if !more {
        // Those whose claims went before them.
        for (table, subject) in [("pods", "pod"), ("nodes", "node")] {
            let claims = format!("SELECT 1 FROM claims WHERE holder = {table}.id AND subject = '{subject}'");
            db.execute(&format!("DELETE FROM {table} WHERE gone < ?1 AND NOT EXISTS ({claims})"), [cut.before])?;
        }
    }
    Ok(Pruned { evidence, claims: over.len() as u64, more })
}

/// Forgets the evidence up to `until`, and what sinks refused of it.
fn forget_evidence(db: &Connection, until: i64) -> rusqlite::Result<u64> {
    let link = "SELECT seq, hash FROM evidence WHERE seq = ?1";
    db.execute(&format!("UPDATE anchor SET (seq, hash) = ({link}) WHERE EXISTS ({link})"), [until])?;
    let letters = "DELETE FROM dead_letters WHERE sink IN (SELECT DISTINCT sink FROM dead_letters) AND seq <= ?1";
    db.execute(letters, [until])?;
    Ok(db.execute("DELETE FROM evidence WHERE seq <= ?1", [until])? as u64)
}

/// Says at the end of the chain which claims are forgotten, and again those that are `kept` though what said them goes.
fn carry_forward(
    db: &Connection,
    forgotten: Vec<i64>,
    mut kept: Vec<ClaimRow>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut head = chain::head(db)?;
    let mut said = db.prepare_cached("UPDATE claims SET said = ?2 WHERE id = ?1")?;
    let mut observation = Observation { forgotten, ..Observation::default() };
    while !(observation.forgotten.is_empty() && kept.is_empty()) {
        let rest = kept.split_off(kept.len().min(CARRY));
        observation.claims = std::mem::replace(&mut kept, rest);
        let seq = head.append(db, now, Source::Tracker, &observation)?;
        observation.claims.iter().try_for_each(|claim| said.execute((claim.id, seq)).map(drop))?;
        observation = Observation::default();
    }
    head.store(db)
}

/// Gives free pages back to the file system. Whether there are more.
fn vacuum(db: &Connection) -> rusqlite::Result<bool> {
    let before = pages(db, "freelist_count")?;
    // A page a step: `execute_batch` would make one.
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    let left = pages(db, "freelist_count")?;
    Ok(0 < left && left < before)
}

#[cfg(test)]
mod tests;
