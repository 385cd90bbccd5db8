// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cutting a datagram that is too large for the next link and may be cut (RFC 791 3.2, RFC 4787 REQ-13a).
//!
//! Pieces come in order, each a multiple of eight bytes but the last. Datagrams with options do not get here. Slow path.

use fedgate_wire::{Ipv4, Parsed, ethernet, ipv4};

const L3: usize = ethernet::HEADER_LEN;
const HEADER: usize = ipv4::HEADER_LEN;

/// One piece, to be written as a frame without its Ethernet header filled in.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    header: &'a [u8],
    data: &'a [u8],
    offset: usize,
    last: bool,
}

impl Piece<'_> {
    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        L3 + HEADER + self.data.len()
    }

    /// Writes it; `out` has [`Piece::len`] bytes.
    pub fn write(&self, out: &mut [u8]) {
        let (head, body) = out.split_at_mut(L3 + HEADER);
        head[L3..].copy_from_slice(self.header);
        body.copy_from_slice(self.data);
        let datagram = &mut out[L3..];
        let total = (HEADER + self.data.len()) as u16;
        datagram[2..4].copy_from_slice(&total.to_be_bytes());
        let more = if self.last { 0 } else { ipv4::MORE_FRAGMENTS };
        if let Ok(mut ip) = Ipv4::new_checked(datagram) {
            ip.set_fragment_word((self.offset / 8) as u16 | more);
            ip.fill_checksum();
        }
    }
}

/// The pieces of a whole datagram for a link of `mtu` bytes (at least 68).
pub fn pieces<'a>(frame: &'a [u8], parsed: &Parsed, mtu: u16) -> impl Iterator<Item = Piece<'a>> + use<'a> {
    let l3 = usize::from(parsed.l3);
    let end = l3 + usize::from(parsed.ip_len);
    let header = frame.get(l3..l3 + HEADER).unwrap_or_default();
    let payload = frame.get(l3 + HEADER..end).unwrap_or_default();
    let step = (usize::from(mtu.max(68)) - HEADER) & !7;
    let count = if header.is_empty() { 0 } else { payload.len().div_ceil(step) };
    payload.chunks(step).take(count).enumerate().map(move |(i, data)| Piece {
        header,
        data,
        offset: i * step,
        last: i + 1 == count,
    })
}
