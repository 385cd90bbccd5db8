// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a router and firewall does: ARP, PAT out and back, static PAT in, refusals, and the ICMP it owes.

use super::rig::*;
use crate::worker::command::{Asker, Clear, Command, Dump, Reply};
use fedgate_tables::link::{Event, Filter, NO_CONNECTION, Rows, What};
use fedgate_tables::policy::{Ace, Interface, NONE, NatKind, NatRule, one_addr};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Arp, MacAddr, checksum, parse, plain, proto};

const ASKER: Asker = Asker { id: 6, link: 1 };
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

#[test]
fn addresses_are_announced_and_answered_for() {
    let mut rig = Rig::new();
    let [outside, inside] = rig.collect();
    let mut announced: Vec<u32> = outside.iter().filter_map(|f| arp_target(f)).collect();
    announced.sort_unstable();
    assert_eq!(announced, [OWN[OUTSIDE], PUBLIC]);
    assert_eq!(inside.iter().filter_map(|f| arp_target(f)).collect::<Vec<_>>(), [OWN[INSIDE]]);
    rig.moved();

    // Proxy ARP for the address that static PAT shows; silence for one that nobody has.
    for (target, answered) in [(PUBLIC, 1), (OWN[OUTSIDE], 1), (ip(198, 51, 100, 77), 0)] {
        let mut ask = [0; emit::ARP_FRAME_LEN];
        emit::arp_request(&mut ask, WEB, target, MacAddr::BROADCAST).unwrap();
        let [out, _] = rig.send(OUTSIDE, &ask);
        assert_eq!(out.len(), answered, "{target:#x}");
        for reply in out {
            let arp = Arp::new_checked(&reply[14..]).unwrap();
            assert_eq!(
                (arp.sender_ip(), arp.sender_mac(), arp.target_mac()),
                (target, MACS[OUTSIDE], WEB.mac)
            );
        }
    }
    rig.expect(&[("outside rx", 3), ("outside tx", 2), ("arp_replies", 2)]);
    rig.assert_no_mbuf_held();
}

#[test]
fn a_workstation_goes_out_by_interface_pat_and_gets_its_answer() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let out = rig.exchange(
        INSIDE,
        &udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question"),
        &[(OUTSIDE, WEB)],
    );
    assert_eq!(
        out[OUTSIDE],
        [udp(
            (Station { mac: MACS[OUTSIDE], ip: OWN[OUTSIDE] }, 5353),
            (WEB.ip, 53),
            WEB.mac,
            63,
            b"question"
        )]
    );
    rig.expect(&[
        ("inside rx", 1),
        ("outside tx", 2),
        ("outside rx", 1),
        ("arp_requests", 1),
        ("conns_built", 1),
        ("xlates_built", 1),
    ]);
    let back = udp((WEB, 53), (OWN[OUTSIDE], 5353), MACS[OUTSIDE], 64, b"answer");
    let out = rig.exchange(OUTSIDE, &back, &[(INSIDE, WORK)]);
    let web_seen_inside = Station { mac: MACS[INSIDE], ip: WEB.ip };
    assert_eq!(out[INSIDE], [udp((web_seen_inside, 53), (WORK.ip, 5353), WORK.mac, 63, b"answer")]);
    rig.expect(&[("outside rx", 1), ("inside tx", 2), ("inside rx", 1), ("arp_requests", 1)]);
    rig.assert_no_mbuf_held();

    // Idle for `timeout udp` and `timeout pat-xlate`, both are gone.
    rig.wait(121_000);
    rig.wait(31_000);
    rig.collect();
    let moved = rig.moved();
    assert_eq!((moved.get("conns_torn_down"), moved.get("xlates_torn_down")), (Some(&1), Some(&1)));
}

#[test]
fn static_pat_lets_in_what_the_acl_permits_and_nothing_else() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let syn = tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], SYN);
    let out = rig.exchange(OUTSIDE, &syn, &[(INSIDE, ROUTING)]);
    let got = parse(&out[INSIDE][0]).unwrap();
    assert_eq!((got.tuple.src, got.tuple.dst, got.tuple.dport), (WEB.ip, SERVER, 5061));
    let moved = rig.moved();
    assert_eq!((moved.get("ace 1"), moved.get("conns_built")), (Some(&1), Some(&1)));

    // Another port, the same host: no translation. A host on the inside: denied by the logged ACE. No state is left.
    for (dst, port, reason) in [
        (PUBLIC, 443, "nat-no-xlate-to-pat-pool"),
        (WORK.ip, 22, "acl-drop"),
        (SERVER, 5061, "nat-rpf-failed"),
    ] {
        let out = rig.send(OUTSIDE, &tcp((WEB, 40_001), (dst, port), MACS[OUTSIDE], SYN));
        assert_eq!(out, [Vec::<Vec<u8>>::new(), Vec::new()]);
        let moved = rig.moved();
        assert_eq!((moved.get(reason), moved.get("conns_built")), (Some(&1), None), "{reason}: {moved:?}");
    }
    rig.wait(200);
    let told: Vec<Event> = rig.events();
    let [Event::AclHits { flow, hits: 1 }] = told[..] else { panic!("{told:?}") };
    assert_eq!((flow.line, flow.permitted, flow.log, flow.packet.dport), (2, false, true, 22));
    assert_eq!((flow.packet.in_if, flow.packet.out_if), (0, Some(1)));

    // The same again and again is two events: what was due already, and the rest.
    for _ in 0..50 {
        rig.send(OUTSIDE, &tcp((WEB, 40_001), (WORK.ip, 22), MACS[OUTSIDE], SYN));
    }
    rig.wait(200);
    let told: Vec<Event> = rig.events();
    let same = told.iter().all(|told| matches!(told, Event::AclHits { flow: again, .. } if *again == flow));
    assert!(same && told.len() == 2, "{told:?}");
    assert!(told.contains(&Event::AclHits { flow, hits: 49 }), "{told:?}");
    rig.assert_no_mbuf_held();
}

/// A plain denial is given its line when it is told; where there is another policy by then, none.
#[test]
fn plain_denials_are_told_by_their_line() {
    let all = Ace { counter: 3, line: 7, id: 9, ..Ace::default() };
    let mut rig = Rig::with(policy_with(&[all]));
    rig.collect();
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question");
    // The first is told at once, the second has to wait.
    rig.send(INSIDE, &question);
    rig.send(INSIDE, &question);
    rig.publish(policy_with(&[]), 2);
    rig.wait(200);
    let told: Vec<_> = rig
        .events()
        .into_iter()
        .map(|told| match told {
            Event::AclHits { flow, hits } => (flow.acl, flow.line, flow.id, flow.log, hits),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(1, 7, 9, false, 1), (1, 0, 0, false, 1)]);
}

#[test]
fn a_segment_of_no_connection_is_named() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    rig.send(OUTSIDE, &tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], ACK));
    rig.expect(&[("outside rx", 1), ("tcp-not-syn", 1)]);
    rig.wait(200);
    let told: Vec<Event> = rig.events();
    let [Event::AclHits { flow, hits: 1 }] = told[..] else { panic!("{told:?}") };
    assert_eq!((flow.acl, flow.permitted, flow.log), (NO_CONNECTION, false, false));
    assert_eq!((flow.packet.dst, flow.packet.flags), (PUBLIC.into(), ACK));
    // The right tuple on the wrong side.
    rig.exchange(INSIDE, &udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
    rig.moved();
    rig.send(OUTSIDE, &udp((WORK, 5353), (WEB.ip, 53), MACS[OUTSIDE], 64, b"q"));
    rig.expect(&[("outside rx", 1), ("rpf-violated", 1)]);
}

#[test]
fn the_appliance_answers_pings_to_the_near_address_only() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let out = rig.send(INSIDE, &echo(WORK, OWN[INSIDE], MACS[INSIDE], 7));
    let reply = parse(&out[INSIDE][0]).unwrap();
    assert_eq!((reply.tuple.src, reply.tuple.dst, reply.icmp_type), (OWN[INSIDE], WORK.ip, 0));
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("icmp_echo_replies", 1)]);
    rig.send(INSIDE, &echo(WORK, OWN[OUTSIDE], MACS[INSIDE], 7));
    rig.expect(&[("inside rx", 1), ("np-socket-closed", 1)]);
    rig.send(OUTSIDE, &tcp((WEB, 1), (OWN[OUTSIDE], 22), MACS[OUTSIDE], SYN));
    rig.expect(&[("outside rx", 1), ("np-socket-closed", 1)]);
}

/// RFC 1812 5.3.1: the sender is told, and a traceroute leaves no connection.
#[test]
fn ttl_runs_out_with_word_to_the_sender() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let out = rig.send(INSIDE, &udp((WORK, 33_434), (WEB.ip, 33_434), MACS[INSIDE], 1, b"trace"));
    let error = parse(&out[INSIDE][0]).unwrap();
    assert_eq!((error.tuple.src, error.tuple.dst, error.icmp_type), (OWN[INSIDE], WORK.ip, 11));
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("icmp_errors_sent", 1), ("ttl-exceeded", 1)]);
}

#[test]
fn no_route_is_said() {
    let mut rig = Rig::with(bare(1500));
    rig.collect();
    rig.moved();
    let out = rig.send(INSIDE, &udp((WORK, 9), (ip(192, 0, 2, 9), 9), MACS[INSIDE], 64, b"x"));
    assert_eq!(parse(&out[INSIDE][0]).unwrap().icmp_type, 3);
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("icmp_errors_sent", 1), ("no-route", 1)]);
}

/// MUST, RFC 4787 REQ-13: too large for the egress: with DF an error that names the MTU, without it pieces that add up (RFC 1191, RFC 791).
#[test]
fn rfc4787_req13_mtu_is_kept_to() {
    let mut rig = Rig::with(bare(600));
    rig.collect();
    let payload: Vec<u8> = (0..1200u32).map(|i| i as u8).collect();
    let big = udp((WORK, 7000), (WEB.ip, 7000), MACS[INSIDE], 64, &payload);
    let out = rig.exchange(INSIDE, &big, &[(OUTSIDE, WEB)]);
    let pieces = &out[OUTSIDE];
    assert_eq!(pieces.len(), 3);
    // RFC 6864 5.3: behind one address hosts' identifications may meet, so the pieces have one of ours.
    assert!(pieces.iter().all(|piece| piece[18..20] == pieces[0][18..20]));
    assert_ne!(pieces[0][18..20], big[18..20]);
    let mut whole = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let ip = &piece[14..];
        let word = u16::from_be_bytes([ip[6], ip[7]]);
        assert!(ip.len() <= 600 && checksum::is_valid(&ip[..20]));
        assert_eq!(usize::from(word & 0x1fff) * 8, whole.len());
        assert_eq!(word & 0x2000 != 0, i < 2);
        whole.extend_from_slice(&ip[20..]);
    }
    assert!(checksum::is_valid_segment(OWN[OUTSIDE], WEB.ip, proto::UDP, &whole));
    assert_eq!(whole[8..], payload);

    let mut df = big.clone();
    df[20..22].copy_from_slice(&0x4000u16.to_be_bytes());
    df[24..26].fill(0);
    let sum = checksum::of(&df[14..34]);
    df[24..26].copy_from_slice(&sum.to_be_bytes());
    rig.moved();
    let out = rig.send(INSIDE, &df);
    let error = parse(&out[INSIDE][0]).unwrap();
    assert_eq!((error.icmp_type, error.icmp_code), (3, 4));
    let mtu = &out[INSIDE][0][usize::from(error.l4) + 6..usize::from(error.l4) + 8];
    assert_eq!(mtu, 600u16.to_be_bytes());
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("icmp_errors_sent", 1), ("mtu-exceeded", 1)]);
    rig.assert_no_mbuf_held();
}

/// RFC 826 knows no end to what was learned: a MAC that changes, or a port, is announced.
#[test]
fn another_mac_is_announced() {
    let mut rig = Rig::new();
    rig.collect();
    rig.publish(policy(), 2);
    rig.turn();
    assert_eq!(rig.collect(), [Vec::<Vec<u8>>::new(), Vec::new()], "nothing has changed");
    rig.publish_with([MACS[OUTSIDE], MacAddr([2, 0, 0, 0, 0, 9])], policy(), 3);
    rig.turn();
    let [outside, inside] = rig.collect();
    assert!(outside.is_empty());
    assert_eq!(inside.iter().map(|f| arp_target(f)).collect::<Vec<_>>(), [Some(OWN[INSIDE])]);
    assert_eq!(inside[0][6..12], [2, 0, 0, 0, 0, 9]);
}

/// Two interfaces without ACLs or a default route, everything from inside behind the outside address.
pub fn bare(mtu: u16) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    for (i, (security, mtu)) in [(0, mtu), (100, 1500)].into_iter().enumerate() {
        let (name, device) = (b.blob(format!("if{i}").as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: OWN[i],
            mask: 0xffff_ff00,
            mtu,
            security,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.nat(NatRule {
        real_if: 1,
        mapped_if: 0,
        mapped: one_addr(OWN[0]),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        ..NatRule::default()
    });
    b
}

/// Nobody answers ARP: three requests, then the packet that waited is dropped by name and its sender told, with its own
/// addresses in the quote although it was translated already.
#[test]
fn an_absent_neighbour_is_reported_to_the_sender() {
    let mut rig = Rig::new();
    // The workstation has been heard of, so that the error finds it.
    let mut hello = [0; emit::ARP_FRAME_LEN];
    emit::arp_request(&mut hello, WORK, OWN[INSIDE], MacAddr::BROADCAST).unwrap();
    rig.send(INSIDE, &hello);
    rig.moved();
    let ghost = ip(198, 51, 100, 99);
    let out = rig.send(INSIDE, &udp((WORK, 5353), (ghost, 53), MACS[INSIDE], 64, b"anybody?"));
    assert_eq!(arp_target(&out[OUTSIDE][0]), Some(ghost));
    rig.wait(3500);
    let [outside, inside] = rig.collect();
    assert_eq!(outside.iter().filter(|f| arp_target(f) == Some(ghost)).count(), 2);
    let error = parse(&inside[0]).unwrap();
    assert_eq!((error.tuple.dst, error.icmp_type, error.icmp_code), (WORK.ip, 3, 1));
    let quoted = parse::embedded(&inside[0], &error).unwrap().tuple;
    assert_eq!((quoted.src, quoted.sport, quoted.dst), (WORK.ip, 5353, ghost));
    let moved = rig.moved();
    assert_eq!((moved.get("no-adjacency"), moved.get("icmp_errors_sent")), (Some(&1), Some(&1)), "{moved:?}");
    rig.assert_no_mbuf_held();
}

#[test]
fn a_connection_is_listed_and_cleared() {
    let mut rig = Rig::new();
    rig.exchange(INSIDE, &udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
    let dump = Dump { asker: ASKER, what: What::Conns, filter: Filter::default(), cursor: 0 };
    let Reply::Page { rows: Rows::Conns(rows), next: None, .. } = rig.command(Command::Dump(dump.clone()))
    else {
        panic!("one page")
    };
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (row.initiator.real, row.initiator.mapped, row.responder.real),
        (WORK.ip.into(), OWN[OUTSIDE].into(), WEB.ip.into())
    );
    assert_eq!((row.packets, row.bytes, row.inbound), (1, 29, false));
    let other = Filter { address: Some(SERVER.into()), ..Filter::default() };
    let clear =
        |filter| Command::Clear(Clear { asker: ASKER, what: What::Conns, filter, cursor: 0, count: 0 });
    for (filter, ended) in [(other, 0), (Filter::default(), 1)] {
        let Reply::Cleared { clear, next: None } = rig.command(clear(filter)) else { panic!("done at once") };
        assert_eq!((clear.asker, clear.count), (ASKER, ended));
    }
    let Reply::Page { rows: Rows::Conns(rows), .. } = rig.command(Command::Dump(dump)) else {
        panic!("one page")
    };
    assert!(rows.is_empty());
}

/// A new policy is taken between bursts; connections go on.
#[test]
fn a_policy_change_keeps_connections() {
    let mut rig = Rig::new();
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q");
    rig.exchange(INSIDE, &question, &[(OUTSIDE, WEB)]);
    rig.publish(policy(), 2);
    rig.turn();
    rig.collect();
    rig.moved();
    let out = rig.send(INSIDE, &question);
    assert_eq!(out[OUTSIDE].len(), 1);
    rig.expect(&[("inside rx", 1), ("outside tx", 1)]);
}

/// A resolver's A and AAAA: the second datagram of a new flow is in the same burst as the first.
#[test]
fn the_second_packet_of_a_new_flow_in_one_burst_passes() {
    let mut rig = Rig::new();
    rig.exchange(INSIDE, &udp((WORK, 999), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
    rig.collect();
    rig.moved();
    for _ in 0..2 {
        rig.far[INSIDE].inject(&udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"A?"));
    }
    rig.turn();
    assert_eq!(rig.collect()[OUTSIDE].len(), 2);
    rig.expect(&[("inside rx", 2), ("outside tx", 2), ("conns_built", 1), ("xlates_built", 1)]);
}

/// In one burst a RST, the initiator's new SYN, and a straggler: what the first packets ended, the last must not use.
#[test]
fn a_packet_does_not_use_what_an_earlier_one_of_its_burst_ended() {
    let mut rig = Rig::new();
    let out = |flags, numbers| tcp_at((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], flags, numbers);
    let back = |flags, numbers| tcp_at((WEB, 80), (OWN[OUTSIDE], 5000), MACS[OUTSIDE], flags, numbers);
    rig.exchange(INSIDE, &out(SYN, [100, 0]), &[(OUTSIDE, WEB)]);
    rig.exchange(OUTSIDE, &back(SYN | ACK, [700, 101]), &[(INSIDE, WORK)]);
    rig.collect();
    rig.moved();
    for (flags, numbers) in [(RST, [101, 0]), (SYN, [900, 0]), (ACK, [101, 701])] {
        rig.far[INSIDE].inject(&out(flags, numbers));
    }
    rig.turn();
    rig.collect();
    let moved = rig.moved();
    assert_eq!((moved.get("conns_built"), moved.get("conns_torn_down")), (Some(&1), Some(&1)), "{moved:?}");
    assert_eq!(moved.get("tcp-3whs-failed"), Some(&1), "{moved:?}");
    // The far side cannot do the same: its SYN does not end what the inside opened.
    for (flags, numbers) in [(RST | ACK, [0, 901]), (SYN, [500, 0])] {
        rig.send(OUTSIDE, &back(flags, numbers));
    }
    assert_eq!(rig.moved().get("conns_torn_down"), None);
    // Every timer there is fires, and nothing ends twice.
    rig.wait(3_700_000);
    rig.collect();
    assert_eq!(rig.moved().get("conns_torn_down"), Some(&1));
}

#[test]
fn broadcast_and_multicast_are_not_forwarded() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    for dst in [u32::MAX, ip(224, 0, 0, 251), ip(198, 51, 100, 255)] {
        rig.send(INSIDE, &udp((WORK, 137), (dst, 137), MACS[INSIDE], 64, b"netbios"));
        rig.expect(&[("inside rx", 1), ("ip-not-unicast", 1)]);
    }
    rig.send(INSIDE, &udp((WORK, 5353), (WEB.ip, 53), MacAddr::BROADCAST, 64, b"x"));
    rig.expect(&[("inside rx", 1), ("ip-not-unicast", 1)]);
}

/// RFC 5227 2.1.1: whoever probes for an address of ours is told, and not learned.
#[test]
fn an_arp_probe_is_answered() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let mut probe = [0; emit::ARP_FRAME_LEN];
    emit::arp_request(&mut probe, Station { mac: WEB.mac, ip: 0 }, PUBLIC, MacAddr::BROADCAST).unwrap();
    let [out, _] = rig.send(OUTSIDE, &probe);
    assert_eq!(out.len(), 1);
    rig.expect(&[("outside rx", 1), ("outside tx", 1), ("arp_replies", 1)]);
}

/// The interfaces change places in the configuration: live connections go on.
#[test]
fn interfaces_may_change_places() {
    let mut rig = Rig::new();
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q");
    rig.exchange(INSIDE, &question, &[(OUTSIDE, WEB)]);
    let mut b = PolicyBuilder::new();
    for (i, security) in [(INSIDE, 100), (OUTSIDE, 0)] {
        let (name, device) = (b.blob(format!("if{i}").as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: OWN[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    rig.publish_on([1, 0], b, 2);
    rig.turn();
    rig.collect();
    let out = rig.exchange(INSIDE, &question, &[(OUTSIDE, WEB)]);
    let sent: Vec<_> = out[OUTSIDE].iter().filter(|f| arp_target(f).is_none()).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(parse(sent[0]).unwrap().tuple.src, OWN[OUTSIDE]);
}

/// Sixty-five new flows at once through a burst of 64, in and out in order.
#[test]
fn bursts_keep_order() {
    let mut rig = Rig::new();
    rig.exchange(INSIDE, &udp((WORK, 999), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
    for port in 1000..1065 {
        rig.far[INSIDE].inject(&udp((WORK, port), (WEB.ip, 53), MACS[INSIDE], 64, b"q"));
    }
    rig.turn();
    let [outside, _] = rig.collect();
    let ports: Vec<u16> = outside.iter().map(|f| parse(f).unwrap().tuple.sport).collect();
    assert_eq!(ports, (1000..1065).collect::<Vec<_>>());
}

/// What lies behind the datagram leaves with neither a first packet nor a later one, unless a link's padding explains it.
#[test]
fn nothing_rides_behind_a_datagram() {
    let mut rig = Rig::new();
    rig.collect();
    for (round, behind) in [(0, 0), (1, 7), (2, 500), (3, 0), (4, 500)] {
        let frame = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"a question of some length");
        let shown = Station { mac: MACS[OUTSIDE], ip: OWN[OUTSIDE] };
        let mut left = udp((shown, 5353), (WEB.ip, 53), WEB.mac, 63, b"a question of some length");
        assert!(left.len() > plain::PADDED, "else the padding would be right");
        let long = [&frame[..], &vec![0xaa; behind]].concat();
        let out = rig.exchange(INSIDE, &long, if round == 0 { &[(OUTSIDE, WEB)] } else { &[] });
        assert_eq!(out[OUTSIDE], [left.clone()], "round {round}");

        // A short one is padded by its link, and the padding may stay.
        let short = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"");
        left = udp((shown, 5353), (WEB.ip, 53), WEB.mac, 63, b"");
        let [out, _] = rig.send(INSIDE, &[&short[..], &[0; 18]].concat());
        assert_eq!(out, [[&left[..], &[0; 18]].concat()]);
    }
    rig.assert_no_mbuf_held();
}
