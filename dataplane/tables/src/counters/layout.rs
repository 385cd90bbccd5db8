// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where each counter stands, in 64-bit words.
//!
//! ```text
//! header   16 words: magic, layout, words in all, workers, words a block, started, the lists' lengths, zeros
//! blocks   one a worker, then the housekeeping thread's
//! block    small lists first, domain rows last; every section starts on a line of its own (16 words: x86 fetches
//!          lines in pairs), and so does every block
//! ```
//! The sections' places are constants of the build. The header carries the lengths of the lists, so a control of another
//! build is refused instead of reading wrong numbers.

use super::histo::HISTO_BUCKETS;
use super::kinds::{DomainCounter, FragmentCounter, Gauge, Histo, InterfaceCounter, NatCounter, Stat};
use crate::domains::MAX_DOMAINS;
use crate::drops::DropReason;
use crate::policy::MAX_INTERFACES;
use crate::policy_view::{MAX_ACE_COUNTERS, MAX_NAT_COUNTERS};
use crate::words::Words;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Most rules of inspect maps (`fedgate_sip::inspect::MAX_RULES`).
pub const MAX_INSPECT_COUNTERS: u32 = 1024;
/// Most workers.
pub const MAX_WORKERS: usize = 16;

const MAGIC: u64 = u64::from_le_bytes(*b"FGCOUNTS");
/// Changes with this file and with the order of any list.
pub(super) const LAYOUT: u64 = 7;
const HEADER_WORDS: usize = 16;
const LINE: usize = 16;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A statistic.
    Stat(Stat),
    /// A gauge.
    Gauge(Gauge),
    /// Frames dropped for a reason.
    Drop(DropReason),
    /// Traffic of the interface with this index.
    Interface(u8, InterfaceCounter),
    /// Fragments on the interface with this index.
    Fragment(u8, FragmentCounter),
    /// Verdicts on domains that no entry speaks of.
    Unlisted(DomainCounter),
    /// Values in one bucket of a histogram.
    Bucket(Histo, usize),
    /// Hits of an NAT rule's slot.
    Nat(u32, NatCounter),
    /// Hits of an ACE's slot.
    Ace(u32),
    /// Hits of an inspect map's rule, by its slot.
    Inspect(u32),
    /// Verdicts on the domain with this id.
    Domain(u32, DomainCounter),
}

const STATS: usize = 0;
const GAUGES: usize = (STATS + Stat::COUNT).next_multiple_of(LINE);
const DROPS: usize = (GAUGES + Gauge::COUNT).next_multiple_of(LINE);
const INTERFACES: usize = (DROPS + DropReason::COUNT).next_multiple_of(LINE);
const FRAGMENTS: usize = (INTERFACES + MAX_INTERFACES * InterfaceCounter::COUNT).next_multiple_of(LINE);
const UNLISTED: usize = (FRAGMENTS + MAX_INTERFACES * FragmentCounter::COUNT).next_multiple_of(LINE);
const BUCKETS: usize = (UNLISTED + DomainCounter::COUNT).next_multiple_of(LINE);
const NAT: usize = (BUCKETS + Histo::COUNT * HISTO_BUCKETS).next_multiple_of(LINE);
const INSPECT: usize = (NAT + MAX_NAT_COUNTERS as usize * NatCounter::COUNT).next_multiple_of(LINE);
const ACES: usize = (INSPECT + MAX_INSPECT_COUNTERS as usize).next_multiple_of(LINE);
const DOMAINS: usize = (ACES + MAX_ACE_COUNTERS as usize).next_multiple_of(LINE);
const BLOCK: usize = (DOMAINS + MAX_DOMAINS as usize * DomainCounter::COUNT).next_multiple_of(LINE);

impl Counter {
    /// Its word in a block; none if its index is past the limit.
    #[inline]
    pub(super) fn offset(self) -> Option<usize> {
        let row = |start, index: usize, rows: usize, width, column| {
            (index < rows).then_some(start + index * width + column)
        };
        match self {
            Self::Stat(stat) => Some(STATS + stat as usize),
            Self::Gauge(gauge) => Some(GAUGES + gauge as usize),
            Self::Drop(reason) => Some(DROPS + reason as usize),
            Self::Interface(ifindex, counter) => {
                row(INTERFACES, ifindex as usize, MAX_INTERFACES, InterfaceCounter::COUNT, counter as usize)
            }
            Self::Fragment(ifindex, counter) => {
                row(FRAGMENTS, ifindex as usize, MAX_INTERFACES, FragmentCounter::COUNT, counter as usize)
            }
            Self::Unlisted(counter) => Some(UNLISTED + counter as usize),
            Self::Bucket(histo, bucket) => {
                row(BUCKETS + histo as usize * HISTO_BUCKETS, bucket, HISTO_BUCKETS, 1, 0)
            }
            Self::Nat(slot, way) => {
                row(NAT, slot as usize, MAX_NAT_COUNTERS as usize, NatCounter::COUNT, way as usize)
            }
            Self::Inspect(slot) => row(INSPECT, slot as usize, MAX_INSPECT_COUNTERS as usize, 1, 0),
            Self::Ace(slot) => row(ACES, slot as usize, MAX_ACE_COUNTERS as usize, 1, 0),
            Self::Domain(id, counter) => {
                row(DOMAINS, id as usize, MAX_DOMAINS as usize, DomainCounter::COUNT, counter as usize)
            }
        }
    }
}

/// Why a segment is no counter segment that this build can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCounters {
    /// Too short for a header.
    #[error("counter segment of {0} words is too short")]
    Short(usize),
    /// Not a counter segment.
    #[error("not a counter segment (magic {0:#018x})")]
    Magic(u64),
    /// Another build's.
    #[error("counter segment of another build: {0} differs")]
    Build(&'static str),
    /// The size does not fit the header.
    #[error("counter segment has {has} words, {wants} are needed")]
    Length {
        /// Words there are.
        has: usize,
        /// Words that the header asks for.
        wants: usize,
    },
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub workers: usize,
    pub started_unix: u64,
}

/// Header words that must be equal on both sides.
const BUILD: [(usize, u64, &str); 10] = [
    (1, LAYOUT, "layout"),
    (2, BLOCK as u64, "block size"),
    (3, Stat::COUNT as u64, "list of statistics"),
    (4, Gauge::COUNT as u64, "list of gauges"),
    (5, DropReason::COUNT as u64, "list of drop reasons"),
    (6, InterfaceCounter::COUNT as u64, "list of interface counters"),
    (7, DomainCounter::COUNT as u64, "list of domain counters"),
    (8, Histo::COUNT as u64, "list of histograms"),
    (9, HISTO_BUCKETS as u64, "number of buckets"),
    (12, FragmentCounter::COUNT as u64, "list of fragment counters"),
];
const AT_MAGIC: usize = 0;
const AT_WORKERS: usize = 10;
const AT_STARTED: usize = 11;

impl Layout {
    pub fn new(workers: usize, started_unix: u64) -> Self {
        Self { workers, started_unix }
    }

    /// Words of the whole segment.
    pub fn words(&self) -> usize {
        self.block(self.workers + 1)
    }

    /// First word of a block.
    pub fn block(&self, block: usize) -> usize {
        HEADER_WORDS + block * BLOCK
    }

    pub fn write(&self, words: &impl Words) {
        for (at, value, _) in BUILD {
            words.store(at, value, Relaxed);
        }
        words.store(AT_WORKERS, self.workers as u64, Relaxed);
        words.store(AT_STARTED, self.started_unix, Relaxed);
        words.store(AT_MAGIC, MAGIC, Release);
    }

    pub fn read(words: &impl Words) -> Result<Self, BadCounters> {
        if words.len() < HEADER_WORDS {
            return Err(BadCounters::Short(words.len()));
        }
        let magic = words.load(AT_MAGIC, Acquire);
        if magic != MAGIC {
            return Err(BadCounters::Magic(magic));
        }
        for (at, value, what) in BUILD {
            if words.load(at, Relaxed) != value {
                return Err(BadCounters::Build(what));
            }
        }
        let workers = words.load(AT_WORKERS, Relaxed);
        if !(1..=MAX_WORKERS as u64).contains(&workers) {
            return Err(BadCounters::Build("number of workers"));
        }
        let layout = Self::new(workers as usize, words.load(AT_STARTED, Relaxed));
        if layout.words() != words.len() {
            return Err(BadCounters::Length { has: words.len(), wants: layout.words() });
        }
        Ok(layout)
    }
}
