// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 through the worker: neighbours, echo, connections both ways, the errors that a router owes, and what is refused.

use super::rig::{INSIDE, MACS, OUTSIDE, Rig};
use crate::worker::command::{Asker, Clear, Command, Dump, Reply};
use fedgate_tables::link::{Addr, Event, Filter, Rows, What};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit6::{self, Station6};
use fedgate_wire::nd::{self, Message, flag};
use fedgate_wire::{Ethernet, MacAddr, Parsed6, checksum, ethernet, icmp6, ipv6, parse6, proto};
use std::net::Ipv6Addr;

mod accounts;
mod addresses;
pub(super) mod fragments;
mod intercept;
mod neighbours;
mod ping;

const fn addr(net: u16, host: u16) -> u128 {
    0x2001_0db8_0000 << 80 | (net as u128) << 64 | host as u128
}
pub(super) const OWN: [u128; 2] = [addr(0xff, 2), addr(1, 1)];
pub(super) const HOST: Station6 = Station6 { mac: MacAddr([2, 0, 0, 0, 1, 0x50]), ip: addr(1, 0x50) };
pub(super) const WEB: Station6 = Station6 { mac: MacAddr([2, 0, 0, 0, 0, 0x30]), ip: addr(0xff, 0x30) };
/// The way to everywhere else, and somebody there.
const ROUTER: Station6 = Station6 { mac: MacAddr([2, 0, 0, 0, 0, 0xfe]), ip: addr(0xff, 0xfe) };
const REMOTE: u128 = 0x2600 << 112 | 7;

/// How long new addresses and groups keep a worker busy, milliseconds.
pub(super) const DETECTION: u64 = 4000;

const SYN: u8 = 2;
const ACK: u8 = 16;

pub(super) fn policy(outside_mtu: u16) -> PolicyBuilder {
    let mut b = interfaces(outside_mtu);
    b.route6(Route6 {
        gateway: ROUTER.ip.to_be_bytes(),
        ifindex: OUTSIDE as u32,
        metric: 1,
        ..Route6::default()
    });
    b
}

fn interfaces(outside_mtu: u16) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let name = b.blob(b"outside_in");
    let host = |dport, proto, flags, counter| Ace6 {
        dst: HOST.ip.to_be_bytes(),
        dst_prefix: 128,
        dport: [dport, dport],
        proto,
        flags,
        counter,
        line: counter,
        ..Ace6::default()
    };
    let acl = b.acl(
        name,
        &[],
        &[
            host(443, proto::TCP, ACE_PERMIT, 1),
            Ace6 { flags: ACE_ANY_PROTO | ACE_LOG, counter: 2, line: 2, ..Ace6::default() },
        ],
    );
    for (i, (name, security)) in [("outside", 0), ("inside", 100)].into_iter().enumerate() {
        let (name, device) = (b.blob(name.as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            mtu: if i == OUTSIDE { outside_mtu } else { 1500 },
            security,
            flags: IF_MAC_SET | IF_IPV6,
            mac: MACS[i].0,
            acl_in: if i == OUTSIDE { acl } else { NONE },
            acl_out: NONE,
            addr6: OWN[i].to_be_bytes(),
            prefix6: 64,
            ..Interface::default()
        });
    }
    b.globals(Globals::default());
    b
}

fn lab() -> Rig {
    lab_of(1500)
}

fn lab_of(outside_mtu: u16) -> Rig {
    quiet(Rig::with(policy(outside_mtu)))
}

fn lab_without_routes() -> Rig {
    quiet(Rig::with(interfaces(1500)))
}

/// Its addresses are its own, and what it said of them is said.
fn quiet(mut rig: Rig) -> Rig {
    rig.wait(DETECTION);
    rig.collect();
    rig.moved();
    rig
}

/// An IPv6 frame with whatever stands between fixed header and upper layer in `payload`.
fn frame(from: Station6, to: u128, next_hop: MacAddr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&[0x60, 0, 0, 0][..], &(payload.len() as u16).to_be_bytes(), &[next, hops]].concat();
    let addresses = [from.ip.to_be_bytes(), to.to_be_bytes()].concat();
    [&next_hop.0[..], &from.mac.0, &ethernet::TYPE_IPV6.to_be_bytes(), &head, &addresses, payload].concat()
}

pub(super) fn udp(
    from: Station6,
    to: u128,
    ports: (u16, u16),
    side: usize,
    hops: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut l4 = [ports.0, ports.1, 8 + data.len() as u16, 0].map(u16::to_be_bytes).concat();
    l4.extend(data);
    let sum = checksum::of_segment_v6(from.ip, to, proto::UDP, &l4);
    l4[6..8].copy_from_slice(&checksum::udp_field(sum).to_be_bytes());
    frame(from, to, MACS[side], proto::UDP, hops, &l4)
}

fn tcp(from: Station6, to: u128, ports: (u16, u16), side: usize, flags: u8) -> Vec<u8> {
    let mut l4 = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    // As after handshakes that begin at 0.
    let seq = u8::from(flags & SYN == 0);
    l4.extend([0, 0, 0, seq, 0, 0, 0, 1, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum::of_segment_v6(from.ip, to, proto::TCP, &l4);
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    frame(from, to, MACS[side], proto::TCP, 64, &l4)
}

fn icmp(from: Station6, to: u128, next_hop: MacAddr, hops: u8, head: [u8; 8], data: &[u8]) -> Vec<u8> {
    let mut l4 = [&head[..], data].concat();
    l4[2..4].fill(0);
    let sum = checksum::of_segment_v6(from.ip, to, proto::ICMPV6, &l4);
    l4[2..4].copy_from_slice(&sum.to_be_bytes());
    frame(from, to, next_hop, proto::ICMPV6, hops, &l4)
}

fn ping(from: Station6, to: u128, side: usize) -> Vec<u8> {
    icmp(from, to, MACS[side], 64, [128, 0, 0, 0, 0, 77, 0, 1], b"data")
}

/// What `from` asks or says about an address, as a frame.
fn solicit(from: Station6, target: u128) -> Vec<u8> {
    let mut out = vec![0; emit6::ND_FRAME_LEN];
    emit6::solicitation(&mut out, from, target, None).unwrap();
    out
}

fn advertise(from: Station6, to: Station6) -> Vec<u8> {
    let mut out = vec![0; emit6::ND_FRAME_LEN];
    emit6::advertisement(&mut out, from, to).unwrap();
    out
}

fn us(side: usize) -> Station6 {
    Station6 { mac: MACS[side], ip: OWN[side] }
}

fn heard(frame: &[u8]) -> (Parsed6, Option<Message>) {
    let parsed = parse6(frame).unwrap();
    (parsed, nd::read(frame, &parsed).ok())
}

/// Sends a frame and answers the solicitation for `station` that comes out on its side.
fn exchange(rig: &mut Rig, side: usize, frame: &[u8], at: usize, station: Station6) -> [Vec<Vec<u8>>; 2] {
    let mut out = rig.send(side, frame);
    let asks = |f: &Vec<u8>| matches!(heard(f).1, Some(Message::Solicitation { target, .. }) if target == station.ip);
    let asked = out[at].iter().position(asks).expect("a solicitation");
    let asked = out[at].remove(asked);
    let asker =
        Station6 { mac: Ethernet::new_checked(&asked[..]).unwrap().src(), ip: heard(&asked).0.tuple.src };
    let more = rig.send(at, &advertise(station, asker));
    for (out, more) in out.iter_mut().zip(more) {
        out.extend(more);
    }
    out
}

/// The frame as it must come out: addressed anew, one hop less, nothing else changed.
fn routed(frame: &[u8], to: MacAddr, side: usize) -> Vec<u8> {
    let mut out = frame.to_vec();
    out[..6].copy_from_slice(&to.0);
    out[6..12].copy_from_slice(&MACS[side].0);
    out[21] -= 1;
    out
}

const NOTHING: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];

#[test]
fn our_addresses_answer_pings_on_their_own_side() {
    let mut rig = lab();
    let local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
    for (from, to) in [(HOST, OWN[INSIDE]), (local, ipv6::link_local(MACS[INSIDE]))] {
        let out = rig.send(INSIDE, &ping(from, to, INSIDE));
        let answer = parse6(&out[INSIDE][0]).unwrap();
        assert_eq!((answer.icmp_type, answer.tuple.src, answer.tuple.dst), (129, to, from.ip));
        assert_eq!(out[INSIDE][0][62..], *b"data");
        rig.expect(&[("inside rx", 1), ("inside tx", 1), ("icmp_echo_replies", 1)]);
    }
    assert_eq!(rig.send(INSIDE, &ping(HOST, OWN[OUTSIDE], INSIDE)), NOTHING);
    rig.expect(&[("inside rx", 1), ("np-socket-closed", 1)]);
    rig.assert_no_mbuf_held();
}

#[test]
fn udp_goes_out_and_its_answer_comes_back() {
    let mut rig = lab();
    let question = udp(HOST, REMOTE, (5353, 53), INSIDE, 64, b"question");
    let out = exchange(&mut rig, INSIDE, &question, OUTSIDE, ROUTER);
    assert_eq!(out, [vec![routed(&question, ROUTER.mac, OUTSIDE)], vec![]]);
    rig.expect(&[
        ("inside rx", 1),
        ("outside rx", 1),
        ("outside tx", 2),
        ("conns_built", 1),
        ("nd_solicitations", 1),
    ]);
    let remote = Station6 { mac: ROUTER.mac, ip: REMOTE };
    let answer = udp(remote, HOST.ip, (53, 5353), OUTSIDE, 50, b"answer");
    let out = exchange(&mut rig, OUTSIDE, &answer, INSIDE, HOST);
    assert_eq!(out, [vec![], vec![routed(&answer, HOST.mac, INSIDE)]]);
    rig.moved();
    // Known on both sides now.
    for (side, frame) in [(INSIDE, &question), (OUTSIDE, &answer)] {
        assert_eq!(rig.send(side, frame)[1 - side].len(), 1);
    }
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("outside rx", 1), ("outside tx", 1)]);
    // The right tuple on the wrong side; another that nobody asked for.
    rig.send(INSIDE, &udp(remote, HOST.ip, (53, 5353), INSIDE, 50, b"answer"));
    rig.expect(&[("inside rx", 1), ("rpf-violated", 1)]);
    rig.send(OUTSIDE, &udp(remote, HOST.ip, (53, 5354), OUTSIDE, 50, b"answer"));
    rig.expect(&[("outside rx", 1), ("acl-drop", 1), ("ace 2", 1)]);
    rig.wait(121_000);
    rig.collect();
    assert_eq!(rig.moved().get("conns_torn_down"), Some(&1));
    rig.assert_no_mbuf_held();
}

const ASKER: Asker = Asker { id: 3, link: 1 };

fn conns(rig: &mut Rig, filter: Filter) -> Vec<(Addr, Addr, String)> {
    let mut rows = Vec::new();
    let mut cursor = 0;
    loop {
        let dump = Dump { asker: ASKER, what: What::Conns, filter: filter.clone(), cursor };
        let Reply::Page { rows: Rows::Conns(page), next, .. } = rig.command(Command::Dump(dump.clone()))
        else {
            panic!()
        };
        rows.extend(page.into_iter().map(|row| (row.initiator.real, row.responder.real, row.flags)));
        match next {
            Some(next) => cursor = next,
            None => return rows,
        }
    }
}

#[test]
fn tcp_is_let_in_by_the_acl_and_listed() {
    let mut rig = lab();
    let syn = tcp(WEB, HOST.ip, (40_000, 443), OUTSIDE, SYN);
    let out = exchange(&mut rig, OUTSIDE, &syn, INSIDE, HOST);
    assert_eq!(out[INSIDE], [routed(&syn, HOST.mac, INSIDE)]);
    let reply = tcp(HOST, WEB.ip, (443, 40_000), INSIDE, SYN | ACK);
    let out = exchange(&mut rig, INSIDE, &reply, OUTSIDE, WEB);
    assert_eq!(out[OUTSIDE], [routed(&reply, WEB.mac, OUTSIDE)]);
    rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_000, 443), OUTSIDE, ACK));
    let moved = rig.moved();
    assert_eq!((moved.get("ace 1"), moved.get("conns_built")), (Some(&1), Some(&1)));

    let row = (Addr::from(WEB.ip), Addr::from(HOST.ip), "UB".to_owned());
    assert_eq!(conns(&mut rig, Filter::default()), std::slice::from_ref(&row));
    assert_eq!(conns(&mut rig, Filter { address: Some(HOST.ip.into()), ..Filter::default() }), [row]);
    assert_eq!(conns(&mut rig, Filter { address: Some(REMOTE.into()), ..Filter::default() }), []);
    let dump = Dump { asker: ASKER, what: What::Hosts, filter: Filter::default(), cursor: 0 };
    let mut hosts = Vec::new();
    let mut next = Some(0);
    while let Some(cursor) = next {
        let Reply::Page { rows: Rows::Hosts(rows), next: go_on, .. } =
            rig.command(Command::Dump(Dump { cursor, ..dump.clone() }))
        else {
            panic!("no hosts")
        };
        hosts.extend(rows.into_iter().map(|row| (row.ifindex, row.addr, row.tcp, row.embryonic)));
        next = go_on;
    }
    assert_eq!(hosts, [(0, Addr::from(WEB.ip), 1, 0), (1, Addr::from(HOST.ip), 1, 0)]);
    rig.collect();
    rig.moved();

    // Another port is denied, and the log has it; a segment without a connection is named.
    rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_000, 22), OUTSIDE, SYN));
    rig.expect(&[("outside rx", 1), ("acl-drop", 1), ("ace 2", 1)]);
    rig.wait(200);
    let denied = rig.events();
    let [Event::AclHits { flow, hits: 1 }] = denied[..] else { panic!("{denied:?}") };
    assert_eq!((flow.acl, flow.line, flow.permitted, flow.packet.dport), (0, 2, false, 22));
    assert_eq!((flow.packet.src, flow.packet.dst), (Addr::from(WEB.ip), Addr::from(HOST.ip)));
    assert_eq!((flow.packet.in_if, flow.packet.out_if), (0, Some(1)));
    rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_001, 443), OUTSIDE, ACK));
    rig.expect(&[("outside rx", 1), ("tcp-not-syn", 1)]);

    let mut clear = Clear { asker: ASKER, what: What::Conns, filter: Filter::default(), cursor: 0, count: 0 };
    while let Reply::Cleared { clear: done, next: Some(next) } = rig.command(Command::Clear(clear)) {
        clear = Clear { cursor: next, ..done };
    }
    assert_eq!(conns(&mut rig, Filter::default()), []);
    rig.expect(&[("conns_torn_down", 1)]);
}

#[test]
fn neighbours_are_listed_and_forgotten() {
    let mut rig = lab();
    rig.send(INSIDE, &solicit(HOST, OWN[INSIDE]));
    let dump = Dump { asker: ASKER, what: What::Neighbors6, filter: Filter::default(), cursor: 0 };
    let list = |rig: &mut Rig| {
        let Reply::Page { rows: Rows::Arp(rows), next: None, .. } = rig.command(Command::Dump(dump.clone()))
        else {
            panic!()
        };
        rows.into_iter().map(|row| (row.ifindex, row.addr, row.mac, row.state)).collect::<Vec<_>>()
    };
    let rows = list(&mut rig);
    assert_eq!(rows.len(), 5);
    assert!(rows.contains(&(1, HOST.ip.into(), HOST.mac.0, "stale".into())));
    assert!(rows.contains(&(0, ipv6::link_local(MACS[0]).into(), MACS[0].0, "own".into())));
    let clear =
        Clear { asker: ASKER, what: What::Neighbors6, filter: Filter::default(), cursor: 0, count: 0 };
    let Reply::Cleared { clear, next: None } = rig.command(Command::Clear(clear)) else { panic!() };
    assert_eq!((clear.count, list(&mut rig).len()), (1, 4));
}

#[test]
fn an_idle_neighbour_is_forgotten_and_one_in_use_is_asked() {
    let mut rig = lab();
    rig.send(INSIDE, &solicit(HOST, OWN[INSIDE]));
    rig.wait(26_900);
    rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_000, 443), OUTSIDE, SYN));
    rig.collect();
    rig.wait(100);
    let out = rig.collect();
    assert_eq!(Ethernet::new_checked(&out[INSIDE][0][..]).unwrap().dst(), HOST.mac, "asked by unicast");
    rig.send(INSIDE, &advertise(HOST, us(INSIDE)));
    rig.wait(29_900);
    assert_eq!(rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_000, 443), OUTSIDE, SYN))[INSIDE].len(), 1);
    rig.wait(200);
    rig.collect();
    let out = rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (40_001, 443), OUTSIDE, SYN));
    assert!(
        matches!(heard(&out[INSIDE][0]).1, Some(Message::Solicitation { .. })),
        "asked of all: it is forgotten"
    );
    rig.wait(6_000);
    rig.collect();
    rig.assert_no_mbuf_held();
}

#[test]
fn errors_that_a_router_owes() {
    let mut rig = lab_of(1300);
    let told = |out: &[Vec<Vec<u8>>; 2]| {
        let error = parse6(&out[INSIDE][0]).unwrap();
        let at = usize::from(error.l4);
        let rest = u32::from_be_bytes(out[INSIDE][0][at + 4..at + 8].try_into().unwrap());
        assert_eq!((error.tuple.src, error.tuple.dst), (OWN[INSIDE], HOST.ip));
        assert_eq!(Ethernet::new_checked(&out[INSIDE][0][..]).unwrap().dst(), HOST.mac);
        (error.icmp_type, error.icmp_code, rest)
    };
    let big = udp(HOST, REMOTE, (5000, 53), INSIDE, 64, &[7; 1300]);
    let out = rig.send(INSIDE, &big);
    assert_eq!(told(&out), (2, 0, 1300));
    assert_eq!(out[INSIDE][0][62..], big[14..14 + 1232]);
    rig.expect(&[
        ("inside rx", 1),
        ("inside tx", 1),
        ("conns_built", 1),
        ("mtu-exceeded", 1),
        ("icmp_errors_sent", 1),
    ]);
    // The last hop: of a connection, and of none.
    for ports in [(5000, 53), (5001, 53)] {
        let out = rig.send(INSIDE, &udp(HOST, REMOTE, ports, INSIDE, 1, b"traceroute"));
        assert_eq!(told(&out), (3, 0, 0));
        rig.expect(&[("inside rx", 1), ("inside tx", 1), ("ttl-exceeded", 1), ("icmp_errors_sent", 1)]);
    }
    // Nobody has the address.
    let lost = udp(HOST, addr(0xff, 0x77), (5000, 53), INSIDE, 64, b"anybody?");
    rig.send(INSIDE, &lost);
    rig.wait(2_900);
    assert_eq!(rig.collect()[INSIDE].len(), 0);
    rig.moved();
    rig.wait(200);
    let out = rig.collect();
    assert_eq!(told(&out), (1, 3, 0));
    rig.expect(&[("inside tx", 1), ("no-adjacency", 1), ("icmp_errors_sent", 1)]);
    // A link-local source cannot go on.
    let local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
    let out = rig.send(INSIDE, &udp(local, REMOTE, (5000, 53), INSIDE, 64, b"x"));
    let error = parse6(&out[INSIDE][0]).unwrap();
    assert_eq!((error.icmp_type, error.icmp_code, error.tuple.src), (1, 2, ipv6::link_local(MACS[INSIDE])));
    rig.expect(&[
        ("inside rx", 1),
        ("inside tx", 1),
        ("ipv6_sp-security-failed", 1),
        ("icmp_errors_sent", 1),
    ]);
    rig.assert_no_mbuf_held();
}

#[test]
fn no_route_is_told_and_a_denial_is_not() {
    let mut rig = lab_without_routes();
    let out = rig.send(INSIDE, &udp(HOST, REMOTE, (1, 2), INSIDE, 64, b"x"));
    let error = parse6(&out[INSIDE][0]).unwrap();
    assert_eq!((error.icmp_type, error.icmp_code), (1, 0));
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("no-route", 1), ("icmp_errors_sent", 1)]);
    let denied = rig.send(OUTSIDE, &udp(WEB, HOST.ip, (1, 2), OUTSIDE, 64, b"x"));
    assert_eq!(denied, NOTHING);
    rig.expect(&[("outside rx", 1), ("acl-drop", 1), ("ace 2", 1)]);
    // Back out of the interface it came in by.
    let hairpin = rig.send(INSIDE, &udp(HOST, addr(1, 0x60), (1, 2), INSIDE, 64, b"x"));
    assert_eq!(hairpin, NOTHING);
    rig.expect(&[("inside rx", 1), ("acl-drop", 1)]);
}

#[test]
fn icmp_errors_go_to_whom_they_concern() {
    let mut rig = lab();
    let sent = udp(HOST, REMOTE, (5000, 53), INSIDE, 64, &[7; 1400]);
    exchange(&mut rig, INSIDE, &sent, OUTSIDE, ROUTER);
    rig.moved();
    let hop = Station6 { mac: ROUTER.mac, ip: 0x2600 << 112 | 99 };
    let error = |kind: u8, rest: u32, about: &[u8]| {
        let [a, b, c, d] = rest.to_be_bytes();
        icmp(hop, HOST.ip, MACS[OUTSIDE], 60, [kind, 0, 0, 0, a, b, c, d], &about[..about.len().min(1232)])
    };
    let too_big = error(icmp6::PACKET_TOO_BIG, 1380, &sent[14..]);
    let out = exchange(&mut rig, OUTSIDE, &too_big, INSIDE, HOST);
    assert_eq!(out[INSIDE], [routed(&too_big, HOST.mac, INSIDE)]);
    rig.moved();
    assert_eq!(rig.send(OUTSIDE, &error(icmp6::TIME_EXCEEDED, 0, &sent[14..]))[INSIDE].len(), 1);
    rig.expect(&[("outside rx", 1), ("inside tx", 1)]);
    // About nothing we know; a path MTU that cannot be; from the side that the packet did not go to.
    let other = udp(HOST, REMOTE, (5001, 53), INSIDE, 64, b"never sent");
    for (frame, side, reason) in [
        (error(icmp6::UNREACHABLE, 0, &other[14..]), OUTSIDE, "inspect-icmp-error-no-existing-conn"),
        (error(icmp6::PACKET_TOO_BIG, 1279, &sent[14..]), OUTSIDE, "invalid-icmp"),
        (error(icmp6::TIME_EXCEEDED, 0, &sent[14..]), INSIDE, "inspect-icmp-error-no-existing-conn"),
    ] {
        let mut frame = frame;
        frame[..6].copy_from_slice(&MACS[side].0);
        assert_eq!(rig.send(side, &frame), NOTHING);
        let rx = if side == OUTSIDE { "outside rx" } else { "inside rx" };
        rig.expect(&[(rx, 1), (reason, 1)]);
    }
    rig.assert_no_mbuf_held();
}

#[test]
fn what_is_refused_has_a_name() {
    let mut rig = lab();
    let l4 = &udp(HOST, REMOTE, (5000, 53), INSIDE, 64, b"x")[54..];
    let chain = |kind: u8, header: &[u8]| frame(HOST, REMOTE, MACS[INSIDE], kind, 64, &[header, l4].concat());
    let mut unsummed = l4.to_vec();
    unsummed[6..8].fill(0);
    let redirect = icmp(HOST, REMOTE, MACS[INSIDE], 255, [137, 0, 0, 0, 0, 0, 0, 0], &[0; 32]);
    let listeners =
        icmp(HOST, 0xff02 << 112 | 0x16, ipv6::multicast_mac(0x16), 1, [143, 0, 0, 0, 0, 0, 0, 0], &[]);
    let mut to_group = udp(HOST, REMOTE, (1, 2), INSIDE, 64, b"x");
    to_group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let cases = [
        (chain(43, &[17, 0, 0, 0, 0, 0, 0, 0]), "ipv6-routing-type-denied"),
        (chain(60, &[0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]), "ipv6-bad-eh"),
        (chain(0, &[17, 9, 1, 4, 0, 0, 0, 0]), "ipv6-bad-eh"),
        (chain(44, &[17, 0, 0, 65, 0, 0, 0, 9]), "fragment-reassembly-failed"),
        (frame(HOST, REMOTE, MACS[INSIDE], 17, 64, &unsummed), "udp-no-cksum"),
        (frame(HOST, REMOTE, MACS[INSIDE], 50, 64, &[0; 16]), "unsupported-protocol"),
        (udp(Station6 { ip: REMOTE, ..HOST }, REMOTE, (1, 2), INSIDE, 64, b"x"), "ipv6_sp-security-failed"),
        (udp(HOST, ipv6::link_local(WEB.mac), (1, 2), INSIDE, 64, b"x"), "ipv6_sp-security-failed"),
        (redirect, "invalid-icmp"),
        (listeners, "ip-not-unicast"),
        (to_group, "ip-not-unicast"),
    ];
    for (frame, reason) in cases {
        assert_eq!(rig.send(INSIDE, &frame), NOTHING, "{reason}");
        rig.expect(&[("inside rx", 1), (reason, 1)]);
    }
    // With headers that are in order it passes.
    let optioned = chain(60, &[17, 0, 1, 4, 0, 0, 0, 0]);
    let out = exchange(&mut rig, INSIDE, &optioned, OUTSIDE, ROUTER);
    assert_eq!(out[OUTSIDE], [routed(&optioned, ROUTER.mac, OUTSIDE)]);
    rig.assert_no_mbuf_held();
}

#[test]
fn an_interface_without_ipv6_hears_none() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    assert_eq!(rig.send(INSIDE, &solicit(HOST, OWN[INSIDE])), NOTHING);
    rig.expect(&[("inside rx", 1), ("unsupported-ethertype", 1)]);
}

/// Interfaces without an IPv4 address neither forward IPv4 nor answer its ARP.
#[test]
fn an_interface_with_ipv6_alone_hears_no_ipv4() {
    use super::rig::{self, ip};
    let mut rig = lab();
    let datagram = rig::udp((rig::WORK, 5000), (ip(192, 0, 2, 1), 53), MACS[INSIDE], 64, b"x");
    assert_eq!(rig.send(INSIDE, &datagram), NOTHING);
    rig.expect(&[("inside rx", 1), ("ifc-classify", 1)]);
    for target in [0, rig::OWN[INSIDE]] {
        let mut request = [0; fedgate_wire::emit::ARP_FRAME_LEN];
        fedgate_wire::emit::arp_request(&mut request, rig::WORK, target, MacAddr::BROADCAST).unwrap();
        assert_eq!(rig.send(INSIDE, &request), NOTHING);
    }
    rig.assert_no_mbuf_held();
}

#[test]
fn addresses_print_as_operators_write_them() {
    assert_eq!(Addr::from(HOST.ip).to_string(), Ipv6Addr::from(HOST.ip).to_string());
    assert_eq!(Addr::from(0x0a00_0001u32).to_string(), "10.0.0.1");
}
