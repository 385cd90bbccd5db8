// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which counter each ACE and NAT rule has.
//!
//! Counters live in the dataplane and only grow, so a line keeps its count for as long as it keeps its slot: an ACE is known by its
//! list, the hash of its text, and its place among those with the same hash; a NAT rule by its text. A commit makes the
//! [`successor`](Slots::successor) of the slots before it; a restarted control reads them out of the policy in force
//! ([`Slots::recover`]), so it needs no file of its own.
//!
//! A new line takes a slot that nothing used in the policy before (workers may still count there until they have the new one), first one
//! that still stands at zero; else what it stands at becomes the ACE's base, and hits are slot minus base. NAT rules carry no
//! base in the segment: theirs is kept here, and lost with control, which shows only after all slots were once used.

use std::collections::HashMap;

use fedgate_tables::counters::{Counter, CountersReader, NatCounter};
use fedgate_tables::policy_view::PolicyView;
use fedgate_tables::words::Words;

use crate::config::check::{MAX_ACES, MAX_NAT};

/// Where the counters stand.
pub trait Counts {
    /// Hits of an ACE's slot.
    fn ace(&self, slot: u32) -> u64;
    /// Translate and untranslate hits of a NAT rule's slot.
    fn nat(&self, slot: u32) -> (u64, u64);
}

impl<W: Words> Counts for CountersReader<W> {
    fn ace(&self, slot: u32) -> u64 {
        self.sum(Counter::Ace(slot))
    }

    fn nat(&self, slot: u32) -> (u64, u64) {
        let sum = |way| self.sum(Counter::Nat(slot, way));
        (sum(NatCounter::Translate), sum(NatCounter::Untranslate))
    }
}

/// A dataplane that has counted nothing, or is not there.
pub struct Zero;

impl Counts for Zero {
    fn ace(&self, _: u32) -> u64 {
        0
    }

    fn nat(&self, _: u32) -> (u64, u64) {
        (0, 0)
    }
}

/// No slot is left for another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0} counter is free; take lines out in a commit of its own first")]
pub struct NoSlot(&'static str);

/// List, hash of the text, place among those with the same hash.
type AceKey = (String, u32, u32);
/// Text, place among those with the same text.
type NatKey = (String, u32);

/// The slots of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    aces: HashMap<AceKey, (u32, u64)>,
    nat: HashMap<NatKey, (u32, (u64, u64))>,
}

impl Slots {
    /// The slots of the policy in force.
    pub fn recover(view: &PolicyView<'_>) -> Self {
        let mut slots = Self::default();
        for acl in view.acls() {
            let name = view.str(acl.name);
            let mut seen: HashMap<u32, u32> = HashMap::new();
            let mut last = None;
            for ace in view.aces_of(acl) {
                // The halves of a `neq` stand side by side on one counter.
                if last.replace(ace.counter) == Some(ace.counter) {
                    continue;
                }
                let place = next(&mut seen, ace.id);
                slots.aces.insert((name.to_owned(), ace.id, place), (ace.counter, ace.counter_base));
            }
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for rule in view.nat() {
            let text = view.str(rule.text);
            let place = next(&mut seen, text);
            slots.nat.insert((text.to_owned(), place), (rule.counter, (0, 0)));
        }
        slots
    }

    /// Slot and base of an ACE: the `place`th, from 0, with hash `id` in `acl`.
    pub fn ace(&self, acl: &str, id: u32, place: u32) -> Option<(u32, u64)> {
        self.aces.get(&(acl.to_owned(), id, place)).copied()
    }

    /// Slot and bases of a NAT rule: the `place`th, from 0, with this text.
    pub fn nat(&self, text: &str, place: u32) -> Option<(u32, (u64, u64))> {
        self.nat.get(&(text.to_owned(), place)).copied()
    }

    /// Begins the slots of the policy after this one.
    pub fn successor<'a, C: Counts>(&'a self, counts: &'a C) -> Assign<'a, C> {
        Assign {
            before: self,
            counts,
            after: Self::default(),
            ace_places: HashMap::new(),
            nat_places: HashMap::new(),
            free_aces: Free::new("ACE", MAX_ACES, self.aces.values().map(|(slot, _)| *slot)),
            free_nat: Free::new("NAT", MAX_NAT, self.nat.values().map(|(slot, _)| *slot)),
        }
    }
}

/// Gives slots to the lines of a new policy, in its order.
pub struct Assign<'a, C> {
    before: &'a Slots,
    counts: &'a C,
    after: Slots,
    ace_places: HashMap<(String, u32), u32>,
    nat_places: HashMap<String, u32>,
    free_aces: Free,
    free_nat: Free,
}

impl<C: Counts> Assign<'_, C> {
    /// Slot and base of the next ACE of `acl`, whose text has hash `id`.
    pub fn ace(&mut self, acl: &str, id: u32) -> Result<(u32, u64), NoSlot> {
        let place = next(&mut self.ace_places, (acl.to_owned(), id));
        let slot = match self.before.ace(acl, id, place) {
            Some(slot) => slot,
            None => {
                let slot = self.free_aces.take(|slot| self.counts.ace(slot) == 0)?;
                (slot, self.counts.ace(slot))
            }
        };
        self.after.aces.insert((acl.to_owned(), id, place), slot);
        Ok(slot)
    }

    /// Slot of the next NAT rule.
    pub fn nat(&mut self, text: &str) -> Result<u32, NoSlot> {
        let place = next(&mut self.nat_places, text.to_owned());
        let slot = match self.before.nat(text, place) {
            Some(slot) => slot,
            None => {
                let slot = self.free_nat.take(|slot| self.counts.nat(slot) == (0, 0))?;
                (slot, self.counts.nat(slot))
            }
        };
        self.after.nat.insert((text.to_owned(), place), slot);
        Ok(slot.0)
    }

    /// What was given.
    pub fn finish(self) -> Slots {
        self.after
    }
}

/// How many of `key` came before, and counts this one.
fn next<K: std::hash::Hash + Eq>(seen: &mut HashMap<K, u32>, key: K) -> u32 {
    let count = seen.entry(key).or_insert(0);
    let place = *count;
    *count += 1;
    place
}

/// Slots that may be given, those at zero first. Both cursors only move on, so a whole policy costs two walks.
struct Free {
    kind: &'static str,
    used: Vec<bool>,
    zeros: usize,
    rest: usize,
}

impl Free {
    fn new(kind: &'static str, slots: usize, taken: impl Iterator<Item = u32>) -> Self {
        let mut used = vec![false; slots];
        for slot in taken {
            // A recovered policy was checked to stay within the limit.
            if let Some(used) = used.get_mut(slot as usize) {
                *used = true;
            }
        }
        Self { kind, used, zeros: 0, rest: 0 }
    }

    fn take(&mut self, is_zero: impl Fn(u32) -> bool) -> Result<u32, NoSlot> {
        while self.zeros < self.used.len() {
            let at = self.zeros;
            self.zeros += 1;
            if !self.used[at] && is_zero(at as u32) {
                self.used[at] = true;
                return Ok(at as u32);
            }
        }
        while self.rest < self.used.len() {
            let at = self.rest;
            self.rest += 1;
            if !self.used[at] {
                self.used[at] = true;
                return Ok(at as u32);
            }
        }
        Err(NoSlot(self.kind))
    }
}
