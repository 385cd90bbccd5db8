// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery (RFC 4861): what a solicitation or an advertisement says, if it may be believed at all.
//!
//! A [`Message`] exists only for what sections 7.1.1 and 7.1.2 let through: hop limit 255 (so that it comes from this
//! link), code 0, a target that is one host, options that fit, and for a probe of a host without an address its
//! special form. One with a fragment header is discarded (RFC 6980), and a station address in it must be one station's.
//! Router and prefix discovery and redirects are for hosts, which the appliance is not: [`read`] gives none.
//! What may be learned from a message is the neighbour table's to decide. Slow path of the worker cores.

use crate::bytes::be128;
use crate::{MacAddr, ParseError, Parsed6, icmp6, ipv6, proto};

/// Hop limit that proves a message to be from its own link.
pub const HOP_LIMIT: u8 = 255;
/// Bytes of a solicitation or an advertisement without options.
pub const LEN: usize = 24;
/// Bytes of a link-layer address option for Ethernet.
pub const OPTION_LEN: usize = 8;

pub(crate) const OPTION_SOURCE: u8 = 1;
pub(crate) const OPTION_TARGET: u8 = 2;

pub(crate) mod field {
    pub(crate) const FLAGS: usize = 4;
    pub(crate) const TARGET: usize = 8;
}

/// The flags of an advertisement (RFC 4861 4.4).
pub mod flag {
    /// The sender is a router.
    pub const ROUTER: u8 = 0x80;
    /// It answers a solicitation.
    pub const SOLICITED: u8 = 0x40;
    /// The station address is to take the place of what is known.
    pub const OVERRIDE: u8 = 0x20;
}

/// What a neighbour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has `target`?
    Solicitation {
        /// The address asked about.
        target: u128,
        /// Who asks; [`ipv6::UNSPECIFIED`] in duplicate address detection (RFC 4862 5.4).
        from: u128,
        /// The station that asks; never there in duplicate address detection.
        mac: Option<MacAddr>,
    },
    /// `target` is here.
    Advertisement {
        /// The address that is spoken of.
        target: u128,
        /// The station that has it, where the message names it.
        mac: Option<MacAddr>,
        /// Bits of [`flag`].
        flags: u8,
    },
}

/// Whether the frame is a neighbour solicitation or advertisement, good or bad.
pub fn is_message(parsed: &Parsed6) -> bool {
    parsed.tuple.proto == proto::ICMPV6
        && matches!(parsed.icmp_type, icmp6::NEIGHBOUR_SOLICITATION | icmp6::NEIGHBOUR_ADVERTISEMENT)
}

/// Reads the message in `frame`, whose checksum [`mod@crate::parse6`] found right.
///
/// # Errors
/// [`ParseError::InvalidNd`] where the module's rules are not met, [`is_message`] is not true, or `parsed` is not of this frame.
pub fn read(frame: &[u8], parsed: &Parsed6) -> Result<Message, ParseError> {
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let message = frame.get(usize::from(parsed.l4)..end).and_then(|bytes| bytes.split_at_checked(LEN));
    let Some((head, options)) = message.filter(|_| is_message(parsed)) else {
        return Err(ParseError::InvalidNd);
    };
    let (src, dst) = (parsed.tuple.src, parsed.tuple.dst);
    let target = be128(head, field::TARGET);
    let flags = head[field::FLAGS];
    let solicits = parsed.icmp_type == icmp6::NEIGHBOUR_SOLICITATION;
    let mac = station(options, if solicits { OPTION_SOURCE } else { OPTION_TARGET });
    let possible = parsed.hop_limit == HOP_LIMIT
        && parsed.icmp_code == 0
        && parsed.fragment == 0
        && ipv6::is_host(target)
        && if solicits {
            src != ipv6::UNSPECIFIED || (dst == ipv6::solicited_node(target) && mac == Ok(None))
        } else {
            src != ipv6::UNSPECIFIED && !(ipv6::is_multicast(dst) && flags & flag::SOLICITED != 0)
        };
    match mac {
        Ok(mac) if possible && solicits => Ok(Message::Solicitation { target, from: src, mac }),
        Ok(mac) if possible => Ok(Message::Advertisement { target, mac, flags }),
        Ok(_) | Err(_) => Err(ParseError::InvalidNd),
    }
}

/// The station in the first option of this kind; the other options are stepped over.
fn station(mut options: &[u8], kind: u8) -> Result<Option<MacAddr>, ParseError> {
    let mut found = None;
    while let [this, units, ..] = options {
        let len = usize::from(*units) * 8;
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len > 0) else {
            return Err(ParseError::InvalidNd);
        };
        if *this == kind && found.is_none() {
            let mac = MacAddr::read(option, 2);
            if len != OPTION_LEN || !mac.is_unicast() {
                return Err(ParseError::InvalidNd);
            }
            found = Some(mac);
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(ParseError::InvalidNd) }
}

#[cfg(test)]
mod tests;
