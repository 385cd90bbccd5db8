// SPDX-License-Identifier: MIT OR Apache-2.0
//! The common frame, read in a dozen loads: for our MAC, IPv4 without options, whole, TCP or UDP.
//!
//! A worker asks [`read`] first. What it accepts may be looked up in the connection table as it is; what it does not (anything
//! unusual or wrong) goes through [`parse`](crate::parse()) for its drop reason or its slow path. Checked: lengths against each other and
//! the frame's end (nothing but padding behind the datagram), the header checksum, the TCP header's length. Not checked, because no connection has them: impossible addresses,
//! land. Not checked, because connection tracking does it: TCP flags.
//!
//! [`Packed`] is the 5-tuple in the byte order of the wire, so that neither the lookup nor the translation swaps a byte.
//! The oracle is `parse` itself (tests.rs). Worker cores, every packet.

use crate::{Fragment, Kind, MacAddr, Parsed, TcpFlags, Tuple, ethernet, ipv4, proto, tcp, udp};

#[cfg(test)]
mod tests;

/// Bytes of the frame that a TCP packet needs: Ethernet, IPv4 and TCP headers.
pub const TCP_HEADERS: usize = ipv4::IN_FRAME + ipv4::HEADER_LEN + tcp::HEADER_LEN;
/// The same for UDP.
pub const UDP_HEADERS: usize = ipv4::IN_FRAME + ipv4::HEADER_LEN + udp::HEADER_LEN;

/// Bytes up to which a frame may be longer than its datagram: links pad to 60, and some drivers leave the four of the checksum.
pub const PADDED: usize = 64;

/// Where the addresses lie in the frame: source, then destination, then (without options) the ports.
pub const ADDRS: usize = 26;
/// Where the ports lie.
pub const PORTS: usize = 34;

/// A 5-tuple as its bytes lie in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Source, then destination address, read as little-endian.
    pub addrs: u64,
    /// Source, then destination port, read as little-endian.
    pub ports: u32,
    /// IP protocol.
    pub proto: u8,
}

impl Packed {
    /// The answer's.
    #[inline(always)]
    pub const fn mirror(self) -> Self {
        Self { addrs: self.addrs.rotate_left(32), ports: self.ports.rotate_left(16), proto: self.proto }
    }

    /// In host order.
    #[inline]
    pub const fn unpack(self) -> Tuple {
        Tuple {
            src: (self.addrs as u32).swap_bytes(),
            dst: ((self.addrs >> 32) as u32).swap_bytes(),
            sport: (self.ports as u16).swap_bytes(),
            dport: ((self.ports >> 16) as u16).swap_bytes(),
            proto: self.proto,
        }
    }
}

impl Tuple {
    /// In the order of the wire.
    #[inline]
    pub const fn pack(&self) -> Packed {
        Packed {
            addrs: (self.dst.swap_bytes() as u64) << 32 | self.src.swap_bytes() as u64,
            ports: (self.dport.swap_bytes() as u32) << 16 | self.sport.swap_bytes() as u32,
            proto: self.proto,
        }
    }
}

/// Our MAC as the first eight bytes of a frame for us begin, read as little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours(u64);

impl Ours {
    /// For this MAC.
    pub const fn new(MacAddr([a, b, c, d, e, f]): MacAddr) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Whether a frame that begins so is for us.
    #[inline(always)]
    pub(crate) const fn is_in(self, head: &[u8; 8]) -> bool {
        u64::from_le_bytes(*head) & 0xffff_ffff_ffff == self.0
    }
}

/// What [`read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The 5-tuple.
    pub key: Packed,
    /// The datagram's length, header included.
    pub ip_len: u16,
}

/// Reads the common frame. None for any other, good or bad.
#[inline(always)]
pub fn read(frame: &[u8], ours: Ours) -> Option<Plain> {
    const TYPE_AND_VERSION: u32 = (ethernet::TYPE_IPV4.swap_bytes() as u32) | 0x45 << 16;
    let head = frame.first_chunk::<UDP_HEADERS>()?;
    let for_us = le64(head, 0) & 0xffff_ffff_ffff == ours.0;
    let plain = le32(head, 12) & 0x00ff_ffff == TYPE_AND_VERSION;
    let fragment = le16(head, 20) & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK).swap_bytes();
    if !(for_us & plain & (fragment == 0)) {
        return None;
    }
    // Five words of 32 bits, and their carries.
    let sum = u64::from(le32(head, 14))
        + u64::from(le32(head, 18))
        + u64::from(le32(head, 22))
        + u64::from(le32(head, 26))
        + u64::from(le32(head, 30));
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let ip_len = le16(head, 16).swap_bytes();
    let room = frame.len() - ipv4::IN_FRAME;
    let filled = usize::from(ip_len) == room || (usize::from(ip_len) < room && frame.len() <= PADDED);
    if (sum & 0xffff) + (sum >> 16) != 0xffff || !filled {
        return None;
    }
    let payload = usize::from(ip_len).checked_sub(ipv4::HEADER_LEN)?;
    let proto = head[23];
    match proto {
        proto::UDP => {
            let len = usize::from(le16(head, 38).swap_bytes());
            if len < udp::HEADER_LEN || len > payload {
                return None;
            }
        }
        proto::TCP => {
            let header = usize::from(frame.first_chunk::<TCP_HEADERS>()?[46] >> 4) * 4;
            if header < tcp::HEADER_LEN || header > payload {
                return None;
            }
        }
        _ => return None,
    }
    let key = Packed { addrs: le64(head, ADDRS), ports: le32(head, PORTS), proto };
    Some(Plain { key, ip_len })
}

/// What [`parse`](crate::parse()) says of a frame that [`read`] took; None where it refuses it, which it does for what connections do not have.
#[inline]
pub fn parsed(frame: &[u8], plain: &Plain) -> Option<Parsed> {
    let tuple = plain.key.unpack();
    let legal = ipv4::is_host(tuple.src) & ipv4::is_destination(tuple.dst) & (tuple.src != tuple.dst);
    let tcp_flags = if tuple.proto == proto::TCP { tcp_flags(frame)? } else { TcpFlags::default() };
    (legal && (tuple.proto != proto::TCP || tcp_flags.is_legal())).then(|| Parsed {
        tuple,
        l3: ipv4::IN_FRAME as u16,
        l4: (ipv4::IN_FRAME + ipv4::HEADER_LEN) as u16,
        ip_len: plain.ip_len,
        embedded: 0,
        kind: Kind::Ipv4,
        frag: Fragment::No,
        ttl: ttl(frame),
        dont_fragment: frame.get(ipv4::IN_FRAME + 6).is_some_and(|flags| flags & 0x40 != 0),
        has_options: false,
        tcp_flags,
        icmp_type: 0,
        icmp_code: 0,
    })
}

/// Hops left, of a frame that [`read`] took; 0 of what is too short to be one.
#[inline(always)]
pub fn ttl(frame: &[u8]) -> u8 {
    frame.get(ipv4::IN_FRAME + 8).copied().unwrap_or_default()
}

/// The TCP flags of a frame that [`read`] took as TCP; none of what is too short to be one.
#[inline(always)]
pub fn tcp_flags(frame: &[u8]) -> Option<TcpFlags> {
    frame.get(ipv4::IN_FRAME + ipv4::HEADER_LEN + 13).map(|flags| TcpFlags(*flags))
}

// Through slices, so that each is one load: put together byte by byte, the optimiser takes the sum apart again.

#[inline(always)]
fn le64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline(always)]
fn le32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

#[inline(always)]
fn le16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |chunk| u16::from_le_bytes(*chunk))
}
