// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which domains are on the page: the [`MOST`] with most requests, for a list may have a million names and Prometheus keeps a series of
//! each for good.
//!
//! The table is walked a stretch a second ([`STRETCH`] slots, a few milliseconds), so that a million names take a minute and control is never
//! held up. Counts only grow, so after one round the busiest are known; their numbers are read when the page is made.

use fedgate_tables::counters::{Counter, CountersReader, DomainCounter};

use crate::operate::table::Table;

/// Domains on the page.
pub const MOST: usize = 50;
/// Slots looked at in a second.
pub const STRETCH: usize = 32_768;

/// A domain that is on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Its counter row.
    pub id: u32,
    /// As it is written.
    pub name: String,
    /// On which list.
    pub blocked: bool,
    requests: u64,
    round: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ranking {
    at: usize,
    round: u64,
    generation: u64,
    /// Busiest first.
    top: Vec<Ranked>,
}

impl Ranking {
    /// Looks at the next stretch. `base` is what a row stood at when its name took it.
    pub fn look(
        &mut self,
        table: &Table,
        counters: &CountersReader,
        base: impl Fn(u32) -> [u64; DomainCounter::COUNT],
    ) {
        let writer = table.writer();
        if self.generation != writer.generation() {
            (self.generation, self.at) = (writer.generation(), 0);
        }
        let end = (self.at + STRETCH).min(writer.slots());
        for entry in writer.entries_in(self.at..end) {
            let requests = counts(counters, entry.id, base(entry.id)).iter().sum();
            let known = self.top.iter().position(|ranked| ranked.id == entry.id);
            if known.is_none() && (requests == 0 || self.has_better_than(requests)) {
                continue;
            }
            if let Some(known) = known {
                self.top.remove(known);
            }
            let star = if entry.wildcard { "*." } else { "" };
            let (name, blocked) = (format!("{star}{}", entry.name), entry.blocked);
            self.top.push(Ranked { id: entry.id, name, blocked, requests, round: self.round });
            self.top.sort_by(|a, b| b.requests.cmp(&a.requests).then(a.id.cmp(&b.id)));
            self.top.truncate(MOST);
        }
        self.at = end;
        if end == writer.slots() {
            // What was not met in a whole round is on no list any more.
            let round = self.round;
            self.top.retain(|ranked| ranked.round == round);
            (self.at, self.round) = (0, round + 1);
        }
    }

    fn has_better_than(&self, requests: u64) -> bool {
        self.top.len() == MOST && self.top.last().is_some_and(|last| last.requests >= requests)
    }

    /// Without a dataplane nothing is counted.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The busiest.
    pub fn top(&self) -> &[Ranked] {
        &self.top
    }
}

/// What a domain's row has counted since its name took it.
pub fn counts(
    counters: &CountersReader,
    id: u32,
    base: [u64; DomainCounter::COUNT],
) -> [u64; DomainCounter::COUNT] {
    std::array::from_fn(|at| {
        let stands = counters.sum(Counter::Domain(id, DomainCounter::ALL[at]));
        stands.saturating_sub(base[at])
    })
}
