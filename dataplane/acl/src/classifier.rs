// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiled rules, and the search.
//!
//! Two flat arrays. [`Entry`]s, 16 bytes: an inner one cuts on up to 15 neighbouring bits of one header word into as many
//! children, which lie in one block; rules that leave one of these bits open form a tree of their own beside the children, the
//! *rest*, in the entry before the block. [`Packed`] rules, a cache line or less: a leaf names the first of its run.
//! So a search is a walk down with a side path here and there, and each rule is in one place (small ones are copied
//! into the children instead, see `build`).
//!
//! Three things end a path early: `first`, the lowest ordinal below, once the best match precedes it; `check`, the leading
//! bits of one word that all rules below share; and a run is sorted, so its first match is its best.
//! Worker cores, no allocation.

use crate::build;
use crate::rule::{Address, Query, Rule};

/// No rule.
pub(crate) const NONE: u32 = u32::MAX;
/// Longest path, and so most side paths that wait at a time.
pub(crate) const DEPTH: usize = 32;
/// Most bits that one entry cuts on.
pub(crate) const MAX_BITS: u32 = 14;

/// A node.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Inner: the first child in `entries`. Leaf: the first rule in `rules`.
    pub at: u32,
    /// See [`Entry::inner`] and [`Entry::leaf`].
    pub how: u32,
    /// The lowest ordinal here and below; [`NONE`] where there is no rule.
    pub first: u32,
    /// Leading bits that all rules here and below have.
    pub check: u32,
}
const _: () = assert!(size_of::<Entry>() == 16);

/// The rest is in the entry before the children.
const REST: u32 = 1 << 13;
const LEAF: u32 = 1 << 14;

/// The leading bits of a word that rules share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Check {
    /// Header word.
    pub word: u32,
    /// Leading bits, 0 for none.
    pub len: u32,
    /// Their value, the other bits 0.
    pub value: u32,
}

/// Neighbouring bits of a header word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Header word.
    pub word: u32,
    /// Place of the lowest bit.
    pub shift: u32,
    /// How many, 1..=[`MAX_BITS`].
    pub bits: u32,
}

impl Field {
    /// The field's bits in its word.
    pub fn mask(self) -> u32 {
        ((1 << self.bits) - 1) << self.shift
    }
}

impl Entry {
    /// No rule.
    pub const EMPTY: Self = Self { at: 0, how: LEAF, first: NONE, check: 0 };

    /// A run of rules.
    pub fn leaf(at: u32, first: u32, check: Check) -> Self {
        Self { at, how: LEAF | Self::checking(check), first, check: check.value }
    }

    /// A cut. Bits of `how`: word 0..4, shift 4..9, bits 9..13, [`REST`], [`LEAF`], word of the check 15..19, open bits of the
    /// check 19..25.
    pub fn inner(at: u32, field: Field, rest: bool, first: u32, check: Check) -> Self {
        let rest = if rest { REST } else { 0 };
        let how = field.word | field.shift << 4 | field.bits << 9 | rest | Self::checking(check);
        Self { at, how, first, check: check.value }
    }

    fn checking(check: Check) -> u32 {
        check.word << 15 | (32 - check.len) << 19
    }

    #[inline(always)]
    pub fn is_leaf(&self) -> bool {
        self.how & LEAF != 0
    }

    /// See [`REST`].
    #[inline(always)]
    pub fn has_rest(&self) -> bool {
        self.how & REST != 0
    }

    /// The child for a packet.
    #[inline(always)]
    pub fn child<A: Address>(&self, header: &A::Header) -> u32 {
        let word = A::pick(header, (self.how & 15) as usize);
        let value = word >> (self.how >> 4 & 31) & ((1 << (self.how >> 9 & 15)) - 1);
        self.at + value
    }

    /// False where no rule here or below can match.
    #[inline(always)]
    pub fn passes<A: Address>(&self, header: &A::Header) -> bool {
        let word = A::pick(header, (self.how >> 15 & 15) as usize);
        u64::from(word ^ self.check) >> (self.how >> 19 & 63) == 0
    }
}

/// A rule as it lies in a run: 32 bytes for IPv4, 96 for IPv6.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<A> {
    src: A,
    src_mask: A,
    dst: A,
    dst_mask: A,
    sport: u16,
    sport_span: u16,
    dport: u16,
    dport_span: u16,
    pub ordinal: u32,
    proto: u8,
    proto_mask: u8,
    /// The last of its run.
    pub last: bool,
}
const _: () = assert!(size_of::<Packed<u32>>() == 32);

impl<A: Address> Packed<A> {
    /// `rule` must be one that [can match](Rule::can_match).
    pub fn new(rule: &Rule<A>, ordinal: u32, last: bool) -> Self {
        Self {
            src: rule.src,
            src_mask: rule.src_mask,
            dst: rule.dst,
            dst_mask: rule.dst_mask,
            sport: rule.sport[0],
            sport_span: rule.sport[1] - rule.sport[0],
            dport: rule.dport[0],
            dport_span: rule.dport[1] - rule.dport[0],
            ordinal,
            proto: rule.proto.unwrap_or(0),
            proto_mask: if rule.proto.is_some() { 0xff } else { 0 },
            last,
        }
    }

    /// One branch for all of it: which part differs is anyone's guess.
    #[inline(always)]
    pub fn matches(&self, q: &Query<A>) -> bool {
        let addresses = (q.src ^ self.src) & self.src_mask | (q.dst ^ self.dst) & self.dst_mask;
        (addresses == A::default())
            & ((q.proto ^ self.proto) & self.proto_mask == 0)
            & (q.dport.wrapping_sub(self.dport) <= self.dport_span)
            & (q.sport.wrapping_sub(self.sport) <= self.sport_span)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Classifier<A> {
    /// The first one is the root.
    pub(crate) entries: Vec<Entry>,
    pub(crate) rules: Vec<Packed<A>>,
    /// Rules left out somewhere because an earlier one covers them there, and those that cover, sorted.
    pub(crate) hidden: Vec<u32>,
    pub(crate) hiders: Vec<u32>,
}

/// A search under way.
struct Search {
    /// The lowest ordinal that matches so far.
    best: u32,
    /// Entries to look at, `count` of them; the last one is next.
    waiting: [u32; DEPTH],
    count: usize,
}

impl<A: Address> Classifier<A> {
    /// Compiles `rules`, earlier ones first. Inactive ones are kept: what is done with them is up to the lookup.
    ///
    /// # Panics
    /// With 2^26 rules or more.
    pub fn new(rules: &[Rule<A>]) -> Self {
        build::build(rules)
    }

    /// Bytes of heap in use.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.rules.capacity() * size_of::<Packed<A>>()
            + (self.hidden.capacity() + self.hiders.capacity()) * 4
    }

    /// The lowest ordinal that matches and is `alive`, or [`NONE`].
    ///
    /// A rule that hides others must be alive for the answer to be right; [`Layered`](crate::Layered) sees to it.
    #[inline]
    pub(crate) fn find(&self, q: &Query<A>, alive: impl Fn(u32) -> bool) -> u32 {
        let header = A::header(q);
        let mut search = Search::new();
        while self.step(&mut search, q, &header, &alive) {}
        search.best
    }

    /// One entry further; false at the end. What is put aside for later is decided without branches, which nobody could
    /// predict; they are the cost of a search once its memory is near.
    #[inline(always)]
    fn step(
        &self,
        search: &mut Search,
        q: &Query<A>,
        header: &A::Header,
        alive: &impl Fn(u32) -> bool,
    ) -> bool {
        if search.count == 0 {
            return false;
        }
        search.count -= 1;
        let entry = self.entries[search.waiting[search.count % DEPTH] as usize];
        if entry.first >= search.best {
            return true;
        }
        if entry.is_leaf() {
            search.best = self.scan(entry.at as usize, q, search.best, alive);
            return true;
        }
        let (rest, child) = (entry.at - 1, entry.child::<A>(header));
        self.put(search, rest, entry.has_rest(), header);
        self.put(search, child, true, header);
        true
    }

    /// Puts an entry aside where it may hold a match before the best one.
    #[inline(always)]
    fn put(&self, search: &mut Search, at: u32, there: bool, header: &A::Header) {
        let entry = self.entries[at as usize];
        search.waiting[search.count % DEPTH] = at;
        search.count += usize::from(there & (entry.first < search.best) & entry.passes::<A>(header));
    }

    /// The first match of a run before `best`, else `best`.
    #[inline(always)]
    pub(crate) fn scan(&self, at: usize, q: &Query<A>, best: u32, alive: &impl Fn(u32) -> bool) -> u32 {
        for rule in self.rules.get(at..).unwrap_or_default() {
            if rule.ordinal >= best {
                break;
            }
            if rule.matches(q) && alive(rule.ordinal) {
                return rule.ordinal;
            }
            if rule.last {
                break;
            }
        }
        best
    }
}

impl Search {
    /// Of everything: the root is the first entry.
    #[inline(always)]
    fn new() -> Self {
        Self { best: NONE, waiting: [0; DEPTH], count: 1 }
    }
}
