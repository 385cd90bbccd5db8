// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection's segments as bytes: read out of IPv4 packets, and written as such (RFC 9293 3.1).
//!
//! Of options, the segment size, window scale, and selective acknowledgements (RFC 2018) are read and written, the latter three blocks at most;
//! every other is skipped, and what is broken ends the list, as any option may be left unread. A segment whose checksum is wrong, or
//! whose flags exclude each other, never was. Packets are not fragmented, ours never may be (RFC 1191).
//!
//! The checksum is summed in software: a virtual port has no other place for it. Views and writers of [`fedgate_wire`] do the rest. No state.

use super::Addr;
use fedgate_wire::{Ipv4, Tcp, TcpFlags, checksum, ipv4, proto, tcp};

/// Bytes of the headers without options.
pub(super) const HEADERS: u16 = (ipv4::HEADER_LEN + tcp::HEADER_LEN) as u16;
/// Blocks of a selective acknowledgement in one segment: as many as leave room for timestamps, as everybody's.
pub(super) const BLOCKS: usize = 3;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// The one of these flags that a segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    None,
    Syn,
    Fin,
    Rst,
}

/// What an end's SYN says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The largest segment it takes.
    pub(super) mss: Option<u16>,
    /// What its windows are shifted by, if it can.
    pub(super) scale: Option<u8>,
    /// It understands selective acknowledgements.
    pub(super) sacks: bool,
}

/// What came.
pub(super) enum Came<'a> {
    Segment(Segment<'a>),
    /// Damaged on its way, or made to harm.
    Broken,
}

/// A segment that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) control: Control,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    /// As it stands there, not scaled.
    pub(super) window: u16,
    options: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment in an IPv4 packet; `None` where it is not whole, or not from `remote` to `local`.
    pub(super) fn read(packet: &'a [u8], local: Addr, remote: Addr) -> Option<Came<'a>> {
        let ip = Ipv4::new_checked(packet).ok()?;
        let fragment = ip.fragment_word() & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0;
        if ip.protocol() != proto::TCP || fragment || (ip.dst(), ip.src()) != (local.0, remote.0) {
            return None;
        }
        let bytes = packet.get(ip.header_len()..ip.total_len().into())?;
        let tcp = Tcp::new_checked(bytes).ok()?;
        if (tcp.dst_port(), tcp.src_port()) != (local.1, remote.1) {
            return None;
        }
        let flags = tcp.flags();
        let control = match [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST].map(|flag| flags.intersects(flag)) {
            [false, false, false] => Control::None,
            [true, false, false] => Control::Syn,
            [false, true, false] => Control::Fin,
            [false, false, true] => Control::Rst,
            _ => return Some(Came::Broken),
        };
        if !checksum::is_valid_segment(remote.0, local.0, proto::TCP, bytes) {
            return Some(Came::Broken);
        }
        let (head, payload) = bytes.split_at(tcp.header_len());
        Some(Came::Segment(Self {
            control,
            seq: tcp.seq(),
            ack: flags.intersects(TcpFlags::ACK).then(|| tcp.ack()),
            window: tcp.window(),
            options: &head[tcp::HEADER_LEN..],
            payload,
        }))
    }

    /// Of a SYN.
    pub(super) fn offer(&self) -> Offer {
        let mut offer = Offer::default();
        for (kind, body) in options(self.options) {
            match (kind, body) {
                (MSS, &[high, low]) => offer.mss = Some(u16::from_be_bytes([high, low])),
                (SCALE, &[scale]) => offer.scale = Some(scale),
                (SACK_PERMITTED, []) => offer.sacks = true,
                _ => {}
            }
        }
        offer
    }

    /// What it says is there beyond its acknowledgement: first numbers, and those past the last.
    pub(super) fn sacks(&self) -> impl Iterator<Item = (u32, u32)> {
        let blocks = options(self.options).filter(|(kind, _)| *kind == SACK);
        blocks.flat_map(|(_, body)| body.as_chunks::<8>().0).map(|&[a, b, c, d, e, f, g, h]| {
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        })
    }
}

/// Kinds and bodies.
fn options(mut list: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            match *list {
                [NOP, ref rest @ ..] => list = rest,
                [END, ..] | [] | [_] => return None,
                [kind, len, ..] => {
                    let body = list.get(2..len.into())?;
                    list = &list[len.into()..];
                    return Some((kind, body));
                }
            }
        }
    })
}

/// A segment that is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    /// Ours and theirs.
    pub(super) ends: (Addr, Addr),
    pub(super) control: Control,
    /// The last for now.
    pub(super) push: bool,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) window: u16,
    /// Of a SYN.
    pub(super) offer: Offer,
    /// At most [`BLOCKS`].
    pub(super) sacks: &'a [(u32, u32)],
    pub(super) payload: &'a [u8],
}

impl Draft<'_> {
    /// Bytes of the packet.
    pub(super) fn len(&self) -> usize {
        ipv4::HEADER_LEN + self.header_len() + self.payload.len()
    }

    fn header_len(&self) -> usize {
        let Offer { mss, scale, sacks } = self.offer;
        let of_syn = usize::from(mss.is_some()) + usize::from(scale.is_some()) + usize::from(sacks);
        let blocks = if self.sacks.is_empty() { 0 } else { 4 + 8 * self.sacks.len() };
        tcp::HEADER_LEN + 4 * of_syn + blocks
    }

    /// Writes it into a packet of [`Self::len`] bytes.
    pub(super) fn write(&self, packet: &mut [u8]) {
        let ((src, sport), (dst, dport)) = self.ends;
        let (head, segment) = packet.split_at_mut(ipv4::HEADER_LEN);
        ipv4::Header {
            tos: 0,
            total_len: (head.len() + segment.len()) as u16,
            ident: 0,
            fragment_word: ipv4::DONT_FRAGMENT,
            ttl: ipv4::DEFAULT_TTL,
            protocol: proto::TCP,
            src,
            dst,
        }
        .write(head);
        let (head, payload) = segment.split_at_mut(self.header_len());
        payload.copy_from_slice(self.payload);
        let mut flags = match self.control {
            Control::None => TcpFlags(0),
            Control::Syn => TcpFlags::SYN,
            Control::Fin => TcpFlags::FIN,
            Control::Rst => TcpFlags::RST,
        };
        if self.ack.is_some() {
            flags = flags | TcpFlags::ACK;
        }
        if self.push {
            flags = flags | TcpFlags::PSH;
        }
        let words = (head.len() / 4) as u8;
        let (fixed, mut rest) = head.split_at_mut(tcp::HEADER_LEN);
        fixed[..2].copy_from_slice(&sport.to_be_bytes());
        fixed[2..4].copy_from_slice(&dport.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.unwrap_or(0).to_be_bytes());
        fixed[12..14].copy_from_slice(&[words << 4, flags.0]);
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        fixed[16..].fill(0);
        let mut put = |bytes: &[u8]| {
            let (place, left) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            rest = left;
        };
        if let Some(mss) = self.offer.mss {
            let [high, low] = mss.to_be_bytes();
            put(&[MSS, 4, high, low]);
        }
        if self.offer.sacks {
            put(&[NOP, NOP, SACK_PERMITTED, 2]);
        }
        if let Some(scale) = self.offer.scale {
            put(&[NOP, SCALE, 3, scale]);
        }
        if !self.sacks.is_empty() {
            put(&[NOP, NOP, SACK, (2 + 8 * self.sacks.len()) as u8]);
            for (from, to) in self.sacks {
                put(&from.to_be_bytes());
                put(&to.to_be_bytes());
            }
        }
        let sum = checksum::of_segment(src, dst, proto::TCP, segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
    }
}
