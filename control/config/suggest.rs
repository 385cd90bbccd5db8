// SPDX-License-Identifier: MIT OR Apache-2.0
//! "Did you mean": the nearest known word by edit distance. Used only on words that are already wrong, so it may be slow,
//! but both words are cut to a bound so that a long word of garbage costs nothing.

/// The candidate nearest to `word`, where it is near enough to be a slip of the fingers.
pub fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(33).flat_map(char::to_lowercase).collect();
    let limit = match word.len() {
        0..=2 => return None,
        3..=4 => 1,
        5..=32 => 2,
        _ => return None,
    };
    candidates
        .filter(|c| c.len() <= 64)
        .map(|c| (distance(&word, &c.chars().collect::<Vec<_>>()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Insertions, deletions, replacements, and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(ca != cb)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let words = ["access-list", "access-group", "hostname", "route"];
        assert_eq!(nearest("acess-list", words.into_iter()), Some("access-list"));
        assert_eq!(nearest("hsotname", words.into_iter()), Some("hostname"));
        assert_eq!(nearest("roue", words.into_iter()), Some("route"));
        assert_eq!(nearest("logging", words.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), words.into_iter()), None);
    }

    #[test]
    fn distance_counts_a_swap_once() {
        let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("nat", "nat"), 0);
        assert_eq!(d("nta", "nat"), 1);
        assert_eq!(d("kitten", "sitting"), 3);
    }
}
