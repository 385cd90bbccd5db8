// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cookies against a list of those that were given out, and against guesses.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn asker(n: u8) -> Asker {
    let bit = |at: u8| u32::from(n >> at & 1);
    Asker {
        src: 0xffff_0a00_0001 + u128::from(bit(0)),
        dst: 0xffff_c633_6403 + u128::from(bit(1)),
        sport: 40_000 + bit(2) as u16,
        dport: 80 + bit(3) as u16,
        in_if: bit(4) as u8,
        isn: 7 + bit(5),
    }
}

proptest! {
    /// Good is what was made for this very SYN in this period or the one before, and nothing else.
    #[test]
    fn good_ones_are_those_on_the_list(ops in prop::collection::vec((0u8..64, 0u16..1600, 0u32..3, any::<u32>()), 1..60)) {
        let mut cookies = Cookies::new();
        let mut list: HashSet<(u8, u32, u32)> = HashSet::new();
        let mut now = 1000 * PERIOD;
        for (n, mss, periods, other) in ops {
            now += periods * PERIOD + other % 5;
            if other % 3 != 0 {
                let cookie = cookies.make(&asker(n), mss, now);
                list.insert((n, cookie, now / PERIOD));
                let fits = MSS.iter().copied().filter(|known| *known <= mss).max().unwrap_or(MSS[0]);
                prop_assert_eq!(mss_of(cookie), fits);
            }
            let good = |n: u8, cookie: u32| (0..=1).any(|ago| list.contains(&(n, cookie, now / PERIOD - ago)));
            for &(of, cookie, _) in &list {
                for (n, cookie) in [(of, cookie), (n, cookie), (of, cookie ^ 1), (of, cookie ^ 1 << (other % 32))] {
                    prop_assert_eq!(cookies.is_good(&asker(n), cookie, now), good(n, cookie));
                }
            }
            prop_assert!(list.iter().all(|(_, _, at)| now / PERIOD - at > 1) || cookies.is_out(now));
        }
    }
}

/// Two of 65,536 guesses are right once in ten million runs.
#[test]
fn guesses_are_refused() {
    let mut cookies = Cookies::new();
    let mut rng = crate::Rng::new(9);
    assert!(!cookies.is_out(5), "at rest no ACK is looked at");
    cookies.make(&asker(0), 1460, 5);
    let right = (0..1 << 16).filter(|_| cookies.is_good(&asker(1), (rng.next() >> 32) as u32, 5)).count();
    assert!(right <= 1, "{right}");
    assert!(!cookies.is_out(5 + 2 * PERIOD));
}

/// Another worker's, or another run's, is worth nothing.
#[test]
fn keys_differ() {
    let (mut one, mut other) = (Cookies::new(), Cookies::new());
    let made: Vec<u32> = (0..64).map(|n| one.make(&asker(n), 1460, 0)).collect();
    assert!((0..64).filter(|n| other.make(&asker(*n), 1460, 0) == made[usize::from(*n)]).count() <= 1);
    let distinct: HashSet<u32> = made.iter().copied().collect();
    assert!(distinct.len() >= 63, "every part of the tuple counts");
}
