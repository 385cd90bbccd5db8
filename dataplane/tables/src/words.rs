// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory as an array of atomic 64-bit words: what the domain table and the counters are built on.
//!
//! In production it is a [`Region`] shared by both processes. The trait exists so that the very same table code
//! also runs over plain heap words (tests, Miri), over loom's words (model checking of slot publication) and over
//! words that stop taking stores after the n-th one (a writer that died there). Every access is atomic, so
//! whatever the other process does with the memory, it can give wrong values but no undefined behaviour.

use crate::region::{Region, Shared};
use std::sync::atomic::{AtomicU64, Ordering};

/// An array of atomic words. Indices are the caller's duty: implementations panic past `len()`.
pub trait Words {
    /// Number of words.
    fn len(&self) -> usize;
    /// Reads word `index`.
    fn load(&self, index: usize, order: Ordering) -> u64;
    /// Writes word `index`.
    fn store(&self, index: usize, value: u64, order: Ordering);
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Words for [AtomicU64] {
    fn len(&self) -> usize {
        <[AtomicU64]>::len(self)
    }
    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self[index].load(order)
    }
    #[inline]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self[index].store(value, order);
    }
}

impl Words for Region<Shared> {
    fn len(&self) -> usize {
        self.atomics().len()
    }
    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.atomics()[index].load(order)
    }
    #[inline]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.atomics()[index].store(value, order);
    }
}

impl<W: Words + ?Sized> Words for std::sync::Arc<W> {
    fn len(&self) -> usize {
        (**self).len()
    }
    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        (**self).load(index, order)
    }
    #[inline]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        (**self).store(index, value, order);
    }
}
