// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 frames for the tests of this crate, built plainly and with right checksums.
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::testing::ethernet;
use crate::{checksum, proto};

pub(crate) const HERE: u128 = 0x2001_0db8_0001_0000_0000_0000_0000_0001;
pub(crate) const THERE: u128 = 0x2001_0db8_0002_0000_0000_0000_0000_0099;

/// An IPv6 packet's free choices.
#[derive(Clone, Debug)]
pub(crate) struct Ip6 {
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) hops: u8,
    /// Extension headers in order: their number, and their bytes, of which the first is overwritten.
    pub(crate) headers: Vec<(u8, Vec<u8>)>,
}

impl Default for Ip6 {
    fn default() -> Self {
        Self { src: HERE, dst: THERE, hops: 64, headers: Vec::new() }
    }
}

impl Ip6 {
    pub(crate) fn with(headers: &[(u8, Vec<u8>)]) -> Self {
        Self { headers: headers.to_vec(), ..Self::default() }
    }
}

/// Options that fill `units` times 8 bytes.
pub(crate) fn padding(units: u8) -> Vec<u8> {
    let mut header = std::vec![0, units - 1, 1, 4, 0, 0, 0, 0];
    header.resize(usize::from(units) * 8, 0);
    header
}

pub(crate) fn fragment(offset: u16, more: bool, ident: u32) -> Vec<u8> {
    let word = offset | u16::from(more);
    [&[0, 0], &word.to_be_bytes()[..], &ident.to_be_bytes()].concat()
}

pub(crate) fn packet(ip: &Ip6, proto: u8, payload: &[u8]) -> Vec<u8> {
    let kinds: Vec<u8> = ip.headers.iter().map(|h| h.0).chain([proto]).collect();
    let mut after = Vec::new();
    for (i, (_, bytes)) in ip.headers.iter().enumerate() {
        after.push(kinds[i + 1]);
        after.extend(&bytes[1..]);
    }
    after.extend(payload);
    let mut out = std::vec![0x60, 0, 0, 0];
    out.extend((after.len() as u16).to_be_bytes());
    out.extend([kinds[0], ip.hops]);
    out.extend(ip.src.to_be_bytes());
    out.extend(ip.dst.to_be_bytes());
    out.extend(after);
    out
}

pub(crate) fn ipv6(ip: &Ip6, proto: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x86dd, &packet(ip, proto, payload))
}

pub(crate) fn tcp(ip: &Ip6, ports: (u16, u16), flags: u8, data: &[u8]) -> Vec<u8> {
    let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    out.extend([0, 0, 0, 1, 0, 0, 0, 2, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(data);
    let sum = checksum::of_segment_v6(ip.src, ip.dst, proto::TCP, &out);
    out[16..18].copy_from_slice(&sum.to_be_bytes());
    out
}

pub(crate) fn udp(ip: &Ip6, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut out = [ports.0, ports.1, 8 + data.len() as u16, 0].map(u16::to_be_bytes).concat();
    out.extend(data);
    let sum = checksum::udp_field(checksum::of_segment_v6(ip.src, ip.dst, proto::UDP, &out));
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

pub(crate) fn icmp(ip: &Ip6, message_type: u8, code: u8, rest: u32, data: &[u8]) -> Vec<u8> {
    let mut out = std::vec![message_type, code, 0, 0];
    out.extend(rest.to_be_bytes());
    out.extend(data);
    let sum = checksum::of_segment_v6(ip.src, ip.dst, proto::ICMPV6, &out);
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An ordinary echo request frame.
pub(crate) fn ping(ident: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    let ip = Ip6::default();
    ipv6(&ip, proto::ICMPV6, &icmp(&ip, 128, 0, u32::from(ident) << 16 | u32::from(seq), data))
}

fn header() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        (Just(0u8), 1u8..4).prop_map(|(kind, units)| (kind, padding(units))),
        (Just(60u8), 1u8..4).prop_map(|(kind, units)| (kind, padding(units))),
        (Just(60u8), vec(any::<u8>(), 6)).prop_map(|(kind, data)| (kind, [&[0, 0], &data[..]].concat())),
        (Just(0u8), vec(any::<u8>(), 6)).prop_map(|(kind, data)| (kind, [&[0, 0], &data[..]].concat())),
        (0u8..5, 0u8..2).prop_map(|(kind, left)| (43u8, std::vec![0, 0, kind, left, 0, 0, 0, 0])),
        (prop_oneof![Just(0u16), Just(8), Just(16), Just(24), any::<u16>()], any::<(bool, u32)>())
            .prop_map(|(offset, (more, ident))| (44u8, fragment(offset & !7, more, ident))),
    ]
}

/// Frames of every kind, right up to their chain of headers, which is any at all; some with padding.
pub(crate) fn likely_frame() -> impl Strategy<Value = Vec<u8>> {
    let addr = prop_oneof![
        8 => any::<u64>().prop_map(|low| HERE ^ u128::from(low)),
        1 => any::<u64>().prop_map(|low| 0xfe80 << 112 | u128::from(low)),
        1 => (0u128..16, any::<u32>()).prop_map(|(scope, low)| 0xff00 << 112 | scope << 112 | u128::from(low)),
        1 => Just(0u128),
        1 => any::<u32>().prop_map(|low| 0xffff << 32 | u128::from(low)),
        1 => any::<u128>(),
    ];
    let headers = prop_oneof![3 => Just(Vec::new()).boxed(), 2 => vec(header(), 0..6).boxed()];
    let ip = (addr.clone(), addr, any::<u8>(), headers).prop_map(|(src, dst, hops, headers)| Ip6 {
        src,
        dst,
        hops,
        headers,
    });
    let flags = prop_oneof![Just(2u8), Just(0x10), Just(0x12), Just(0x18), any::<u8>()];
    let kinds =
        prop_oneof![Just(1u8), Just(2), Just(3), Just(4), Just(128), Just(129), 130u8..144, any::<u8>()];
    let rest = (0u8..5, any::<(u16, u16)>(), flags, vec(any::<u8>(), 0..80), kinds, 0usize..20);
    (ip.clone(), ip, rest).prop_map(|(ip, mut quoted, (kind, ports, flags, data, icmp_type, padding))| {
        let (proto, payload) = match kind {
            0 => (proto::TCP, tcp(&ip, ports, flags, &data)),
            1 => (proto::UDP, udp(&ip, ports, &data)),
            2 => (proto::ICMPV6, icmp(&ip, icmp_type, 0, u32::from(ports.0) << 16, &data)),
            3 => {
                if ports.0 % 4 > 0 {
                    quoted.src = ip.dst;
                }
                let inner = match ports.1 % 3 {
                    0 => packet(&quoted, proto::TCP, &tcp(&quoted, ports, flags, &data)),
                    1 => packet(&quoted, proto::UDP, &udp(&quoted, ports, &data)),
                    _ => packet(&quoted, proto::ICMPV6, &icmp(&quoted, icmp_type, 0, 7 << 16, &data)),
                };
                let quote = &inner[..inner.len().min(40 + usize::from(ports.0 % 90))];
                (proto::ICMPV6, icmp(&ip, 1 + flags % 4, 0, 0, quote))
            }
            _ => (icmp_type, data),
        };
        let mut frame = ipv6(&ip, proto, &payload);
        frame.resize(frame.len() + padding, 0);
        frame
    })
}
