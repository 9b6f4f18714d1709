use async_trait::async_trait;
use bytes::Bytes;
use podtrail_event::EventId;

use crate::{Batch, Committed, Error, Item};

/// A backend that takes batches of records.
///
/// The contract, which the `conformance` suite checks:
///
/// - `Ok` says that every item is delivered, in order, after those of the batches before.
/// - The same batch may come again, with the same [`Batch::resume`], to this value or to a new one after a restart:
///   after an error, and also when the batch was committed but the caller could not keep the token. An exactly-once
///   writer recognises what it holds, by [`EventId`] or by the token.
/// - After [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) the batch comes again without the rejected items, and
///   complete once more if the process restarts before that was committed.
/// - Dropping the future may leave the batch half delivered; a later delivery of it goes on from there.
#[async_trait]
pub trait Writer: Send {
    /// Delivers a batch.
    ///
    /// # Errors
    /// If the batch is not delivered as a whole; [`Error::kind`] says what to do.
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error>;
}

#[async_trait]
impl<W: Writer + ?Sized> Writer for &mut W {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        (**self).deliver(batch).await
    }
}

#[async_trait]
impl<W: Writer + ?Sized> Writer for Box<W> {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        (**self).deliver(batch).await
    }
}

/// Conveniences over every [`Writer`].
#[async_trait]
pub trait WriterExt: Writer {
    /// Delivers `lines`, one sequence number each from `first` on, with ids derived from their bytes.
    ///
    /// For programs that have lines and no ids; of two equal lines a database keeps one.
    ///
    /// # Errors
    /// As [`Writer::deliver`].
    async fn deliver_lines(&mut self, first: u64, lines: &[Bytes], resume: Option<&str>) -> Result<Committed, Error> {
        let items: Vec<_> =
            lines.iter().map(|line| Item { id: EventId::derive(&[line]), line: line.clone() }).collect();
        let last = (first + items.len() as u64).saturating_sub(1);
        self.deliver(&Batch { first, last, items: &items, resume }).await
    }
}

impl<W: Writer + ?Sized> WriterExt for W {}
