// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datagrams in fragments through PAT and to the appliance, both ways and in any order, and what is refused of them.
//!
//! RFC 4787 REQ-14 (in order and out of order), RFC 5508 (a query's identifier is in its first fragment), RFC 1858, RFC 3128 and
//! RFC 5722 (tiny heads and overlaps), RFC 1191 and RFC 792 (what the sender is told).

use super::rig::*;
use fedgate_tables::counters::FragmentCounter;
use fedgate_wire::emit::Station;
use fedgate_wire::{Fragment, Ipv4, MacAddr, checksum, parse, proto};

const MORE: u16 = 0x2000;

/// The IP payload of a frame, and the header's word of flags and offset.
fn part(frame: &[u8]) -> (Vec<u8>, u16) {
    let ip = Ipv4::new_checked(&frame[14..]).unwrap();
    assert!(ip.is_checksum_valid());
    (ip.payload().to_vec(), ip.fragment_word())
}

/// A datagram in pieces that begin where `cuts` says, multiples of eight.
pub(super) fn cut(
    from: Station,
    to: u32,
    next_hop: MacAddr,
    proto: u8,
    payload: &[u8],
    cuts: &[usize],
) -> Vec<Vec<u8>> {
    let mut ends = cuts[1..].to_vec();
    ends.push(payload.len());
    cuts.iter()
        .zip(ends)
        .map(|(&at, end)| {
            let word = (at / 8) as u16 | if end < payload.len() { MORE } else { 0 };
            ipv4(from, to, next_hop, proto, 64, word, &payload[at..end])
        })
        .collect()
}

/// What a receiver makes of fragments: they must cover all of it, in order, under one identification.
pub(super) fn put_together(frames: &[Vec<u8>]) -> (u32, u32, Vec<u8>) {
    let mut whole = Vec::new();
    let ident = |frame: &[u8]| Ipv4::new_checked(&frame[14..]).unwrap().ident();
    for (i, frame) in frames.iter().enumerate() {
        let (payload, word) = part(frame);
        assert_eq!(usize::from(word & 0x1fff) * 8, whole.len());
        assert_eq!(word & MORE != 0, i + 1 < frames.len());
        assert_eq!(ident(frame), ident(&frames[0]));
        whole.extend(payload);
    }
    let tuple = parse(&frames[0]).unwrap().tuple;
    (tuple.src, tuple.dst, whole)
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// The IP payload of a UDP datagram.
pub(super) fn udp_payload(from: (Station, u16), to: (u32, u16), len: usize) -> Vec<u8> {
    part(&udp(from, to, MacAddr::ZERO, 64, &data(len))).0
}

/// Sends frames one after the other; everything that came out at each side but ARP.
fn run(rig: &mut Rig, side: usize, frames: &[Vec<u8>], stations: &[(usize, Station)]) -> [Vec<Vec<u8>>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for frame in frames {
        let out = rig.exchange(side, frame, stations);
        for (all, out) in all.iter_mut().zip(out) {
            all.extend(out.into_iter().filter(|f| arp_target(f).is_none()));
        }
    }
    all
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// RFC 4787 REQ-14: fragments in any order, out and back, each way a datagram whose UDP checksum is right.
#[test]
fn rfc4787_req14_udp_in_fragments_crosses_pat_both_ways() {
    let mut rig = Rig::new();
    rig.collect();
    for (round, order) in ORDERS.iter().enumerate() {
        let port = 7000 + round as u16;
        let out = udp_payload((WORK, port), (WEB.ip, 53), 3000);
        let frames = cut(WORK, WEB.ip, MACS[INSIDE], proto::UDP, &out, &[0, 1480, 2960]);
        let sent: Vec<_> = order.iter().map(|i| frames[*i].clone()).collect();
        let [outside, _] = run(&mut rig, INSIDE, &sent, &[(OUTSIDE, WEB)]);
        let (src, dst, whole) = put_together(&outside);
        assert_eq!((src, dst), (OWN[OUTSIDE], WEB.ip));
        assert!(checksum::is_valid_segment(src, dst, proto::UDP, &whole));
        assert_eq!(whole[8..], out[8..]);

        let mapped = u16::from_be_bytes([whole[0], whole[1]]);
        let back = udp_payload((WEB, 53), (OWN[OUTSIDE], mapped), 3500);
        let frames = cut(WEB, OWN[OUTSIDE], MACS[OUTSIDE], proto::UDP, &back, &[0, 1480, 2960]);
        let sent: Vec<_> = order.iter().map(|i| frames[*i].clone()).collect();
        let [_, inside] = run(&mut rig, OUTSIDE, &sent, &[(INSIDE, WORK)]);
        let (src, dst, whole) = put_together(&inside);
        assert_eq!((src, dst, u16::from_be_bytes([whole[2], whole[3]])), (WEB.ip, WORK.ip, port));
        assert!(checksum::is_valid_segment(src, dst, proto::UDP, &whole));
        assert_eq!(whole[8..], back[8..]);
    }
    let moved = rig.moved();
    assert_eq!((moved.get("conns_built"), moved.get("fragment-reassembly-failed")), (Some(&6), None));
    assert_eq!(rig.fragments(OUTSIDE, FragmentCounter::Assembled), 6);
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 0);
    rig.assert_no_mbuf_held();
}

/// RFC 6864 5.3: two hosts behind one address may pick the same identification; their pieces must not be taken for one datagram's.
#[test]
fn datagrams_shown_as_one_host_have_identifications_of_their_own() {
    let mut rig = Rig::new();
    let other = Station { mac: MacAddr([2, 0, 0, 0, 1, 51]), ip: ip(10, 10, 0, 51) };
    let mut idents = Vec::new();
    for host in [WORK, other] {
        let payload = udp_payload((host, 7000), (WEB.ip, 53), 2000);
        let frames = cut(host, WEB.ip, MACS[INSIDE], proto::UDP, &payload, &[0, 1480]);
        let [outside, _] = run(&mut rig, INSIDE, &frames, &[(OUTSIDE, WEB)]);
        put_together(&outside);
        idents.push(Ipv4::new_checked(&outside[0][14..]).unwrap().ident());
    }
    assert_ne!(idents[0], idents[1]);
}

/// RFC 5508: an echo request of 8,000 bytes and its reply, through PAT; two hosts with one identifier.
#[test]
fn rfc5508_echo_in_fragments_crosses_pat_both_ways() {
    let mut rig = Rig::new();
    let other = Station { mac: MacAddr([2, 0, 0, 0, 1, 51]), ip: ip(10, 10, 0, 51) };
    let cuts = [0, 1480, 2960, 4440, 5920, 7400];
    let mut mapped = Vec::new();
    for host in [WORK, other] {
        let message = echo_message(8, 77, 8000);
        let mut frames = cut(host, WEB.ip, MACS[INSIDE], proto::ICMP, &message, &cuts);
        frames.rotate_left(1);
        let [outside, _] = run(&mut rig, INSIDE, &frames, &[(OUTSIDE, WEB)]);
        let (src, _, whole) = put_together(&outside);
        assert!(src == OWN[OUTSIDE] && checksum::is_valid(&whole));
        let ident = u16::from_be_bytes([whole[4], whole[5]]);
        mapped.push(ident);

        let reply = echo_message(0, ident, 8000);
        let mut frames = cut(WEB, OWN[OUTSIDE], MACS[OUTSIDE], proto::ICMP, &reply, &cuts);
        frames.reverse();
        let [_, inside] = run(&mut rig, OUTSIDE, &frames, &[(INSIDE, host)]);
        let (_, dst, whole) = put_together(&inside);
        assert!(dst == host.ip && checksum::is_valid(&whole));
        assert_eq!((whole[0], &whole[4..6]), (0, &77u16.to_be_bytes()[..]));
    }
    assert_ne!(mapped[0], mapped[1]);
    rig.assert_no_mbuf_held();
}

fn echo_message(kind: u8, ident: u16, len: usize) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], &ident.to_be_bytes(), &[0, 1], &data(len)].concat();
    let sum = checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A TCP segment that some router on the way has cut: booked as one packet of its connection.
#[test]
fn a_tcp_segment_in_fragments_is_one_packet_of_its_connection() {
    let mut rig = Rig::new();
    rig.exchange(INSIDE, &tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], 2), &[(OUTSIDE, WEB)]);
    rig.exchange(OUTSIDE, &tcp((WEB, 80), (OWN[OUTSIDE], 5000), MACS[OUTSIDE], 0x12), &[(INSIDE, WORK)]);
    rig.exchange(INSIDE, &tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], 0x10), &[]);
    let (mut segment, _) = part(&tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], 0x18));
    segment.extend(data(1200));
    segment[16..18].fill(0);
    let sum = checksum::of_segment(WORK.ip, WEB.ip, proto::TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut frames = cut(WORK, WEB.ip, MACS[INSIDE], proto::TCP, &segment, &[0, 560, 1120]);
    frames.reverse();
    rig.moved();
    let [outside, _] = run(&mut rig, INSIDE, &frames, &[]);
    let (src, dst, whole) = put_together(&outside);
    assert!(checksum::is_valid_segment(src, dst, proto::TCP, &whole));
    rig.expect(&[("inside rx", 3), ("outside tx", 3)]);
}

/// What a policy refuses in one piece it refuses in several, and all of them.
#[test]
fn a_denied_datagram_is_denied_in_fragments_too() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let payload = udp_payload((WEB, 53), (WORK.ip, 53), 2000);
    let frames = cut(WEB, WORK.ip, MACS[OUTSIDE], proto::UDP, &payload, &[0, 1480]);
    assert_eq!(run(&mut rig, OUTSIDE, &frames, &[]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    rig.expect(&[("outside rx", 2), ("acl-drop", 2), ("ace 2", 1)]);
    rig.assert_no_mbuf_held();
}

/// Pieces that the next link does not take are cut where they lie; with DF the sender is told about the first (RFC 1191).
#[test]
fn fragments_are_cut_again_for_a_smaller_mtu() {
    let mut rig = Rig::with(super::forwarding::bare(600));
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 3000);
    let frames = cut(WORK, WEB.ip, MACS[INSIDE], proto::UDP, &payload, &[0, 1480, 2960]);
    let [outside, _] = run(&mut rig, INSIDE, &frames, &[(OUTSIDE, WEB)]);
    assert!(outside.iter().all(|f| f.len() <= 614) && outside.len() == 7);
    let (src, dst, whole) = put_together(&outside);
    assert!(checksum::is_valid_segment(src, dst, proto::UDP, &whole) && whole[8..] == payload[8..]);

    rig.moved();
    let df = |at: usize, end: usize, more: u16| {
        ipv4(WORK, WEB.ip, MACS[INSIDE], proto::UDP, 64, 0x4000 | more | (at / 8) as u16, &payload[at..end])
    };
    let frames = [df(0, 480, MORE), df(480, 1960, MORE), df(1960, payload.len(), 0)];
    let [outside, inside] = run(&mut rig, INSIDE, &frames, &[]);
    assert!(outside.is_empty());
    let error = parse(&inside[0]).unwrap();
    assert_eq!((error.icmp_type, error.icmp_code), (3, 4));
    let quoted = parse::embedded(&inside[0], &error).unwrap().tuple;
    assert_eq!((quoted.src, quoted.sport, quoted.dst), (WORK.ip, 7000, WEB.ip));
    rig.expect(&[("inside rx", 3), ("inside tx", 1), ("icmp_errors_sent", 1), ("mtu-exceeded", 3)]);
    rig.assert_no_mbuf_held();
}

/// `ping -s 4000` to the appliance: answered in the pieces it came in.
#[test]
fn the_appliance_answers_a_ping_in_fragments() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let message = echo_message(8, 7, 4000);
    let mut frames = cut(WORK, OWN[INSIDE], MACS[INSIDE], proto::ICMP, &message, &[0, 1480, 2960]);
    frames.swap(0, 2);
    let [_, inside] = run(&mut rig, INSIDE, &frames, &[]);
    let (src, dst, whole) = put_together(&inside);
    assert_eq!((src, dst, &whole[8..]), (OWN[INSIDE], WORK.ip, &message[8..]));
    assert!(checksum::is_valid(&whole) && whole[0] == 0);
    rig.expect(&[("inside rx", 3), ("inside tx", 3), ("icmp_echo_replies", 1)]);

    // A wrong checksum, and the address of another interface: silence, by name.
    let mut wrong = message.clone();
    wrong[3000] ^= 1;
    let frames = cut(WORK, OWN[INSIDE], MACS[INSIDE], proto::ICMP, &wrong, &[0, 1480, 2960]);
    run(&mut rig, INSIDE, &frames, &[]);
    rig.expect(&[("inside rx", 3), ("invalid-icmp", 3)]);
    let frames = cut(WORK, OWN[OUTSIDE], MACS[INSIDE], proto::ICMP, &message, &[0, 1480, 2960]);
    run(&mut rig, INSIDE, &frames, &[]);
    rig.expect(&[("inside rx", 3), ("np-socket-closed", 3)]);
    rig.assert_no_mbuf_held();
}

/// RFC 1122 3.3.2: after the time for reassembly the sender is told, if it sent the first fragment.
#[test]
fn what_does_not_come_in_time_is_dropped_with_word_to_the_sender() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 3000);
    let frames = cut(WORK, WEB.ip, MACS[INSIDE], proto::UDP, &payload, &[0, 1480, 2960]);
    for (missing, told) in [(1, 1), (0, 0)] {
        let mut some = frames.clone();
        some.remove(missing);
        run(&mut rig, INSIDE, &some, &[]);
        assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 2);
        rig.wait(4900);
        assert_eq!(rig.collect()[INSIDE].len(), 0);
        rig.wait(100);
        let [_, inside] = rig.collect();
        assert_eq!(inside.len(), told);
        for error in inside {
            let parsed = parse(&error).unwrap();
            assert_eq!((parsed.icmp_type, parsed.icmp_code, parsed.tuple.dst), (11, 1, WORK.ip));
            assert_eq!(parse::embedded(&error, &parsed).unwrap().tuple.sport, 7000);
        }
        let mut expected = vec![("inside rx", 2), ("fragment-reassembly-failed", 2)];
        if told > 0 {
            expected.extend([("inside tx", 1), ("icmp_errors_sent", 1)]);
        }
        rig.expect(&expected);
    }
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Timeout), 4);
    rig.assert_no_mbuf_held();
}

/// RFC 1858, RFC 3128, RFC 5722, RFC 791: each by name, nothing sent, nothing held.
#[test]
fn impossible_fragments_are_dropped_by_name() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 3000);
    let at = |proto, word, bytes: &[u8]| ipv4(WORK, WEB.ip, MACS[INSIDE], proto, 64, word, bytes);
    let (segment, _) = part(&tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], 2));
    let mut long_head = segment.clone();
    long_head[12] = 0xf0;
    let alone = [
        ("a head without all of UDP", at(proto::UDP, MORE, &[])),
        ("a TCP head of 8 bytes", at(proto::TCP, MORE, &segment[..8])),
        ("a TCP head of 16 bytes", at(proto::TCP, MORE, &segment[..16])),
        ("a TCP head without its options", at(proto::TCP, MORE, &[&long_head[..], &[0; 4]].concat())),
        ("TCP flags overwritten", at(proto::TCP, 1, &segment[8..16])),
        ("not a multiple of eight", at(proto::UDP, MORE, &payload[..100])),
        ("past the longest datagram", at(proto::UDP, 8190, &payload[..100])),
    ];
    for (what, frame) in alone {
        assert_eq!(rig.send(INSIDE, &frame), [Vec::<Vec<u8>>::new(), Vec::new()], "{what}");
        rig.expect(&[("inside rx", 1), ("fragment-reassembly-failed", 1)]);
    }
    // A datagram each: overlap, two ends, bytes behind the end.
    let sets = [
        (FragmentCounter::Overlap, [(MORE, 0..1480), (MORE | 184, 1472..2960)]),
        (FragmentCounter::Length, [(185, 1480..1600), (250, 2000..2100)]),
        (FragmentCounter::Length, [(185, 1480..1600), (MORE | 250, 2000..2080)]),
    ];
    for (n, (counter, set)) in sets.into_iter().enumerate() {
        let to = WEB.ip + n as u32;
        let before = rig.fragments(INSIDE, counter);
        for (word, bytes) in set {
            let frame = ipv4(WORK, to, MACS[INSIDE], proto::UDP, 64, word, &payload[bytes]);
            assert_eq!(rig.send(INSIDE, &frame), [Vec::<Vec<u8>>::new(), Vec::new()]);
        }
        assert_eq!(rig.fragments(INSIDE, counter) - before, 2);
        rig.expect(&[("inside rx", 2), ("fragment-reassembly-failed", 2)]);
    }
    // The UDP length says more than the datagram has.
    let mut long = payload.clone();
    long[4..6].copy_from_slice(&4000u16.to_be_bytes());
    run(&mut rig, INSIDE, &cut(WORK, WEB.ip + 9, MACS[INSIDE], proto::UDP, &long, &[0, 1480]), &[]);
    rig.expect(&[("inside rx", 2), ("invalid-udp-length", 2)]);
    rig.assert_no_mbuf_held();
}

#[test]
fn the_ttl_of_the_most_travelled_piece_counts() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 2000);
    let frames = [
        ipv4(WORK, WEB.ip, MACS[INSIDE], proto::UDP, 64, MORE, &payload[..1480]),
        ipv4(WORK, WEB.ip, MACS[INSIDE], proto::UDP, 1, 185, &payload[1480..]),
    ];
    let [_, inside] = run(&mut rig, INSIDE, &frames, &[]);
    assert_eq!(parse(&inside[0]).unwrap().icmp_type, 11);
    rig.expect(&[("inside rx", 2), ("inside tx", 1), ("icmp_errors_sent", 1), ("ttl-exceeded", 2)]);
}

/// A flood of heads takes no more than its share of the buffers, traffic goes on, and all come back.
#[test]
fn a_flood_of_heads_is_bounded() {
    let mut rig = Rig::new();
    rig.exchange(INSIDE, &udp((WORK, 999), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
    rig.collect();
    rig.moved();
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 2000);
    for n in 0..2000u32 {
        let from = Station { ip: ip(10, 10, 0, 0) + n, ..WORK };
        rig.send(INSIDE, &ipv4(from, WEB.ip, MACS[INSIDE], proto::UDP, 64, MORE, &payload[..1480]));
    }
    let held = rig.fragments(INSIDE, FragmentCounter::Queue);
    assert!((1..=133).contains(&held), "{held}");
    let out = rig.send(INSIDE, &udp((WORK, 999), (WEB.ip, 53), MACS[INSIDE], 64, b"q"));
    assert_eq!(out[OUTSIDE].len(), 1);
    rig.wait(6000);
    rig.collect();
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 0);
    assert_eq!(rig.moved().get("fragment-reassembly-failed"), Some(&2000));
    rig.assert_no_mbuf_held();
}

/// An interface that changes its place takes what waits with it.
#[test]
fn fragments_do_not_outlive_a_change_of_interfaces() {
    let mut rig = Rig::new();
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 2000);
    rig.send(INSIDE, &ipv4(WORK, WEB.ip, MACS[INSIDE], proto::UDP, 64, MORE, &payload[..1480]));
    rig.moved();
    rig.publish_on([1, 0], policy(), 2);
    rig.turn();
    assert_eq!(rig.moved().get("fragment-reassembly-failed"), Some(&1));
    assert_eq!(rig.fragments(INSIDE, FragmentCounter::Queue), 0);
}

/// Only the first fragment has ports, and the parser says so.
#[test]
fn a_later_fragment_has_no_ports() {
    let payload = udp_payload((WORK, 7000), (WEB.ip, 7000), 2000);
    let later = ipv4(WORK, WEB.ip, MACS[INSIDE], proto::UDP, 64, 185, &payload[1480..]);
    let parsed = parse(&later).unwrap();
    assert_eq!((parsed.frag, parsed.tuple.sport, parsed.tuple.dport), (Fragment::Later, 0, 0));
}
