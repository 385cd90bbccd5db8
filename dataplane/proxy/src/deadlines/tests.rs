// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heap against a plain map that is searched from end to end.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec((0u32..40, prop::option::of(0u64..1000), 0u64..1000, 0u8..3), 1..400)) {
        let mut heap = Deadlines::default();
        let mut plain: BTreeMap<u32, Micros> = BTreeMap::new();
        for (slot, at, now, what) in steps {
            if what == 0 {
                let earliest = plain.values().min().copied();
                match heap.pop_due(Micros(now)) {
                    Some(got) => {
                        let at = plain.remove(&got).expect("only slots that were set come out");
                        prop_assert_eq!(Some(at), earliest);
                        prop_assert!(at <= Micros(now));
                    }
                    None => prop_assert!(earliest.is_none_or(|at| at > Micros(now))),
                }
            } else if let (1, Some(at)) = (what, at) {
                heap.by(slot, Micros(at));
                let held = plain.entry(slot).or_insert(Micros(at));
                *held = (*held).min(Micros(at));
            } else {
                heap.set(slot, at.map(Micros));
                match at {
                    Some(at) => { plain.insert(slot, Micros(at)); }
                    None => { plain.remove(&slot); }
                }
            }
            prop_assert_eq!(heap.first(), plain.values().min().copied());
            prop_assert_eq!(heap.heap.len(), plain.len());
        }
    }
}
