// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alignments keep order and lose no more than the edits ask for.

use crate::diff::{GONE, align};
use proptest::prelude::*;

/// Length of the longest common subsequence, the slow way.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut corner = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { corner + 1 } else { above.max(row[j]) };
            corner = above;
        }
    }
    row[b.len()]
}

proptest! {
    #[test]
    fn as_many_stay_as_can(
        a in prop::collection::vec(0u8..6, 0..40),
        b in prop::collection::vec(0u8..6, 0..40),
        limit in 0usize..80,
    ) {
        let stay = common(&a, &b);
        let edits = a.len() + b.len() - 2 * stay;
        match align(&a, &b, |x, y| x == y, limit) {
            None => prop_assert!(edits > limit, "{edits} edits within {limit}"),
            Some(places) => {
                prop_assert_eq!(places.len(), a.len());
                let kept: Vec<(usize, u32)> =
                    places.iter().copied().enumerate().filter(|&(_, p)| p != GONE).collect();
                prop_assert_eq!(kept.len(), stay);
                prop_assert!(kept.windows(2).all(|w| w[0].1 < w[1].1));
                prop_assert!(kept.iter().all(|&(i, p)| a[i] == b[p as usize]));
            }
        }
    }
}

#[test]
fn repetitive_lists_are_given_up_in_time() {
    // Nothing but repeats, shifted: every diagonal is one long snake.
    let a: Vec<u8> = (0..40_000).map(|i| (i % 2) as u8).collect();
    let mut b = a.clone();
    b.drain(10_000..10_333);
    b.insert(30_000, 9);
    let began = std::time::Instant::now();
    if let Some(places) = align(&a, &b, |x, y| x == y, 1024) {
        assert_eq!(places.len(), a.len());
    }
    assert!(began.elapsed().as_secs() < 2);
}
