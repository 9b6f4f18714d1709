use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::Entry;

/// How many unfinished lists can be continued; the token of the oldest expires when there are more.
const KEPT: usize = 16;

/// What a list saw: every page of it shows this.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) items: Vec<Arc<Entry>>,
}

/// The lists that have `continue` tokens.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    lists: VecDeque<(u64, Arc<Snapshot>)>,
}

impl Snapshots {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that continues `snapshot` at item `at`. It can be used again: a client may have to repeat a request.
    pub(crate) fn token(&self, snapshot: &Arc<Snapshot>, at: usize) -> String {
        let mut kept = self.lock();
        let known = kept.lists.iter().find(|(_, list)| Arc::ptr_eq(list, snapshot)).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            if kept.lists.len() == KEPT {
                kept.lists.pop_front();
            }
            let id = kept.next;
            kept.next += 1;
            kept.lists.push_back((id, snapshot.clone()));
            id
        });
        format!("{id}.{at}")
    }

    /// The list that `token` continues and at which item.
    pub(crate) fn resume(&self, token: &str) -> Option<(Arc<Snapshot>, usize)> {
        let (id, at) = token.split_once('.')?;
        let (id, at): (u64, usize) = (id.parse().ok()?, at.parse().ok()?);
        let kept = self.lock();
        let (_, snapshot) = kept.lists.iter().find(|(known, _)| *known == id)?;
        (at <= snapshot.items.len()).then(|| (snapshot.clone(), at))
    }
}
