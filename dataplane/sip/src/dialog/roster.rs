// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which dialogs the workers know, for each other: whether a dialog that is not one's own is another's.
//!
//! Connections of one dialog may be of several workers, and `state-checking` asks whether a dialog was ever begun. So each worker has a
//! board: an open hash table of the keys of its dialogs, one word each, which it alone writes and the others read when a
//! request names a dialog that is not theirs. No word depends on another, so all accesses are relaxed; a request cannot be here
//! before the answer that it follows has crossed, a round trip ago. Whose a dialog is stays with the worker that has it.
//!
//! A key lies within [`WINDOW`] places of where its hash says. Where there is no room the dialog is counted as unlisted, and as long as
//! there is one [`Roster::is_whole`] says so: then nothing follows from a key that is not found. Twice as many places as dialogs make
//! that a rarity. What has run out stays until its worker sweeps it. 32 bytes a dialog that there may be.

use std::hash::RandomState;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Places that are looked at for a key: four lines at most.
const WINDOW: usize = 16;
/// An empty place; no key is that.
const EMPTY: u64 = 0;

/// The boards of all workers.
#[derive(Debug)]
pub struct Roster {
    /// Keys mean the same to all of them.
    pub(super) keyed: RandomState,
    boards: Box<[Board]>,
}

/// What one worker has written. Aligned, so that no line has two writers.
#[derive(Debug)]
#[repr(align(128))]
struct Board {
    /// A power of two.
    places: Box<[AtomicU64]>,
    /// Dialogs that found no place.
    unlisted: AtomicU64,
}

impl Roster {
    /// For so many workers with room for so many dialogs each.
    pub fn new(workers: usize, dialogs: usize) -> Self {
        // Each dialog stands twice, with its domain and without.
        let places = (4 * dialogs).next_power_of_two().max(WINDOW);
        let board = || Board {
            places: (0..places).map(|_| AtomicU64::new(EMPTY)).collect(),
            unlisted: AtomicU64::new(0),
        };
        Self { keyed: RandomState::new(), boards: (0..workers).map(|_| board()).collect() }
    }

    /// `worker` knows a dialog that it did not know before. Called by that worker alone.
    pub(super) fn list(&self, worker: usize, key: u64) {
        let Some(board) = self.boards.get(worker) else { return };
        match board.window(key).find(|place| place.load(Relaxed) == EMPTY) {
            Some(place) => place.store(word(key), Relaxed),
            None => board.unlisted.store(board.unlisted.load(Relaxed) + 1, Relaxed),
        }
    }

    /// It knows it no longer.
    pub(super) fn strike(&self, worker: usize, key: u64) {
        let Some(board) = self.boards.get(worker) else { return };
        match board.window(key).find(|place| place.load(Relaxed) == word(key)) {
            Some(place) => place.store(EMPTY, Relaxed),
            None => board.unlisted.store(board.unlisted.load(Relaxed).saturating_sub(1), Relaxed),
        }
    }

    /// Whether another than `worker` has listed it.
    pub(super) fn is_elsewhere(&self, worker: usize, key: u64) -> bool {
        let others = self.boards.iter().enumerate().filter(|(at, _)| *at != worker);
        others
            .map(|(_, board)| board)
            .any(|board| board.window(key).any(|place| place.load(Relaxed) == word(key)))
    }

    /// Whether every dialog that a worker knows is listed.
    pub(super) fn is_whole(&self) -> bool {
        self.boards.iter().all(|board| board.unlisted.load(Relaxed) == 0)
    }
}

impl Board {
    fn window(&self, key: u64) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.places.len() - 1;
        (0..WINDOW).filter_map(move |at| self.places.get((key as usize).wrapping_add(at) & mask))
    }
}

/// A key as it stands on a board.
fn word(key: u64) -> u64 {
    key.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// Against a set: what is listed is found by the others and not by its own worker; nothing else is; and where something is
        /// missing the roster says that it is not whole.
        #[test]
        fn as_a_set_does(steps in prop::collection::vec((0usize..2, 0u64..40, any::<bool>()), 0..200), small: bool) {
            let roster = Roster::new(2, if small { 4 } else { 64 });
            let mut sets = [HashSet::new(), HashSet::new()];
            for (worker, key, begins) in steps {
                // Near each other in the table, so that windows overlap.
                let key = 1 + key / 4 * 3;
                if begins && sets[worker].insert(key) {
                    roster.list(worker, key);
                } else if !begins && sets[worker].remove(&key) {
                    roster.strike(worker, key);
                }
                for key in 1..40 {
                    let known = sets[1 - worker].contains(&key);
                    let found = roster.is_elsewhere(worker, key);
                    prop_assert!(!found || known, "{key} is nobody's");
                    prop_assert!(found || !known || !roster.is_whole(), "{key} is lost");
                }
            }
            for (worker, set) in sets.into_iter().enumerate() {
                set.into_iter().for_each(|key| roster.strike(worker, key));
            }
            prop_assert!(roster.is_whole());
            prop_assert!((1..40).all(|key| !roster.is_elsewhere(0, key) && !roster.is_elsewhere(1, key)));
        }
    }
}
