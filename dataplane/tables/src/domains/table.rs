// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reader and writer share: the probe for a name, and the checked way from a slot to a record.
//!
//! Linear probing from the hash's low bits, at most [`MAX_PROBE`] slots; the writer refuses an entry that would need
//! more (at half load the longest run of a million entries is below 100), so a reader may give up there and a
//! lookup is bounded on any bytes. Records are reached only through [`Table::record`], which
//! checks that the record lies in the heap; after it all word indices are in bounds. An acquire load of the slot
//! pairs with the writer's release store, so a record behind a slot is complete.

use super::layout::{BadTable, Geometry, MAX_NAME, Shape, text_word};
use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Slots looked at for one name.
pub(super) const MAX_PROBE: usize = 256;

/// An attached segment.
#[derive(Debug)]
pub(super) struct Table<W> {
    pub words: W,
    pub geometry: Geometry,
}

/// A record in bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Its first word in the segment.
    pub at: usize,
    pub shape: Shape,
}

/// Where a probe ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    /// The entry is here.
    Found { slot: usize, record: Record },
    /// It is not in the table; it would go here.
    Vacant { slot: usize },
    /// Neither found nor room for it within [`MAX_PROBE`].
    Crowded,
}

impl<W: Words> Table<W> {
    pub fn attach(words: W) -> Result<Self, BadTable> {
        let geometry = Geometry::read(&words)?;
        Ok(Self { words, geometry })
    }

    /// Looks for a name with this hash.
    pub fn probe(&self, hash: u64, name: &[u8], wildcard: bool) -> Probe {
        let slots = self.geometry.slots;
        for step in 0..MAX_PROBE.min(slots) {
            let slot = (hash as usize).wrapping_add(step) & (slots - 1);
            let value = self.slot(slot);
            if value == 0 {
                return Probe::Vacant { slot };
            }
            if value >> 32 != hash >> 32 {
                continue;
            }
            if let Some(record) = self.record(value)
                && record.shape.wildcard == wildcard
                && self.name_is(&record, name)
            {
                return Probe::Found { slot, record };
            }
        }
        Probe::Crowded
    }

    pub fn slot(&self, slot: usize) -> u64 {
        self.words.load(super::layout::HEADER_WORDS + slot, Acquire)
    }

    /// The record a slot's value points at; none if it is not wholly inside of the heap.
    pub fn record(&self, slot_value: u64) -> Option<Record> {
        let offset = (slot_value as u32).checked_sub(1)? as usize;
        let heap = self.geometry.heap;
        if offset + 2 > heap {
            return None;
        }
        let at = self.geometry.heap_start() + offset;
        let shape = Shape::unpack(self.words.load(at + 1, Relaxed))?;
        (offset + shape.words() <= heap).then_some(Record { at, shape })
    }

    pub fn state(&self, record: &Record) -> u64 {
        self.words.load(record.at, Acquire)
    }

    fn name_is(&self, record: &Record, name: &[u8]) -> bool {
        record.shape.name_len == name.len()
            && (0..name.len().div_ceil(8))
                .all(|i| self.words.load(record.at + 2 + i, Relaxed) == text_word(name, i))
    }

    /// The name's bytes, as they stand.
    pub fn name(&self, record: &Record, into: &mut [u8; MAX_NAME]) -> usize {
        self.text(record.at + 2, record.shape.name_len, into)
    }

    /// The peer's name, as it stands; 0 bytes where the entry names none.
    pub fn peer(&self, record: &Record, into: &mut [u8; MAX_NAME]) -> usize {
        self.text(record.at + 2 + record.shape.name_len.div_ceil(8), record.shape.peer_len, into)
    }

    fn text(&self, at: usize, len: usize, into: &mut [u8; MAX_NAME]) -> usize {
        for (i, chunk) in into[..len].chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&self.words.load(at + i, Relaxed).to_le_bytes()[..chunk.len()]);
        }
        len
    }
}
