// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cutting a datagram that is too large for the next link and may be cut (RFC 791 3.2, RFC 4787 REQ-13a).
//!
//! Pieces come in order, each a multiple of eight bytes but the last; a fragment is cut into smaller ones that lie where it
//! lay. Options that are let through are copied into every piece: router alert asks for that (RFC 2113 2.1), and to the
//! others it makes no difference. Slow path.

use fedgate_wire::{Ipv4, Parsed, ethernet, ipv4};

const L3: usize = ethernet::HEADER_LEN;

/// One piece, to be written as a frame without its Ethernet header filled in.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    header: &'a [u8],
    data: &'a [u8],
    /// In the datagram, bytes.
    offset: usize,
    more: bool,
}

impl Piece<'_> {
    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        L3 + self.header.len() + self.data.len()
    }

    /// Writes it; `out` has [`Piece::len`] bytes.
    pub fn write(&self, out: &mut [u8]) {
        let (head, body) = out.split_at_mut(L3 + self.header.len());
        head[L3..].copy_from_slice(self.header);
        body.copy_from_slice(self.data);
        let datagram = &mut out[L3..];
        let total = (self.header.len() + self.data.len()) as u16;
        datagram[2..4].copy_from_slice(&total.to_be_bytes());
        let more = if self.more { ipv4::MORE_FRAGMENTS } else { 0 };
        if let Ok(mut ip) = Ipv4::new_checked(datagram) {
            ip.set_fragment_word((self.offset / 8) as u16 | more);
            ip.fill_checksum();
        }
    }
}

/// The pieces of a datagram, or of a fragment, for a link of `mtu` bytes (at least 68, RFC 791 3.2).
pub fn pieces<'a>(frame: &'a [u8], parsed: &Parsed, mtu: u16) -> impl Iterator<Item = Piece<'a>> + use<'a> {
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.ip_len);
    let header = frame.get(l3..l4).unwrap_or_default();
    let payload = frame.get(l4..end).unwrap_or_default();
    let word = Ipv4::new_checked(frame.get(l3..end).unwrap_or_default()).map_or(0, |ip| ip.fragment_word());
    let at = usize::from(word & ipv4::OFFSET_MASK) * 8;
    let step = (usize::from(mtu.max(68)) - (l4 - l3)) & !7;
    let count = if header.is_empty() { 0 } else { payload.len().div_ceil(step) };
    payload.chunks(step).take(count).enumerate().map(move |(i, data)| Piece {
        header,
        data,
        offset: at + i * step,
        more: i + 1 < count || word & ipv4::MORE_FRAGMENTS != 0,
    })
}
