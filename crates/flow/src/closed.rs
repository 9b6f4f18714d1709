use std::mem;

use hashbrown::HashTable;

use crate::identity::Key;

/// Keys of connections that have ended, in two sets: as long as one of them may still be shown, or be closed again.
#[derive(Debug)]
pub(crate) struct Closed {
    newer: HashTable<Key>,
    older: HashTable<Key>,
    /// Most keys of each set.
    room: usize,
    forgotten: u64,
}

impl Closed {
    /// For as many keys, and two at least.
    pub(crate) fn new(limit: usize) -> Self {
        Self { newer: HashTable::new(), older: HashTable::new(), room: (limit / 2).max(1), forgotten: 0 }
    }

    /// Others than this connection never have its key only if it is stamped: then it is worth remembering.
    pub(crate) fn insert(&mut self, key: Key) {
        if !key.is_stamped() || has(&self.newer, key) {
            return;
        }
        if let Ok(found) = self.older.find_entry(key.hash(), |known| *known == key) {
            found.remove();
        }
        if self.newer.len() >= self.room {
            self.forgotten += self.older.len() as u64;
            self.rotate();
        }
        self.newer.insert_unique(key.hash(), key, |key| key.hash());
    }

    /// Whether it is one of them. If so it is kept for longer: who speaks of it now may do so again.
    pub(crate) fn recall(&mut self, key: Key) -> bool {
        let is_known = has(&self.newer, key) || has(&self.older, key);
        if is_known {
            self.insert(key);
        }
        is_known
    }

    /// Lets go of the older ones.
    pub(crate) fn rotate(&mut self) {
        // A new table, not one that was cleared: it would stay as large as it ever was.
        self.older = mem::take(&mut self.newer);
    }

    pub(crate) fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// How many were let go of early, for want of room.
    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

fn has(keys: &HashTable<Key>, key: Key) -> bool {
    keys.find(key.hash(), |known| *known == key).is_some()
}
