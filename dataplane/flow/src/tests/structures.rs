// SPDX-License-Identifier: MIT OR Apache-2.0
//! Index against HashMap, port bitmap against a set, wheel against a map of deadlines.

use crate::Rng;
use crate::index::Index;
use crate::key::{self, Key, TCP, UDP};
use crate::ports::{BANDS, Ports, Share};
use crate::wheel::Wheel;
use crate::xlate::{Made, Xlates};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

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

    /// A picked port is free, of the band, the wanted one where it can be, of its parity where one is free.
    #[test]
    fn ports_follow_the_rules(wanted in prop::collection::vec(any::<u16>(), 1..600), seed: u64) {
        let (mut ports, mut rng) = (Ports::new(Share::WHOLE), Rng::new(seed));
        let mut twin = BTreeSet::from([0u16]);
        for want in wanted {
            let want = want % 700;
            let (low, high) = *BANDS.iter().find(|(a, b)| (*a..=*b).contains(&want)).unwrap();
            let free: BTreeSet<u16> = (low..=high).filter(|p| !twin.contains(p)).collect();
            match ports.pick(want, rng.next()) {
                None => prop_assert!(free.is_empty()),
                Some(port) => {
                    prop_assert!(free.contains(&port));
                    prop_assert!(port == want || !free.contains(&want));
                    prop_assert!(port & 1 == want & 1 || !free.iter().any(|p| p & 1 == want & 1));
                    twin.insert(port);
                }
            }
        }
        for port in &twin {
            if *port != 0 { ports.release(*port); }
            prop_assert_eq!(ports.is_taken(*port), *port == 0);
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

/// RFC 4787 REQ-1: one mapping whatever the destination; a second host that wants the same port gets another.
#[test]
fn xlates_are_endpoint_independent_and_distinct() {
    let (mut xlates, mut rng) = (Xlates::new(16, Share::WHOLE, 1), Rng::new(5));
    let key = |src, dst| Key { src, dst, sport: 4000, dport: 80, proto: TCP };
    let a = xlates.obtain(&key(1, 100), 1, 9, 0, 0, &mut rng).unwrap().0;
    assert_eq!(xlates.obtain(&key(1, 200), 1, 9, 0, 0, &mut rng), Ok((a, Made::Before)));
    let b = xlates.obtain(&key(2, 100), 1, 9, 0, 0, &mut rng).unwrap().0;
    let (a, b) = (*xlates.get(a).unwrap(), *xlates.get(b).unwrap());
    assert_eq!(a.mapped_port, 4000);
    assert_ne!(b.mapped_port, 4000);
    assert_eq!(b.mapped_port % 2, 0);
}

/// An xlate outlives its last connection by the timeout, not by less, and then its port is free again.
#[test]
fn xlates_expire_after_their_last_connection() {
    let (mut xlates, mut rng) = (Xlates::new(16, Share::WHOLE, 1), Rng::new(5));
    let key = Key { src: 1, dst: 2, sport: 4000, dport: 80, proto: UDP };
    let id = xlates.obtain(&key, 1, 9, 0, 0, &mut rng).unwrap().0;
    xlates.hold(id);
    assert_eq!(xlates.expire(10_000, 300, 100), 0);
    xlates.drop_hold(id, 10_000);
    assert_eq!(xlates.expire(10_299, 300, 100), 0);
    assert!(xlates.by_mapped(UDP, 9, 4000).is_some());
    assert_eq!(xlates.expire(10_300, 300, 100), 1);
    assert!(xlates.by_mapped(UDP, 9, 4000).is_none());
    let other = Key { src: 77, ..key };
    let id = xlates.obtain(&other, 1, 9, 0, 10_300, &mut rng).unwrap().0;
    assert_eq!(xlates.get(id).unwrap().mapped_port, 4000);
}

#[test]
fn xlate_table_refuses_when_full_and_recovers() {
    let (mut xlates, mut rng) = (Xlates::new(4, Share::WHOLE, 1), Rng::new(5));
    let key = |src| Key { src, dst: 2, sport: 4000, dport: 80, proto: UDP };
    for src in 0..4 {
        xlates.obtain(&key(src), 1, 9, 0, 0, &mut rng).unwrap();
    }
    assert!(xlates.obtain(&key(9), 1, 9, 0, 0, &mut rng).is_err());
    assert_eq!(xlates.clear_idle(0, 3), (3, Some(3)));
    assert_eq!(xlates.clear_idle(3, 3), (1, None));
    assert!(xlates.obtain(&key(9), 1, 9, 0, 0, &mut rng).is_ok());
}

/// Hosts that come and go every 25 s must not keep an idle neighbour in the queue alive: at most one timeout late.
#[test]
fn xlate_expiry_is_at_most_one_timeout_late() {
    let (mut xlates, mut rng) = (Xlates::new(4096, Share::WHOLE, 1), Rng::new(5));
    let key = |src| Key { src, dst: 2, sport: 4000, dport: 80, proto: UDP };
    let busy: Vec<_> = (0..100).map(|i| xlates.obtain(&key(i), 1, 9, 0, 0, &mut rng).unwrap().0).collect();
    let idle = xlates.obtain(&key(9999), 1, 9, 0, 0, &mut rng).unwrap().0;
    let mut held = [false; 100];
    let ended = (1..2_000u32).find(|now| {
        for (i, &id) in busy.iter().enumerate() {
            let phase = (*now as usize + i * 37) % 250;
            if phase == 0 && !held[i] && xlates.get(id).is_some() {
                xlates.hold(id);
                held[i] = true;
            } else if phase == 20 && held[i] {
                xlates.drop_hold(id, *now);
                held[i] = false;
            }
        }
        xlates.expire(*now, 300, 64);
        xlates.get(idle).is_none()
    });
    assert!(ended.is_some_and(|at| (300..=600).contains(&at)), "ended at {ended:?}");
}

/// What never expires does not fire at every tick, even when the hand lags behind.
#[test]
fn wheel_leaves_the_far_future_alone() {
    let mut wheel = Wheel::new(4);
    wheel.set(0, 5 + u32::MAX / 4);
    assert!((1..100).all(|now| wheel.due(now).is_none()));
}
