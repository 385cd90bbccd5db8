// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log-linear buckets by hdrhistogram's scheme, two significant digits, over the counters' plain words.
//!
//! Values below 256 have a bucket each; above, every doubling has 128, so a value is known to better than 1 %.
//! hdrhistogram itself cannot live in shared memory; its scheme can, and the buckets fill an
//! `hdrhistogram::Histogram` with the very same equivalence classes ([`HistoValues::hdr`]), which then does the
//! quantiles. 33 doublings of 128 and the first 128: 34 KiB a histogram and block, bounded whatever is observed.

use hdrhistogram::Histogram;

/// log2 of the values that have a bucket each.
const EXACT_BITS: u32 = 8;
const HALF: usize = 1 << (EXACT_BITS - 1);
/// log2 of the first value that is out of range.
const RANGE_BITS: u32 = 40;
/// Largest value told apart: 2^40 - 1, 18 minutes in ns. Greater ones count as this.
pub const HISTO_MAX: u64 = (1 << RANGE_BITS) - 1;
/// Buckets of one histogram.
pub const HISTO_BUCKETS: usize = (RANGE_BITS - EXACT_BITS + 2) as usize * HALF;
/// hdrhistogram's precision with 256 exact values.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The bucket that counts `value`.
#[inline]
pub(super) fn bucket_of(value: u64) -> usize {
    let value = value.min(HISTO_MAX);
    // How far the value must be shifted to have at most EXACT_BITS bits.
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(EXACT_BITS);
    shift as usize * HALF + (value >> shift) as usize
}

/// The smallest value that a bucket counts.
pub(super) fn value_of(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    ((bucket - shift * HALF) as u64) << shift
}

/// The counts of a histogram at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoValues {
    counts: Vec<u64>,
}

impl HistoValues {
    pub(super) fn new(counts: impl Iterator<Item = u64>) -> Self {
        Self { counts: counts.collect() }
    }

    /// Buckets that are not empty: smallest value and count, rising.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().filter(|&(_, &n)| n != 0).map(|(bucket, &n)| (value_of(bucket), n))
    }

    /// What was observed since `before`, of the same histogram.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.counts.iter().zip(&before.counts);
        Self::new(pairs.map(|(now, then)| now.saturating_sub(*then)))
    }

    /// How many values were observed.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// The same as a histogram of hdrhistogram.
    pub fn hdr(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, HISTO_MAX, SIGNIFICANT_DIGITS)
            .expect("constant bounds that hdrhistogram accepts");
        for (value, count) in self.buckets() {
            histogram.saturating_record_n(value, count);
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn observed(values: &[u64]) -> HistoValues {
        let mut counts = vec![0; HISTO_BUCKETS];
        values.iter().for_each(|&value| counts[bucket_of(value)] += 1);
        HistoValues { counts }
    }

    #[test]
    fn buckets_are_contiguous_and_end_at_the_maximum() {
        for bucket in 0..HISTO_BUCKETS {
            assert_eq!(bucket_of(value_of(bucket)), bucket);
            if bucket > 0 {
                assert_eq!(bucket_of(value_of(bucket) - 1), bucket - 1);
            }
        }
        assert_eq!(bucket_of(HISTO_MAX), HISTO_BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), HISTO_BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn hdrhistogram_is_the_oracle(values in proptest::collection::vec((0u32..45, any::<u64>()), 1..50)) {
            let values: Vec<u64> = values.into_iter().map(|(bits, v)| v & ((1 << bits) - 1)).collect();
            let mut oracle = Histogram::<u64>::new_with_bounds(1, HISTO_MAX, SIGNIFICANT_DIGITS).unwrap();
            values.iter().for_each(|&value| oracle.saturating_record(value.min(HISTO_MAX)));
            let ours = observed(&values).hdr();
            prop_assert_eq!(ours.len(), values.len() as u64);
            for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(ours.value_at_quantile(quantile), oracle.value_at_quantile(quantile));
            }
            prop_assert_eq!(ours.mean(), oracle.mean());
        }
    }
}
