// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flows of the in-process harness and their frames.
//!
//! Flow `i` is one inside host talking UDP or TCP to one outside host through dynamic PAT. Its addresses are arithmetic, so
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
/// Where the flow's number stands in every frame that carries data, for the peer: in the payload of UDP and of TCP.
const NUMBER: usize = FRAME - 6;
/// Payload bytes of a TCP segment with data: what the headers leave of a frame.
pub const SEGMENT: u32 = (FRAME - 54) as u32;

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

/// Whose frame it is and where it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The interface's slot.
    pub slot: usize,
    /// Source address and port.
    pub from: (u32, u16),
    /// Destination address and port.
    pub to: (u32, u16),
}

/// What a TCP segment says.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// The window field.
    pub window: u16,
    /// The window scale option, which only segments with SYN carry. Those carry no data, all others [`SEGMENT`] bytes or none.
    pub scale: Option<u8>,
    /// With data.
    pub data: bool,
}

/// The ends of a flow's frames that go `way`. `translated` says whether the outside sees the mapped address.
pub fn ends(flow: u32, way: Way, translated: bool) -> Ends {
    let (group, n) = (flow / A_MAPPED_ADDRESS, flow % A_MAPPED_ADDRESS);
    let (real, port) = (real_net(group) + 2 + n, (FIRST_PORT + n) as u16);
    let server = (ip(203, 0, 0, 0) + flow.wrapping_mul(2_654_435_761) % 0xff_ffff, 5060);
    let shown = if translated { mapped(group) } else { real };
    match way {
        Way::Out => Ends { slot: INSIDE, from: (real, port), to: server },
        Way::Back => Ends { slot: OUTSIDE, from: server, to: (shown, port) },
    }
}

/// Writes a UDP frame with `number` in its payload.
pub fn write_udp(frame: &mut [u8; FRAME], ends: &Ends, number: u32) {
    let len = FRAME - 34;
    start(frame, ends, proto::UDP, len);
    frame[NUMBER..NUMBER + 4].copy_from_slice(&number.to_le_bytes());
    let udp = &mut frame[34..];
    udp[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    let sum = checksum::udp_field(checksum::of_segment(ends.from.0, ends.to.0, proto::UDP, udp));
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Writes a TCP frame with `number` in its payload, if it has one.
pub fn write_tcp(frame: &mut [u8; FRAME], ends: &Ends, segment: &Segment, number: u32) {
    let options = if segment.scale.is_some() { 4 } else { 0 };
    let len = 20 + options + if segment.data { SEGMENT as usize } else { 0 };
    start(frame, ends, proto::TCP, len);
    if segment.data {
        frame[NUMBER..NUMBER + 4].copy_from_slice(&number.to_le_bytes());
    }
    let tcp = &mut frame[34..34 + len];
    tcp[4..8].copy_from_slice(&segment.seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&segment.ack.to_be_bytes());
    tcp[12] = (((20 + options) / 4) << 4) as u8;
    tcp[13] = segment.flags;
    tcp[14..16].copy_from_slice(&segment.window.to_be_bytes());
    if let Some(scale) = segment.scale {
        tcp[20..24].copy_from_slice(&[1, 3, 3, scale]); // no-operation, window scale (RFC 7323, 2.2)
    }
    let sum = checksum::of_segment(ends.from.0, ends.to.0, proto::TCP, tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// Ethernet and IP headers and the ports; zeros behind them.
fn start(frame: &mut [u8; FRAME], ends: &Ends, protocol: u8, len: usize) {
    frame.fill(0);
    frame[..6].copy_from_slice(&MACS[ends.slot].0);
    frame[6..12].copy_from_slice(&GATEWAYS[ends.slot].mac.0);
    frame[12..14].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    let ip_header = &mut frame[14..34];
    ip_header[0] = 0x45;
    ip_header[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
    ip_header[8] = 64;
    ip_header[9] = protocol;
    ip_header[12..16].copy_from_slice(&ends.from.0.to_be_bytes());
    ip_header[16..20].copy_from_slice(&ends.to.0.to_be_bytes());
    let sum = checksum::of(ip_header);
    ip_header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&ends.from.1.to_be_bytes());
    frame[36..38].copy_from_slice(&ends.to.1.to_be_bytes());
}

/// The flow's number as it was written into a frame with data.
pub fn number(frame: &[u8]) -> u32 {
    frame[NUMBER..].first_chunk().map_or(0, |n| u32::from_le_bytes(*n))
}
