use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::{Shared, SpoolError};
use crate::{Item, Position, Row, Source, SourceError};

/// A [`Spool`](crate::Spool) as the source of one sink's outbox.
///
/// A batch is frozen only when it, and all that was written before it, survives power loss. Positions and dead letters
/// survive `kill -9` at once and power loss a little later: one that is lost makes the same batch come again.
pub struct Feed {
    shared: Arc<Shared>,
    sink: Arc<str>,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, sink: &str) -> Self {
        Self { shared, sink: sink.into() }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &str) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SourceError> {
        if !self.shared.blocks {
            return Ok(work(&self.shared, &self.sink)?);
        }
        let (shared, sink) = (self.shared.clone(), self.sink.clone());
        let done = spawn_blocking(move || work(&shared, &sink)).await;
        Ok(done.map_err(|e| SourceError::retry("the spool", e))??)
    }
}

#[async_trait]
impl Source for Feed {
    async fn position(&mut self) -> Result<Position, SourceError> {
        self.call(|shared, sink| shared.with(|store| store.position(sink))).await
    }

    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        self.call(move |shared, _| shared.with(|store| store.read(after, upto.unwrap_or(u64::MAX), limit))).await
    }

    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        self.call(move |shared, sink| {
            shared.with(|store| store.freeze(sink, last))?;
            shared.sync()
        })
        .await
    }

    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        self.call(move |shared, sink| {
            if shared.with(|store| store.commit(sink, &position))? {
                shared.prune()?;
            }
            Ok(())
        })
        .await
    }

    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        let (item, reason) = (item.clone(), reason.to_owned());
        self.call(move |shared, sink| shared.with(|store| store.dead_letter(sink, seq, &item, &reason))).await
    }

    async fn changed(&mut self, after: u64) -> Result<(), SourceError> {
        let mut totals = self.shared.totals.subscribe();
        let found = totals.wait_for(|totals| totals.head > after).await;
        found.map(drop).map_err(|e| SourceError::fatal("the spool", e))
    }

    async fn head(&mut self) -> Result<u64, SourceError> {
        Ok(self.shared.totals.borrow().head)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("sink", &self.sink).finish_non_exhaustive()
    }
}
