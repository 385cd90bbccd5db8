// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing end of the domain table: control's, one at a time.
//!
//! Order of stores is all there is to safety here. A new record is written in full into heap that nothing points
//! at, then one release store of its slot makes it seen. Permit, block and remove of a known name store its state
//! word. A change of peer is a new record with the same id and state behind the same slot. The old one stays as it was for readers
//! that still hold it; its room comes back with [`DomainWriter::grow`]. The fields of the writer are a cache of what the segment
//! says, rebuilt by `adopt`, so there is no state to lose.
//!
//! A name that is on no list any more keeps its record and its id, so that nobody can meet the id under another name in this table. A
//! successor leaves such names behind, and gives their ids out again once it has no fresh one: a reader that still
//! holds the table before finds them on no list there, so it counts nothing for them.
//!
//! Limits: `capacity` ids, the heap, and [`MAX_DOMAINS`]; [`DomainError::wants_growth`] tells which errors a
//! successor cures. Not meant for two writers at once: the link has one control at a time.

use super::hash::hash_name;
use super::is_canonical;
use super::layout::{
    BLOCKED, BadTable, Geometry, HEADER_WORDS, MAX_DOMAINS, MAX_NAME, PERMITTED, Shape, text_word,
};
use super::table::{Probe, Record, Table};
use crate::region::{Region, RegionError, Shared};
use crate::words::Words;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Why the table was not changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DomainError {
    /// The name, or the peer's, is not canonical.
    #[error("`{0}` is not a canonical domain name")]
    NotCanonical(String),
    /// As many names as the table has ids.
    #[error("the domain table is full")]
    Full,
    /// No room for the name's text.
    #[error("the domain table has no room for more names")]
    HeapFull,
    /// Too many names hash to one place.
    #[error("the domain table is too crowded for this name")]
    Crowded,
    /// All [`MAX_DOMAINS`] ids are taken, and hardly any by names that were removed.
    #[error("all {MAX_DOMAINS} domain ids are taken")]
    IdsExhausted,
    /// Memory for a table could not be had.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The segment is no table that can be adopted.
    #[error(transparent)]
    Bad(#[from] BadTable),
    /// No seed from the kernel.
    #[error("getrandom: {0}")]
    Random(rustix::io::Errno),
}

impl DomainError {
    /// Whether [`DomainWriter::grow`] helps.
    pub fn wants_growth(&self) -> bool {
        match self {
            Self::Full | Self::HeapFull | Self::Crowded => true,
            Self::NotCanonical(_) | Self::IdsExhausted | Self::Region(_) | Self::Bad(_) | Self::Random(_) => {
                false
            }
        }
    }
}

/// Which list of the operator's an entry is on; it may be on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// `permit domain`.
    Permit,
    /// `block domain`. Wins over permit.
    Block,
}

impl List {
    fn bit(self) -> u64 {
        match self {
            Self::Permit => PERMITTED,
            Self::Block => BLOCKED,
        }
    }
}

/// One entry, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its counter row.
    pub id: u32,
    /// Canonical name.
    pub name: String,
    /// `*.name`.
    pub wildcard: bool,
    /// On the permit list.
    pub permitted: bool,
    /// On the block list.
    pub blocked: bool,
    /// The name that the peer's certificate must carry.
    pub peer: Option<String>,
}

/// The one writer of a domain table.
#[derive(Debug)]
pub struct DomainWriter<W = Region<Shared>> {
    table: Table<W>,
    /// The id of the next new name. Ids are given in order, then those in `free`.
    next_id: u32,
    /// Ids below `next_id` that no record has, the lowest last.
    free: Vec<u32>,
    /// Of those, the ones given out since it was last asked.
    reused: Vec<u32>,
    /// Heap words in use.
    heap_used: usize,
}

impl DomainWriter<Region<Shared>> {
    /// An empty table for `capacity` names (clamped to 1..=[`MAX_DOMAINS`]), generation 1.
    ///
    /// # Errors
    /// No memory, or no randomness.
    pub fn create(capacity: u32) -> Result<Self, DomainError> {
        Self::make(Geometry::for_entries(capacity, 0, 1, seed()?))
    }

    fn make(geometry: Geometry) -> Result<Self, DomainError> {
        let region = Region::shared("fedgate-domains", geometry.words() * 8)?;
        Ok(Self::format(region, geometry)?)
    }

    /// The segment, to be sent to the dataplane.
    pub fn region(&self) -> &Region<Shared> {
        &self.table.words
    }

    /// A successor with the same entries and ids, the next generation and twice the room (up to [`MAX_DOMAINS`]); records out of
    /// use and names on no list are left behind. This table stays as it is: the caller sends the successor and goes on with that.
    ///
    /// # Errors
    /// No memory, no randomness, or [`DomainError::Crowded`] (by chance of the new seed; try again).
    pub fn grow(&self) -> Result<Self, DomainError> {
        let old = &self.table.geometry;
        let listed = self.records().filter(|record| self.table.state(record) != 0);
        let in_use: usize = listed.map(|record| record.shape.words()).sum();
        let geometry =
            Geometry::for_entries(old.capacity.saturating_mul(2), in_use * 2, old.generation + 1, seed()?);
        let mut successor = Self::make(geometry)?;
        self.copy_to(&mut successor)?;
        Ok(successor)
    }
}

impl<W: Words> DomainWriter<W> {
    /// Takes over a table that another writer left, at whatever store it died.
    ///
    /// # Errors
    /// Not a table, or one with slots or records that no writer leaves behind.
    pub fn adopt(words: W) -> Result<Self, BadTable> {
        let table = Table::attach(words)?;
        let mut writer = Self { table, next_id: 0, free: Vec::new(), reused: Vec::new(), heap_used: 0 };
        let mut seen = vec![0u64; MAX_DOMAINS as usize / 64];
        for slot in 0..writer.table.geometry.slots {
            let value = writer.table.slot(slot);
            if value == 0 {
                continue;
            }
            let bad = |fault| BadTable::Slot { slot, fault };
            let record = writer.table.record(value).ok_or(bad("record outside of the heap"))?;
            let mut name = [0; MAX_NAME];
            let len = writer.table.name(&record, &mut name);
            if !is_canonical(&name[..len]) {
                return Err(bad("name is not canonical"));
            }
            match writer.find(&name[..len], record.shape.wildcard).1 {
                Probe::Found { slot: found, record: _ } if found == slot => {}
                Probe::Found { .. } | Probe::Vacant { .. } | Probe::Crowded => {
                    return Err(bad("name is not found where it stands"));
                }
            }
            let id = record.shape.id;
            let (word, bit) = (id as usize / 64, 1u64 << (id % 64));
            if id >= writer.table.geometry.capacity || seen[word] & bit != 0 {
                return Err(bad("id out of range or taken twice"));
            }
            seen[word] |= bit;
            writer.next_id = writer.next_id.max(id + 1);
            let end = record.at - writer.table.geometry.heap_start() + record.shape.words();
            writer.heap_used = writer.heap_used.max(end);
        }
        let taken = |id: &u32| seen[*id as usize / 64] & 1u64 << (id % 64) != 0;
        writer.free = (0..writer.next_id).rev().filter(|id| !taken(id)).collect();
        Ok(writer)
    }

    /// Makes zeroed words an empty table.
    pub(super) fn format(words: W, geometry: Geometry) -> Result<Self, BadTable> {
        geometry.write(&words);
        Ok(Self {
            table: Table::attach(words)?,
            next_id: 0,
            free: Vec::new(),
            reused: Vec::new(),
            heap_used: 0,
        })
    }

    /// Puts a name on the permit list, with the peer name its certificate must carry (none: the domain itself).
    /// Returns the entry's id.
    ///
    /// # Errors
    /// A name that is not canonical, or no room; the table is then as it was.
    pub fn permit(&mut self, name: &str, wildcard: bool, peer: Option<&str>) -> Result<u32, DomainError> {
        let (hash, probe) = self.checked(name, wildcard)?;
        if let Some(peer) = peer {
            canonical(peer)?;
        }
        let peer = peer.unwrap_or("").as_bytes();
        match probe {
            Probe::Found { slot, record } => {
                let state = self.table.state(&record) | PERMITTED;
                let mut old = [0; MAX_NAME];
                let len = self.table.peer(&record, &mut old);
                if old[..len] == *peer {
                    self.table.words.store(record.at, state, Release);
                } else {
                    let id = record.shape.id;
                    self.put(slot, &NewRecord { hash, id, name: name.as_bytes(), wildcard, peer, state })?;
                }
                Ok(record.shape.id)
            }
            Probe::Vacant { slot } => {
                let new = NewRecord { hash, id: 0, name: name.as_bytes(), wildcard, peer, state: PERMITTED };
                self.insert(slot, new)
            }
            Probe::Crowded => Err(DomainError::Crowded),
        }
    }

    /// Puts a name on the block list. Returns the entry's id.
    ///
    /// # Errors
    /// As for [`Self::permit`].
    pub fn block(&mut self, name: &str, wildcard: bool) -> Result<u32, DomainError> {
        let (hash, probe) = self.checked(name, wildcard)?;
        match probe {
            Probe::Found { slot: _, record } => {
                self.table.words.store(record.at, self.table.state(&record) | BLOCKED, Release);
                Ok(record.shape.id)
            }
            Probe::Vacant { slot } => {
                let new =
                    NewRecord { hash, id: 0, name: name.as_bytes(), wildcard, peer: b"", state: BLOCKED };
                self.insert(slot, new)
            }
            Probe::Crowded => Err(DomainError::Crowded),
        }
    }

    /// Takes a name off a list; whether it was on it.
    ///
    /// # Errors
    /// A name that is not canonical.
    pub fn remove(&mut self, name: &str, wildcard: bool, list: List) -> Result<bool, DomainError> {
        match self.checked(name, wildcard)?.1 {
            Probe::Found { slot: _, record } => {
                let state = self.table.state(&record);
                self.table.words.store(record.at, state & !list.bit(), Release);
                Ok(state & list.bit() != 0)
            }
            Probe::Vacant { .. } | Probe::Crowded => Ok(false),
        }
    }

    /// The entries on a list, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries_in(0..self.slots())
    }

    /// Those in a stretch of the table's [`slots`](Self::slots), for who has no time for all at once.
    pub fn entries_in(&self, slots: std::ops::Range<usize>) -> impl Iterator<Item = Entry> + '_ {
        let slots = slots.start..slots.end.min(self.slots());
        let records = slots.filter_map(|slot| self.table.record(self.table.slot(slot)));
        records.map(|record| self.entry(&record)).filter(|entry| entry.permitted || entry.blocked)
    }

    /// Slots of the table; more than it can hold names.
    pub fn slots(&self) -> usize {
        self.table.geometry.slots
    }

    /// The memory it writes.
    pub fn words(&self) -> &W {
        &self.table.words
    }

    /// Names the table can hold.
    pub fn capacity(&self) -> u32 {
        self.table.geometry.capacity
    }

    /// Names that have an id, those on no list any more among them.
    pub fn names(&self) -> u32 {
        self.next_id
    }

    /// The table's generation; a successor has the next.
    pub fn generation(&self) -> u64 {
        self.table.geometry.generation
    }

    /// Ids that names had before and new ones were given since this was last asked: their counters do not begin at zero.
    pub fn take_reused(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.reused)
    }

    /// Inserts every record that is on a list into an empty table, ids as they are.
    pub(super) fn copy_to<V: Words>(&self, successor: &mut DomainWriter<V>) -> Result<(), DomainError> {
        let (mut name, mut peer) = ([0; MAX_NAME], [0; MAX_NAME]);
        let mut taken = vec![false; self.next_id as usize];
        for record in self.records().filter(|record| self.table.state(record) != 0) {
            let name_len = self.table.name(&record, &mut name);
            let peer_len = self.table.peer(&record, &mut peer);
            let Shape { id, wildcard, name_len: _, peer_len: _ } = record.shape;
            let (hash, probe) = successor.find(&name[..name_len], wildcard);
            // The names of a table differ from each other, so only a vacant slot is to be expected.
            let Probe::Vacant { slot } = probe else { return Err(DomainError::Crowded) };
            let state = self.table.state(&record);
            let new =
                NewRecord { hash, id, name: &name[..name_len], wildcard, peer: &peer[..peer_len], state };
            successor.put(slot, &new)?;
            taken[id as usize] = true;
        }
        successor.next_id = self.next_id;
        successor.free = (0..successor.next_id).rev().filter(|id| !taken[*id as usize]).collect();
        Ok(())
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.table.geometry.slots).filter_map(|slot| self.table.record(self.table.slot(slot)))
    }

    fn entry(&self, record: &Record) -> Entry {
        let state = self.table.state(record);
        let mut bytes = [0; MAX_NAME];
        let len = self.table.name(record, &mut bytes);
        let name = String::from_utf8_lossy(&bytes[..len]).into_owned();
        let len = self.table.peer(record, &mut bytes);
        let peer = (len != 0).then(|| String::from_utf8_lossy(&bytes[..len]).into_owned());
        Entry {
            id: record.shape.id,
            name,
            wildcard: record.shape.wildcard,
            permitted: state & PERMITTED != 0,
            blocked: state & BLOCKED != 0,
            peer,
        }
    }

    fn find(&self, name: &[u8], wildcard: bool) -> (u64, Probe) {
        let hash = hash_name(self.table.geometry.seed, name, wildcard);
        (hash, self.table.probe(hash, name, wildcard))
    }

    fn checked(&self, name: &str, wildcard: bool) -> Result<(u64, Probe), DomainError> {
        canonical(name)?;
        Ok(self.find(name.as_bytes(), wildcard))
    }

    /// A new name: the next id.
    fn insert(&mut self, slot: usize, new: NewRecord<'_>) -> Result<u32, DomainError> {
        let id = self.next_id;
        if id < self.table.geometry.capacity {
            self.put(slot, &NewRecord { id, ..new })?;
            self.next_id += 1;
            return Ok(id);
        }
        if let Some(id) = self.free.last().copied() {
            self.put(slot, &NewRecord { id, ..new })?;
            self.free.pop();
            self.reused.push(id);
            return Ok(id);
        }
        // At its largest, a successor is worth its making where that frees more than a few.
        let gone = || self.records().filter(|record| self.table.state(record) == 0).count();
        if id >= MAX_DOMAINS && gone() < MAX_DOMAINS as usize / 64 {
            return Err(DomainError::IdsExhausted);
        }
        Err(DomainError::Full)
    }

    /// Writes a record into unused heap and points the slot at it.
    fn put(&mut self, slot: usize, new: &NewRecord<'_>) -> Result<(), DomainError> {
        let NewRecord { hash, id, name, wildcard, peer, state } = *new;
        let shape = Shape { id, name_len: name.len(), peer_len: peer.len(), wildcard };
        if self.heap_used + shape.words() > self.table.geometry.heap {
            return Err(DomainError::HeapFull);
        }
        let words = &self.table.words;
        let at = self.table.geometry.heap_start() + self.heap_used;
        words.store(at, state, Relaxed);
        words.store(at + 1, shape.pack(), Relaxed);
        let texts =
            [name, peer].into_iter().flat_map(|text| (0..text.len().div_ceil(8)).map(|i| text_word(text, i)));
        for (i, word) in texts.enumerate() {
            words.store(at + 2 + i, word, Relaxed);
        }
        // The tag, and the offset plus 1, which fits 32 bits because the heap does.
        let value = hash >> 32 << 32 | (self.heap_used as u64 + 1);
        words.store(HEADER_WORDS + slot, value, Release);
        self.heap_used += shape.words();
        Ok(())
    }
}

/// What a record is made of.
struct NewRecord<'a> {
    hash: u64,
    /// For a new name: set by `insert`.
    id: u32,
    name: &'a [u8],
    wildcard: bool,
    peer: &'a [u8],
    state: u64,
}

fn canonical(name: &str) -> Result<(), DomainError> {
    if is_canonical(name.as_bytes()) { Ok(()) } else { Err(DomainError::NotCanonical(name.to_owned())) }
}

/// A key for the hash that foreign peers cannot know.
fn seed() -> Result<[u64; 2], DomainError> {
    let mut bytes = [0u8; 16];
    let mut have = 0;
    while have < bytes.len() {
        have += rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty())
            .map_err(DomainError::Random)?;
    }
    let (a, b) = bytes.split_at(8);
    Ok([a, b].map(|half| half.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))))
}
