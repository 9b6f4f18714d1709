//! Many records in one row: what SQLite asks for each row is more than copying a record.
//!
//! A pack is two texts: `lines`, each with a line break, for whoever looks with `sqlite3`; and `heads`, for each its id
//! and, in four bytes, little-endian, its length, so that a line may hold anything.

use bytes::Bytes;
use podtrail_event::EventId;

use crate::Item;

/// After so many bytes a pack is closed.
const FULL: usize = 64 << 10;
/// What `heads` has of each record; SQL counts by it, too.
const HEAD: usize = 20;

/// Records that will be one row. Used again and again.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) heads: Vec<u8>,
    pub(super) lines: Vec<u8>,
}

impl Pack {
    /// Takes the next records, until it is full. Returns how many; `None` if one is too long.
    pub(super) fn fill(&mut self, records: &[Item]) -> Option<usize> {
        self.heads.clear();
        self.lines.clear();
        let mut count = 0;
        for item in records {
            let length = u32::try_from(item.line.len()).ok()?;
            if count > 0 && self.lines.len() + item.line.len() > FULL {
                break;
            }
            self.heads.extend_from_slice(item.id.as_bytes());
            self.heads.extend_from_slice(&length.to_le_bytes());
            self.lines.extend_from_slice(&item.line);
            self.lines.push(b'\n');
            count += 1;
        }
        Some(count)
    }
}

/// The records of a pack, which share its memory; `None` if it is not as it was written.
pub(super) fn unpack(heads: &[u8], lines: &[u8]) -> Option<Vec<Item>> {
    let mut rest = Bytes::copy_from_slice(lines);
    let (heads, []) = heads.as_chunks::<HEAD>() else { return None };
    let mut items = Vec::with_capacity(heads.len());
    for head in heads {
        let (id, length) = head.split_first_chunk::<16>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        if rest.get(length) != Some(&b'\n') {
            return None;
        }
        let line = rest.split_to(length);
        rest = rest.slice(1..);
        items.push(Item { id: EventId::from_bytes(*id), line });
    }
    rest.is_empty().then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(line: &[u8]) -> Item {
        Item { id: EventId::derive(&[line]), line: Bytes::copy_from_slice(line) }
    }

    #[test]
    fn a_pack_gives_back_what_it_took_whatever_the_lines_hold() {
        let items: Vec<_> = [&b"{}"[..], b"", b"a\nb\n", b"\0\xff", &[b'x'; FULL * 2], b"y"].map(item).into();
        let (mut pack, mut taken, mut sizes) = (Pack::default(), Vec::new(), Vec::new());
        while taken.len() < items.len() {
            sizes.push(pack.fill(&items[taken.len()..]).unwrap());
            taken.extend(unpack(&pack.heads, &pack.lines).unwrap());
        }
        assert_eq!((taken, sizes), (items, vec![4, 1, 1]));
    }

    #[test]
    fn a_damaged_pack_is_refused() {
        let mut pack = Pack::default();
        pack.fill(&[item(b"one"), item(b"two")]).unwrap();
        for cut in 0..pack.lines.len() {
            assert_eq!(unpack(&pack.heads, &pack.lines[..cut]), None);
        }
        for cut in 0..pack.heads.len() {
            assert_eq!(unpack(&pack.heads[..cut], &pack.lines), None);
        }
        let mut longer = pack.heads.clone();
        longer[19] = 0xff;
        assert_eq!(unpack(&longer, &pack.lines), None);
    }
}
