// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parser against what it was built from, on any bytes, and by hand for each error and each kind.
use super::*;
use crate::testing::ethernet;
use crate::testing6::{
    HERE, Ip6, THERE, fragment, icmp, ipv6, likely_frame, packet, padding, ping, tcp, udp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

/// What must hold of any answer, whatever the bytes were.
fn consistent(frame: &[u8]) {
    let Ok(parsed) = parse6(frame) else { return };
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.ip_len);
    assert!(l3 == 14 && l4 >= l3 + 40 && l4 <= end && end <= frame.len());
    let octets = |at: usize| u128::from_be_bytes(frame[at..at + 16].try_into().unwrap());
    assert_eq!((octets(22), octets(38)), (parsed.tuple.src, parsed.tuple.dst));
    assert_eq!(parsed.fragment == 0, !has_fragment_header(frame));
    assert!(parsed.tuple.src != parsed.tuple.dst && !crate::ipv6::is_multicast(parsed.tuple.src));
    if parsed.frag == Fragment::Later {
        assert_eq!((parsed.tuple.sport, parsed.tuple.dport, parsed.icmp_type), (0, 0, 0));
    } else if matches!(parsed.tuple.proto, 6 | 17) {
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        assert_eq!((parsed.tuple.sport, parsed.tuple.dport), (port(l4), port(l4 + 2)));
    } else if parsed.tuple.proto == 58 {
        assert_eq!((parsed.icmp_type, parsed.icmp_code), (frame[l4], frame[l4 + 1]));
    }
    match parsed.kind {
        Kind6::IcmpError => {
            let quote = embedded6(frame, &parsed).unwrap();
            assert_eq!(usize::from(parsed.embedded), l4 + 8);
            assert_eq!(quote.tuple.src, parsed.tuple.dst);
            assert!(usize::from(quote.l4) + 8 <= end);
        }
        Kind6::Packet => assert!(embedded6(frame, &parsed).is_err() && parsed.embedded == 0),
    }
}

fn has_fragment_header(frame: &[u8]) -> bool {
    let (mut kind, mut at) = (frame[20], 54);
    loop {
        match kind {
            44 => return true,
            0 | 43 | 60 => (kind, at) = (frame[at], at + 8 + usize::from(frame[at + 1]) * 8),
            _ => return false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn likely_frames(frame in likely_frame()) {
        consistent(&frame);
    }

    #[test]
    fn mutated_frames(frame in likely_frame(), changes in vec((0usize..150, any::<u8>()), 0..4), cut in 0usize..60) {
        let mut frame = frame;
        for (at, value) in changes {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(frame.len().saturating_sub(cut));
        consistent(&frame);
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        consistent(&bytes);
        let mut frame = ethernet(0x86dd, &bytes);
        if let Some(first) = frame.get_mut(14) {
            *first = 0x60;
        }
        if frame.len() >= 54 {
            let len = (frame.len() - 54) as u16;
            frame[18..20].copy_from_slice(&len.to_be_bytes());
        }
        consistent(&frame);
    }

    /// What was parsed of one frame and asked of another: an answer, never a panic.
    #[test]
    fn questions_about_another_frame(frame in likely_frame(), other in vec(any::<u8>(), 0..100)) {
        if let Ok(parsed) = parse6(&frame) {
            let _ = embedded6(&other, &parsed);
        }
    }

    #[test]
    fn what_was_built_is_found(src in any::<u64>(), dst in any::<u64>(), ports in any::<(u16, u16)>(), hops in any::<u8>(),
                               data in vec(any::<u8>(), 0..60), units in 0u8..3, over in any::<bool>(), tail in 0usize..9) {
        prop_assume!(src != dst);
        let (src, dst) = (HERE ^ u128::from(src), HERE ^ u128::from(dst));
        let headers = if units == 0 { Vec::new() } else { std::vec![(60, padding(units))] };
        let ip = Ip6 { src, dst, hops, headers };
        let (proto, segment) = if over { (6, tcp(&ip, ports, 0x18, &data)) } else { (17, udp(&ip, ports, &data)) };
        let mut frame = ipv6(&ip, proto, &segment);
        let whole = frame.len();
        frame.resize(whole + tail, 0xee);
        let parsed = parse6(&frame).unwrap();
        prop_assert_eq!(parsed.tuple, Tuple6 { src, dst, sport: ports.0, dport: ports.1, proto });
        prop_assert_eq!(parsed.tuple.mirror().mirror(), parsed.tuple);
        prop_assert_eq!((usize::from(parsed.ip_len), parsed.hop_limit), (whole - 14, hops));
        prop_assert_eq!(usize::from(parsed.l4), 54 + usize::from(units) * 8);
        prop_assert_eq!((parsed.kind, parsed.frag), (Kind6::Packet, Fragment::No));
    }

    #[test]
    fn a_flipped_bit_in_icmp_is_seen(data in vec(any::<u8>(), 0..40), at in any::<usize>(), bit in 0u8..8) {
        let mut frame = ping(7, 1, &data);
        let len = frame.len();
        prop_assert!(parse6(&frame).is_ok());
        frame[54 + at % (len - 54)] ^= 1 << bit;
        prop_assert_eq!(parse6(&frame), Err(ParseError::InvalidIcmp));
    }
}

#[test]
fn each_error_has_a_frame() {
    use ParseError as E;
    let ip = Ip6::default();
    let segment = tcp(&ip, (1, 2), 0x10, &[]);
    let between = |src: u128, dst: u128| {
        let ip = Ip6 { src, dst, ..Ip6::default() };
        ipv6(&ip, 6, &tcp(&ip, (1, 2), 0x10, &[]))
    };
    let patched = |at: usize, value: u8| {
        let mut frame = ipv6(&ip, 6, &segment);
        frame[at] = value;
        frame
    };
    let mut unsummed = udp(&ip, (1, 2), b"x");
    unsummed[6..8].fill(0);
    let first = Ip6::with(&[(44, fragment(0, true, 1))]);
    let quote = packet(&Ip6 { src: THERE, dst: HERE, ..Ip6::default() }, 17, &[0; 8]);
    let huge = {
        let mut frame = ethernet(0x86dd, &packet(&ip, 17, &[]));
        frame.resize(14 + 40 + 65_535, 0);
        frame[18..20].fill(0xff);
        frame
    };
    let cases: Vec<(Vec<u8>, E)> = std::vec![
        (std::vec![0; 13], E::FrameTooShort),
        (ipv6(&ip, 6, &segment)[..53].to_vec(), E::FrameTooShort),
        (ethernet(0x0800, &[0x60; 46]), E::UnsupportedEthertype),
        (patched(14, 0x45), E::UnsupportedIpVersion),
        (patched(19, 200), E::InvalidIpLength),
        (huge, E::InvalidIpLength),
        (between(1, THERE), E::InvalidSource),
        (between(0, THERE), E::InvalidSource),
        (between(0xff02 << 112 | 1, THERE), E::InvalidSource),
        (between(0xffff << 32 | 0x0a00_0001, THERE), E::InvalidSource),
        (between(HERE, 0), E::InvalidDestination),
        (between(HERE, 1), E::InvalidDestination),
        (between(HERE, 0xff01 << 112 | 1), E::InvalidDestination),
        (between(HERE, 0xffff << 32 | 0x0a00_0001), E::InvalidDestination),
        (between(HERE, HERE), E::Land),
        (patched(20, 0), E::InvalidExtensionHeader),
        (ipv6(&Ip6::with(&[(43, std::vec![0; 8])]), 6, &segment), E::RoutingHeader),
        (ipv6(&first, 17, &[0; 9]), E::InvalidFragment),
        // RFC 7112: the first fragment holds all headers.
        (ipv6(&first, 6, &segment[..16]), E::InvalidTcpHeaderLength),
        (ipv6(&ip, 6, &tcp(&ip, (1, 2), 3, &[])), E::BadTcpFlags),
        (ipv6(&ip, 17, &udp(&ip, (1, 2), &[0; 4])[..11]), E::InvalidUdpLength),
        (ipv6(&ip, 17, &unsummed), E::NoUdpChecksum),
        (ipv6(&ip, 58, &[128, 0, 1, 1, 0, 0, 0, 0]), E::InvalidIcmp),
        (ipv6(&ip, 58, &icmp(&ip, 128, 0, 0, &[])[..7]), E::InvalidIcmp),
        // Quotes: cut off, of somebody else's packet, and in fragments.
        (ipv6(&ip, 58, &icmp(&ip, 1, 0, 0, &quote[..47])), E::InvalidIcmp),
        (ipv6(&ip, 58, &icmp(&ip, 1, 0, 0, &packet(&ip, 17, &[0; 8]))), E::InvalidIcmp),
        (ipv6(&first, 58, &icmp(&ip, 1, 0, 0, &quote)), E::InvalidIcmp),
    ];
    for (frame, error) in cases {
        assert_eq!(parse6(&frame), Err(error), "{:02x?}", &frame[..frame.len().min(120)]);
    }
}

#[test]
fn a_quote_gives_the_tuple_of_what_was_sent() {
    let sent = Ip6 { src: THERE, dst: HERE, hops: 3, headers: std::vec![(60, padding(1))] };
    let inner = packet(&sent, 17, &udp(&sent, (5000, 53), &[9; 400]));
    let ip = Ip6::default();
    let frame = ipv6(&ip, 58, &icmp(&ip, 2, 0, 1400, &inner[..40 + 8 + 8]));
    let parsed = parse6(&frame).unwrap();
    assert_eq!((parsed.kind, parsed.icmp_type, parsed.icmp_code), (Kind6::IcmpError, 2, 0));
    let quote = embedded6(&frame, &parsed).unwrap();
    assert_eq!(quote.tuple, Tuple6 { src: THERE, dst: HERE, sport: 5000, dport: 53, proto: 17 });
    assert_eq!((quote.l3, quote.l4, quote.hop_limit), (62, 62 + 48, 3));
    // An error about an error, or about neighbour discovery, is nobody's.
    for message_type in [1, 135] {
        let again = packet(&sent, 58, &icmp(&sent, message_type, 0, 0, &inner));
        assert_eq!(parse6(&ipv6(&ip, 58, &icmp(&ip, 3, 0, 0, &again))), Err(ParseError::InvalidIcmp));
    }
}

#[test]
fn a_ping_and_its_reply_mirror() {
    let back = Ip6 { src: THERE, dst: HERE, ..Ip6::default() };
    let asked = parse6(&ping(77, 1, &[])).unwrap();
    let answered = parse6(&ipv6(&back, 58, &icmp(&back, 129, 0, 77 << 16 | 1, &[]))).unwrap();
    assert_eq!(asked.tuple.mirror(), answered.tuple);
    assert_eq!((asked.tuple.sport, asked.icmp_type), (77, 128));
}

#[test]
fn nobody_speaks_only_of_the_link() {
    let from_nobody = |dst: u128, message_type: u8| {
        let ip = Ip6 { src: 0, dst, hops: 255, ..Ip6::default() };
        parse6(&ipv6(&ip, 58, &icmp(&ip, message_type, 0, 0, &[0; 16])))
    };
    let group = 0xff02 << 112 | 0x1_ff00_0001;
    for message_type in [131, 132, 133, 135, 143] {
        assert!(from_nobody(group, message_type).is_ok());
        assert_eq!(from_nobody(THERE, message_type), Err(ParseError::InvalidSource));
    }
    for message_type in [128, 129, 134, 136, 137] {
        assert_eq!(from_nobody(group, message_type), Err(ParseError::InvalidSource));
    }
}
