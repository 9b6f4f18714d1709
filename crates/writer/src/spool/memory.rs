use std::collections::{BTreeMap, VecDeque};

use super::store::{Dead, Log, Store, Totals};
use super::{Change, DeadLetter, SpoolError, SpoolErrorKind};
use crate::{Item, Position, Row, StartFrom};

/// Records in memory, in order, up to `head`.
#[derive(Debug, Default)]
pub(super) struct Memory {
    limit: u64,
    records: VecDeque<Item>,
    head: u64,
    bytes: u64,
    sinks: BTreeMap<String, Position>,
    dead: BTreeMap<String, BTreeMap<Dead, (Item, String)>>,
}

/// What a record takes.
fn size(item: &Item) -> u64 {
    (item.line.len() + size_of::<Item>()) as u64
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The number before the oldest record.
    fn tail(&self) -> u64 {
        self.head - self.records.len() as u64
    }

    fn slowest(&self) -> u64 {
        let positions = self.sinks.values().map(|position| position.seq);
        positions.min().unwrap_or_else(|| self.tail())
    }

    fn sink(&mut self, name: &str) -> Result<&mut Position, SpoolError> {
        self.sinks.get_mut(name).ok_or_else(|| SpoolError::forgotten(name))
    }
}

impl Store for Memory {
    fn write(&mut self, change: &Change) -> Result<(), SpoolError> {
        let bytes = change.records.iter().map(size).sum::<u64>();
        if bytes > 0 && self.bytes.saturating_add(bytes) > self.limit {
            let kind = if bytes > self.limit { SpoolErrorKind::TooLarge } else { SpoolErrorKind::Full };
            return Err(SpoolError::new(kind, "the spool in memory"));
        }
        self.records.extend(change.records.iter().cloned());
        self.head += change.records.len() as u64;
        self.bytes += bytes;
        Ok(())
    }

    fn state(&self, _: u32, _: &mut dyn FnMut(u32, &[u8])) -> Result<(), SpoolError> {
        Ok(())
    }

    fn get(&self, _: u32, _: u32) -> Result<Option<Vec<u8>>, SpoolError> {
        Ok(None)
    }

    fn register(&mut self, sink: &str, start: StartFrom) -> Result<(), SpoolError> {
        let seq = self.totals().start(start);
        self.sinks.entry(sink.to_owned()).or_insert_with(|| Position { seq, ..Position::default() });
        Ok(())
    }

    fn position(&self, sink: &str) -> Result<Position, SpoolError> {
        self.sinks.get(sink).cloned().ok_or_else(|| SpoolError::forgotten(sink))
    }

    fn read(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<Row>, SpoolError> {
        let tail = self.tail();
        let passed = usize::try_from(after.saturating_sub(tail)).unwrap_or(usize::MAX);
        let rows = (tail + 1..).zip(&self.records).skip(passed).take_while(|(seq, _)| *seq <= upto);
        Ok(rows.take(limit).map(|(seq, item)| Row { seq, items: vec![item.clone()] }).collect())
    }

    fn freeze(&mut self, sink: &str, last: u64) -> Result<(), SpoolError> {
        self.sink(sink)?.frozen = Some(last);
        Ok(())
    }

    fn commit(&mut self, sink: &str, position: &Position) -> Result<bool, SpoolError> {
        self.sink(sink)?.clone_from(position);
        self.prune()
    }

    fn dead_letter(&mut self, sink: &str, seq: u64, item: &Item, reason: &str) -> Result<(), SpoolError> {
        let letter = (item.clone(), reason.to_owned());
        match self.dead.entry(sink.to_owned()).or_default().insert((seq, item.id), letter) {
            Some(_) => {}
            None => self.bytes += size(item),
        }
        Ok(())
    }

    fn prune(&mut self) -> Result<bool, SpoolError> {
        let slowest = self.slowest();
        while self.tail() < slowest {
            let Some(item) = self.records.pop_front() else { break };
            self.bytes -= size(&item);
        }
        Ok(false)
    }

    fn sinks(&self) -> Result<Vec<(String, Position)>, SpoolError> {
        Ok(self.sinks.iter().map(|(name, position)| (name.clone(), position.clone())).collect())
    }

    fn forget_sink(&mut self, name: &str) -> Result<bool, SpoolError> {
        Ok(self.sinks.remove(name).is_some())
    }

    fn dead_letters(&self, sink: &str) -> Result<Vec<DeadLetter>, SpoolError> {
        let letters = self.dead.get(sink).into_iter().flatten();
        let letter = |(&(seq, _), (item, reason)): (&Dead, &(Item, String))| DeadLetter {
            seq,
            item: item.clone(),
            reason: reason.clone(),
        };
        Ok(letters.map(letter).collect())
    }

    fn discard_dead_letters(&mut self, sink: &str, upto: u64) -> Result<u64, SpoolError> {
        let Some(letters) = self.dead.get_mut(sink) else { return Ok(0) };
        let before = letters.len();
        letters.retain(|(seq, _), (item, _)| {
            let stays = *seq > upto;
            self.bytes -= if stays { 0 } else { size(item) };
            stays
        });
        Ok((before - letters.len()) as u64)
    }

    fn totals(&self) -> Totals {
        Totals { head: self.head, tail: self.tail(), slowest: self.slowest(), bytes: self.bytes }
    }

    fn log(&self) -> Option<Log> {
        None
    }
}
