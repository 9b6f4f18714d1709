use bytes::Bytes;
use podtrail_event::EventId;

/// One record in the form that a backend delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "sources build it literally")]
pub struct Item {
    /// The record's identity: the same record has the same id wherever it is delivered from.
    pub id: EventId,
    /// One JSON document without a line break; a backend that writes lines adds the break.
    pub line: Bytes,
}

/// Consecutive records, frozen: whoever delivers it again, in this process or the next, delivers the same bytes.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers of a writer build it literally")]
pub struct Batch<'a> {
    /// The sequence number after the batch before this one.
    pub first: u64,
    /// The last sequence number that the batch covers.
    pub last: u64,
    /// The records; sequence numbers without a record for this sink have none here.
    pub items: &'a [Item],
    /// The token of the last batch that this sink committed.
    pub resume: Option<&'a str>,
}

impl Batch<'_> {
    /// The items as one text, each followed by a line break.
    #[cfg(any(feature = "file", feature = "stdout"))]
    pub(crate) fn to_text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.items.iter().map(|item| item.line.len() + 1).sum());
        for item in self.items {
            text.extend_from_slice(&item.line);
            text.push(b'\n');
        }
        text
    }
}

/// A batch is where it should be, durably as far as the backend can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "writers build it literally")]
pub struct Committed {
    /// What the writer wants to see in [`Batch::resume`] of the next batch, also after a restart.
    pub resume: Option<String>,
}
