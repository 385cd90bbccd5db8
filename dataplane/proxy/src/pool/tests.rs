// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shares by weight, what moves when a pool changes, and whom nobody is sent to.

use super::*;
use fedgate_tables::policy::PoolMember;

fn member(n: u8, weight: u8) -> PoolMember {
    PoolMember { addr: Ipv4Addr::new(10, 0, 0, n), port: 5061, weight, drain: false }
}

fn spec(members: &[PoolMember]) -> PoolSpec {
    PoolSpec { name: "p".into(), members: members.to_vec(), check: None }
}

fn pool(members: &[PoolMember]) -> Pool {
    let pool = Pool::new("p", 1);
    pool.follow(&spec(members));
    pool
}

fn calls(n: usize) -> Vec<Call> {
    let homes = Homes::new(1);
    (0..n).map(|n| homes.call(&format!("{n}@edge.foreign.example"))).collect()
}

fn chosen(pool: &Pool, call: Call) -> Option<u32> {
    pool.choose(call, 0, Micros(1)).map(|it| it.addr.0 & 0xff)
}

#[test]
fn shares_are_by_weight() {
    let weights = [1u8, 2, 5, 8];
    let members: Vec<_> = (1..).zip(weights).map(|(n, weight)| member(n, weight)).collect();
    let pool = pool(&members);
    let all = 16_000;
    let mut counts = [0u32; 4];
    for call in calls(all) {
        counts[chosen(&pool, call).unwrap() as usize - 1] += 1;
    }
    // Pearson's chi-square, three degrees of freedom: above 16.27 once in a thousand pools; the hash has no seed, so never or always.
    let chi: f64 = counts
        .iter()
        .zip(weights)
        .map(|(n, weight)| {
            let expected = all as f64 * f64::from(weight) / 16.0;
            (f64::from(*n) - expected).powi(2) / expected
        })
        .sum();
    assert!(chi < 16.27, "{counts:?}: {chi}");
}

#[test]
fn a_change_moves_no_more_than_it_must() {
    let pool = pool(&[member(1, 1), member(2, 1), member(3, 1)]);
    let calls = calls(3000);
    let before: Vec<_> = calls.iter().map(|call| chosen(&pool, *call)).collect();
    pool.follow(&spec(&[member(1, 1), member(3, 1), member(4, 1)]));
    for (call, before) in calls.iter().zip(&before) {
        let after = chosen(&pool, *call);
        assert!(after == *before || *before == Some(2) || after == Some(4));
    }
    pool.follow(&spec(&[member(3, 1), member(2, 1), member(1, 1)]));
    let again: Vec<_> = calls.iter().map(|call| chosen(&pool, *call)).collect();
    assert_eq!(again, before, "neither order nor places decide");
}

#[test]
fn who_is_down_or_drains_or_was_tried_gets_nothing() {
    let pool = pool(&[member(1, 1), PoolMember { drain: true, ..member(2, 200) }, member(3, 1)]);
    let calls = calls(200);
    let counts = |tried| {
        let mut counts = [0; 3];
        for call in &calls {
            if let Some(it) = pool.choose(*call, tried, Micros(1)) {
                counts[usize::from(it.place)] += 1;
            }
        }
        counts
    };
    let [a, b, c] = counts(0);
    assert!(a > 50 && b == 0 && c > 50);
    assert_eq!(counts(0b100), [200, 0, 0]);
    assert!(pool.found(0, false, Micros(9)) && !pool.found(0, false, Micros(10)));
    assert_eq!(pool.member(0).map(|it| (it.health, it.turned)), Some((Health::Down, Micros(9))));
    assert_eq!(counts(0), [0, 0, 200]);
    assert_eq!(counts(0b100), [0, 0, 0]);
    assert!(pool.found(0, true, Micros(11)));
    assert_eq!(counts(0), [a, b, c]);
    // One that failed is last, not out, for a while.
    pool.failed(2, Micros(1));
    assert_eq!(counts(0), [200, 0, 0]);
    assert_eq!(counts(0b001), [0, 0, 200]);
}

#[test]
fn a_member_keeps_its_place_and_health_through_policies() {
    let mut pools = Pools::new(2);
    assert!(pools.pooling(None).is_none());
    pools.follow(&[spec(&[member(1, 1), member(2, 1)])]);
    let of = pools.pooling(Some("p")).unwrap().pool.unwrap();
    of.found(1, false, Micros(5));
    pools.follow(&[spec(&[member(3, 1), PoolMember { drain: true, ..member(2, 7) }])]);
    assert!(Arc::ptr_eq(&of, &pools.pooling(Some("p")).unwrap().pool.unwrap()));
    let two = of.member(1).unwrap();
    assert_eq!((two.addr.0 & 0xff, two.weight, two.drain, two.health), (2, 7, true, Health::Down));
    let three = of.member(0).unwrap();
    assert_eq!((three.addr.0 & 0xff, three.health), (3, Health::Unchecked));
    assert!(pools.pooling(Some("q")).unwrap().pool.is_none());
}
