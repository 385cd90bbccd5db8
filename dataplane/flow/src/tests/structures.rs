// SPDX-License-Identifier: MIT OR Apache-2.0
//! Index against HashMap, wheel against a map of deadlines.

use crate::index::Index;
use crate::key::{self, Key, TCP, UDP};
use crate::wheel::Wheel;
use proptest::prelude::*;
use std::collections::HashMap;

proptest! {
    /// Any sequence of inserts, removes and finds answers as a map does, with hashes drawn from few values so
    /// that buckets collide and entries move.
    #[test]
    fn index_is_a_map(ops in prop::collection::vec((0u8..3, 0u32..60), 1..400), seed: u64) {
        let mut index = Index::new(40);
        let mut twin: HashMap<u32, u64> = HashMap::new();
        let hash = |v: u32| key::hash(&Key { src: v / 3, dst: 1, sport: 0, dport: 0, proto: UDP }, seed);
        for (op, v) in ops {
            match op {
                0 if !twin.contains_key(&v) => match index.insert(hash(v), v, hash) {
                    Ok(()) => { twin.insert(v, hash(v)); }
                    Err(_) => prop_assert!(twin.len() >= 20, "refused at {} of 50 slots", twin.len()),
                },
                1 => prop_assert_eq!(index.remove(hash(v), v), twin.remove(&v).is_some()),
                _ => {}
            }
            prop_assert_eq!(index.len(), twin.len());
            for w in 0..60 {
                prop_assert_eq!(index.find(hash(w), |x| x == w).is_some(), twin.contains_key(&w));
            }
        }
    }

    /// Timers fire in the tick of their deadline or the next, once, unless cancelled; far ones fire early at the
    /// wheel's end, as its header says.
    #[test]
    fn wheel_fires_what_is_due(ops in prop::collection::vec((0u32..20, 0u32..6000, any::<bool>(), 0u32..300), 1..300)) {
        let mut wheel = Wheel::new(20);
        let mut twin: HashMap<u32, u32> = HashMap::new();
        let mut now = 0u32;
        for (n, ahead, cancel, step) in ops {
            if cancel {
                wheel.cancel(n);
                twin.remove(&n);
            } else {
                wheel.set(n, now + ahead);
                twin.insert(n, now + ahead.clamp(1, 4095));
            }
            now += step;
            while let Some(fired) = wheel.due(now) {
                let deadline = twin.remove(&fired);
                prop_assert!(deadline.is_some_and(|d| d <= now), "{fired} fired at {now}, due {deadline:?}");
            }
            prop_assert!(twin.values().all(|&d| d > now), "late at {now}: {twin:?}");
        }
    }
}

#[test]
fn index_holds_its_promise_before_it_refuses() {
    let mut index = Index::new(100_000);
    let hash = |v: u32| key::hash(&Key { src: v, dst: 7, sport: 1, dport: 2, proto: TCP }, 99);
    for v in 0..100_000 {
        index.insert(hash(v), v, hash).unwrap_or_else(|_| panic!("full at {v}"));
    }
    assert!((0..100_000).all(|v| index.find(hash(v), |x| x == v) == Some(v)));
}

/// What never expires does not fire at every tick, even when the hand lags behind.
#[test]
fn wheel_leaves_the_far_future_alone() {
    let mut wheel = Wheel::new(4);
    wheel.set(0, 5 + u32::MAX / 4);
    assert!((1..100).all(|now| wheel.due(now).is_none()));
}
