// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP header view and flags (RFC 9293).
//!
//! `new_checked` holds the data offset against the bytes that are there. Options are read with care, since a peer
//! writes them: an option whose length is under two or past the header ends the walk. [`Tcp::clamp_mss`] is the
//! one option that a router may have to change; it mends the checksum as it does. Used on worker cores.

use core::ops::BitOr;

use crate::ParseError;
use crate::bytes::{be16, be32, put16, put32};
use crate::checksum::Delta;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

pub(crate) mod field {
    pub(crate) const SRC_PORT: usize = 0;
    pub(crate) const DST_PORT: usize = 2;
    pub(crate) const SEQ: usize = 4;
    pub(crate) const ACK: usize = 8;
    pub(crate) const DATA_OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const WINDOW: usize = 14;
    pub(crate) const CHECKSUM: usize = 16;
}

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// The eight flags, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender is done.
    pub const FIN: Self = Self(0x01);
    /// First segment.
    pub const SYN: Self = Self(0x02);
    /// Abort.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// Whether an endpoint may send this: at most one of SYN, FIN and RST, and an ACK but on the first segment and
    /// on an RST that answers without one (RFC 9293 3.5.2). Null, FIN and Xmas scans are not legal.
    #[inline]
    pub const fn is_legal(self) -> bool {
        // One bit for each combination of the low five flags; the other three (URG, ECE, CWR) say nothing here.
        LEGAL >> (self.0 & 0x1f) & 1 != 0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const LEGAL: u32 = {
    let (mut legal, mut flags) = (0, 0u8);
    while flags < 32 {
        let ends = flags & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0);
        let may_lack_ack = flags & (TcpFlags::SYN.0 | TcpFlags::RST.0) != 0;
        if ends.count_ones() <= 1 && (flags & TcpFlags::ACK.0 != 0 || may_lack_ack) {
            legal |= 1 << flags;
        }
        flags += 1;
    }
    legal
};

/// A TCP segment whose header, options included, is there.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<T>(T);

impl<T: AsRef<[u8]>> Tcp<T> {
    /// Takes an IP payload.
    ///
    /// # Errors
    /// [`ParseError::InvalidTcpHeaderLength`] under 20 bytes, or for a data offset under 20 bytes or past the end.
    #[inline]
    pub fn new_checked(payload: T) -> Result<Self, ParseError> {
        let bytes = payload.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(ParseError::InvalidTcpHeaderLength);
        }
        let header_len = usize::from(bytes[field::DATA_OFFSET] >> 4) * 4;
        if header_len < HEADER_LEN || header_len > bytes.len() {
            return Err(ParseError::InvalidTcpHeaderLength);
        }
        Ok(Self(payload))
    }

    /// Source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        be16(self.0.as_ref(), field::SRC_PORT)
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        be16(self.0.as_ref(), field::DST_PORT)
    }

    /// Sequence number.
    #[inline]
    pub fn seq(&self) -> u32 {
        be32(self.0.as_ref(), field::SEQ)
    }

    /// Acknowledgment number.
    #[inline]
    pub fn ack(&self) -> u32 {
        be32(self.0.as_ref(), field::ACK)
    }

    /// Bytes of the header, options included: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[field::DATA_OFFSET] >> 4) * 4
    }

    /// Flags.
    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.0.as_ref()[field::FLAGS])
    }

    /// Window as on the wire, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        be16(self.0.as_ref(), field::WINDOW)
    }

    /// The checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM)
    }

    /// The option bytes.
    #[inline]
    pub fn options(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..self.header_len()]
    }

    /// The data.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..]
    }

    /// The maximum segment size option (RFC 9293 3.7.1), the first where there are several.
    pub fn mss(&self) -> Option<u16> {
        self.mss_at().map(|at| be16(self.0.as_ref(), at))
    }

    /// Where in the segment the first MSS option's value lies.
    fn mss_at(&self) -> Option<usize> {
        let options = self.options();
        let mut at = 0;
        while let Some(&kind) = options.get(at) {
            match kind {
                OPTION_END => return None,
                OPTION_NOP => at += 1,
                _ => {
                    let len = usize::from(*options.get(at + 1)?);
                    if len < 2 || at + len > options.len() {
                        return None;
                    }
                    if kind == OPTION_MSS && len == 4 {
                        return Some(HEADER_LEN + at + 2);
                    }
                    at += len;
                }
            }
        }
        None
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Tcp<T> {
    /// Sets the source port.
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        put16(self.0.as_mut(), field::SRC_PORT, port);
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        put16(self.0.as_mut(), field::DST_PORT, port);
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_seq(&mut self, seq: u32) {
        put32(self.0.as_mut(), field::SEQ, seq);
    }

    /// Sets the acknowledgment number.
    #[inline]
    pub fn set_ack(&mut self, ack: u32) {
        put32(self.0.as_mut(), field::ACK, ack);
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.0.as_mut(), field::CHECKSUM, checksum);
    }

    /// Lowers the MSS option to `most` where it is larger, checksum included. True where it changed.
    pub fn clamp_mss(&mut self, most: u16) -> bool {
        let Some(at) = self.mss_at() else { return false };
        let old = be16(self.0.as_ref(), at);
        if old <= most {
            return false;
        }
        put16(self.0.as_mut(), at, most);
        let delta = Delta::word(old, most);
        // NOPs in front may leave the option at an odd place, where it spans two words of the sum.
        let delta = if at % 2 == 0 { delta } else { delta.at_odd_offset() };
        self.set_checksum(delta.apply(self.checksum()));
        true
    }
}

#[cfg(test)]
mod tests;
