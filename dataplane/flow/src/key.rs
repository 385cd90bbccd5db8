// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 5-tuple as connections are keyed by it, and its hash.
//!
//! The key is the wire's [`Tuple`](fedgate_wire::Tuple) in host byte order, or the same [`Packed`] as its bytes lie in the packet; ICMP queries carry their identifier on the asker's side, so that
//! request and reply are mirror images like everything else. The hash is a folded 64x64 multiply with a random
//! seed a table: an outsider who picks the tuples cannot pick the buckets. Worker cores only.

pub use fedgate_wire::Tuple as Key;
pub use fedgate_wire::plain::Packed;
pub use fedgate_wire::proto::{ICMP, TCP, UDP};

/// Seeded 64-bit hash; the top 16 bits serve as tag, the rest picks buckets.
#[inline]
pub fn hash(key: &Key, seed: u64) -> u64 {
    hash_packed(&key.pack(), seed)
}

/// [`hash`] of a key in the order of the wire.
#[inline(always)]
pub fn hash_packed(key: &Packed, seed: u64) -> u64 {
    let rest = u64::from(key.ports) << 8 | u64::from(key.proto);
    fold(key.addrs ^ seed, fold(rest ^ seed.rotate_left(32), 0x9e37_79b9_7f4a_7c15))
}

/// High and low halves of the 128-bit product, xored.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let p = u128::from(a) * u128::from(b | 1);
    (p as u64) ^ ((p >> 64) as u64)
}
