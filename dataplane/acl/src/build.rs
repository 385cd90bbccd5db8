// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a list of rules to the arrays of [`Classifier`].
//!
//! Top down: a set of rules becomes a run where comparing them all is cheapest, else it is cut on the field that `cut` chooses. Rules that
//! leave a bit of the field open go to the rest; where they are few they are copied into the children they meet, out of
//! an allowance of one copy for each rule of the whole set, so that memory is bounded by construction. Before a large set is
//! cut, whatever follows a rule that covers all of the set's region is left out: it cannot be a first match
//! there. That is noted, because it holds only while the covering rule lives. Housekeeping thread; about a microsecond a rule.

use crate::classifier::{Check, Classifier, DEPTH, Entry, Field, NONE, Packed};
use crate::cut::{Chooser, Ternary};
use crate::rule::{ANY, Address, Rule};

/// Sets of so many rules or fewer are not looked through for covering ones.
const SMALL: usize = 8;
/// Entries for each rule, at most; a set that lends itself to cutting takes one or two.
const ENTRIES: usize = 8;
/// Most words of a header.
const WORDS: usize = 10;

/// What is known of the packets that come to a place, a word each.
type Path = [Ternary; WORDS];

struct Builder<'a, A> {
    given: &'a [Rule<A>],
    ternary: Vec<Ternary>,
    words: usize,
    chooser: Chooser,
    entries: Vec<Entry>,
    rules: Vec<Packed<A>>,
    /// Copies of rules that may still be made.
    allowance: usize,
    /// Entries that may be in use before what is left is not cut any more.
    most_entries: usize,
    hidden: Vec<u32>,
    hiders: Vec<u32>,
}

/// See [`Classifier::new`].
pub(crate) fn build<A: Address>(given: &[Rule<A>]) -> Classifier<A> {
    assert!(given.len() < 1 << 26, "{} rules are too many for one classifier", given.len());
    let words = 2 * A::WORDS + 2;
    let mut builder = Builder {
        given,
        ternary: given.iter().flat_map(|rule| (0..words).map(|w| rule.ternary(w))).collect(),
        words,
        chooser: Chooser::new(),
        entries: vec![Entry::EMPTY],
        rules: Vec::with_capacity(given.len()),
        allowance: given.len(),
        most_entries: ENTRIES * given.len() + 64,
        hidden: Vec::new(),
        hiders: Vec::new(),
    };
    let all = (0u32..).zip(given).filter(|(_, rule)| rule.can_match()).map(|(ordinal, _)| ordinal).collect();
    builder.entries[0] = builder.set(all, &[(0, 0); WORDS], DEPTH);
    let Builder { mut entries, mut rules, mut hidden, mut hiders, .. } = builder;
    entries.shrink_to_fit();
    rules.shrink_to_fit();
    for list in [&mut hidden, &mut hiders] {
        list.sort_unstable();
        list.dedup();
        list.shrink_to_fit();
    }
    Classifier { entries, rules, hidden, hiders }
}

impl<A: Address> Builder<'_, A> {
    /// The entry for a sorted set of rules, `depth` steps from the deepest that may be.
    fn set(&mut self, mut list: Vec<u32>, path: &Path, depth: usize) -> Entry {
        if list.len() > SMALL {
            self.hide(&mut list, path);
        }
        let Some(&first) = list.first() else { return Entry::EMPTY };
        let chosen = if list.len() > 1 && depth > 1 && self.entries.len() < self.most_entries {
            self.chooser.choose(&list, &self.ternary, self.words, &path[..self.words])
        } else {
            None
        };
        match chosen {
            Some(field) => self.cut(list, first, field, path, depth - 1),
            None => self.run(&list, first, path),
        }
    }

    fn run(&mut self, list: &[u32], first: u32, path: &Path) -> Entry {
        let at = self.rules.len() as u32;
        let last = list.len() - 1;
        for (i, &ordinal) in list.iter().enumerate() {
            self.rules.push(Packed::new(&self.given[ordinal as usize], ordinal, i == last));
        }
        Entry::leaf(at, first, self.shared(list, path))
    }

    fn cut(&mut self, list: Vec<u32>, first: u32, field: Field, path: &Path, depth: usize) -> Entry {
        let check = self.shared(&list, path);
        let (mask, word) = (field.mask(), field.word as usize);
        let (mut inside, mut rest): (Vec<u32>, Vec<u32>) =
            list.into_iter().partition(|&r| self.at(r, word).1 & mask == mask);
        let copies: usize = rest.iter().map(|&r| 1 << (mask & !self.at(r, word).1).count_ones()).sum();
        // A rest costs every packet a step or two; copies cost memory, and a comparison where they are.
        let copied = copies <= self.allowance && copies <= inside.len() / 2;
        if copied {
            self.allowance -= copies;
            inside.append(&mut rest);
            inside.sort_unstable();
        }
        let children = self.children(&inside, field);
        drop(inside);

        let block = self.entries.len() + usize::from(!rest.is_empty());
        self.entries.resize(block + (1 << field.bits), Entry::EMPTY);
        if !rest.is_empty() {
            let entry = self.set(rest, path, depth);
            self.entries[block - 1] = entry;
            let below = self.sets(children, block, field, path, depth);
            debug_assert!(below.min(entry.first) == first);
            return Entry::inner(block as u32, field, true, first, check);
        }
        self.sets(children, block, field, path, depth);
        Entry::inner(block as u32, field, false, first, check)
    }

    /// Fills a block; the lowest ordinal in it.
    fn sets(
        &mut self,
        children: Vec<Vec<u32>>,
        block: usize,
        field: Field,
        path: &Path,
        depth: usize,
    ) -> u32 {
        let mut first = NONE;
        for (value, list) in children.into_iter().enumerate() {
            if list.is_empty() {
                continue;
            }
            let mut path = *path;
            let known = &mut path[field.word as usize];
            *known = (known.0 & !field.mask() | (value as u32) << field.shift, known.1 | field.mask());
            let entry = self.set(list, &path, depth);
            first = first.min(entry.first);
            self.entries[block + value] = entry;
        }
        first
    }

    /// The rules of each value of the field; those that leave bits of it open in several.
    fn children(&self, list: &[u32], field: Field) -> Vec<Vec<u32>> {
        let (mask, word) = (field.mask(), field.word as usize);
        let mut children = vec![Vec::new(); 1 << field.bits];
        for &r in list {
            let (value, known) = self.at(r, word);
            let (value, open) = ((value & known & mask) >> field.shift, (mask & !known) >> field.shift);
            // Every subset of the open bits.
            let mut some = open;
            loop {
                children[(value | some) as usize].push(r);
                if some == 0 {
                    break;
                }
                some = (some - 1) & open;
            }
        }
        children
    }

    /// The longest leading bits that all rules share in one word, counting only what the path does not know.
    fn shared(&self, list: &[u32], path: &Path) -> Check {
        let mut best = (0, Check::default());
        let Some(&head) = list.first() else { return Check::default() };
        for (word, &(_, known_here)) in path.iter().enumerate().take(self.words) {
            let value = self.at(head, word).0;
            let agreed = list.iter().fold(!0, |agreed, &r| {
                let (v, known) = self.at(r, word);
                agreed & known & !(v ^ value)
            });
            let len = (!agreed).leading_zeros();
            let mask = (!0u32).checked_shl(32 - len).unwrap_or(0);
            let gain = (mask & !known_here).count_ones();
            if gain > best.0 {
                best = (gain, Check { word: word as u32, len, value: value & mask });
            }
        }
        best.1
    }

    /// Leaves out what follows a rule that covers the whole region.
    fn hide(&mut self, list: &mut Vec<u32>, path: &Path) {
        let covering = list.iter().position(|&r| self.covers(r, path));
        let Some(i) = covering.filter(|i| i + 1 < list.len()) else { return };
        self.hiders.push(list[i]);
        self.hidden.extend(list.drain(i + 1..));
    }

    fn covers(&self, r: u32, path: &Path) -> bool {
        let rule = &self.given[r as usize];
        let ports = 2 * A::WORDS;
        rule.active
            && (0..self.words).all(|w| self.at(r, w).1 & !path[w].1 == 0)
            && self.covers_ports(rule.sport, path[ports], 0)
            && self.covers_ports(rule.dport, path[ports], 16)
    }

    /// True where all ports that the path leaves possible are in `range`.
    fn covers_ports(&self, range: [u16; 2], path: Ternary, shift: u32) -> bool {
        let (value, known) = ((path.0 >> shift) as u16, (path.1 >> shift) as u16);
        range == ANY || (range[0] <= value & known && value | !known <= range[1])
    }

    fn at(&self, r: u32, word: usize) -> Ternary {
        self.ternary[r as usize * self.words + word]
    }
}
