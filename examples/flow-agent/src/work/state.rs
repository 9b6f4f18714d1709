//! Where things are in the store.
//!
//! Space 0 has a [`SiteState`] for each namespace in the slot of its number. Of number n, space 2n + 2 has the connections, and
//! space 2n + 3 those that ended lately, several to a slot.

use anyhow::Context as _;
use podtrail_flow::Key;
use podtrail_writer::Spool;
use serde::{Deserialize, Serialize};

pub(crate) const SITES: u32 = 0;

pub(crate) const fn connections(number: u32) -> u32 {
    2 * number + 2
}

pub(crate) const fn closed(number: u32) -> u32 {
    2 * number + 3
}

/// How far the counting of a namespace has got. Times are nanoseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SiteState {
    /// The machine's boot; ids, stamps and cookies are of one.
    pub(crate) boot: String,
    pub(crate) cookie: u64,
    pub(crate) inode: u64,
    /// How it was named last.
    pub(crate) path: String,
    /// Which holder's sockets it was read from.
    pub(crate) holder: String,
    /// All that is before this position of the holder's journal is counted.
    pub(crate) journal: u64,
    /// All that happened before this is counted.
    pub(crate) observed: i64,
    /// So many lost events of this holder's socket are declared, and how often nobody could tell.
    pub(crate) lost: u64,
    pub(crate) unsure: u64,
    /// When the last complete snapshots began, the last one first.
    pub(crate) reads: [Option<i64>; 4],
    pub(crate) generation: u32,
    /// It was left because it was to be.
    pub(crate) is_stopped: bool,
}

/// All namespaces that were ever counted in, by number.
pub(crate) fn sites(spool: &Spool) -> anyhow::Result<Vec<(u32, SiteState)>> {
    let mut found = Vec::new();
    spool
        .state(SITES, |number, bytes| found.push((number, serde_json::from_slice(bytes))))
        .context("cannot read the state")?;
    found.into_iter().map(|(number, state)| Ok((number, state.context("the state is of another release")?))).collect()
}

/// Connections that ended, as one value.
pub(crate) fn keys_to_bytes(keys: &[Key]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.to_bytes()).collect()
}

pub(crate) fn keys_from_bytes(bytes: &[u8]) -> impl Iterator<Item = Key> {
    let (keys, _) = bytes.as_chunks::<16>();
    keys.iter().map(|key| Key::from_bytes(*key))
}
