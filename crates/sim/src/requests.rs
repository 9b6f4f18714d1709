use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many watch starts are remembered; older ones are forgotten first.
const REMEMBERED: usize = 4096;

/// What was asked of the API: all requests but malformed ones, also those answered with an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Lists of pods, each counted once however many pages it has.
    pub list: u64,
    /// Further pages of lists of pods.
    pub page: u64,
    /// Watches of pods.
    pub watch: u64,
    /// Reads of one pod.
    pub get: u64,
    /// Reads of nodes and namespaces, of any sort.
    pub other: u64,
    /// Writes, of anything.
    pub write: u64,
    /// The versions that the latest 4096 pod watches started from, in order; 0 for none given.
    pub watched_from: Vec<u64>,
}

/// Counts requests, and how far the latest pod watch has got.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: Requests,
    watched_from: VecDeque<u64>,
    sent: u64,
}

impl Traffic {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, one: impl FnOnce(&mut Requests) -> &mut u64) {
        *one(&mut self.lock().requests) += 1;
    }

    /// Counts a pod watch and returns its number.
    pub(crate) fn watch(&self, from: u64) -> u64 {
        let mut counts = self.lock();
        counts.requests.watch += 1;
        if counts.watched_from.len() == REMEMBERED {
            counts.watched_from.pop_front();
        }
        counts.watched_from.push_back(from);
        counts.requests.watch
    }

    /// Pod watch number `watch` was sent everything up to `version`.
    pub(crate) fn reached(&self, watch: u64, version: u64) {
        let mut counts = self.lock();
        if counts.requests.watch == watch {
            counts.sent = version;
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        let counts = self.lock();
        Requests { watched_from: counts.watched_from.iter().copied().collect(), ..counts.requests.clone() }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.lock().sent
    }
}
