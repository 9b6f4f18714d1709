use std::ops::Range;

use rustix::io::Errno;

use super::table::unreadable;
use crate::wire::{Connection, Kind, Message};
use crate::{Error, ErrorKind, Filter, Result, Table};

/// The connections of a table that match a filter, one after the other: a lending iterator, because each is read in the buffer that the next may
/// overwrite.
///
/// Nothing is allocated for a connection. A dump may be dropped before its end; the next request then reads and forgets the rest.
#[derive(Debug)]
pub struct Dump<'t> {
    table: &'t mut Table,
    /// `None` wants all.
    filter: Option<Filter>,
    /// What the kernel was asked for, and what it will be asked for after that.
    asked: Filter,
    next: Option<Filter>,
    rest: Range<usize>,
    received: u64,
    is_interrupted: bool,
    is_over: bool,
}

impl<'t> Dump<'t> {
    /// `kernel_filter` is what of `filter` the kernel may be asked for.
    pub(crate) fn begin(table: &'t mut Table, filter: &Filter, kernel_filter: Filter) -> Result<Self> {
        let (asked, next) = kernel_filter.by_family();
        let mut dump = Self::new(table, filter, asked, next);
        dump.ask(asked)?;
        Ok(dump)
    }

    pub(crate) fn new(table: &'t mut Table, filter: &Filter, asked: Filter, next: Option<Filter>) -> Self {
        let filter = (*filter != Filter::default()).then_some(*filter);
        Self { table, filter, asked, next, rest: 0..0, received: 0, is_interrupted: false, is_over: false }
    }

    /// The next connection, or `None` after the last.
    ///
    /// # Errors
    ///
    /// An error of the kind [`Malformed`](ErrorKind::Malformed) is of one message: the others come after it. The kind
    /// [`Interrupted`](ErrorKind::Interrupted) comes last, and says that some connections may be missing or have come twice. After
    /// any other, the dump is over before its end.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items cannot borrow from it")]
    pub fn next(&mut self) -> Option<Result<Connection<'_>>> {
        let range = match self.advance() {
            Ok(Some(range)) => range,
            Ok(None) => return None,
            Err(e) => return Some(Err(e)),
        };
        let mut next = Some(Ok(Connection::UNKNOWN));
        if let Some(Ok(connection)) = &mut next
            && let Err(e) = self.table.message(range).fill(connection)
        {
            next = Some(Err(unreadable(e)));
        }
        next
    }

    /// How many connections the kernel has sent so far. Where that is more than came from [`next`](Self::next), the rest of the
    /// filter was applied here.
    pub const fn received(&self) -> u64 {
        self.received
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>> {
        while !self.is_over {
            let range = match self.table.next_message(&mut self.rest) {
                Ok(range) => range,
                Err(e) => {
                    self.is_over = e.kind() != ErrorKind::Malformed;
                    return Err(e);
                }
            };
            let message = self.table.message(range.clone());
            self.is_interrupted |= message.is_interrupted();
            match message.kind() {
                Kind::Connection => {
                    self.received += 1;
                    if self.is_wanted(&message) {
                        return Ok(Some(range));
                    }
                }
                Kind::Done | Kind::Error => {
                    let errno = message.errno().map_err(unreadable);
                    self.is_over = true;
                    self.table.is_dumping = false;
                    self.end(errno?)?;
                }
                Kind::Overrun => {
                    self.is_over = true;
                    return Err(Error::new(ErrorKind::NoAnswer, "the kernel lost part of the dump"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A connection that cannot be read is wanted, as an error. The caller reads it again: what was read cannot be lent before it
    /// is known to be the next.
    fn is_wanted(&self, message: &Message<'_>) -> bool {
        let Some(filter) = self.filter else { return true };
        message.connection().map_or(true, |connection| filter.matches(&connection))
    }

    fn ask(&mut self, filter: Filter) -> Result<()> {
        self.table.ask_for_dump(&filter)?;
        self.asked = filter;
        self.is_over = false;
        Ok(())
    }

    fn end(&mut self, errno: i32) -> Result<()> {
        let simple = self.asked.family_only();
        if is_refusal(errno) && self.asked != simple {
            // Nothing has come yet: the kernel looks at the whole request first.
            self.ask(simple)
        } else if errno != 0 {
            Err(Error::refused(errno))
        } else if let Some(next) = self.next.take() {
            self.ask(next)
        } else if self.is_interrupted {
            Err(Error::new(ErrorKind::Interrupted, "the connection table changed too much while it was read"))
        } else {
            Ok(())
        }
    }
}

/// Whether an error says that the kernel cannot filter so.
fn is_refusal(errno: i32) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP, Errno::RANGE].map(Errno::raw_os_error).contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;
    use crate::wire::{self, Protocol, REQUEST_ROOM, Tuple};

    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    const OVERRUN: u16 = 4;
    const DUMP_INTR: u8 = 0x10;

    /// A connection as the answer to a request, with flags.
    fn connection(sequence: u32, flags: u8) -> Vec<u8> {
        let tuple = Tuple::with_ports(Protocol::UDP, "10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        let mut room = [0; REQUEST_ROOM];
        let connection = Connection { mark: Some(1), ..Connection::new(tuple, tuple.inverse()) };
        let mut message = wire::insert(&mut room, sequence, &connection).unwrap().to_vec();
        message[6..8].copy_from_slice(&u16::from(flags).to_ne_bytes());
        message
    }

    /// A connection whose attributes end in the middle of a header.
    fn bad(sequence: u32) -> Vec<u8> {
        let mut message = connection(sequence, 0);
        message.truncate(22);
        message[..4].copy_from_slice(&22_u32.to_ne_bytes());
        message.resize(24, 0);
        message
    }

    /// A connection and an attribute that has another in it, and so on.
    fn nested(kind: u16, depth: u16) -> Vec<u8> {
        let mut message = connection(0, 0);
        for level in (1..=depth).rev() {
            message.extend((4 * level).to_ne_bytes());
            message.extend((kind | 0x8000).to_ne_bytes());
        }
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message
    }

    fn end(kind: u16, errno: i32) -> Vec<u8> {
        let mut message = 20_u32.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend((-errno).to_ne_bytes());
        message
    }

    /// What a dump makes of one datagram; its request has the number 0, as nothing was sent.
    #[track_caller]
    fn check(datagram: &[Vec<u8>], expected: &[Result<(), ErrorKind>]) {
        let mut table = Table::open().unwrap();
        let mut dump = Dump::new(&mut table, &Filter::default(), Filter::default(), None);
        dump.rest = 0..dump.table.load(&datagram.concat());
        let mut found = Vec::new();
        while let Some(connection) = dump.next() {
            found.push(connection.map(|_| ()).map_err(|e| e.kind()));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn an_interrupted_dump_says_so_at_its_end() {
        let datagram = [connection(0, 0), connection(0, DUMP_INTR), connection(0, 0), end(DONE, 0)];
        check(&datagram, &[Ok(()), Ok(()), Ok(()), Err(ErrorKind::Interrupted)]);
        check(&[connection(0, 0), end(DONE, 0)], &[Ok(())]);
    }

    #[test]
    fn a_message_that_cannot_be_read_leaves_the_others() {
        let datagram = [connection(0, 0), bad(0), connection(0, 0), end(DONE, 0)];
        check(&datagram, &[Ok(()), Err(ErrorKind::Malformed), Ok(())]);
    }

    #[test]
    fn an_attribute_that_is_not_as_it_should_be_spoils_its_message_only() {
        // The mark comes last: its length, its type, its value.
        let spoil = |at: usize, bytes: &[u8]| {
            let mut message = connection(0, 0);
            let start = message.len() - at;
            message[start..start + bytes.len()].copy_from_slice(bytes);
            message
        };
        for (what, message) in [
            ("truncated", spoil(8, &3_u16.to_ne_bytes())),
            ("overlong", spoil(8, &9_u16.to_ne_bytes())),
            ("of the other byte order", spoil(8, &8_u16.swap_bytes().to_ne_bytes())),
            ("nested in a part of itself", nested(1, 4)),
        ] {
            eprintln!("{what}");
            let datagram = [connection(0, 0), message, connection(0, 0), end(DONE, 0)];
            check(&datagram, &[Ok(()), Err(ErrorKind::Malformed), Ok(())]);
        }
        for unknown in [nested(999, 1), nested(999, 4000)] {
            check(&[connection(0, 0), unknown, end(DONE, 0)], &[Ok(()), Ok(())]);
        }
    }

    #[test]
    fn a_dump_without_an_end_is_no_answer() {
        check(&[connection(0, 0)], &[Ok(()), Err(ErrorKind::NoAnswer)]);
        // Where the next message begins is not known after this: the rest of its datagram cannot be read.
        let mut swapped = connection(0, 0);
        swapped[..4].reverse();
        let lost = [Ok(()), Err(ErrorKind::Malformed), Err(ErrorKind::NoAnswer)];
        check(&[connection(0, 0), swapped, connection(0, 0)], &lost);
    }

    #[test]
    fn answers_to_another_request_are_skipped() {
        check(&[connection(9, 0), connection(0, 0), bad(9), end(DONE, 0)], &[Ok(())]);
    }

    #[test]
    fn a_filter_that_the_kernel_refuses_is_applied_here() {
        for errno in [22, 34, 95] {
            let mut table = Table::open().unwrap();
            let filter = Filter::default().family(Family::V6).mark(1, 1);
            let mut dump = Dump::new(&mut table, &filter, filter, None);
            dump.rest = 0..dump.table.load(&end(ERROR, errno));
            // Without the capability the kernel does not answer to the second request.
            assert!(dump.next().is_none_or(|answer| answer.map_err(|e| e.kind()) != Err(ErrorKind::Refused)));
            assert_eq!((dump.asked, dump.filter), (Filter::default().family(Family::V6), Some(filter)));
        }
    }

    #[test]
    fn a_dump_that_failed_is_over() {
        check(&[connection(0, 0), end(DONE, 12), connection(0, 0)], &[Ok(()), Err(ErrorKind::Refused)]);
        check(&[end(OVERRUN, 0), connection(0, 0)], &[Err(ErrorKind::NoAnswer)]);
    }
}
