// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scoreboard beside one that asks RFC 6675's questions number by number.

use super::*;
use proptest::prelude::*;

/// Numbers under way.
const FLIGHT: usize = 400;
const SEGMENT: u16 = 10;

/// Which numbers are held, from the oldest unacknowledged on.
struct Slow(Vec<bool>);

impl Slow {
    fn runs_above(&self, n: usize) -> usize {
        (n + 1..self.0.len()).filter(|i| self.0[*i] && !self.0[i - 1]).count()
    }

    fn is_lost(&self, n: usize) -> bool {
        let bytes = self.0[n + 1..].iter().filter(|held| **held).count();
        self.runs_above(n) >= DUPLICATES || bytes > (DUPLICATES - 1) * usize::from(SEGMENT)
    }

    fn pipe(&self, again: usize) -> usize {
        let open = (0..self.0.len()).filter(|n| !self.0[*n]);
        open.map(|n| usize::from(!self.is_lost(n)) + usize::from(n < again)).sum()
    }
}

proptest! {
    #[test]
    fn answers_are_those_of_single_numbers(
        una: u32,
        blocks in prop::collection::vec((0..FLIGHT, 0..60usize), 0..30),
        acked in 0..FLIGHT,
        again in 0..FLIGHT,
    ) {
        let at = |n: usize| una.wrapping_add(n as u32);
        let max = at(FLIGHT);
        let (mut board, mut slow) = (Board::default(), Slow(vec![false; FLIGHT]));
        for (from, len) in blocks {
            let valid = from > 0 && len > 0 && from + len <= FLIGHT;
            let news = valid && slow.0[from..from + len].iter().any(|held| !held);
            prop_assert_eq!(board.note(una, max, (at(from), at(from + len))), news);
            if valid {
                slow.0[from..from + len].fill(true);
            }
        }
        let ask = |board: &Board, slow: &Slow, una: u32| {
            let at = |n: usize| una.wrapping_add(n as u32);
            let len = slow.0.len();
            let open = |n: &usize| !slow.0[*n];
            let again = again.min(len);
            let lost = board.lost_below(una, SEGMENT);
            for n in (0..len).filter(open) {
                prop_assert_eq!(n < lost.wrapping_sub(una) as usize, slow.is_lost(n), "lost {}", n);
            }
            prop_assert_eq!(board.pipe(una, max, lost, at(again)) as usize, slow.pipe(again));
            let last = (0..len).rev().find(|n| slow.0[*n]);
            let hole = (again..last.unwrap_or(0)).find(open).map(|from| {
                (at(from), at((from..len).find(|n| slow.0[*n]).unwrap_or(len)))
            });
            prop_assert_eq!(board.hole(una, at(again)), hole);
            for n in 0..len {
                let held = slow.0[n].then(|| at((n..len).find(open).unwrap_or(len)));
                prop_assert_eq!(board.held_until(una, at(n)), held);
                if !slow.0[n] {
                    prop_assert_eq!(board.next_held(una, at(n)), (n..len).find(|n| slow.0[*n]).map(at));
                }
            }
            prop_assert_eq!(board.held_before(una, at(again)) as usize, slow.0[..again].iter().filter(|h| **h).count());
            Ok(())
        };
        ask(&board, &slow, una)?;
        board.advance(at(acked));
        slow.0.drain(..acked);
        ask(&board, &slow, at(acked))?;
    }

    /// Whatever a peer makes of its blocks.
    #[test]
    fn memory_is_bounded(una: u32, blocks in prop::collection::vec((any::<u32>(), any::<u32>()), 0..200)) {
        let mut board = Board::default();
        let max = una.wrapping_add(1 << 17);
        for (from, len) in blocks {
            let from = una.wrapping_add(from >> 15);
            board.note(una, max, (from, from.wrapping_add(len >> 24)));
            prop_assert!(board.ranges.len() <= RANGES && board.held() <= 2 * RANGES * 8);
            prop_assert!(board.ranges.is_sorted_by(|a, b| a.1.wrapping_sub(una) < b.0.wrapping_sub(una)));
        }
    }
}
