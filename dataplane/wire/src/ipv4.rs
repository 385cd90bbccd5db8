// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv4 header view (RFC 791).
//!
//! `new_checked` holds version, header length and total length against the bytes that are there; the checksum is
//! a question of its own, since a view is also taken of headers being written. Setters do not mend the checksum:
//! the hot path adds a [`crate::checksum::Delta`], builders call [`Ipv4::fill_checksum`]. Used on worker cores.

use crate::bytes::{be16, be32, put16, put32};
use crate::checksum::{self, Delta};
use crate::{ParseError, ethernet};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Most bytes of a header with options.
pub const MAX_HEADER_LEN: usize = 60;
/// TTL of what the appliance itself sends (IANA's default).
pub const DEFAULT_TTL: u8 = 64;
/// The limited broadcast address.
pub const BROADCAST: u32 = u32::MAX;

pub(crate) mod field {
    pub(crate) const VERSION_IHL: usize = 0;
    pub(crate) const TOS: usize = 1;
    pub(crate) const TOTAL_LEN: usize = 2;
    pub(crate) const IDENT: usize = 4;
    pub(crate) const FRAGMENT: usize = 6;
    pub(crate) const TTL: usize = 8;
    pub(crate) const PROTOCOL: usize = 9;
    pub(crate) const CHECKSUM: usize = 10;
    pub(crate) const SRC: usize = 12;
    pub(crate) const DST: usize = 16;
}

/// Option: no more of them.
pub const OPTION_END: u8 = 0;
/// Option: padding.
pub const OPTION_NOP: u8 = 1;
/// Option: routers look closer (RFC 2113).
pub const OPTION_ROUTER_ALERT: u8 = 148;

/// "Don't fragment" in the word of flags and fragment offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments".
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset's bits, in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Whether an address can be one host's as a source: not in 0/8, 127/8, 224/4 or 240/4 (RFC 1812 5.3.7).
/// A network's own broadcast address is for those to know who know its mask.
#[inline]
pub const fn is_host(addr: u32) -> bool {
    !matches!(addr >> 24, 0 | 127 | 224..)
}

/// Whether a packet for this address can be meant for anybody: a host, a group, or 255.255.255.255.
#[inline]
pub const fn is_destination(addr: u32) -> bool {
    is_host(addr) || is_multicast(addr) || addr == BROADCAST
}

/// 224/4.
#[inline]
pub const fn is_multicast(addr: u32) -> bool {
    addr >> 28 == 0xe
}

/// An IPv4 datagram whose header and length fit the bytes that are there.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<T>(T);

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// Takes the bytes after the Ethernet header; padding may follow the datagram.
    ///
    /// # Errors
    /// `FrameTooShort` under 20 bytes, `UnsupportedIpVersion`, `InvalidIpHeader`, `InvalidIpLength`.
    #[inline]
    pub fn new_checked(datagram: T) -> Result<Self, ParseError> {
        let bytes = datagram.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(ParseError::FrameTooShort);
        }
        if bytes[field::VERSION_IHL] >> 4 != 4 {
            return Err(ParseError::UnsupportedIpVersion);
        }
        let header_len = usize::from(bytes[field::VERSION_IHL] & 0xf) * 4;
        if header_len < HEADER_LEN || header_len > bytes.len() {
            return Err(ParseError::InvalidIpHeader);
        }
        let total_len = usize::from(be16(bytes, field::TOTAL_LEN));
        if total_len < header_len || total_len > bytes.len() {
            return Err(ParseError::InvalidIpLength);
        }
        Ok(Self(datagram))
    }

    /// Bytes of the header, options included: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[field::VERSION_IHL] & 0xf) * 4
    }

    /// The type-of-service byte: DSCP and ECN.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.0.as_ref()[field::TOS]
    }

    /// Bytes of the datagram, header included.
    #[inline]
    pub fn total_len(&self) -> u16 {
        be16(self.0.as_ref(), field::TOTAL_LEN)
    }

    /// The identification that a datagram's fragments share.
    #[inline]
    pub fn ident(&self) -> u16 {
        be16(self.0.as_ref(), field::IDENT)
    }

    /// The word of flags and fragment offset: [`DONT_FRAGMENT`], [`MORE_FRAGMENTS`], [`OFFSET_MASK`].
    #[inline]
    pub fn fragment_word(&self) -> u16 {
        be16(self.0.as_ref(), field::FRAGMENT)
    }

    /// Where a fragment's payload starts in the whole one, in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (self.fragment_word() & OFFSET_MASK) << 3
    }

    /// Hops left.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0.as_ref()[field::TTL]
    }

    /// The protocol of the payload ([`crate::proto`]).
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0.as_ref()[field::PROTOCOL]
    }

    /// The header checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM)
    }

    /// Source, host order.
    #[inline]
    pub fn src(&self) -> u32 {
        be32(self.0.as_ref(), field::SRC)
    }

    /// Destination, host order.
    #[inline]
    pub fn dst(&self) -> u32 {
        be32(self.0.as_ref(), field::DST)
    }

    /// Whether the header is intact.
    #[inline]
    pub fn is_checksum_valid(&self) -> bool {
        checksum::is_valid(&self.0.as_ref()[..self.header_len()])
    }

    /// The bytes between header and end of the datagram.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..usize::from(self.total_len())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Sets the type-of-service byte.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        self.0.as_mut()[field::TOS] = tos;
    }

    /// Sets the identification.
    #[inline]
    pub fn set_ident(&mut self, ident: u16) {
        put16(self.0.as_mut(), field::IDENT, ident);
    }

    /// Sets flags and fragment offset.
    #[inline]
    pub fn set_fragment_word(&mut self, word: u16) {
        put16(self.0.as_mut(), field::FRAGMENT, word);
    }

    /// Sets the hops left.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.0.as_mut()[field::TTL] = ttl;
    }

    /// Sets the source, host order.
    #[inline]
    pub fn set_src(&mut self, addr: u32) {
        put32(self.0.as_mut(), field::SRC, addr);
    }

    /// Sets the destination, host order.
    #[inline]
    pub fn set_dst(&mut self, addr: u32) {
        put32(self.0.as_mut(), field::DST, addr);
    }

    /// Sets the header checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.0.as_mut(), field::CHECKSUM, checksum);
    }

    /// One hop less, checksum included. False, and nothing changed, where no hop is left to take (0 or 1).
    #[inline]
    pub fn decrement_ttl(&mut self) -> bool {
        let ttl = self.ttl();
        if ttl <= 1 {
            return false;
        }
        self.set_ttl(ttl - 1);
        self.set_checksum(Delta::TTL_DECREMENT.apply(self.checksum()));
        true
    }

    /// Computes the header checksum anew.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let sum = checksum::of(&self.0.as_ref()[..self.header_len()]);
        self.set_checksum(sum);
    }
}

/// A header without options, to be written by a builder.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Type of service, with ECN's bits.
    pub tos: u8,
    /// Bytes of the datagram, this header included.
    pub total_len: u16,
    /// Identification.
    pub ident: u16,
    /// Flags and fragment offset.
    pub fragment_word: u16,
    /// Time to live.
    pub ttl: u8,
    /// Of the payload.
    pub protocol: u8,
    /// Source.
    pub src: u32,
    /// Destination.
    pub dst: u32,
}

impl Header {
    /// Writes 20 bytes, checksum included. Panics where `out` is shorter: builders check.
    pub fn write(&self, out: &mut [u8]) {
        out[field::VERSION_IHL] = 0x45;
        out[field::TOS] = self.tos;
        put16(out, field::TOTAL_LEN, self.total_len);
        put16(out, field::IDENT, self.ident);
        put16(out, field::FRAGMENT, self.fragment_word);
        out[field::TTL] = self.ttl;
        out[field::PROTOCOL] = self.protocol;
        put16(out, field::CHECKSUM, 0);
        put32(out, field::SRC, self.src);
        put32(out, field::DST, self.dst);
        let sum = checksum::of(&out[..HEADER_LEN]);
        put16(out, field::CHECKSUM, sum);
    }
}

/// Bytes before the IPv4 header in a frame.
pub(crate) const IN_FRAME: usize = ethernet::HEADER_LEN;
