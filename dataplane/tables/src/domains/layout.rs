// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where everything stands in a domain segment, in 64-bit words.
//!
//! ```text
//! header   16 words: magic, layout, words in all, slots, heap words, capacity, generation, seed (2), zeros
//! slots    a power of two, at least twice the capacity
//! heap     records, one after the other
//! slot     0, or  tag (upper half of the hash) << 32 | record's first word in the heap, plus 1
//! record   word 0  state: bit 0 permitted, bit 1 blocked      <- the only word that changes
//!          word 1  id | name bytes << 32 | peer bytes << 40 | wildcard << 48
//!          then the name, then the peer's name, each in words of its own, first byte lowest, zero-filled
//! ```
//! The header is written before the magic, so a segment whose maker died is no table. Nothing in it changes later:
//! the next id and the heap's end follow from the records, which spares the writer stores that a crash could tear.

use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Most entries a table can hold, and so the number of counter rows.
pub const MAX_DOMAINS: u32 = 1 << 20;
/// Longest name, bytes (RFC 1035: 255 on the wire is 253 as text).
pub const MAX_NAME: usize = 253;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"FGDOMAIN");
/// Changes with anything in this file.
pub(super) const LAYOUT: u64 = 1;
pub(super) const HEADER_WORDS: usize = 16;
/// Heap words an entry is given on average: 128 bytes, a name of 40 with a peer of 60, or a few changes of peer.
pub(super) const HEAP_WORDS_PER_ENTRY: usize = 16;
/// Words of the largest record.
pub(super) const MAX_RECORD: usize = 2 + 2 * MAX_NAME.div_ceil(8);

const AT_MAGIC: usize = 0;
const AT_LAYOUT: usize = 1;
const AT_WORDS: usize = 2;
const AT_SLOTS: usize = 3;
const AT_HEAP: usize = 4;
const AT_CAPACITY: usize = 5;
const AT_GENERATION: usize = 6;
const AT_SEED: usize = 7;

pub(super) const PERMITTED: u64 = 1;
pub(super) const BLOCKED: u64 = 2;

/// Why a segment is no domain table that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// Too short for a header.
    #[error("domain segment of {0} words is too short")]
    Short(usize),
    /// Not a domain table.
    #[error("not a domain table (magic {0:#018x})")]
    Magic(u64),
    /// Another build's layout.
    #[error("domain table layout {0}; this build reads {LAYOUT}")]
    Layout(u64),
    /// Header fields that contradict each other or the segment's size.
    #[error("domain table header: {0} is wrong")]
    Header(&'static str),
    /// Found by `adopt`: a slot that no writer leaves behind.
    #[error("domain table slot {slot}: {fault}")]
    Slot {
        /// Which.
        slot: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// The sizes of a table, from its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Slots; a power of two.
    pub slots: usize,
    /// Words of the heap.
    pub heap: usize,
    /// Entries.
    pub capacity: u32,
    /// Of the table as a whole: its successor has the next.
    pub generation: u64,
    pub seed: [u64; 2],
}

impl Geometry {
    /// For `capacity` entries (at least 1, at most [`MAX_DOMAINS`]) and at least `heap` words of records.
    pub fn for_entries(capacity: u32, heap: usize, generation: u64, seed: [u64; 2]) -> Self {
        let capacity = capacity.clamp(1, MAX_DOMAINS);
        let heap = heap.max(capacity as usize * HEAP_WORDS_PER_ENTRY).max(MAX_RECORD);
        // Half full at most: a probe for a name that is not there ends after 2.5 slots on average.
        let slots = (capacity as usize * 2).next_power_of_two();
        Self { slots, heap, capacity, generation, seed }
    }

    /// Words of the whole segment.
    pub fn words(&self) -> usize {
        HEADER_WORDS + self.slots + self.heap
    }

    /// First word of the heap.
    pub fn heap_start(&self) -> usize {
        HEADER_WORDS + self.slots
    }

    /// Makes zeroed words an empty table.
    pub fn write(&self, words: &impl Words) {
        words.store(AT_LAYOUT, LAYOUT, Relaxed);
        words.store(AT_WORDS, self.words() as u64, Relaxed);
        words.store(AT_SLOTS, self.slots as u64, Relaxed);
        words.store(AT_HEAP, self.heap as u64, Relaxed);
        words.store(AT_CAPACITY, u64::from(self.capacity), Relaxed);
        words.store(AT_GENERATION, self.generation, Relaxed);
        words.store(AT_SEED, self.seed[0], Relaxed);
        words.store(AT_SEED + 1, self.seed[1], Relaxed);
        words.store(AT_MAGIC, MAGIC, Release);
    }

    /// Reads and checks a header. The values are copied: what happens to the header later does not matter.
    pub fn read(words: &impl Words) -> Result<Self, BadTable> {
        if words.len() < HEADER_WORDS {
            return Err(BadTable::Short(words.len()));
        }
        let magic = words.load(AT_MAGIC, Acquire);
        if magic != MAGIC {
            return Err(BadTable::Magic(magic));
        }
        let field = |at| words.load(at, Relaxed);
        if field(AT_LAYOUT) != LAYOUT {
            return Err(BadTable::Layout(field(AT_LAYOUT)));
        }
        let size = |at, name| usize::try_from(field(at)).map_err(|_| BadTable::Header(name));
        let (slots, heap) = (size(AT_SLOTS, "slots")?, size(AT_HEAP, "heap")?);
        let capacity = u32::try_from(field(AT_CAPACITY)).map_err(|_| BadTable::Header("capacity"))?;
        if !(1..=MAX_DOMAINS).contains(&capacity) {
            return Err(BadTable::Header("capacity"));
        }
        if !slots.is_power_of_two() || slots < capacity as usize * 2 {
            return Err(BadTable::Header("slots"));
        }
        // Offsets in slots are 32 bits wide.
        if heap > u32::MAX as usize {
            return Err(BadTable::Header("heap"));
        }
        let whole = HEADER_WORDS.checked_add(slots).and_then(|n| n.checked_add(heap));
        if whole != Some(words.len()) || field(AT_WORDS) != words.len() as u64 {
            return Err(BadTable::Header("length"));
        }
        let seed = [field(AT_SEED), field(AT_SEED + 1)];
        Ok(Self { slots, heap, capacity, generation: field(AT_GENERATION), seed })
    }
}

/// Word 1 of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub id: u32,
    pub name_len: usize,
    pub peer_len: usize,
    pub wildcard: bool,
}

impl Shape {
    pub fn pack(&self) -> u64 {
        u64::from(self.id)
            | (self.name_len as u64) << 32
            | (self.peer_len as u64) << 40
            | u64::from(self.wildcard) << 48
    }

    /// None for a word that no writer makes.
    pub fn unpack(word: u64) -> Option<Self> {
        let shape = Self {
            id: word as u32,
            name_len: (word >> 32) as usize & 0xFF,
            peer_len: (word >> 40) as usize & 0xFF,
            wildcard: word >> 48 & 1 == 1,
        };
        let fits = (1..=MAX_NAME).contains(&shape.name_len) && shape.peer_len <= MAX_NAME;
        (fits && word >> 49 == 0 && shape.id < MAX_DOMAINS).then_some(shape)
    }

    /// Words of the whole record.
    pub fn words(&self) -> usize {
        2 + self.name_len.div_ceil(8) + self.peer_len.div_ceil(8)
    }
}

/// Word `index` of a text, zero-filled.
pub(super) fn text_word(text: &[u8], index: usize) -> u64 {
    let rest = &text[index * 8..];
    let mut bytes = [0; 8];
    let n = rest.len().min(8);
    bytes[..n].copy_from_slice(&rest[..n]);
    u64::from_le_bytes(bytes)
}
