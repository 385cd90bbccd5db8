// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the elements of a list went in its next version: Myers' greedy algorithm with a bound on the edits.
//!
//! E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986). What both lists begin and end with is
//! stepped over first, so an edit in one place costs one comparison an element. Lists that differ in more than the bound, or
//! that are so repetitive that the search would take long, are not aligned at all: the caller has another way then.

/// No place.
pub(crate) const GONE: u32 = u32::MAX;

/// For each element of `old` its place in `new`, or [`GONE`]; places grow. `None` with more than `limit` edits.
pub(crate) fn align<T>(
    old: &[T],
    new: &[T],
    same: impl Fn(&T, &T) -> bool,
    limit: usize,
) -> Option<Vec<u32>> {
    let head = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let middle = middle(a, b, same, limit)?;
    let shift = head as u32;
    let mut places: Vec<u32> = (0..shift).collect();
    places.extend(middle.into_iter().map(|p| if p == GONE { GONE } else { p + shift }));
    places.extend((new.len() - tail) as u32..new.len() as u32);
    Some(places)
}

fn middle<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool, limit: usize) -> Option<Vec<u32>> {
    if a.is_empty() || b.is_empty() {
        return (a.len() + b.len() <= limit).then(|| vec![GONE; a.len()]);
    }
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let (n, m) = (a.len() as isize, b.len() as isize);
    let limit = (limit as isize).min(n + m);
    // Comparisons that are left; edits in a list of distinct elements need a few each and one for every element.
    let mut patience = 8 * (a.len() + b.len()) + (limit * limit) as usize;
    // reach[k + limit]: how far into `a` the furthest path on diagonal k has come; a copy is kept of each round.
    let mut reach = vec![0isize; 2 * limit as usize + 3];
    let middle = limit + 1;
    let mut rounds: Vec<Vec<isize>> = Vec::new();
    for d in 0..=limit {
        for k in (-d..=d).step_by(2) {
            let down =
                k == -d || (k != d && reach[(middle + k - 1) as usize] < reach[(middle + k + 1) as usize]);
            let mut x =
                if down { reach[(middle + k + 1) as usize] } else { reach[(middle + k - 1) as usize] + 1 };
            let mut y = x - k;
            if x > n || y > m {
                // Off the grid: a path that can lead nowhere.
                reach[(middle + k) as usize] = x;
                continue;
            }
            let from = x;
            while x < n && y < m && same(&a[x as usize], &b[y as usize]) {
                (x, y) = (x + 1, y + 1);
            }
            patience = patience.checked_sub((x - from) as usize + 1)?;
            reach[(middle + k) as usize] = x;
            if x == n && y == m {
                return Some(trace(&rounds, d, n, m));
            }
        }
        rounds.push(reach[(middle - d) as usize..=(middle + d) as usize].to_vec());
    }
    None
}

/// Back from the end, round by round: the diagonal steps are the elements that stayed.
fn trace(rounds: &[Vec<isize>], edits: isize, n: isize, m: isize) -> Vec<u32> {
    let mut places = vec![GONE; n as usize];
    let (mut x, mut y) = (n, m);
    for d in (1..=edits).rev() {
        let before = |k: isize| rounds[(d - 1) as usize][(k + d - 1) as usize];
        let k = x - y;
        let down = k == -d || (k != d && before(k - 1) < before(k + 1));
        let (px, py) = if down {
            let px = before(k + 1);
            (px, px - k - 1)
        } else {
            let px = before(k - 1);
            (px, px - k + 1)
        };
        let from = if down { px } else { px + 1 };
        while x > from {
            (x, y) = (x - 1, y - 1);
            places[x as usize] = y as u32;
        }
        (x, y) = (px, py);
    }
    while x > 0 {
        (x, y) = (x - 1, y - 1);
        places[x as usize] = y as u32;
    }
    places
}
