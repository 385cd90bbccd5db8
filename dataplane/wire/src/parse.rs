// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over a frame: is it one that we handle, and where is what in it.
//!
//! Every frame from a port comes through [`parse`] on its worker core. The common frame (IPv4 without options, whole,
//! TCP or UDP) takes a straight line of predictable tests on its first 54 bytes; everything else leaves it
//! early into cold functions. Any bytes at all give a result; nothing here panics.
//!
//! Checked: lengths against each other and the frame's end, IPv4 header checksum, addresses that cannot be,
//! land, impossible fragments, TCP flags, ICMP checksum and what an ICMP error quotes. Not checked: TCP and UDP
//! checksums ([`verify_l4`], for what ends here), and whether the frame is for our MAC or our addresses.
//!
//! ICMP queries have "ports" by [`Class::ports`]: the identifier is the source port of a request and
//! the destination port of its reply, so that the two tuples mirror each other. An ICMP error in fragments is
//! refused: its checksum and its quote could not be checked, and none needs more than 576 bytes.

use crate::bytes::{be16, be32};
use crate::icmp4::Class;
use crate::ipv4::field as ip_field;
use crate::tcp::field as tcp_field;
use crate::udp::field as udp_field;
use crate::{Arp, ParseError, TcpFlags, checksum, ethernet, icmp4, ipv4, proto, tcp, udp};

/// What a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// ARP; only [`Parsed::l3`] counts.
    Arp,
    /// IPv6, for [`crate::parse6()`]; only [`Parsed::l3`] counts.
    Ipv6,
    /// An IPv4 datagram or a fragment of one.
    #[default]
    Ipv4,
    /// An ICMP error; it quotes a datagram at [`Parsed::embedded`].
    IcmpError,
}

/// Which part of its datagram a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    #[default]
    No,
    /// The first part, with ports.
    First,
    /// A later part, without ports.
    Later,
}

/// Who speaks to whom: host order. 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port; for ICMP queries see [`Class::ports`]; else 0.
    pub sport: u16,
    /// Destination port; for ICMP queries see [`Class::ports`]; else 0.
    pub dport: u16,
    /// IP protocol.
    pub proto: u8,
}

impl Tuple {
    /// The answer's tuple.
    #[inline]
    pub const fn mirror(self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, proto: self.proto }
    }
}

/// What [`parse`] found. Offsets are bytes from the start of the frame. 32 bytes: two to a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Parsed {
    /// The 5-tuple; of an ICMP error the outer one, with ports 0.
    pub tuple: Tuple,
    /// Where the IPv4 header or the ARP message starts.
    pub l3: u16,
    /// Where the IPv4 payload starts.
    pub l4: u16,
    /// The datagram's length, header included; padding may follow it in the frame.
    pub ip_len: u16,
    /// Where the datagram that an ICMP error quotes starts; 0 for every other kind.
    pub embedded: u16,
    /// What the frame is.
    pub kind: Kind,
    /// Which part of its datagram it is.
    pub frag: Fragment,
    /// Hops left, as it came.
    pub ttl: u8,
    /// The sender forbids fragmentation.
    pub dont_fragment: bool,
    /// There are IPv4 options, none but padding and router alert.
    pub has_options: bool,
    /// The flags, where ports of TCP are there; else none.
    pub tcp_flags: TcpFlags,
    /// ICMP type, where an ICMP header is there; else 0.
    pub icmp_type: u8,
    /// ICMP code, likewise.
    pub icmp_code: u8,
}
const _: () = assert!(size_of::<Parsed>() == 32);

/// The datagram that an ICMP error quotes; offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Its 5-tuple as its sender sent it (as far as it came: the error's receiver is its source).
    pub tuple: Tuple,
    /// Where its IPv4 header starts.
    pub l3: u16,
    /// Where its payload starts; at least 8 bytes of it are there, for TCP no more need be.
    pub l4: u16,
    /// Where the quote ends in the frame.
    pub end: u16,
}

/// Reads a frame.
///
/// # Errors
/// The first of [`ParseError`]'s variants, in their order, that is true of the frame.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, ParseError> {
    let mut parsed = Parsed::default();
    parse_into(frame, &mut parsed)?;
    Ok(parsed)
}

/// [`parse`] for a burst: writes what it found to where it is to stay. After an error `found` holds nothing of use.
///
/// # Errors
/// As [`parse`].
#[inline]
pub fn parse_into(frame: &[u8], found: &mut Parsed) -> Result<(), ParseError> {
    const L3: usize = ipv4::IN_FRAME;
    let Some(head) = frame.first_chunk::<{ L3 + ipv4::HEADER_LEN }>() else { return not_plain(frame, found) };
    if be16(head, 12) != ethernet::TYPE_IPV4 {
        return not_plain(frame, found);
    }
    let Some(ip) = head.last_chunk::<{ ipv4::HEADER_LEN }>() else { return Err(ParseError::FrameTooShort) };

    let has_options = ip[ip_field::VERSION_IHL] != 0x45;
    let header_len = if has_options { optioned_header_len(&frame[L3..])? } else { ipv4::HEADER_LEN };
    let ip_len = be16(ip, ip_field::TOTAL_LEN);
    let Some(payload) = frame[L3..].get(header_len..usize::from(ip_len)) else {
        return Err(ParseError::InvalidIpLength);
    };
    let intact = if has_options {
        checksum::is_valid(&frame[L3..L3 + header_len])
    } else {
        checksum::is_valid_header(ip)
    };
    if !intact {
        return Err(ParseError::InvalidIpChecksum);
    }
    if has_options && !are_harmless(&frame[L3 + ipv4::HEADER_LEN..L3 + header_len]) {
        return Err(ParseError::InvalidIpOption);
    }

    let (src, dst) = (be32(ip, ip_field::SRC), be32(ip, ip_field::DST));
    if !ipv4::is_host(src) {
        return Err(ParseError::InvalidSource);
    }
    if !ipv4::is_destination(dst) {
        return Err(ParseError::InvalidDestination);
    }
    if src == dst {
        return Err(ParseError::Land);
    }

    let proto = ip[ip_field::PROTOCOL];
    let fragment_word = be16(ip, ip_field::FRAGMENT);
    let mut frag = Fragment::No;
    if fragment_word & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0 {
        frag = check_fragment(fragment_word, header_len, payload, proto)?;
    }
    let (sport, dport, tcp_flags) = match proto {
        _ if frag == Fragment::Later => (0, 0, TcpFlags::default()),
        proto::TCP => read_tcp(payload)?,
        proto::UDP => {
            let (sport, dport) = read_udp(payload, frag)?;
            (sport, dport, TcpFlags::default())
        }
        _ => (0, 0, TcpFlags::default()),
    };
    *found = Parsed {
        tuple: Tuple { src, dst, sport, dport, proto },
        l3: L3 as u16,
        l4: (L3 + header_len) as u16,
        ip_len,
        embedded: 0,
        kind: Kind::Ipv4,
        frag,
        ttl: ip[ip_field::TTL],
        dont_fragment: fragment_word & ipv4::DONT_FRAGMENT != 0,
        has_options,
        tcp_flags,
        icmp_type: 0,
        icmp_code: 0,
    };
    if proto == proto::ICMP && frag != Fragment::Later { read_icmp(payload, found) } else { Ok(()) }
}

#[inline(always)]
pub(crate) fn read_tcp(payload: &[u8]) -> Result<(u16, u16, TcpFlags), ParseError> {
    let Some(header) = payload.first_chunk::<{ tcp::HEADER_LEN }>() else {
        return Err(ParseError::InvalidTcpHeaderLength);
    };
    let header_len = usize::from(header[tcp_field::DATA_OFFSET] >> 4) * 4;
    if header_len < tcp::HEADER_LEN || header_len > payload.len() {
        return Err(ParseError::InvalidTcpHeaderLength);
    }
    let flags = TcpFlags(header[tcp_field::FLAGS]);
    if !flags.is_legal() {
        return Err(ParseError::BadTcpFlags);
    }
    Ok((be16(header, tcp_field::SRC_PORT), be16(header, tcp_field::DST_PORT), flags))
}

#[inline(always)]
pub(crate) fn read_udp(payload: &[u8], frag: Fragment) -> Result<(u16, u16), ParseError> {
    let Some(header) = payload.first_chunk::<{ udp::HEADER_LEN }>() else {
        return Err(ParseError::InvalidUdpLength);
    };
    let len = usize::from(be16(header, udp_field::LENGTH));
    // The length counts the whole datagram, of which a first fragment holds only a part.
    if len < udp::HEADER_LEN || (len > payload.len() && frag == Fragment::No) {
        return Err(ParseError::InvalidUdpLength);
    }
    Ok((be16(header, udp_field::SRC_PORT), be16(header, udp_field::DST_PORT)))
}

#[cold]
fn read_icmp(payload: &[u8], parsed: &mut Parsed) -> Result<(), ParseError> {
    let Some(header) = payload.first_chunk::<{ icmp4::HEADER_LEN }>() else {
        return Err(ParseError::InvalidIcmp);
    };
    let whole = parsed.frag == Fragment::No;
    if whole && !checksum::is_valid(payload) {
        return Err(ParseError::InvalidIcmp);
    }
    parsed.icmp_type = header[icmp4::field::TYPE];
    parsed.icmp_code = header[icmp4::field::CODE];
    match Class::of(parsed.icmp_type) {
        Class::Error if !whole || read_quote(&payload[icmp4::HEADER_LEN..]).is_none() => {
            return Err(ParseError::InvalidIcmp);
        }
        Class::Error => {
            parsed.kind = Kind::IcmpError;
            parsed.embedded = parsed.l4 + icmp4::HEADER_LEN as u16;
        }
        Class::Request { .. } | Class::Reply { .. } => {
            let ident = be16(header, icmp4::field::IDENT);
            (parsed.tuple.sport, parsed.tuple.dport) = Class::ports(parsed.icmp_type, ident);
        }
        Class::Other => {}
    }
    Ok(())
}

/// The datagram that an ICMP error quotes. Its header checksum must be right (RFC 5508 REQ-3), it must be a whole
/// datagram or a first fragment with 8 bytes of payload here, and not an ICMP error itself (RFC 1122 3.2.2).
/// Its total length is what it was at its sender and may go past the quote; its options are stepped over.
///
/// # Errors
/// [`ParseError::InvalidIcmp`] where that is not so, or `parsed` is not of kind [`Kind::IcmpError`] or not of this frame.
#[cold]
pub fn embedded(frame: &[u8], parsed: &Parsed) -> Result<Embedded, ParseError> {
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let quote = match parsed.kind {
        Kind::IcmpError => frame.get(usize::from(parsed.embedded)..end),
        Kind::Arp | Kind::Ipv6 | Kind::Ipv4 => None,
    };
    let Quote { tuple, header_len, len } = quote.and_then(read_quote).ok_or(ParseError::InvalidIcmp)?;
    let l3 = parsed.embedded;
    Ok(Embedded { tuple, l3, l4: l3 + header_len as u16, end: l3 + len as u16 })
}

/// A quoted datagram, its lengths counted from its own start.
struct Quote {
    tuple: Tuple,
    header_len: usize,
    len: usize,
}

fn read_quote(quote: &[u8]) -> Option<Quote> {
    let ip = quote.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let header_len = usize::from(ip[ip_field::VERSION_IHL] & 0xf) * 4;
    if ip[ip_field::VERSION_IHL] >> 4 != 4 || header_len < ipv4::HEADER_LEN {
        return None;
    }
    if !checksum::is_valid(quote.get(..header_len)?) || be16(ip, ip_field::FRAGMENT) & ipv4::OFFSET_MASK != 0
    {
        return None;
    }
    let len = quote.len().min(usize::from(be16(ip, ip_field::TOTAL_LEN)));
    let payload = quote.get(header_len..len)?.first_chunk::<8>()?;
    let proto = ip[ip_field::PROTOCOL];
    let (sport, dport) = match proto {
        proto::TCP | proto::UDP => (be16(payload, 0), be16(payload, 2)),
        proto::ICMP => match Class::of(payload[icmp4::field::TYPE]) {
            Class::Request { .. } | Class::Reply { .. } => {
                Class::ports(payload[icmp4::field::TYPE], be16(payload, icmp4::field::IDENT))
            }
            Class::Error | Class::Other => return None,
        },
        _ => (0, 0),
    };
    let tuple = Tuple { src: be32(ip, ip_field::SRC), dst: be32(ip, ip_field::DST), sport, dport, proto };
    Some(Quote { tuple, header_len, len })
}

/// Whether the TCP or UDP checksum is right, for segments that end in the appliance. What cannot be judged is
/// true: other protocols, fragments, UDP without a checksum. ICMP was verified by [`parse`]. False where
/// `parsed` is not of this frame.
pub fn verify_l4(frame: &[u8], parsed: &Parsed) -> bool {
    if parsed.kind != Kind::Ipv4 || parsed.frag != Fragment::No {
        return true;
    }
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let Some(payload) = frame.get(usize::from(parsed.l4)..end) else { return false };
    let Tuple { src, dst, proto, .. } = parsed.tuple;
    match proto {
        proto::TCP => checksum::is_valid_segment(src, dst, proto, payload),
        proto::UDP => {
            let Some(header) = payload.first_chunk::<{ udp::HEADER_LEN }>() else { return false };
            let Some(segment) = payload.get(..usize::from(be16(header, udp_field::LENGTH))) else {
                return false;
            };
            be16(header, udp_field::CHECKSUM) == 0 || checksum::is_valid_segment(src, dst, proto, segment)
        }
        _ => true,
    }
}

/// A frame that is not IPv4, or too short to be. IPv6 is told from the rest here, and read by its own parser.
#[cold]
fn not_plain(frame: &[u8], found: &mut Parsed) -> Result<(), ParseError> {
    match ethernet::Ethernet::new_checked(frame)?.ethertype() {
        ethernet::TYPE_IPV4 => Err(ParseError::FrameTooShort),
        ethernet::TYPE_ARP => {
            Arp::new_checked(&frame[ethernet::HEADER_LEN..])?;
            *found = Parsed { l3: ethernet::HEADER_LEN as u16, kind: Kind::Arp, ..Parsed::default() };
            Ok(())
        }
        ethernet::TYPE_IPV6 => {
            *found = Parsed { l3: ethernet::HEADER_LEN as u16, kind: Kind::Ipv6, ..Parsed::default() };
            Ok(())
        }
        _ => Err(ParseError::UnsupportedEthertype),
    }
}

/// The header length where the first byte is not that of a plain header.
#[cold]
fn optioned_header_len(datagram: &[u8]) -> Result<usize, ParseError> {
    let first = datagram[ip_field::VERSION_IHL];
    let header_len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 {
        Err(ParseError::UnsupportedIpVersion)
    } else if header_len < ipv4::HEADER_LEN || header_len > datagram.len() {
        Err(ParseError::InvalidIpHeader)
    } else {
        Ok(header_len)
    }
}

/// Whether there is nothing among IPv4 options but padding and router alert (RFC 2113): what the ASA lets through by default.
/// Source routes and whatever records the way are not for a firewall to serve (RFC 7126).
#[cold]
fn are_harmless(mut options: &[u8]) -> bool {
    loop {
        options = match options {
            [] | [ipv4::OPTION_END, ..] => return true,
            [ipv4::OPTION_NOP, rest @ ..] | [ipv4::OPTION_ROUTER_ALERT, 4, _, _, rest @ ..] => rest,
            _ => return false,
        }
    }
}

/// Which fragment this is, if it can be one.
#[cold]
fn check_fragment(word: u16, header_len: usize, payload: &[u8], proto: u8) -> Result<Fragment, ParseError> {
    let payload_len = payload.len();
    let offset = usize::from(word & ipv4::OFFSET_MASK) * 8;
    let more = word & ipv4::MORE_FRAGMENTS != 0;
    let overwrites_flags = proto == proto::TCP && offset == 8;
    let tiny_head = offset == 0 && payload_len < l4_header_len(payload, proto);
    if payload_len == 0
        || (more && !payload_len.is_multiple_of(8))
        || header_len + offset + payload_len > usize::from(u16::MAX)
        || overwrites_flags
        || tiny_head
    {
        return Err(ParseError::InvalidFragment);
    }
    Ok(if offset == 0 { Fragment::First } else { Fragment::Later })
}

/// Bytes of the header that a first fragment must hold all of, as far as the header says.
fn l4_header_len(payload: &[u8], proto: u8) -> usize {
    match proto {
        proto::TCP => {
            let said = payload.get(tcp_field::DATA_OFFSET).map_or(0, |b| usize::from(b >> 4) * 4);
            said.max(tcp::HEADER_LEN)
        }
        proto::UDP => udp::HEADER_LEN,
        proto::ICMP => icmp4::HEADER_LEN,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
