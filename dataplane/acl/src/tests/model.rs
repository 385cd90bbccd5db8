// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random rule sets and edits, both address families, against the linear model.

use crate::testing::{self, Random, Shape, linear};
use crate::{Classifier, Layered, Query, Rule, Scratch};
use proptest::prelude::*;

/// Single lookups and bursts say what the model says.
pub(super) fn agree<A: Shape>(layered: &Layered<A>, rules: &[Rule<A>], random: &mut Random, packets: usize) {
    let queries: Vec<Query<A>> = (0..packets).map(|_| testing::query(random, rules)).collect();
    let mut burst = vec![None; queries.len()];
    layered.lookup_burst(&queries, &mut burst, &mut Scratch::default(), |_| ());
    for (q, burst) in queries.iter().zip(burst) {
        let want = linear(rules, q);
        assert_eq!(layered.lookup(q), want, "{q:?}: {:?}", want.map(|i| rules[i as usize]));
        assert_eq!(burst, want, "{q:?} in a burst");
    }
}

fn edit<A: Shape>(rules: &mut Vec<Rule<A>>, random: &mut Random) {
    let at = random.below(rules.len() + 1);
    match random.below(if rules.is_empty() { 1 } else { 6 }) {
        0 => rules.insert(at, testing::rule(random, 4)),
        1 => rules.insert(at, Rule::default()),
        2 => drop(rules.remove(at.min(rules.len() - 1))),
        3 => {
            let i = at.min(rules.len() - 1);
            rules[i].dport = [random.bits() as u16; 2];
        }
        4 => {
            let i = at.min(rules.len() - 1);
            rules[i].active ^= true;
        }
        _ => {
            let (a, b) = (random.below(rules.len()), random.below(rules.len()));
            rules.swap(a, b);
        }
    }
}

/// Versions follow each other; each is right, and the one before still is.
fn edits<A: Shape>(seed: u64, n: usize, rounds: usize) {
    let mut random = Random::new(seed);
    let mut rules: Vec<Rule<A>> = testing::rules(n, seed);
    for rule in &mut rules {
        rule.active = !random.chance(3);
    }
    let mut layered = Layered::new(rules.clone());
    agree(&layered, &rules, &mut random, 40);
    for _ in 0..rounds {
        let before = (layered.clone(), rules.clone());
        for _ in 0..=random.below(3) {
            edit(&mut rules, &mut random);
        }
        layered = layered.updated(rules.clone());
        agree(&layered, &rules, &mut random, 40);
        agree(&before.0, &before.1, &mut random, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn edits_of_ipv4(seed: u64, n in 0usize..400, rounds in 1usize..40) {
        edits::<u32>(seed, n, rounds);
    }

    #[test]
    fn edits_of_ipv6(seed: u64, n in 0usize..400, rounds in 1usize..40) {
        edits::<u128>(seed, n, rounds);
    }
}

/// Few bits, so that everything overlaps everything: masks with holes, stray bits, empty ranges, covering rules.
fn dense(random: &mut Random) -> Rule<u32> {
    let few = |random: &mut Random| (random.bits() & random.bits() & 0x8000_0103) as u32;
    let mask = |random: &mut Random| if random.chance(30) { 0 } else { random.bits() as u32 & 0x8000_0103 };
    let range = |random: &mut Random| {
        let (a, b) = (random.below(12) as u16, random.below(12) as u16);
        if random.chance(40) {
            [0, u16::MAX]
        } else if random.chance(95) {
            [a.min(b), a.max(b)]
        } else {
            [a, b]
        }
    };
    let (src_mask, dst_mask) = (mask(random), mask(random));
    let stray = if random.chance(3) { !0 } else { 0 };
    Rule {
        src: few(random) & (src_mask | stray),
        src_mask,
        dst: few(random) & (dst_mask | stray),
        dst_mask,
        sport: range(random),
        dport: range(random),
        proto: random.chance(50).then(|| 6 + random.below(2) as u8),
        active: !random.chance(10),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn everything_overlaps(seed: u64, n in 0usize..300, keep in 0usize..40) {
        let mut random = Random::new(seed);
        let mut rules: Vec<Rule<u32>> = (0..n).map(|_| dense(&mut random)).collect();
        let mut layered = Layered::new(rules.clone());
        let mut scratch = Scratch::default();
        for round in 0..4 {
            let queries: Vec<Query<u32>> = (0..200)
                .map(|_| Query {
                    src: random.bits() as u32 & 0x8000_0103,
                    dst: random.bits() as u32 & 0x8000_0103,
                    sport: random.below(13) as u16,
                    dport: random.below(13) as u16,
                    proto: 6 + random.below(3) as u8,
                })
                .collect();
            let mut burst = vec![None; queries.len()];
            layered.lookup_burst(&queries, &mut burst, &mut scratch, |_| ());
            for (q, burst) in queries.iter().zip(burst) {
                prop_assert_eq!(layered.lookup(q), linear(&rules, q), "round {}: {:?}", round, q);
                prop_assert_eq!(burst, linear(&rules, q), "round {}, in a burst: {:?}", round, q);
            }
            for _ in 0..keep.min(rules.len()) {
                match random.below(3) {
                    0 => { let i = random.below(rules.len()); rules[i].active ^= true; }
                    1 => { let i = random.below(rules.len()); rules[i] = dense(&mut random); }
                    _ => { let i = random.below(rules.len() + 1); rules.insert(i, dense(&mut random)); }
                }
            }
            layered = layered.updated(rules.clone());
        }
    }
}

/// So many ways down that a burst's lists overflow: every rule leaves all but one bit of each address open, and its ports (which a tree cannot cut
/// on) match only every other packet.
#[test]
fn paths_beyond_measure_are_searched_for_alone() {
    let mut random = Random::new(31);
    let rules: Vec<Rule<u32>> = (0..4096)
        .map(|_| {
            let (src_mask, dst_mask) = (1 << random.below(32), 1 << random.below(32));
            let (src, dst) = (random.bits() as u32 & src_mask, random.bits() as u32 & dst_mask);
            Rule { src, src_mask, dst, dst_mask, dport: [1, 65_534], ..Rule::default() }
        })
        .collect();
    let layered = Layered::new(rules.clone());
    let queries: Vec<Query<u32>> = (0..640)
        .map(|n| {
            let (src, dst) = (random.bits() as u32, random.bits() as u32);
            Query { src, dst, sport: 5, dport: n % 2, proto: 6 }
        })
        .collect();
    let mut found = vec![None; queries.len()];
    layered.lookup_burst(&queries, &mut found, &mut Scratch::default(), |_| ());
    for (q, found) in queries.iter().zip(found) {
        assert_eq!(found, linear(&rules, q), "{q:?}");
    }
}

#[test]
fn large_sets_agree_with_the_model() {
    let v4: Vec<Rule<u32>> = testing::rules(20_000, 1);
    agree(&Layered::new(v4.clone()), &v4, &mut Random::new(2), 4_000);
    let v6: Vec<Rule<u128>> = testing::rules(10_000, 3);
    agree(&Layered::new(v6.clone()), &v6, &mut Random::new(4), 4_000);
}

#[test]
fn one_edit_of_a_large_set_shares_the_base() {
    let mut rules: Vec<Rule<u32>> = testing::rules(20_000, 5);
    let layered = Layered::new(rules.clone());
    rules.insert(10_000, Rule { dst: 0x0102_0304, dst_mask: !0, ..Rule::default() });
    rules.remove(3);
    rules[19_000].active = false;
    let edited = layered.updated(rules.clone());
    assert!(edited.shares_base(&layered));
    assert_eq!(edited.edits(), (2, 1));
    agree(&edited, &rules, &mut Random::new(6), 2_000);
    // And back again: nothing is left of the edits.
    let back = edited.updated(testing::rules(20_000, 5));
    assert!(back.shares_base(&layered));
    assert_eq!(back.edits(), (0, 0));
}

#[test]
fn many_edits_build_a_new_base() {
    let rules: Vec<Rule<u32>> = testing::rules(3_000, 7);
    let layered = Layered::new(rules.clone());
    let others: Vec<Rule<u32>> = testing::rules(3_000, 8);
    let changed = layered.updated(others.clone());
    assert!(!changed.shares_base(&layered));
    assert_eq!(changed.edits(), (0, 0));
    agree(&changed, &others, &mut Random::new(9), 1_000);
}

#[test]
fn memory_is_bounded_by_the_number_of_rules() {
    for seed in 0..4 {
        let rules: Vec<Rule<u32>> = testing::rules(10_000, seed);
        let tree = Classifier::new(&rules);
        assert!(tree.rules.len() <= 2 * rules.len());
        assert!(tree.bytes() < 160 * rules.len(), "{} bytes a rule", tree.bytes() / rules.len());
    }
}
