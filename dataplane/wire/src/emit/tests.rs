// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is emitted is parsed again, by the views and by the parser.
use super::*;
use crate::testing::{Ip, OURS, THEIRS, good_frame, icmp, ipv4, ping, tcp, udp};
use crate::{Arp, Udp, parse};
use proptest::collection::vec;
use proptest::prelude::*;

const US: Station = Station { mac: MacAddr(OURS), ip: 0xc000_0201 };
const THEM: Station = Station { mac: MacAddr(THEIRS), ip: 0xc000_0207 };

#[test]
fn arp_frames_say_what_they_should() {
    let mut out = [0xee; 64];
    assert_eq!(arp_request(&mut out, US, THEM.ip, MacAddr::BROADCAST), Ok(60));
    let head = Ethernet::new_checked(&out[..]).unwrap();
    assert_eq!((head.dst(), head.src()), (MacAddr::BROADCAST, US.mac));
    let message = Arp::new_checked(&out[14..60]).unwrap();
    assert_eq!(message.operation(), Operation::Request);
    assert_eq!((message.sender_mac(), message.sender_ip()), (US.mac, US.ip));
    assert_eq!((message.target_mac(), message.target_ip()), (MacAddr::ZERO, THEM.ip));
    assert_eq!(out[42..60], [0; 18], "padding leaks nothing");
    assert_eq!(out[60..], [0xee; 4]);

    assert_eq!(arp_reply(&mut out, US, THEM), Ok(60));
    assert_eq!(Ethernet::new_checked(&out[..]).unwrap().dst(), THEM.mac);
    let message = Arp::new_checked(&out[14..60]).unwrap();
    assert_eq!(message.operation(), Operation::Reply);
    assert_eq!((message.target_mac(), message.target_ip()), (THEM.mac, THEM.ip));

    assert_eq!(arp_gratuitous(&mut out, US), Ok(60));
    let message = Arp::new_checked(&out[14..60]).unwrap();
    assert_eq!((message.sender_ip(), message.target_ip()), (US.ip, US.ip));
    assert_eq!(arp_gratuitous(&mut out[..59], US), Err(EmitError::NoRoom));
}

#[test]
fn an_error_quotes_the_start_of_what_it_is_about() {
    let ip = Ip { tos: 0xb9, options: std::vec![1; 4], ..Ip::default() };
    let frame = ipv4(&ip, 17, &udp(&ip, (5, 6), &[7; 1200]));
    let parsed = parse(&frame).unwrap();
    let mut out = [0; MAX_ERROR_FRAME_LEN];
    let error = icmp4::Error::FragmentationNeeded { mtu: 1000 };
    assert_eq!(icmp_error(&mut out, error, US, MacAddr(THEIRS), &frame, &parsed), Ok(14 + 576));
    let sent = parse(&out).unwrap();
    assert_eq!((sent.kind, sent.icmp_type, sent.icmp_code), (Kind::IcmpError, 3, 4));
    assert_eq!((sent.tuple.src, sent.tuple.dst), (US.ip, ip.src));
    assert_eq!(Ipv4::new_checked(&out[14..]).unwrap().tos(), 0xd8);
    assert_eq!(crate::Icmp4::new_checked(&out[34..]).unwrap().rest(), 1000);
    assert_eq!(out[42..], frame[14..14 + 548]);
    assert_eq!(crate::parse::embedded(&out, &sent).unwrap().tuple, parsed.tuple);
    assert_eq!(Udp::new_checked(&frame[38..]).unwrap().payload().len(), 1200);

    let short = icmp_error(&mut out[..589], error, US, MacAddr(THEIRS), &frame, &parsed);
    assert_eq!(short, Err(EmitError::NoRoom));
}

#[test]
fn no_error_where_rfc_1812_forbids_one() {
    let answerable = |frame: &[u8]| may_answer_with_error(&parse(frame).unwrap(), frame);
    let ip = Ip::default();
    let datagram = udp(&ip, (1, 2), &[0; 8]);
    assert!(answerable(&ipv4(&ip, 17, &datagram)));
    assert!(answerable(&ping(1, 1, &[])));
    assert!(answerable(&ipv4(&Ip { fragment_word: 0x2000, ..ip.clone() }, 17, &datagram)));

    let quoted = ping(1, 1, &[]);
    assert!(!answerable(&ipv4(&ip, 1, &icmp(3, 1, 0, &quoted[14..]))), "about an error");
    assert!(!answerable(&ipv4(&ip, 1, &icmp(42, 0, 0, &[]))), "about what may be one");
    assert!(!answerable(&ipv4(&Ip { fragment_word: 2, ..ip.clone() }, 17, &datagram)), "later fragment");
    assert!(!answerable(&ipv4(&Ip { dst: 0xe000_0001, ..ip.clone() }, 17, &datagram)), "multicast");
    assert!(!answerable(&ipv4(&Ip { dst: u32::MAX, ..ip.clone() }, 17, &datagram)), "broadcast");
    let mut frame = ipv4(&ip, 17, &datagram);
    let parsed = parse(&frame).unwrap();
    assert!(!may_answer_with_error(&Parsed { tuple: Default::default(), ..parsed }, &frame), "zero source");
    frame[..6].fill(0xff);
    assert!(!answerable(&frame), "link broadcast");
    let mut out = [0; MAX_ERROR_FRAME_LEN];
    let refused = icmp_error(&mut out, icmp4::Error::TtlExceeded, US, MacAddr(THEIRS), &frame, &parsed);
    assert_eq!(refused, Err(EmitError::NotAnswerable));
}

#[test]
fn no_echo_reply_to_groups_options_fragments_or_other_things() {
    let request = icmp(8, 0, 1, &[0; 8]);
    let ip = Ip::default();
    let mut broadcast = ipv4(&ip, 1, &request);
    broadcast[0] = 1;
    for mut frame in [
        broadcast,
        ipv4(&Ip { dst: 0xe000_0001, ..ip.clone() }, 1, &request),
        ipv4(&Ip { options: std::vec![148, 4, 0, 0, 1, 1, 1, 0], ..ip.clone() }, 1, &request),
        ipv4(&Ip { fragment_word: 0x2000, ..ip.clone() }, 1, &request),
        ipv4(&ip, 1, &icmp(0, 0, 1, &[])),
        ipv4(&ip, 6, &tcp(&ip, (8, 8), 2, &[], &[])),
    ] {
        let (before, parsed) = (frame.clone(), parse(&frame).unwrap());
        assert_eq!(echo_reply(&mut frame, &parsed), Err(EmitError::NotAnswerable));
        assert_eq!(frame, before);
    }
}

#[test]
fn an_echo_reply_of_zeros_has_a_valid_checksum() {
    let mut frame = ping(0, 0, &[0; 56]);
    let parsed = parse(&frame).unwrap();
    let len = echo_reply(&mut frame, &parsed).unwrap();
    assert_eq!(parse(&frame[..len]).unwrap().icmp_type, 0);
}

proptest! {
    #[test]
    fn an_echo_reply_mirrors_its_request(ident in any::<u16>(), seq in any::<u16>(), data in vec(any::<u8>(), 0..90)) {
        let mut frame = ping(ident, seq, &data);
        let length = frame.len();
        frame.resize(length.max(60), 0xaa);
        let asked = parse(&frame).unwrap();
        let len = echo_reply(&mut frame, &asked).unwrap();
        prop_assert_eq!(len, length.max(60));
        let answered = parse(&frame[..len]).unwrap();
        prop_assert_eq!(answered.tuple, asked.tuple.mirror());
        prop_assert_eq!((answered.icmp_type, answered.ttl), (0, 64));
        let head = Ethernet::new_checked(&frame[..]).unwrap();
        prop_assert_eq!((head.dst().0, head.src().0), (THEIRS, OURS));
        prop_assert_eq!(&frame[42..length], &data[..]);
        prop_assert!(frame[length..].iter().all(|b| *b == 0), "padding is not echoed");
    }

    /// Any frame that may be answered gives an error that our own parser takes and that quotes it.
    #[test]
    fn errors_are_well_formed(frame in good_frame(), kind in 0usize..4) {
        let error = [
            icmp4::Error::NetUnreachable,
            icmp4::Error::HostUnreachable,
            icmp4::Error::TtlExceeded,
            icmp4::Error::FragmentationNeeded { mtu: 576 },
        ][kind];
        let Ok(parsed) = parse(&frame) else { return Ok(()) };
        let mut out = [0xee; MAX_ERROR_FRAME_LEN];
        match icmp_error(&mut out, error, US, MacAddr(THEIRS), &frame, &parsed) {
            Ok(len) => {
                prop_assert!(may_answer_with_error(&parsed, &frame));
                // A quote under 8 bytes of payload is legal to send, and not for us to take.
                let whole = usize::from(parsed.ip_len) >= usize::from(parsed.l4 - parsed.l3) + 8;
                match parse(&out[..len]) {
                    Ok(sent) => {
                        prop_assert_eq!((sent.icmp_type, sent.icmp_code), error.type_and_code());
                        prop_assert_eq!(crate::parse::embedded(&out[..len], &sent).unwrap().tuple, parsed.tuple);
                    }
                    Err(refused) => prop_assert!(!whole, "{}", refused),
                }
            }
            Err(EmitError::NotAnswerable) => prop_assert!(!may_answer_with_error(&parsed, &frame)),
            Err(EmitError::NoRoom) => prop_assert!(false, "the buffer always suffices"),
        }
    }
}
