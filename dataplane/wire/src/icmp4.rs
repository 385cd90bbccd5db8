// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP for IPv4: message view, kinds of message, and the errors a router sends (RFC 792, RFC 1812 4.3).
//!
//! Kinds matter more than types here: a query and its reply make a connection, an error belongs to the connection
//! that it quotes, and anything else is nobody's. [`Error`] is the closed list of what the appliance itself may
//! send; "administratively prohibited" is not on it, since a firewall that explains itself helps whoever probes it.
//! Used on worker cores.

use crate::bytes::{be16, be32, put16, put32};
use crate::{ParseError, checksum};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (RFC 6633: to be ignored).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;
/// Information request (RFC 792, obsolete).
pub const INFORMATION: u8 = 15;
/// Information reply.
pub const INFORMATION_REPLY: u8 = 16;
/// Address mask request (RFC 950, obsolete).
pub const ADDRESS_MASK: u8 = 17;
/// Address mask reply.
pub const ADDRESS_MASK_REPLY: u8 = 18;

/// "Fragmentation needed and DF set" under [`UNREACHABLE`].
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;

pub(crate) mod field {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const CODE: usize = 1;
    pub(crate) const CHECKSUM: usize = 2;
    pub(crate) const IDENT: usize = 4;
    pub(crate) const SEQ: usize = 6;
    pub(crate) const REST: usize = 4;
}

/// What a message of a type is to a connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Starts an exchange under its identifier; `reply` is the type that answers it.
    Request {
        /// Type of the answer.
        reply: u8,
    },
    /// Answers one; `request` is the type that asked.
    Reply {
        /// Type of the question.
        request: u8,
    },
    /// Quotes a datagram.
    Error,
    /// Router discovery, what is experimental or not assigned.
    Other,
}

impl Class {
    /// The class of a type.
    pub const fn of(message_type: u8) -> Self {
        match message_type {
            ECHO_REQUEST => Self::Request { reply: ECHO_REPLY },
            ECHO_REPLY => Self::Reply { request: ECHO_REQUEST },
            TIMESTAMP | INFORMATION | ADDRESS_MASK => Self::Request { reply: message_type + 1 },
            TIMESTAMP_REPLY | INFORMATION_REPLY | ADDRESS_MASK_REPLY => {
                Self::Reply { request: message_type - 1 }
            }
            UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM => Self::Error,
            _ => Self::Other,
        }
    }

    /// The (source, destination) "ports" of a message: its identifier on the side of whoever asks, and on the
    /// other side 0 for echo or the request's type for the rest, so that a reply's tuple mirrors its request's
    /// and two kinds of query with one identifier do not meet. Zeros where there is no identifier.
    pub const fn ports(message_type: u8, ident: u16) -> (u16, u16) {
        match Self::of(message_type) {
            Self::Request { .. } => (ident, query_port(message_type)),
            Self::Reply { request } => (query_port(request), ident),
            Self::Error | Self::Other => (0, 0),
        }
    }
}

const fn query_port(request: u8) -> u16 {
    if request == ECHO_REQUEST { 0 } else { request as u16 }
}

/// The errors the appliance sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No route to the destination.
    NetUnreachable,
    /// A route, but nobody answers ARP at its end.
    HostUnreachable,
    /// DF is set and the datagram is larger than the next link takes.
    FragmentationNeeded {
        /// Bytes of IP datagram that would pass (RFC 1191).
        mtu: u16,
    },
    /// The TTL ran out here.
    TtlExceeded,
    /// Some fragments of it did not come in time (RFC 792, RFC 1122 3.3.2).
    ReassemblyTimeExceeded,
}

impl Error {
    /// Type and code.
    pub const fn type_and_code(self) -> (u8, u8) {
        match self {
            Self::NetUnreachable => (UNREACHABLE, 0),
            Self::HostUnreachable => (UNREACHABLE, 1),
            Self::FragmentationNeeded { .. } => (UNREACHABLE, CODE_FRAGMENTATION_NEEDED),
            Self::TtlExceeded => (TIME_EXCEEDED, 0),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1),
        }
    }

    /// The four bytes after the checksum, as a number.
    pub const fn rest(self) -> u32 {
        match self {
            Self::FragmentationNeeded { mtu } => mtu as u32,
            Self::NetUnreachable
            | Self::HostUnreachable
            | Self::TtlExceeded
            | Self::ReassemblyTimeExceeded => 0,
        }
    }
}

/// Turns an echo request into its reply. Panics under 8 bytes: [`crate::emit`] checks.
pub(crate) fn make_echo_reply(message: &mut [u8]) {
    message[field::TYPE] = ECHO_REPLY;
    fill_checksum(message);
}

/// The same for the first part of one, of which the rest is not here: the checksum is updated. Panics under 8 bytes: likewise.
pub(crate) fn turn_into_echo_reply(message: &mut [u8]) {
    let old = be16(message, field::TYPE);
    message[field::TYPE] = ECHO_REPLY;
    let changed = checksum::Delta::word(old, be16(message, field::TYPE));
    let sum = changed.apply_icmp(be16(message, field::CHECKSUM));
    put16(message, field::CHECKSUM, sum);
}

/// Writes an error that quotes `quote` into `out`, which is 8 bytes longer: [`crate::emit`] sees to it.
pub(crate) fn write_error(out: &mut [u8], error: Error, quote: &[u8]) {
    (out[field::TYPE], out[field::CODE]) = error.type_and_code();
    put32(out, field::REST, error.rest());
    out[HEADER_LEN..].copy_from_slice(quote);
    fill_checksum(out);
}

fn fill_checksum(message: &mut [u8]) {
    put16(message, field::CHECKSUM, 0);
    let sum = checksum::of(message);
    put16(message, field::CHECKSUM, sum);
}

/// An ICMP message whose 8 header bytes are there.
#[derive(Clone, Copy, Debug)]
pub struct Icmp4<T>(T);

impl<T: AsRef<[u8]>> Icmp4<T> {
    /// Takes an IP payload. The checksum is not looked at: [`crate::parse::parse`] did.
    ///
    /// # Errors
    /// [`ParseError::InvalidIcmp`] under 8 bytes.
    #[inline]
    pub fn new_checked(payload: T) -> Result<Self, ParseError> {
        if payload.as_ref().len() < HEADER_LEN { Err(ParseError::InvalidIcmp) } else { Ok(Self(payload)) }
    }

    /// Type.
    #[inline]
    pub fn message_type(&self) -> u8 {
        self.0.as_ref()[field::TYPE]
    }

    /// Code.
    #[inline]
    pub fn code(&self) -> u8 {
        self.0.as_ref()[field::CODE]
    }

    /// The checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM)
    }

    /// A query's identifier.
    #[inline]
    pub fn ident(&self) -> u16 {
        be16(self.0.as_ref(), field::IDENT)
    }

    /// A query's sequence number.
    #[inline]
    pub fn seq(&self) -> u16 {
        be16(self.0.as_ref(), field::SEQ)
    }

    /// The four bytes after the checksum as a number; the MTU is the low half of it (RFC 1191).
    #[inline]
    pub fn rest(&self) -> u32 {
        be32(self.0.as_ref(), field::REST)
    }

    /// What follows the header: a query's data, or the datagram that an error quotes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmp4<T> {
    /// Sets the type.
    #[inline]
    pub fn set_message_type(&mut self, message_type: u8) {
        self.0.as_mut()[field::TYPE] = message_type;
    }

    /// Sets the identifier.
    #[inline]
    pub fn set_ident(&mut self, ident: u16) {
        put16(self.0.as_mut(), field::IDENT, ident);
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.0.as_mut(), field::CHECKSUM, checksum);
    }
}
