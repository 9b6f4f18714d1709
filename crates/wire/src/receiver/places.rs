use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The streams that there may be at once. One that is quiet keeps its place for as long as nobody else wants it: a tool may
/// print nothing for days.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// How long a stream is quiet before its place may be given to another.
    idle: Duration,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    heard: Instant,
    /// Dropped when the place is another's.
    _keeps: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    keeps: watch::Receiver<()>,
}

impl Places {
    pub(super) fn new(most: usize, idle: Duration) -> Arc<Self> {
        Arc::new(Self { most, idle, held: Mutex::default() })
    }

    /// A place that is free, or that of the stream that is quiet for longest; `None` if none is for long enough.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let now = Instant::now();
        let mut held = self.held();
        if held.by.len() >= self.most {
            let (id, quietest) = held.by.iter().min_by_key(|(_, holder)| holder.heard)?;
            if now.duration_since(quietest.heard) < self.idle {
                return None;
            }
            let id = *id;
            held.by.remove(&id);
        }
        let (keeps, kept) = watch::channel(());
        let id = held.next;
        held.next += 1;
        held.by.insert(id, Holder { heard: now, _keeps: keeps });
        Some(Place { places: Arc::clone(self), id, keeps: kept })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that the stream is not quiet.
    pub(super) fn heard(&self) {
        if let Some(holder) = self.places.held().by.get_mut(&self.id) {
            holder.heard = Instant::now();
        }
    }

    /// Completes when the place is another stream's.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: an error says that it is.
        drop(self.keeps.changed().await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().by.remove(&self.id);
    }
}
