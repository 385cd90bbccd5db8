// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept by IPv6: the answer, the server's call, the numbers shifted both ways and in quotes, and ends that fail.

use super::*;
use crate::worker::tests::rig::limit;

const RST: u8 = 4;
const REMOTE_HOST: Station6 = Station6 { mac: ROUTER.mac, ip: REMOTE };

/// A segment from outside to the host's port 443, or back.
fn segment(inwards: bool, port: u16, flags: u8, [seq, ack]: [u32; 2], data: &[u8]) -> Vec<u8> {
    let (from, to, ports, side) = match inwards {
        true => (REMOTE_HOST, HOST.ip, [port, 443], OUTSIDE),
        false => (HOST, REMOTE, [443, port], INSIDE),
    };
    let mut l4 = ports.map(u16::to_be_bytes).concat();
    l4.extend([seq, ack].map(u32::to_be_bytes).concat());
    l4.extend([5 << 4, flags, 9, 9, 0, 0, 0, 0]);
    l4.extend(data);
    let sum = checksum::of_segment_v6(from.ip, to, proto::TCP, &l4);
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    frame(from, to, MACS[side], proto::TCP, 64, &l4)
}

/// Sequence and acknowledgement number, flags, window; and that the checksum is right.
fn header(frame: &[u8]) -> (u32, u32, u8, u16) {
    let parsed = parse6(frame).unwrap();
    let l4 = &frame[54..14 + usize::from(parsed.ip_len)];
    assert!(checksum::is_valid_segment_v6(parsed.tuple.src, parsed.tuple.dst, proto::TCP, l4));
    let tcp = fedgate_wire::Tcp::new_checked(l4).unwrap();
    (tcp.seq(), tcp.ack(), tcp.flags().0, tcp.window())
}

/// A rig that knows both stations, and whose class has the one embryonic connection that it may have.
fn flooded() -> Rig {
    let mut b = policy(1500);
    limit(&mut b, 1);
    let mut rig = quiet(Rig::with(b));
    exchange(&mut rig, OUTSIDE, &segment(true, 1, SYN, [3, 0], b""), INSIDE, HOST);
    exchange(&mut rig, INSIDE, &segment(false, 1, SYN | ACK, [5, 4], b""), OUTSIDE, ROUTER);
    // It is open now; the next is not.
    rig.send(OUTSIDE, &segment(true, 1, ACK, [4, 6], b""));
    rig.send(OUTSIDE, &segment(true, 2, SYN, [3, 0], b""));
    quiet(rig)
}

/// Gives the cookie of a client whose server has been called.
fn begin(rig: &mut Rig, port: u16) -> u32 {
    let [outside, inside] = rig.send(OUTSIDE, &segment(true, port, SYN, [8, 0], b""));
    assert!(inside.is_empty());
    assert_eq!(outside[0][..12], [ROUTER.mac.0, MACS[OUTSIDE].0].concat());
    let (cookie, ack, flags, window) = header(&outside[0]);
    assert_eq!((ack, flags, window), (9, SYN | ACK, 0));
    let ack = segment(true, port, ACK, [9, cookie.wrapping_add(1)], b"");
    let [outside, inside] = rig.send(OUTSIDE, &ack);
    assert!(outside.is_empty());
    assert_eq!(header(&inside[0]), (8, 0, SYN, 0x0909));
    assert_eq!(parse6(&inside[0]).unwrap().hop_limit, 64);
    cookie
}

#[test]
fn numbers_are_shifted_both_ways() {
    let mut rig = flooded();
    let cookie = begin(&mut rig, 7);
    rig.expect(&[
        ("outside rx", 2),
        ("outside tx", 1),
        ("inside tx", 1),
        ("ace 1", 2),
        ("conns_built", 1),
        ("tcp_intercept_cookies", 1),
        ("tcp_intercept_conns", 1),
    ]);
    let theirs = cookie.wrapping_add(1);
    let [outside, inside] = rig.send(INSIDE, &segment(false, 7, SYN | ACK, [70, 9], b""));
    assert_eq!(header(&inside[0]), (9, 71, ACK, 0x0909));
    assert_eq!(header(&outside[0]), (theirs, 9, ACK, 0x0909));
    let [_, inside] = rig.send(OUTSIDE, &segment(true, 7, ACK, [9, theirs], b"question"));
    assert_eq!((header(&inside[0]), &inside[0][74..]), ((9, 71, ACK, 0x0909), &b"question"[..]));
    let [outside, _] = rig.send(INSIDE, &segment(false, 7, ACK, [71, 17], b"answer"));
    assert_eq!((header(&outside[0]), &outside[0][74..]), ((theirs, 17, ACK, 0x0909), &b"answer"[..]));
    // A packet that is too big for a link beyond us: its sender knows it by its own number.
    for len in [40 + 26, 40 + 8] {
        let told =
            icmp(ROUTER, HOST.ip, MACS[OUTSIDE], 64, [2, 0, 0, 0, 0, 0, 5, 0], &outside[0][14..14 + len]);
        let [_, inside] = rig.send(OUTSIDE, &told);
        let icmp = &inside[0][54..];
        assert!(checksum::is_valid_segment_v6(ROUTER.ip, HOST.ip, proto::ICMPV6, icmp));
        assert_eq!(icmp[8 + 40 + 4..][..4], 71u32.to_be_bytes());
    }
    rig.assert_no_mbuf_held();
}

#[test]
fn damaged_segments_of_a_handshake_are_not_believed() {
    let mut rig = flooded();
    let damaged = |mut frame: Vec<u8>| {
        frame[54 + 4] ^= 0x40;
        frame
    };
    rig.moved();
    let nothing = [Vec::<Vec<u8>>::new(), Vec::new()];
    assert_eq!(rig.send(OUTSIDE, &damaged(segment(true, 7, SYN, [8, 0], b""))), nothing);
    rig.expect(&[("outside rx", 1), ("ace 1", 1), ("bad-tcp-cksum", 1)]);
    begin(&mut rig, 7);
    rig.moved();
    let answer = segment(false, 7, SYN | ACK, [70, 9], b"");
    assert_eq!(rig.send(INSIDE, &damaged(answer.clone())), nothing);
    rig.expect(&[("inside rx", 1), ("bad-tcp-cksum", 1)]);
    let [_, inside] = rig.send(INSIDE, &answer);
    assert_eq!(header(&inside[0]), (9, 71, ACK, 0x0909));
}

#[test]
fn ends_that_fail_are_named() {
    let mut rig = flooded();
    let cookie = begin(&mut rig, 7);
    rig.moved();
    let [outside, _] = rig.send(INSIDE, &segment(false, 7, RST | ACK, [0, 9], b""));
    assert_eq!(header(&outside[0]), (cookie.wrapping_add(1), 9, RST | ACK, 0));
    rig.expect(&[("inside rx", 1), ("outside tx", 1), ("tcp-intercept-kill", 1), ("conns_torn_down", 1)]);
    let cookie = begin(&mut rig, 8);
    rig.moved();
    rig.wait(7100);
    let [outside, inside] = rig.collect();
    assert_eq!((header(&outside[0]).0, header(&outside[0]).2), (cookie.wrapping_add(1), RST | ACK));
    assert_eq!(inside.iter().filter(|frame| parse6(frame).unwrap().tuple.proto == proto::TCP).count(), 2);
    assert_eq!(rig.moved().get("tcp-intercept-kill"), Some(&1));
    assert_eq!(rig.flow().opening(), 0);
}
