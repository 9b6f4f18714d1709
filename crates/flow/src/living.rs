use std::mem;

use hashbrown::HashTable;

use crate::counters::Counters;
use crate::identity::Key;
use crate::step::Incarnation;

/// Where the state of a connection is kept, here and in a store: its own while it lives, another's afterwards. Numbered from
/// 0; a new number is taken only when no slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "any number is one")]
pub struct Slot(pub u32);

/// What is kept of a living connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) total: Counters,
    pub(crate) generation: u32,
    /// The number of the snapshot that it was last seen in.
    pub(crate) seen_in: u16,
    /// It was absent from the last complete snapshot.
    pub(crate) is_absent: bool,
    /// So many complete snapshots did not count it since it was counted last.
    pub(crate) missed: u8,
}

impl Entry {
    pub(crate) const fn incarnation(&self, slot: Slot) -> Incarnation {
        Incarnation { slot, key: self.key, generation: self.generation, total: self.total, missed: self.missed }
    }
}

/// The living connections: the state of each in its slot, and an index by key.
///
/// At most 56 bytes a slot and an eighth more, 4 for each that was freed, and 5.7 to 11.5 for each in the index.
#[derive(Debug, Default)]
pub(crate) struct Living {
    slots: Vec<Option<Entry>>,
    /// All slots that are free, and some that [`put`](Self::put) took since.
    free: Vec<Slot>,
    index: HashTable<Slot>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 56);

impl Living {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<(Slot, &mut Entry)> {
        let slot = self.find(key)?;
        self.slots[slot.0 as usize].as_mut().map(|entry| (slot, entry))
    }

    pub(crate) fn find(&self, key: Key) -> Option<Slot> {
        self.index.find(key.hash(), |slot| holds(&self.slots, *slot, key)).copied()
    }

    pub(crate) fn is_taken(&self, slot: Slot) -> bool {
        self.slots.get(slot.0 as usize).is_some_and(Option::is_some)
    }

    /// Gives a new key a slot. The number of slots stays below 2³²: that is the caller's part.
    pub(crate) fn insert(&mut self, entry: Entry) -> Slot {
        let free = loop {
            match self.free.pop() {
                Some(slot) if self.is_taken(slot) => {}
                free => break free,
            }
        };
        let slot = free.unwrap_or_else(|| Slot(number(self.slots.len())));
        self.put(slot, entry);
        slot
    }

    /// Puts a new key into a free slot.
    pub(crate) fn put(&mut self, slot: Slot, entry: Entry) {
        let (length, wanted) = (self.slots.len(), slot.0 as usize + 1);
        if wanted > self.slots.capacity() {
            // Not twice as much, as `push` makes it: that would be most of the memory.
            self.slots.reserve_exact((wanted - length).max(length / 8).max(64));
        }
        if wanted > length {
            self.slots.resize(wanted, None);
            self.free.extend((number(length)..slot.0).rev().map(Slot));
        }
        self.slots[slot.0 as usize] = Some(entry);
        let slots = &self.slots;
        self.index.insert_unique(entry.key.hash(), slot, |slot| {
            slots[slot.0 as usize].as_ref().expect("the index names taken slots").key.hash()
        });
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<(Slot, Entry)> {
        let found = self.index.find_entry(key.hash(), |slot| holds(&self.slots, *slot, key));
        let (slot, _) = found.ok()?.remove();
        self.free.push(slot);
        self.slots[slot.0 as usize].take().map(|entry| (slot, entry))
    }

    /// Notes who was not seen in `snapshot`, and removes who was not for the second time.
    pub(crate) fn sweep(&mut self, snapshot: u16, mut gone: impl FnMut(Incarnation)) {
        for n in 0..self.slots.len() {
            let Some(entry) = self.slots[n].as_mut().filter(|entry| entry.seen_in != snapshot) else { continue };
            entry.missed = entry.missed.saturating_add(1);
            if !mem::replace(&mut entry.is_absent, true) {
                continue;
            }
            let key = entry.key;
            let (slot, entry) = self.remove(key).expect("what is in a slot is in the index");
            gone(entry.incarnation(slot));
        }
    }
}

fn holds(slots: &[Option<Entry>], slot: Slot, key: Key) -> bool {
    matches!(&slots[slot.0 as usize], Some(entry) if entry.key == key)
}

fn number(slots: usize) -> u32 {
    u32::try_from(slots).expect("there are fewer slots than 32 bits can count")
}
