// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets that were looked ahead at against packets that were not: two flows with one seed, of which one alone has what was [`Seen`](crate::ahead::Seen),
//! admit the same packets in the same order to the same end. And where a denial is said to be the last word, it is.

use super::*;
use crate::ahead::Ahead;
use crate::firewall::Hits;
use proptest::prelude::*;

/// Addresses that rules, interfaces and ACLs of the lab know, and some that they do not.
const ADDRS: [u32; 8] = [PUB, CUP, EDGE, OTHER, OWN, WORK, ip([10, 10, 0, 1]), ip([192, 0, 2, 9])];
/// Nowhere.
const LOST: u32 = ip([192, 0, 2, 9]);

/// The lab with more ACLs: one on the inside, perhaps one for all, one outwards.
fn strict(global: bool, out: bool, hairpin: bool) -> Lab {
    let mut lab = Lab::new();
    let line = |n: u32, src, proto, flags| Ace {
        src,
        src_mask: if src == 0 { 0 } else { !0 },
        sport: [0, 65535],
        dport: [5060, 5062],
        proto,
        flags,
        counter: n,
        ..Default::default()
    };
    lab.aces.extend([
        line(3, WORK, TCP, 0),
        line(4, 0, TCP, ACE_PERMIT),
        line(5, WORK, UDP, ACE_LOG),
        line(6, CUP, UDP, ACE_QUIET),
        line(7, EDGE, UDP, ACE_PERMIT | ACE_LOG),
        Ace { dport: [0, 100], ..line(8, 0, UDP, ACE_PERMIT) },
    ]);
    lab.acls.extend([
        Acl { first: 3, count: 4, ..Default::default() },
        Acl { first: 5, count: 4, ..Default::default() },
    ]);
    lab.interfaces[usize::from(INSIDE)].acl_in = 2;
    lab.interfaces[usize::from(OUTSIDE)].acl_out = if out { 3 } else { NONE };
    lab.globals.acl_global = if global { 3 } else { NONE };
    lab.globals.flags = if hairpin { SAME_SECURITY_INTRA } else { 0 };
    lab
}

fn key() -> impl Strategy<Value = Key> {
    let addr = || prop::sample::select(ADDRS.to_vec());
    let port = || prop::sample::select(vec![80, 5061, 5062, 40_000, 65_000]);
    (addr(), addr(), port(), port(), prop::sample::select(vec![TCP, UDP]))
        .prop_map(|(src, dst, sport, dport, proto)| Key { src, dst, sport, dport, proto })
}

proptest! {
    #[test]
    fn a_look_ahead_changes_nothing(
        bursts in prop::collection::vec((0u8..2, prop::collection::vec((key(), any::<bool>(), 1u8..3), 1..20)), 1..6),
        global: bool,
        out: bool,
        hairpin: bool,
    ) {
        let lab = strict(global, out, hairpin);
        let compiled = lab.compiled();
        let nat = Nat::new(&lab.nat, &[]);
        let policy = Policy {
            interfaces: &lab.interfaces,
            nat: &nat,
            acls: &lab.acls,
            aces: &lab.aces,
            aces6: &[],
            compiled: &compiled,
            classes: &lab.classes,
            globals: &lab.globals,
        };
        let ways = |a: u32| (a != LOST).then_some(if a >> 24 == 10 { INSIDE } else { OUTSIDE });
        let new = || Flow::new(FlowConfig { max_conns: 64, max_xlates: 64, share: Share::WHOLE, seed: 3 });
        let (mut with, mut without) = (new(), new());
        with.adopt(&nat);
        without.adopt(&nat);
        let mut ahead = Ahead::default();
        for (in_if, packets) in &bursts {
            ahead.clear();
            for (key, ..) in packets {
                ahead.add(*key);
            }
            with.look_ahead(&mut ahead, *in_if, &policy, &ways, |_| {}, |_| {});
            for (n, &(key, syn, ttl)) in packets.iter().enumerate() {
                let tcp_flags = if key.proto == UDP { 0 } else if syn { SYN } else { ACK };
                let first = First { key, in_if: *in_if, tcp_flags, icmp_type: 0, icmp_code: 0, ttl };
                let plainly = without.admit(&first, &policy, ways, lab.now);
                let mut hits = Hits::default();
                let seen = ahead.seen(n);
                let got = with.admit_seen(&first, &policy, ways, lab.now, seen, &mut hits);
                prop_assert_eq!((got, hits), plainly);
                if let Some(decision) = seen
                    .and_then(|seen| with.denies(seen, &key, *in_if))
                    .filter(|_| ttl > 1 && (key.proto == UDP || syn))
                 {
                    prop_assert_eq!(got, Admission::Refused(DropReason::AclDrop));
                    let told = Told { acl: lab.interfaces[usize::from(*in_if)].acl_in, decision: *decision };
                    let said = Hits {
                        aces: [decision.counter, None, None],
                        told: [Some(told), None, None],
                        real: hits.real,
                        out_if: hits.out_if,
                        ..Hits::default()
                    };
                    prop_assert_eq!(hits, said);
                    prop_assert_eq!(decision.flags & ACE_LOG, 0);
                }
            }
        }
    }
}

/// Else the test above would say nothing.
#[test]
fn denials_are_last_words_where_nothing_else_has_a_say() {
    let denied = |global, from: (u8, u32), dst, proto| {
        let lab = strict(global, false, false);
        let compiled = lab.compiled();
        let nat = Nat::new(&lab.nat, &[]);
        let policy = Policy {
            interfaces: &lab.interfaces,
            nat: &nat,
            acls: &lab.acls,
            aces: &lab.aces,
            aces6: &[],
            compiled: &compiled,
            classes: &lab.classes,
            globals: &lab.globals,
        };
        let ways = |a: u32| (a != LOST).then_some(if a >> 24 == 10 { INSIDE } else { OUTSIDE });
        let mut ahead = Ahead::default();
        let key = Key { src: from.1, dst, sport: 40_000, dport: 5061, proto };
        let n = ahead.add(key);
        lab.flow.look_ahead(&mut ahead, from.0, &policy, &ways, |_| {}, |_| {});
        ahead.seen(n).and_then(|seen| lab.flow.denies(seen, &key, from.0)).map(|decision| decision.ace)
    };
    assert_eq!(denied(false, (INSIDE, WORK), EDGE, TCP), Some(Some(3)), "by a line");
    assert_eq!(denied(false, (INSIDE, CUP), EDGE, UDP), Some(Some(6)), "by a line that is not told");
    assert_eq!(denied(true, (INSIDE, WORK), EDGE, TCP), Some(Some(3)), "before the ACL for all");
    assert_eq!(denied(false, (INSIDE, EDGE), OTHER, UDP), Some(None), "by none");
    assert_eq!(denied(true, (INSIDE, EDGE), OTHER, UDP), None, "there is an ACL for all");
    assert_eq!(denied(false, (INSIDE, WORK), EDGE, UDP), None, "a line with log");
    assert_eq!(denied(false, (INSIDE, WORK), LOST, TCP), None, "no way there");
    assert_eq!(denied(false, (INSIDE, WORK), OWN, TCP), None, "for us");
    assert_eq!(denied(false, (INSIDE, WORK), PUB, TCP), None, "NAT shows it");
    assert_eq!(denied(false, (INSIDE, CUP), EDGE, TCP), None, "permitted");
}
