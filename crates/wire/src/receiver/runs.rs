use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::timeout;
use tonic::Status;

/// How long an older stream of a run may take to make room: the longest single write to a disk.
const TURN: Duration = Duration::from_secs(10);

/// The runs that have a stream, by what the names of their files begin with, and which of their streams is the newest.
#[derive(Debug, Default)]
pub(super) struct Runs {
    open: Mutex<HashMap<String, Arc<Run>>>,
}

#[derive(Debug)]
struct Run {
    /// Counts the streams of the run.
    newest: watch::Sender<u64>,
    /// Whose turn it is to write.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The right to write a run's files, for as long as it exists.
#[derive(Debug)]
pub(super) struct Turn {
    turn: Option<OwnedMutexGuard<()>>,
    runs: Arc<Runs>,
    stem: String,
    /// `None` while it is dropped.
    run: Option<Arc<Run>>,
}

/// Tells a stream that a newer one of the same run is there.
#[derive(Debug)]
pub(super) struct Replaced {
    newest: watch::Receiver<u64>,
    own: u64,
}

impl Replaced {
    pub(super) async fn wait(&mut self) {
        // An error says that the run is gone, which it is not while there is a turn.
        drop(self.newest.wait_for(|newest| *newest != self.own).await);
    }
}

impl Runs {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Run>>> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the older stream of the run, if there is one, and waits for its last write.
    pub(super) async fn turn(self: &Arc<Self>, stem: String) -> Result<(Turn, Replaced), Status> {
        let (run, newest, own) = {
            let mut open = self.open();
            let run = open
                .entry(stem.clone())
                .or_insert_with(|| Arc::new(Run { newest: watch::Sender::new(0), turn: Arc::default() }));
            run.newest.send_modify(|newest| *newest += 1);
            let newest = run.newest.subscribe();
            let own = *newest.borrow();
            (Arc::clone(run), newest, own)
        };
        let lock = Arc::clone(&run.turn).lock_owned();
        let mut turn = Turn { turn: None, runs: Arc::clone(self), stem, run: Some(run) };
        let busy = |_elapsed| Status::unavailable("an older stream of the run is still being written");
        turn.turn = Some(timeout(TURN, lock).await.map_err(busy)?);
        Ok((turn, Replaced { newest, own }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut open = self.runs.open();
        drop(self.run.take());
        // The table's only: no other stream has the run, and none can get it meanwhile.
        if open.get(&self.stem).is_some_and(|run| Arc::strong_count(run) == 1) {
            open.remove(&self.stem);
        }
    }
}
