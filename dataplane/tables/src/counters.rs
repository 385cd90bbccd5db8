// SPDX-License-Identifier: MIT OR Apache-2.0
//! The counters: one shared segment, made and written by the dataplane alone, read by control at any time.
//!
//! A block a worker and one for the housekeeping thread (`layout.rs`), so no two cores write one line and counting is a
//! relaxed load and a relaxed store, never a locked instruction. Readers add the blocks up. Each word is exact; words
//! read one after the other are of slightly different times, so two of them need not agree to the packet.
//!
//! What can be counted is the closed list [`Counter`]; the kinds are in `kinds.rs` with the names that operators see.
//! Counters only grow (64 bits do not wrap), are zero when the dataplane starts and live as long as it does: control restarts
//! do not touch them. The domain rows are sparse: pages of rows that were never counted take no memory.

mod histo;
mod kinds;
mod layout;
#[cfg(all(test, not(loom)))]
mod tests;

pub use histo::{HISTO_BUCKETS, HISTO_MAX, HistoValues};
pub use kinds::{DomainCounter, FragmentCounter, Gauge, Histo, InterfaceCounter, NatCounter, Stat};
pub use layout::{BadCounters, Counter, MAX_WORKERS};

use crate::drops::DropReason;
use crate::region::{Region, RegionError, Shared};
use crate::words::Words;
use layout::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The segment on the dataplane's side.
#[derive(Debug)]
pub struct Counters {
    region: Arc<Region<Shared>>,
}

impl Counters {
    /// Makes the segment: a writing handle a worker, in order, and one for the housekeeping thread.
    ///
    /// # Errors
    /// No memory; `workers` is clamped to 1..=[`MAX_WORKERS`].
    pub fn create(
        workers: usize,
        started_unix: u64,
    ) -> Result<(Self, Vec<WorkerCounters>, WorkerCounters), RegionError> {
        let layout = Layout::new(workers.clamp(1, MAX_WORKERS), started_unix);
        let region = Arc::new(Region::shared("fedgate-counters", layout.words() * 8)?);
        layout.write(&*region);
        let handle = |block| WorkerCounters {
            region: region.clone(),
            base: layout.block(block),
            one_thread: PhantomData,
        };
        let handles = (0..layout.workers).map(handle).collect();
        let house = handle(layout.workers);
        Ok((Self { region }, handles, house))
    }

    /// A reading end for the dataplane's own use.
    ///
    /// # Panics
    /// Never: the segment is of this build's layout.
    pub fn reader(&self) -> CountersReader<Arc<Region<Shared>>> {
        CountersReader::attach(self.region.clone()).expect("the segment is of this build's layout")
    }

    /// The segment, to be sent to control.
    pub fn region(&self) -> &Region<Shared> {
        &self.region
    }
}

/// The writing handle of one block: moved to its thread, used there alone (`Send`, neither `Clone` nor `Sync`).
#[derive(Debug)]
pub struct WorkerCounters {
    region: Arc<Region<Shared>>,
    /// First word of the block.
    base: usize,
    one_thread: PhantomData<Cell<()>>,
}

impl WorkerCounters {
    /// Adds to a counter. One that does not exist (an index past its limit) is not counted.
    #[inline]
    pub fn count(&self, counter: Counter, n: u64) {
        let Some(offset) = counter.offset() else { return };
        let word = self.base + offset;
        self.region.store(word, self.region.load(word, Relaxed).wrapping_add(n), Relaxed);
    }

    /// A frame dropped.
    #[inline]
    pub fn drop(&self, reason: DropReason) {
        self.count(Counter::Drop(reason), 1);
    }

    /// Frames received on an interface.
    #[inline]
    pub fn rx(&self, ifindex: u8, packets: u64, bytes: u64) {
        self.count(Counter::Interface(ifindex, InterfaceCounter::RxPackets), packets);
        self.count(Counter::Interface(ifindex, InterfaceCounter::RxBytes), bytes);
    }

    /// Frames sent on an interface.
    #[inline]
    pub fn tx(&self, ifindex: u8, packets: u64, bytes: u64) {
        self.count(Counter::Interface(ifindex, InterfaceCounter::TxPackets), packets);
        self.count(Counter::Interface(ifindex, InterfaceCounter::TxBytes), bytes);
    }

    /// A hit of an ACE's counter slot.
    #[inline]
    pub fn ace(&self, slot: u32) {
        self.count(Counter::Ace(slot), 1);
    }

    /// Asks for the line of an ACE's counter slot: `fetch` starts to load the one at an address, which may be any.
    #[inline]
    pub fn fetch_ace(&self, slot: u32, fetch: impl Fn(*const u8)) {
        if let Some(offset) = Counter::Ace(slot).offset() {
            fetch(self.region.atomics().as_ptr().wrapping_add(self.base + offset).cast());
        }
    }

    /// A hit of a NAT rule's counter slot.
    #[inline]
    pub fn nat(&self, slot: u32, way: NatCounter) {
        self.count(Counter::Nat(slot, way), 1);
    }

    /// A verdict on a listed domain.
    #[inline]
    pub fn domain(&self, id: u32, counter: DomainCounter) {
        self.count(Counter::Domain(id, counter), 1);
    }

    /// A verdict on a domain that no entry speaks of.
    #[inline]
    pub fn unlisted(&self, counter: DomainCounter) {
        self.count(Counter::Unlisted(counter), 1);
    }

    /// Adds to a statistic.
    #[inline]
    pub fn add(&self, stat: Stat, n: u64) {
        self.count(Counter::Stat(stat), n);
    }

    /// Sets a gauge of this block.
    #[inline]
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.level(Counter::Gauge(gauge), value);
    }

    /// Adds to what is counted of fragments on an interface.
    pub fn fragment(&self, ifindex: u8, counter: FragmentCounter, n: u64) {
        self.count(Counter::Fragment(ifindex, counter), n);
    }

    /// Sets how many fragments wait on an interface.
    pub fn fragments_waiting(&self, ifindex: u8, count: u32) {
        self.level(Counter::Fragment(ifindex, FragmentCounter::Queue), count.into());
    }

    fn level(&self, counter: Counter, value: u64) {
        if let Some(offset) = counter.offset() {
            self.region.store(self.base + offset, value, Relaxed);
        }
    }

    /// One value into a histogram (ns or us, as its name says); values above [`HISTO_MAX`] count as that.
    #[inline]
    pub fn observe(&self, histo: Histo, value: u64) {
        self.count(Counter::Bucket(histo, histo::bucket_of(value)), 1);
    }
}

/// The reading end: control's, and the dataplane's own.
#[derive(Debug)]
pub struct CountersReader<W = Region<Shared>> {
    words: W,
    layout: Layout,
}

impl<W: Words> CountersReader<W> {
    /// Checks the header against this build's lists.
    ///
    /// # Errors
    /// Not a counter segment, or one of a build that counts other things.
    pub fn attach(words: W) -> Result<Self, BadCounters> {
        let layout = Layout::read(&words)?;
        Ok(Self { words, layout })
    }

    /// Workers that count.
    pub fn workers(&self) -> usize {
        self.layout.workers
    }

    /// When the dataplane started, seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.layout.started_unix
    }

    /// A counter of one block: a worker's, or at `workers()` the housekeeping thread's. 0 for one that does not exist.
    pub fn of(&self, block: usize, counter: Counter) -> u64 {
        match counter.offset() {
            Some(offset) if block <= self.layout.workers => {
                self.words.load(self.layout.block(block) + offset, Relaxed)
            }
            Some(_) | None => 0,
        }
    }

    /// A counter over all blocks. Of a `…MostUsed` gauge it is the sum of the blocks' peaks, which need not have
    /// been at one time.
    pub fn sum(&self, counter: Counter) -> u64 {
        (0..=self.layout.workers).fold(0, |sum, block| sum.wrapping_add(self.of(block, counter)))
    }

    /// A histogram over all blocks.
    pub fn histo(&self, histo: Histo) -> HistoValues {
        HistoValues::new((0..HISTO_BUCKETS).map(|bucket| self.sum(Counter::Bucket(histo, bucket))))
    }
}
