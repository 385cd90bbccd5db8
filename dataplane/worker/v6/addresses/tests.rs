// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tentative, asked for, ours or a duplicate, step by step.

use super::*;
use fedgate_wire::MacAddr;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const LOCAL: u128 = ipv6::link_local(MAC);
const GLOBAL: u128 = 0x2001_0db8 << 96 | 1;

fn shown(ip: u128, slot: u8) -> Shown<u128> {
    Shown { ifindex: 3, mac: MAC, slot: Some(slot), ip }
}

fn all(addresses: &mut Addresses, now: u64) -> Vec<Due> {
    std::iter::from_fn(|| addresses.poll(now)).collect()
}

#[test]
fn an_address_is_asked_for_once_and_then_used() {
    let mut own = Addresses::default();
    own.adopt([shown(LOCAL, 0), shown(GLOBAL, 0)].into_iter(), 500, true);
    assert!(own.barred().has(3, LOCAL) && own.barred().has(3, GLOBAL) && !own.barred().has(2, GLOBAL));
    assert_eq!(all(&mut own, 499), []);
    assert_eq!(all(&mut own, 510), [Due::Ask(3, LOCAL), Due::Ask(3, GLOBAL)]);
    assert_eq!(all(&mut own, 1509), []);
    assert_eq!(all(&mut own, 1510), [Due::Announce(3, LOCAL), Due::Announce(3, GLOBAL)]);
    assert_eq!(own.barred(), Barred::default());
    assert!(!own.claimed(3, GLOBAL), "it is ours now, and defended");
    // The same again is known; on another port it is new.
    own.adopt([shown(LOCAL, 0), shown(GLOBAL, 1)].into_iter(), 2000, true);
    assert_eq!(all(&mut own, 2000), [Due::Ask(3, GLOBAL)]);
}

#[test]
fn a_claim_makes_a_duplicate_that_stays() {
    let mut own = Addresses::default();
    own.adopt([shown(LOCAL, 0), shown(GLOBAL, 0)].into_iter(), 0, true);
    assert!(own.claimed(3, GLOBAL) && !own.claimed(3, GLOBAL) && !own.claimed(2, LOCAL));
    all(&mut own, 0);
    assert_eq!(all(&mut own, 1000), [Due::Announce(3, LOCAL)]);
    assert!(own.barred().has(3, GLOBAL) && !own.barred().silences(3));
    own.adopt([shown(LOCAL, 0), shown(GLOBAL, 0)].into_iter(), 2000, true);
    assert_eq!(all(&mut own, 9000), []);
    assert_eq!(own.list()[1].standing, Standing::Duplicate);
    own.adopt([].into_iter(), 9000, true);
    own.adopt([shown(LOCAL, 0)].into_iter(), 9000, false);
    assert!(own.claimed(3, LOCAL) && own.barred().silences(3));
}

#[test]
fn a_worker_that_does_not_ask_waits() {
    let mut own = Addresses::default();
    own.adopt([shown(LOCAL, 0), Shown { slot: None, ..shown(GLOBAL, 0) }].into_iter(), 1000, false);
    assert_eq!(all(&mut own, 1999), []);
    assert_eq!(all(&mut own, 2000), [Due::Announce(3, LOCAL)]);
}
