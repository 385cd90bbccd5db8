// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flows of the in-process harness and their frames.
//!
//! Flow `i` is one inside host talking UDP to one outside host through dynamic PAT. Everything about it is arithmetic, so
//! that preparing a frame reads no table that would push the worker's out of the caches. 62,500 flows share a mapped
//! address; each has its own source port there, so that port preservation gives every flow the port it came with,
//! and the reply's tuple is known without asking. A frame is 60 bytes, 64 with the checksum that a wire adds.

use crate::rig::{GATEWAYS, INSIDE, MACS, OUTSIDE, ip};
use fedgate_wire::{checksum, ethernet, proto};

/// Bytes of a frame as a driver hands it over.
pub const FRAME: usize = 60;
/// Flows that share one mapped address.
const A_MAPPED_ADDRESS: u32 = 62_500;
/// First source port.
const FIRST_PORT: u32 = 2048;
/// Where the UDP payload starts in the frame: the flow's number, for the peer, and zeros.
const PAYLOAD: usize = 14 + 20 + 8;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From inside.
    Out,
    /// A reply, from outside.
    Back,
}

impl Way {
    /// Bursts go out and back by turns.
    pub fn of_burst(n: usize) -> Self {
        if n.is_multiple_of(2) { Way::Out } else { Way::Back }
    }

    /// Slot of the port that frames of this way arrive on.
    pub fn slot(self) -> u8 {
        match self {
            Way::Out => INSIDE as u8,
            Way::Back => OUTSIDE as u8,
        }
    }
}

/// Real network of a group of flows, a /16.
pub fn real_net(group: u32) -> u32 {
    ip(10, 16, 0, 0) + (group << 16)
}

/// Mapped address of a group of flows.
pub fn mapped(group: u32) -> u32 {
    ip(198, 51, 100, 16) + group
}

/// Groups that `flows` flows need.
pub fn groups(flows: u32) -> u32 {
    flows.div_ceil(A_MAPPED_ADDRESS)
}

/// Writes the frame of a flow that goes `way`. `translated` says whether the outside sees the mapped address.
pub fn write(frame: &mut [u8; FRAME], flow: u32, way: Way, translated: bool) {
    let (group, n) = (flow / A_MAPPED_ADDRESS, flow % A_MAPPED_ADDRESS);
    let (real, port) = (real_net(group) + 2 + n, (FIRST_PORT + n) as u16);
    let server = (ip(203, 0, 0, 0) + flow.wrapping_mul(2_654_435_761) % 0xff_ffff, 5060);
    let shown = if translated { mapped(group) } else { real };
    let (slot, from, to) = match way {
        Way::Out => (INSIDE, (real, port), server),
        Way::Back => (OUTSIDE, server, (shown, port)),
    };
    frame.fill(0);
    frame[..6].copy_from_slice(&MACS[slot].0);
    frame[6..12].copy_from_slice(&GATEWAYS[slot].mac.0);
    frame[12..14].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    let udp_len = (FRAME - 34) as u16;
    let ip_header = &mut frame[14..34];
    ip_header[0] = 0x45;
    ip_header[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    ip_header[8] = 64;
    ip_header[9] = proto::UDP;
    ip_header[12..16].copy_from_slice(&from.0.to_be_bytes());
    ip_header[16..20].copy_from_slice(&to.0.to_be_bytes());
    let sum = checksum::of(ip_header);
    ip_header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame[PAYLOAD..PAYLOAD + 4].copy_from_slice(&flow.to_le_bytes());
    let udp = &mut frame[34..];
    udp[0..2].copy_from_slice(&from.1.to_be_bytes());
    udp[2..4].copy_from_slice(&to.1.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let sum = checksum::udp_field(checksum::of_segment(from.0, to.0, proto::UDP, udp));
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// The flow's number as [`write`] left it in the payload.
pub fn number(frame: &[u8]) -> u32 {
    frame[PAYLOAD..].first_chunk().map_or(0, |n| u32::from_le_bytes(*n))
}
