// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of targets against what RFC 2782 says of it, and the tallies against a slow count.

use super::*;
use proptest::prelude::*;

fn target(n: u8, priority: u16, weight: u16) -> Target {
    Target { priority, weight, addr: Ipv4Addr::new(198, 51, 100, n), port: 5061 }
}

proptest! {
    /// Every target once, priorities ascending, whatever the weights.
    #[test]
    fn an_order_is_a_permutation_by_priority(
        parts in prop::collection::vec((0u16..4, prop_oneof![Just(0u16), Just(u16::MAX), any::<u16>()]), 0..12),
        seed: u64,
    ) {
        let targets: Vec<Target> = (0u8..).zip(&parts).map(|(n, (p, w))| target(n, *p, *w)).collect();
        let ordered = order(&targets, seed);
        prop_assert!(ordered.is_sorted_by_key(|target| target.priority));
        let (mut a, mut b) = (ordered, targets);
        a.sort();
        b.sort();
        prop_assert_eq!(a, b);
    }

    /// The bucket lets through no more in any time than its burst and what the time brings, and what releases no more than twice that burst.
    #[test]
    fn a_rate_is_kept(
        rate in 1u32..50, burst in 1u32..20,
        steps in prop::collection::vec((0u64..400_000, any::<bool>()), 1..300),
    ) {
        let (mut tally, mut now, mut plain, mut all) = (Tally::default(), 1_000, 0u64, 0u64);
        for (pause, releases) in steps {
            now += pause;
            let passed = tally.pass(7, Rate { rate, burst }, releases, now, 1);
            plain += u64::from(passed && !releases);
            all += u64::from(passed);
            let brought = (now - 1_000) * u64::from(rate) / 1_000_000;
            prop_assert!(plain <= u64::from(burst) + brought);
            prop_assert!(all <= 2 * u64::from(burst) + brought);
        }
    }
}

#[test]
fn weights_are_shares() {
    let targets = [target(1, 10, 60), target(2, 10, 30), target(3, 10, 10), target(4, 20, 0)];
    let mut first = [0u32; 5];
    for seed in 0..20_000u64 {
        let ordered = order(&targets, seed * 77);
        first[usize::from(ordered[0].addr.octets()[3])] += 1;
        assert_eq!(ordered[3], targets[3]);
    }
    for (n, share) in [(1, 0.6), (2, 0.3), (3, 0.1)] {
        let found = f64::from(first[n]) / 20_000.0;
        assert!((found - share).abs() < 0.02, "{n}: {found}");
    }
}

/// RFC 2782: "in the presence of records containing weights greater than 0, records with weight 0 should have a very small chance".
#[test]
fn weight_nought_is_not_never() {
    let targets = [target(1, 0, 0), target(2, 0, 9)];
    let chosen = (0..10_000u64).filter(|seed| order(&targets, *seed)[0] == targets[0]).count();
    assert!((500..2_000).contains(&chosen), "{chosen}");
}

#[test]
fn a_rate_is_shared_and_recovers() {
    let mut tally = Tally::default();
    let rate = Rate { rate: 10, burst: 4 };
    // Two workers: two at once, five a second.
    assert!((0..2).all(|_| tally.pass(1, rate, false, 5, 2)));
    assert!(!tally.pass(1, rate, false, 5, 2));
    assert!(tally.pass(1, rate, true, 5, 2), "a BYE is not refused for what others sent");
    assert!(tally.pass(2, rate, false, 5, 2), "another domain");
    assert!(!tally.pass(1, rate, false, 200_005, 2), "what was overdrawn is paid back first");
    assert!(tally.pass(1, rate, false, 400_005, 2));
}

#[test]
fn connections_are_counted() {
    let mut tally = Tally::default();
    assert!(tally.begin(1, 2, 1) && tally.begin(1, 2, 1) && !tally.begin(1, 2, 1) && tally.begin(2, 2, 1));
    tally.end(1);
    assert!(tally.begin(1, 2, 1));
    (0..5).for_each(|_| tally.end(1));
    assert_eq!((tally.sessions(1), tally.sessions(2)), (0, 1));
}

#[test]
fn what_is_not_said_is_as_the_default_says() {
    let rate = Rate { rate: 5, burst: 5 };
    let default = Bounds { rate: Some(rate), sessions: Some(9) };
    let own = Partner { targets: vec![target(1, 0, 0)], bounds: Bounds { rate: None, sessions: Some(2) } };
    let spec = PartnersSpec { default, partners: vec![("a.example".into(), own)] };
    let text = serde_json::to_string(&spec).unwrap();
    let partners = Partners::new(serde_json::from_str(&text).unwrap());
    assert_eq!(partners.bounds("a.example"), Bounds { rate: Some(rate), sessions: Some(2) });
    assert_eq!(partners.bounds("b.example"), default);
    assert_eq!((partners.targets("a.example").len(), partners.targets("b.example").len()), (1, 0));
}
