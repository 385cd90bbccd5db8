// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fixed-size bucketised hash index: hash -> entry numbers, for connections and translations alike.
//!
//! A bucket is one cache line: ten 16-bit tags, ten 32-bit values. An entry lives in one of two buckets picked by
//! independent parts of its hash; a full pair makes room by moving one entry to its other bucket (one step: with
//! ten slots a bucket that holds to about 95 % full). A bucket counts those whose first home it is and that are in their second,
//! so that most searches for what is not there end with one line. Never grows: memory is what it is at start, and a full index
//! is an answer ("table full"), not a stall. Keys are not stored here; the caller compares them in its own entry, so that a hit
//! costs this line and the entry's. Oracle: a HashMap, in tests.rs. Worker cores only.

use fedgate_tables::pages::Pages;
use zerocopy::FromZeros;

const SLOTS: usize = 10;
/// The tag of an empty slot, so that fresh memory is an empty index. No hash has it.
const FREE: u16 = 0;

/// One cache line of an [`Index`]; of use to others only as something to prefetch.
#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(64))]
pub struct Bucket {
    tags: [u16; SLOTS],   // 0..20
    values: [u32; SLOTS], // 20..60
    away: u32,            // 60..64: entries whose first home this is, in their second
}
const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// Bit i is set where slot i holds `tag`. Compiles to one comparison of eight lanes and two more.
    #[inline(always)]
    fn candidates(&self, tag: u16) -> u32 {
        let (Some(eight), Some(two)) = (self.tags.first_chunk::<8>(), self.tags.last_chunk::<2>()) else {
            return 0;
        };
        let lanes = eight.map(|t| t == tag);
        let mask = (0..8).fold(0u32, |mask, i| mask | u32::from(lanes[i]) << i);
        mask | u32::from(two[0] == tag) << 8 | u32::from(two[1] == tag) << 9
    }

    fn free_slot(&self) -> Option<usize> {
        let slot = self.candidates(FREE).trailing_zeros() as usize;
        (slot < SLOTS).then_some(slot)
    }
}

/// See the module.
pub struct Index {
    buckets: Pages<Bucket>,
    len: usize,
}

/// Both buckets of a hash are full and nothing could be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Index {
    /// Room for at least `entries` at 80 % of all slots.
    pub fn new(entries: usize) -> Self {
        let buckets = (entries * 10).div_ceil(SLOTS * 8).max(2);
        Self { buckets: Pages::new(buckets), len: 0 }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first value under `hash` that `is` accepts.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let (tag, homes) = self.place(hash);
        for home in homes {
            let bucket = &self.buckets[home];
            let mut mask = bucket.candidates(tag);
            while mask != 0 {
                let value = bucket.values[mask.trailing_zeros() as usize];
                if is(value) {
                    return Some(value);
                }
                mask &= mask - 1;
            }
            if bucket.away == 0 {
                break; // in the second home it does not matter: there is no third
            }
        }
        None
    }

    /// The line that [`Index::find`] will read first, and mostly the only one: for a prefetch ahead of it.
    #[inline(always)]
    pub fn home(&self, hash: u64) -> Option<&Bucket> {
        self.buckets.get(self.first(hash))
    }

    /// The line that it will read where the first has not what it looks for, if it will. Reads the first.
    #[inline]
    pub fn second_home(&self, hash: u64) -> Option<&Bucket> {
        self.home(hash).filter(|first| first.away != 0)?;
        self.buckets.get(self.second(hash))
    }

    /// The value that [`Index::find`] will ask about first if it is in its first home: for a prefetch of what it is the number of.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> Option<u32> {
        Self::likely_in(self.home(hash)?, hash)
    }

    /// The same for the second home.
    #[inline]
    pub fn likely_second(&self, hash: u64) -> Option<u32> {
        Self::likely_in(self.second_home(hash)?, hash)
    }

    #[inline(always)]
    fn likely_in(bucket: &Bucket, hash: u64) -> Option<u32> {
        let slot = bucket.candidates(tag(hash)).trailing_zeros() as usize;
        bucket.values.get(slot).copied()
    }

    /// Adds `value` under `hash`. `rehash(v)` is the hash of a value already held, should one have to move.
    /// The caller has made sure that the key is not there yet. Errors with [`Full`], changing nothing.
    pub fn insert(&mut self, hash: u64, value: u32, rehash: impl Fn(u32) -> u64) -> Result<(), Full> {
        let (tag, homes) = self.place(hash);
        // The first that has room, not the one with more: a find then needs the second line only of a few in a hundred.
        for home in homes {
            if let Some(slot) = self.buckets[home].free_slot() {
                self.put(home, slot, tag, value);
                self.count_away(homes, home, 1);
                self.len += 1;
                return Ok(());
            }
        }
        for home in homes {
            for slot in 0..SLOTS {
                let held = self.buckets[home].values[slot];
                let (held_tag, held_homes) = self.place(rehash(held));
                let other = if held_homes[0] == home { held_homes[1] } else { held_homes[0] };
                if let Some(free) = self.buckets[other].free_slot().filter(|_| other != home) {
                    self.put(other, free, held_tag, held);
                    self.count_away(held_homes, home, -1);
                    self.count_away(held_homes, other, 1);
                    self.put(home, slot, tag, value);
                    self.count_away(homes, home, 1);
                    self.len += 1;
                    return Ok(());
                }
            }
        }
        Err(Full)
    }

    /// Removes `value` from under `hash`; false where it was not there.
    pub fn remove(&mut self, hash: u64, value: u32) -> bool {
        let (tag, homes) = self.place(hash);
        for home in homes {
            let bucket = &self.buckets[home];
            if let Some(slot) = (0..SLOTS).find(|&i| bucket.values[i] == value && bucket.tags[i] == tag) {
                self.put(home, slot, FREE, 0);
                self.count_away(homes, home, -1);
                self.len -= 1;
                return true;
            }
        }
        false
    }

    fn put(&mut self, home: usize, slot: usize, tag: u16, value: u32) {
        let bucket = &mut self.buckets[home];
        bucket.tags[slot] = tag;
        bucket.values[slot] = value;
    }

    /// Counts an entry that comes to (1) or leaves (-1) `home`, where that is its second.
    fn count_away(&mut self, homes: [usize; 2], home: usize, change: i32) {
        if home == homes[1] {
            let away = &mut self.buckets[homes[0]].away;
            *away = away.wrapping_add_signed(change);
        }
    }

    /// Tag and the two homes: multiply-shift range reduction, so that any number of buckets will do.
    #[inline]
    fn place(&self, hash: u64) -> (u16, [usize; 2]) {
        (tag(hash), [self.first(hash), self.second(hash)])
    }

    /// Never the first: two homes are twice the room, however few buckets there are.
    #[inline]
    fn second(&self, hash: u64) -> usize {
        let n = self.buckets.len();
        let others = n as u64 - 1;
        let step = ((hash.rotate_left(17).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) * others) >> 32;
        let second = self.first(hash) + 1 + step as usize;
        if second < n { second } else { second - n }
    }

    #[inline(always)]
    fn first(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32) as usize
    }
}

/// The top 16 bits, of which two values are one.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}
