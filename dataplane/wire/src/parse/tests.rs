// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parser against a second one, written without an eye on speed, on good, mutated and random frames; and by
//! hand for each error and each kind.
use super::*;
use crate::testing::{self, Ip, datagram, ethernet, good_frame, icmp, ipv4, ping, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

/// What the slow parser finds: the public fields that it works out for itself.
#[derive(Debug, PartialEq)]
struct Found {
    kind: Kind,
    tuple: Tuple,
    l4: usize,
    ip_len: usize,
    frag: Fragment,
    ttl: u8,
    dont_fragment: bool,
    has_options: bool,
    tcp_flags: u8,
    icmp: (u8, u8),
    embedded: Option<(usize, usize, Tuple)>,
}

/// Reads big-endian numbers one byte at a time, or says that there are none.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    let mut value = 0;
    for i in 0..len {
        value = value << 8 | u32::from(*bytes.get(at + i)?);
    }
    Some(value)
}

fn word_sum(bytes: &[u8]) -> u32 {
    let mut sum = 0u32;
    for i in (0..bytes.len()).step_by(2) {
        sum += u32::from(bytes[i]) * 256 + bytes.get(i + 1).map_or(0, |b| u32::from(*b));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn query_ports(icmp: &[u8]) -> (u16, u16) {
    let ident = number(icmp, 4, 2).unwrap() as u16;
    match icmp[0] {
        8 => (ident, 0),
        0 => (0, ident),
        t @ (13 | 15 | 17) => (ident, u16::from(t)),
        t @ (14 | 16 | 18) => (u16::from(t - 1), ident),
        _ => (0, 0),
    }
}

fn slow_quote(l3: usize, quote: &[u8]) -> Option<(usize, usize, Tuple)> {
    let first = number(quote, 0, 1)?;
    let header_len = (first % 16) as usize * 4;
    if first / 16 != 4
        || header_len < 20
        || quote.len() < header_len
        || word_sum(&quote[..header_len]) != 0xffff
    {
        return None;
    }
    if number(quote, 6, 2)? % 8192 != 0 {
        return None;
    }
    let end = quote.len().min(number(quote, 2, 2)? as usize);
    if end < header_len + 8 {
        return None;
    }
    let payload = &quote[header_len..end];
    let proto = quote[9];
    let (sport, dport) = match proto {
        6 | 17 => (number(payload, 0, 2)? as u16, number(payload, 2, 2)? as u16),
        1 if [0, 8, 13, 14, 15, 16, 17, 18].contains(&payload[0]) => query_ports(payload),
        1 => return None,
        _ => (0, 0),
    };
    let tuple = Tuple { src: number(quote, 12, 4)?, dst: number(quote, 16, 4)?, sport, dport, proto };
    Some((l3 + header_len, l3 + end, tuple))
}

fn slow_parse(frame: &[u8]) -> Result<Found, ParseError> {
    use ParseError as E;
    let ethertype = number(frame, 12, 2).ok_or(E::FrameTooShort)?;
    let mut found = Found {
        kind: Kind::Arp,
        tuple: Tuple::default(),
        l4: 0,
        ip_len: 0,
        frag: Fragment::No,
        ttl: 0,
        dont_fragment: false,
        has_options: false,
        tcp_flags: 0,
        icmp: (0, 0),
        embedded: None,
    };
    match ethertype {
        0x0806 => {
            let head = frame.get(14..20).ok_or(E::InvalidArp)?;
            let operation = number(frame, 20, 2).ok_or(E::InvalidArp)?;
            let sender = frame.get(22..28).ok_or(E::InvalidArp)?;
            let fits = frame.len() >= 42 && head == [0, 1, 8, 0, 6, 4] && (operation == 1 || operation == 2);
            let station = sender[0] % 2 == 0 && sender != [0; 6];
            return if fits && station { Ok(found) } else { Err(E::InvalidArp) };
        }
        0x86dd => return Ok(Found { kind: Kind::Ipv6, ..found }),
        0x0800 => {}
        _ => return Err(E::UnsupportedEthertype),
    }
    let ip = &frame[14..];
    if ip.len() < 20 {
        return Err(E::FrameTooShort);
    }
    if ip[0] / 16 != 4 {
        return Err(E::UnsupportedIpVersion);
    }
    let header_len = usize::from(ip[0] % 16) * 4;
    if header_len < 20 || header_len > ip.len() {
        return Err(E::InvalidIpHeader);
    }
    let total = number(ip, 2, 2).unwrap() as usize;
    if total < header_len || total > ip.len() {
        return Err(E::InvalidIpLength);
    }
    if word_sum(&ip[..header_len]) != 0xffff {
        return Err(E::InvalidIpChecksum);
    }
    let mut option = 20;
    while option < header_len && ip[option] != 0 {
        option += match (ip[option], ip.get(option + 1)) {
            (1, _) => 1,
            (148, Some(4)) if option + 4 <= header_len => 4,
            _ => return Err(E::InvalidIpOption),
        };
    }
    let (src, dst) = (number(ip, 12, 4).unwrap(), number(ip, 16, 4).unwrap());
    let unusable = |a: u32| a >> 24 == 0 || a >> 24 == 127;
    if unusable(src) || src >= 0xe000_0000 {
        return Err(E::InvalidSource);
    }
    if unusable(dst) || (dst >= 0xf000_0000 && dst != 0xffff_ffff) {
        return Err(E::InvalidDestination);
    }
    if src == dst {
        return Err(E::Land);
    }
    let word = number(ip, 6, 2).unwrap();
    let (offset, more) = ((word % 8192) as usize * 8, word & 0x2000 != 0);
    let payload = &ip[header_len..total];
    let proto = ip[9];
    if offset > 0 || more {
        let end = header_len + offset + payload.len();
        let ragged = more && !payload.len().is_multiple_of(8);
        let header = match proto {
            1 | 17 => 8,
            6 => 20.max(payload.get(12).map_or(0, |b| usize::from(b / 16) * 4)),
            _ => 0,
        };
        let tiny = offset == 0 && payload.len() < header;
        if payload.is_empty() || tiny || ragged || end > 65_535 || (proto == 6 && offset == 8) {
            return Err(E::InvalidFragment);
        }
        found.frag = if offset > 0 { Fragment::Later } else { Fragment::First };
    }
    found.kind = Kind::Ipv4;
    found.tuple = Tuple { src, dst, sport: 0, dport: 0, proto };
    found.l4 = 14 + header_len;
    found.ip_len = total;
    found.ttl = ip[8];
    found.dont_fragment = word & 0x4000 != 0;
    found.has_options = header_len > 20;
    if found.frag == Fragment::Later {
        return Ok(found);
    }
    match proto {
        6 => {
            let offset = number(payload, 12, 1).ok_or(E::InvalidTcpHeaderLength)? as usize / 16 * 4;
            if payload.len() < 20 || offset < 20 || offset > payload.len() {
                return Err(E::InvalidTcpHeaderLength);
            }
            let flags = payload[13];
            let (fin, syn, rst, ack) = (flags & 1, flags >> 1 & 1, flags >> 2 & 1, flags >> 4 & 1);
            if fin + syn + rst > 1 || (ack == 0 && syn == 0 && rst == 0) {
                return Err(E::BadTcpFlags);
            }
            found.tcp_flags = flags;
            found.tuple.sport = number(payload, 0, 2).unwrap() as u16;
            found.tuple.dport = number(payload, 2, 2).unwrap() as u16;
        }
        17 => {
            let len = number(payload, 4, 2).ok_or(E::InvalidUdpLength)? as usize;
            let cut = found.frag == Fragment::First;
            if payload.len() < 8 || len < 8 || (!cut && len > payload.len()) {
                return Err(E::InvalidUdpLength);
            }
            found.tuple.sport = number(payload, 0, 2).unwrap() as u16;
            found.tuple.dport = number(payload, 2, 2).unwrap() as u16;
        }
        1 => {
            let whole = found.frag == Fragment::No;
            if payload.len() < 8 || (whole && word_sum(payload) != 0xffff) {
                return Err(E::InvalidIcmp);
            }
            found.icmp = (payload[0], payload[1]);
            (found.tuple.sport, found.tuple.dport) = query_ports(payload);
            if [3, 4, 5, 11, 12].contains(&payload[0]) {
                let at = found.l4 + 8;
                let quote = if whole { slow_quote(at, &payload[8..]) } else { None };
                found.embedded = Some(quote.ok_or(E::InvalidIcmp)?);
                found.kind = Kind::IcmpError;
            }
        }
        _ => {}
    }
    Ok(found)
}

fn as_found(frame: &[u8], parsed: &Parsed) -> Found {
    if parsed.kind == Kind::IcmpError {
        assert_eq!(parsed.embedded, parsed.l4 + 8);
    } else {
        assert_eq!(parsed.embedded, 0);
    }
    assert_eq!(parsed.l3, 14);
    Found {
        kind: parsed.kind,
        tuple: parsed.tuple,
        l4: usize::from(parsed.l4),
        ip_len: usize::from(parsed.ip_len),
        frag: parsed.frag,
        ttl: parsed.ttl,
        dont_fragment: parsed.dont_fragment,
        has_options: parsed.has_options,
        tcp_flags: parsed.tcp_flags.0,
        icmp: (parsed.icmp_type, parsed.icmp_code),
        embedded: embedded(frame, parsed).ok().map(|e| (usize::from(e.l4), usize::from(e.end), e.tuple)),
    }
}

fn agree(frame: &[u8]) {
    assert_eq!(parse(frame).map(|parsed| as_found(frame, &parsed)), slow_parse(frame));
}

/// Sets the header checksum right, so that a mutation reaches the tests behind it.
fn mend_header(frame: &mut [u8]) {
    let header_len = usize::from(frame.get(14).map_or(0, |b| b & 0xf)) * 4;
    let Some(header) = frame.get_mut(14..14 + header_len.max(20)) else { return };
    header[10..12].fill(0);
    let sum = !word_sum(header) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn good_frames(frame in good_frame()) {
        agree(&frame);
    }

    #[test]
    fn mutated_frames(
        frame in good_frame(),
        changes in vec((0usize..120, any::<u8>()), 0..4),
        cut in prop_oneof![3 => Just(0usize), 1 => 0usize..60],
        mend in any::<bool>(),
    ) {
        let mut frame = frame;
        for (at, value) in changes {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(frame.len().saturating_sub(cut));
        if mend {
            mend_header(&mut frame);
        }
        agree(&frame);
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..120), ethertype in prop_oneof![Just(0x0800u16), Just(0x0806), Just(0x86dd)]) {
        agree(&bytes);
        let mut frame = ethernet(ethertype, &bytes);
        agree(&frame);
        if let Some(first) = frame.get_mut(14) {
            *first = 0x45 + (*first & 3);
        }
        mend_header(&mut frame);
        agree(&frame);
    }

    /// What was parsed of one frame and asked of another: an answer, never a panic.
    #[test]
    fn questions_about_another_frame(frame in good_frame(), other in vec(any::<u8>(), 0..100)) {
        if let Ok(parsed) = parse(&frame) {
            verify_l4(&other, &parsed);
            let _ = embedded(&other, &parsed);
        }
    }

    #[test]
    fn whole_segments_verify_and_changed_ones_do_not(
        src in 0x0100_0000u32..0x7e00_0000, ports in any::<(u16, u16)>(), data in vec(any::<u8>(), 1..60),
        at in any::<usize>(), bit in 0u8..8, padding in 0usize..8,
    ) {
        let ip = Ip { src, ..Ip::default() };
        for (proto, mut segment) in [(6, tcp(&ip, ports, 0x10, &[], &data)), (17, udp(&ip, ports, &data))] {
            let end = segment.len();
            let mut frame = ipv4(&ip, proto, &segment);
            frame.resize(frame.len() + padding, 0xee);
            prop_assert!(verify_l4(&frame, &parse(&frame).unwrap()));
            segment[end - 1 - at % data.len()] ^= 1 << bit;
            let frame = ipv4(&ip, proto, &segment);
            prop_assert!(!verify_l4(&frame, &parse(&frame).unwrap()));
        }
    }

    #[test]
    fn a_query_and_its_reply_mirror(ident in any::<u16>(), kind in 0usize..4) {
        let (request, reply) = [(8, 0), (13, 14), (15, 16), (17, 18)][kind];
        let ip = Ip::default();
        let back = Ip { src: ip.dst, dst: ip.src, ..Ip::default() };
        let rest = u32::from(ident) << 16 | 7;
        let asked = parse(&ipv4(&ip, 1, &icmp(request, 0, rest, &[]))).unwrap();
        let answered = parse(&ipv4(&back, 1, &icmp(reply, 0, rest, &[]))).unwrap();
        prop_assert_eq!(asked.tuple.mirror(), answered.tuple);
        prop_assert_eq!(asked.tuple.sport, ident);
    }
}

#[test]
fn each_error_has_a_frame() {
    use ParseError as E;
    let ip = Ip::default();
    let segment = tcp(&ip, (1, 2), 0x10, &[], &[]);
    let with = |change: &dyn Fn(&mut Ip)| {
        let mut ip = Ip::default();
        change(&mut ip);
        ipv4(&ip, 6, &segment)
    };
    let patched = |at: usize, value: u8| {
        let mut frame = ipv4(&ip, 6, &segment);
        frame[at] = value;
        frame
    };
    let bad_quote = ipv4(&ip, 1, &icmp(3, 1, 0, &datagram(&ip, 17, &[0; 7])));
    let cases: Vec<(Vec<u8>, E)> = std::vec![
        (std::vec![0; 13], E::FrameTooShort),
        (ipv4(&ip, 6, &segment)[..33].to_vec(), E::FrameTooShort),
        (ethernet(0x8100, &[0; 46]), E::UnsupportedEthertype),
        (ethernet(0x0806, &[0; 28]), E::InvalidArp),
        (patched(14, 0x65), E::UnsupportedIpVersion),
        (patched(14, 0x44), E::InvalidIpHeader),
        (patched(14, 0x4f), E::InvalidIpHeader),
        (patched(17, 19), E::InvalidIpLength),
        (patched(17, 200), E::InvalidIpLength),
        (patched(22, 9), E::InvalidIpChecksum),
        (with(&|ip| ip.src = 0), E::InvalidSource),
        (with(&|ip| ip.src = 0x7f00_0001), E::InvalidSource),
        (with(&|ip| ip.src = 0xe000_0001), E::InvalidSource),
        (with(&|ip| ip.src = 0xffff_ffff), E::InvalidSource),
        (with(&|ip| ip.dst = 0x7f00_0001), E::InvalidDestination),
        (with(&|ip| ip.dst = 0xf000_0001), E::InvalidDestination),
        (with(&|ip| ip.dst = ip.src), E::Land),
        (ipv4(&Ip { fragment_word: 0x2000, ..ip.clone() }, 17, &[0; 9]), E::InvalidFragment),
        (ipv4(&Ip { fragment_word: 0x1fff, ..ip.clone() }, 17, &[0; 9]), E::InvalidFragment),
        (with(&|ip| ip.fragment_word = 1), E::InvalidFragment),
        (ipv4(&ip, 6, &segment[..19]), E::InvalidTcpHeaderLength),
        (patched(14 + 20 + 12, 0x60), E::InvalidTcpHeaderLength),
        (ipv4(&ip, 6, &tcp(&ip, (1, 2), 0x03, &[], &[])), E::BadTcpFlags),
        (ipv4(&ip, 6, &tcp(&ip, (1, 2), 0, &[], &[])), E::BadTcpFlags),
        (ipv4(&ip, 17, &udp(&ip, (1, 2), &[0; 4])[..11]), E::InvalidUdpLength),
        (ipv4(&ip, 17, &[0; 8]), E::InvalidUdpLength),
        (ipv4(&ip, 1, &[8, 0, 1, 1, 0, 0, 0, 0]), E::InvalidIcmp),
        (bad_quote, E::InvalidIcmp),
    ];
    for (frame, error) in cases {
        assert_eq!(parse(&frame), Err(error), "{frame:02x?}");
        agree(&frame);
    }
}

#[test]
fn a_quote_gives_the_tuple_of_what_was_sent() {
    let sent = Ip { src: 0x0a00_0102, dst: 0x0808_0808, options: std::vec![1; 8], ..Ip::default() };
    let inner = datagram(&sent, 17, &udp(&sent, (5000, 53), &[9; 40]));
    let frame = ipv4(&Ip::default(), 1, &icmp(3, 4, 1400, &inner[..36]));
    let parsed = parse(&frame).unwrap();
    assert_eq!((parsed.kind, parsed.icmp_type, parsed.icmp_code), (Kind::IcmpError, 3, 4));
    let quote = embedded(&frame, &parsed).unwrap();
    assert_eq!(quote.tuple, Tuple { src: 0x0a00_0102, dst: 0x0808_0808, sport: 5000, dport: 53, proto: 17 });
    assert_eq!((quote.l3, quote.l4, usize::from(quote.end)), (42, 70, frame.len()));
}

#[test]
fn an_error_about_an_error_is_refused() {
    let first = datagram(&Ip::default(), 17, &udp(&Ip::default(), (1, 2), &[]));
    let second = datagram(&Ip::default(), 1, &icmp(3, 1, 0, &first));
    assert_eq!(parse(&ipv4(&Ip::default(), 1, &icmp(11, 0, 0, &second))), Err(ParseError::InvalidIcmp));
    let about_ping = &ping(7, 1, &[])[14..];
    assert!(parse(&ipv4(&Ip::default(), 1, &icmp(11, 0, 0, about_ping))).is_ok());
}

#[test]
fn padding_is_not_payload() {
    let mut frame = ping(1, 1, b"abc");
    let ip_len = frame.len() - 14;
    frame.resize(60, 0xaa);
    assert_eq!(usize::from(parse(&frame).unwrap().ip_len), ip_len);
}

#[test]
fn arp_from_a_group_is_refused() {
    let mut frame = [0; 60];
    let from = crate::emit::Station { mac: crate::MacAddr(testing::THEIRS), ip: 1 };
    crate::emit::arp_request(&mut frame, from, 2, crate::MacAddr::BROADCAST).unwrap();
    assert_eq!(parse(&frame).unwrap().kind, Kind::Arp);
    frame[22] |= 1;
    assert_eq!(parse(&frame), Err(ParseError::InvalidArp));
}
