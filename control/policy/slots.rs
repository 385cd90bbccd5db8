// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which counter each ACE and NAT rule has.
//!
//! Counters live in the dataplane and only grow, so a line keeps its count for as long as it keeps its slot: how an ACE is known
//! again is [`super::acl`]'s matter; a NAT rule is by its text. A commit starts from the slots before it; a restarted control
//! reads them out of the policy in force ([`Slots::recover`]), so it needs no file of its own.
//!
//! A new line takes a slot that nothing used in the policy before (workers may still count there until they have the new one), first one
//! that still stands at zero; else what it stands at becomes the ACE's base, and hits are slot minus base. NAT rules carry no
//! base in the segment: theirs is kept here, and lost with control, which shows only after all slots were once used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fedgate_sip::inspect::{MAX_RULES, Spec};
use fedgate_tables::counters::{Counter, CountersReader, NatCounter};
use fedgate_tables::policy::MAX_CLASS_SLOTS;
use fedgate_tables::policy_view::PolicyView;
use fedgate_tables::words::Words;

use super::acl::{Block, World};
use crate::config::check::{MAX_ACES, MAX_NAT};
use crate::config::model::Name;

/// Where the counters stand.
pub trait Counts {
    /// Hits of an ACE's slot.
    fn ace(&self, slot: u32) -> u64;
    /// Translate and untranslate hits of a NAT rule's slot.
    fn nat(&self, slot: u32) -> (u64, u64);
    /// Hits of an inspect map's rule.
    fn rule(&self, slot: u32) -> u64;
}

impl<W: Words> Counts for CountersReader<W> {
    fn ace(&self, slot: u32) -> u64 {
        self.sum(Counter::Ace(slot))
    }

    fn nat(&self, slot: u32) -> (u64, u64) {
        let sum = |way| self.sum(Counter::Nat(slot, way));
        (sum(NatCounter::Translate), sum(NatCounter::Untranslate))
    }

    fn rule(&self, slot: u32) -> u64 {
        self.sum(Counter::Inspect(slot))
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

    fn rule(&self, _: u32) -> u64 {
        0
    }
}

/// No slot is left for another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0} counter is free; take lines out in a commit of its own first")]
pub struct NoSlot(&'static str);

/// Text, place among those with the same text.
type NatKey = (String, u32);

/// Counters of rules and parameters of inspect maps: by the map's name and the line's text.
pub type RuleSlots = BTreeMap<(String, String), u32>;

/// What is kept of one policy for the next: its access-lists as compiled, and the slots of its NAT rules.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Access-lists by name.
    pub blocks: BTreeMap<Name, Arc<Block>>,
    /// What their lines may name; `None` where they were recovered.
    pub world: Option<World>,
    /// Where the connections of a service class are counted, by its name.
    pub classes: BTreeMap<String, u32>,
    /// Where hits of inspect maps are counted.
    pub rules: RuleSlots,
    nat: HashMap<NatKey, (u32, (u64, u64))>,
}

impl Slots {
    /// The slots of the policy in force.
    pub fn recover(view: &PolicyView<'_>) -> Self {
        let mut slots = Self::default();
        for acl in view.acls() {
            slots.blocks.insert(view.str(acl.name).into(), Arc::new(Block::recover(view, acl)));
        }
        for class in view.classes() {
            slots.classes.insert(view.str(class.name).to_owned(), class.slot);
        }
        for proxy in view.tls_proxies() {
            let Ok(spec) = serde_json::from_str::<Spec>(view.str(proxy.inspect)) else { continue };
            let rules = spec.rules.into_iter().map(|rule| (rule.text, rule.slot)).chain(spec.counters);
            slots.rules.extend(rules.map(|(text, slot)| ((spec.name.clone(), text), slot)));
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut last = None;
        for rule in view.nat() {
            // The rules of one line stand side by side on one counter.
            if last.replace(rule.counter) == Some(rule.counter) {
                continue;
            }
            let text = view.str(rule.text);
            let place = next(&mut seen, text);
            slots.nat.insert((text.to_owned(), place), (rule.counter, (0, 0)));
        }
        slots
    }

    /// Slot and bases of a NAT rule: the `place`th, from 0, with this text.
    pub fn nat(&self, text: &str, place: u32) -> Option<(u32, (u64, u64))> {
        self.nat.get(&(text.to_owned(), place)).copied()
    }

    /// The class with this slot.
    pub fn class(&self, slot: u32) -> Option<&str> {
        self.classes.iter().find(|(_, used)| **used == slot).map(|(name, _)| name.as_str())
    }

    /// Slots for the classes of the next policy: those that were there keep theirs, a new one gets none that was in use.
    pub fn of_classes<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<BTreeMap<String, u32>, NoSlot> {
        let mut fresh = (0..MAX_CLASS_SLOTS).filter(|slot| !self.classes.values().any(|used| used == slot));
        let slot = |name: &str| match self.classes.get(name) {
            Some(slot) => Ok((name.to_owned(), *slot)),
            None => fresh.next().map(|slot| (name.to_owned(), slot)).ok_or(NoSlot("class")),
        };
        names.map(slot).collect()
    }

    /// The same for the rules of inspect maps; of those that are free, first one that stands at zero.
    pub fn of_rules(
        &self,
        keys: impl Iterator<Item = (String, String)>,
        counts: &impl Counts,
    ) -> Result<RuleSlots, NoSlot> {
        let mut free = Pool::new("inspect rule", MAX_RULES as usize, self.rules.values().copied());
        let slot = |key: (String, String)| match self.rules.get(&key) {
            Some(slot) => Ok((key, *slot)),
            None => free.take(|slot| counts.rule(slot) == 0).map(|slot| (key, slot)),
        };
        keys.map(slot).collect()
    }

    /// The slots that the policy after this one may give to what is new in it.
    pub fn free<'a, C: Counts>(&'a self, counts: &'a C) -> Free<'a, C> {
        Free {
            counts,
            aces: Pool::new("ACE", MAX_ACES, self.blocks.values().flat_map(|block| block.slots())),
            nat: Pool::new("NAT", MAX_NAT, self.nat.values().map(|(slot, _)| *slot)),
        }
    }
}

/// Slots that nothing of the policy before uses.
pub struct Free<'a, C> {
    counts: &'a C,
    aces: Pool,
    nat: Pool,
}

impl<C: Counts> Free<'_, C> {
    /// Slot and base for an element.
    pub fn take_ace(&mut self) -> Result<(u32, u64), NoSlot> {
        let slot = self.aces.take(|slot| self.counts.ace(slot) == 0)?;
        Ok((slot, self.counts.ace(slot)))
    }

    fn take_nat(&mut self) -> Result<(u32, (u64, u64)), NoSlot> {
        let slot = self.nat.take(|slot| self.counts.nat(slot) == (0, 0))?;
        Ok((slot, self.counts.nat(slot)))
    }
}

/// Gives slots to the NAT rules of a new policy, in its order.
#[derive(Default)]
pub struct NatSlots {
    places: HashMap<String, u32>,
    given: HashMap<NatKey, (u32, (u64, u64))>,
}

impl NatSlots {
    /// Slot of the next rule.
    pub fn next<C: Counts>(
        &mut self,
        text: &str,
        before: &Slots,
        free: &mut Free<'_, C>,
    ) -> Result<u32, NoSlot> {
        let place = next(&mut self.places, text.to_owned());
        let slot = match before.nat(text, place) {
            Some(slot) => slot,
            None => free.take_nat()?,
        };
        self.given.insert((text.to_owned(), place), slot);
        Ok(slot.0)
    }

    /// What the next policy will want to know.
    pub fn finish(
        self,
        blocks: BTreeMap<Name, Arc<Block>>,
        world: World,
        classes: BTreeMap<String, u32>,
        rules: RuleSlots,
    ) -> Slots {
        Slots { blocks, world: Some(world), classes, rules, nat: self.given }
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
struct Pool {
    kind: &'static str,
    used: Vec<bool>,
    zeros: usize,
    rest: usize,
}

impl Pool {
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
