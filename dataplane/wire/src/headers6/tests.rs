// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk against a slow one that first lists the headers and then judges the list; and by hand, rule by rule.
use super::*;
use crate::testing6::{Ip6, fragment, packet, padding};
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

/// An extension header: its number and its bytes.
type Extension = (u8, Vec<u8>);

/// The headers, then what follows them and where.
type List = (Vec<(u8, usize, usize)>, u8, usize);

/// Kind, position and length of each header, until one is not an extension header or is a later fragment's.
/// None where one is cut off.
fn list(packet: &[u8]) -> Option<List> {
    let (mut kind, mut at, mut found) = (packet[6], 40, Vec::new());
    while [0, 43, 44, 60].contains(&kind) {
        if packet.len() < at + 8 {
            return None;
        }
        let len = if kind == 44 { 8 } else { 8 * (1 + packet[at + 1] as usize) };
        if packet.len() < at + len {
            return None;
        }
        found.push((kind, at, len));
        let later = kind == 44 && (packet[at + 2], packet[at + 3] & 0xf8) != (0, 0);
        (kind, at) = (packet[at], at + len);
        if later || found.len() > 100 {
            break;
        }
    }
    Some((found, kind, at))
}

fn options_fit(header: &[u8], hop_by_hop: bool) -> bool {
    let mut at = 2;
    while at < header.len() {
        let kind = header[at];
        if kind == 0 {
            at += 1;
            continue;
        }
        if kind == 0xc2 || (hop_by_hop && kind >= 0x40) || at + 1 >= header.len() {
            return false;
        }
        at += 2 + header[at + 1] as usize;
    }
    at == header.len()
}

/// Every complaint that there is about a packet; the walk gives the first it comes to.
fn complaints(packet: &[u8], quoted: bool) -> Vec<ParseError> {
    use ParseError::*;
    let Some((headers, upper, end)) = list(packet) else {
        return std::vec![InvalidExtensionHeader, RoutingHeader, InvalidFragment];
    };
    let mut found = Vec::new();
    let count = |kind: u8| headers.iter().filter(|h| h.0 == kind).count();
    let place = |kind: u8| headers.iter().position(|h| h.0 == kind);
    if count(43) > 1 || count(44) > 1 || count(60) > 2 || count(0) > 1 || place(0).is_some_and(|p| p > 0) {
        found.push(InvalidExtensionHeader);
    }
    if let (Some(fragment), Some(last_route)) = (place(44), headers.iter().rposition(|h| h.0 == 43))
        && fragment < last_route
    {
        found.push(InvalidExtensionHeader);
    }
    for &(kind, at, len) in &headers {
        let header = &packet[at..at + len];
        match kind {
            0 | 60 if !options_fit(header, kind == 0) => found.push(InvalidExtensionHeader),
            43 if header[2] < 2 || header[3] != 0 => found.push(RoutingHeader),
            44 => {
                let offset = usize::from(header[2]) * 256 + usize::from(header[3] & 0xf8);
                let more = header[3] & 1 == 1;
                let data = packet.len() - at - 8;
                let ragged = !quoted && (data == 0 || (more && !data.is_multiple_of(8)));
                let atomic = offset == 0 && !more;
                let on_header = upper == 6 && offset > 0 && offset < 20;
                if !atomic && (ragged || at - 40 + offset + data > 65_535 || on_header) {
                    found.push(InvalidFragment);
                }
            }
            _ => {}
        }
    }
    assert!(end <= packet.len());
    found
}

fn agree(packet: &[u8], quoted: bool) {
    let wrong = complaints(packet, quoted);
    match walk(packet, quoted) {
        Err(error) => assert!(wrong.contains(&error), "{error:?} but {wrong:?}: {packet:02x?}"),
        Ok(chain) => {
            assert!(wrong.is_empty(), "{wrong:?}: {packet:02x?}");
            let (headers, upper, end) = list(packet).unwrap();
            assert_eq!((chain.proto, chain.end), (upper, end));
            let at = headers.iter().find(|h| h.0 == 44).map(|h| h.1);
            assert_eq!(chain.fragment.map(|f| f.at), at);
            let part = at.map_or((0, false), |at| {
                (
                    usize::from(packet[at + 2]) * 256 + usize::from(packet[at + 3] & 0xf8),
                    packet[at + 3] & 1 == 1,
                )
            });
            let frag = match part {
                (0, false) => Fragment::No,
                (0, true) => Fragment::First,
                _ => Fragment::Later,
            };
            assert_eq!(chain.frag, frag);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn likely_chains(frame in crate::testing6::likely_frame(), cut in 0usize..90, quoted in any::<bool>()) {
        let packet = &frame[14..];
        agree(packet, quoted);
        agree(&packet[..packet.len().saturating_sub(cut).max(40)], quoted);
    }

    #[test]
    fn random_chains(kinds in vec(prop_oneof![Just(0u8), Just(43), Just(44), Just(60), any::<u8>()], 1..8), body in vec(any::<u8>(), 0..120), first in any::<u8>()) {
        let mut packet = std::vec![0u8; 40];
        packet[6] = *kinds.first().unwrap_or(&first);
        packet.extend(&body);
        // Likely kinds, and short ones, at every eighth byte.
        for (i, at) in (40..packet.len()).step_by(8).enumerate() {
            packet[at] = kinds[(i + 1) % kinds.len()];
            if let Some(len) = packet.get_mut(at + 1) {
                *len &= 1;
            }
        }
        agree(&packet, false);
        agree(&packet, true);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200), quoted in any::<bool>()) {
        let _ = walk(&bytes, quoted);
    }
}

#[test]
fn rules_one_by_one() {
    use ParseError::{InvalidExtensionHeader, InvalidFragment, RoutingHeader};
    let hop = (0u8, padding(1));
    let dest = (60u8, padding(2));
    let route = |kind, left| (43u8, std::vec![0, 0, kind, left, 0, 0, 0, 0]);
    let part = |offset, more| (44u8, fragment(offset, more, 9));
    let options = |kind, bytes: [u8; 6]| (kind, [&[0, 0], &bytes[..]].concat());
    let walked = |headers: &[Extension], proto| walk(&packet(&Ip6::with(headers), proto, &[0; 24]), false);
    let all = [hop.clone(), dest.clone(), route(3, 0), part(0, true), dest.clone()];
    let chain = walked(&all, 17).unwrap();
    assert_eq!((chain.proto, chain.end, chain.frag), (17, 40 + 8 + 16 + 8 + 8 + 16, Fragment::First));

    // RFC 6946: an atomic fragment is whole. RFC 8200 4.5: only what follows an offset of 0 can be read on.
    assert_eq!(walked(&[part(0, false)], 6).unwrap().frag, Fragment::No);
    let later = walked(&[part(64, true), dest.clone()], 17).unwrap();
    assert_eq!((later.frag, later.proto, later.end), (Fragment::Later, 60, 48));
    // AH, ESP, "no next header" and what is not known end the chain.
    for proto in [50, 51, 59, 135, 253] {
        assert_eq!(walked(&[], proto).unwrap().proto, proto);
    }

    let refused: [(&[Extension], u8, ParseError); 14] = [
        (&[dest.clone(), hop.clone()], 6, InvalidExtensionHeader),
        (&[hop.clone(), hop.clone()], 6, InvalidExtensionHeader),
        (&[dest.clone(), dest.clone(), dest.clone()], 6, InvalidExtensionHeader),
        (&[route(3, 0), route(3, 0)], 6, InvalidExtensionHeader),
        (&[part(0, false), part(0, false)], 6, InvalidExtensionHeader),
        (&[part(0, true), route(3, 0)], 6, InvalidExtensionHeader),
        (&[options(60, [1, 5, 0, 0, 0, 0])], 6, InvalidExtensionHeader),
        (&[options(0, [0xc2, 4, 0, 1, 0, 0])], 6, InvalidExtensionHeader),
        (&[options(0, [0x8a, 4, 0, 0, 0, 0])], 6, InvalidExtensionHeader),
        (&[route(0, 0)], 6, RoutingHeader),
        (&[route(1, 0)], 6, RoutingHeader),
        (&[route(4, 1)], 6, RoutingHeader),
        (&[part(8, true)], 6, InvalidFragment),
        (&[part(0xfff8, false)], 17, InvalidFragment),
    ];
    for (headers, proto, error) in refused {
        assert_eq!(walked(headers, proto), Err(error), "{headers:?}");
    }
    // Router alert (RFC 2711) passes; so does an option for the destination that it may not know.
    assert!(walked(&[options(0, [5, 2, 0, 0, 1, 0])], 6).is_ok());
    assert!(walked(&[options(60, [0xc9, 4, 0, 0, 0, 0])], 6).is_ok());
    // RFC 7112: the chain goes on in the next fragment.
    let cut = packet(&Ip6::with(&[part(0, true), (60, padding(4))]), 6, &[]);
    assert_eq!(walk(&cut[..40 + 8 + 24], false), Err(InvalidExtensionHeader));
    // A fragment with more to come ends on 8 bytes, except where a quote ends.
    let ragged = packet(&Ip6::with(&[part(64, true)]), 17, &[0; 13]);
    assert_eq!(walk(&ragged, false), Err(InvalidFragment));
    assert!(walk(&ragged, true).is_ok());
}
