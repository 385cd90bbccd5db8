// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-over of a value from one writer to polling readers, freed when all have moved on (QSBR).
//!
//! The housekeeping thread owns the [`Publication`], each worker one [`Reader`]. A worker calls
//! [`Reader::quiescent`] between bursts: one acquire load, and only when the pointer changed also a store of the
//! generation it moved to, in a cache line of its own. So in steady state no line is written at all. What
//! [`Reader::get`] lends cannot live across `quiescent`, which the borrow checker enforces.
//!
//! Why it is safe to free: a reader's `passed` is the generation it holds, and it is stored only after the reader
//! has taken the newer pointer, hence let go of every older one. The writer frees generation `g` when every
//! reader's `passed` is above `g`. A reader between the load and the store still shows its old, smaller generation
//! and so protects both. A reader that is dropped shows "gone" and holds nothing back; one that stalls holds the
//! old values (never more than were published) and [`Publication::waiting`] names the number of such readers.
//!
//! Model: `RUSTFLAGS="--cfg loom" cargo test -p fedgate-tables --release loom` (give it a target directory of its own; about a minute).
//! It covers every interleaving and reordering of one or two readers with up to two publishes, reclaim and leave.
//! It does not cover more threads, `Mutex` poisoning, or the claim that a worker really is quiescent where it says so.
#![allow(unsafe_code)]

use crossbeam::utils::CachePadded;
#[cfg(all(loom, test))]
use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicPtr, AtomicU64, Ordering},
};
use std::ptr::NonNull;
#[cfg(not(all(loom, test)))]
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicPtr, AtomicU64, Ordering},
};

/// The number of a published value: 1 for the first, growing by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// What a reader shows before it has taken any value.
const NOTHING_YET: u64 = 0;
/// What a reader shows after it was dropped.
const GONE: u64 = u64::MAX;

/// A value and its number; never changed after it was published.
struct Node<T> {
    generation: u64,
    value: Box<T>,
}

/// What writer and readers share. Frees what is left when the last of them goes.
struct Shared<T> {
    /// The newest node; null before the first publish.
    current: AtomicPtr<Node<T>>,
    /// Nodes that were not yet reclaimed when the writer went. Touched by its drop only.
    orphans: Mutex<Vec<NonNull<Node<T>>>>,
}

// SAFETY: nodes are made by the writer (T: Send to be dropped on another thread) and read by all (T: Sync); the raw
// pointers carry no thread affinity of their own.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as for Send.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(last) = NonNull::new(self.current.load(Ordering::Acquire)) {
            // SAFETY: the last owner of `self` is going, so no Reader is left that could hold a node, and `current`
            // is never in a retired or orphan list.
            unsafe { free(last) };
        }
        let orphans = match self.orphans.lock() {
            Ok(mut list) => std::mem::take(&mut *list),
            Err(poisoned) => std::mem::take(&mut *poisoned.into_inner()),
        };
        for node in orphans {
            // SAFETY: as above; each orphan was retired once and is in this list once.
            unsafe { free(node) };
        }
    }
}

/// # Safety
/// `node` came from `Box::into_raw` in `publish`, no reader can reach it any more, and it is freed once.
unsafe fn free<T>(node: NonNull<Node<T>>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(node.as_ptr()) });
}

/// The writing end. Its methods take `&mut self`: there is one writer.
pub struct Publication<T: Send + Sync> {
    shared: Arc<Shared<T>>,
    /// Every reader's `passed`; those that are gone are struck out by `reclaim`.
    readers: Vec<Arc<CachePadded<AtomicU64>>>,
    /// Replaced nodes that a reader may still hold, oldest first.
    retired: Vec<NonNull<Node<T>>>,
    /// Of the newest node.
    generation: u64,
}

// SAFETY: `retired` holds nodes this value alone may free; T: Send + Sync is all that moving them asks for.
unsafe impl<T: Send + Sync> Send for Publication<T> {}

impl<T: Send + Sync> Default for Publication<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync> Publication<T> {
    /// With nothing published yet.
    pub fn new() -> Self {
        let shared =
            Shared { current: AtomicPtr::new(std::ptr::null_mut()), orphans: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), readers: Vec::new(), retired: Vec::new(), generation: NOTHING_YET }
    }

    /// A new reader, holding nothing until its first [`Reader::quiescent`]. Until that call it holds reclamation back.
    pub fn reader(&mut self) -> Reader<T> {
        let passed = Arc::new(CachePadded::new(AtomicU64::new(NOTHING_YET)));
        self.readers.push(passed.clone());
        Reader { shared: self.shared.clone(), passed, held: None }
    }

    /// Makes `value` the one that readers take at their next quiescent point.
    pub fn publish(&mut self, value: Box<T>) -> Generation {
        self.generation += 1;
        let node = Box::into_raw(Box::new(Node { generation: self.generation, value }));
        // Release: a reader that sees the pointer sees the node behind it.
        let old = self.shared.current.swap(node, Ordering::AcqRel);
        self.retired.extend(NonNull::new(old));
        Generation(self.generation)
    }

    /// Drops every replaced value that no reader can hold any more; returns how many.
    pub fn reclaim(&mut self) -> usize {
        // Acquire pairs with the readers' release stores: what they did with older values happened before.
        self.readers.retain(|passed| passed.load(Ordering::Acquire) != GONE);
        let oldest_held =
            self.readers.iter().map(|passed| passed.load(Ordering::Acquire)).min().unwrap_or(GONE);
        let before = self.retired.len();
        self.retired.retain(|&node| {
            // SAFETY: nodes in `retired` are alive: only this loop frees them, and it strikes them out.
            let generation = unsafe { node.as_ref() }.generation;
            if generation >= oldest_held {
                return true;
            }
            // SAFETY: made by `publish`, in `retired` once. No new reader can reach it, as `current` has moved on
            // (this thread replaced it); each existing reader has stored a greater generation, which it does only
            // after it stopped holding this one, or is gone.
            unsafe { free(node) };
            false
        });
        before - self.retired.len()
    }

    /// How many readers have not yet reached `generation`.
    pub fn waiting(&self, generation: Generation) -> usize {
        self.readers.iter().filter(|passed| passed.load(Ordering::Acquire) < generation.0).count()
    }

    /// Whether every reader has reached `generation`. Vacuously true without readers.
    pub fn adopted(&self, generation: Generation) -> bool {
        self.waiting(generation) == 0
    }

    /// Replaced values not yet reclaimed.
    pub fn retired(&self) -> usize {
        self.retired.len()
    }
}

impl<T: Send + Sync> Drop for Publication<T> {
    fn drop(&mut self) {
        self.reclaim();
        let left = std::mem::take(&mut self.retired);
        // A reader may still hold these; the last one to go frees them.
        match self.shared.orphans.lock() {
            Ok(mut list) => *list = left,
            Err(poisoned) => *poisoned.into_inner() = left,
        }
    }
}

/// One reader's end: a worker's. Not `Clone`, not `Sync`.
pub struct Reader<T: Send + Sync> {
    shared: Arc<Shared<T>>,
    passed: Arc<CachePadded<AtomicU64>>,
    /// The node this reader uses; alive as long as `passed` shows its generation or an older one.
    held: Option<NonNull<Node<T>>>,
}

// SAFETY: a reader hands out `&T` (T: Sync) and may be the last to drop values (T: Send).
unsafe impl<T: Send + Sync> Send for Reader<T> {}

impl<T: Send + Sync> Reader<T> {
    /// Says that nothing borrowed from this reader is in use, and takes the newest value. True when it changed.
    /// Called once a burst.
    #[inline]
    pub fn quiescent(&mut self) -> bool {
        // Acquire pairs with `publish`. Equal pointers mean the same node: the held one cannot have been freed.
        let newest = NonNull::new(self.shared.current.load(Ordering::Acquire));
        if newest == self.held {
            return false;
        }
        self.move_to(newest);
        true
    }

    #[cold]
    fn move_to(&mut self, newest: Option<NonNull<Node<T>>>) {
        self.held = newest;
        if let Some(node) = newest {
            // SAFETY: it was current when loaded, and its generation is not below `passed` as this reader shows it,
            // so `reclaim` does not free it.
            let generation = unsafe { node.as_ref() }.generation;
            // Release: every use of older nodes is over before the writer sees this.
            self.passed.store(generation, Ordering::Release);
        }
    }

    /// The value taken at the last quiescent point; none before the first publish.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: `passed` shows the generation of `held`, so it is not freed; the borrow ends before
        // `quiescent(&mut self)` or drop can change that.
        self.held.map(|node| unsafe { &*node.as_ref().value })
    }

    /// The number of the value that [`Self::get`] gives.
    pub fn generation(&self) -> Option<Generation> {
        // SAFETY: as for `get`.
        self.held.map(|node| Generation(unsafe { node.as_ref() }.generation))
    }
}

impl<T: Send + Sync> Drop for Reader<T> {
    fn drop(&mut self) {
        // Release: every use of what was held is over.
        self.passed.store(GONE, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
