// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way against the long one: they agree on every frame that both accept, and the short one accepts no other.

use super::*;
use crate::testing::OURS;
use crate::testing6::likely_frame;
use crate::{Fragment, Kind6, MacAddr, ParseError, parse6};
use proptest::prelude::*;

/// What [`read`] should say, by way of [`parse6()`].
fn slowly(frame: &[u8]) -> Option<Plain6> {
    if frame.get(..6)? != OURS {
        return None;
    }
    let parsed = parse6(frame).ok()?;
    let common = parsed.kind == Kind6::Packet
        && parsed.frag == Fragment::No
        && usize::from(parsed.l4) == L4
        && (frame.len() <= PADDED || frame.len() == L3 + usize::from(parsed.ip_len))
        && matches!(parsed.tuple.proto, proto::TCP | proto::UDP);
    common.then_some(Plain6 { key: parsed.tuple, ip_len: parsed.ip_len })
}

fn agree(frame: &[u8]) -> Result<bool, TestCaseError> {
    let short = read(frame, Ours::new(MacAddr(OURS)));
    match slowly(frame) {
        Some(plain) => prop_assert_eq!(short, Some(plain)),
        // What the short way leaves to the connection table.
        None if short.is_some() => prop_assert!(matches!(
            parse6(frame),
            Err(ParseError::InvalidSource
                | ParseError::InvalidDestination
                | ParseError::Land
                | ParseError::BadTcpFlags)
        )),
        None => {}
    }
    Ok(short.is_some())
}

proptest! {
    #[test]
    fn likely_frames(frame in likely_frame()) {
        agree(&frame)?;
    }

    #[test]
    fn bent_frames(mut frame in likely_frame(), bends in prop::collection::vec((0usize..80, any::<u8>()), 1..4), len in 0usize..100) {
        for (at, to) in bends {
            if let Some(byte) = frame.get_mut(at) { *byte = to; }
        }
        agree(&frame)?;
        frame.resize(len.max(6), 0);
        agree(&frame)?;
    }

    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 6..140)) {
        agree(&frame)?;
    }
}

#[test]
fn common_frames_are_read_and_sent_on() {
    use crate::testing6::{Ip6, ipv6, tcp, udp};
    let ip = Ip6::default();
    for (proto, l4) in
        [(proto::UDP, udp(&ip, (5, 6), b"data")), (proto::TCP, tcp(&ip, (5, 6), 0x10, b"data"))]
    {
        let mut frame = ipv6(&ip, proto, &l4);
        assert!(agree(&frame).unwrap());
        let before = frame.clone();
        hop(&mut frame, &[7; 12]);
        assert_eq!((&frame[..12], frame[HOP_LIMIT]), (&[7; 12][..], before[HOP_LIMIT] - 1));
        assert_eq!(frame[HOP_LIMIT + 1..], before[HOP_LIMIT + 1..]);
    }
}
