// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each rule of RFC 4861 7.1.1 and 7.1.2 broken once; any bytes read without a panic.
use super::*;
use crate::parse6::parse6;
use crate::testing::{OURS, THEIRS};
use crate::testing6::{HERE, Ip6, fragment, icmp, ipv6};
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

const TARGET: u128 = HERE + 0x42;
const STATION: MacAddr = MacAddr(THEIRS);

fn option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

fn message(ip: &Ip6, message_type: u8, flags: u8, target: u128, options: &[u8]) -> Vec<u8> {
    let data = [&target.to_be_bytes()[..], options].concat();
    ipv6(ip, 58, &icmp(ip, message_type, 0, u32::from(flags) << 24, &data))
}

fn heard(frame: &[u8]) -> Result<Message, ParseError> {
    read(frame, &parse6(frame).expect("a frame that parses"))
}

fn link() -> Ip6 {
    Ip6 { dst: ipv6::solicited_node(TARGET), hops: 255, ..Ip6::default() }
}

#[test]
fn solicitations() {
    let asks = heard(&message(&link(), 135, 0, TARGET, &option(1, THEIRS)));
    assert_eq!(asks, Ok(Message::Solicitation { target: TARGET, from: HERE, mac: Some(STATION) }));
    // Without the option, with others before it, and by unicast (reachability probes).
    let bare = heard(&message(&Ip6 { dst: TARGET, ..link() }, 135, 0, TARGET, &[]));
    assert_eq!(bare, Ok(Message::Solicitation { target: TARGET, from: HERE, mac: None }));
    let nonce = [&[14, 1, 1, 2, 3, 4, 5, 6][..], &option(1, THEIRS)].concat();
    assert_eq!(heard(&message(&link(), 135, 0, TARGET, &nonce)), asks);

    let nobody = Ip6 { src: 0, ..link() };
    let probe = heard(&message(&nobody, 135, 0, TARGET, &[]));
    assert_eq!(probe, Ok(Message::Solicitation { target: TARGET, from: 0, mac: None }));
    let refused = [
        message(&Ip6 { hops: 254, ..link() }, 135, 0, TARGET, &[]),
        message(&link(), 135, 0, ipv6::ALL_NODES, &[]),
        message(&link(), 135, 0, TARGET, &[1, 0, 0, 0, 0, 0, 0, 0]),
        message(&link(), 135, 0, TARGET, &[1, 2, 0, 0, 0, 0, 0, 0]),
        message(&link(), 135, 0, TARGET, &[1]),
        message(&link(), 135, 0, TARGET, &option(1, [0x33, 0x33, 0, 0, 0, 1])),
        message(&link(), 135, 0, TARGET, &option(1, [0; 6])),
        message(&nobody, 135, 0, TARGET, &option(1, THEIRS)),
        message(&Ip6 { dst: ipv6::ALL_NODES, ..nobody.clone() }, 135, 0, TARGET, &[]),
        message(&Ip6 { headers: std::vec![(44, fragment(0, false, 1))], ..link() }, 135, 0, TARGET, &[]),
        ipv6(&link(), 58, &icmp(&link(), 135, 0, 0, &TARGET.to_be_bytes()[..15])),
        ipv6(&link(), 58, &icmp(&link(), 135, 1, 0, &TARGET.to_be_bytes())),
        ipv6(&link(), 58, &icmp(&link(), 133, 0, 0, &TARGET.to_be_bytes())),
    ];
    for frame in refused {
        assert_eq!(heard(&frame), Err(ParseError::InvalidNd), "{frame:02x?}");
    }
}

#[test]
fn advertisements() {
    let unicast = Ip6 { hops: 255, ..Ip6::default() };
    let all = Ip6 { dst: ipv6::ALL_NODES, ..unicast.clone() };
    let flags = flag::SOLICITED | flag::OVERRIDE;
    let said = heard(&message(&unicast, 136, flags, TARGET, &option(2, OURS)));
    assert_eq!(said, Ok(Message::Advertisement { target: TARGET, mac: Some(MacAddr(OURS)), flags }));
    let silent = heard(&message(&unicast, 136, flags, TARGET, &option(1, OURS)));
    assert_eq!(silent, Ok(Message::Advertisement { target: TARGET, mac: None, flags }));
    assert!(heard(&message(&all, 136, flag::OVERRIDE, TARGET, &option(2, OURS))).is_ok());
    assert_eq!(heard(&message(&all, 136, flags, TARGET, &option(2, OURS))), Err(ParseError::InvalidNd));
    let far = Ip6 { hops: 64, ..unicast };
    assert_eq!(heard(&message(&far, 136, flags, TARGET, &option(2, OURS))), Err(ParseError::InvalidNd));
}

proptest! {
    #[test]
    fn any_options(options in vec(any::<u8>(), 0..60), solicits in any::<bool>(), other in vec(any::<u8>(), 0..120)) {
        let ip = if solicits { link() } else { Ip6 { hops: 255, ..Ip6::default() } };
        let frame = message(&ip, if solicits { 135 } else { 136 }, 0, TARGET, &options);
        let parsed = parse6(&frame).unwrap();
        let _ = read(&other, &parsed);
        let fits = {
            let (mut at, mut fits) = (0, true);
            while at < options.len() && fits {
                let len = options.get(at + 1).map_or(0, |units| usize::from(*units) * 8);
                fits = len > 0 && at + len <= options.len();
                at += len;
            }
            fits
        };
        if read(&frame, &parsed).is_ok() {
            prop_assert!(fits);
        }
    }
}
