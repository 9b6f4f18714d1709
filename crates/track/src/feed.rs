use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podtrail_event::Cluster;
use podtrail_ledger::{Change, DeadLetter, SinkPosition, Store};
use podtrail_writer::{Item, Position, Row, Source, SourceError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::commit::Input;
use crate::sink::Sink;

/// The ledger as an outbox's source, for one sink: reads evidence from it, renders its records, and has positions
/// committed with whatever else is.
#[derive(Debug)]
pub struct Feed {
    sink: Arc<Sink>,
    cluster: Cluster,
    /// Reads beside the tracker's own connection, on threads for blocking work.
    store: Arc<Mutex<Store>>,
    inputs: mpsc::Sender<Input>,
    head: watch::Receiver<u64>,
    /// What was stored last.
    position: Option<SinkPosition>,
}

impl Feed {
    /// A feed that reads from `store` (opened read-only) what the commit loop behind `inputs` and `head` writes.
    pub(crate) fn new(sink: Sink, store: Store, inputs: mpsc::Sender<Input>, head: watch::Receiver<u64>) -> Self {
        let cluster = store.cluster().clone();
        Self { sink: Arc::new(sink), cluster, store: Arc::new(Mutex::new(store)), inputs, head, position: None }
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

    async fn put(&mut self, position: SinkPosition) -> Result<(), SourceError> {
        self.write(vec![Change::Position(self.sink.name.clone(), position.clone())]).await?;
        self.position = Some(position);
        Ok(())
    }
}

#[async_trait]
impl Source for Feed {
    async fn position(&mut self) -> Result<Position, SourceError> {
        if self.position.is_none() {
            let (sink, head) = (self.sink.clone(), *self.head.borrow());
            let stored = self.with_store(move |store| match store.position(&sink.name)? {
                Some(position) => Ok((position, false)),
                None if sink.from_now => Ok((SinkPosition { seq: head, ..SinkPosition::default() }, true)),
                None => Ok((SinkPosition { seq: store.anchor()?, ..SinkPosition::default() }, true)),
            });
            match stored.await? {
                // From here on retention keeps what this sink has not got.
                (position, true) => self.put(position).await?,
                (position, false) => self.position = Some(position),
            }
        }
        let SinkPosition { seq, resume, frozen } = self.position.clone().unwrap_or_default();
        Ok(Position { seq, resume, frozen })
    }

    async fn read(&mut self, after: u64, upto: Option<u64>, limit: usize) -> Result<Vec<Row>, SourceError> {
        let (sink, cluster) = (self.sink.clone(), self.cluster.clone());
        self.with_store(move |store| {
            let stored = store.observations(after, limit)?;
            let wanted = stored.into_iter().take_while(|o| upto.is_none_or(|upto| o.seq <= upto));
            Ok(wanted
                .map(|observation| Row {
                    seq: observation.seq,
                    items: observation
                        .records(&cluster)
                        .iter()
                        .filter_map(|record| Some(Item { id: record.id(), line: sink.render(record)?.into() }))
                        .collect(),
                })
                .collect())
        })
        .await
    }

    async fn freeze(&mut self, last: u64) -> Result<(), SourceError> {
        let Position { seq, resume, .. } = self.position().await?;
        self.put(SinkPosition { seq, resume, frozen: Some(last) }).await
    }

    async fn commit(&mut self, position: Position) -> Result<(), SourceError> {
        let Position { seq, resume, frozen } = position;
        self.put(SinkPosition { seq, resume, frozen }).await
    }

    async fn dead_letter(&mut self, seq: u64, item: &Item, reason: &str) -> Result<(), SourceError> {
        let line = String::from_utf8_lossy(&item.line).into_owned();
        let (sink, id, reason) = (self.sink.name.clone(), item.id.to_string(), reason.to_owned());
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
