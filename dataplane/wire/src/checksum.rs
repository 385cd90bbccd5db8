// SPDX-License-Identifier: MIT OR Apache-2.0
//! The internet checksum (RFC 1071), whole and incremental (RFC 1624).
//!
//! A forwarded packet never has its payload summed: [`Delta`] holds what a translation changes in a checksum, is
//! worked out once when the connection is made, and costs one add a packet. The one's complement sum does not care
//! about byte order (RFC 1071 2.B), so long runs are added as native words and swapped once at the end.
//!
//! Zero has two forms, 0x0000 and 0xffff. A sum over data that is not all zero never comes out as 0x0000, so a
//! computed checksum is never 0xffff, and RFC 1624's third equation keeps it so: [`Delta::apply`] gives the very
//! bits that a full recomputation would, provided that anything in the sum is not zero (an IPv4 header has its
//! version, a pseudo header its protocol). Called on worker cores; no state.

/// A one's complement sum being made. Only the last piece of bytes may have an odd length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian 16-bit words; an odd last byte counts as the high half of a word.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, tail) = bytes.as_chunks::<8>();
        // Two 32-bit halves a step leave 31 bits of headroom: no carry to look after, and the loop vectorises.
        let mut sum = words.iter().fold(0u64, |sum, word| {
            let word = u64::from_ne_bytes(*word);
            sum + (word & 0xffff_ffff) + (word >> 32)
        });
        let (pairs, odd) = tail.as_chunks::<2>();
        sum += pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>();
        sum += odd.first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])));
        Self(self.0 + u64::from(u16::from_be(fold(sum))))
    }

    /// Adds the 12 bytes of the IPv4 pseudo header (RFC 9293 3.1, RFC 768); `len` is that of the segment.
    #[inline]
    pub fn pseudo_v4(self, src: u32, dst: u32, proto: u8, len: u16) -> Self {
        Self(self.0 + u64::from(src) + u64::from(dst) + u64::from(proto) + u64::from(len))
    }

    /// Adds the 40 bytes of the IPv6 pseudo header (RFC 8200 8.1); `len` is that of the upper-layer packet.
    #[inline]
    pub fn pseudo_v6(self, src: u128, dst: u128, proto: u8, len: u32) -> Self {
        let words = |addr: u128| {
            let (high, low) = ((addr >> 64) as u64, addr as u64);
            (high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff)
        };
        Self(self.0 + words(src) + words(dst) + u64::from(proto) + u64::from(len))
    }

    /// The sum in 16 bits.
    #[inline]
    pub fn folded(self) -> u16 {
        fold(self.0)
    }

    /// What goes into the checksum field (summed as zero).
    #[inline]
    pub fn checksum(self) -> u16 {
        !fold(self.0)
    }

    /// Whether data summed with its checksum field in it is intact.
    #[inline]
    pub fn is_valid(self) -> bool {
        fold(self.0) == 0xffff
    }
}

/// The checksum of an IPv4 header (or an ICMP message) whose checksum field is zero.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::default().bytes(bytes).checksum()
}

/// Whether bytes with their checksum field in them sum to all ones.
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    Sum::default().bytes(bytes).is_valid()
}

/// [`is_valid`] for the 20 bytes of an IPv4 header without options: five loads.
#[inline(always)]
pub fn is_valid_header(header: &[u8; 20]) -> bool {
    let (words, _) = header.as_chunks::<4>();
    fold(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()) == 0xffff
}

/// The checksum of a TCP or UDP segment whose checksum field is zero. UDP sends it through [`udp_field`].
/// A segment has at most 65,515 bytes; more cannot be in an IPv4 datagram and gives a checksum without meaning.
pub fn of_segment(src: u32, dst: u32, proto: u8, segment: &[u8]) -> u16 {
    Sum::default().pseudo_v4(src, dst, proto, segment.len() as u16).bytes(segment).checksum()
}

/// Whether a TCP or UDP segment with its checksum in it is intact (UDP's zero, "none", is the caller's to know).
pub fn is_valid_segment(src: u32, dst: u32, proto: u8, segment: &[u8]) -> bool {
    Sum::default().pseudo_v4(src, dst, proto, segment.len() as u16).bytes(segment).is_valid()
}

/// The checksum of a TCP, UDP or ICMPv6 packet over IPv6 whose checksum field is zero. UDP sends it through [`udp_field`].
pub fn of_segment_v6(src: u128, dst: u128, proto: u8, segment: &[u8]) -> u16 {
    Sum::default().pseudo_v6(src, dst, proto, segment.len() as u32).bytes(segment).checksum()
}

/// Whether a TCP, UDP or ICMPv6 packet over IPv6 with its checksum in it is intact.
pub fn is_valid_segment_v6(src: u128, dst: u128, proto: u8, segment: &[u8]) -> bool {
    Sum::default().pseudo_v6(src, dst, proto, segment.len() as u32).bytes(segment).is_valid()
}

/// What UDP sends for a computed checksum: 0xffff for 0, since 0 means "none" (RFC 768).
#[inline]
pub const fn udp_field(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// What a change of fields changes in a checksum over them: `~m + m'` of RFC 1624, for all fields together.
///
/// Two bytes, made for being stored in a connection. The field may be covered directly (IPv4 header: addresses and
/// TTL) or by the pseudo header (TCP, UDP: addresses and ports).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);
    /// The TTL less one: its word loses 0x0100. For the IPv4 header checksum.
    pub const TTL_DECREMENT: Self = Self(0xfeff);

    /// One 16-bit word, at an even place in what is summed, becomes another.
    #[inline]
    pub const fn word(old: u16, new: u16) -> Self {
        Self::fold((!old) as u32 + new as u32)
    }

    /// One address becomes another, host order.
    #[inline]
    pub const fn addr(old: u32, new: u32) -> Self {
        let old = !old;
        Self::fold((old >> 16) + (old & 0xffff) + (new >> 16) + (new & 0xffff))
    }

    /// An address and its port: what source or destination NAT does to TCP and UDP checksums.
    #[inline]
    pub const fn endpoint(old_addr: u32, new_addr: u32, old_port: u16, new_port: u16) -> Self {
        Self::addr(old_addr, new_addr).and(Self::word(old_port, new_port))
    }

    /// Both changes.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self::fold(self.0 as u32 + other.0 as u32)
    }

    /// The same change for a word that lies at an odd place in what is summed (a TCP option may).
    #[inline]
    pub const fn at_odd_offset(self) -> Self {
        Self(self.0.swap_bytes())
    }

    /// The new value of a checksum field: equation 3 of RFC 1624.
    #[inline]
    pub const fn apply(self, field: u16) -> u16 {
        !Self::fold((!field) as u32 + self.0 as u32).0
    }

    /// The new value of a UDP checksum field: 0 ("none") stays, and a result of 0 is sent as 0xffff (RFC 768).
    #[inline]
    pub const fn apply_udp(self, field: u16) -> u16 {
        if field == 0 { 0 } else { udp_field(self.apply(field)) }
    }

    /// The new value of an ICMP checksum field. No pseudo header guards an ICMP message from becoming all zeros (an
    /// echo reply, identifier 0, zero data); 0xffff instead of 0 verifies there and everywhere else.
    #[inline]
    pub const fn apply_icmp(self, field: u16) -> u16 {
        udp_field(self.apply(field))
    }

    /// The number, for keeping in a packed record.
    #[inline]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The delta with this number.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Up to four words' sum in 16 bits.
    const fn fold(sum: u32) -> Self {
        let sum = (sum >> 16) + (sum & 0xffff);
        Self(((sum >> 16) + (sum & 0xffff)) as u16)
    }
}

/// 64 bits of one's complement sum in 16.
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests;
