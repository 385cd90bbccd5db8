// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table's hash: SipHash-1-3 over the name read from its end, keyed by the segment's seed.
//!
//! From the end, because a wildcard lookup needs the hash of every suffix that starts after a dot: fed the bytes
//! backwards, one pass gives them all, as the state can be finished at each dot without being spent. A forward hash
//! would cost 16,000 bytes of hashing for a hostile name of 127 labels. Keyed, because foreign peers choose the names that are looked up
//! and must not be able to aim them at one cluster. Checked against std's SipHash-1-3.

/// A hash under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuffixHasher {
    v: [u64; 4],
    /// Bytes not yet mixed in, first one lowest.
    tail: u64,
    len: u64,
}

impl SuffixHasher {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        let [k0, k1] = seed;
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, tail: 0, len: 0 }
    }

    /// Takes in the byte before those taken so far.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (8 * (self.len % 8));
        self.len += 1;
        if self.len.is_multiple_of(8) {
            mix(&mut self.v, self.tail);
            self.tail = 0;
        }
    }

    /// The hash of the bytes taken so far; more may be pushed after it. A name and the wildcard over it hash apart.
    #[inline]
    pub(super) fn finish(&self, wildcard: bool) -> u64 {
        let mut v = self.v;
        mix(&mut v, self.len << 56 | self.tail);
        v[2] ^= if wildcard { 0xEE } else { 0xFF };
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

/// The hash of a whole name.
pub(super) fn hash_name(seed: [u64; 2], name: &[u8], wildcard: bool) -> u64 {
    let mut hasher = SuffixHasher::new(seed);
    name.iter().rev().for_each(|&byte| hasher.push(byte));
    hasher.finish(wildcard)
}

#[inline]
fn mix(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::Hasher;

    proptest! {
        #[test]
        fn default_hasher_is_the_oracle(name in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut oracle = std::collections::hash_map::DefaultHasher::new();
            let backwards: Vec<u8> = name.iter().rev().copied().collect();
            oracle.write(&backwards);
            prop_assert_eq!(hash_name([0, 0], &name, false), oracle.finish());
        }

        #[test]
        fn every_suffix_in_one_pass(name in "[a-c.]{1,40}", k0: u64, k1: u64, wildcard: bool) {
            let mut hasher = SuffixHasher::new([k0, k1]);
            for start in (0..name.len()).rev() {
                hasher.push(name.as_bytes()[start]);
                prop_assert_eq!(hasher.finish(wildcard), hash_name([k0, k1], &name.as_bytes()[start..], wildcard));
            }
        }
    }

    #[test]
    fn key_and_wildcard_tell() {
        let name = b"foreign.example";
        assert_ne!(hash_name([1, 2], name, false), hash_name([1, 3], name, false));
        assert_ne!(hash_name([1, 2], name, false), hash_name([1, 2], name, true));
    }
}
