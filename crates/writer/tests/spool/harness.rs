use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podtrail_event::EventId;
use podtrail_writer::{Batch, Change, Committed, Error, Feed, Item, Position, Source as _, Spool, StateChange, Writer};
use tempfile::TempDir;

pub(crate) const ROOMY: u64 = 1 << 30;

/// A spool of each kind, and what it needs to be there.
pub(crate) fn both(limit: u64) -> [(Spool, Option<TempDir>); 2] {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path().join("spool.db"), limit).unwrap();
    [(spool, Some(folder)), (Spool::in_memory(limit), None)]
}

pub(crate) fn item(n: u64) -> Item {
    Item { id: EventId::derive(&[&n.to_le_bytes()]), line: format!(r#"{{"n":{n}}}"#).into() }
}

pub(crate) fn records(numbers: impl IntoIterator<Item = u64>) -> Change {
    Change { records: numbers.into_iter().map(item).collect(), state: Vec::new() }
}

pub(crate) fn put(slot: u32, value: impl Into<Vec<u8>>) -> StateChange {
    StateChange { space: 0, slot, value: Some(value.into()) }
}

pub(crate) fn at(seq: u64) -> Position {
    Position { seq, resume: Some(format!("t{seq}")), frozen: None }
}

/// The sequence numbers after `after`, each of which must hold the record of that number.
pub(crate) async fn kept(feed: &mut Feed, mut after: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let rows = feed.read(after, None, 1000).await.unwrap();
        let Some(last) = rows.last() else { return seqs };
        after = last.seq;
        for row in rows {
            assert_eq!(row.items, [item(row.seq)]);
            seqs.push(row.seq);
        }
    }
}

/// A writer that keeps what each call was, and fails as scripted first.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    pub(crate) script: Arc<Mutex<Vec<Error>>>,
}

#[async_trait]
impl Writer for Scripted {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        let lines: Vec<_> = batch.items.iter().map(|item| String::from_utf8_lossy(&item.line)).collect();
        let call = format!("{}-{} {} {:?}", batch.first, batch.last, lines.join("+"), batch.resume);
        self.calls.lock().unwrap().push(call);
        let mut script = self.script.lock().unwrap();
        match script.is_empty() {
            true => Ok(Committed { resume: Some(format!("t{}", batch.last)) }),
            false => Err(script.remove(0)),
        }
    }
}
