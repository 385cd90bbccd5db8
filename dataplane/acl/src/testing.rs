// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rule sets and packets as they are met: for tests and benches (feature `testing`).
//!
//! The shape is ClassBench's (Taylor and Turner, 2007): a quarter of the rules leave the source open, prefix lengths peak at /24 and /32 (/48,
//! /64 and /128 for IPv6), addresses lie close together in a few sites, few destination ports are
//! asked for often and many seldom, some rules are ranges, some repeat. Packets are taken from within rules, more often
//! from the hot ones, with some that match nothing much. The same seed gives the same set.

use crate::rule::{ANY, Address, Query, Rule};

/// The first active rule that matches: the plain model.
pub fn linear<A: Address>(rules: &[Rule<A>], q: &Query<A>) -> Option<u32> {
    rules.iter().position(|rule| rule.active && rule.matches(q)).map(|i| i as u32)
}

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Below `n`, small values more often than large ones.
    pub fn skewed(&mut self, n: usize) -> usize {
        self.below(n).min(self.below(n)).min(self.below(n))
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// How addresses of a family are spread.
pub trait Shape: Address {
    /// Prefix lengths, as often as they come.
    const LENGTHS: &'static [u8];

    /// An address in site `site` of a few.
    fn somewhere(random: &mut Random, site: usize) -> Self;

    /// Any address.
    fn anywhere(random: &mut Random) -> Self;
}

impl Shape for u32 {
    const LENGTHS: &'static [u8] =
        &[32, 32, 32, 32, 32, 32, 24, 24, 24, 24, 24, 28, 27, 26, 25, 22, 20, 16, 16, 8];

    fn somewhere(random: &mut Random, site: usize) -> u32 {
        let site = (site as u32).wrapping_mul(0x9e37_79b1) & 0xffff_0000;
        site | (random.skewed(256) as u32) << 8 | random.below(256) as u32
    }

    fn anywhere(random: &mut Random) -> u32 {
        random.bits() as u32
    }
}

impl Shape for u128 {
    const LENGTHS: &'static [u8] = &[128, 128, 128, 128, 64, 64, 64, 64, 56, 48, 48, 40, 32];

    fn somewhere(random: &mut Random, site: usize) -> u128 {
        let site = u128::from((site as u32).wrapping_mul(0x9e37_79b1) >> 8);
        let (subnet, host) = (random.skewed(4096) as u128, random.skewed(512) as u128);
        0x2001 << 112 | site << 80 | subnet << 64 | host
    }

    fn anywhere(random: &mut Random) -> u128 {
        u128::from(random.bits()) << 64 | u128::from(random.bits())
    }
}

const PORTS: &[u16] = &[80, 443, 443, 25, 53, 22, 110, 143, 3306, 5060, 8080, 21, 1521, 389, 3389];
const RANGES: &[[u16; 2]] = &[
    [1024, 65535],
    [1024, 65535],
    [0, 1023],
    [6000, 6063],
    [5000, 5999],
    [16384, 32767],
    [137, 139],
    [20, 21],
];

/// A rule of ClassBench's shape; `sites` address sites are in use.
pub fn rule<A: Shape>(random: &mut Random, sites: usize) -> Rule<A> {
    let (src, src_mask) = prefix(random, sites, 25);
    let (dst, dst_mask) = prefix(random, sites, 8);
    let any = Rule { src, src_mask, dst, dst_mask, ..Rule::default() };
    match random.below(100) {
        0..55 => {
            Rule { proto: Some(6), sport: source_ports(random), dport: destination_ports(random), ..any }
        }
        55..80 => {
            Rule { proto: Some(17), sport: source_ports(random), dport: destination_ports(random), ..any }
        }
        80..87 => {
            let proto = if A::WORDS == 1 { 1 } else { 58 };
            let kind = random.of(&[[8, 8], [0, 0], [3, 3], [11, 11], [0, 65535]]);
            let code = if random.chance(10) { [0, 0] } else { ANY };
            Rule { proto: Some(proto), dport: kind, sport: code, ..any }
        }
        87..90 => Rule { proto: Some(random.of(&[47, 50, 51, 89])), ..any },
        _ => any,
    }
}

fn prefix<A: Shape>(random: &mut Random, sites: usize, open: usize) -> (A, A) {
    if random.chance(open) {
        return (A::default(), A::default());
    }
    let site = random.skewed(sites);
    let (addr, mask) = (A::somewhere(random, site), A::prefix(random.of(A::LENGTHS)));
    (addr & mask, mask)
}

fn source_ports(random: &mut Random) -> [u16; 2] {
    match random.below(100) {
        0..88 => ANY,
        88..95 => [1024, 65535],
        _ => exactly(random.of(PORTS)),
    }
}

fn destination_ports(random: &mut Random) -> [u16; 2] {
    match random.below(100) {
        0..50 => exactly(random.of(PORTS)),
        50..65 => exactly(random.bits() as u16),
        65..80 => random.of(RANGES),
        80..86 => {
            let (a, b) = (random.bits() as u16, random.bits() as u16);
            [a.min(b), a.max(b)]
        }
        _ => ANY,
    }
}

fn exactly(port: u16) -> [u16; 2] {
    [port, port]
}

/// `n` rules. The most general ones stand last, as people write them; one in a hundred is written twice.
pub fn rules<A: Shape>(n: usize, seed: u64) -> Vec<Rule<A>> {
    let mut random = Random::new(seed);
    let sites = n / 64 + 4;
    let mut list: Vec<Rule<A>> = Vec::with_capacity(n);
    while list.len() < n {
        let rule = match list.len() {
            len if len > 0 && random.chance(1) => list[random.below(len)],
            _ => rule(&mut random, sites),
        };
        // Rules that are open on both sides are few in a real list, and none covers it all.
        let open = rule.src_mask == A::default() && rule.dst_mask == A::default();
        if !open || (rule.proto.is_some() && random.chance(10)) {
            list.push(rule);
        }
    }
    let ones = |mask: A| (0..A::WORDS).map(|w| mask.word(w).count_ones()).sum::<u32>();
    list.sort_by_cached_key(|rule| {
        let vague = A::WORDS as u32 * 64 - ones(rule.src_mask) - ones(rule.dst_mask);
        (vague / (12 * A::WORDS as u32), random.below(64))
    });
    list
}

/// A packet: mostly one that matches a rule of the list, hot ones more often.
pub fn query<A: Shape>(random: &mut Random, rules: &[Rule<A>]) -> Query<A> {
    let mut q = Query {
        src: A::anywhere(random),
        dst: A::anywhere(random),
        sport: random.bits() as u16,
        dport: if random.chance(50) { random.of(PORTS) } else { random.bits() as u16 },
        proto: random.of(&[6, 6, 6, 17, 17, 1, 58, 47]),
    };
    if rules.is_empty() || random.chance(5) {
        return q;
    }
    let rule = &rules[if random.chance(50) { random.skewed(rules.len()) } else { random.below(rules.len()) }];
    let other = &rules[random.below(rules.len())];
    // Within the rule; or from one rule to another one's destination, which likely matches neither.
    let to = if random.chance(10) { other } else { rule };
    // What a mask leaves open is near something that other rules know.
    let (src, dst) =
        if random.chance(60) { (other.src, rules[random.below(rules.len())].dst) } else { (q.src, q.dst) };
    q.src = rule.src | (src & (rule.src_mask ^ A::ONES));
    q.dst = to.dst | (dst & (to.dst_mask ^ A::ONES));
    q.proto = to.proto.unwrap_or(q.proto);
    let mut port = |[lo, hi]: [u16; 2], v: u16| {
        if lo <= v && v <= hi || lo > hi { v } else { lo + random.below(usize::from(hi - lo) + 1) as u16 }
    };
    q.sport = port(rule.sport, q.sport);
    q.dport = port(to.dport, q.dport);
    q
}
