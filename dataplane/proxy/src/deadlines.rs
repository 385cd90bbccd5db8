// SPDX-License-Identifier: MIT OR Apache-2.0
//! When each session next wants to be looked at: an indexed binary heap.
//!
//! One entry a session at most, moved in place when its time changes, so that the heap never holds stale
//! entries: a heap with lazy deletion would collect one a retransmission timer, each alive until a half-hour
//! idle timeout came round. Every operation is O(log n); the earliest is read in O(1). The property test
//! compares it with a plain map. Used only by [`crate::Engine`], on the worker's own core.

use crate::Micros;

const ABSENT: u32 = u32::MAX;

/// A priority queue of slots by time.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Micros, u32)>,
    /// Where a slot stands in `heap`, or [`ABSENT`].
    place: Vec<u32>,
}

impl Deadlines {
    /// Sets, moves or (with `None`) removes the slot's deadline.
    pub(crate) fn set(&mut self, slot: u32, at: Option<Micros>) {
        if self.place.len() <= slot as usize {
            self.place.resize(slot as usize + 1, ABSENT);
        }
        let place = self.place[slot as usize];
        match (at, place) {
            (None, ABSENT) => {}
            (None, _) => self.remove(place as usize),
            (Some(at), ABSENT) => {
                self.heap.push((at, slot));
                self.rise(self.heap.len() - 1);
            }
            (Some(at), _) => {
                self.heap[place as usize].0 = at;
                let place = self.rise(place as usize);
                self.sink(place);
            }
        }
    }

    /// Sees to it that the slot comes up at `at` or before. A deadline that has moved away stays where it is, and whoever is called too early says
    /// anew when to be called: with every packet a retransmission timer is set and taken back, and neither is worth the heap's work.
    pub(crate) fn by(&mut self, slot: u32, at: Micros) {
        let place = self.place.get(slot as usize).copied().unwrap_or(ABSENT);
        if self.heap.get(place as usize).is_none_or(|(set, _)| *set > at) {
            self.set(slot, Some(at));
        }
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<Micros> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes out a slot whose time has come, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Micros) -> Option<u32> {
        let (at, slot) = *self.heap.first()?;
        (at <= now).then(|| {
            self.remove(0);
            slot
        })
    }

    fn remove(&mut self, place: usize) {
        self.place[self.heap[place].1 as usize] = ABSENT;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            let place = self.rise(place);
            self.sink(place);
        }
    }

    /// Moves the entry at `place` up while it is earlier than its parent, and notes where it ends.
    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        self.place[self.heap[place].1 as usize] = place as u32;
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut child) = (left < self.heap.len()).then_some(left) else { break };
            if left + 1 < self.heap.len() && self.heap[left + 1].0 < self.heap[left].0 {
                child = left + 1;
            }
            if self.heap[place].0 <= self.heap[child].0 {
                break;
            }
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place[self.heap[a].1 as usize] = a as u32;
        self.place[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests;
