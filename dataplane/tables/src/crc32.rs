// SPDX-License-Identifier: MIT OR Apache-2.0
//! CRC-32 (IEEE 802.3), the checksum of a policy segment.
//!
//! It guards against a segment cut short or overwritten by mistake, not against an enemy: whoever can reach the
//! link socket is root. Any change confined to 32 adjacent bits is found. Eight bytes a step (slicing-by-8),
//! because a policy of 100,000 ACEs is checked by control and again by the housekeeping thread on every commit.
//! The bitwise definition in the tests is the oracle.

/// Reflected IEEE polynomial.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[k][b]`: what byte `b` contributes when `k` more bytes follow it in the same step.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        t[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let below = t[k - 1][byte];
            t[k][byte] = (below >> 8) ^ t[0][(below & 0xFF) as usize];
            byte += 1;
        }
        k += 1;
    }
    t
}

/// A checksum under way; feed it pieces in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    /// Before the first byte.
    pub(crate) fn new() -> Self {
        Self(u32::MAX)
    }

    /// Takes in the next bytes.
    pub(crate) fn update(mut self, bytes: &[u8]) -> Self {
        let mut steps = bytes.chunks_exact(8);
        for step in &mut steps {
            let low = self.0 ^ u32::from_le_bytes([step[0], step[1], step[2], step[3]]);
            self.0 = TABLES[7][(low & 0xFF) as usize]
                ^ TABLES[6][(low >> 8 & 0xFF) as usize]
                ^ TABLES[5][(low >> 16 & 0xFF) as usize]
                ^ TABLES[4][(low >> 24) as usize]
                ^ TABLES[3][step[4] as usize]
                ^ TABLES[2][step[5] as usize]
                ^ TABLES[1][step[6] as usize]
                ^ TABLES[0][step[7] as usize];
        }
        for &byte in steps.remainder() {
            self.0 = (self.0 >> 8) ^ TABLES[0][((self.0 ^ byte as u32) & 0xFF) as usize];
        }
        self
    }

    /// The checksum of all bytes taken in.
    pub(crate) fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bitwise(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            crc ^= byte as u32;
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            }
        }
        !crc
    }

    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(Crc32::new().update(b"123456789").finish(), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(Crc32::new().update(a).update(b).finish(), bitwise(&bytes));
        }
    }
}
