// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors in transit, as RFC 5508 REQ-3 to REQ-5 and RFC 5382 REQ-10 want them: about TCP, UDP and queries, from both sides.

use super::forwarding::bare;
use super::rig::*;
use fedgate_wire::emit::Station;
use fedgate_wire::{Ipv4, MacAddr, checksum, parse, proto};

const SYN: u8 = 0x02;
/// A router that no connection is with, somewhere outside.
const HOP: Station = Station { mac: WEB.mac, ip: ip(192, 0, 2, 1) };
/// A router on the inside.
const INNER: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 9]), ip: ip(10, 10, 0, 9) };

/// An error from `from` that quotes the IP header and `bytes` of payload of `about`, as a router sends it to the quote's source.
fn error(from: Station, kind: u8, code: u8, about: &[u8], bytes: usize, next_hop: MacAddr) -> Vec<u8> {
    let to = Ipv4::new_checked(&about[14..]).unwrap().src();
    let mut message = [&[kind, code, 0, 0, 0, 0, 0x05, 0x78][..], &about[14..34 + bytes]].concat();
    let sum = checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, next_hop, proto::ICMP, 60, 0, &message)
}

/// What leaves for each of the three kinds of flow that a workstation begins, by way of PAT.
fn flows(rig: &mut Rig) -> [(Vec<u8>, Vec<u8>); 3] {
    let sent = [
        udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question"),
        tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], SYN),
        echo(WORK, WEB.ip, MACS[INSIDE], 77),
    ];
    sent.map(|frame| {
        let out = rig.exchange(INSIDE, &frame, &[(OUTSIDE, WEB)]);
        let left = out[OUTSIDE].iter().find(|f| arp_target(f).is_none()).unwrap().clone();
        (frame, left)
    })
}

/// RFC 5508 REQ-4, RFC 5382 REQ-10: the quote is what the host sent, whatever part of it there is; the connection stays.
#[test]
fn rfc5508_req4_errors_from_outside_reach_the_host_with_its_own_quote() {
    let mut rig = Rig::new();
    let flows = flows(&mut rig);
    // The workstation's MAC is learned from its answer to the first error.
    let first = error(HOP, 11, 0, &flows[0].1, 8, MACS[OUTSIDE]);
    rig.exchange(OUTSIDE, &first, &[(INSIDE, WORK)]);
    rig.moved();
    for (sent, left) in &flows {
        let all = left.len() - 34;
        for (kind, code, bytes) in [(11, 0, 8), (3, 4, 8), (3, 3, all), (3, 1, all), (12, 0, 8)] {
            let out = rig.send(OUTSIDE, &error(HOP, kind, code, left, bytes, MACS[OUTSIDE]));
            let frame = &out[INSIDE][0];
            let got = parse(frame).unwrap();
            assert_eq!((got.tuple.src, got.tuple.dst), (HOP.ip, WORK.ip), "from the hop itself");
            assert_eq!((got.icmp_type, got.icmp_code, got.ttl), (kind, code, 59));
            let quote = &frame[42..42 + 20 + bytes];
            assert_eq!(quote[20..], sent[34..34 + bytes], "the host's own bytes");
            let (inner, own) = (&quote[12..20], &sent[26..34]);
            assert!(inner == own && checksum::is_valid(&quote[..20]));
            // The MTU that a narrow hop names is handed on.
            assert_eq!(frame[40..42], 0x0578u16.to_be_bytes());
            rig.expect(&[("outside rx", 1), ("inside tx", 1)]);
        }
    }
    // The flows are still there.
    for (sent, _) in &flows {
        assert_eq!(rig.send(INSIDE, sent)[OUTSIDE].len(), 1);
    }
    assert_eq!(rig.moved().get("conns_built"), None);
}

/// RFC 5508 REQ-5: an error from a router behind us is shown as the mapped address, with the quote as the outside sent it.
#[test]
fn rfc5508_req5_errors_from_inside_show_the_mapped_address() {
    let mut rig = Rig::new();
    let syn = tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], SYN);
    let out = rig.exchange(OUTSIDE, &syn, &[(INSIDE, ROUTING)]);
    let left = out[INSIDE].iter().find(|f| arp_target(f).is_none()).unwrap().clone();
    let wrong = error(INNER, 3, 1, &left, 8, MACS[INSIDE]);
    let out = rig.exchange(INSIDE, &wrong, &[(OUTSIDE, WEB)]);
    let frame = out[OUTSIDE].iter().find(|f| arp_target(f).is_none()).unwrap();
    let got = parse(frame).unwrap();
    assert_eq!((got.tuple.src, got.tuple.dst), (PUBLIC, WEB.ip));
    let quoted = parse::embedded(frame, &got).unwrap().tuple;
    assert_eq!((quoted.src, quoted.sport, quoted.dst, quoted.dport), (WEB.ip, 40_000, PUBLIC, 5061));

    // About the replies of a PATed flow, a router inside speaks of what the far host sent to the mapped port.
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q");
    rig.exchange(INSIDE, &question, &[]);
    let answer = udp((WEB, 53), (OWN[OUTSIDE], 5353), MACS[OUTSIDE], 64, b"a");
    let out = rig.exchange(OUTSIDE, &answer, &[(INSIDE, WORK)]);
    let left = out[INSIDE].iter().find(|f| arp_target(f).is_none()).unwrap().clone();
    let out = rig.send(INSIDE, &error(INNER, 3, 1, &left, 8, MACS[INSIDE]));
    let frame = &out[OUTSIDE][0];
    let got = parse(frame).unwrap();
    assert_eq!((got.tuple.src, got.tuple.dst), (OWN[OUTSIDE], WEB.ip));
    let quoted = parse::embedded(frame, &got).unwrap().tuple;
    assert_eq!((quoted.src, quoted.dst, quoted.dport), (WEB.ip, OWN[OUTSIDE], 5353));
}

/// An error larger than the next link takes is dropped by name: nobody is owed an error for an error (RFC 1122 3.2.2).
#[test]
fn an_error_in_transit_keeps_to_the_mtu() {
    let mut rig = Rig::with(bare(576));
    rig.collect();
    let answered = [(INSIDE, WORK), (OUTSIDE, WEB)];
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"q");
    rig.exchange(INSIDE, &question, &answered);
    let answer = udp((WEB, 53), (OWN[OUTSIDE], 5353), MACS[OUTSIDE], 64, &[7; 700]);
    let out = rig.exchange(OUTSIDE, &answer, &answered);
    let left = out[INSIDE].iter().find(|f| arp_target(f).is_none()).unwrap().clone();
    rig.moved();
    assert_eq!(rig.send(INSIDE, &error(INNER, 3, 3, &left, 100, MACS[INSIDE]))[OUTSIDE].len(), 1);
    rig.moved();
    assert!(rig.send(INSIDE, &error(INNER, 3, 3, &left, 700, MACS[INSIDE]))[OUTSIDE].is_empty());
    rig.expect(&[("inside rx", 1), ("mtu-exceeded", 1)]);
    rig.assert_no_mbuf_held();
}

/// RFC 5508 REQ-3 and RFC 1122 3.2.2: what cannot be believed is dropped by name.
#[test]
fn rfc5508_req3_errors_that_cannot_be_are_dropped_by_name() {
    let mut rig = Rig::new();
    let [(_, left), ..] = flows(&mut rig);
    rig.collect();
    rig.moved();
    let good = error(HOP, 11, 0, &left, 8, MACS[OUTSIDE]);
    let resummed = |change: &dyn Fn(&mut [u8])| {
        let mut frame = good.clone();
        change(&mut frame);
        frame[36..38].fill(0);
        let sum = checksum::of(&frame[34..]);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let mut wrong_sum = good.clone();
    wrong_sum[37] ^= 1;
    let never_left = {
        let from = Station { ip: OWN[OUTSIDE], ..WORK };
        error(HOP, 11, 0, &udp((from, 5999), (WEB.ip, 53), WEB.mac, 64, b"q"), 8, MACS[OUTSIDE])
    };
    let other = Station { ip: HOP.ip + 1, ..HOP };
    let about_an_error = error(other, 11, 0, &error(HOP, 3, 1, &left, 8, MACS[OUTSIDE]), 8, MACS[OUTSIDE]);
    for (reason, frame) in [
        ("invalid-icmp", wrong_sum),
        ("invalid-icmp", resummed(&|f| f[42 + 10] ^= 1)),
        ("invalid-icmp", error(HOP, 11, 0, &left, 7, MACS[OUTSIDE])),
        ("invalid-icmp", about_an_error),
        ("invalid-icmp", error(HOP, 4, 0, &left, 8, MACS[OUTSIDE])),
        ("invalid-icmp", error(HOP, 5, 1, &left, 8, MACS[OUTSIDE])),
        ("inspect-icmp-error-no-existing-conn", never_left),
    ] {
        assert_eq!(rig.send(OUTSIDE, &frame), [Vec::<Vec<u8>>::new(), Vec::new()]);
        rig.expect(&[("outside rx", 1), (reason, 1)]);
    }
    // The right quote from the wrong side.
    rig.send(INSIDE, &error(INNER, 11, 0, &left, 8, MACS[INSIDE]));
    rig.expect(&[("inside rx", 1), ("inspect-icmp-error-no-existing-conn", 1)]);
    rig.assert_no_mbuf_held();
}
