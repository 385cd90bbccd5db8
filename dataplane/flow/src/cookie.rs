// SPDX-License-Identifier: MIT OR Apache-2.0
//! SYN cookies (RFC 4987 3.6): an initial sequence number that says, when it is acknowledged, what the SYN said.
//!
//! The low three bits are the class of the SYN's MSS, the rest a keyed hash (SipHash-2-4, of the crate `siphasher`) of the
//! tuple, the interface, the client's own initial number, that class and the [`PERIOD`] in which it was made. Cookies of this period
//! and of the one before are good, so one lives between half a minute and a minute. As the period is hashed, each has a secret of its own, in
//! effect: what one period's cookies tell is of no use in the next. The key is drawn when the worker starts and never leaves it:
//! a SYN and the ACK of its answer come to the same worker ([`crate::shard`]).
//!
//! There is no room for window scale, SACK or timestamps, and nobody to ask whether the server speaks them: none is
//! offered. Whoever guesses an ACK is right once in 2^27 (29 bits of hash, two periods, two places where the client's number
//! may be), and only while cookies are out: [`Cookies::is_out`] keeps the hash off the path of stray ACKs at all other times.
//! Twin: a table of what was given out, in tests. Worker cores; no allocation.

use crate::{TICKS, Tick};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Ticks after which cookies are made by another secret.
pub const PERIOD: Tick = 32 * TICKS;

/// What a cookie remembers of the client's MSS: the largest of these that is not above it. A smaller one counts as the first.
/// The values are those of common links: loopback-small, the IPv4 default (RFC 9293), IPv6's least MTU, tunnels, PPPoE, Ethernet.
pub const MSS: [u16; 8] = [216, 536, 1220, 1300, 1380, 1412, 1440, 1460];
const MSS_BITS: u32 = 3;

/// The SYN that a cookie is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Who sent it; an IPv4 address as `::ffff:a.b.c.d`.
    pub src: u128,
    /// Whom it called, as it arrived.
    pub dst: u128,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Where it arrived.
    pub in_if: u8,
    /// Its sequence number.
    pub isn: u32,
}

/// One worker's cookies.
pub struct Cookies {
    key: [u64; 2],
    /// The period of the last one.
    last: Option<u32>,
}

impl Cookies {
    /// None are out. The key is the system's entropy as the standard library draws it for its own keyed hashes: this one must
    /// not follow from what a generator of ports shows.
    pub fn new() -> Self {
        let entropy = std::hash::RandomState::new();
        let word = |n: u64| std::hash::BuildHasher::hash_one(&entropy, n);
        Self { key: [word(0), word(1)], last: None }
    }

    /// The sequence number to answer a SYN with.
    pub fn make(&mut self, asker: &Asker, mss: u16, now: Tick) -> u32 {
        let period = now / PERIOD;
        self.last = Some(period);
        let class = MSS.iter().rposition(|known| *known <= mss).unwrap_or(0) as u32;
        self.hash(asker, class, period) | class
    }

    /// Whether one may be acknowledged.
    #[inline]
    pub fn is_out(&self, now: Tick) -> bool {
        self.last.is_some_and(|last| (now / PERIOD).wrapping_sub(last) <= 1)
    }

    /// Whether `cookie` was made for this SYN and is still good.
    pub fn is_good(&self, asker: &Asker, cookie: u32, now: Tick) -> bool {
        let (class, period) = (cookie & ((1 << MSS_BITS) - 1), now / PERIOD);
        self.is_out(now)
            && [period, period.wrapping_sub(1)]
                .into_iter()
                .any(|period| self.hash(asker, class, period) | class == cookie)
    }

    /// All bits but the class's.
    fn hash(&self, asker: &Asker, class: u32, period: u32) -> u32 {
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u128(asker.src);
        hasher.write_u128(asker.dst);
        hasher.write_u64(u64::from(asker.sport) << 48 | u64::from(asker.dport) << 32 | u64::from(asker.isn));
        hasher.write_u64(u64::from(period) << 16 | u64::from(asker.in_if) << 8 | u64::from(class));
        (hasher.finish() as u32) << MSS_BITS
    }
}

impl Default for Cookies {
    fn default() -> Self {
        Self::new()
    }
}

/// The MSS that a cookie remembers.
pub fn mss_of(cookie: u32) -> u16 {
    MSS[(cookie % MSS.len() as u32) as usize]
}

#[cfg(test)]
mod tests;
