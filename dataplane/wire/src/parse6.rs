// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over an IPv6 frame: is it one that we handle, and where is what in it.
//!
//! The counterpart of [`mod@crate::parse`], and as strict. Checked: lengths against each other and the frame's end,
//! addresses that cannot be on a wire (RFC 4291), land, the chain of extension headers ([`crate::headers6`]), TCP flags,
//! that UDP has a checksum, ICMPv6's checksum and what its errors quote. Not checked: TCP and UDP checksums, and whether
//! the frame is for our MAC or our addresses. Any bytes at all give a result; nothing here panics.
//!
//! An ICMPv6 error in fragments is refused, since neither its checksum nor its quote could be checked. A link-local
//! source or destination is good here; that it is not forwarded is the worker's to know. Worker cores.

use crate::bytes::{be16, be128};
use crate::headers6::{self, Chain};
use crate::icmp6::Class;
use crate::ipv6::field as ip_field;
use crate::parse::{read_tcp, read_udp};
use crate::{Fragment, ParseError, TcpFlags, checksum, ethernet, icmp6, ipv6, proto, udp};

/// What an IPv6 frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind6 {
    /// A packet or a fragment of one.
    #[default]
    Packet,
    /// An ICMPv6 error; it quotes a packet at [`Parsed6::embedded`].
    IcmpError,
}

/// Who speaks to whom: host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple6 {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port; for echo see [`Class::ports`]; else 0.
    pub sport: u16,
    /// Destination port; for echo see [`Class::ports`]; else 0.
    pub dport: u16,
    /// Protocol of the upper layer.
    pub proto: u8,
}

impl Tuple6 {
    /// The answer's tuple.
    #[inline]
    pub const fn mirror(self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, proto: self.proto }
    }
}

/// What [`parse6`] found. Offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed6 {
    /// The 5-tuple; of an ICMPv6 error the outer one, with ports 0.
    pub tuple: Tuple6,
    /// Where the fixed header starts.
    pub l3: u16,
    /// Where the upper layer starts; of a later fragment, its data.
    pub l4: u16,
    /// The packet's length, fixed header included; padding may follow it in the frame.
    pub ip_len: u16,
    /// Where the fragment header starts; 0 where there is none.
    pub fragment: u16,
    /// Where the packet that an ICMPv6 error quotes starts; 0 for every other kind.
    pub embedded: u16,
    /// What the frame is.
    pub kind: Kind6,
    /// Which part of its packet it is.
    pub frag: Fragment,
    /// Hops left, as it came.
    pub hop_limit: u8,
    /// The flags, where ports of TCP are there; else none.
    pub tcp_flags: TcpFlags,
    /// ICMPv6 type, where its header is there; else 0.
    pub icmp_type: u8,
    /// ICMPv6 code, likewise.
    pub icmp_code: u8,
}

/// The packet that an ICMPv6 error quotes; offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded6 {
    /// Its 5-tuple as its sender sent it: the error's receiver is its source.
    pub tuple: Tuple6,
    /// Where its fixed header starts.
    pub l3: u16,
    /// Where its upper layer starts; at least 8 bytes of it are there.
    pub l4: u16,
    /// Its hops left when it was quoted.
    pub hop_limit: u8,
}

/// Reads a frame.
///
/// # Errors
/// `UnsupportedEthertype` for anything but IPv6, `FrameTooShort`, `UnsupportedIpVersion`, `InvalidIpLength`; then of the
/// addresses `InvalidSource`, `InvalidDestination`, `Land`; then [`headers6::walk`]'s; then the upper layer's, and last
/// `InvalidSource` for a source of `::` where only a host without an address may use it.
pub fn parse6(frame: &[u8]) -> Result<Parsed6, ParseError> {
    const L3: usize = ethernet::HEADER_LEN;
    if ethernet::Ethernet::new_checked(frame)?.ethertype() != ethernet::TYPE_IPV6 {
        return Err(ParseError::UnsupportedEthertype);
    }
    let ip = ipv6::Ipv6::new_checked(&frame[L3..])?;
    let ip_len = ip.total_len();
    if L3 + ip_len > usize::from(u16::MAX) {
        // No port takes such a frame; offsets are 16 bits wide.
        return Err(ParseError::InvalidIpLength);
    }
    let (src, dst) = (ip.src(), ip.dst());
    if !ipv6::is_host(src) && src != ipv6::UNSPECIFIED {
        return Err(ParseError::InvalidSource);
    }
    if !ipv6::is_destination(dst) {
        return Err(ParseError::InvalidDestination);
    }
    if src == dst {
        return Err(ParseError::Land);
    }
    let packet = &frame[L3..L3 + ip_len];
    let Chain { proto, end, frag, fragment } = headers6::walk(packet, false)?;
    let payload = &packet[end..];
    let mut parsed = Parsed6 {
        tuple: Tuple6 { src, dst, sport: 0, dport: 0, proto },
        l3: L3 as u16,
        l4: (L3 + end) as u16,
        ip_len: ip_len as u16,
        fragment: fragment.map_or(0, |header| (L3 + header.at) as u16),
        frag,
        hop_limit: ip.hop_limit(),
        ..Parsed6::default()
    };
    if frag != Fragment::Later {
        read_upper_layer(payload, &mut parsed)?;
    }
    if src == ipv6::UNSPECIFIED && !may_come_from_nobody(&parsed) {
        return Err(ParseError::InvalidSource);
    }
    Ok(parsed)
}

fn read_upper_layer(payload: &[u8], parsed: &mut Parsed6) -> Result<(), ParseError> {
    let tuple = &mut parsed.tuple;
    match tuple.proto {
        proto::TCP => (tuple.sport, tuple.dport, parsed.tcp_flags) = read_tcp(payload)?,
        proto::UDP => {
            (tuple.sport, tuple.dport) = read_udp(payload, parsed.frag)?;
            if be16(payload, udp::field::CHECKSUM) == 0 {
                return Err(ParseError::NoUdpChecksum);
            }
        }
        proto::ICMPV6 => return read_icmp(payload, parsed),
        _ => {}
    }
    Ok(())
}

fn read_icmp(payload: &[u8], parsed: &mut Parsed6) -> Result<(), ParseError> {
    let Some(header) = payload.first_chunk::<{ icmp6::HEADER_LEN }>() else {
        return Err(ParseError::InvalidIcmp);
    };
    let Tuple6 { src, dst, .. } = parsed.tuple;
    let whole = parsed.frag == Fragment::No;
    if whole && !checksum::is_valid_segment_v6(src, dst, proto::ICMPV6, payload) {
        return Err(ParseError::InvalidIcmp);
    }
    parsed.icmp_type = header[icmp6::field::TYPE];
    parsed.icmp_code = header[icmp6::field::CODE];
    match Class::of(parsed.icmp_type) {
        Class::Error => {
            // An error goes to whoever sent what it quotes.
            let quote = read_quote(&payload[icmp6::HEADER_LEN..]).filter(|q| q.tuple.src == dst);
            if !whole || quote.is_none() {
                return Err(ParseError::InvalidIcmp);
            }
            parsed.kind = Kind6::IcmpError;
            parsed.embedded = parsed.l4 + icmp6::HEADER_LEN as u16;
        }
        Class::EchoRequest | Class::EchoReply => {
            let ident = be16(header, icmp6::field::IDENT);
            (parsed.tuple.sport, parsed.tuple.dport) = Class::ports(parsed.icmp_type, ident);
        }
        Class::Link | Class::Other => {}
    }
    Ok(())
}

/// Whether a packet may have `::` as its source: link business, to a group.
fn may_come_from_nobody(parsed: &Parsed6) -> bool {
    parsed.tuple.proto == proto::ICMPV6
        && parsed.frag == Fragment::No
        && icmp6::may_be_unspecified(parsed.icmp_type)
        && ipv6::is_multicast(parsed.tuple.dst)
}

/// The packet that an ICMPv6 error quotes: a whole one or a first fragment between two hosts, with its chain of headers and 8
/// bytes of its upper layer here, sent by the error's receiver, and not an ICMPv6 error itself (RFC 4443 2.4).
/// What is behind those 8 bytes may be cut off.
///
/// # Errors
/// [`ParseError::InvalidIcmp`] where that is not so, or `parsed` is not of kind [`Kind6::IcmpError`] or not of this frame.
pub fn embedded6(frame: &[u8], parsed: &Parsed6) -> Result<Embedded6, ParseError> {
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let quote = match parsed.kind {
        Kind6::IcmpError => frame.get(usize::from(parsed.embedded)..end),
        Kind6::Packet => None,
    };
    let Quote { tuple, upper, hop_limit } = quote.and_then(read_quote).ok_or(ParseError::InvalidIcmp)?;
    let l3 = parsed.embedded;
    Ok(Embedded6 { tuple, l3, l4: l3 + upper as u16, hop_limit })
}

/// A quoted packet; `upper` counts from its own start.
struct Quote {
    tuple: Tuple6,
    upper: usize,
    hop_limit: u8,
}

fn read_quote(quote: &[u8]) -> Option<Quote> {
    let head = quote.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    if head[ip_field::VERSION] >> 4 != 6 {
        return None;
    }
    let len = quote.len().min(ipv6::HEADER_LEN + usize::from(be16(head, ip_field::PAYLOAD_LEN)));
    let chain = headers6::walk(&quote[..len], true).ok().filter(|chain| chain.frag != Fragment::Later)?;
    let payload = quote.get(chain.end..len)?.first_chunk::<8>()?;
    let (sport, dport) = match chain.proto {
        proto::TCP | proto::UDP => (be16(payload, 0), be16(payload, 2)),
        proto::ICMPV6 => match Class::of(payload[icmp6::field::TYPE]) {
            Class::EchoRequest | Class::EchoReply => {
                Class::ports(payload[icmp6::field::TYPE], be16(payload, icmp6::field::IDENT))
            }
            Class::Error | Class::Link | Class::Other => return None,
        },
        _ => (0, 0),
    };
    let (src, dst) = (be128(head, ip_field::SRC), be128(head, ip_field::DST));
    if !ipv6::is_host(src) || !ipv6::is_destination(dst) {
        return None;
    }
    let tuple = Tuple6 { src, dst, sport, dport, proto: chain.proto };
    Some(Quote { tuple, upper: chain.end, hop_limit: head[ip_field::HOP_LIMIT] })
}

#[cfg(test)]
mod tests;
