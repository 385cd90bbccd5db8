// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chain of IPv6 extension headers: walked once, with every length held against the packet's end.
//!
//! What is stepped over: hop-by-hop options (first or not at all), destination options (twice at most), a routing header
//! whose route is at its end, one fragment header (RFC 8200 section 4). Each other kind may come once, so five headers
//! are the most there can be and the walk needs no count. The first header of any other number is the upper
//! layer's; AH and ESP are such, as they are to the IPv4 parser: a rule names them by their protocol number.
//!
//! What is refused: source routes, that is types 0 and 1 (RFC 5095, RFC 5871) and any type with segments left, since
//! rules would judge a destination that is not the last one; a chain that its first fragment does not hold whole (RFC 7112);
//! options that run over their header, jumbograms, and hop-by-hop options that say of themselves that
//! who does not know them must discard the packet (RFC 8200 4.2). Slow path of the worker cores; no state.

use crate::bytes::{be16, be32};
use crate::{Fragment, ParseError, ipv6, proto, tcp};

/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;

const OPTION_PAD1: u8 = 0;
const OPTION_JUMBO: u8 = 0xc2;
/// The two bits that say what who does not know an option is to do: 0 to step over it.
const OPTION_ACTION: u8 = 0xc0;

/// What a fragment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Bytes from the start of the packet to it.
    pub at: usize,
    /// Where this part starts in the whole, bytes.
    pub offset: usize,
    /// More parts follow this one.
    pub more: bool,
    /// What the parts of one packet have in common.
    pub ident: u32,
}

impl FragmentHeader {
    /// The one at byte `at` of a packet, or None where it does not end before the packet does.
    pub fn read(packet: &[u8], at: usize) -> Option<Self> {
        let header = packet.get(at..)?.first_chunk::<FRAGMENT_HEADER_LEN>()?;
        let word = be16(header, 2);
        Some(Self { at, offset: usize::from(word & 0xfff8), more: word & 1 != 0, ident: be32(header, 4) })
    }
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Protocol of the upper layer; of a later fragment, what its fragment header names.
    pub proto: u8,
    /// Bytes from the start of the packet to the upper layer's header, or to a later fragment's data.
    pub end: usize,
    /// Which part of its packet this is. Alone in its fragment header ("atomic", RFC 6946) is whole.
    pub frag: Fragment,
    /// The fragment header, if there is one.
    pub fragment: Option<FragmentHeader>,
}

/// Walks the chain of `packet`: from its fixed header to its end, which of a `quoted` one may be cut off.
///
/// # Errors
/// [`ParseError::InvalidExtensionHeader`], [`ParseError::RoutingHeader`], [`ParseError::InvalidFragment`] by the rules above;
/// the first two also where the fixed header is not there.
pub fn walk(packet: &[u8], quoted: bool) -> Result<Chain, ParseError> {
    const BAD: ParseError = ParseError::InvalidExtensionHeader;
    let mut next = *packet.get(ipv6::field::NEXT).ok_or(BAD)?;
    let mut end = ipv6::HEADER_LEN;
    let (mut destination_options, mut routing, mut fragment) = (0, false, None);
    loop {
        let first = end == ipv6::HEADER_LEN;
        let rest = packet.get(end..).ok_or(BAD)?;
        match next {
            proto::HOP_BY_HOP if first => {
                let header = optioned(rest).ok_or(BAD)?;
                are_options(&header[2..], true).then_some(()).ok_or(BAD)?;
                (next, end) = (header[0], end + header.len());
            }
            proto::DESTINATION_OPTIONS if destination_options < 2 => {
                let header = optioned(rest).ok_or(BAD)?;
                are_options(&header[2..], false).then_some(()).ok_or(BAD)?;
                destination_options += 1;
                (next, end) = (header[0], end + header.len());
            }
            proto::ROUTING if !routing && fragment.is_none() => {
                let header = optioned(rest).ok_or(BAD)?;
                let (kind, segments_left) = (header[2], header[3]);
                if matches!(kind, 0 | 1) || segments_left > 0 {
                    return Err(ParseError::RoutingHeader);
                }
                routing = true;
                (next, end) = (header[0], end + header.len());
            }
            proto::FRAGMENT if fragment.is_none() => {
                let found = FragmentHeader::read(packet, end).ok_or(BAD)?;
                fragment = Some(found);
                (next, end) = (rest[0], end + FRAGMENT_HEADER_LEN);
                if found.offset > 0 {
                    is_possible(packet, &found, next, quoted)
                        .then_some(())
                        .ok_or(ParseError::InvalidFragment)?;
                    return Ok(Chain { proto: next, end, frag: Fragment::Later, fragment });
                }
            }
            proto::HOP_BY_HOP | proto::DESTINATION_OPTIONS | proto::ROUTING | proto::FRAGMENT => {
                return Err(BAD);
            }
            proto => {
                let frag = match &fragment {
                    Some(found) if found.more => {
                        is_possible(packet, found, proto, quoted)
                            .then_some(())
                            .ok_or(ParseError::InvalidFragment)?;
                        Fragment::First
                    }
                    Some(_) | None => Fragment::No,
                };
                return Ok(Chain { proto, end, frag, fragment });
            }
        }
    }
}

/// A header that has its own length in its second byte, in units of 8 bytes after the first 8.
fn optioned(rest: &[u8]) -> Option<&[u8]> {
    rest.get(..(usize::from(*rest.get(1)?) + 1) * 8)
}

/// Whether options fill their room exactly, none is a jumbogram's, and those for every hop may be passed over.
fn are_options(mut rest: &[u8], every_hop: bool) -> bool {
    while let [kind, tail @ ..] = rest {
        if *kind == OPTION_PAD1 {
            rest = tail;
            continue;
        }
        let [len, data @ ..] = tail else { return false };
        if *kind == OPTION_JUMBO || (every_hop && kind & OPTION_ACTION != 0) {
            return false;
        }
        let Some(after) = data.get(usize::from(*len)..) else { return false };
        rest = after;
    }
    true
}

/// Whether a sender can have made this fragment: it holds something, ends on 8 bytes unless it is the last, does not go
/// past the longest packet there is, and does not lie over a TCP header, which the first one holds (RFC 7112).
fn is_possible(packet: &[u8], fragment: &FragmentHeader, next: u8, quoted: bool) -> bool {
    let data = packet.len() - (fragment.at + FRAGMENT_HEADER_LEN);
    let payload = fragment.at - ipv6::HEADER_LEN + fragment.offset + data;
    let overwrites_header = next == proto::TCP && fragment.offset > 0 && fragment.offset < tcp::HEADER_LEN;
    (quoted || (data > 0 && (!fragment.more || data.is_multiple_of(8))))
        && payload <= usize::from(u16::MAX)
        && !overwrites_header
}

#[cfg(test)]
mod tests;
