// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way against the long one: they agree on every frame that both accept, and the short one accepts no other.

use super::*;
use crate::testing::{OURS, good_frame};
use crate::{Fragment, Kind, ParseError, parse};
use proptest::prelude::*;

/// What [`read`] should say, by way of [`parse`].
fn slowly(frame: &[u8]) -> Option<Plain> {
    if frame[..6] != OURS {
        return None;
    }
    let parsed = parse(frame).ok()?;
    let common = parsed.kind == Kind::Ipv4
        && parsed.frag == Fragment::No
        && !parsed.has_options
        && (frame.len() <= PADDED || frame.len() == 14 + usize::from(parsed.ip_len))
        && matches!(parsed.tuple.proto, proto::TCP | proto::UDP);
    common.then(|| Plain { key: parsed.tuple.pack(), ip_len: parsed.ip_len })
}

fn agree(frame: &[u8]) -> Result<(), TestCaseError> {
    let short = read(frame, Ours::new(MacAddr(OURS)));
    if let Some(plain) = short {
        prop_assert_eq!(parsed(frame, &plain), parse(frame).ok());
    }
    match slowly(frame) {
        Some(plain) => prop_assert_eq!(short, Some(plain)),
        // What the short way leaves to the connection table.
        None if short.is_some() => prop_assert!(matches!(
            parse(frame),
            Err(ParseError::InvalidSource
                | ParseError::InvalidDestination
                | ParseError::Land
                | ParseError::BadTcpFlags)
        )),
        None => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn good_frames(frame in good_frame()) {
        agree(&frame)?;
    }

    /// Bytes changed, with the checksum mended where that decides, and cut short or padded.
    #[test]
    fn bent_frames(mut frame in good_frame(), bends in prop::collection::vec((0usize..60, any::<u8>()), 1..4), mend: bool, len in 0usize..80) {
        for (at, to) in bends {
            if let Some(byte) = frame.get_mut(at) { *byte = to; }
        }
        if mend && frame.len() >= 34 {
            frame[24..26].fill(0);
            let sum = crate::checksum::of(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        agree(&frame)?;
        frame.resize(len.max(6), 0);
        agree(&frame)?;
    }

    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 6..100)) {
        agree(&frame)?;
    }

    #[test]
    fn packing_is_lossless_and_mirrors(src: u32, dst: u32, sport: u16, dport: u16, proto: u8) {
        let tuple = Tuple { src, dst, sport, dport, proto };
        prop_assert_eq!(tuple.pack().unpack(), tuple);
        prop_assert_eq!(tuple.pack().mirror(), tuple.mirror().pack());
    }
}
