// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests as the parsers and the answering side read them; answers, and what is none.
use super::*;
use crate::testing::{OURS, THEIRS};
use crate::{Ethernet, MacAddr, emit, emit6, parse, parse6};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const HERE: u32 = 0xc000_0201;
const THERE: u32 = 0xc000_0207;
const HERE6: u128 = 0x2001_0db8 << 96 | 1;
const THERE6: u128 = 0x2001_0db8 << 96 | 7;

/// A frame from us to them around a datagram.
fn framed(datagram: &[u8], ethertype: u16) -> Vec<u8> {
    let mut frame = vec![0; 14];
    emit::write_ethernet(&mut frame, MacAddr(THEIRS), MacAddr(OURS), ethertype);
    frame.extend_from_slice(datagram);
    frame
}

proptest! {
    #[test]
    fn what_is_asked_is_answered(len in LEAST..1500, ident: u16, seq: u16, broken in proptest::option::of(0..1000usize)) {
        let echo = Echo { ident, seq };
        let mut datagram = vec![0xee; len.into()];
        prop_assert_eq!(request(&mut datagram, HERE, THERE, echo), Ok(()));
        let mut frame = framed(&datagram, crate::ethernet::TYPE_IPV4);
        let parsed = parse(&frame).unwrap();
        prop_assert!(emit::is_echo_request(&parsed) && checksum::is_valid(&datagram[20..]));
        prop_assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.ip_len, parsed.dont_fragment), (HERE, THERE, len, true));
        prop_assert!(answered(&frame, &parsed).is_none(), "a question is no answer");
        let sent = emit::echo_reply(&mut frame, &parsed).unwrap();
        frame.truncate(sent);
        let parsed = parse(&frame).unwrap();
        prop_assert_eq!((parsed.tuple.src, Ethernet::new_checked(&frame[..]).unwrap().dst().0), (THERE, OURS));
        prop_assert_eq!(answered(&frame, &parsed), Some(echo));
        if let Some(at) = broken.map(|at| 34 + at % (usize::from(len) - 20)) {
            frame[at] ^= 0x10;
            prop_assert!(parse(&frame).is_err() || answered(&frame, &parse(&frame).unwrap()).is_none());
        }
    }

    #[test]
    fn what_is_asked_is_answered_in_ipv6(len in LEAST6..1500, ident: u16, seq: u16, broken in proptest::option::of(0..1000usize)) {
        let echo = Echo { ident, seq };
        let mut packet = vec![0xee; len.into()];
        prop_assert_eq!(request6(&mut packet, HERE6, THERE6, echo), Ok(()));
        let mut frame = framed(&packet, crate::ethernet::TYPE_IPV6);
        let parsed = parse6(&frame).unwrap();
        prop_assert!(emit6::is_echo_request(&parsed));
        prop_assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.ip_len), (HERE6, THERE6, len));
        prop_assert!(checksum::is_valid_segment_v6(HERE6, THERE6, proto::ICMPV6, &packet[40..]));
        let sent = emit6::echo_reply(&mut frame, &parsed).unwrap();
        frame.truncate(sent);
        let parsed = parse6(&frame).unwrap();
        prop_assert_eq!(answered6(&frame, &parsed), Some(echo));
        if let Some(at) = broken.map(|at| 54 + at % (usize::from(len) - 40)) {
            frame[at] ^= 0x10;
            prop_assert!(parse6(&frame).is_err() || answered6(&frame, &parse6(&frame).unwrap()).is_none());
        }
    }
}

#[test]
fn what_has_no_room_is_not_written() {
    let echo = Echo { ident: 0, seq: 1 };
    for len in 0..usize::from(LEAST) {
        assert_eq!(request(&mut vec![0; len], HERE, THERE, echo), Err(EmitError::NoRoom));
    }
    for len in 0..usize::from(LEAST6) {
        assert_eq!(request6(&mut vec![0; len], HERE6, THERE6, echo), Err(EmitError::NoRoom));
    }
    assert_eq!(request(&mut vec![0; 65_536], HERE, THERE, echo), Err(EmitError::NoRoom));
    assert_eq!(request6(&mut vec![0; 65_576], HERE6, THERE6, echo), Err(EmitError::NoRoom));
}
