// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames for the tests of this crate, built plainly and with right checksums.
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{checksum, proto};

pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An IPv4 header's free choices.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) fragment_word: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
}

impl Default for Ip {
    fn default() -> Self {
        Self { src: 0x0a00_0001, dst: 0x0a00_0102, ttl: 64, tos: 0, fragment_word: 0, options: Vec::new() }
    }
}

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&OURS[..], &THEIRS, &ethertype.to_be_bytes(), payload].concat()
}

pub(crate) fn datagram(ip: &Ip, proto: u8, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + ip.options.len();
    let mut out = std::vec![0x40 | (header_len / 4) as u8, ip.tos];
    out.extend(((header_len + payload.len()) as u16).to_be_bytes());
    out.extend(0x1234u16.to_be_bytes());
    out.extend(ip.fragment_word.to_be_bytes());
    out.extend([ip.ttl, proto, 0, 0]);
    out.extend(ip.src.to_be_bytes());
    out.extend(ip.dst.to_be_bytes());
    out.extend(&ip.options);
    let sum = checksum::of(&out);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend(payload);
    out
}

pub(crate) fn ipv4(ip: &Ip, proto: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &datagram(ip, proto, payload))
}

pub(crate) fn tcp(ip: &Ip, ports: (u16, u16), flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(ports.0.to_be_bytes());
    out.extend(ports.1.to_be_bytes());
    out.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    out.extend([((20 + options.len()) << 2) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(options);
    out.extend(data);
    let sum = checksum::of_segment(ip.src, ip.dst, proto::TCP, &out);
    out[16..18].copy_from_slice(&sum.to_be_bytes());
    out
}

pub(crate) fn udp(ip: &Ip, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(ports.0.to_be_bytes());
    out.extend(ports.1.to_be_bytes());
    out.extend((8 + data.len() as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(data);
    let sum = checksum::udp_field(checksum::of_segment(ip.src, ip.dst, proto::UDP, &out));
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

pub(crate) fn icmp(message_type: u8, code: u8, rest: u32, data: &[u8]) -> Vec<u8> {
    let mut out = std::vec![message_type, code, 0, 0];
    out.extend(rest.to_be_bytes());
    out.extend(data);
    let sum = checksum::of(&out);
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An ordinary echo request frame.
pub(crate) fn ping(ident: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    ipv4(&Ip::default(), proto::ICMP, &icmp(8, 0, u32::from(ident) << 16 | u32::from(seq), data))
}

/// Frames that are whole and right, of every kind, some with padding.
pub(crate) fn good_frame() -> impl Strategy<Value = Vec<u8>> {
    let ip = (
        1u32..0xdfff_ffff,
        1u32..0xdfff_ffff,
        any::<(u8, u8)>(),
        prop_oneof![4 => Just(0u16), 1 => Just(0x4000), 1 => Just(0x2000), 1 => 1u16..0x3fff],
        vec(prop_oneof![Just([1, 1, 1, 1]), Just([148, 4, 0, 0]), Just([0; 4]), any::<[u8; 4]>()], 0..=10)
            .prop_map(|o| o.concat()),
        any::<bool>(),
    )
        .prop_map(|(src, dst, (ttl, tos), fragment_word, options, plain)| Ip {
            src,
            dst,
            ttl,
            tos,
            fragment_word: if plain { 0 } else { fragment_word },
            options: if plain { Vec::new() } else { options },
        });
    let flags = prop_oneof![Just(2u8), Just(0x10), Just(0x12), Just(0x18), Just(0x11), Just(4), any::<u8>()];
    let rest = (
        0u8..5,
        any::<(u16, u16)>(),
        flags,
        vec(any::<[u8; 4]>(), 0..=10).prop_map(|o| o.concat()),
        vec(any::<u8>(), 0..80),
        prop_oneof![Just(0u8), Just(3), Just(5), Just(8), Just(11), Just(13), Just(18), any::<u8>()],
        0usize..20,
    );
    (ip.clone(), ip, rest).prop_map(
        |(ip, quoted, (kind, ports, flags, options, data, icmp_type, padding))| {
            let (proto, mut payload) = match kind {
                0 => (proto::TCP, tcp(&ip, ports, flags, &options, &data)),
                1 => (proto::UDP, udp(&ip, ports, &data)),
                2 => (proto::ICMP, icmp(icmp_type, 0, u32::from(ports.0) << 16, &data)),
                3 => {
                    let inner = match ports.1 % 3 {
                        0 => datagram(&quoted, proto::TCP, &tcp(&quoted, ports, flags, &[], &data)),
                        1 => datagram(&quoted, proto::UDP, &udp(&quoted, ports, &data)),
                        _ => datagram(
                            &quoted,
                            proto::ICMP,
                            &icmp(icmp_type, 0, u32::from(ports.0) << 16, &data),
                        ),
                    };
                    (
                        proto::ICMP,
                        icmp(
                            11,
                            0,
                            0,
                            &[&inner[..inner.len().min(60)], &data[..padding.min(data.len())]].concat(),
                        ),
                    )
                }
                _ => (47, data),
            };
            if ip.fragment_word & 0x2000 != 0 {
                // As fragments are: ended on 8 bytes, with a UDP length that counts what is still to come.
                payload.truncate(payload.len() / 8 * 8);
                if proto == proto::UDP {
                    payload[4] = 2;
                }
            }
            let mut frame = ipv4(&ip, proto, &payload);
            frame.resize(frame.len() + padding, 0);
            frame
        },
    )
}
