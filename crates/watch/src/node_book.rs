use std::collections::{BTreeMap, HashMap, HashSet};

use podtrail_event::NodeAddresses;

use crate::delta::Delta;
use crate::node::NodeState;

/// The last known addresses of nodes by name, also of nodes that are gone.
///
/// Of nodes that are gone it remembers a bounded number, and forgets those first that went first.
#[derive(Clone, Debug)]
pub struct NodeBook {
    nodes: HashMap<String, Entry>,
    /// Names of nodes that are gone, by when they went.
    gone: BTreeMap<u64, String>,
    most_gone: usize,
    serial: u64,
    listing: Option<HashSet<String>>,
}

#[derive(Clone, Debug)]
struct Entry {
    uid: String,
    addresses: NodeAddresses,
    gone: Option<u64>,
}

impl Default for NodeBook {
    /// A book that remembers 100,000 nodes that are gone.
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl NodeBook {
    /// A book that remembers so many nodes that are gone.
    pub fn new(most_gone: usize) -> Self {
        Self { nodes: HashMap::new(), gone: BTreeMap::new(), most_gone, serial: 0, listing: None }
    }

    /// Takes in what [`nodes`](crate::nodes) gives.
    pub fn apply(&mut self, delta: &Delta<NodeState>) {
        match delta {
            Delta::ListStarted { .. } => self.listing = Some(HashSet::new()),
            Delta::Listed(node) => {
                self.insert(node);
                if let Some(listing) = &mut self.listing {
                    listing.insert(node.name.clone());
                }
            }
            Delta::Snapshot { .. } => {
                let listed = self.listing.take().unwrap_or_default();
                let live = self.nodes.iter().filter(|(_, entry)| entry.gone.is_none());
                let missing: Vec<_> =
                    live.map(|(name, _)| name).filter(|name| !listed.contains(*name)).cloned().collect();
                missing.iter().for_each(|name| self.remove(name, None));
            }
            Delta::Applied { object, .. } => self.insert(object),
            Delta::Deleted { object, .. } => {
                self.insert(object);
                self.remove(&object.name, Some(&object.uid));
            }
            _ => {}
        }
    }

    /// The last known addresses of the node of this name; empty if there never was one.
    pub fn get(&self, name: &str) -> NodeAddresses {
        self.nodes.get(name).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    /// How many nodes there are now.
    pub fn live(&self) -> usize {
        self.nodes.len() - self.gone.len()
    }

    fn insert(&mut self, node: &NodeState) {
        let mut addresses: NodeAddresses = node.addresses.iter().cloned().collect();
        if let Some(entry) = self.nodes.get(&node.name) {
            // A node that loses sight of its addresses for a while still has them; another of its name need not.
            if addresses.0.is_empty() && entry.uid == node.uid {
                addresses = entry.addresses.clone();
            }
            if let Some(serial) = entry.gone {
                self.gone.remove(&serial);
            }
        }
        self.nodes.insert(node.name.clone(), Entry { uid: node.uid.clone(), addresses, gone: None });
    }

    fn remove(&mut self, name: &str, uid: Option<&str>) {
        let Some(entry) = self.nodes.get_mut(name).filter(|entry| uid.is_none_or(|uid| entry.uid == uid)) else {
            return;
        };
        entry.gone = Some(self.serial);
        self.gone.insert(self.serial, name.to_owned());
        self.serial += 1;
        while self.gone.len() > self.most_gone {
            if let Some((_, name)) = self.gone.pop_first() {
                self.nodes.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use podtrail_event::Timestamp;

    use super::*;

    const AT: Timestamp = Timestamp::from_second(1);

    fn node(name: &str, uid: &str, addresses: &[&str]) -> NodeState {
        let addresses = addresses.iter().map(|a| ("InternalIP".to_owned(), (*a).to_owned())).collect();
        NodeState { uid: uid.into(), name: name.into(), addresses, ..NodeState::default() }
    }

    fn applied(object: NodeState) -> Delta<NodeState> {
        Delta::Applied { object, received: AT, live: true }
    }

    fn deleted(object: NodeState) -> Delta<NodeState> {
        Delta::Deleted { object, received: AT, live: true }
    }

    fn snapshot() -> Delta<NodeState> {
        Delta::Snapshot { resource_version: "1".into(), sent: AT, received: AT, gap: None, after_version: None }
    }

    fn shown(book: &NodeBook, name: &str) -> Vec<String> {
        book.get(name).0.remove("InternalIP").unwrap_or_default()
    }

    #[test]
    fn addresses_outlive_their_node() {
        let mut book = NodeBook::default();
        for delta in [
            applied(node("a", "1", &["172.18.0.2", "fd00::2"])),
            deleted(node("a", "1", &[])),
            Delta::ListStarted { sent: AT },
            Delta::Listed(node("b", "2", &["172.18.0.3"])),
            snapshot(),
            Delta::ListStarted { sent: AT },
            snapshot(),
        ] {
            book.apply(&delta);
        }
        assert_eq!(shown(&book, "a"), ["172.18.0.2", "fd00::2"]);
        assert_eq!(shown(&book, "b"), ["172.18.0.3"]);
        assert_eq!(book.live(), 0);
        assert!(book.get("c").0.is_empty());
    }

    #[test]
    fn a_node_keeps_its_addresses_while_it_shows_none_but_its_successor_does_not_inherit_them() {
        let mut book = NodeBook::default();
        book.apply(&applied(node("a", "1", &["172.18.0.2"])));
        book.apply(&applied(node("a", "1", &[])));
        assert_eq!(shown(&book, "a"), ["172.18.0.2"]);
        book.apply(&applied(node("a", "2", &[])));
        assert!(shown(&book, "a").is_empty());
        assert_eq!(book.live(), 1);
    }

    #[test]
    fn forgets_first_what_went_first_and_never_what_is_there() {
        let mut book = NodeBook::new(2);
        book.apply(&applied(node("here", "0", &["172.18.0.9"])));
        for name in ["a", "b", "c"] {
            book.apply(&applied(node(name, name, &["172.18.0.2"])));
            book.apply(&deleted(node(name, name, &[])));
        }
        assert!(shown(&book, "a").is_empty());
        assert_eq!((shown(&book, "b").len(), shown(&book, "c").len(), shown(&book, "here").len()), (1, 1, 1));
        assert_eq!((book.nodes.len(), book.live()), (3, 1));
        // One that comes back is no longer among those that are gone.
        book.apply(&applied(node("b", "b2", &["172.18.0.2"])));
        book.apply(&deleted(node("d", "d", &["172.18.0.2"])));
        assert_eq!((shown(&book, "b").len(), shown(&book, "c").len(), book.live()), (1, 1, 2));
    }
}
