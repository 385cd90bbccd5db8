// SPDX-License-Identifier: MIT OR Apache-2.0
//! The IPv6 flows of the in-process harness and their frames: [`crate::flows`] without translation.
//!
//! Flow `i` is one inside host talking UDP to one outside host through a router on each side. A frame is 66 bytes, 70 with the checksum
//! that a wire adds: with less there would be no room for the flow's number, which the peer reads.

use crate::flows::Way;
use crate::rig::{self, INSIDE, MACS, OUTSIDE};
use fedgate_tables::policy::Route6;
use fedgate_wire::emit6::Station6;
use fedgate_wire::{checksum, ethernet, proto};

/// Bytes of a frame as a driver hands it over.
pub const FRAME: usize = NUMBER + 4;
const NUMBER: usize = 62;

const fn net(n: u128) -> u128 {
    0x2001_0db8 << 96 | n << 64
}

/// The appliance's addresses.
pub const OWN: [u128; 2] = [net(1) | 2, net(2) | 1];
/// The routers on both sides.
pub const GATEWAYS: [Station6; 2] = [
    Station6 { mac: rig::GATEWAYS[OUTSIDE].mac, ip: net(1) | 1 },
    Station6 { mac: rig::GATEWAYS[INSIDE].mac, ip: net(2) | 2 },
];
/// Networks of the hosts behind the routers.
const HOSTS: [u128; 2] = [net(0xf), net(0xa)];

/// The ways to them.
pub fn routes() -> [Route6; 2] {
    [OUTSIDE, INSIDE].map(|side| Route6 {
        net: HOSTS[side].to_be_bytes(),
        prefix: 64,
        gateway: GATEWAYS[side].ip.to_be_bytes(),
        ifindex: side as u32,
        metric: 1,
    })
}

/// Writes a UDP frame of a flow.
pub fn write_udp(frame: &mut [u8; FRAME], flow: u32, way: Way) {
    let host = (HOSTS[INSIDE] + 0x100 + u128::from(flow), 2048 + (flow % 62_500) as u16);
    let server = (HOSTS[OUTSIDE] + 0x100 + u128::from(flow.wrapping_mul(2_654_435_761)), 5060);
    let (side, from, to) = match way {
        Way::Out => (INSIDE, host, server),
        Way::Back => (OUTSIDE, server, host),
    };
    frame[..6].copy_from_slice(&MACS[side].0);
    frame[6..12].copy_from_slice(&GATEWAYS[side].mac.0);
    frame[12..14].copy_from_slice(&ethernet::TYPE_IPV6.to_be_bytes());
    let len = (FRAME - 54) as u16;
    frame[14..18].copy_from_slice(&[0x60, 0, 0, 0]);
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    (frame[20], frame[21]) = (proto::UDP, 64);
    frame[22..38].copy_from_slice(&from.0.to_be_bytes());
    frame[38..54].copy_from_slice(&to.0.to_be_bytes());
    frame[54..56].copy_from_slice(&from.1.to_be_bytes());
    frame[56..58].copy_from_slice(&to.1.to_be_bytes());
    frame[58..60].copy_from_slice(&len.to_be_bytes());
    frame[60..62].fill(0);
    frame[NUMBER..].copy_from_slice(&flow.to_le_bytes());
    let sum = checksum::udp_field(checksum::of_segment_v6(from.0, to.0, proto::UDP, &frame[54..]));
    frame[60..62].copy_from_slice(&sum.to_be_bytes());
}

/// The number of a frame's flow.
pub fn number(frame: &[u8]) -> u32 {
    frame.get(NUMBER..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number))
}
