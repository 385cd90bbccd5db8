// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the two ends of every flow have said: nothing with UDP, sequence numbers with TCP.
//!
//! A TCP flow begins with a handshake whose windows are scaled, then both ends send segments of [`SEGMENT`] bytes that follow each
//! other without a gap and acknowledge all that the other end has sent. So every segment is one that a firewall which follows windows must let
//! pass (RFC 5961, RFC 5382), provided that it sees all that were written: frames that are not meant for it are made by
//! [`Talk::peek`], which moves nothing on.
//!
//! Four bytes a flow, read and written while frames are prepared and not while they are timed.

use crate::flows::{FRAME, SEGMENT, Segment, Way, ends, write_tcp, write_udp};

/// Flags.
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Of both ends: windows of 8 MiB less a bit.
const SCALE: u8 = 7;
const WINDOW: u16 = u16::MAX;

/// The transport of a rig's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Connections are there with the first packet, and open with the answer.
    Udp,
    /// Connections are there after a handshake.
    Tcp,
}

/// See the module.
pub struct Talk {
    translated: bool,
    /// Segments with data, out and back, of each flow; none with UDP.
    said: Vec<[u16; 2]>,
}

/// The frames that make a connection, in order.
#[derive(Clone, Copy, Debug)]
pub enum Opening {
    /// UDP's first packet.
    Datagram,
    /// Its answer: only then is the way back known.
    Answer,
    /// The initiator's SYN.
    Syn,
    /// The responder's SYN, ACK.
    SynAck,
    /// The initiator's ACK.
    Ack,
}

impl Opening {
    /// All that a transport needs.
    pub fn of(transport: Transport) -> &'static [Self] {
        match transport {
            Transport::Udp => &[Self::Datagram, Self::Answer],
            Transport::Tcp => &[Self::Syn, Self::SynAck, Self::Ack],
        }
    }

    /// Where it goes.
    pub fn way(self) -> Way {
        match self {
            Self::Datagram | Self::Syn | Self::Ack => Way::Out,
            Self::SynAck | Self::Answer => Way::Back,
        }
    }
}

impl Talk {
    /// Of `flows` flows that have said nothing.
    pub fn new(transport: Transport, flows: u32, translated: bool) -> Self {
        let flows = if transport == Transport::Tcp { flows as usize } else { 0 };
        Self { translated, said: vec![[0; 2]; flows] }
    }

    /// Writes a frame that opens a flow.
    pub fn open(&self, frame: &mut [u8; FRAME], flow: u32, opening: Opening) {
        let ends = ends(flow, opening.way(), self.translated);
        let [ours, theirs] = isn(flow);
        let segment =
            |flags, seq, ack, scale| Segment { flags, seq, ack, window: WINDOW, scale, data: false };
        let segment = match opening {
            Opening::Datagram | Opening::Answer => return write_udp(frame, &ends, flow),
            Opening::Syn => segment(SYN, ours, 0, Some(SCALE)),
            Opening::SynAck => segment(SYN | ACK, theirs, ours.wrapping_add(1), Some(SCALE)),
            Opening::Ack => segment(ACK, ours.wrapping_add(1), theirs.wrapping_add(1), None),
        };
        write_tcp(frame, &ends, &segment, flow);
    }

    /// Writes the next frame of an open flow.
    pub fn next(&mut self, frame: &mut [u8; FRAME], flow: u32, way: Way) {
        self.peek(frame, flow, way);
        if let Some(said) = self.said.get_mut(flow as usize) {
            said[way as usize] = said[way as usize].wrapping_add(1);
        }
    }

    /// Writes what would be the next frame of an open flow.
    pub fn peek(&self, frame: &mut [u8; FRAME], flow: u32, way: Way) {
        let ends = ends(flow, way, self.translated);
        let Some(said) = self.said.get(flow as usize) else { return write_udp(frame, &ends, flow) };
        let reached: [u32; 2] = std::array::from_fn(|end| {
            isn(flow)[end].wrapping_add(1).wrapping_add(u32::from(said[end]) * SEGMENT)
        });
        let (seq, ack) = match way {
            Way::Out => (reached[0], reached[1]),
            Way::Back => (reached[1], reached[0]),
        };
        let segment = Segment { flags: PSH | ACK, seq, ack, window: WINDOW, scale: None, data: true };
        write_tcp(frame, &ends, &segment, flow);
    }
}

/// Initial sequence numbers of a flow's ends, spread over all there are so that some wrap around.
fn isn(flow: u32) -> [u32; 2] {
    [flow.wrapping_mul(0x9e37_79b1), flow.wrapping_mul(0x85eb_ca77) ^ 0x5bd1_e995]
}
