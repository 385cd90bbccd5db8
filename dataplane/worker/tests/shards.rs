// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several workers: whatever queue a frame comes by, it is translated once by the connection's owner and comes out once.

use super::crew::{Crew, Side, station, tuple};
use super::fragments::{cut, put_together, udp_payload};
use super::rig::{INSIDE, MACS, OUTSIDE, OWN, WEB, echo, ip, ipv4, udp};
use super::v6;
use crate::worker::command::{Asker, Clear, Command, Dump, Reply};
use crate::worker::mates::ROOM;
use fedgate_flow::Rng;
use fedgate_flow::key::{ICMP, UDP};
use fedgate_flow::shard::{self, Dealing};
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{ConnRow, Filter, Rows, What};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::{Tuple, checksum, emit6};
use std::collections::BTreeSet;

mod hairpins;

/// As a NIC on each side deals them out; and where one or both sides have a single queue.
pub(super) const SIDES: [[Side; 2]; 5] = [
    NICS,
    [Side::Dealt(Dealing::Symmetric), Side::Dealt(Dealing::Symmetric)],
    [Side::Single(0), Side::Single(1)],
    [Side::Single(0), Side::Dealt(Dealing::BySource)],
    [Side::Dealt(Dealing::Symmetric), Side::Single(1)],
];
const NICS: [Side; 2] = [Side::Dealt(Dealing::Symmetric), Side::Dealt(Dealing::BySource)];

/// Inside hosts .1 to .63 have dynamic PAT, .64 to .79 static NAT, the others none. Everything is permitted.
pub(super) fn policy() -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let name = b.blob(b"all");
    let any = Ace {
        sport: [0, 65535],
        dport: [0, 65535],
        flags: ACE_ANY_PROTO | ACE_PERMIT,
        counter: 1,
        line: 1,
        ..Ace::default()
    };
    let acl = b.acl(name, &[any], &[]);
    for (i, (name, security)) in [("outside", 0), ("inside", 100)].into_iter().enumerate() {
        let (name, device) = (b.blob(name.as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: OWN[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            flags: IF_MAC_SET,
            mac: MACS[i].0,
            acl_in: if i == OUTSIDE { acl } else { NONE },
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: WEB.ip, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
    let rule = NatRule { real_if: 1, mapped_if: 0, section: 1, ..NatRule::default() };
    b.nat(NatRule {
        real: [ip(10, 10, 0, 64), ip(10, 10, 0, 79)],
        mapped: [ip(198, 51, 100, 64), ip(198, 51, 100, 79)],
        kind: NatKind::Static as u8,
        counter: 1,
        ..rule
    });
    b.nat(NatRule {
        real: [ip(10, 10, 0, 1), ip(10, 10, 0, 63)],
        mapped: one_addr(OWN[OUTSIDE]),
        kind: NatKind::DynamicPat as u8,
        counter: 2,
        ..rule
    });
    b.globals(Globals::default());
    b
}

/// A UDP flow from an inside host.
#[derive(Clone, Copy, Debug)]
struct Flow {
    host: u32,
    sport: u16,
    remote: u32,
    dport: u16,
}

impl Flow {
    fn random(rng: &mut Rng, last_octets: std::ops::Range<u8>) -> Self {
        let word = rng.next();
        let octet = last_octets.start + (word as u8) % (last_octets.end - last_octets.start);
        Self {
            host: ip(10, 10, 0, octet),
            sport: (word >> 16) as u16 | 1024,
            remote: ip(203, 0, (word >> 32) as u8, (word >> 40) as u8 | 1),
            dport: (word >> 48) as u16 | 1,
        }
    }

    /// A question, and how it arrives outside.
    #[track_caller]
    fn ask(self, crew: &mut Crew) -> Tuple {
        let frame = udp((station(self.host), self.sport), (self.remote, self.dport), MACS[INSIDE], 64, b"q");
        let [outside, inside] = crew.send(INSIDE, &frame);
        assert_eq!((outside.len(), inside.len()), (1, 0), "{self:?}");
        let shown = tuple(&outside[0]);
        assert_eq!((shown.dst, shown.dport), (self.remote, self.dport));
        shown
    }

    /// The answer to what arrived as `shown`, which must reach the host as if nothing had been between.
    #[track_caller]
    fn answer(self, crew: &mut Crew, shown: Tuple) {
        let frame =
            udp((station(self.remote), self.dport), (shown.src, shown.sport), MACS[OUTSIDE], 64, b"a");
        let [outside, inside] = crew.send(OUTSIDE, &frame);
        assert_eq!((outside.len(), inside.len()), (0, 1), "{self:?} {shown:?}");
        let got = tuple(&inside[0]);
        assert_eq!(
            (got.src, got.sport, got.dst, got.dport),
            (self.remote, self.dport, self.host, self.sport)
        );
    }
}

/// Dynamic PAT, static NAT and no NAT, both ways, with as many workers and ports of every kind.
#[test]
fn every_frame_comes_out_once() {
    for (seed, sides) in (1u64..).zip(SIDES) {
        for workers in [2, 3] {
            let mut crew = Crew::new(workers, sides, policy());
            let mut rng = Rng::new(seed);
            for _ in 0..60 {
                let flow = Flow::random(&mut rng, 2..254);
                for _ in 0..2 {
                    let shown = flow.ask(&mut crew);
                    flow.answer(&mut crew, shown);
                }
            }
            // From outside to hosts that static NAT shows, or that are shown as they are.
            for _ in 0..40 {
                let flow = Flow::random(&mut rng, 64..254);
                let octet = flow.host & 0xff;
                let called = if octet < 80 { ip(198, 51, 100, octet as u8) } else { flow.host };
                let frame =
                    udp((station(flow.remote), flow.dport), (called, flow.sport), MACS[OUTSIDE], 64, b"c");
                let [outside, inside] = crew.send(OUTSIDE, &frame);
                assert_eq!((outside.len(), inside.len()), (0, 1), "{flow:?}");
                let back = Flow { host: flow.host, ..flow }.ask(&mut crew);
                assert_eq!((back.src, back.sport), (called, flow.sport));
            }
            assert_eq!(crew.all_drops(), 0);
            assert_eq!(crew.stat(Stat::HandedOver), crew.stat(Stat::TakenOver));
            assert!(crew.stat(Stat::HandedOver) > 0, "nothing was shown here");
            crew.assert_no_mbuf_held();
        }
    }
}

/// Where NICs hash on both sides nothing of dynamic PAT is handed over: hosts come by their owner's queue, and a port is chosen
/// by which the answers do.
#[test]
fn pat_needs_no_handing_over_where_nics_hash() {
    for workers in [2, 3, 4] {
        let mut crew = Crew::new(workers, NICS, policy());
        let mut rng = Rng::new(21);
        let mut owners = BTreeSet::new();
        for _ in 0..200 {
            let flow = Flow::random(&mut rng, 2..63);
            owners.insert(shard::of_host(flow.host, workers));
            for _ in 0..2 {
                let shown = flow.ask(&mut crew);
                flow.answer(&mut crew, shown);
            }
        }
        assert_eq!((crew.stat(Stat::HandedOver), crew.all_drops()), (0, 0), "{workers} workers");
        assert_eq!(owners.len(), usize::from(workers), "all have had their part");
    }
}

/// One host and port is shown as one port to all destinations, whichever workers' queues the answers come by.
#[test]
fn a_mapping_is_the_same_for_all_destinations() {
    let mut crew = Crew::new(3, SIDES[1], policy());
    let mut rng = Rng::new(9);
    for _ in 0..10 {
        let one = Flow::random(&mut rng, 2..63);
        let shown = one.ask(&mut crew);
        for _ in 0..10 {
            let other = Flow { host: one.host, sport: one.sport, ..Flow::random(&mut rng, 2..63) };
            let again = other.ask(&mut crew);
            assert_eq!((again.src, again.sport), (shown.src, shown.sport));
            other.answer(&mut crew, again);
        }
        one.answer(&mut crew, shown);
    }
    assert_eq!(crew.all_drops(), 0);
}

/// Echo: NICs hash addresses alone, the identifier says who the owner is.
#[test]
fn echo_goes_both_ways() {
    for sides in SIDES {
        let mut crew = Crew::new(3, sides, policy());
        for (n, octet) in (0u16..).zip([2, 40, 63, 64, 79, 100, 200]) {
            let (host, remote) = (ip(10, 10, 0, octet), ip(203, 0, 113, octet));
            let [outside, _] = crew.send(INSIDE, &echo(station(host), remote, MACS[INSIDE], 700 + n));
            let shown = tuple(&outside[0]);
            let l4 = [&[0, 0, 0, 0][..], &shown.sport.to_be_bytes(), &[0, 1, 1, 2, 3, 4]].concat();
            let reply = ipv4(station(remote), shown.src, MACS[OUTSIDE], ICMP, 64, 0, &with_checksum(l4));
            let [_, inside] = crew.send(OUTSIDE, &reply);
            assert_eq!((tuple(&inside[0]).dst, tuple(&inside[0]).dport), (host, 700 + n));
        }
        assert_eq!(crew.all_drops(), 0);
    }
}

/// An error about a packet of another worker's connection finds its way to who sent that packet.
#[test]
fn icmp_errors_find_the_owner() {
    for sides in SIDES {
        let mut crew = Crew::new(2, sides, policy());
        let mut rng = Rng::new(4);
        for _ in 0..20 {
            let flow = Flow::random(&mut rng, 2..254);
            let frame =
                udp((station(flow.host), flow.sport), (flow.remote, flow.dport), MACS[INSIDE], 64, b"q");
            let [outside, _] = crew.send(INSIDE, &frame);
            let shown = tuple(&outside[0]);
            let l4 = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &outside[0][14..42]].concat();
            let router = station(ip(203, 0, 113, 77));
            let error = ipv4(router, shown.src, MACS[OUTSIDE], ICMP, 64, 0, &with_checksum(l4));
            let [outside, inside] = crew.send(OUTSIDE, &error);
            assert_eq!((outside.len(), inside.len()), (0, 1), "{flow:?}");
            assert_eq!(tuple(&inside[0]).dst, flow.host);
            assert_eq!(inside[0][14 + 28 + 12..][..4], flow.host.to_be_bytes(), "the quote");
        }
        assert_eq!(crew.all_drops(), 0);
    }
}

/// A worker that does not come to its ring loses no more than what finds no room there, by name; the rest comes out in order.
#[test]
fn a_full_ring_drops_by_name() {
    let mut crew = Crew::new(2, [Side::Single(0), Side::Single(0)], policy());
    let mut rng = Rng::new(5);
    let flow =
        std::iter::repeat_with(|| Flow::random(&mut rng, 2..63)).find(|f| shard::of_host(f.host, 2) == 1);
    let flow = flow.unwrap();
    let shown = flow.ask(&mut crew);
    flow.answer(&mut crew, shown);
    for n in 0..ROOM + 6 {
        let payload = [n as u8; 4];
        let answer =
            udp((station(flow.remote), flow.dport), (shown.src, shown.sport), MACS[OUTSIDE], 64, &payload);
        crew.inject(OUTSIDE, &answer);
        crew.turn_only(0);
    }
    assert_eq!(crew.drops(DropReason::DispatchQueueLimit), 6);
    let [_, inside] = crew.settle();
    let order: Vec<u8> = inside.iter().map(|frame| frame[42]).collect();
    assert_eq!(order, (0..ROOM as u8).collect::<Vec<_>>());
    assert_eq!(crew.all_drops(), 6);
    crew.assert_no_mbuf_held();
}

/// Fragments of one datagram by any workers' queues and in any order: one worker collects them, the owner sends them on.
#[test]
fn fragments_find_each_other_and_the_owner() {
    let mut crew = Crew::new(3, NICS, policy());
    let mut rng = Rng::new(11);
    for round in 0..40 {
        let flow = Flow::random(&mut rng, 2..254);
        let [host, remote] = [flow.host, flow.remote].map(station);
        let payload = udp_payload((host, flow.sport), (flow.remote, flow.dport), 3000);
        let mut pieces = cut(host, flow.remote, MACS[INSIDE], UDP, &payload, &[0, 1480, 2960]);
        pieces.rotate_left(round % 3);
        pieces.iter().for_each(|piece| crew.inject_at(INSIDE, (rng.next() % 3) as usize, piece));
        let [outside, _] = crew.settle();
        assert_eq!(outside.len(), 3, "{flow:?}");
        let (shown, to, whole) = put_together(&outside);
        assert_eq!((to, &whole[8..]), (flow.remote, &payload[8..]));

        let port = u16::from_be_bytes([whole[0], whole[1]]);
        let payload = udp_payload((remote, flow.dport), (shown, port), 3000);
        let mut pieces = cut(remote, shown, MACS[OUTSIDE], UDP, &payload, &[0, 1480, 2960]);
        pieces.rotate_left((round + 1) % 3);
        pieces.iter().for_each(|piece| crew.inject_at(OUTSIDE, (rng.next() % 3) as usize, piece));
        let [_, inside] = crew.settle();
        assert_eq!(inside.len(), 3, "{flow:?}");
        let (_, to, whole) = put_together(&inside);
        assert_eq!((to, &whole[8..]), (flow.host, &payload[8..]));
    }
    assert_eq!(crew.all_drops(), 0);
    crew.assert_no_mbuf_held();
}

/// IPv6: what one worker hears of a neighbour all know, and a flow has one owner whichever queues its packets come by.
#[test]
fn ipv6_flows_have_one_owner() {
    let mut crew = Crew::new(3, NICS, v6::policy(1500));
    crew.wait(v6::DETECTION);
    crew.collect();
    for (side, from) in [(OUTSIDE, v6::WEB), (INSIDE, v6::HOST)] {
        let mut frame = [0; emit6::ND_FRAME_LEN];
        let len = emit6::solicitation(&mut frame, from, v6::OWN[side], None).unwrap();
        crew.inject_at(side, 0, &frame[..len]);
    }
    crew.settle();
    let asked = crew.stat(Stat::NdSolicitations);
    for n in 0..30u16 {
        let question = v6::udp(v6::HOST, v6::WEB.ip, (3000 + n, 53), INSIDE, 64, b"q");
        let answer = v6::udp(v6::WEB, v6::HOST.ip, (53, 3000 + n), OUTSIDE, 64, b"a");
        for worker in 0..3 {
            crew.inject_at(INSIDE, worker, &question);
            let [outside, inside] = crew.settle();
            assert_eq!((outside.len(), inside.len()), (1, 0));
            crew.inject_at(OUTSIDE, (worker + 1) % 3, &answer);
            let [outside, inside] = crew.settle();
            assert_eq!((outside.len(), inside.len()), (0, 1));
        }
    }
    assert_eq!((crew.stat(Stat::NdSolicitations), crew.stat(Stat::ConnsBuilt)), (asked, 30));
    // In fragments by any queues: one worker collects them, the owner sends them on.
    for n in 0..20u16 {
        let upper = v6::fragments::datagram((v6::HOST.ip, 4000 + n), (v6::WEB.ip, 53), 3000);
        let mut pieces = v6::fragments::cut(v6::HOST, v6::WEB.ip, INSIDE, UDP, &upper, &[0, 1448, 2896]);
        pieces.rotate_left(usize::from(n % 3));
        (0..3).for_each(|worker| crew.inject_at(INSIDE, worker, &pieces[worker]));
        let [outside, _] = crew.settle();
        assert_eq!(v6::fragments::put_together(&outside).2, upper);
    }
    assert_eq!(crew.stat(Stat::ConnsBuilt), 50);
    assert_eq!(crew.all_drops(), 0);
    crew.assert_no_mbuf_held();
}

/// Workers take up a policy one after the other; frames that cross from one to another in between are not lost.
#[test]
fn a_policy_change_loses_nothing() {
    let mut crew = Crew::new(2, SIDES[2], policy());
    let mut rng = Rng::new(6);
    let flows: Vec<Flow> = (0..20).map(|_| Flow::random(&mut rng, 2..254)).collect();
    let shown: Vec<Tuple> = flows.iter().map(|flow| flow.ask(&mut crew)).collect();
    flows.iter().zip(&shown).for_each(|(flow, shown)| flow.answer(&mut crew, *shown));
    for generation in 2..6 {
        for (flow, shown) in flows.iter().zip(&shown) {
            let answer =
                udp((station(flow.remote), flow.dport), (shown.src, shown.sport), MACS[OUTSIDE], 64, b"a");
            crew.inject(OUTSIDE, &answer);
        }
        crew.turn_only(0);
        crew.publish(policy(), generation);
        crew.turn_only((generation % 2) as usize);
        let [outside, inside] = crew.settle();
        assert_eq!((outside.len(), inside.len()), (0, flows.len()));
    }
    assert_eq!(crew.all_drops(), 0);
}

/// What one worker has learned by ARP all know: a second host's packets by another worker ask nobody for the gateway.
#[test]
fn arp_is_learned_by_all() {
    let mut crew = Crew::new(2, SIDES[1], policy());
    let mut rng = Rng::new(7);
    let mut asked = [false; 2];
    while asked != [true; 2] {
        let flow = Flow::random(&mut rng, 2..63);
        flow.ask(&mut crew);
        asked[usize::from(shard::of_host(flow.host, 2))] = true;
    }
    // Both asked for the gateway; from now on one answer is enough for both.
    let requests = crew.stat(Stat::ArpRequests);
    crew.wait(5000);
    let flow = Flow::random(&mut rng, 2..63);
    let shown = flow.ask(&mut crew);
    assert_eq!(crew.stat(Stat::ArpRequests), requests);
    // An announcement that comes by worker 0's queue moves the gateway for both.
    let moved = fedgate_wire::emit::Station { mac: fedgate_wire::MacAddr([2, 9, 9, 9, 9, 9]), ip: WEB.ip };
    let mut frame = [0; fedgate_wire::emit::ARP_FRAME_LEN];
    fedgate_wire::emit::arp_gratuitous(&mut frame, moved).unwrap();
    crew.send(OUTSIDE, &frame);
    for octet in 2..20 {
        let host = station(ip(10, 10, 0, octet));
        let frame = udp((host, 999), (flow.remote, flow.dport), MACS[INSIDE], 64, b"q");
        let [outside, _] = crew.send(INSIDE, &frame);
        assert_eq!(outside[0][..6], moved.mac.0);
    }
    flow.answer(&mut crew, shown);
}

/// The policy of [`policy`] with other NAT rules, and sessions may turn round.
fn policy_of(rules: &[NatRule], pools: &[AddrRange]) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    for (i, (name, security)) in [("outside", 100), ("inside", 100)].into_iter().enumerate() {
        let (name, device) = (b.blob(name.as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: OWN[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            flags: IF_MAC_SET,
            mac: MACS[i].0,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: WEB.ip, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
    let (first, _) = b.pool(pools);
    for rule in rules {
        let pool = if rule.pool_count > 0 { first + rule.pool } else { rule.pool };
        b.nat(NatRule { pool, real_if: 1, mapped_if: 0, section: 1, ..*rule });
    }
    b.globals(Globals { flags: SAME_SECURITY_INTER | SAME_SECURITY_INTRA, ..Globals::default() });
    b
}

/// Sixteen addresses for sixteen hosts: a pool far smaller than the 64 ports by which PAT is dealt out serves hosts of all workers.
#[test]
fn a_small_pool_of_addresses_serves_all_hosts() {
    let pool = AddrRange { first: ip(198, 51, 100, 100), last: ip(198, 51, 100, 115) };
    for workers in [2, 3] {
        for sides in SIDES {
            let rule = NatRule {
                real: [ip(10, 10, 0, 0), ip(10, 10, 0, 255)],
                kind: NatKind::Dynamic as u8,
                pool_count: 1,
                ..NatRule::default()
            };
            let mut crew = Crew::new(workers, sides, policy_of(&[rule], &[pool]));
            let mut rng = Rng::new(12);
            let mut shown_as = BTreeSet::new();
            for octet in 20..36 {
                for _ in 0..2 {
                    let flow = Flow { host: ip(10, 10, 0, octet), ..Flow::random(&mut rng, 20..36) };
                    let shown = flow.ask(&mut crew);
                    assert_eq!(shown.sport, flow.sport);
                    shown_as.insert(shown.src);
                    flow.answer(&mut crew, shown);
                }
            }
            assert_eq!(shown_as.len(), 16, "an address each");
            assert_eq!(crew.all_drops(), 0);
        }
    }
}

/// Neighbour messages that cannot be believed, and floods of those that can, keep no worker from the answer that it waits for.
#[test]
fn floods_do_not_starve_what_a_worker_waits_for() {
    let mut crew = Crew::new(2, SIDES[1], policy());
    let mut rng = Rng::new(14);
    let flow =
        std::iter::repeat_with(|| Flow::random(&mut rng, 2..63)).find(|f| shard::of_host(f.host, 2) == 1);
    let flow = flow.unwrap();
    let question = udp((station(flow.host), flow.sport), (flow.remote, flow.dport), MACS[INSIDE], 64, b"q");
    // Forged solicitations from beyond the link, and requests by hosts of the link, all by worker 0's queue.
    let mut forged = [0; emit6::ND_FRAME_LEN];
    let len = emit6::solicitation(&mut forged, v6::WEB, v6::OWN[OUTSIDE], None).unwrap();
    forged[21] = 64;
    for n in 0..1200u32 {
        let mut request = [0; fedgate_wire::emit::ARP_FRAME_LEN];
        let asker = station(ip(198, 51, 100, 40 + (n % 200) as u8));
        let to = fedgate_wire::MacAddr::BROADCAST;
        fedgate_wire::emit::arp_request(&mut request, asker, OWN[OUTSIDE], to).unwrap();
        crew.inject_at(OUTSIDE, 0, &request);
        crew.inject_at(OUTSIDE, 0, &forged[..len]);
        if n % 16 == 0 {
            crew.turn();
            crew.collect();
        }
    }
    crew.turn();
    crew.collect();
    let [outside, _] = crew.send(INSIDE, &question);
    assert_eq!(outside.len(), 1, "worker 1 has heard the gateway's answer, which came to worker 0");
}

/// Each worker lists and ends its own; no two connections have one number.
#[test]
fn listings_and_clears_cover_all_workers() {
    let mut crew = Crew::new(2, NICS, policy());
    let mut rng = Rng::new(8);
    for _ in 0..30 {
        Flow::random(&mut rng, 2..254).ask(&mut crew);
    }
    let asker = Asker { id: 1, link: 1 };
    let list = |crew: &mut Crew, worker| {
        let dump = Dump { asker, what: What::Conns, filter: Filter::default(), cursor: 0 };
        match crew.ask(worker, Command::Dump(dump)) {
            Reply::Page { rows: Rows::Conns(rows), next: None, .. } => rows,
            _ => panic!("one page"),
        }
    };
    let rows: Vec<Vec<ConnRow>> = (0..2).map(|worker| list(&mut crew, worker)).collect();
    assert!(rows.iter().all(|rows| rows.len() > 3), "both have some");
    let ids: BTreeSet<u64> = rows.iter().flatten().map(|row| row.id).collect();
    assert_eq!(ids.len(), 30);
    for (worker, rows) in rows.iter().enumerate() {
        let clear = Clear { asker, what: What::Conns, filter: Filter::default(), cursor: 0, count: 0 };
        let Reply::Cleared { clear, next: None } = crew.ask(worker, Command::Clear(clear)) else {
            panic!("done at once")
        };
        assert_eq!(clear.count, rows.len() as u64);
        assert!(list(&mut crew, worker).is_empty());
    }
}

fn with_checksum(mut icmp: Vec<u8>) -> Vec<u8> {
    let sum = checksum::of(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    icmp
}
