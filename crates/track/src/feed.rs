use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podtrail_ledger::{Change, DeadLetter, SinkPosition, Store, StoredObservation};
use podtrail_writer::{Item, Position, Row, Source, SourceError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::commit::Input;
use crate::sink::{Rendering, Sink};

/// The ledger as an outbox's source, for one sink: reads evidence from it, renders its records, and has positions
/// committed with whatever else is.
#[derive(Debug)]
pub struct Feed {
    rendering: Arc<Rendering>,
    /// How the batch in flight was rendered that an earlier process left, and its end.
    frozen: Option<(u64, Arc<Rendering>)>,
    /// Reads beside the tracker's own connection, on threads for blocking work.
    store: Arc<Mutex<Store>>,
    inputs: mpsc::Sender<Input>,
    head: watch::Receiver<u64>,
    /// What was stored last.
    position: Option<Position>,
}

impl Feed {
    /// A feed that reads from `store` (opened read-only) what the commit loop behind `inputs` and `head` writes.
    pub(crate) fn new(sink: Sink, store: Store, inputs: mpsc::Sender<Input>, head: watch::Receiver<u64>) -> Self {
        let rendering = Arc::new(Rendering::new(sink, store.cluster().clone()));
        Self { rendering, frozen: None, store: Arc::new(Mutex::new(store)), inputs, head, position: None }
    }

    async fn with_store<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, podtrail_ledger::Error> + Send + 'static,
    ) -> Result<T, SourceError> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Reads do not leave a store half-changed: one that panicked does not spoil it.
            read(&store.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
        });
        let read = done.await.map_err(|e| SourceError::retry("the ledger", e))?;
        read.map_err(|e| match e.is_retryable() {
            true => SourceError::retry("the ledger", e),
            false => SourceError::fatal("the ledger", e),
        })
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), SourceError> {
        let (done, committed) = oneshot::channel();
        let stopped = |e: &dyn std::error::Error| SourceError::fatal("the ledger's commit loop", e.to_string());
        self.inputs.send(Input::Write(changes, done)).await.map_err(|e| stopped(&e))?;
        committed.await.map_err(|e| stopped(&e))
    }

    /// Keeps a position; with one that is frozen, how its batch is rendered.
    async fn put(&mut self, position: Position) -> Result<(), SourceError> {
        let Position { seq, resume, frozen } = position.clone();
        let resume = if frozen.is_some() { Some(self.rendering.freeze(resume)) } else { resume };
        let stored = SinkPosition { seq, resume, frozen };
        self.write(vec![Change::Position(self.rendering.sink().name.clone(), stored)]).await?;
        (self.position, self.frozen) = (Some(position), None);
        Ok(())
    }

    /// Takes up what was stored.
    fn resume(&mut self, stored: SinkPosition) -> Position {
        let SinkPosition { seq, mut resume, frozen } = stored;
        if let (Some(last), Some(text)) = (frozen, &resume) {
            // Of a ledger from before settings were kept with it: it is only the writer's token.
            if let Some((rendering, token)) = self.rendering.thaw(text) {
                (self.frozen, resume) = (Some((last, Arc::new(rendering))), token);
            }
        }
        Position { seq, resume, frozen }
    }
}

#[async_trait]
impl Source for Feed {
    async fn position(&mut self) -> Result<Position, SourceError> {
        if let Some(position) = &self.position {
            return Ok(position.clone());
        }
        let (rendering, head) = (self.rendering.clone(), *self.head.borrow());
        let stored = self.with_store(move |store| {
            let sink = rendering.sink();
            match store.position(&sink.name)? {
                Some(position) => Ok((position, false)),
                None if sink.from_now => Ok((SinkPosition { seq: head, ..SinkPosition::default() }, true)),
                None => Ok((SinkPosition { seq: store.anchor()?, ..SinkPosition::default() }, true)),
            }
        });
        let (stored, new) = stored.await?;
        let position = self.resume(stored);
        if new {
            // From here on retention keeps what this sink has not got.
            self.put(position.clone()).await?;
        }
        self.position = Some(position.clone());
        Ok(position)
    }

    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        let (rendering, frozen) = (self.rendering.clone(), self.frozen.clone());
        self.with_store(move |store| {
            let stored = store.observations(after, limit)?;
            let wanted = stored.iter().take_while(|o| upto.is_none_or(|upto| o.seq <= upto));
            let row = |o: &StoredObservation| match &frozen {
                Some((last, as_it_was)) if o.seq <= *last => as_it_was.row(o),
                _ => rendering.row(o),
            };
            Ok(wanted.map(row).collect())
        })
        .await
    }

    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        let position = self.position().await?;
        self.put(Position { frozen: Some(last), ..position }).await
    }

    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        self.put(position).await
    }

    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        let line = String::from_utf8_lossy(&item.line).into_owned();
        let (sink, id, reason) = (self.rendering.sink().name.clone(), item.id.to_string(), reason.to_owned());
        self.write(vec![Change::DeadLetter(DeadLetter { sink, seq, id, reason, line })]).await
    }

    async fn changed(&mut self, after: u64) -> Result<(), SourceError> {
        let found = self.head.wait_for(|head| *head > after).await;
        found.map(drop).map_err(|e| SourceError::fatal("the ledger", e))
    }

    async fn head(&mut self) -> Result<u64, SourceError> {
        Ok(*self.head.borrow())
    }
}
