//! Which claims are over.

use std::collections::HashSet;

use podtrail_event::{Subject, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::exclusive::exclude;
use crate::interval::Interval;
use crate::sqlite::observation::ClaimRow;
use crate::sqlite::query::claims_of;
use crate::sqlite::rows::{self, CLAIM, ns};

/// The claims of which evidence is to be forgotten, and all others of their addresses that are over.
pub(super) struct Sorted {
    /// Those to be forgotten.
    pub(super) over: Vec<ClaimRow>,
    /// Those to be said again.
    pub(super) kept: Vec<ClaimRow>,
    /// The last evidence that is not needed any more.
    pub(super) until: i64,
}

/// Sorts the claims that evidence up to `seq` was the first to say; when that makes it look at more than `most`, only
/// the first of them.
pub(super) fn sort(db: &Connection, seq: i64, before: i64, most: i64) -> rusqlite::Result<Sorted> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {CLAIM}, c.key, c.said FROM claims c WHERE c.said <= ?1 ORDER BY c.said, c.id LIMIT ?2"
    ))?;
    let said: Vec<(ClaimRow, [u8; 16], i64)> = statement
        .query_map((seq, most.saturating_add(1)), |row| Ok((rows::claim(row)?, row.get("key")?, row.get("said")?)))?
        .collect::<rusqlite::Result<_>>()?;
    let (mut kept, mut over, mut until) = (Vec::new(), Vec::new(), seq);
    let (mut addresses, mut ids, mut looked_at) = (HashSet::new(), HashSet::new(), 0);
    for (claim, key, said) in said {
        if looked_at >= most {
            until = said - 1;
            break;
        }
        looked_at += 1;
        if addresses.insert((key, claim.network.clone())) {
            let all = claims_of(db, &claim.network, key)?;
            looked_at += i64::try_from(all.len()).unwrap_or(i64::MAX);
            let gone = of_address(db, all, before)?;
            ids.extend(gone.iter().map(|claim| claim.id));
            over.extend(gone);
        }
        kept.push(claim);
    }
    kept.retain(|claim| !ids.contains(&claim.id));
    Ok(Sorted { over, kept, until })
}

/// Of all claims of an address, those that were over before.
///
/// What they say of the others must not be lost with them. A claim whose start ends another is kept while that other is;
/// that others began after them says nothing of the time that is kept.
fn of_address(db: &Connection, claims: Vec<ClaimRow>, before: i64) -> rusqlite::Result<Vec<ClaimRow>> {
    let (shared, exclusive): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.shared);
    let settled = exclude(exclusive.into_iter().map(|claim| (claim.interval, claim)).collect());
    let shared = shared.into_iter().map(|claim| (claim.interval, claim));
    let mut all = Vec::new();
    for (interval, claim) in settled.map(|(interval, _, claim)| (interval, claim)).chain(shared) {
        all.push((is_over(db, &interval, &claim, before)?, interval, claim));
    }
    let mut floor = Timestamp::MAX;
    loop {
        let kept = all.iter().filter(|(over, _, claim)| !*over || claim.interval.start_latest >= floor);
        let ends = kept.filter(|(_, settled, claim)| settled.end_latest != claim.interval.end_latest);
        match ends.filter_map(|(_, settled, _)| settled.end_latest).min() {
            Some(end) if end < floor => floor = end,
            _ => break,
        }
    }
    let over =
        all.into_iter().filter(|(over, _, claim)| *over && (claim.shared || claim.interval.start_latest < floor));
    Ok(over.map(|(_, _, claim)| claim).collect())
}

/// Whether a claim, whose bounds are `settled` with the others of its address, was over `before`.
fn is_over(db: &Connection, settled: &Interval, claim: &ClaimRow, before: i64) -> rusqlite::Result<bool> {
    let last = settled.start_earliest.max(settled.start_latest).max(settled.end_earliest);
    if ns(last.max(settled.end_latest.unwrap_or(last))) >= before {
        return Ok(false);
    }
    // Nodes do not count how often they held an address; a pod that lives does, by its claims.
    if claim.interval.end_latest.is_some() && claim.subject == Subject::Node {
        return Ok(true);
    }
    let table = match claim.subject {
        Subject::Pod => "pods",
        Subject::Node => "nodes",
    };
    let sql = format!("SELECT gone FROM {table} WHERE id = ?1");
    let gone: Option<i64> = db.prepare_cached(&sql)?.query_row([claim.holder], |row| row.get(0)).optional()?.flatten();
    Ok(gone.is_some_and(|gone| settled.end_latest.is_some() || gone < before))
}
