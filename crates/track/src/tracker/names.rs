use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Texts that many pods share, kept once: namespaces, networks, nodes.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Arc<str>, ()>);

impl Names {
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some((known, ())) = self.0.get_key_value(name) {
            return known.clone();
        }
        // What no pod uses any more is let go when there is a lot of it.
        if self.0.len() >= 4096 {
            self.0.retain(|name, ()| Arc::strong_count(name) > 1);
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone(), ());
        name
    }
}

/// A hash of a pod's namespace and name; who uses it compares the names themselves.
pub(super) fn name_hash(namespace: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    hasher.finish()
}
