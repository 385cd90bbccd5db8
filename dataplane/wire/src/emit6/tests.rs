// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is emitted is parsed again, by the parser and by the reader of neighbour discovery.
use super::*;
use crate::testing::{OURS, THEIRS};
use crate::testing6::{HERE, Ip6, THERE, fragment, icmp, ipv6, likely_frame, padding, ping, tcp, udp};
use crate::{nd::Message, parse6::embedded6, parse6::parse6};
use proptest::collection::vec;
use proptest::prelude::*;

const US: Station6 = Station6 { mac: MacAddr(OURS), ip: THERE };
const THEM: Station6 = Station6 { mac: MacAddr(THEIRS), ip: HERE };

fn said(frame: &[u8]) -> (MacAddr, Message) {
    let parsed = parse6(frame).unwrap();
    (Ethernet::new_checked(frame).unwrap().dst(), nd::read(frame, &parsed).unwrap())
}

#[test]
fn neighbour_frames_say_what_they_should() {
    let mut out = [0xee; 90];
    assert_eq!(solicitation(&mut out, US, THEM.ip, None), Ok(86));
    let asked = Message::Solicitation { target: HERE, from: THERE, mac: Some(US.mac) };
    assert_eq!(said(&out[..86]), (MacAddr([0x33, 0x33, 0xff, 0, 0, 1]), asked));
    assert_eq!(parse6(&out).unwrap().tuple.dst, ipv6::solicited_node(HERE));
    assert_eq!(out[86..], [0xee; 4]);
    assert_eq!(solicitation(&mut out, US, THEM.ip, Some(THEM.mac)), Ok(86));
    assert_eq!(said(&out[..86]), (THEM.mac, asked));
    assert_eq!(parse6(&out).unwrap().tuple.dst, HERE);

    let flags = nd::flag::ROUTER | nd::flag::OVERRIDE;
    assert_eq!(advertisement(&mut out, US, THEM), Ok(86));
    let told = |flags| Message::Advertisement { target: THERE, mac: Some(US.mac), flags };
    assert_eq!(said(&out[..86]), (THEM.mac, told(flags | nd::flag::SOLICITED)));
    // Duplicate address detection is answered to all (RFC 4861 7.2.4).
    assert_eq!(advertisement(&mut out, US, Station6 { ip: 0, ..THEM }), Ok(86));
    assert_eq!(said(&out[..86]), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), told(flags)));
    assert_eq!(announcement(&mut out, US), Ok(86));
    assert_eq!(said(&out[..86]), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), told(flags)));
    assert_eq!(announcement(&mut out[..85], US), Err(EmitError::NoRoom));
}

#[test]
fn an_error_quotes_the_start_of_what_it_is_about() {
    let ip = Ip6 { headers: std::vec![(60, padding(1))], ..Ip6::default() };
    let frame = ipv6(&ip, 17, &udp(&ip, (5, 6), &[7; 1400]));
    let parsed = parse6(&frame).unwrap();
    let mut out = [0; MAX_ERROR_FRAME_LEN];
    let error = icmp6::Error::PacketTooBig { mtu: 1300 };
    assert_eq!(icmp_error(&mut out, error, US, THEM.mac, &frame, &parsed), Ok(14 + 1280));
    let sent = parse6(&out).unwrap();
    assert_eq!((sent.kind, sent.icmp_type, sent.icmp_code), (Kind6::IcmpError, 2, 0));
    assert_eq!((sent.tuple.src, sent.tuple.dst), (US.ip, HERE));
    assert_eq!(out[58..62], 1300u32.to_be_bytes());
    assert_eq!(out[62..], frame[14..14 + 1232]);
    assert_eq!(embedded6(&out, &sent).unwrap().tuple, parsed.tuple);
    assert_eq!(icmp_error(&mut out[..1293], error, US, THEM.mac, &frame, &parsed), Err(EmitError::NoRoom));
}

#[test]
fn no_error_where_rfc_4443_forbids_one() {
    use icmp6::Error::{HopLimitExceeded, PacketTooBig};
    let may = |error, frame: &[u8]| may_answer_with_error(error, &parse6(frame).unwrap(), frame);
    let ip = Ip6::default();
    let whole = ipv6(&ip, 17, &udp(&ip, (1, 2), b"x"));
    assert!(may(HopLimitExceeded, &whole) && may(HopLimitExceeded, &ping(1, 1, b"")));
    let mut group = ping(1, 1, b"");
    group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    assert!(!may(HopLimitExceeded, &group) && may(PacketTooBig { mtu: 1280 }, &group));
    let later = Ip6::with(&[(44, fragment(64, false, 1))]);
    assert!(!may(HopLimitExceeded, &ipv6(&later, 17, &[0; 8])));
    let to_many = Ip6 { dst: 0xff0e << 112 | 5, ..Ip6::default() };
    let to_many = ipv6(&to_many, 17, &udp(&to_many, (1, 2), b"x"));
    assert!(!may(HopLimitExceeded, &to_many) && may(PacketTooBig { mtu: 1280 }, &to_many));
    let about = crate::testing6::packet(&Ip6 { src: THERE, dst: HERE, ..Ip6::default() }, 17, &[0; 8]);
    assert!(!may(PacketTooBig { mtu: 1280 }, &ipv6(&ip, 58, &icmp(&ip, 1, 0, 0, &about))));
    for message_type in [100, 127, 137, 200] {
        assert!(!may(PacketTooBig { mtu: 1280 }, &ipv6(&ip, 58, &icmp(&ip, message_type, 0, 0, &[0; 40]))));
    }
    let mut from_group = whole.clone();
    from_group[6] |= 1;
    assert!(!may(HopLimitExceeded, &from_group));
}

#[test]
fn only_a_plain_echo_request_is_answered() {
    let ip = Ip6::default();
    let optioned = Ip6::with(&[(60, padding(1))]);
    let cases = [
        ipv6(&ip, 58, &icmp(&ip, 129, 0, 7 << 16, b"abc")),
        ipv6(&ip, 6, &tcp(&ip, (1, 2), 2, b"")),
        ipv6(&optioned, 58, &icmp(&optioned, 128, 0, 7 << 16, b"abc")),
    ];
    for mut frame in cases {
        let before = frame.clone();
        let parsed = parse6(&frame).unwrap();
        assert_eq!(echo_reply(&mut frame, &parsed), Err(EmitError::NotAnswerable));
        assert_eq!(frame, before);
    }
}

proptest! {
    #[test]
    fn a_ping_comes_back(ident in any::<u16>(), seq in any::<u16>(), data in vec(any::<u8>(), 0..100), padding in 0usize..8) {
        let mut frame = ping(ident, seq, &data);
        let end = frame.len();
        frame.resize(end + padding, 0xee);
        let asked = parse6(&frame).unwrap();
        let len = echo_reply(&mut frame, &asked).unwrap();
        prop_assert!(len >= end && len <= end + padding);
        prop_assert!(frame[end..len].iter().all(|byte| *byte == 0));
        let answer = parse6(&frame[..len]).unwrap();
        prop_assert_eq!((answer.icmp_type, answer.hop_limit), (129, 64));
        prop_assert_eq!(answer.tuple, asked.tuple.mirror());
        prop_assert_eq!(&frame[62..end], &data[..]);
        let head = Ethernet::new_checked(&frame[..]).unwrap();
        prop_assert_eq!((head.dst(), head.src()), (MacAddr(THEIRS), MacAddr(OURS)));
    }

    /// Whatever parses: no panic, and an error that is made parses and belongs to what it is about.
    #[test]
    fn errors_about_anything(frame in likely_frame(), kind in 0usize..3) {
        let error = [icmp6::Error::NoRoute, icmp6::Error::HopLimitExceeded, icmp6::Error::PacketTooBig { mtu: 1280 }][kind];
        let Ok(parsed) = parse6(&frame) else { return Ok(()) };
        let mut out = [0; MAX_ERROR_FRAME_LEN];
        let made = icmp_error(&mut out, error, Station6 { mac: US.mac, ip: HERE ^ 1 << 80 }, THEM.mac, &frame, &parsed);
        prop_assert_eq!(made.is_ok(), may_answer_with_error(error, &parsed, &frame));
        let Ok(len) = made else { return Ok(()) };
        prop_assert!(len <= MAX_ERROR_FRAME_LEN);
        // A quote needs 8 bytes of its upper layer to be told from any other.
        if usize::from(parsed.ip_len) >= usize::from(parsed.l4 - parsed.l3) + 8 {
            let sent = parse6(&out[..len]).unwrap();
            prop_assert_eq!(embedded6(&out[..len], &sent).unwrap().tuple, parsed.tuple);
        }
        let mut again = frame.clone();
        let _ = echo_reply(&mut again, &parsed);
    }
}
