// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which bits to cut a set of rules on.
//!
//! Every run of neighbouring bits of every header word is a candidate, at a few widths. Its cost for a packet, in cycles more or
//! less: one step, then what is left to search in the child, then in the rest. Children are judged by a sample of the
//! rules: the chance that two of them fall into one child tells how large the child is that a packet of
//! such rules meets, whether the bits are evenly spread (low address bits) or not (leading ones). Housekeeping thread.

use crate::classifier::{Field, MAX_BITS};

/// Rules looked at for each candidate.
const SAMPLE: usize = 384;
/// Walking one entry, with its share of a cache miss.
const STEP: f32 = 14.0;
/// Comparing one rule.
const COMPARE: f32 = 5.0;
/// Touching a run.
const RUN: f32 = 10.0;

/// Most children for each rule that goes into them.
const SPARSE: f32 = 3.0;
/// Searching `k` times the rules costs `k` to the power of this. It weighs a rest against larger children.
const GROWTH: f32 = 0.3;

/// A word of a rule: (value, mask).
pub(crate) type Ternary = (u32, u32);

/// Cycles to search `n` rules that are not cut yet.
fn search(n: f32) -> f32 {
    if n < 0.5 {
        0.0
    } else if n <= 4.0 {
        leaf(n)
    } else {
        leaf(4.0) * (n / 4.0).powf(GROWTH)
    }
}

/// Cycles to compare `n` rules one after the other.
fn leaf(n: f32) -> f32 {
    RUN + COMPARE * n
}

/// Scratch of [`Chooser::choose`].
pub(crate) struct Chooser {
    counts: Vec<u16>,
    sample: Vec<u32>,
}

impl Chooser {
    /// Its memory is used again by every call.
    pub fn new() -> Self {
        Self { counts: vec![0; 1 << MAX_BITS], sample: Vec::new() }
    }

    /// The best field, where one is better than comparing all. `ternary` holds `words` words a rule; `path` the bits that are known already.
    pub fn choose(
        &mut self,
        list: &[u32],
        ternary: &[Ternary],
        words: usize,
        path: &[Ternary],
    ) -> Option<Field> {
        let n = list.len();
        self.sample.clear();
        let wanted = n.min(SAMPLE);
        self.sample.extend((0..wanted).map(|i| list[i * n / wanted]));
        let full = (usize::BITS - (n - 1).leading_zeros()).clamp(1, MAX_BITS);
        let mut widths = [full, full.saturating_sub(2), full * 2 / 3, full / 2, full / 3, 1];
        widths.sort_unstable_by(|a, b| b.cmp(a));
        let (mut best, mut least) = (None, leaf(n as f32));
        for (word, &(_, known)) in path.iter().enumerate().take(words) {
            // Bits that some rule of the sample knows and the path does not.
            let mut some = 0;
            for &r in &self.sample {
                some |= ternary[r as usize * words + word].1;
            }
            some &= !known;
            if some == 0 {
                continue;
            }
            let mut last = 0;
            for bits in widths {
                if bits == 0 || bits == last {
                    continue;
                }
                last = bits;
                for shift in 0..=32 - bits {
                    let field = Field { word: word as u32, shift, bits };
                    if field.mask() & some != field.mask() {
                        continue;
                    }
                    let cost = self.cost(field, n, ternary, words);
                    if cost < least {
                        (best, least) = (Some(field), cost);
                    }
                }
            }
        }
        best
    }

    fn cost(&mut self, field: Field, n: usize, ternary: &[Ternary], words: usize) -> f32 {
        let (mask, word) = (field.mask(), field.word as usize);
        let (mut knowing, mut pairs) = (0u32, 0u32);
        for &r in &self.sample {
            let (value, known) = ternary[r as usize * words + word];
            if known & mask == mask {
                let count = &mut self.counts[((value & mask) >> field.shift) as usize];
                knowing += 1;
                pairs += u32::from(*count);
                *count += 1;
            }
        }
        for &r in &self.sample {
            let (value, known) = ternary[r as usize * words + word];
            if known & mask == mask {
                self.counts[((value & mask) >> field.shift) as usize] = 0;
            }
        }
        let sampled = self.sample.len() as u32;
        let possible = u64::from(knowing) * u64::from(knowing.saturating_sub(1)) / 2;
        let inside = n as f32 * knowing as f32 / sampled as f32;
        if (1 << field.bits) as f32 > SPARSE * inside || (knowing == sampled && u64::from(pairs) == possible)
        {
            return f32::INFINITY; // Mostly empty children, or one.
        }
        let clash = if possible > 0 { pairs as f32 / possible as f32 } else { 1.0 };
        let child = 1.0 + (inside - 1.0).max(0.0) * clash;
        STEP + search(child) + search(n as f32 - inside)
    }
}
