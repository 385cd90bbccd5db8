// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP for IPv6: kinds of message, and the errors a router sends (RFC 4443).
//!
//! As with [`crate::icmp4`] kinds matter more than types: an echo request and its reply make a connection, an error belongs
//! to the connection that it quotes, neighbour discovery ([`crate::nd`]) never leaves its link, and anything else is
//! nobody's. [`Error`] is the closed list of what the appliance itself may send; "administratively prohibited" is not on
//! it, since a firewall that explains itself helps whoever probes it. Every checksum has a pseudo header in it.
//! Used on worker cores.

use crate::bytes::{be16, put16, put32};
use crate::{checksum, proto};

/// Bytes of the header: type, code, checksum and four that each type has its own use for.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Multicast listener query (RFC 2710).
pub const MLD_QUERY: u8 = 130;
/// Multicast listener report (RFC 2710).
pub const MLD_REPORT: u8 = 131;
/// Multicast listener done (RFC 2710).
pub const MLD_DONE: u8 = 132;
/// Router solicitation (RFC 4861).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Redirect.
pub const REDIRECT: u8 = 137;
/// Multicast listener report, version 2 (RFC 3810).
pub const MLD2_REPORT: u8 = 143;

pub(crate) mod field {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const CODE: usize = 1;
    pub(crate) const CHECKSUM: usize = 2;
    pub(crate) const IDENT: usize = 4;
    pub(crate) const REST: usize = 4;
}

/// What a message of a type is to a connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asks, under its identifier.
    EchoRequest,
    /// Answers.
    EchoReply,
    /// Quotes a packet.
    Error,
    /// Of one link: neighbour discovery and multicast listeners. Never forwarded.
    Link,
    /// What is experimental, not assigned, or for others.
    Other,
}

impl Class {
    /// The class of a type.
    pub const fn of(message_type: u8) -> Self {
        match message_type {
            UNREACHABLE..=PARAMETER_PROBLEM => Self::Error,
            ECHO_REQUEST => Self::EchoRequest,
            ECHO_REPLY => Self::EchoReply,
            MLD_QUERY..=REDIRECT | MLD2_REPORT => Self::Link,
            _ => Self::Other,
        }
    }

    /// The (source, destination) "ports" of a message: the identifier on the side of whoever asks, else 0, so that a
    /// reply's tuple mirrors its request's.
    pub const fn ports(message_type: u8, ident: u16) -> (u16, u16) {
        match Self::of(message_type) {
            Self::EchoRequest => (ident, 0),
            Self::EchoReply => (0, ident),
            Self::Error | Self::Link | Self::Other => (0, 0),
        }
    }
}

/// Whether a message of this type may have no source address: what a host sends before it has one (RFC 4861 4.1 and
/// 4.3, RFC 3590).
pub(crate) const fn may_be_unspecified(message_type: u8) -> bool {
    matches!(message_type, ROUTER_SOLICITATION | NEIGHBOUR_SOLICITATION | MLD_REPORT | MLD_DONE | MLD2_REPORT)
}

/// The errors the appliance sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No route to the destination.
    NoRoute,
    /// The source's scope ends here: a link-local address (RFC 4007 section 9).
    BeyondScope,
    /// A route, but nobody answers neighbour solicitations at its end.
    AddressUnreachable,
    /// The packet is larger than the next link takes.
    PacketTooBig {
        /// Bytes of packet that would pass (RFC 8201); at least 1,280.
        mtu: u32,
    },
    /// The hop limit ran out here.
    HopLimitExceeded,
    /// Fragments of a packet for one of our own addresses did not all come in time: its receiver says so, nobody on the way.
    ReassemblyTimeExceeded,
}

impl Error {
    /// Type and code.
    pub const fn type_and_code(self) -> (u8, u8) {
        match self {
            Self::NoRoute => (UNREACHABLE, 0),
            Self::BeyondScope => (UNREACHABLE, 2),
            Self::AddressUnreachable => (UNREACHABLE, 3),
            Self::PacketTooBig { .. } => (PACKET_TOO_BIG, 0),
            Self::HopLimitExceeded => (TIME_EXCEEDED, 0),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1),
        }
    }

    /// The four bytes after the checksum, as a number.
    pub const fn rest(self) -> u32 {
        match self {
            Self::PacketTooBig { mtu } => mtu,
            Self::NoRoute
            | Self::BeyondScope
            | Self::AddressUnreachable
            | Self::HopLimitExceeded
            | Self::ReassemblyTimeExceeded => 0,
        }
    }
}

/// Sets the type and mends the checksum. Panics under 8 bytes: [`crate::emit6`] checks.
pub(crate) fn make_echo_reply(message: &mut [u8], src: u128, dst: u128) {
    message[field::TYPE] = ECHO_REPLY;
    fill_checksum(message, src, dst);
}

/// The same for the first part of one, of which the rest is not here: the checksum is updated. Its pseudo header has the same
/// sum when source and destination change places. Panics under 8 bytes: likewise.
pub(crate) fn turn_into_echo_reply(message: &mut [u8]) {
    let old = be16(message, field::TYPE);
    message[field::TYPE] = ECHO_REPLY;
    let changed = checksum::Delta::word(old, be16(message, field::TYPE));
    let sum = changed.apply_icmp(be16(message, field::CHECKSUM));
    put16(message, field::CHECKSUM, sum);
}

/// Writes an error that quotes `quote` into `out`, which is 8 bytes longer: [`crate::emit6`] sees to it.
pub(crate) fn write_error(out: &mut [u8], error: Error, quote: &[u8], src: u128, dst: u128) {
    (out[field::TYPE], out[field::CODE]) = error.type_and_code();
    put32(out, field::REST, error.rest());
    out[HEADER_LEN..].copy_from_slice(quote);
    fill_checksum(out, src, dst);
}

/// Computes the checksum of a whole message between these addresses. Panics under 4 bytes.
pub(crate) fn fill_checksum(message: &mut [u8], src: u128, dst: u128) {
    put16(message, field::CHECKSUM, 0);
    let sum = checksum::of_segment_v6(src, dst, proto::ICMPV6, message);
    put16(message, field::CHECKSUM, sum);
}
