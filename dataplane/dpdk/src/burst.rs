// SPDX-License-Identifier: MIT OR Apache-2.0
//! Up to 64 packet buffers in an array, the unit of work of a worker.
//!
//! A [`Burst`] is a small vector without a heap: `RxQueue::burst` fills it, stages
//! go over it as a slice, the worker deals its mbufs out into one burst a port,
//! and `TxQueue::send` takes from its front. What is left when it is dropped or
//! cleared goes back to the pools in one call. Order is kept by everything but
//! [`Burst::swap_remove`]. Lives on the stack or in the worker's state.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr;

use dpdk_sys as sys;

use crate::Mbuf;

#[cfg(test)]
mod tests;

/// Mbufs in a full [`Burst`].
pub const BURST: usize = 64;

/// Up to [`BURST`] mbufs.
pub struct Burst {
    /// The first `len` slots are initialised.
    slots: [MaybeUninit<Mbuf>; BURST],
    len: usize,
}

impl Burst {
    /// An empty burst.
    pub const fn new() -> Burst {
        Burst { slots: [const { MaybeUninit::uninit() }; BURST], len: 0 }
    }

    /// Whether nothing more fits.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == BURST
    }

    /// Adds one at the end.
    ///
    /// # Errors
    /// Gives it back when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the slot was initialised, and `len` no longer covers it.
        Some(unsafe { self.slots[self.len].assume_init_read() })
    }

    /// Takes the one at `index`; the last moves into its place. `None` beyond the end.
    #[inline]
    pub fn swap_remove(&mut self, index: usize) -> Option<Mbuf> {
        let last = self.len.checked_sub(1)?;
        if index > last {
            return None;
        }
        self.swap(index, last);
        self.pop()
    }

    /// Takes all, first to last. Those not asked for are freed with the iterator.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// Frees all, in one call.
    #[inline]
    pub fn clear(&mut self) {
        let len = std::mem::take(&mut self.len);
        self.free(0, len);
    }

    /// Frees the mbufs in slots `from..to`, which `len` must not cover any more.
    #[inline]
    fn free(&mut self, from: usize, to: usize) {
        let slots = &mut self.slots[from..to];
        if !slots.is_empty() {
            // SAFETY: these slots are initialised and ours alone, a slot is one mbuf pointer
            // (repr(transparent) all the way), and BURST fits an unsigned int.
            unsafe { sys::rte_pktmbuf_free_bulk(slots.as_mut_ptr().cast(), slots.len() as u32) }
        }
    }

    /// The slots behind the last, for the receive queue to write to.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [MaybeUninit<Mbuf>] {
        &mut self.slots[self.len..]
    }

    /// Takes in what was written to the first `n` slots of [`Burst::spare`].
    ///
    /// # Safety
    /// They hold valid mbufs that nothing else owns.
    #[inline]
    pub(crate) unsafe fn grow(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= BURST);
    }

    /// Forgets the first `n`, which somebody else owns now, and moves the rest up.
    ///
    /// # Safety
    /// `n` is at most the length, and the first `n` are not ours any more.
    #[inline]
    pub(crate) unsafe fn forget_front(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        if self.len > 0 && n > 0 {
            let base = self.slots.as_mut_ptr();
            // SAFETY: `n + len` slots from the base are initialised, and this moves the last
            // `len` of them over those that were forgotten.
            unsafe { ptr::copy(base.add(n), base, self.len) }
        }
    }
}

impl Default for Burst {
    fn default() -> Self {
        Burst::new()
    }
}

impl Drop for Burst {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

impl Deref for Burst {
    type Target = [Mbuf];

    #[inline]
    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first `len` slots are initialised; MaybeUninit<Mbuf> is laid out as Mbuf.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Burst {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len) }
    }
}

impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Takes the mbufs out of a [`Burst`], which is empty from the start: even a
/// forgotten `Drain` can only leak.
#[derive(Debug)]
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: slots next..end are initialised and the burst's `len` does not cover them;
        // each is read once.
        let mbuf = unsafe { self.burst.slots[self.next].assume_init_read() };
        self.next += 1;
        Some(mbuf)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    #[inline]
    fn drop(&mut self) {
        self.burst.free(self.next, self.end);
    }
}
