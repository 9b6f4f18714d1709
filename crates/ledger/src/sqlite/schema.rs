//! Tables. Times are nanoseconds since 1970, UTC; `key` is the address as 16 bytes, IPv4 mapped; `said` is the first evidence
//! that has the claim in full, and is kept, so that retention finds what must be said again.

use super::header::SCHEMA_VERSION;

pub(crate) const CREATE: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE evidence (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TABLE anchor (
  one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL, since INTEGER NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE pods (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  created INTEGER NOT NULL, deleted INTEGER NOT NULL, gone INTEGER, pod TEXT NOT NULL);
CREATE UNIQUE INDEX pods_by_uid ON pods (uid);
CREATE INDEX pods_by_name ON pods (namespace, name);
CREATE INDEX pods_alive ON pods (id) WHERE gone IS NULL;
CREATE INDEX pods_gone ON pods (gone) WHERE gone IS NOT NULL;
CREATE TABLE nodes (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, addresses TEXT NOT NULL, gone INTEGER);
CREATE TABLE claims (
  id INTEGER PRIMARY KEY, network TEXT NOT NULL, key BLOB NOT NULL, address TEXT NOT NULL, subject TEXT NOT NULL,
  holder INTEGER NOT NULL, ordinal INTEGER NOT NULL, shared INTEGER NOT NULL, start_earliest INTEGER NOT NULL,
  start_latest INTEGER NOT NULL, end_earliest INTEGER NOT NULL, end_latest INTEGER, may_end INTEGER NOT NULL,
  said INTEGER NOT NULL DEFAULT 0);
CREATE INDEX claims_by_address ON claims (key, network);
CREATE INDEX claims_by_holder ON claims (holder, subject);
CREATE INDEX claims_by_evidence ON claims (said);
CREATE TABLE gaps (
  seq INTEGER PRIMARY KEY, source TEXT NOT NULL, from_time INTEGER NOT NULL, to_time INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE coverage (
  source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, proven INTEGER NOT NULL,
  PRIMARY KEY (source, start)) WITHOUT ROWID;
CREATE TABLE skews (node TEXT PRIMARY KEY, fast INTEGER NOT NULL, slow INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (source TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sinks (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, resume TEXT, frozen INTEGER) WITHOUT ROWID;
CREATE TABLE dead_letters (
  sink TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL,
  PRIMARY KEY (sink, seq, id)) WITHOUT ROWID;
CREATE VIEW held AS
  SELECT c.network, c.address, c.subject, coalesce(p.namespace, '') AS namespace, coalesce(p.name, n.name) AS name,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.start_earliest / 1e9, 'unixepoch') AS start_earliest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.start_latest / 1e9, 'unixepoch') AS start_latest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.end_earliest / 1e9, 'unixepoch') AS end_earliest,
    strftime('%Y-%m-%dT%H:%M:%fZ', c.end_latest / 1e9, 'unixepoch') AS end_latest
  FROM claims c
  LEFT JOIN pods p ON c.subject = 'pod' AND p.id = c.holder
  LEFT JOIN nodes n ON c.subject = 'node' AND n.id = c.holder;
";

/// What makes a ledger of each older version one of the next.
pub(crate) const UPGRADES: [&str; SCHEMA_VERSION as usize - 1] = [
    // Of a span that was stored without it, only that it began is proven.
    "
CREATE TABLE spans (
  source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, proven INTEGER NOT NULL,
  PRIMARY KEY (source, start)) WITHOUT ROWID;
INSERT INTO spans SELECT source, start, until, start FROM coverage;
DROP TABLE coverage;
ALTER TABLE spans RENAME TO coverage;
CREATE TABLE skews (node TEXT PRIMARY KEY, fast INTEGER NOT NULL, slow INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX pods_gone ON pods (gone) WHERE gone IS NOT NULL;
ALTER TABLE claims ADD COLUMN said INTEGER NOT NULL DEFAULT 0;
UPDATE claims SET said = seq FROM (
  SELECT json_extract(j.value, '$.id') AS claim, max(e.seq) AS seq FROM evidence e, json_each(e.body, '$.claims') j
    GROUP BY 1)
  WHERE claims.id = claim;
CREATE INDEX claims_by_evidence ON claims (said);
DELETE FROM pods WHERE created = 0 AND id NOT IN (SELECT holder FROM claims WHERE subject = 'pod');
",
];
