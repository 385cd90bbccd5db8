// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rates, and what somebody who counts his own challenges can learn of another's.
use super::*;
use std::collections::BTreeSet;

#[test]
fn a_connection_has_its_own_rate() {
    let mut challenges = Challenges::new(1);
    let passed = |challenges: &mut Challenges, second: Tick| {
        (0..TICKS * 10).filter(|n| challenges.may_pass(Whose::v4(7), second * TICKS + n / 10)).count()
    };
    for second in 0..20 {
        assert_eq!(passed(&mut challenges, second), usize::from(EACH), "second {second}");
    }
}

/// The bound on all of them holds in every tick, and is not to be foreseen.
#[test]
fn all_share_a_bound_that_varies() {
    let mut challenges = Challenges::new(2);
    let mut seen = BTreeSet::new();
    for second in 0..200 {
        let tick = second * TICKS;
        let passed = (0..5000).filter(|n| challenges.may_pass(Whose::v4(*n), tick)).count() as u32;
        assert!((ALL[0]..=ALL[1]).contains(&passed), "{passed}");
        seen.insert(passed);
    }
    assert!(seen.len() > 50, "{seen:?}");
}

/// Two connections that share a bucket in one second seldom share one in the next, be they of one table or of two.
#[test]
fn neighbours_change() {
    let mut challenges = Challenges::new(3);
    let victim = Whose::v4(0);
    let mut together = 0;
    for second in 0..1000 {
        let tick = second * TICKS;
        for _ in 0..EACH {
            assert!(challenges.may_pass(Whose::v6(0), tick));
        }
        together += u32::from(!challenges.may_pass(victim, tick));
    }
    assert!((1..=20).contains(&together), "about one in {BUCKETS}: {together}");
}
