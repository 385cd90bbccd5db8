// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rule sets made to break cut trees: memory stays bounded and the answers right.

use super::model::agree;
use crate::testing::{Random, Shape, linear};
use crate::{Address, Classifier, Layered, Query, Rule};

fn check<A: Shape>(rules: Vec<Rule<A>>, packets: usize) -> Layered<A> {
    let tree = Classifier::new(&rules);
    assert!(tree.rules.len() <= 2 * rules.len(), "{} of {} rules", tree.rules.len(), rules.len());
    assert!(tree.bytes() <= 4096 + 256 * rules.len(), "{} bytes a rule", tree.bytes() / rules.len());
    let layered = Layered::new(rules.clone());
    agree(&layered, &rules, &mut Random::new(rules.len() as u64), packets);
    layered
}

#[test]
fn open_addresses_and_distinct_port_ranges() {
    let mut random = Random::new(1);
    let rules = (0..20_000)
        .map(|_| {
            let (a, b) = (random.bits() as u16, random.bits() as u16);
            let (c, d) = (random.bits() as u16, random.bits() as u16);
            Rule::<u32> { sport: [a.min(b), a.max(b)], dport: [c.min(d), c.max(d)], ..Rule::default() }
        })
        .collect();
    check(rules, 500);
}

#[test]
fn nested_prefixes() {
    let host = 0x0a01_0203u32;
    let rules = (0..20_000u32)
        .map(|i| {
            let (s, d) = (u32::prefix((i % 33) as u8), u32::prefix((i / 33 % 33) as u8));
            let port = (i / 1089) as u16;
            Rule {
                src: host & s,
                src_mask: s,
                dst: host & d,
                dst_mask: d,
                dport: [port, port],
                ..Rule::default()
            }
        })
        .rev()
        .collect();
    check(rules, 500);
}

#[test]
fn all_the_same() {
    let one = Rule::<u32> { dst: 0x0a00_0001, dst_mask: !0, proto: Some(6), ..Rule::default() };
    let mut rules = vec![one; 20_000];
    let layered = check(rules.clone(), 500);
    // The first one goes: one that it hid is next.
    rules[0].active = false;
    let q = Query { dst: one.dst, proto: 6, ..Query::default() };
    assert_eq!(layered.lookup(&q), Some(0));
    assert_eq!(layered.updated(rules).lookup(&q), Some(1));
}

#[test]
fn open_ipv6_and_every_protocol() {
    let rules = (0..4_000u32).map(|i| Rule::<u128> { proto: Some(i as u8), ..Rule::default() }).collect();
    check(rules, 500);
}

#[test]
fn a_covering_rule_in_the_middle_comes_and_goes() {
    let mut rules: Vec<Rule<u32>> = crate::testing::rules(5_000, 11);
    rules.insert(2_500, Rule::default());
    let mut layered = check(rules.clone(), 500);
    for active in [false, true, false, true] {
        rules[2_500].active = active;
        layered = layered.updated(rules.clone());
        agree(&layered, &rules, &mut Random::new(3), 500);
    }
    rules.remove(2_500);
    agree(&layered.updated(rules.clone()), &rules, &mut Random::new(4), 500);
}

#[test]
fn no_rules_match_nothing() {
    let layered = Layered::<u32>::new(Vec::new());
    assert_eq!(layered.lookup(&Query::default()), None);
    let rules = vec![Rule::default()];
    let layered = layered.updated(rules.clone());
    assert_eq!(layered.lookup(&Query::default()), linear(&rules, &Query::default()));
}
