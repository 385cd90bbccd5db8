// SPDX-License-Identifier: MIT OR Apache-2.0
//! The xlate table against a plain list of translations, and its timers.

use crate::Rng;
use crate::key::{Key, TCP, UDP};
use crate::nat::Nat;
use crate::ports::Share;
use crate::xlate::{Made, Want, XlateError, XlateId, Xlates};
use fedgate_tables::policy::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// Rules of all dynamic kinds over a small pool, and the table.
struct Table {
    xlates: Xlates,
    nat: Nat,
    rng: Rng,
}

impl Table {
    fn new(max: u32, rules: &[NatRule], pools: &[AddrRange]) -> Self {
        let nat = Nat::new(rules, pools);
        let mut xlates = Xlates::new(max, Share::WHOLE, 1);
        xlates.adopt(&nat);
        Self { xlates, nat, rng: Rng::new(5) }
    }

    /// One rule: everybody as 9.
    fn pat(max: u32) -> Self {
        let rule = NatRule { kind: NatKind::DynamicPat as u8, mapped: one_addr(9), ..Default::default() };
        Self::new(max, &[rule], &[])
    }

    fn obtain(&mut self, rule: usize, key: &Key, now: u32) -> Result<(XlateId, Made), XlateError> {
        let want = Want {
            key,
            real_if: 1,
            mapped_if: 0,
            rule,
            pool: self.nat.pool(rule),
            block_size: 32,
            blocks_per_host: 2,
            pair: false,
        };
        self.xlates.obtain(&want, now, &mut self.rng, |_, _| true)
    }
}

fn key(src: u32, dst: u32, proto: u8) -> Key {
    Key { src, dst, sport: 4000, dport: 80, proto }
}

/// RFC 4787 REQ-1: one mapping whatever the destination; a second host that wants the same port gets another.
#[test]
fn xlates_are_endpoint_independent_and_distinct() {
    let mut table = Table::pat(16);
    let a = table.obtain(0, &key(1, 100, TCP), 0).unwrap().0;
    assert_eq!(table.obtain(0, &key(1, 200, TCP), 0), Ok((a, Made::Before)));
    let b = table.obtain(0, &key(2, 100, TCP), 0).unwrap().0;
    let (a, b) = (*table.xlates.get(a).unwrap(), *table.xlates.get(b).unwrap());
    assert_eq!(a.mapped_port, 4000);
    assert_ne!(b.mapped_port, 4000);
    assert_eq!(b.mapped_port % 2, 0);
}

/// An xlate outlives its last connection by the timeout, not by less, and then its port is free again.
#[test]
fn xlates_expire_after_their_last_connection() {
    let mut table = Table::pat(16);
    let id = table.obtain(0, &key(1, 2, UDP), 0).unwrap().0;
    table.xlates.hold(id);
    assert_eq!(table.xlates.expire(10_000, [300; 2], 100), 0);
    table.xlates.drop_hold(id, 10_000);
    assert_eq!(table.xlates.expire(10_299, [300; 2], 100), 0);
    assert!(table.xlates.by_mapped(UDP, 9, 4000).is_some());
    assert_eq!(table.xlates.expire(10_300, [300; 2], 100), 1);
    assert!(table.xlates.by_mapped(UDP, 9, 4000).is_none());
    let id = table.obtain(0, &key(77, 2, UDP), 10_300).unwrap().0;
    assert_eq!(table.xlates.get(id).unwrap().mapped_port, 4000);
}

#[test]
fn xlate_table_refuses_when_full_and_recovers() {
    let mut table = Table::pat(4);
    for src in 0..4 {
        table.obtain(0, &key(src, 2, UDP), 0).unwrap();
    }
    assert_eq!(table.obtain(0, &key(9, 2, UDP), 0), Err(XlateError::TableFull));
    assert_eq!(table.xlates.clear_idle(0, 9, |x| x.real == 2), (1, None));
    assert!(table.obtain(0, &key(2, 2, UDP), 0).is_ok());
    assert_eq!(table.xlates.clear_idle(0, 3, |_| true), (3, Some(3)));
    assert_eq!(table.xlates.clear_idle(3, 3, |_| true), (1, None));
    assert!(table.obtain(0, &key(9, 2, UDP), 0).is_ok());
}

/// Hosts that come and go every 25 s must not keep an idle neighbour alive.
#[test]
fn xlate_expiry_is_on_time() {
    let mut table = Table::pat(4096);
    let busy: Vec<_> = (0..100).map(|i| table.obtain(0, &key(i, 2, UDP), 0).unwrap().0).collect();
    let idle = table.obtain(0, &key(9999, 2, UDP), 0).unwrap().0;
    let xlates = &mut table.xlates;
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
        xlates.expire(*now, [300; 2], 64);
        xlates.get(idle).is_none()
    });
    assert_eq!(ended, Some(300));
}

/// What a translation is, plainly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plain {
    rule: usize,
    real: (u32, u16, u8),
    mapped: (u32, u16),
    holds: u32,
    idle_since: u32,
}

const POOL: [AddrRange; 2] = [AddrRange { first: 100, last: 101 }, AddrRange { first: 200, last: 200 }];

fn rules() -> [NatRule; 5] {
    let rule = |kind: NatKind, own, count, flags| NatRule {
        kind: kind as u8,
        mapped: one_addr(own),
        pool: 0,
        pool_count: count,
        flags,
        ..Default::default()
    };
    [
        rule(NatKind::DynamicPat, 1, 0, 0),
        rule(NatKind::DynamicPat, 2, 2, NAT_INTERFACE | NAT_ROUND_ROBIN),
        rule(NatKind::DynamicPat, 3, 2, NAT_BLOCKS),
        rule(NatKind::Dynamic, 4, 2, NAT_INTERFACE),
        rule(NatKind::Dynamic, 5, 1, 0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any sequence of requests, holds, releases and time gives what a plain list of translations does: the same
    /// mapping for the same socket, distinct mappings otherwise, an end when idle for long enough, and all memory back.
    #[test]
    fn xlates_are_a_list(ops in prop::collection::vec((0u8..6, 0usize..5, 0u32..6, 0u16..40, 0u32..60), 1..400)) {
        let timeouts = [100, 200];
        let mut table = Table::new(64, &rules(), &POOL);
        let mut twin: HashMap<XlateId, Plain> = HashMap::new();
        let mut couples: Vec<(XlateId, [XlateId; 2])> = Vec::new();
        let mut now = 0;
        for (op, rule, host, port, step) in ops {
            match op {
                0..3 => {
                    let key = Key { src: host, dst: 7, sport: 2000 + port, dport: 80, proto: UDP };
                    let nat = Nat::new(&rules(), &POOL);
                    let pool = nat.pool(rule);
                    let known = |p: &Plain| {
                        p.real.0 == host
                            && pool.has(p.mapped.0)
                            && (p.real == (host, key.sport, UDP) && (!pool.one_to_one || pool.own.is_some())
                                || pool.one_to_one && p.real == (host, 0, 0))
                    };
                    let before: Vec<_> = twin.iter().filter(|(_, p)| known(p)).map(|(id, _)| *id).collect();
                    match table.obtain(rule, &key, now) {
                        Ok((id, Made::Before)) => prop_assert!(before.contains(&id)),
                        Ok((id, Made::Now)) => {
                            let x = *table.xlates.get(id).unwrap();
                            prop_assert!(before.is_empty() && pool.has(x.mapped));
                            let mapped = (x.mapped, x.mapped_port);
                            prop_assert!(twin.values().all(|p| p.mapped != mapped || p.real.2 != x.proto));
                            let real = (x.real, x.real_port, x.proto);
                            prop_assert!(real == (host, key.sport, UDP) || real == (host, 0, 0));
                            twin.insert(id, Plain { rule, real, mapped, holds: 0, idle_since: now });
                        }
                        Err(XlateError::TableFull) => prop_assert!(twin.len() + couples.len() >= 64 || rule == 1 || rule == 2),
                        Err(XlateError::HostLimit) => prop_assert_eq!(rule, 2),
                        Err(XlateError::PortsExhausted) => prop_assert_eq!(rule, 4),
                    }
                }
                3 => if let Some((&id, plain)) = twin.iter_mut().min_by_key(|(id, _)| (**id).wrapping_mul(port.into())) {
                    table.xlates.hold(id);
                    plain.holds += 1;
                },
                4 => if let Some((&id, plain)) = twin.iter_mut().filter(|(_, p)| p.holds > 0).min_by_key(|(id, _)| **id) {
                    let in_couples = couples.iter().flat_map(|(_, both)| both).filter(|x| **x == id).count() as u32;
                    if plain.holds > in_couples {
                        table.xlates.drop_hold(id, now);
                        (plain.holds, plain.idle_since) = (plain.holds - 1, now);
                    } else if let Some(at) = couples.iter().position(|(_, both)| both.contains(&id)) {
                        let (couple, both) = couples.swap_remove(at);
                        table.xlates.drop_hold(couple, now);
                        for id in both {
                            let plain = twin.get_mut(&id).unwrap();
                            (plain.holds, plain.idle_since) = (plain.holds - 1, now);
                        }
                    }
                },
                _ => {
                    let ids: Vec<_> = twin.keys().copied().collect();
                    if let [one, other, ..] = ids[..] && let Some(couple) = table.xlates.couple(one, other) {
                        table.xlates.hold(couple);
                        couples.push((couple, [one, other]));
                        [one, other].into_iter().for_each(|id| twin.get_mut(&id).unwrap().holds += 1);
                    }
                }
            }
            now += step;
            table.xlates.expire(now, timeouts, usize::MAX);
            twin.retain(|_, p| p.holds > 0 || now - p.idle_since < timeouts[usize::from(p.real.2 == 0)]);
            prop_assert_eq!(table.xlates.in_use().0 as usize, twin.len());
            for (id, plain) in &twin {
                let x = table.xlates.get(*id).unwrap();
                prop_assert_eq!((x.real, x.real_port, x.proto), plain.real);
                prop_assert_eq!(x.conns(), plain.holds);
                prop_assert_eq!(table.xlates.by_mapped(x.proto, x.mapped, x.mapped_port), Some(*id));
            }
        }
        for (couple, _) in couples {
            table.xlates.drop_hold(couple, now);
        }
        let left: Vec<(XlateId, u32)> =
            twin.keys().map(|id| (*id, table.xlates.get(*id).unwrap().conns())).collect();
        for (id, holds) in left {
            (0..holds).for_each(|_| table.xlates.drop_hold(id, now));
        }
        table.xlates.expire(now + 300, timeouts, usize::MAX);
        prop_assert_eq!(table.xlates.in_use().0, 0);
        let (pools, _) = table.xlates.pools(0, 100);
        prop_assert!(pools.iter().all(|p| p.allocated == [0; 3]), "{:?}", pools);
        let mut blocks = HashSet::new();
        while let Some(note) = table.xlates.block_note() {
            let block = (note.real, note.mapped, note.ports);
            let in_turn = if note.given { blocks.insert(block) } else { blocks.remove(&block) };
            prop_assert!(in_turn);
        }
        prop_assert!(blocks.is_empty(), "{:?}", blocks);
    }
}
