// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked and what answers: header fields, and a rule's condition on them.
//!
//! A header is also seen as a row of 32-bit words, address words first, then both ports, then the protocol, so that
//! the tree can cut on "bits 8 to 12 of word 1" whatever the address family. Masks may have holes.

use std::fmt::Debug;
use std::ops::{BitAnd, BitOr, BitXor};

/// An address in host byte order: `u32` for IPv4, `u128` for IPv6.
pub trait Address:
    Copy
    + Eq
    + Ord
    + Default
    + Debug
    + Send
    + Sync
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + 'static
{
    /// 32-bit words of an address.
    const WORDS: usize;
    /// All ones.
    const ONES: Self;
    /// A header's words.
    type Header: Copy;

    /// The `i`th 32 bits, the most significant first.
    fn word(self, i: usize) -> u32;

    /// The words of a header.
    fn header(query: &Query<Self>) -> Self::Header;

    /// One of them; `w` is below `2 * WORDS + 2`.
    fn pick(header: &Self::Header, w: usize) -> u32;

    /// The mask of a prefix of `len` bits.
    fn prefix(len: u8) -> Self;
}

impl Address for u32 {
    const WORDS: usize = 1;
    const ONES: Self = !0;
    type Header = [u32; 4];

    #[inline]
    fn word(self, _: usize) -> u32 {
        self
    }

    #[inline]
    fn header(q: &Query<Self>) -> [u32; 4] {
        [q.src, q.dst, ports(q.sport, q.dport), protocol(q.proto)]
    }

    #[inline]
    fn pick(header: &[u32; 4], w: usize) -> u32 {
        header[w & 3]
    }

    fn prefix(len: u8) -> Self {
        (!0u32).checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
    }
}

impl Address for u128 {
    const WORDS: usize = 4;
    const ONES: Self = !0;
    /// Ten in use; a power of two spares the bounds check.
    type Header = [u32; 16];

    #[inline]
    fn word(self, i: usize) -> u32 {
        (self >> (96 - 32 * (i & 3))) as u32
    }

    #[inline]
    fn header(q: &Query<Self>) -> [u32; 16] {
        let (s, d) = (q.src, q.dst);
        let mut words = [0; 16];
        for i in 0..4 {
            words[i] = s.word(i);
            words[4 + i] = d.word(i);
        }
        words[8] = ports(q.sport, q.dport);
        words[9] = protocol(q.proto);
        words
    }

    #[inline]
    fn pick(header: &[u32; 16], w: usize) -> u32 {
        header[w & 15]
    }

    fn prefix(len: u8) -> Self {
        (!0u128).checked_shl(128 - u32::from(len.min(128))).unwrap_or(0)
    }
}

/// The ports' word. The destination port is the more telling one, so it comes first.
#[inline]
pub(crate) fn ports(sport: u16, dport: u16) -> u32 {
    u32::from(dport) << 16 | u32::from(sport)
}

/// The protocol's word: in the top byte, so that a common prefix can name it.
#[inline]
pub(crate) fn protocol(proto: u8) -> u32 {
    u32::from(proto) << 24
}

/// A packet's fields. For ICMP the caller puts the type for the destination port and the code for the source port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port, host order; ICMP code; 0 where the protocol has none.
    pub sport: u16,
    /// Destination port, host order; ICMP type; 0 where the protocol has none.
    pub dport: u16,
    /// IP protocol.
    pub proto: u8,
}

/// A condition on a packet; all of its parts must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<A> {
    /// Source network; bits outside the mask must be 0, or nothing matches.
    pub src: A,
    /// Source mask.
    pub src_mask: A,
    /// Destination network, as `src`.
    pub dst: A,
    /// Destination mask.
    pub dst_mask: A,
    /// Source ports (ICMP: codes), inclusive; `[0, 65535]` for any.
    pub sport: [u16; 2],
    /// Destination ports (ICMP: types), inclusive.
    pub dport: [u16; 2],
    /// IP protocol; `None` for any. The ports are looked at all the same.
    pub proto: Option<u8>,
    /// False where it is to be skipped for now (`inactive`, outside its time-range).
    pub active: bool,
}

/// Any port.
pub(crate) const ANY: [u16; 2] = [0, u16::MAX];

impl<A: Address> Default for Rule<A> {
    /// Matches everything.
    fn default() -> Self {
        let zero = A::default();
        Self {
            src: zero,
            src_mask: zero,
            dst: zero,
            dst_mask: zero,
            sport: ANY,
            dport: ANY,
            proto: None,
            active: true,
        }
    }
}

impl<A: Address> Rule<A> {
    /// True where the packet meets the condition, active or not.
    #[inline]
    pub fn matches(&self, q: &Query<A>) -> bool {
        let within = |range: [u16; 2], v: u16| range[0] <= v && v <= range[1];
        q.src & self.src_mask == self.src
            && q.dst & self.dst_mask == self.dst
            && self.proto.is_none_or(|p| p == q.proto)
            && within(self.sport, q.sport)
            && within(self.dport, q.dport)
    }

    /// The same condition; whether active is not part of it.
    #[inline]
    pub(crate) fn same(&self, other: &Self) -> bool {
        Self { active: true, ..*self } == Self { active: true, ..*other }
    }

    /// False where no packet can match: bits outside a mask, a range that ends before it begins.
    pub(crate) fn can_match(&self) -> bool {
        self.src & self.src_mask == self.src
            && self.dst & self.dst_mask == self.dst
            && self.sport[0] <= self.sport[1]
            && self.dport[0] <= self.dport[1]
    }

    /// True where some packet matches both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let zero = A::default();
        let meet = |a: [u16; 2], b: [u16; 2]| a[0] <= b[1] && b[0] <= a[1];
        (self.src ^ other.src) & self.src_mask & other.src_mask == zero
            && (self.dst ^ other.dst) & self.dst_mask & other.dst_mask == zero
            && self.proto.is_none_or(|p| other.proto.is_none_or(|o| p == o))
            && meet(self.sport, other.sport)
            && meet(self.dport, other.dport)
    }

    /// What is known of header word `w` of every packet that matches: (value, mask). Of a range, its common leading bits.
    pub(crate) fn ternary(&self, w: usize) -> (u32, u32) {
        let n = A::WORDS;
        if w < n {
            (self.src.word(w), self.src_mask.word(w))
        } else if w < 2 * n {
            (self.dst.word(w - n), self.dst_mask.word(w - n))
        } else if w == 2 * n {
            let lead = |[lo, hi]: [u16; 2]| (!0u16).checked_shl(16 - (lo ^ hi).leading_zeros()).unwrap_or(0);
            let (s, d) = (lead(self.sport), lead(self.dport));
            (ports(self.sport[0] & s, self.dport[0] & d), ports(s, d))
        } else {
            (protocol(self.proto.unwrap_or(0)), protocol(if self.proto.is_some() { 0xff } else { 0 }))
        }
    }
}
