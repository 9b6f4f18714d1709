use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Texts that many pods share, kept once: namespaces, networks, nodes.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Arc<String>>);

impl Names {
    pub(super) fn get(&mut self, name: &str) -> Arc<String> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        // What no pod uses any more is let go when there is a lot of it.
        if self.0.len() >= 4096 {
            self.0.retain(|_, known| Arc::strong_count(known) > 1);
        }
        let shared = Arc::new(name.to_owned());
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

/// Pods' row numbers by a hash of something of theirs: a third of the memory that the thing itself would take as a key.
///
/// Whoever looks one up compares the thing itself. Of two with one hash the later is found.
#[derive(Debug, Default)]
pub(super) struct ByHash(HashMap<u64, i64>);

impl ByHash {
    pub(super) fn hash(key: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn get(&self, key: impl Hash) -> Option<i64> {
        self.0.get(&Self::hash(key)).copied()
    }

    pub(super) fn insert(&mut self, key: impl Hash, id: i64) {
        self.0.insert(Self::hash(key), id);
    }

    /// Forgets that `key` is that of `id`, if it is.
    pub(super) fn remove(&mut self, key: impl Hash, id: i64) {
        if let Entry::Occupied(entry) = self.0.entry(Self::hash(key))
            && *entry.get() == id
        {
            entry.remove();
        }
    }
}
