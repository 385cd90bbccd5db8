// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFC 6888: carrier-grade NAT, as far as one box without PCP goes.

use crate::firewall::Admission;
use crate::key::UDP;
use crate::nat::Nat;
use crate::ports::{Band, Ports, Share};
use crate::tests::nat::{HOST, INSIDE, Lab, OTHER, OUTSIDE, OWN, POOL, SERVER, SERVER2, pat, pool};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{AddrRange, NAT_BLOCKS, NAT_ROUND_ROBIN, NatKind, NatRule, net_range, one_addr};

fn blocks() -> Lab {
    let mut lab = Lab::new(&[pool(NAT_BLOCKS)]);
    (lab.globals.block_size, lab.globals.blocks_per_host) = (64, 2);
    lab
}

/// MUST fulfil the requirements for each transport that it forwards: UDP, TCP and ICMP have their tables here; others have no connections.
#[test]
fn rfc6888_req_01_other_transports_are_refused() {
    let mut lab = Lab::interface_pat();
    for proto in [47, 50, 132] {
        let refused = lab.admit(INSIDE, proto, (HOST, 0), (SERVER, 0));
        assert_eq!(refused, Admission::Refused(DropReason::UnsupportedProtocol));
    }
}

/// MUST have paired pooling by default, with blocks too and across protocols.
#[test]
fn rfc6888_req_02_paired_by_default() {
    let mut lab = Lab::new(&[pool(NAT_ROUND_ROBIN | NAT_BLOCKS)]);
    let mine = lab.shown((HOST, 5000), (SERVER, 53)).0;
    lab.shown((OTHER, 5000), (SERVER, 53));
    assert_eq!(lab.connect(INSIDE, crate::key::TCP, (HOST, 99), (SERVER, 80)).1.src, mine);
}

/// SHOULD NOT limit the size or contiguity of the pool; MUST take ranges that do not adjoin.
#[test]
fn rfc6888_req_03_pools_of_many_pieces() {
    let pieces: Vec<AddrRange> = (0..50).map(|n| AddrRange { first: 1000 * n, last: 1000 * n + n }).collect();
    let nat = Nat::new(&[NatRule { pool_count: 50, ..pool(0) }], &pieces);
    let all: Vec<u32> = pieces.iter().flat_map(|p| p.first..=p.last).collect();
    assert_eq!(nat.pool(0).size(), all.len() as u64);
    let nth: Vec<u32> = (0..all.len() as u64).filter_map(|n| nat.pool(0).nth(n)).collect();
    assert_eq!(nth, all);
    assert!(all.iter().all(|a| nat.is_mapped_address(*a, OUTSIDE)));
}

/// MUST be able to limit the external ports of a subscriber: blocks of `size`, `maximum-per-host` of them a protocol.
/// Partly: a worker counts for itself; hosts are one worker's, so that is all of them.
#[test]
fn rfc6888_req_04_ports_of_a_subscriber_are_limited() {
    let mut lab = blocks();
    let admitted = (0..1000)
        .take_while(|n| {
            matches!(lab.admit(INSIDE, UDP, (HOST, 5000 + n), (SERVER, 53)), Admission::New { .. })
        })
        .count();
    assert_eq!(admitted, 128);
    let refused = lab.admit(INSIDE, UDP, (HOST, 9999), (SERVER, 53));
    assert_eq!(refused, Admission::Refused(DropReason::PatHostLimit));
    lab.shown((OTHER, 5000), (SERVER, 53));
}

/// SHOULD limit the state of a subscriber: its mappings are bounded by its blocks; the tables as a whole are bounded and refuse.
/// (Sessions a host: `set connection per-client-max`.)
#[test]
fn rfc6888_req_05_state_is_bounded() {
    let mut lab = Lab::of(&[pat(one_addr(OWN))], 32);
    for n in 0..100 {
        lab.admit(INSIDE, UDP, (HOST + n, 5000), (SERVER, 53));
    }
    assert!(lab.flow.conns.in_use().0 <= 32 && lab.flow.xlates.in_use().0 <= 32);
}

/// MUST be possible to turn translation off for some destinations: identity rules with a destination.
#[test]
fn rfc6888_req_06_no_translation_for_some_destinations() {
    let there = net_range(SERVER, !0xff);
    let exempt = NatRule {
        kind: NatKind::Identity as u8,
        mapped: [0, u32::MAX],
        dest_mapped: there,
        dest_real: there,
        ..pat([0; 2])
    };
    let mut lab = Lab::new(&[exempt, pat(one_addr(OWN))]);
    assert_eq!(lab.shown((HOST, 5000), (SERVER, 53)), (HOST, 5000));
    assert_eq!(lab.shown((HOST, 5000), (SERVER + 0x1000, 53)).0, OWN);
}

/// RECOMMENDED: endpoint-independent filtering.
/// Not met: by default, for this is a firewall: strangers reach a mapping as far as the outside ACL says (RFC 4787 REQ-8).
#[test]
fn rfc6888_req_07_filtering_is_the_acls() {
    let mut lab = Lab::interface_pat();
    lab.shown((HOST, 5000), (SERVER, 53));
    assert_eq!(lab.admit(OUTSIDE, UDP, (SERVER2, 1), (OWN, 5000)), Admission::Refused(DropReason::AclDrop));
    assert!(matches!(lab.open().admit(OUTSIDE, UDP, (SERVER2, 1), (OWN, 5000)), Admission::New { .. }));
}

/// SHOULD NOT give a port to another mapping within 120 s of its end.
/// Partly: it stays with its host `timeout pat-xlate` (30 s; 0:02:00 meets it) after the last connection, which itself was idle for its timeout.
#[test]
fn rfc6888_req_08_ports_rest() {
    let mut lab = Lab::interface_pat();
    let (id, _) = lab.connect(INSIDE, UDP, (HOST, 5000), (SERVER, 53));
    lab.globals.timeout_pat_xlate = 120;
    lab.flow.end(id, lab.now);
    lab.wait(119);
    assert_ne!(lab.shown((OTHER, 5000), (SERVER, 53)).1, 5000);
    lab.wait(2);
    assert_eq!(lab.shown((OTHER + 1, 5000), (SERVER, 53)).1, 5000);
}

/// MUST have a protocol for hosts to make mappings (PCP).
/// Not met: the ASA has none; static rules and ACLs are the operator's.
#[test]
fn rfc6888_req_09_only_rules_make_mappings() {
    let mut lab = Lab::interface_pat();
    // PCP and NAT-PMP requests to the appliance are for itself, which does not serve them.
    assert_eq!(lab.admit(INSIDE, UDP, (HOST, 1), (lab.interfaces[1].addr, 5351)), Admission::Local);
    assert_eq!(lab.flow.xlates.in_use().0, 0);
}

/// SHOULD be manageable: what is used of each pool address can be asked for.
/// Partly: by `show` commands and counters, not by the NAT MIB.
#[test]
fn rfc6888_req_10_pools_are_listed() {
    let mut lab = Lab::new(&[pool(0)]);
    (0..10).for_each(|n| _ = lab.shown((HOST + n, 100 + 600 * (n as u16 % 3)), (SERVER, 53)));
    let (pools, next) = lab.flow.xlates.pools(0, 10);
    assert_eq!((pools.len(), next), (1, None));
    assert_eq!((pools[0].addr, pools[0].allocated), (POOL[0].first, [4, 3, 3]));
}

/// MUST drop what it cannot map, and MUST NOT end mappings to make room. (The sender is told host unreachable, control gets an
/// event: worker.)
#[test]
fn rfc6888_req_11_nothing_is_evicted() {
    let mut lab = blocks();
    let first = lab.shown((HOST, 5000), (SERVER, 53));
    for n in 1..500 {
        lab.admit(INSIDE, UDP, (HOST, 5000 + n), (SERVER, 53));
    }
    assert_eq!(lab.shown((HOST, 5000), (SERVER2, 53)), first);
    assert_eq!(lab.flow.xlates.in_use().0, 128);
}

/// SHOULD NOT log destinations: what is logged of a translation is its block: host, address and ports.
#[test]
fn rfc6888_req_12_log_without_destination() {
    let mut lab = blocks();
    let (addr, port) = lab.shown((HOST, 5000), (SERVER, 53));
    let note = lab.flow.xlates.block_note().unwrap();
    assert!(note.given && (note.real, note.mapped, note.proto) == (HOST, addr, UDP));
    assert!((note.ports[0]..=note.ports[1]).contains(&port));
    assert!(!format!("{note:?}").contains(&SERVER.to_string()));
}

/// SHOULD use the ports fully: every port of every band is given out before one is refused.
#[test]
fn rfc6888_req_13_all_ports_are_used() {
    let mut ports = Ports::new(Share::WHOLE);
    let mut rng = crate::Rng::new(1);
    let given = std::iter::from_fn(|| ports.pick(0, Band::All, rng.next(), |_| true)).count();
    assert_eq!(given, 65535);
}

/// SHOULD keep the log small: one event a block, however many connections, and one when it goes.
#[test]
fn rfc6888_req_14_one_event_a_block() {
    let mut lab = blocks();
    for n in 0..64 {
        lab.shown((HOST, 5000 + n), (SERVER, 53));
        lab.shown((HOST, 5000 + n), (SERVER2, 53));
    }
    assert!(lab.flow.xlates.block_note().is_some_and(|note| note.given));
    assert_eq!(lab.flow.xlates.block_note(), None);
    lab.wait(160);
    assert!(lab.flow.xlates.block_note().is_some_and(|note| !note.given));
    assert_eq!(lab.flow.xlates.block_note(), None);
}

/// SHOULD make ports hard to guess: where the host's own is taken, and within a block, the search begins at random.
#[test]
fn rfc6888_req_15_ports_are_not_guessed() {
    let mut lab = Lab::interface_pat();
    let ports: Vec<u16> = (0..100).map(|n| lab.shown((HOST + n, 5000), (SERVER, 53)).1).collect();
    let in_order = ports.windows(2).filter(|w| w[0].abs_diff(w[1]) <= 64).count();
    assert!(in_order < 10, "{ports:?}");
}
