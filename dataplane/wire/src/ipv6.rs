// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6: the fixed header (RFC 8200 section 3), and what kinds of address there are (RFC 4291).
//!
//! Addresses are numbers in host order, as everywhere here: `u128::from(Ipv6Addr)`. The view's `new_checked` holds
//! version and payload length against the bytes that are there; what stands between the fixed header and the
//! payload is [`crate::headers6`]'s. There is no header checksum, so a hop costs one byte. Used on worker cores.

use crate::bytes::{be16, be32, be128, put16, put32, put128};
use crate::{MacAddr, ParseError};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Hop limit of what the appliance itself sends (IANA's default).
pub const DEFAULT_HOP_LIMIT: u8 = 64;
/// Every link carries this much (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;

/// How the station addresses of all groups begin (RFC 2464 section 7).
pub const GROUP_MAC: [u8; 2] = [0x33, 0x33];

/// `::`.
pub const UNSPECIFIED: u128 = 0;
/// `::1`.
pub const LOOPBACK: u128 = 1;
/// `ff02::1`.
pub const ALL_NODES: u128 = 0xff02 << 112 | 1;
/// `ff02::2`.
pub const ALL_ROUTERS: u128 = 0xff02 << 112 | 2;

pub(crate) mod field {
    pub(crate) const VERSION: usize = 0;
    pub(crate) const PAYLOAD_LEN: usize = 4;
    pub(crate) const NEXT: usize = 6;
    pub(crate) const HOP_LIMIT: usize = 7;
    pub(crate) const SRC: usize = 8;
    pub(crate) const DST: usize = 24;
}

/// ff00::/8.
#[inline]
pub const fn is_multicast(addr: u128) -> bool {
    addr >> 120 == 0xff
}

/// fe80::/10.
#[inline]
pub const fn is_link_local(addr: u128) -> bool {
    addr >> 118 == 0xfe80 >> 6
}

/// The low four bits of a multicast address's second byte: how far it reaches (RFC 4291 2.7).
#[inline]
pub const fn multicast_scope(addr: u128) -> u8 {
    (addr >> 112) as u8 & 0xf
}

/// ::/96 and ::ffff:0:0/96: unspecified, loopback, IPv4-compatible (deprecated) and IPv4-mapped, which is a notation of
/// sockets and no address of a packet (RFC 4291 2.5.5, RFC 4942 2.2).
#[inline]
pub const fn embeds_ipv4(addr: u128) -> bool {
    matches!(addr >> 32, 0 | 0xffff)
}

/// Whether an address can be one host's on a link: neither multicast nor in [`embeds_ipv4`]'s ranges.
#[inline]
pub const fn is_host(addr: u128) -> bool {
    !is_multicast(addr) && !embeds_ipv4(addr)
}

/// Whether a packet for this address can be meant for anybody on a link: a host, or a group whose scope goes beyond
/// the interface (scopes 0 and 1 are never on a wire: RFC 4291 2.7).
#[inline]
pub const fn is_destination(addr: u128) -> bool {
    is_host(addr) || (is_multicast(addr) && multicast_scope(addr) > 1)
}

/// The solicited-node group of an address, `ff02::1:ffXX:XXXX` (RFC 4291 2.7.1).
#[inline]
pub const fn solicited_node(addr: u128) -> u128 {
    0xff02 << 112 | 0x1_ff00_0000 | (addr & 0xff_ffff)
}

/// The station address of a group, `33:33` and its last four bytes (RFC 2464 section 7).
#[inline]
pub const fn multicast_mac(group: u128) -> MacAddr {
    let [a, b, c, d] = (group as u32).to_be_bytes();
    MacAddr([GROUP_MAC[0], GROUP_MAC[1], a, b, c, d])
}

/// The link-local address that a station makes of its MAC (RFC 4862 5.3 with RFC 4291's modified EUI-64).
#[inline]
pub const fn link_local(mac: MacAddr) -> u128 {
    let [a, b, c, d, e, f] = mac.0;
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    0xfe80 << 112 | id as u128
}

/// The mask of a prefix of this many bits; more than 128 count as 128.
#[inline]
pub const fn mask(prefix_len: u8) -> u128 {
    match prefix_len {
        0 => 0,
        1..=127 => u128::MAX << (128 - prefix_len),
        _ => u128::MAX,
    }
}

/// An IPv6 packet whose fixed header and payload length fit the bytes that are there.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<T>(T);

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// Takes the bytes after the Ethernet header; padding may follow the packet.
    ///
    /// # Errors
    /// `FrameTooShort` under 40 bytes, `UnsupportedIpVersion`, `InvalidIpLength`.
    #[inline]
    pub fn new_checked(packet: T) -> Result<Self, ParseError> {
        let bytes = packet.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(ParseError::FrameTooShort);
        }
        if bytes[field::VERSION] >> 4 != 6 {
            return Err(ParseError::UnsupportedIpVersion);
        }
        if HEADER_LEN + usize::from(be16(bytes, field::PAYLOAD_LEN)) > bytes.len() {
            return Err(ParseError::InvalidIpLength);
        }
        Ok(Self(packet))
    }

    /// DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (be16(self.0.as_ref(), field::VERSION) >> 4) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        be32(self.0.as_ref(), field::VERSION) & 0xf_ffff
    }

    /// Bytes of the packet, fixed header included.
    #[inline]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + usize::from(be16(self.0.as_ref(), field::PAYLOAD_LEN))
    }

    /// What follows the fixed header ([`crate::proto`]).
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.0.as_ref()[field::NEXT]
    }

    /// Hops left.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.0.as_ref()[field::HOP_LIMIT]
    }

    /// Source, host order.
    #[inline]
    pub fn src(&self) -> u128 {
        be128(self.0.as_ref(), field::SRC)
    }

    /// Destination, host order.
    #[inline]
    pub fn dst(&self) -> u128 {
        be128(self.0.as_ref(), field::DST)
    }

    /// All that follows the fixed header, extension headers included.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..self.total_len()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Sets the hops left.
    #[inline]
    pub fn set_hop_limit(&mut self, hops: u8) {
        self.0.as_mut()[field::HOP_LIMIT] = hops;
    }

    /// Sets the source, host order.
    #[inline]
    pub fn set_src(&mut self, addr: u128) {
        put128(self.0.as_mut(), field::SRC, addr);
    }

    /// Sets the destination, host order.
    #[inline]
    pub fn set_dst(&mut self, addr: u128) {
        put128(self.0.as_mut(), field::DST, addr);
    }

    /// One hop less. False, and nothing changed, where no hop is left to take (0 or 1).
    #[inline]
    pub fn decrement_hop_limit(&mut self) -> bool {
        let hops = self.hop_limit();
        if hops <= 1 {
            return false;
        }
        self.set_hop_limit(hops - 1);
        true
    }
}

/// A fixed header to be written by a builder.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Traffic class, with ECN's bits.
    pub traffic_class: u8,
    /// Bytes behind this header.
    pub payload_len: u16,
    /// Of the header behind this one.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub src: u128,
    /// Destination.
    pub dst: u128,
}

impl Header {
    /// Writes 40 bytes, flow label 0. Panics where `out` is shorter: builders check.
    pub fn write(&self, out: &mut [u8]) {
        put32(out, field::VERSION, 6 << 28 | u32::from(self.traffic_class) << 20);
        put16(out, field::PAYLOAD_LEN, self.payload_len);
        out[field::NEXT] = self.next;
        out[field::HOP_LIMIT] = self.hop_limit;
        put128(out, field::SRC, self.src);
        put128(out, field::DST, self.dst);
    }
}

#[cfg(test)]
mod tests;
