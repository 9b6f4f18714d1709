//! The hash chain over evidence: BLAKE3 of the hash before, the number, time, source and body.

use std::collections::HashMap;

use podtrail_event::Timestamp;
use rusqlite::Connection;

use super::observation::{ClaimRow, Observation, Source};
use super::rows::{self, CLAIM, ns};
use super::store::Store;
use crate::interval::Evidence;
use crate::{Error, ErrorKind};

/// The end of the chain.
pub(super) struct Head {
    pub(super) seq: i64,
    hash: [u8; 32],
}

fn link(before: &[u8; 32], seq: i64, at: i64, source: &str, body: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&seq.to_le_bytes()).update(&at.to_le_bytes());
    hasher.update(&(source.len() as u64).to_le_bytes()).update(source.as_bytes()).update(body.as_bytes());
    *hasher.finalize().as_bytes()
}

impl Head {
    pub(super) fn append(
        &mut self,
        db: &Connection,
        at: Timestamp,
        source: Source,
        observation: &Observation,
    ) -> rusqlite::Result<i64> {
        let body = serde_json::to_string(observation).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        self.seq += 1;
        self.hash = link(&self.hash, self.seq, ns(at), source.as_str(), &body);
        db.prepare_cached("INSERT INTO evidence VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            self.seq,
            ns(at),
            source.as_str(),
            body,
            &self.hash[..],
        ))?;
        Ok(self.seq)
    }

    pub(super) fn store(&self, db: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE head SET seq = ?1, hash = ?2";
        db.prepare_cached(sql)?.execute((self.seq, &self.hash[..])).map(drop)
    }
}

/// The hash that a chain begins with.
fn origin(cluster: &str) -> [u8; 32] {
    *blake3::hash(cluster.as_bytes()).as_bytes()
}

/// Begins a chain: its anchor is a hash of the cluster's UID.
pub(super) fn start(db: &Connection, cluster: &str) -> rusqlite::Result<()> {
    let hash = origin(cluster);
    db.execute("INSERT INTO anchor VALUES (1, 0, ?1, ?2)", (&hash[..], i64::MIN))?;
    db.execute("INSERT INTO head VALUES (1, 0, ?1)", [&hash[..]]).map(drop)
}

pub(super) fn head(db: &Connection) -> rusqlite::Result<Head> {
    let mut statement = db.prepare_cached("SELECT seq, hash FROM head")?;
    statement.query_row([], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))
}

pub(super) fn anchor(db: &Connection) -> rusqlite::Result<Head> {
    db.query_row("SELECT seq, hash FROM anchor", [], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))
}

/// Whether the last evidence has the number and the hash of the head.
pub(super) fn head_matches(db: &Connection) -> rusqlite::Result<bool> {
    let head = head(db)?;
    let last = db.query_row("SELECT seq, hash FROM evidence ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
    });
    let last = match last {
        Err(rusqlite::Error::QueryReturnedNoRows) => anchor(db)?,
        last => last?,
    };
    Ok(last.seq == head.seq && last.hash == head.hash)
}

/// What [`Store::verify`] has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Pieces of evidence in the chain.
    pub evidence: u64,
    /// Claims that are what the evidence says.
    pub claims: u64,
    /// Number of the evidence that retention has left as the chain's beginning; 0: all is there.
    pub anchor: u64,
}

impl Store {
    /// Checks the file's structure, every link of the hash chain, and that the claims are what the evidence says.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the first thing that is not as it was written, or a failure to read.
    pub fn verify(&self) -> Result<Verified, Error> {
        let corrupt = |why: String| Error::new(ErrorKind::Corrupt, self.path.display().to_string()).because(why);
        let read = |e| self.failure(e);
        let snapshot = self.db.unchecked_transaction().map_err(read)?;
        let sound: String = snapshot.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(read)?;
        if sound != "ok" {
            return Err(corrupt(sound));
        }
        let anchor = anchor(&snapshot).map_err(read)?;
        if anchor.seq == 0 && anchor.hash != origin(&self.cluster().uid) {
            return Err(corrupt("the evidence begins as that of another cluster".to_owned()));
        }
        let (mut seq, mut hash, mut claims) = (anchor.seq, anchor.hash, HashMap::new());
        let mut statement =
            snapshot.prepare("SELECT seq, at, source, body, hash FROM evidence ORDER BY seq").map_err(read)?;
        let mut found = statement.query([]).map_err(read)?;
        while let Some(row) = found.next().map_err(read)? {
            let (number, at): (i64, i64) = (row.get(0).map_err(read)?, row.get(1).map_err(read)?);
            let text = |column| row.get_ref(column).and_then(|v| v.as_str().map_err(Into::into));
            let (source, body) = (text(2).map_err(read)?, text(3).map_err(read)?);
            let stored: [u8; 32] = row.get(4).map_err(read)?;
            if number != seq + 1 {
                return Err(corrupt(format!("evidence {} is missing", seq + 1)));
            }
            hash = link(&hash, number, at, source, body);
            if hash != stored {
                return Err(corrupt(format!("evidence {number} is not what was written")));
            }
            let observation = serde_json::from_str::<Observation>(body)
                .map_err(|e| corrupt(format!("evidence {number} cannot be read: {e}")))?;
            replay(&mut claims, observation);
            seq = number;
        }
        let head = head(&snapshot).map_err(read)?;
        if (head.seq, head.hash) != (seq, hash) {
            return Err(corrupt(format!("evidence after {seq} is missing: the last was {}", head.seq)));
        }
        let checked = compare(&snapshot, claims).map_err(read)?.map_err(corrupt)?;
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        Ok(Verified { evidence: number(seq - anchor.seq), claims: checked, anchor: number(anchor.seq) })
    }
}

/// What the evidence says of each claim.
type Said = HashMap<i64, ClaimRow>;

fn replay(claims: &mut Said, observation: Observation) {
    claims.extend(observation.claims.into_iter().map(|claim| (claim.id, claim)));
    for (id, until) in observation.held {
        if let Some(claim) = claims.get_mut(&id) {
            claim.interval.tighten(Evidence::HeldUntil(until));
        }
    }
    for id in observation.forgotten {
        claims.remove(&id);
    }
}

fn compare(db: &Connection, mut said: Said) -> rusqlite::Result<Result<u64, String>> {
    let mut statement = db.prepare(&format!("SELECT {CLAIM}, c.key FROM claims c"))?;
    let mut count = 0;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (stored, key): (_, [u8; 16]) = (rows::claim(row)?, row.get("key")?);
        let address = rows::address_key(stored.ip);
        let (id, ip) = (stored.id, stored.ip);
        if said.remove(&id) != Some(stored) || key != address {
            return Ok(Err(format!("claim {id} on {ip} is not what the evidence says")));
        }
        count += 1;
    }
    Ok(match said.values().next() {
        Some(missing) => Err(format!("claim {} on {} is missing", missing.id, missing.ip)),
        None => Ok(count),
    })
}
