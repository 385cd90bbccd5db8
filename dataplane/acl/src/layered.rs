// SPDX-License-Identifier: MIT OR Apache-2.0
//! A classifier that takes small edits without being built again.
//!
//! The base is a [`Classifier`] of the rules as they once were. An edit is seen as the difference between those and the new
//! list, so edits do not pile up: each base rule has a place in the new list or is gone (removed, or not active now), and active rules
//! that the base does not have are in a second, small classifier. A lookup asks both and takes the lower place.
//! Too many differences, and the base is built anew. Where a covering rule goes away, the rules that it hid in the base are
//! added to the small classifier.
//!
//! The housekeeping thread makes each version; workers read it until they have moved on to the next. Versions share the base.

use crate::burst::{self, Scratch};
use crate::classifier::{Classifier, NONE};
use crate::diff::{self, GONE};
use crate::rule::{Address, Query, Rule};
use std::sync::Arc;

/// Edits that are always put on top, however small the base; beyond, one in [`SHARE`] of its rules.
const FEW: usize = 64;
const SHARE: usize = 32;
/// Most edits that are put on top: what aligning two lists costs grows with their square.
const MANY: usize = 1024;
/// Overlap tests between gone covering rules and hidden ones before the base is built anew instead.
const TESTS: usize = 4 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Layered<A> {
    base: Arc<Base<A>>,
    /// `None` where the rules are the base's and all are active.
    edits: Option<Arc<Edits<A>>>,
}

#[derive(Debug)]
struct Base<A> {
    rules: Vec<Rule<A>>,
    tree: Classifier<A>,
}

#[derive(Debug)]
struct Edits<A> {
    /// Of each base rule in the current list; [`GONE`] where it is not there or not active.
    places: Vec<u32>,
    extra: Classifier<A>,
    /// Of each rule in `extra`.
    extra_places: Vec<u32>,
}

impl<A: Address> Layered<A> {
    /// Builds from nothing.
    ///
    /// # Panics
    /// With 2^26 rules or more.
    pub fn new(rules: Vec<Rule<A>>) -> Self {
        let tree = Classifier::new(&rules);
        let edits = rules.iter().any(|rule| !rule.active).then(|| {
            let place = |(i, rule): (u32, &Rule<A>)| if rule.active { i } else { GONE };
            let places = (0..).zip(&rules).map(place).collect();
            Arc::new(Edits { places, extra: Classifier::new(&[]), extra_places: Vec::new() })
        });
        Self { base: Arc::new(Base { rules, tree }), edits }
    }

    /// The version for `rules`; this one stays as it is. Shares what it can with this one.
    ///
    /// # Panics
    /// With 2^26 rules or more.
    pub fn updated(&self, rules: Vec<Rule<A>>) -> Self {
        self.edited(&rules).unwrap_or_else(|| Self::new(rules))
    }

    /// `None` where too much is different.
    fn edited(&self, rules: &[Rule<A>]) -> Option<Self> {
        let old = &self.base.rules;
        let limit = (old.len() / SHARE).clamp(FEW, MANY);
        let mut places = diff::align(old, rules, Rule::same, limit)?;

        let mut extra = Vec::new();
        let mut next = 0;
        for place in places.iter_mut().filter(|place| **place != GONE) {
            extra.extend(next..*place);
            next = *place + 1;
            if !rules[*place as usize].active {
                *place = GONE;
            }
        }
        extra.extend(next..rules.len() as u32);
        extra.retain(|&i| rules[i as usize].active);
        self.uncover(&places, &mut extra)?;
        if extra.len() > limit {
            return None;
        }
        if extra.is_empty() && places.len() == rules.len() && !places.contains(&GONE) {
            return Some(Self { base: self.base.clone(), edits: None });
        }
        let chosen: Vec<Rule<A>> = extra.iter().map(|&i| rules[i as usize]).collect();
        let edits = Edits { places, extra: Classifier::new(&chosen), extra_places: extra };
        Some(Self { base: self.base.clone(), edits: Some(Arc::new(edits)) })
    }

    /// Adds what gone rules hid.
    fn uncover(&self, places: &[u32], extra: &mut Vec<u32>) -> Option<()> {
        let (tree, rules) = (&self.base.tree, &self.base.rules);
        let gone = || tree.hiders.iter().filter(|&&r| places[r as usize] == GONE);
        if gone().count().saturating_mul(tree.hidden.len()) > TESTS {
            return None;
        }
        for &hider in gone() {
            let after = tree.hidden.partition_point(|&h| h < hider);
            for &h in &tree.hidden[after..] {
                let place = places[h as usize];
                if place != GONE && rules[hider as usize].overlaps(&rules[h as usize]) {
                    extra.push(place);
                }
            }
        }
        extra.sort_unstable();
        extra.dedup();
        Some(())
    }

    /// The position of the first active rule that matches.
    #[inline]
    pub fn lookup(&self, q: &Query<A>) -> Option<u32> {
        let found = match &self.edits {
            None => self.base.tree.find(q, |_| true),
            Some(edits) => edits.find(&self.base.tree, q),
        };
        (found != NONE).then_some(found)
    }

    /// [`lookup`](Self::lookup) for several packets, sooner than one after the other. `found` takes as many answers as both have room
    /// for; `fetch` starts to load the cache line at an address, which may be any.
    pub fn lookup_burst(
        &self,
        queries: &[Query<A>],
        found: &mut [Option<u32>],
        scratch: &mut Scratch,
        fetch: impl Fn(*const u8) + Copy,
    ) {
        for (queries, found) in queries.chunks(burst::MOST).zip(found.chunks_mut(burst::MOST)) {
            let mut base = [NONE; burst::MOST];
            match &self.edits {
                None => self.base.tree.find_burst(queries, &mut base, |_| true, scratch, fetch),
                Some(edits) => {
                    let mut extra = [NONE; burst::MOST];
                    self.base.tree.find_burst(queries, &mut base, |r| edits.alive(r), scratch, fetch);
                    edits.extra.find_burst(queries, &mut extra, |_| true, scratch, fetch);
                    for (base, extra) in base.iter_mut().zip(&extra).take(queries.len()) {
                        *base = edits.earlier(*base, *extra);
                    }
                }
            }
            for (found, place) in found.iter_mut().zip(base).take(queries.len()) {
                *found = (place != NONE).then_some(place);
            }
        }
    }

    /// Rules of the base that are gone, and rules beside it.
    pub fn edits(&self) -> (usize, usize) {
        let count = |edits: &Arc<Edits<A>>| {
            (edits.places.iter().filter(|&&p| p == GONE).count(), edits.extra_places.len())
        };
        self.edits.as_ref().map_or((0, 0), count)
    }

    /// True where both use the same built classifier.
    pub fn shares_base(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
    }

    /// Bytes of heap in use, with what is shared.
    pub fn bytes(&self) -> usize {
        let edits = self.edits.as_ref().map_or(0, |edits| {
            edits.extra.bytes() + (edits.places.capacity() + edits.extra_places.capacity()) * 4
        });
        self.base.tree.bytes() + self.base.rules.capacity() * size_of::<Rule<A>>() + edits
    }
}

impl<A: Address> Edits<A> {
    #[inline]
    fn find(&self, base: &Classifier<A>, q: &Query<A>) -> u32 {
        self.earlier(base.find(q, |r| self.alive(r)), self.extra.find(q, |_| true))
    }

    #[inline(always)]
    fn alive(&self, ordinal: u32) -> bool {
        self.places[ordinal as usize] != GONE
    }

    /// The lower place of two ordinals, of the base and of `extra`.
    #[inline(always)]
    fn earlier(&self, base: u32, extra: u32) -> u32 {
        let base = self.places.get(base as usize).copied().unwrap_or(NONE);
        base.min(self.extra_places.get(extra as usize).copied().unwrap_or(NONE))
    }
}
