use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

use super::events::{Arrival, Events};
use crate::wire::{Message, Messages};
use crate::{Error, ErrorKind, Result};

/// Memory is given back in pieces of this size.
const PIECE: u64 = 64 * 1024;
/// So much is read at once.
const CHUNK: usize = 64 * 1024;

/// Events that were taken from an [`Events`] socket and that nobody has dealt with for good yet, in memory that outlives the
/// process (memfd_create(2)): it lasts as long as anybody holds its descriptor.
///
/// Each event is written here before it is taken out of the socket, so that a reader that is killed at any moment loses none and
/// has none twice: the next reader gets the descriptors of both, and goes on. A position is the number of bytes before it since the
/// journal was created; it never goes back.
#[derive(Debug)]
pub struct Journal {
    memory: File,
    end: u64,
    released: u64,
    /// The last event in it, if it may be in the socket still.
    last: Vec<u8>,
    malformed: u64,
}

/// What a [`Journal::fill`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filled {
    /// So many events were taken.
    pub events: usize,
    /// Nothing waits in the socket any more.
    pub is_empty: bool,
    /// So many events did not get into the socket, as in [`Event::Lost`](crate::Event::Lost).
    pub drops: u32,
    /// Some others were lost that the socket did not count: the kernel had no memory for them.
    pub is_uncounted: bool,
}

impl Journal {
    /// A new one, in memory.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor left.
    pub fn create() -> Result<Self> {
        let cannot = |errno| Error::socket("cannot create memory for events", errno);
        let memory = memfd_create("podtrail-events", MemfdFlags::CLOEXEC).map_err(cannot)?;
        Ok(Self { memory: memory.into(), end: 0, released: 0, last: Vec::new(), malformed: 0 })
    }

    /// Takes over one that another process began; what is before `from` was dealt with.
    ///
    /// # Errors
    ///
    /// If `from` is none of its positions.
    pub fn adopt(memory: OwnedFd, from: u64) -> Result<Self> {
        let memory = File::from(memory);
        let length = memory.metadata().map_err(unusable)?.len();
        if from > length {
            let what = format!("the journal of events ends at {length}, before position {from}");
            return Err(Error::new(ErrorKind::Journal, what));
        }
        let mut journal = Self { memory, end: length, released: 0, last: Vec::new(), malformed: 0 };
        // The process before may have been killed before it did that.
        journal.release(from)?;
        let (mut at, mut last) = (from, Vec::new());
        let mut chunk = Chunk::default();
        while journal.read(at, &mut chunk)? {
            let mut messages = chunk.messages();
            let mut start = 0;
            while messages.next().is_some() {
                let end = chunk.bytes().len() - messages.remaining();
                last.clear();
                last.extend_from_slice(&chunk.bytes()[start..end]);
                start = end;
            }
            at = chunk.end;
        }
        // A process that was killed while it wrote leaves half an event, which is in the socket still.
        journal.memory.set_len(at).map_err(unusable)?;
        (journal.end, journal.last) = (at, last);
        Ok(journal)
    }

    /// Takes over one that another process began, and forgets all that is in it: nobody knows what of it was dealt with.
    ///
    /// # Errors
    ///
    /// If the memory cannot be used.
    pub fn adopt_at_end(memory: OwnedFd) -> Result<Self> {
        let memory = File::from(memory);
        let end = memory.metadata().map_err(unusable)?.len();
        let mut journal = Self { memory, end, released: 0, last: Vec::new(), malformed: 0 };
        journal.release(end)?;
        Ok(journal)
    }

    /// The position after the last event.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Takes what waits in the socket, until there is nothing, or the journal takes `limit` bytes.
    ///
    /// # Errors
    ///
    /// If the socket or the memory fails; what was taken until then is in the journal.
    pub fn fill(&mut self, events: &mut Events, limit: u64) -> Result<Filled> {
        let mut filled = Filled::default();
        while self.end - self.released < limit {
            let datagram = match events.peek()? {
                None => {
                    filled.is_empty = true;
                    break;
                }
                Some(Arrival::Lost(drops)) => {
                    filled.drops = filled.drops.saturating_add(drops);
                    filled.is_uncounted |= drops == 0;
                    continue;
                }
                Some(Arrival::Datagram(datagram)) => datagram,
            };
            // The reader before was killed between the two steps below.
            let is_known = !self.last.is_empty() && self.last == datagram;
            self.last.clear();
            if !is_known && is_whole(datagram) {
                self.memory.write_all_at(datagram, self.end).map_err(unusable)?;
                self.end += datagram.len() as u64;
                filled.events += 1;
            } else if !is_known {
                self.malformed += 1;
            }
            events.consume()?;
        }
        Ok(filled)
    }

    /// Reads whole events from position `from` on into `chunk`; `false` if there are none.
    ///
    /// # Errors
    ///
    /// If the memory cannot be read.
    pub fn read(&self, from: u64, chunk: &mut Chunk) -> Result<bool> {
        let length = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX).min(CHUNK);
        chunk.bytes.resize(length, 0);
        self.memory.read_exact_at(&mut chunk.bytes, from).map_err(unusable)?;
        // The last one may go on behind the chunk.
        let mut messages = Messages::new(&chunk.bytes);
        let mut whole = 0;
        while let Some(Ok(_)) = messages.next() {
            whole = length - messages.remaining();
        }
        chunk.bytes.truncate(whole);
        chunk.end = from + whole as u64;
        Ok(whole > 0)
    }

    /// Forgets what is before `position`: it was dealt with. Its memory is given back.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn release(&mut self, position: u64) -> Result<()> {
        let upto = position.min(self.end) / PIECE * PIECE;
        if upto > self.released {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.memory, hole, self.released, upto - self.released).map_err(|e| unusable(e.into()))?;
            self.released = upto;
        }
        Ok(())
    }

    /// How many datagrams of the kernel were not taken because no message could be made out in them.
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// A part of a [`Journal`]: some whole events.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    end: u64,
}

impl Chunk {
    /// The events, in order.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(&self.bytes)
    }

    /// The position after the last of them.
    pub const fn end(&self) -> u64 {
        self.end
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whether messages can be told from each other, also if another datagram follows.
fn is_whole(datagram: &[u8]) -> bool {
    datagram.len().is_multiple_of(4) && Messages::new(datagram).all(|message: Result<Message<'_>, _>| message.is_ok())
}

fn unusable(e: std::io::Error) -> Error {
    Error::caused(ErrorKind::Journal, "cannot use the memory for events", e)
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
