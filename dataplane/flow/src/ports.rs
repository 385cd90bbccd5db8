// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which ports of one PAT address are taken, a protocol: a bitmap of at most 65,536 (8 KiB), and how a free one is picked.
//!
//! The ASA's rule: the real source port where it is free, else another of the same band (0-511, 512-1023,
//! 1024-65535; RFC 4787 REQ-3a), here with the same parity where one is free (REQ-4) and from a random start (RFC 6056), so
//! that a port is neither guessed nor at once reused. `flat` has one band; `block-allocation` picks within blocks that
//! belong to one host, and nobody else picks there.
//!
//! Several workers share an address by its ports: words of 64 ports go round them ([`Share`]). A worker keeps bits for its own words
//! only; inside, a port is its *ordinal* among them, so that scanning never sees what is another's.
//! Worker cores, once a translation. Twin: a set of free ports, in tests.

/// A worker's part of the ports of each mapped address, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which worker.
    pub worker: u16,
    /// Of how many, 1..=1024.
    pub of: u16,
}

impl Share {
    /// One worker has them all.
    pub const WHOLE: Share = Share { worker: 0, of: 1 };

    /// The worker that owns `port`, of `of`.
    #[inline]
    pub fn owner(port: u16, of: u16) -> u16 {
        (port >> 6) % of
    }

    /// Place of `port` among the own ones; `None` where it is another worker's.
    fn ordinal(self, port: u16) -> Option<u16> {
        let word = port >> 6;
        (word % self.of == self.worker).then_some((word / self.of) << 6 | port & 63)
    }

    fn port(self, ordinal: u16) -> u16 {
        ((ordinal >> 6) * self.of + self.worker) << 6 | ordinal & 63
    }

    /// Words of 64 own ports.
    fn words(self) -> usize {
        usize::from((1024u16.saturating_sub(self.worker)).div_ceil(self.of))
    }

    /// The own ports within a range, as ordinals, both in it.
    fn span(self, [first, last]: [u16; 2]) -> Option<[u16; 2]> {
        let from = self.ordinal(first).unwrap_or_else(|| {
            // The next own word begins the span.
            ((first >> 6) + self.of - 1).saturating_sub(self.worker) / self.of * 64
        });
        let to = match self.ordinal(last) {
            Some(ordinal) => ordinal,
            None => ((last >> 6).checked_sub(self.worker)? / self.of) << 6 | 63,
        };
        (from <= to && usize::from(from >> 6) < self.words()).then_some([from, to])
    }

    /// This worker's ports of `band`; with many workers not every one has some below 1024, and uses those above.
    fn own(self, band: Band) -> Option<(Band, [u16; 2])> {
        let of = |band: Band| Some((band, self.span(band.ports())?));
        of(band).or_else(|| of(Band::High))
    }

    /// A port of `band` that is this worker's, free or not.
    pub(crate) fn any_of(self, band: Band, random: u64) -> Option<u16> {
        let (_, [first, last]) = self.own(band)?;
        Some(self.port(start(first, last, random)))
    }
}

/// A range of ports to pick from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Band {
    /// 0-511.
    Low = 0,
    /// 512-1023.
    Middle = 1,
    /// 1024-65535.
    High = 2,
    /// 1-65535: `flat include-reserve`, and ICMP identifiers.
    All = 3,
}

impl Band {
    /// The ASA's three, in order.
    pub const THREE: [Band; 3] = [Band::Low, Band::Middle, Band::High];

    /// First and last port.
    pub const fn ports(self) -> [u16; 2] {
        match self {
            Band::Low => [0, 511],
            Band::Middle => [512, 1023],
            Band::High => [1024, 65535],
            Band::All => [1, 65535],
        }
    }

    /// The one of the three that `port` is in.
    pub fn of(port: u16) -> Self {
        match port {
            0..512 => Band::Low,
            512..1024 => Band::Middle,
            _ => Band::High,
        }
    }
}

/// Ports that may be tried for one that the caller prefers, before any free one will do.
const PREFERRED_TRIES: u32 = 16;
/// Blocks are made of so many ports.
const GRANULE: u16 = 32;
/// A bitmap of granules.
type Granules = [u64; 32];

/// A run of a worker's ports that belongs to one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    first: u16,    // granule
    granules: u16, // 0 for no block
}

impl Block {
    /// False for the default: no block.
    pub fn is_some(self) -> bool {
        self.granules != 0
    }

    fn ordinals(self) -> [u16; 2] {
        let first = self.first * GRANULE;
        [first, first + (self.granules * GRANULE - 1)]
    }

    fn bits(self) -> impl Iterator<Item = (usize, u64)> {
        (self.first..self.first + self.granules).map(|g| (usize::from(g >> 6), 1u64 << (g & 63)))
    }
}

/// The ports of one address and protocol that one worker has.
pub struct Ports {
    share: Share,
    taken: Box<[u64]>,
    /// What static PAT has; kept apart, so that neither a policy change nor the end of an xlate mixes the two up.
    reserved: Option<Box<[u64]>>,
    blocks: Option<Box<Granules>>,
    /// Bit a band: nothing was free, and nothing has changed since.
    exhausted: u8,
    allocated: [u32; 3],
}

impl Ports {
    /// All free but port 0, which is nobody's (RFC 6335).
    pub fn new(share: Share) -> Self {
        let mut taken = vec![0; share.words()].into_boxed_slice();
        if let Some(0) = share.ordinal(0) {
            taken[0] = 1;
        }
        Self { share, taken, reserved: None, blocks: None, exhausted: 0, allocated: [0; 3] }
    }

    /// Ports taken, in each of [`Band::THREE`].
    pub fn allocated(&self) -> [u32; 3] {
        self.allocated
    }

    /// Ports in blocks.
    pub fn block_ports(&self) -> u32 {
        let granules = |held: &Granules| held.iter().map(|word| word.count_ones()).sum::<u32>();
        self.blocks.as_deref().map_or(0, granules) * u32::from(GRANULE)
    }

    /// True where something is taken.
    pub fn is_used(&self) -> bool {
        self.allocated != [0; 3]
    }

    /// Gives a picked `port` back.
    pub fn release(&mut self, port: u16) {
        let Some(ordinal) = self.share.ordinal(port) else { return };
        let (word, bit) = place(ordinal);
        debug_assert!(self.taken[word] & bit != 0, "port {port} was not taken");
        self.taken[word] &= !bit;
        self.allocated[Band::of(port) as usize] -= 1;
        self.exhausted = 0;
    }

    /// Keeps a range of ports for static rules: none of it is picked while that stands.
    pub fn reserve(&mut self, range: [u16; 2]) {
        let Some([first, last]) = self.share.span(range) else { return };
        let words = self.taken.len();
        let reserved = self.reserved.get_or_insert_with(|| vec![0; words].into_boxed_slice());
        for word in usize::from(first >> 6)..=usize::from(last >> 6) {
            reserved[word] |= within(word, first, last);
        }
    }

    /// Forgets all reservations.
    pub fn clear_reserved(&mut self) {
        self.reserved = None;
        self.exhausted = 0;
    }

    /// Asks for the line with `port`'s bit.
    #[inline]
    pub fn fetch(&self, port: u16, fetch: &mut impl FnMut(*const u8)) {
        if let Some(ordinal) = self.share.ordinal(port) {
            fetch(self.taken.as_ptr().wrapping_add(place(ordinal).0).cast());
        }
    }

    /// True where `port` is this worker's and nobody has it.
    pub fn is_free(&self, port: u16) -> bool {
        self.share.ordinal(port).is_some_and(|ordinal| {
            let (word, bit) = place(ordinal);
            self.blocked(word, false) & bit == 0
        })
    }

    /// Takes a port of `band` for a host that sends from `wanted`: that one, else one of its parity, else any; among several, one that
    /// the caller prefers where it is soon found. `random` picks the start. `None` when the band is exhausted.
    pub fn pick(
        &mut self,
        wanted: u16,
        band: Band,
        random: u64,
        prefer: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let (band, span) = self.share.own(band)?;
        let bit = 1 << band as u8;
        if self.exhausted & bit != 0 {
            return None;
        }
        let port = self.pick_within(span, false, 1, wanted, random, prefer);
        if port.is_none() {
            self.exhausted |= bit;
        }
        port
    }

    /// Takes two ports in a row of `band`, the first like [`Self::pick`]'s, and gives that (RTP and RTCP: RFC 3550 section 11).
    pub fn pick_pair(&mut self, wanted: u16, band: Band, random: u64) -> Option<u16> {
        let (_, span) = self.share.own(band)?;
        self.pick_within(span, false, 2, wanted, random, |_| true)
    }

    /// [`Self::pick_pair`] within a block of the host's own.
    pub fn pick_pair_in(&mut self, block: Block, wanted: u16, random: u64) -> Option<u16> {
        self.pick_within(block.ordinals(), true, 2, wanted, random, |_| true)
    }

    /// [`Self::pick`] within a block of the host's own.
    pub fn pick_in(
        &mut self,
        block: Block,
        wanted: u16,
        random: u64,
        prefer: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        self.pick_within(block.ordinals(), true, 1, wanted, random, prefer)
    }

    /// Takes any port within `range`.
    pub fn pick_any(&mut self, range: [u16; 2], random: u64) -> Option<u16> {
        let [first, last] = self.share.span(range)?;
        let start = start(first, last, random);
        let mut found = None;
        self.each_free([first, last], start, u64::MAX, false, 1, |ordinal| {
            found = Some(ordinal);
            true
        });
        found.map(|ordinal| self.take(ordinal, 1))
    }

    /// Takes a block of `size` ports (rounded up to a multiple of 32) from 1024 up, in which nothing is taken.
    pub fn take_block(&mut self, size: u32, random: u64) -> Option<Block> {
        let [first, last] = self.share.span(Band::High.ports())?;
        let granules = size.clamp(1, 4096).div_ceil(u32::from(GRANULE)) as u16;
        let base = first / GRANULE;
        let count = (last / GRANULE - base + 1) / granules;
        let start = random.checked_rem(count.into())? as u16;
        let block = (0..count)
            .map(|n| Block { first: base + (start + n) % count * granules, granules })
            .find(|block| self.is_unused(*block))?;
        let held = self.blocks.get_or_insert_default();
        block.bits().for_each(|(word, bit)| held[word] |= bit);
        Some(block)
    }

    /// Gives a block back.
    pub fn release_block(&mut self, block: Block) {
        if let Some(held) = &mut self.blocks {
            block.bits().for_each(|(word, bit)| held[word] &= !bit);
        }
        self.exhausted = 0;
    }

    /// True where no port of `block` is taken.
    pub fn is_block_empty(&self, block: Block) -> bool {
        let [first, last] = block.ordinals();
        (usize::from(first >> 6)..=usize::from(last >> 6))
            .all(|word| self.taken[word] & within(word, first, last) == 0)
    }

    /// True where `port` is of `block`.
    pub fn is_in(&self, block: Block, port: u16) -> bool {
        let [first, last] = block.ordinals();
        self.share.ordinal(port).is_some_and(|o| (first..=last).contains(&o))
    }

    /// First and last port of `block`; of them the worker has every `of`-th 64.
    pub fn ports_of(&self, block: Block) -> [u16; 2] {
        block.ordinals().map(|ordinal| self.share.port(ordinal))
    }

    fn is_unused(&self, block: Block) -> bool {
        let held = self.blocks.as_ref();
        block.bits().all(|(word, bit)| held.is_none_or(|h| h[word] & bit == 0)) && self.is_block_empty(block)
    }

    /// Takes `row` (one or two) free ports in a row that are in one word, and gives the first.
    fn pick_within(
        &mut self,
        span: [u16; 2],
        own_block: bool,
        row: u16,
        wanted: u16,
        random: u64,
        prefer: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let first = span[0];
        // The last with which a row can begin.
        let last = span[1].checked_sub(row - 1).filter(|last| *last >= first)?;
        let share = self.share;
        if let Some(ordinal) = share.ordinal(wanted).filter(|o| (first..=last).contains(o)) {
            let (word, bit) = place(ordinal);
            if self.free_rows(word, own_block, row) & bit != 0 && prefer(wanted) {
                return Some(self.take(ordinal, row));
            }
        }
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let same_parity = if wanted & 1 == 0 { EVEN } else { !EVEN };
        let start = start(first, last, random);
        for parity in [same_parity, !same_parity] {
            let (mut found, mut tries) = (None, 0);
            self.each_free([first, last], start, parity, own_block, row, |ordinal| {
                let preferred = prefer(share.port(ordinal));
                if preferred || found.is_none() {
                    found = Some(ordinal);
                }
                tries += 1;
                preferred || tries == PREFERRED_TRIES
            });
            if let Some(ordinal) = found {
                return Some(self.take(ordinal, row));
            }
        }
        None
    }

    /// Takes `row` ports, all in one word, and gives the first.
    fn take(&mut self, ordinal: u16, row: u16) -> u16 {
        for ordinal in ordinal..=ordinal + (row - 1) {
            let (word, bit) = place(ordinal);
            self.taken[word] |= bit;
            self.allocated[Band::of(self.share.port(ordinal)) as usize] += 1;
        }
        self.share.port(ordinal)
    }

    /// The ports of a word that can be picked, or with which two in a row begin that can be; a pair never spans words, for those may be
    /// different workers'.
    #[inline]
    fn free_rows(&self, word: usize, own_block: bool, row: u16) -> u64 {
        let free = !self.blocked(word, own_block);
        if row > 1 { free & (free >> 1) } else { free }
    }

    /// The ports of a word that cannot be picked.
    #[inline]
    fn blocked(&self, word: usize, own_block: bool) -> u64 {
        let reserved = self.reserved.as_ref().map_or(0, |r| r[word]);
        let others = match &self.blocks {
            Some(blocks) if !own_block => {
                let granules = blocks[word / 32] >> (word % 32 * 2);
                ((granules & 1) * 0xffff_ffff) | ((granules >> 1 & 1) * 0xffff_ffff_0000_0000)
            }
            _ => 0,
        };
        self.taken[word] | reserved | others
    }

    /// Shows free ordinals among those `allowed` (a mask over each 64), from `start` on and round, until `stop` says so.
    fn each_free(
        &self,
        [first, last]: [u16; 2],
        start: u16,
        allowed: u64,
        own_block: bool,
        row: u16,
        mut stop: impl FnMut(u16) -> bool,
    ) {
        let [from, at, to] = [first, start, last].map(|o| usize::from(o >> 6));
        let above = u64::MAX << (start & 63);
        let upwards = [(at, above)].into_iter().chain((at + 1..=to).map(|w| (w, u64::MAX)));
        let again = (from..at).map(|w| (w, u64::MAX)).chain([(at, !above)]);
        for (word, part) in upwards.chain(again) {
            let mut free = self.free_rows(word, own_block, row) & allowed & part;
            if word == from || word == to {
                free &= within(word, first, last);
            }
            while free != 0 {
                if stop((word as u16) << 6 | free.trailing_zeros() as u16) {
                    return;
                }
                free &= free - 1;
            }
        }
    }
}

/// Somewhere in a span.
fn start(first: u16, last: u16, random: u64) -> u16 {
    // Multiply-shift on the upper half: no division, and no bias worth the name.
    first + (((random >> 32) * (u64::from(last - first) + 1)) >> 32) as u16
}

/// Word and bit of an ordinal.
fn place(ordinal: u16) -> (usize, u64) {
    (usize::from(ordinal >> 6), 1u64 << (ordinal & 63))
}

/// The bits of `word` that are of `first..=last`; the word has some.
fn within(word: usize, first: u16, last: u16) -> u64 {
    let low = if word == usize::from(first >> 6) { u64::MAX << (first & 63) } else { u64::MAX };
    let high = if word == usize::from(last >> 6) { u64::MAX >> (63 - (last & 63)) } else { u64::MAX };
    low & high
}
