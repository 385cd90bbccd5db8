// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each rule by name, and any sequence of fragments against a twin that keeps plain lists and looks at everything.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

mod twin;
use twin::Twin;

const LIMITS: Limits = Limits { size: 200, chain: 24, timeout_ms: 5000, elsewhere: 0 };

fn id(ident: u16, ifindex: u8) -> Ipv4Identity {
    Ipv4Identity { src: 0x0a00_0001, dst: 0xc633_641e, ident, proto: 17, ifindex }
}

fn span(start: u16, end: u16, more: bool) -> Span {
    Span { start, end, more }
}

struct Bench {
    table: Reassembly<Ipv4Identity, u32>,
    next: u32,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        Self { table: Reassembly::new(capacity, 7), next: 0 }
    }

    /// Puts the next number in; the verdict and what came out.
    fn put(
        &mut self,
        now: u64,
        limits: &Limits,
        id: Ipv4Identity,
        at: (u16, u16, bool),
    ) -> (Verdict, Vec<u32>) {
        let mut out = Vec::new();
        let item = self.next;
        self.next += 1;
        let verdict = self.table.put(now, limits, id, span(at.0, at.1, at.2), item, &mut out);
        (verdict, out)
    }

    fn expire(&mut self, now: u64, limits: &Limits) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        self.table.expire(now, |_| limits.timeout_ms, &mut out)?;
        Some(out)
    }
}

#[test]
fn in_order_backwards_and_mixed_come_out_in_order() {
    let parts = [(0, 8, true), (8, 24, true), (24, 30, false)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        let mut bench = Bench::new(16);
        for step in &order[..2] {
            assert_eq!(bench.put(0, &LIMITS, id(1, 0), parts[*step]), (Verdict::Held, vec![]));
        }
        let (verdict, out) = bench.put(0, &LIMITS, id(1, 0), parts[order[2]]);
        assert_eq!(verdict, Verdict::Whole { len: 30 });
        let place = |part: usize| order.iter().position(|o| *o == part).unwrap() as u32;
        assert_eq!(out, [place(0), place(1), place(2)], "{order:?}");
        assert!(bench.table.is_empty() && bench.table.held(0) == 0);
    }
}

#[test]
fn source_identification_protocol_and_interface_keep_datagrams_apart() {
    let mut bench = Bench::new(16);
    let base = id(1, 0);
    let others = [
        base,
        Ipv4Identity { src: 1, ..base },
        Ipv4Identity { dst: 1, ..base },
        id(2, 0),
        Ipv4Identity { proto: 6, ..base },
        id(1, 1),
    ];
    for id in others {
        assert_eq!(bench.put(0, &LIMITS, id, (0, 8, true)).0, Verdict::Held);
    }
    for id in others {
        assert_eq!(bench.put(0, &LIMITS, id, (8, 9, false)).0, Verdict::Whole { len: 9 });
    }
    assert!(bench.table.is_empty());
}

/// RFC 5722: the datagram goes, and what comes of it later; the next of its name may pass when its time is over.
#[test]
fn an_overlap_kills_the_datagram_until_its_time_is_over() {
    for bad in [(8, 24, true), (4, 10, false), (0, 8, true), (0, 24, true), (12, 14, false), (0, 16, false)] {
        let mut bench = Bench::new(16);
        bench.put(0, &LIMITS, id(1, 0), (0, 16, true));
        assert_eq!(bench.put(1, &LIMITS, id(1, 0), bad), (Verdict::Refused(Failure::Overlap), vec![0, 1]));
        assert_eq!(
            bench.put(2, &LIMITS, id(1, 0), (16, 24, false)),
            (Verdict::Refused(Failure::Overlap), vec![2])
        );
        assert_eq!(bench.table.held(0), 1);
        assert_eq!(bench.expire(4999, &LIMITS), None);
        assert_eq!(bench.expire(5000, &LIMITS), Some(vec![]));
        assert_eq!(bench.put(5001, &LIMITS, id(1, 0), (0, 16, true)).0, Verdict::Held);
    }
}

#[test]
fn a_duplicate_is_dropped_alone() {
    let mut bench = Bench::new(16);
    bench.put(0, &LIMITS, id(1, 0), (0, 8, true));
    bench.put(0, &LIMITS, id(1, 0), (16, 20, false));
    for again in [(0, 8, true), (16, 20, false)] {
        let (verdict, out) = bench.put(0, &LIMITS, id(1, 0), again);
        assert_eq!((verdict, out.len()), (Verdict::Refused(Failure::Duplicate), 1));
    }
    assert_eq!(bench.put(0, &LIMITS, id(1, 0), (8, 16, true)), (Verdict::Whole { len: 20 }, vec![0, 4, 1]));
}

#[test]
fn two_ends_or_bytes_behind_the_end_kill_the_datagram() {
    for (first, second) in [
        ((8, 12, false), (16, 20, false)),
        ((16, 20, false), (8, 12, false)),
        ((8, 12, false), (16, 24, true)),
        ((16, 24, true), (8, 12, false)),
        ((8, 16, false), (16, 24, true)),
    ] {
        let mut bench = Bench::new(16);
        bench.put(0, &LIMITS, id(1, 0), first);
        let refused = bench.put(0, &LIMITS, id(1, 0), second);
        assert_eq!(refused, (Verdict::Refused(Failure::Length), vec![0, 1]), "{first:?} {second:?}");
    }
}

#[test]
fn a_chain_is_no_longer_than_the_limit() {
    let limits = Limits { chain: 3, ..LIMITS };
    let mut bench = Bench::new(16);
    for n in 0..3 {
        assert_eq!(bench.put(0, &limits, id(1, 0), (n * 8, n * 8 + 8, true)).0, Verdict::Held);
    }
    let over = bench.put(0, &limits, id(1, 0), (24, 30, false));
    assert_eq!(over, (Verdict::Refused(Failure::Chain), vec![0, 1, 2, 3]));
    // `fragment chain 1`: no fragments at all, and nothing held of them.
    let none = Limits { chain: 1, ..LIMITS };
    assert_eq!(bench.put(0, &none, id(2, 1), (0, 8, true)), (Verdict::Refused(Failure::Chain), vec![4]));
    assert_eq!(bench.table.held(1), 0);
}

/// Each part of an IPv6 packet's name tells it apart.
#[test]
fn ipv6_packets_are_told_apart_by_addresses_identification_and_interface() {
    let one = Ipv6Identity { src: 1 << 80, dst: 2 << 90, ident: 7, ifindex: 1 };
    let others = [
        Ipv6Identity { src: 2 << 80, ..one },
        Ipv6Identity { dst: 3 << 90, ..one },
        Ipv6Identity { ident: 7 << 16, ..one },
        Ipv6Identity { ifindex: 2, ..one },
    ];
    let (mut table, mut out) = (Reassembly::new(16, 7), Vec::new());
    for (item, id) in [one].into_iter().chain(others).enumerate() {
        assert!(item == 0 || id.hash(7) != one.hash(7), "{id:?}");
        assert_eq!(table.put(0, &LIMITS, id, span(0, 8, true), item, &mut out), Verdict::Held);
    }
    assert_eq!(table.put(0, &LIMITS, one, span(8, 9, false), 9, &mut out), Verdict::Whole { len: 9 });
    assert_eq!(out, [0, 9]);
}

/// Above two thirds only what completes something is taken, and above the size nothing; another interface is not touched.
#[test]
fn size_and_threshold_bound_an_interface() {
    let limits = Limits { size: 6, ..LIMITS };
    let mut bench = Bench::new(64);
    for n in 0..4 {
        assert_eq!(bench.put(0, &limits, id(n, 0), (0, 8, true)).0, Verdict::Held);
    }
    let refused = |why| (Verdict::Refused(why), 1);
    let put = |bench: &mut Bench, id, at| {
        let (verdict, out) = bench.put(0, &limits, id, at);
        (verdict, out.len())
    };
    assert_eq!(put(&mut bench, id(9, 0), (0, 8, true)), refused(Failure::Threshold));
    assert_eq!(put(&mut bench, id(9, 1), (0, 8, true)), (Verdict::Held, 0));
    assert_eq!(put(&mut bench, id(0, 0), (16, 24, true)), (Verdict::Held, 0));
    assert_eq!(put(&mut bench, id(1, 0), (16, 24, true)), (Verdict::Held, 0));
    assert_eq!(put(&mut bench, id(2, 0), (8, 12, false)), refused(Failure::Size));
    assert_eq!(bench.table.held(0), 6);
    // What the other family holds counts as well.
    let shared = Limits { elsewhere: 4, ..limits };
    assert_eq!(bench.put(0, &shared, id(8, 2), (0, 8, true)).0, Verdict::Refused(Failure::Threshold));
    let shared = Limits { elsewhere: 5, ..limits };
    assert_eq!(bench.put(0, &shared, id(9, 1), (16, 24, true)).0, Verdict::Refused(Failure::Size));
}

#[test]
fn the_workers_own_bound_holds_over_all_interfaces() {
    let mut bench = Bench::new(4);
    for n in 0..4u8 {
        assert_eq!(bench.put(0, &LIMITS, id(1, n), (0, 8, true)).0, Verdict::Held);
    }
    assert_eq!(bench.put(0, &LIMITS, id(1, 4), (0, 8, true)).0, Verdict::Refused(Failure::Size));
    assert_eq!(bench.put(0, &LIMITS, id(1, 0), (16, 24, true)).0, Verdict::Refused(Failure::Size));
    // Dead ones hold no fragment but take a name.
    let mut bench = Bench::new(2);
    for n in 0..2 {
        bench.put(0, &LIMITS, id(n, 0), (0, 16, true));
        bench.put(0, &LIMITS, id(n, 0), (8, 24, true));
    }
    assert_eq!(bench.put(0, &LIMITS, id(3, 1), (0, 8, true)).0, Verdict::Refused(Failure::Size));
}

#[test]
fn the_oldest_of_every_interface_expire() {
    let mut bench = Bench::new(16);
    bench.put(0, &LIMITS, id(1, 0), (8, 16, true));
    bench.put(10, &LIMITS, id(1, 1), (0, 8, true));
    bench.put(20, &LIMITS, id(2, 0), (0, 8, true));
    bench.put(4000, &LIMITS, id(1, 0), (0, 8, true));
    assert_eq!(bench.expire(5000, &LIMITS), Some(vec![3, 0]));
    assert_eq!(bench.expire(5000, &LIMITS), None);
    let mut out = Vec::new();
    let ended = bench.table.expire(5010, |ifindex| if ifindex == 1 { 5000 } else { 9000 }, &mut out);
    assert_eq!((ended.unwrap().ifindex, out), (1, vec![1]));
    let mut out = Vec::new();
    bench.table.clear(&mut out);
    assert_eq!(out, [2]);
    assert!(bench.table.is_empty() && bench.table.held(0) == 0);
    assert_eq!(bench.put(9000, &LIMITS, id(2, 0), (0, 8, true)).0, Verdict::Held);
}

/// Nothing is allocated once the table is made.
#[test]
fn memory_is_set_aside_at_the_start() {
    let mut bench = Bench::new(32);
    let before = (bench.table.pieces.capacity(), bench.table.datagrams.capacity());
    for round in 0..50u16 {
        for n in 0..40 {
            bench.put(round.into(), &LIMITS, id(n, (n % 3) as u8), (8 * round, 8 * round + 8, true));
        }
        while bench.expire(u64::from(round), &Limits { timeout_ms: 20, ..LIMITS }).is_some() {}
    }
    assert_eq!((bench.table.pieces.capacity(), bench.table.datagrams.capacity()), before);
}

fn splits() -> impl Strategy<Value = Vec<(u16, u16, bool)>> {
    (prop::collection::vec(1u16..40, 1..23), 1u16..200).prop_map(|(eights, tail)| {
        let mut parts = Vec::new();
        let mut at = 0;
        for n in eights {
            parts.push((at, at + n * 8, true));
            at += n * 8;
        }
        parts.push((at, at + tail, false));
        parts
    })
}

#[derive(Clone, Debug)]
enum Step {
    Put { ident: u16, ifindex: u8, start: u16, len: u16, more: bool },
    Wait { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0u16..4, 0u8..2, 0u16..6, 1u16..4, any::<bool>(), 0u16..8).prop_map(
        |(ident, ifindex, start, len, more, odd)| Step::Put {
            ident,
            ifindex,
            start: start * 8,
            len: if more { len * 8 } else { len * 8 - odd },
            more,
        },
    );
    prop::collection::vec(prop_oneof![9 => put, 1 => (1u64..40).prop_map(|ms| Step::Wait { ms })], 1..120)
}

proptest! {
    /// Any split, in any order, with any one piece twice: whole exactly at the last missing one, in order.
    #[test]
    fn any_order_of_any_split_comes_out_whole(
        parts in splits(),
        keys in prop::collection::vec(any::<u32>(), 24),
        again in any::<prop::sample::Index>(),
    ) {
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|i| keys[*i]);
        let again = again.index(order.len().max(2) - 1);
        let mut bench = Bench::new(32);
        let mut arrived = HashMap::new();
        for (n, part) in order.iter().enumerate() {
            arrived.insert(bench.next, *part);
            let (verdict, out) = bench.put(0, &LIMITS, id(1, 0), parts[*part]);
            if n + 1 == order.len() {
                let (_, len, _) = parts[parts.len() - 1];
                prop_assert_eq!(verdict, Verdict::Whole { len });
                let came: Vec<usize> = out.iter().map(|item| arrived[item]).collect();
                prop_assert_eq!(came, (0..parts.len()).collect::<Vec<_>>());
            } else {
                prop_assert_eq!((verdict, out), (Verdict::Held, vec![]));
                if n == again {
                    let (verdict, out) = bench.put(0, &LIMITS, id(1, 0), parts[*part]);
                    prop_assert_eq!((verdict, out.len()), (Verdict::Refused(Failure::Duplicate), 1));
                }
            }
        }
        prop_assert!(bench.table.is_empty());
    }

    /// The same verdicts, and the same items at the same moments, as the plain model; and never more held than the bounds.
    #[test]
    fn any_sequence_agrees_with_the_twin(
        steps in steps(),
        size in 2u32..24,
        chain in 1u32..6,
        capacity in 1usize..20,
    ) {
        let limits = Limits { size, chain, timeout_ms: 50, elsewhere: 0 };
        let mut table = Reassembly::new(capacity, 99);
        let mut twin = Twin::new(capacity, limits);
        let (mut now, mut item) = (1000, 0u32);
        for step in steps {
            let mut out = Vec::new();
            match step {
                Step::Put { ident, ifindex, start, len, more } => {
                    let (id, at) = (id(ident, ifindex), span(start, start + len, more));
                    let verdict = table.put(now, &limits, id, at, item, &mut out);
                    prop_assert_eq!((verdict, &out), (twin.put(now, id, at, item), &twin.last));
                    item += 1;
                }
                Step::Wait { ms } => {
                    now += ms;
                    let mut freed = 0;
                    while table.expire(now, |_| limits.timeout_ms, &mut out).is_some() {
                        freed += 1;
                    }
                    let mut expected = twin.expire(now);
                    prop_assert_eq!(freed, twin.ended);
                    out.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(out, expected);
                }
            }
            for ifindex in 0..2 {
                prop_assert_eq!(table.held(ifindex), twin.held(ifindex));
                prop_assert!(table.held(ifindex) <= limits.size);
            }
            prop_assert!(table.pieces.len() <= capacity && table.datagrams.len() <= capacity);
        }
    }
}
