// SPDX-License-Identifier: MIT OR Apache-2.0
//! A burst looked at together does what its frames do one by one: the same frames out in the same order, the same counters.
//!
//! Frames are drawn from few hosts, ports and flags, so that one packet of a burst makes what the next one needs, or takes it: two first
//! packets of one connection, its reply, a port that two hosts want, a class's last connection, the table's last entry.

use super::rig::*;
use fedgate_tables::counters::Stat;
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{MacAddr, proto};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Hosts inside.
const HOSTS: u8 = 4;

/// Destinations that have a say of their own: ours, one that NAT shows, networks' ends, nobody's, and other hosts inside.
const ELSEWHERE: [u32; 9] = [
    OWN[INSIDE],
    OWN[OUTSIDE],
    PUBLIC,
    ip(198, 51, 100, 255),
    ip(10, 10, 0, 255),
    ip(127, 0, 0, 1),
    ip(224, 0, 0, 5),
    ip(10, 10, 0, 50),
    ip(10, 10, 0, 51),
];

fn host(n: u8) -> Station {
    Station { ip: ip(10, 10, 0, 50 + n), mac: MacAddr([2, 0, 0, 0, 2, n]) }
}

/// Frames of a burst with the side they arrive on.
type Arrival = (usize, Vec<Vec<u8>>);

/// What can be seen of what a worker did.
#[derive(Debug, PartialEq)]
struct Seen {
    out: Vec<[Vec<Vec<u8>>; 2]>,
    moved: BTreeMap<String, u64>,
}

/// Lines for the inside that permit and deny by host and port, some with `log`; a class with few connections; room outside for those who
/// know a mapped port.
fn strict_policy() -> PolicyBuilder {
    let line = |n: u32| Ace {
        src: if n.is_multiple_of(3) { ip(10, 10, 0, 48 + (n % 8) as u8) } else { 0 },
        src_mask: if n.is_multiple_of(3) { !0 } else { 0 },
        dport: [(n * 7 % 60) as u16, (n * 7 % 60 + n % 5) as u16],
        proto: if n.is_multiple_of(2) { proto::UDP } else { proto::TCP },
        flags: match n % 20 {
            0 => ACE_LOG,
            5 => ACE_QUIET,
            10 | 15 => 0,
            _ => ACE_PERMIT,
        },
        counter: n % 4,
        line: n + 1,
        ..Ace::default()
    };
    let mut aces: Vec<Ace> = (0..80).map(line).collect();
    aces.push(Ace { dport: [0, 300], proto: proto::UDP, flags: ACE_PERMIT, counter: 3, ..Ace::default() });
    let mut b = policy_with(&aces);
    let name = b.blob(b"few");
    let few =
        b.acl(name, &[Ace { dport: [9, 11], flags: ACE_PERMIT, proto: proto::UDP, ..Ace::default() }], &[]);
    let (name, flags) = (b.blob(b"few"), CLASS_LIMITS);
    b.class(ServiceClass { name, acl: few, conn_max: 5, slot: 1, flags, ..ServiceClass::default() });
    b
}

fn arrivals(most_ports: u16) -> impl Strategy<Value = Vec<Arrival>> {
    let outward = (
        (0..HOSTS).prop_map(host),
        0..most_ports,
        0u16..60,
        prop::sample::select(vec![0u8, 1, 2, 3, 4]),
        0u8..20,
        prop_oneof![6 => Just(WEB.ip), 1 => prop::sample::select(ELSEWHERE.to_vec())],
    )
        .prop_map(|(host, sport, dport, kind, ttl, dst)| match kind {
            0 => tcp((host, 2000 + sport), (dst, dport), MACS[INSIDE], 2),
            1 => tcp((host, 2000 + sport), (dst, dport), MACS[INSIDE], 16),
            2 => tcp((host, 2000 + sport), (dst, dport), MACS[INSIDE], 0xc2),
            _ => udp((host, 2000 + sport), (dst, dport), MACS[INSIDE], ttl.min(3), b"question"),
        });
    let inward =
        (0..most_ports, 0u16..60, any::<bool>(), any::<bool>()).prop_map(|(dport, sport, known, syn)| {
            let to = if known { (OWN[OUTSIDE], 2000 + dport) } else { (PUBLIC, 5061) };
            if syn {
                tcp((WEB, sport), to, MACS[OUTSIDE], 2)
            } else {
                udp((WEB, sport), to, MACS[OUTSIDE], 64, b"answer")
            }
        });
    let burst = prop_oneof![
        3 => prop::collection::vec(outward, 1..64).prop_map(|frames| (INSIDE, frames)),
        1 => prop::collection::vec(inward, 1..64).prop_map(|frames| (OUTSIDE, frames)),
    ];
    prop::collection::vec(burst, 1..12)
}

/// Lets a new worker have it all, `together` a burst at a time; with no room in the log for plain denials if `drowned`.
fn run(arrivals: &[Arrival], drowned: bool, together: bool) -> Seen {
    let mut policy = strict_policy();
    policy.globals(Globals { flags: SAME_SECURITY_INTRA, ..Globals::default() });
    let mut rig = Rig::with(policy);
    if drowned {
        rig.drown_log();
    }
    // Neighbours make themselves known, so that nothing waits.
    let inside = (0..HOSTS).map(|n| (INSIDE, host(n))).chain([(INSIDE, ROUTING), (OUTSIDE, WEB)]);
    for (side, station) in inside {
        let mut hello = [0; emit::ARP_FRAME_LEN];
        emit::arp_request(&mut hello, station, OWN[side], MacAddr::BROADCAST).unwrap();
        rig.send(side, &hello);
    }
    rig.moved();
    let mut out = Vec::new();
    for (side, frames) in arrivals {
        for some in frames.chunks(if together { frames.len() } else { 1 }) {
            some.iter().for_each(|frame| rig.far[*side].inject(frame));
            rig.turn();
        }
        out.push(rig.collect());
    }
    // What an operator is told is held back for some loops, and there are more of them for frames that come alone.
    let mut moved = rig.moved();
    for stat in [Stat::EventsLost, Stat::AclHitsLost] {
        moved.remove(stat.name());
    }
    Seen { out, moved }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_burst_is_its_packets_one_by_one(arrivals in prop_oneof![arrivals(6), arrivals(400)], drowned: bool) {
        let (together, alone) = (run(&arrivals, drowned, true), run(&arrivals, drowned, false));
        prop_assert_eq!(together, alone);
    }
}
