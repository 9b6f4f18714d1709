//! What the holder tells its worker, and how. The worker answers with bytes of no meaning: signs of life.

use anyhow::Context as _;
use podtrail_daemon::Channel;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Count in this namespace. With it come the descriptors of the namespace, of the socket for events, and of the journal.
    Count(Site),
    /// What has become of a namespace's socket.
    Mode { index: usize, mode: Mode },
    /// Open files anew.
    Reopen,
    /// Read all once more, write it out, and end.
    Stop,
}

/// A network namespace as the holder knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Site {
    /// Its place, from 0 on, and how many there are.
    pub(crate) index: usize,
    pub(crate) of: usize,
    /// How it was named.
    pub(crate) path: String,
    /// Which holder it is: no other one has this name.
    pub(crate) holder: String,
    /// When the holder began to listen, in nanoseconds since 1970.
    pub(crate) since: i64,
    /// When it last heard of a worker before this one, if there was one.
    pub(crate) heard: Option<i64>,
    pub(crate) mode: Mode,
}

/// What has become of a socket since the holder opened it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mode {
    pub(crate) is_reliable: bool,
    /// Events that were lost in earlier spans without reliable mode.
    pub(crate) lost: u64,
    /// Not in reliable mode: from this count of drops on, each is an event that is lost.
    pub(crate) mark: u32,
    /// So many times it could not be told whether a drop was before or after reliable mode was left.
    pub(crate) unsure: u64,
    /// How often the watchdog has left reliable mode.
    pub(crate) trips: u64,
}

impl Mode {
    /// How many events were lost until the socket counted so many drops.
    pub(crate) fn lost(&self, drops: u32) -> u64 {
        let now = if self.is_reliable { 0 } else { drops.wrapping_sub(self.mark) };
        self.lost + u64::from(now)
    }
}

impl Order {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and text have a JSON form")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(bytes).context("the holder is of another release")
    }
}

/// Tells the holder that the worker lives.
pub(crate) fn give_sign_of_life(channel: &Channel) {
    // A holder that does not read knows already; one that has ended ends the worker.
    channel.send(b".", &[]).ok();
}
