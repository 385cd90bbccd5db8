// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places against a list of those who wait, a set.

use super::*;
use proptest::prelude::*;

#[test]
fn one_client_has_one_set() {
    let mut waiting = Waiting::new(3);
    let others: Vec<u128> = (1..=200).collect();
    for &other in &others {
        assert_eq!(waiting.put(other, Whose::v4(other as u32)), None, "far from full");
    }
    let displaced: Vec<Whose> = (0..1_000_000).filter_map(|n| waiting.put(0, Whose::v6(n))).collect();
    let gone = others.iter().filter(|other| displaced.contains(&Whose::v4(**other as u32))).count();
    assert!(gone < 20, "{gone} of 200");
    assert!(waiting.len() <= (WAYS + 200) as u32);
}

proptest! {
    #[test]
    fn the_longest_in_a_set_gives_way(
        seed: u64,
        steps in prop::collection::vec((0u32..5, 0u32..2, 0u32..4), 1..600),
    ) {
        let mut waiting = Waiting::new(seed);
        waiting.number = u32::MAX - 100; // comes round
        let mut sets: Vec<Vec<Whose>> = vec![Vec::new(); SETS];
        let mut there: Vec<(u128, Whose)> = Vec::new();
        for (n, (act, client, pick)) in (0u32..).zip(steps) {
            let client = u128::from(client);
            if act > 0 || there.is_empty() {
                let whose = if pick == 0 { Whose::v6(n) } else { Whose::v4(n) };
                let at = (waiting.set(client).as_ptr() as usize - waiting.places.as_ptr() as usize)
                    / size_of::<Place>()
                    / WAYS;
                let set = &mut sets[at];
                let left = (set.len() == WAYS).then(|| set.remove(0));
                set.push(whose);
                prop_assert_eq!(waiting.put(client, whose), left);
                there.push((client, whose));
            } else {
                // Some have been displaced: nothing is freed for those.
                let (client, whose) = there.swap_remove((n * 31 + pick) as usize % there.len());
                sets.iter_mut().for_each(|set| set.retain(|other| *other != whose));
                waiting.leave(client, whose);
            }
            prop_assert_eq!(waiting.len() as usize, sets.iter().map(Vec::len).sum::<usize>());
        }
    }
}
