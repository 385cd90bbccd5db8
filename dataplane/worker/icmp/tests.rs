// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is owed to whom, and how often.
use super::*;
use fedgate_tables::policy::Interface;
use fedgate_wire::{Kind, MacAddr, checksum, parse};
use proptest::collection::vec;
use proptest::prelude::*;

const INSIDE: u32 = 0x0a00_0001;
const OUTSIDE: u32 = 0xc633_6401;
const HOST: u32 = 0x0a00_0007;
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

fn interfaces() -> [Interface; 2] {
    [(OUTSIDE, 0xffff_ff00), (INSIDE, 0xff00_0000)].map(|(addr, mask)| Interface {
        addr,
        mask,
        ..Interface::default()
    })
}

/// A frame from the inside with an 8-byte UDP datagram or echo request.
fn frame(src: u32, dst: u32, proto: u8) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, proto, 0, 0];
    ip.extend(src.to_be_bytes());
    ip.extend(dst.to_be_bytes());
    let sum = checksum::of(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let payload = if proto == 1 { [8, 0, 0xf7, 0xff, 0, 0, 0, 0] } else { [0, 1, 0, 2, 0, 8, 0, 0] };
    [&OURS.0[..], &THEIRS.0, &[8, 0], &ip, &payload].concat()
}

fn error(responder: &mut Responder, now_ms: u64, frame: &[u8], out: &mut [u8]) -> Result<usize, Silence> {
    let interfaces = interfaces();
    let routes = Routes { interfaces: &interfaces, routes: &[] };
    let parsed = parse(frame).unwrap();
    let about = Offence { frame, parsed: &parsed, ingress: Station { mac: OURS, ip: INSIDE } };
    responder.error(now_ms, &routes, icmp4::Error::NetUnreachable, about, out)
}

#[test]
fn an_error_goes_back_where_the_packet_came_from() {
    let mut out = [0; emit::MAX_ERROR_FRAME_LEN];
    let about = frame(HOST, 0x0808_0808, 17);
    let len = error(&mut Responder::default(), 0, &about, &mut out).unwrap();
    let sent = parse(&out[..len]).unwrap();
    assert_eq!((sent.kind, sent.icmp_type, sent.icmp_code), (Kind::IcmpError, 3, 0));
    assert_eq!((sent.tuple.src, sent.tuple.dst), (INSIDE, HOST));
    let head = Ethernet::new_checked(&out[..]).unwrap();
    assert_eq!((head.src(), head.dst()), (OURS, THEIRS));
    assert_eq!(error(&mut Responder::default(), 0, &about, &mut out[..60]), Err(Silence::NoRoom));
}

#[test]
fn no_error_about_broadcasts_or_in_our_own_name_and_no_token_for_them() {
    let mut responder = Responder::new(Rate { per_second: 0, burst: 1 }, Rate::default());
    let mut out = [0; emit::MAX_ERROR_FRAME_LEN];
    for (src, dst) in
        [(HOST, 0xc633_64ff), (HOST, 0x0aff_ffff), (0x0aff_ffff, OUTSIDE), (OUTSIDE, 0x0808_0808)]
    {
        assert_eq!(error(&mut responder, 0, &frame(src, dst, 17), &mut out), Err(Silence::NotOwed));
    }
    let good = frame(HOST, 0x0808_0808, 17);
    assert!(error(&mut responder, 0, &good, &mut out).is_ok());
    assert_eq!(error(&mut responder, 0, &good, &mut out), Err(Silence::RateExceeded));
}

/// A flood of packets whose TTL runs out does not silence path MTU discovery.
#[test]
fn fragmentation_needed_has_its_own_rate() {
    let interfaces = interfaces();
    let routes = Routes { interfaces: &interfaces, routes: &[] };
    let one = Rate { per_second: 1, burst: 1 };
    let mut responder = Responder::new(one, one);
    let frame = frame(HOST, 0x0808_0808, 17);
    let parsed = parse(&frame).unwrap();
    let ingress = Station { mac: MacAddr([2; 6]), ip: INSIDE };
    let mut out = [0; emit::MAX_ERROR_FRAME_LEN];
    let mut send = |error| {
        responder.error(0, &routes, error, Offence { frame: &frame, parsed: &parsed, ingress }, &mut out)
    };
    assert!(send(icmp4::Error::TtlExceeded).is_ok());
    assert_eq!(send(icmp4::Error::TtlExceeded), Err(Silence::RateExceeded));
    let needed = icmp4::Error::FragmentationNeeded { mtu: 1400 };
    assert!(send(needed).is_ok());
    assert_eq!(send(needed), Err(Silence::RateExceeded));
}

#[test]
fn only_the_near_address_answers_a_ping() {
    let interfaces = interfaces();
    let routes = Routes { interfaces: &interfaces, routes: &[] };
    let mut responder = Responder::new(Rate::default(), Rate { per_second: 1, burst: 1 });
    let mut echo = |now_ms, dst, proto| {
        let mut frame = frame(HOST, dst, proto);
        let parsed = parse(&frame).unwrap();
        responder.echo(now_ms, &routes, 1, &mut frame, &parsed).map(|len| parse(&frame[..len]).unwrap())
    };
    assert_eq!(echo(0, OUTSIDE, 1), Err(Silence::NotOwed));
    assert_eq!(echo(0, 0x0a00_0002, 1), Err(Silence::NotOwed));
    assert_eq!(echo(0, INSIDE, 17), Err(Silence::NotOwed));
    let reply = echo(0, INSIDE, 1).unwrap();
    assert_eq!((reply.icmp_type, reply.tuple.src, reply.tuple.dst), (0, INSIDE, HOST));
    assert_eq!(echo(999, INSIDE, 1), Err(Silence::RateExceeded));
    assert!(echo(1000, INSIDE, 1).is_ok());
}

proptest! {
    /// In any stretch of time no more than the burst and what has come in since is let through, and never less than is there.
    #[test]
    fn the_bucket_keeps_its_rate(per_second in 0u32..500, burst in 0u32..60, steps in vec(0u64..200, 0..200)) {
        let mut bucket = TokenBucket::full(Rate { per_second, burst });
        let (mut now, mut passed) = (0, Vec::new());
        for step in steps {
            now += step;
            let level = bucket.level + step * u64::from(per_second);
            let may = level.min(u64::from(burst) * 1000) >= 1000;
            prop_assert_eq!(bucket.take(now), may);
            if may {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let allowed = u64::from(burst) * 1000 + (to - from) * u64::from(per_second);
                prop_assert!(((last - first + 1) as u64) * 1000 <= allowed);
            }
        }
    }
}

#[test]
fn a_clock_that_goes_back_brings_no_tokens() {
    let mut bucket = TokenBucket::full(Rate { per_second: 1000, burst: 1 });
    assert!(bucket.take(5000));
    assert!(!bucket.take(4000) && !bucket.take(5000));
    assert!(bucket.take(5001));
    assert!(bucket.take(u64::MAX));
}
