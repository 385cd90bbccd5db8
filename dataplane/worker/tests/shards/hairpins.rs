// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts behind us that call each other by what NAT shows of them, with several workers: whoever calls, one worker has both.

use super::*;

/// Two hosts behind one PAT address call each other by it, whichever workers are theirs; and one behind static NAT is called by its
/// outside address from inside.
#[test]
fn hairpins_meet_at_one_worker() {
    let pat = NatRule {
        real: [ip(10, 10, 0, 1), ip(10, 10, 0, 63)],
        mapped: one_addr(OWN[OUTSIDE]),
        kind: NatKind::DynamicPat as u8,
        ..NatRule::default()
    };
    let fixed = NatRule {
        real: [ip(10, 10, 0, 64), ip(10, 10, 0, 79)],
        mapped: [ip(198, 51, 100, 64), ip(198, 51, 100, 79)],
        kind: NatKind::Static as u8,
        ..NatRule::default()
    };
    for sides in SIDES {
        let mut crew = Crew::new(2, sides, policy_of(&[fixed, pat], &[]));
        let mut rng = Rng::new(13);
        let mut pairs = BTreeSet::new();
        for _ in 0..40 {
            let [caller, called] = [2..33, 33..63].map(|range| Flow::random(&mut rng, range));
            pairs.insert((shard::of_host(caller.host, 2), shard::of_host(called.host, 2)));
            let open = called.ask(&mut crew);
            turn_round(
                &mut crew,
                (caller.host, caller.sport),
                (called.host, called.sport),
                (open.src, open.sport),
            );
        }
        assert_eq!(pairs.len(), 4, "hosts of both workers on both ends");
        for octet in 64..80 {
            let caller = Flow::random(&mut rng, 2..63);
            turn_round(
                &mut crew,
                (caller.host, caller.sport),
                (ip(10, 10, 0, octet), 53),
                (ip(198, 51, 100, octet), 53),
            );
        }
        assert_eq!(crew.all_drops(), 0);
        crew.assert_no_mbuf_held();
    }
}

/// Hosts of two pools of an address a host call each other by these: both pools are then one worker's.
#[test]
fn hosts_of_two_pools_call_each_other() {
    let pools = [40, 60].map(|n| AddrRange { first: ip(198, 51, 100, n), last: ip(198, 51, 100, n + 15) });
    let rule = |from: u8, first: u32| NatRule {
        real: [ip(10, 10, 0, from), ip(10, 10, 0, from + 15)],
        pool: first,
        pool_count: 1,
        kind: NatKind::Dynamic as u8,
        ..NatRule::default()
    };
    assert_ne!(shard::of_pool(pools[0].first, 3), shard::of_pool(pools[1].first, 3), "by themselves");
    let mut crew = Crew::new(3, NICS, policy_of(&[rule(2, 0), rule(20, 1)], &pools));
    let mut rng = Rng::new(17);
    for octet in 0..15 {
        let caller = Flow { host: ip(10, 10, 0, 2 + octet), ..Flow::random(&mut rng, 2..18) };
        let called = Flow { host: ip(10, 10, 0, 20 + octet), ..Flow::random(&mut rng, 20..36) };
        let open = called.ask(&mut crew);
        turn_round(
            &mut crew,
            (caller.host, caller.sport),
            (called.host, called.sport),
            (open.src, open.sport),
        );
    }
    assert_eq!(crew.all_drops(), 0);
    crew.assert_no_mbuf_held();
}

/// A question from `caller` to `shown`, which is `called`, and the answer.
#[track_caller]
fn turn_round(crew: &mut Crew, caller: (u32, u16), called: (u32, u16), shown: (u32, u16)) {
    for _ in 0..2 {
        let question = udp((station(caller.0), caller.1), shown, MACS[INSIDE], 64, b"q");
        let [outside, inside] = crew.send(INSIDE, &question);
        assert_eq!((outside.len(), inside.len()), (0, 1), "{caller:?} {called:?}");
        let asked = tuple(&inside[0]);
        assert_eq!((asked.dst, asked.dport), called);
        let answer = udp((station(called.0), called.1), (asked.src, asked.sport), MACS[INSIDE], 64, b"a");
        let [outside, inside] = crew.send(INSIDE, &answer);
        assert_eq!((outside.len(), inside.len()), (0, 1), "{caller:?} {called:?}");
        let got = tuple(&inside[0]);
        assert_eq!(((got.src, got.sport), (got.dst, got.dport)), (shown, caller));
    }
}
