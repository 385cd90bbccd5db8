// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many searches at a time, so that their cache misses overlap.
//!
//! One search is a chain of loads that wait for each other, from memory that is seldom in the near caches. Here all packets of a burst
//! go down the tree together: a round works through a list of (packet, entry) pairs, each of whose entries was asked for a round
//! before, and writes the list of the next round; runs of rules are compared in the same way, a rule a round. Both the
//! rest and the child of an entry are gone into at once, where one search alone tries the child first: a few entries more are looked at,
//! but there are no more rounds than the tree has levels, and hardly a branch that nobody could predict, which is what a search costs
//! where its memory is near.
//!
//! Paths beyond measure (a hostile set of rules) would overflow the lists; packets for which there is no room are searched for
//! alone. Worker cores, no allocation.

use crate::classifier::{Classifier, NONE};
use crate::rule::{Address, Query};

/// Packets at a time.
pub(crate) const MOST: usize = 64;
/// Tasks of a round. A packet has two or three as a rule.
const TASKS: usize = 512;
/// Places in a list: a task adds two at most.
const PLACES: usize = 2 * TASKS;

/// A packet's number, and that of an entry or of a rule.
type Task = (u32, u32);

/// What is to be done in a round.
#[derive(Debug)]
struct List {
    tasks: [Task; PLACES],
    len: usize,
}

impl List {
    const EMPTY: Self = Self { tasks: [(0, 0); PLACES], len: 0 };

    /// Adds it where `there`; without a branch. There is room: PLACES is twice what a round is given.
    #[inline(always)]
    fn push(&mut self, task: Task, there: bool) {
        self.tasks[self.len % PLACES] = task;
        self.len += usize::from(there);
    }

    #[inline(always)]
    fn all(&self) -> &[Task] {
        self.tasks.get(..self.len).unwrap_or_default()
    }

    /// Takes out what is too much for a round; gives a bit for each packet that so loses something.
    #[inline(always)]
    fn cut(&mut self) -> u64 {
        if self.len <= TASKS {
            return 0;
        }
        let lost = self.all()[TASKS..].iter().fold(0, |lost, (n, _)| lost | 1 << n);
        self.len = TASKS;
        lost
    }
}

/// Room for the searches of a burst: 32 KiB, of which a burst touches what its packets need.
#[derive(Debug)]
pub struct Scratch {
    lists: [List; 4],
}

impl Default for Scratch {
    fn default() -> Self {
        Self { lists: [List::EMPTY; 4] }
    }
}

impl<A: Address> Classifier<A> {
    /// [`Classifier::find`] for at most [`MOST`] packets. `fetch` starts to load the cache line at an address, which may be any.
    pub(crate) fn find_burst(
        &self,
        queries: &[Query<A>],
        found: &mut [u32; MOST],
        alive: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
        fetch: impl Fn(*const u8),
    ) {
        let mut headers = [A::header(&Query::default()); MOST];
        let [tasks, next, runs, rest_of_runs] = &mut scratch.lists;
        let (mut tasks, mut next, mut runs, mut rest_of_runs) = (tasks, next, runs, rest_of_runs);
        (tasks.len, runs.len) = (0, 0);
        for ((n, header), q) in (0u32..).zip(&mut headers).zip(queries) {
            *header = A::header(q);
            found[n as usize] = NONE;
            tasks.push((n, 0), true);
        }
        let mut alone = 0;
        while tasks.len + runs.len > 0 {
            rest_of_runs.len = 0;
            for &(n, at) in runs.all() {
                let (lane, rule) = (n as usize % MOST, &self.rules[at as usize]);
                let before = rule.ordinal < found[lane];
                let hit = before & rule.matches(&queries[lane]) && alive(rule.ordinal);
                found[lane] = if hit { rule.ordinal } else { found[lane] };
                rest_of_runs.push((n, at + 1), before & !hit & !rule.last);
            }
            std::mem::swap(&mut runs, &mut rest_of_runs);

            next.len = 0;
            for &(n, at) in tasks.all() {
                let (lane, entry) = (n as usize % MOST, self.entries[at as usize]);
                let header = &headers[lane];
                let open = (entry.first < found[lane]) & entry.passes::<A>(header);
                let (leaf, rest) = (entry.is_leaf(), open & entry.has_rest());
                let child = entry.child::<A>(header);
                runs.push((n, entry.at), open & leaf);
                next.push((n, entry.at.wrapping_sub(1)), rest);
                next.push((n, child), open & !leaf);
                // Addresses, not references: nothing is looked at, and choosing one must not cost a branch.
                let line = |entry: u32| self.entries.as_ptr().wrapping_add(entry as usize).cast::<u8>();
                let run = self.rules.as_ptr().wrapping_add(entry.at as usize).cast::<u8>();
                let below = if leaf { run } else { line(child) };
                let below = if open { below } else { std::ptr::from_ref(header).cast() };
                fetch(below);
                fetch(if rest { line(entry.at.wrapping_sub(1)) } else { below });
            }
            std::mem::swap(&mut tasks, &mut next);
            alone |= tasks.cut() | runs.cut();
        }
        while alone != 0 {
            let n = alone.trailing_zeros() as usize;
            alone &= alone - 1;
            found[n] = self.find(&queries[n], &alive);
        }
    }
}
