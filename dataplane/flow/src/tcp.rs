// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP connections: where each stands, and which segments belong to it.
//!
//! The windows are those of van Rooij's "Real Stateful TCP Packet Filtering in IP Filter": from what passes in both
//! directions follows the furthest byte that a side may send and the oldest that it may repeat. What lies outside is dropped by
//! name, so that nobody off the path ends or feeds a connection by guessing (RFC 5961). A RST counts only where its
//! sequence number is the very one that its receiver expects; an inexact one inside the window is passed on for the receiver's
//! challenge ACK to settle, as are SYNs, and changes nothing here ([`Outcome::Challenge`]: the caller bounds their rate).
//!
//! Worker cores, every TCP packet: [`plain`] serves data and ACKs of an open connection by integer arithmetic and one branch,
//! [`segment`] has the rest. State is 22 bytes a connection, lent as a [`Track`]. Windows only
//! grow here: a receiver that takes back what it offered finds the data passed on still. PAWS is left to the endpoints.

mod anew;
mod machine;
mod options;
#[cfg(test)]
mod tests;

pub use anew::Asked;
pub use options::{BadOptions, MAX_SCALE, SynOptions, options};

use fedgate_tables::drops::DropReason;
use fedgate_wire::plain::TCP_HEADERS;
use fedgate_wire::tcp::HEADER_LEN;
use fedgate_wire::{ipv6, plain6};
use zerocopy::FromZeros;

/// FIN flag bit.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// URG.
pub const URG: u8 = 0x20;

/// Where a connection stands; UDP and ICMP are [`State::Established`] from the first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub enum State {
    /// The initiator's SYN seen.
    #[default]
    SynSent,
    /// Both sides' SYNs seen, not both acknowledged.
    SynReceived,
    /// Both ways open.
    Established,
    /// A side sent its FIN; not both FINs are acknowledged.
    HalfClosed,
    /// Both FINs are acknowledged.
    Closed,
    /// A RST that counts was seen. Traffic in the windows revives the connection (RFC 7857, 2.2).
    Reset,
}

/// History bits: for the ASA's connection flags, and what [`State`] alone does not say.
pub mod seen {
    /// The initiator's FIN.
    pub const FIN_INITIATOR: u8 = 1;
    /// The responder's FIN.
    pub const FIN_RESPONDER: u8 = 2;
    /// Payload from the initiator.
    pub const DATA_INITIATOR: u8 = 4;
    /// Payload from the responder.
    pub const DATA_RESPONDER: u8 = 8;
    /// The responder acknowledged the initiator's SYN.
    pub const SYN_ACK: u8 = 16;
    /// Both sides' SYNs: the windows of both are known.
    pub const BOTH_SYNS: u8 = 32;
    /// The initiator acknowledged the responder's SYN.
    pub const ACK_INITIATOR: u8 = 64;
}

/// What is known of the sequence numbers, by the side that sent (0: the initiator). Sequence numbers are modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Windows {
    /// One past the highest sequence number sent. SYN and FIN count one.
    pub end: [u32; 2],
    /// Highest acknowledgement sent. Before there was one: the other side's initial sequence number.
    pub ack: [u32; 2],
    /// Largest window announced, at least 1; to be shifted by the side's scale where both SYNs offered one.
    pub win: [u16; 2],
}
const _: () = assert!(size_of::<Windows>() == 20);

/// The parts of a connection that segments move.
#[derive(Debug)]
pub struct Track<'a> {
    /// Where it stands.
    pub state: &'a mut State,
    /// [`seen`] bits.
    pub history: &'a mut u8,
    /// Window shifts (RFC 7323), the initiator's in the low four bits. Until both
    /// SYNs are acknowledged: what each offered, 15 for nothing.
    pub scale: &'a mut u8,
    /// Sequence numbers.
    pub windows: &'a mut Windows,
}

/// A segment as it is on the wire, in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, where [`ACK`] is set.
    pub ack: u32,
    /// Window, not shifted.
    pub window: u16,
    /// Flags, of a legal combination (the parser sees to it).
    pub flags: u8,
    /// Bytes of data.
    pub len: u16,
}

impl Segment {
    /// Of a frame that [`fedgate_wire::plain::read`] took for TCP.
    #[inline(always)]
    pub fn of_plain(frame: &[u8], ip_len: u16) -> Option<Self> {
        let tcp = frame.first_chunk::<TCP_HEADERS>()?.last_chunk::<HEADER_LEN>()?;
        Some(Self::read(tcp, ip_len.wrapping_sub(IP_HEADER)))
    }

    /// Of a frame that [`fedgate_wire::plain6::read`] took for TCP.
    #[inline(always)]
    pub fn of_plain6(frame: &[u8], ip_len: u16) -> Option<Self> {
        let tcp = frame.first_chunk::<{ plain6::TCP_HEADERS }>()?.last_chunk::<HEADER_LEN>()?;
        Some(Self::read(tcp, ip_len.wrapping_sub(ipv6::HEADER_LEN as u16)))
    }

    /// From a TCP header, and the bytes of header and data.
    #[inline(always)]
    pub fn read(tcp: &[u8; HEADER_LEN], l4_len: u16) -> Self {
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        Self {
            seq: word(4),
            ack: word(8),
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            flags: tcp[13],
            len: l4_len.wrapping_sub(u16::from(tcp[12] >> 4) * 4),
        }
    }
}

/// What a segment that passes means to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Goes on as before.
    Same,
    /// The state is another: the timer is to be set anew.
    Moved,
    /// Nothing changed. Its receiver will answer with a challenge ACK (RFC 5961): to be passed on at a bounded rate, and above it to be
    /// dropped as [`DropReason::TcpRstSynInWin`].
    Challenge,
    /// The initiator's SYN on a connection that is over: it is to be ended, and the SYN admitted as a first packet.
    Reopen,
}

/// Bytes of an IPv4 header without options.
const IP_HEADER: u16 = 20;

/// Smallest window within which old acknowledgements pass, whatever the side announces (netfilter's MAXACKWINDOW, RFC 5961 5).
const ACK_SLACK: i32 = 65_535;

/// Books a segment of the initiator (`forward`) or of the responder where it is plain: data or an ACK of an open connection, inside
/// the windows. False, and nothing changed, for any other; [`segment`] knows what to do with it.
#[inline(always)]
pub fn plain(track: &mut Track<'_>, segment: &Segment, forward: bool) -> bool {
    let from = usize::from(!forward);
    let end = segment.seq.wrapping_add(u32::from(segment.len));
    let open = *track.state == State::Established && segment.flags & (FIN | SYN | RST | ACK) == ACK;
    let books = open && Fit::new(track.windows, *track.scale, from, end, segment.ack).is_in();
    if books {
        track.windows.book(from, end, segment);
        *track.history |= data_bit(from, segment.len);
    }
    books
}

/// Checks any segment and books it. `syn_options` are the bytes of its TCP options where it is a SYN.
///
/// # Errors
/// The reason to drop it; nothing is changed then.
#[inline]
pub fn segment(
    track: &mut Track<'_>,
    segment: &Segment,
    syn_options: &[u8],
    forward: bool,
) -> Result<Outcome, DropReason> {
    if plain(track, segment, forward) {
        return Ok(Outcome::Same);
    }
    machine::segment(track, segment, syn_options, forward)
}

/// How far a segment is inside each of the four bounds; negative is outside.
struct Fit {
    /// Below the furthest byte that its receiver has allowed.
    room: i32,
    /// Above what a window's worth of repetition reaches.
    fresh: i32,
    /// Acknowledges no more than was sent.
    sent: i32,
    /// Acknowledges no less than a window before the last.
    recent: i32,
}

impl Fit {
    /// For a segment of side `from` that ends before `end`. Shifts are at most 14, so no sum here passes 2^31.
    #[inline]
    fn new(windows: &Windows, scale: u8, from: usize, end: u32, ack: u32) -> Self {
        let to = from ^ 1;
        let allowed = windows.window(scale, to);
        let own = windows.window(scale, from) as i32;
        Self {
            room: windows.ack[to].wrapping_add(allowed).wrapping_sub(end) as i32,
            fresh: end.wrapping_sub(windows.end[from].wrapping_sub(allowed)) as i32,
            sent: windows.end[to].wrapping_sub(ack) as i32,
            recent: ack.wrapping_sub(windows.ack[from].wrapping_sub(own.max(ACK_SLACK) as u32)) as i32,
        }
    }

    #[inline]
    fn is_in(&self) -> bool {
        self.room | self.fresh | self.sent | self.recent >= 0
    }
}

impl Windows {
    /// Bytes that `side` has offered at most.
    #[inline]
    fn window(&self, scale: u8, side: usize) -> u32 {
        u32::from(self.win[side]) << (scale >> (4 * side) & 15)
    }

    /// Takes over what a segment of side `from` says.
    #[inline]
    fn book(&mut self, from: usize, end: u32, segment: &Segment) {
        self.end[from] = later(self.end[from], end);
        self.ack[from] = later(self.ack[from], segment.ack);
        self.win[from] = self.win[from].max(segment.window);
    }
}

/// The later of two sequence numbers less than 2^31 apart.
#[inline]
fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}

#[inline]
fn data_bit(from: usize, len: u16) -> u8 {
    u8::from(len != 0) << (2 + from)
}
