// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 packets in fragments through the worker and to it, in any order, and what is refused of them.
//!
//! RFC 8200 4.5, RFC 5722 (overlaps), RFC 6946 (atomic fragments), RFC 7112 (the first one holds all headers), RFC 4443 3.2 and 3.3.

use super::*;
use crate::worker::tests::rig;
use fedgate_tables::counters::FragmentCounter;
use fedgate_wire::headers6::FragmentHeader;

const IDENT: u32 = 0x1234_5678;

/// An upper layer from `from` to `to` in parts that begin where `cuts` says, multiples of eight.
pub(in crate::worker::tests) fn cut(
    from: Station6,
    to: u128,
    side: usize,
    proto: u8,
    upper: &[u8],
    cuts: &[usize],
) -> Vec<Vec<u8>> {
    let ends = cuts[1..].iter().copied().chain([upper.len()]);
    let parts = cuts.iter().zip(ends).map(|(&at, end)| (at, &upper[at..end], end < upper.len()));
    parts.map(|(at, part, more)| piece(from, to, side, proto, 64, (at, more), part)).collect()
}

fn piece(
    from: Station6,
    to: u128,
    side: usize,
    proto: u8,
    hops: u8,
    (at, more): (usize, bool),
    part: &[u8],
) -> Vec<u8> {
    let word = (at as u16 | u16::from(more)).to_be_bytes();
    let payload = [&[proto, 0][..], &word, &IDENT.to_be_bytes(), part].concat();
    frame(from, to, MACS[side], proto::FRAGMENT, hops, &payload)
}

/// What a receiver makes of fragments that come in order.
pub(in crate::worker::tests) fn put_together(frames: &[Vec<u8>]) -> (u128, u128, Vec<u8>) {
    let mut whole = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        let parsed = parse6(frame).unwrap();
        let header = FragmentHeader::read(frame, parsed.fragment.into()).unwrap();
        assert_eq!((header.offset, header.more, header.ident), (whole.len(), i + 1 < frames.len(), IDENT));
        whole.extend(&frame[usize::from(parsed.fragment) + 8..usize::from(parsed.l3 + parsed.ip_len)]);
    }
    let tuple = parse6(&frames[0]).unwrap().tuple;
    (tuple.src, tuple.dst, whole)
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// A UDP datagram of `len` bytes of data, with its checksum.
pub(in crate::worker::tests) fn datagram(from: (u128, u16), to: (u128, u16), len: usize) -> Vec<u8> {
    let mut l4 = [from.1, to.1, 8 + len as u16, 0].map(u16::to_be_bytes).concat();
    l4.extend(data(len));
    let sum = checksum::of_segment_v6(from.0, to.0, proto::UDP, &l4);
    l4[6..8].copy_from_slice(&checksum::udp_field(sum).to_be_bytes());
    l4
}

fn echo(kind: u8, from: u128, to: u128, len: usize) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0, 77, 0, 1][..], &data(len)].concat();
    let sum = checksum::of_segment_v6(from, to, proto::ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A worker that knows both neighbours.
fn lab_with_neighbours(outside_mtu: u16) -> Rig {
    let mut rig = lab_of(outside_mtu);
    rig.send(OUTSIDE, &solicit(WEB, OWN[OUTSIDE]));
    rig.send(INSIDE, &solicit(HOST, OWN[INSIDE]));
    rig.moved();
    rig
}

/// Sends frames one after the other; everything that came out at each side but neighbour discovery.
fn run(rig: &mut Rig, side: usize, frames: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
    let mut all = NOTHING;
    for frame in frames {
        for (all, out) in all.iter_mut().zip(rig.send(side, frame)) {
            all.extend(out.into_iter().filter(|f| heard(f).1.is_none()));
        }
    }
    all
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const CUTS: [usize; 3] = [0, 1448, 2896];

#[test]
fn udp_in_fragments_crosses_both_ways_in_any_order() {
    let mut rig = lab_with_neighbours(1500);
    for (round, order) in ORDERS.iter().enumerate() {
        let port = 7000 + round as u16;
        let ways = [
            (INSIDE, HOST, (HOST.ip, port), WEB, (WEB.ip, 53)),
            (OUTSIDE, WEB, (WEB.ip, 53), HOST, (HOST.ip, port)),
        ];
        for (side, sender, from, receiver, to) in ways {
            let upper = datagram(from, to, 3500);
            let frames = cut(sender, to.0, side, proto::UDP, &upper, &CUTS);
            let sent: Vec<_> = order.iter().map(|i| frames[*i].clone()).collect();
            let out = run(&mut rig, side, &sent);
            let expected: Vec<_> = frames.iter().map(|f| routed(f, receiver.mac, 1 - side)).collect();
            assert_eq!(out[1 - side], expected, "{order:?}");
            assert_eq!(put_together(&out[1 - side]), (from.0, to.0, upper));
            assert!(out[side].is_empty());
        }
    }
    let moved = rig.moved();
    assert_eq!((moved.get("conns_built"), moved.get("fragment-reassembly-failed")), (Some(&6), None));
    assert_eq!(rig.fragments(OUTSIDE, FragmentCounter::Assembled), 6);
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 0);
    // Booked as one packet each way.
    let rows = conns(&mut rig, Filter::default());
    assert_eq!(rows.len(), 6);
    rig.assert_no_mbuf_held();
}

/// What a policy refuses in one piece it refuses in several, and all of them.
#[test]
fn a_denied_packet_is_denied_in_fragments_too() {
    let mut rig = lab_with_neighbours(1500);
    let upper = datagram((WEB.ip, 53), (HOST.ip, 53), 2000);
    assert_eq!(run(&mut rig, OUTSIDE, &cut(WEB, HOST.ip, OUTSIDE, proto::UDP, &upper, &CUTS[..2])), NOTHING);
    rig.expect(&[("outside rx", 2), ("acl-drop", 2), ("ace 2", 1)]);
    rig.assert_no_mbuf_held();
}

/// Alone in its fragment header: forwarded at once, whatever else waits under the same identification (RFC 6946).
#[test]
fn an_atomic_fragment_waits_for_nobody() {
    let mut rig = lab_with_neighbours(1500);
    let upper = datagram((HOST.ip, 7000), (WEB.ip, 53), 2000);
    let frames = cut(HOST, WEB.ip, INSIDE, proto::UDP, &upper, &CUTS[..2]);
    assert_eq!(run(&mut rig, INSIDE, &frames[1..]), NOTHING);
    let atomic = cut(HOST, WEB.ip, INSIDE, proto::UDP, &datagram((HOST.ip, 7001), (WEB.ip, 53), 100), &[0]);
    assert_eq!(run(&mut rig, INSIDE, &atomic)[OUTSIDE], [routed(&atomic[0], WEB.mac, OUTSIDE)]);
    assert_eq!(run(&mut rig, INSIDE, &frames[..1])[OUTSIDE].len(), 2);
}

#[test]
fn impossible_fragments_are_dropped_by_name() {
    let mut rig = lab_with_neighbours(1500);
    let upper = datagram((HOST.ip, 7000), (WEB.ip, 7000), 3000);
    let syn = tcp(HOST, WEB.ip, (5000, 80), INSIDE, SYN)[54..].to_vec();
    let at = |proto, at, more, part: &[u8]| piece(HOST, WEB.ip, INSIDE, proto, 64, (at, more), part);
    let options = [&[proto::UDP, 0, 1, 4, 0, 0, 0, 0][..], &upper[..]].concat();
    const BAD: &str = "fragment-reassembly-failed";
    let alone = [
        ("nothing in it", at(proto::UDP, 0, true, &[]), BAD),
        (
            "no UDP header (RFC 7112)",
            at(proto::DESTINATION_OPTIONS, 0, true, &options[..8]),
            "invalid-udp-length",
        ),
        (
            "a header that goes on (RFC 7112)",
            at(proto::DESTINATION_OPTIONS, 0, true, &[17, 1, 1, 4, 0, 0, 0, 0]),
            "ipv6-bad-eh",
        ),
        ("a TCP head of 8 bytes", at(proto::TCP, 0, true, &syn[..8]), "invalid-tcp-hdr-length"),
        ("TCP flags overwritten", at(proto::TCP, 8, false, &syn[8..16]), BAD),
        ("not a multiple of eight", at(proto::UDP, 0, true, &upper[..100]), BAD),
        ("past the longest packet", at(proto::UDP, 65_504, false, &upper[..100]), BAD),
    ];
    for (what, frame, reason) in alone {
        assert_eq!(rig.send(INSIDE, &frame), NOTHING, "{what}");
        rig.expect(&[("inside rx", 1), (reason, 1)]);
    }
    // A packet each: overlap, two ends, bytes behind the end.
    let sets = [
        (FragmentCounter::Overlap, [(0, true, 0..1448), (1440, true, 1440..2880)]),
        (FragmentCounter::Length, [(1448, false, 1448..1600), (2000, false, 2000..2100)]),
        (FragmentCounter::Length, [(1448, false, 1448..1600), (2000, true, 2000..2080)]),
    ];
    for (n, (counter, set)) in (0u128..).zip(sets) {
        let before = rig.fragments(INSIDE, counter);
        for (at, more, bytes) in set {
            let frame = piece(HOST, WEB.ip + n, INSIDE, proto::UDP, 64, (at, more), &upper[bytes]);
            assert_eq!(rig.send(INSIDE, &frame), NOTHING);
        }
        assert_eq!(rig.fragments(INSIDE, counter) - before, 2);
        rig.expect(&[("inside rx", 2), ("fragment-reassembly-failed", 2)]);
    }
    // What comes of the overlapped one later is dead as well, and holds nothing.
    rig.send(INSIDE, &piece(HOST, WEB.ip, INSIDE, proto::UDP, 64, (2880, false), &upper[2880..]));
    rig.expect(&[("inside rx", 1), ("fragment-reassembly-failed", 1)]);
    // The UDP length says more than the packet has.
    let mut long = upper.clone();
    long[4..6].copy_from_slice(&4000u16.to_be_bytes());
    run(&mut rig, INSIDE, &cut(HOST, WEB.ip + 9, INSIDE, proto::UDP, &long, &CUTS));
    rig.expect(&[("inside rx", 3), ("invalid-udp-length", 3)]);
    rig.assert_no_mbuf_held();
}

/// `ping -s 4000` to the appliance: answered in the pieces it came in.
#[test]
fn the_appliance_answers_a_ping_in_fragments() {
    let mut rig = lab_with_neighbours(1500);
    let local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
    for (from, to) in [(HOST, OWN[INSIDE]), (local, ipv6::link_local(MACS[INSIDE]))] {
        let message = echo(128, from.ip, to, 4000);
        let mut frames = cut(from, to, INSIDE, proto::ICMPV6, &message, &CUTS);
        frames.swap(0, 2);
        let [_, inside] = run(&mut rig, INSIDE, &frames);
        let (src, dst, whole) = put_together(&inside);
        assert_eq!((src, dst, whole[0], &whole[4..]), (to, from.ip, 129, &message[4..]));
        assert!(checksum::is_valid_segment_v6(src, dst, proto::ICMPV6, &whole));
        rig.expect(&[("inside rx", 3), ("inside tx", 3), ("icmp_echo_replies", 1)]);
    }
    // A wrong checksum, and the address of another interface: silence, by name.
    let mut wrong = echo(128, HOST.ip, OWN[INSIDE], 4000);
    wrong[3000] ^= 1;
    run(&mut rig, INSIDE, &cut(HOST, OWN[INSIDE], INSIDE, proto::ICMPV6, &wrong, &CUTS));
    rig.expect(&[("inside rx", 3), ("invalid-icmp", 3)]);
    let message = echo(128, HOST.ip, OWN[OUTSIDE], 4000);
    run(&mut rig, INSIDE, &cut(HOST, OWN[OUTSIDE], INSIDE, proto::ICMPV6, &message, &CUTS));
    rig.expect(&[("inside rx", 3), ("np-socket-closed", 3)]);
    rig.assert_no_mbuf_held();
}

/// RFC 4443 3.3: the receiver says that time is over, who forwards does not.
#[test]
fn what_does_not_come_in_time_is_dropped_and_told_by_the_receiver_only() {
    let mut rig = lab_with_neighbours(1500);
    for (to, told) in [(WEB.ip, 0), (OWN[INSIDE], 1)] {
        let upper = datagram((HOST.ip, 7000), (to, 7000), 3000);
        let mut frames = cut(HOST, to, INSIDE, proto::UDP, &upper, &CUTS);
        frames.remove(1);
        run(&mut rig, INSIDE, &frames);
        assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 2);
        rig.wait(4900);
        rig.collect();
        rig.moved();
        rig.wait(100);
        let [_, inside] = rig.collect();
        assert_eq!(inside.len(), told);
        for error in inside {
            let parsed = parse6(&error).unwrap();
            assert_eq!((parsed.icmp_type, parsed.icmp_code, parsed.tuple.dst), (3, 1, HOST.ip));
        }
        let mut expected = vec![("fragment-reassembly-failed", 2)];
        if told > 0 {
            expected.extend([("inside tx", 1), ("icmp_errors_sent", 1)]);
        }
        rig.expect(&expected);
    }
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Timeout), 4);
    rig.assert_no_mbuf_held();
}

/// Routers do not cut: the source hears what the next link takes. Hops count by the most travelled piece.
#[test]
fn errors_about_fragments_quote_the_first() {
    let mut rig = lab_with_neighbours(1400);
    let upper = datagram((HOST.ip, 7000), (WEB.ip, 7000), 3000);
    let [outside, inside] = run(&mut rig, INSIDE, &cut(HOST, WEB.ip, INSIDE, proto::UDP, &upper, &CUTS));
    assert!(outside.is_empty());
    let (error, _) = heard(&inside[0]);
    let mtu = &inside[0][usize::from(error.l4) + 4..usize::from(error.l4) + 8];
    assert_eq!((error.icmp_type, mtu), (2, &1400u32.to_be_bytes()[..]));
    let quoted = fedgate_wire::parse6::embedded6(&inside[0], &error).unwrap().tuple;
    assert_eq!((quoted.src, quoted.sport, quoted.dst), (HOST.ip, 7000, WEB.ip));
    rig.expect(&[
        ("inside rx", 3),
        ("inside tx", 1),
        ("conns_built", 1),
        ("icmp_errors_sent", 1),
        ("mtu-exceeded", 3),
    ]);
    let last = piece(HOST, WEB.ip, INSIDE, proto::UDP, 1, (1200, false), &upper[1200..2400]);
    let mut head = upper.clone();
    head[4..6].copy_from_slice(&2400u16.to_be_bytes());
    let frames = [piece(HOST, WEB.ip, INSIDE, proto::UDP, 64, (0, true), &head[..1200]), last];
    let [outside, inside] = run(&mut rig, INSIDE, &frames);
    assert_eq!((outside.len(), heard(&inside[0]).0.icmp_type), (0, 3));
    rig.expect(&[("inside rx", 2), ("inside tx", 1), ("icmp_errors_sent", 1), ("ttl-exceeded", 2)]);
}

/// A flood of heads takes no more than its share of the buffers, IPv4's fragments keep theirs, and all come back.
#[test]
fn a_flood_of_heads_is_bounded() {
    let mut rig = lab_with_neighbours(1500);
    let upper = datagram((HOST.ip, 7000), (WEB.ip, 7000), 2000);
    for n in 0..500u128 {
        let from = Station6 { ip: HOST.ip + n, ..HOST };
        rig.send(INSIDE, &piece(from, WEB.ip, INSIDE, proto::UDP, 64, (0, true), &upper[..1448]));
    }
    let held = rig.fragments(INSIDE, FragmentCounter::Queue);
    assert!((1..=64).contains(&held), "{held}");
    let question = udp(HOST, WEB.ip, (999, 53), INSIDE, 64, b"q");
    assert_eq!(rig.send(INSIDE, &question)[OUTSIDE].len(), 1);
    let other = crate::worker::tests::fragments::udp_payload((rig::WORK, 7000), (rig::WEB.ip, 7000), 2000);
    rig.send(
        INSIDE,
        &rig::ipv4(rig::WORK, rig::WEB.ip, MACS[INSIDE], proto::UDP, 64, 0x2000, &other[..1480]),
    );
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), held + 1);
    rig.wait(6000);
    rig.collect();
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 0);
    rig.assert_no_mbuf_held();
}
