// SPDX-License-Identifier: MIT OR Apache-2.0
//! `rtp-conformance`: whether a datagram through a media pinhole is RTP or RTCP at all, and goes on where the last one ended.
//!
//! RFC 3550 section 5.1 and 6.1 for the headers; appendix A.1 for sequence numbers: a step forward of less than [`DROPOUT`] and a
//! packet late by less than [`MISORDER`] are of the stream; after any other jump, and so for another SSRC, two packets in a row begin
//! anew, and the first is lost. SRTP's headers are in the clear and follow the same rules; STUN and DTLS on a media port do not, and
//! are dropped as they are on the ASA. Pure; 16 octets a direction; worker cores, for each packet of a checked pinhole.

use fedgate_tables::drops::DropReason;

/// A step forward that is no restart.
const DROPOUT: u16 = 3000;
/// How late a packet may be.
const MISORDER: u16 = 100;
/// How far ahead is neither.
const JUMP: std::ops::RangeInclusive<u16> = DROPOUT..=u16::MAX - MISORDER;
/// Payload types that are RTCP's second octet without the marker bit (RFC 5761 section 4).
const RTCP_LIKE: std::ops::RangeInclusive<u8> = 72..=76;
/// Packet types of RTCP: from SR to XR (RFC 3550, RFC 4585, RFC 3611).
const RTCP: std::ops::RangeInclusive<u8> = 200..=207;

/// What was last seen of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    ssrc: u32,
    /// SSRC and sequence number with which a new beginning would go on.
    next: Option<(u32, u16)>,
    newest: u16,
    begun: bool,
}

impl Track {
    /// A datagram that must be RTP, with a payload type of `payloads`; or RTCP where `mux`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn rtp(&mut self, datagram: &[u8], payloads: u128, mux: bool) -> Result<(), DropReason> {
        let Some(header) = datagram.first_chunk::<12>() else { return Err(DropReason::RtpInvalidLength) };
        let [first, second, s0, s1, _, _, _, _, ssrc @ ..] = *header;
        if first >> 6 != 2 {
            return Err(DropReason::RtpInvalidVersion);
        }
        if mux && RTCP.contains(&second) {
            return rtcp(datagram);
        }
        let payload = second & 0x7f;
        if RTCP_LIKE.contains(&payload) || payloads >> payload & 1 == 0 {
            return Err(DropReason::RtpInvalidPayloadType);
        }
        if !is_whole(datagram, first) {
            return Err(DropReason::RtpInvalidLength);
        }
        self.follow(u32::from_be_bytes(ssrc), u16::from_be_bytes([s0, s1]))
    }

    fn follow(&mut self, ssrc: u32, number: u16) -> Result<(), DropReason> {
        let ahead = number.wrapping_sub(self.newest);
        let of_stream = self.begun && ssrc == self.ssrc;
        if of_stream && !JUMP.contains(&ahead) {
            if ahead < DROPOUT {
                self.newest = number;
            }
            self.next = None;
            return Ok(());
        }
        if !self.begun || self.next == Some((ssrc, number)) {
            *self = Self { ssrc, next: None, newest: number, begun: true };
            return Ok(());
        }
        self.next = Some((ssrc, number.wrapping_add(1)));
        Err(if of_stream { DropReason::RtpSequence } else { DropReason::RtpSsrcMismatch })
    }
}

/// A datagram that must be RTCP: its first packet's header, for of SRTCP the rest cannot be read.
///
/// # Errors
/// What is wrong with it.
pub fn rtcp(datagram: &[u8]) -> Result<(), DropReason> {
    let Some([first, kind, _, _]) = datagram.first_chunk::<4>().filter(|_| datagram.len() >= 8) else {
        return Err(DropReason::RtcpInvalidLength);
    };
    if first >> 6 != 2 {
        return Err(DropReason::RtcpInvalidVersion);
    }
    if RTCP.contains(kind) { Ok(()) } else { Err(DropReason::RtcpInvalidPayloadType) }
}

/// Room for the contributing sources and the extension that the header announces.
fn is_whole(datagram: &[u8], first: u8) -> bool {
    let sources = 12 + 4 * usize::from(first & 0x0f);
    let extension = match first & 0x10 {
        0 => Some(0),
        _ => datagram
            .get(sources + 2..sources + 4)
            .map(|len| 4 + 4 * usize::from(u16::from_be_bytes([len[0], len[1]]))),
    };
    extension.is_some_and(|extension| sources + extension <= datagram.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: u128 = u128::MAX;

    fn packet(ssrc: u32, number: u16, payload: u8) -> Vec<u8> {
        let mut packet = vec![0x80, payload];
        packet.extend(number.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend([7; 20]);
        packet
    }

    #[test]
    fn headers() {
        let mut track = Track::default();
        let mut one = |bytes: &[u8]| track.rtp(bytes, 1 | 1 << 8, true);
        assert_eq!(one(&packet(1, 1, 0)), Ok(()));
        assert_eq!(one(&packet(1, 2, 0x88)), Ok(()), "with a marker");
        assert_eq!(one(&packet(1, 3, 9)), Err(DropReason::RtpInvalidPayloadType));
        assert_eq!(one(&packet(1, 3, 0)[..11]), Err(DropReason::RtpInvalidLength));
        let with = |first| [&[first][..], &packet(1, 3, 0)[1..]].concat();
        assert_eq!(one(&with(0x40)), Err(DropReason::RtpInvalidVersion));
        assert_eq!(one(&with(0x86)), Err(DropReason::RtpInvalidLength), "six sources in 20 octets");
        assert_eq!(one(&with(0x85)), Ok(()));
        assert_eq!(one(&with(0x90)), Err(DropReason::RtpInvalidLength), "an extension of 7 * 257 words");
        assert_eq!(one(&packet(0, 0, 200)), Ok(()), "a sender report");
        assert_eq!(
            Track::default().rtp(&packet(0, 0, 200), ANY, false),
            Err(DropReason::RtpInvalidPayloadType)
        );
        assert_eq!(rtcp(&packet(0, 0, 201)), Ok(()));
        assert_eq!(rtcp(&packet(0, 0, 0)), Err(DropReason::RtcpInvalidPayloadType));
        assert_eq!(rtcp(&[0x80, 201, 0, 0]), Err(DropReason::RtcpInvalidLength));
        assert_eq!(rtcp(&with(0)), Err(DropReason::RtcpInvalidVersion));
    }

    #[test]
    fn a_stream_goes_on_and_another_needs_two() {
        let mut track = Track::default();
        let mut one = |ssrc, number| track.rtp(&packet(ssrc, number, 0), ANY, false);
        assert_eq!(one(5, 65_000), Ok(()));
        assert_eq!((one(5, 1_000), one(5, 950), one(5, 950)), (Ok(()), Ok(()), Ok(())), "round, late, again");
        assert_eq!(one(5, 800), Err(DropReason::RtpSequence));
        assert_eq!(one(5, 1_001), Ok(()));
        assert_eq!(one(5, 801), Err(DropReason::RtpSequence), "what came between has ended it");
        assert_eq!(one(5, 802), Ok(()), "a new beginning");
        assert_eq!(one(9, 1), Err(DropReason::RtpSsrcMismatch));
        assert_eq!(one(8, 2), Err(DropReason::RtpSsrcMismatch));
        assert_eq!((one(8, 3), one(8, 4)), (Ok(()), Ok(())));
        assert_eq!(one(5, 803), Err(DropReason::RtpSsrcMismatch));
    }

    proptest! {
        /// Whatever comes, nothing panics, and of a stream in order nothing is dropped, wherever it begins.
        #[test]
        fn in_order_passes(noise in prop::collection::vec(any::<u8>(), 0..64), ssrc: u32, first: u16) {
            let mut track = Track::default();
            let _ = track.rtp(&noise, ANY, true);
            let _ = rtcp(&noise);
            let mut track = Track::default();
            for n in 0..200 {
                prop_assert_eq!(track.rtp(&packet(ssrc, first.wrapping_add(n), 96), 1 << 96, false), Ok(()));
            }
        }
    }
}
