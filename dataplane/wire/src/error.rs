// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a frame, and why a frame was not built.
//!
//! One byte, no payload: a [`ParseError`] is made on the hot path and turned into a drop reason by an exhaustive
//! match in the dataplane. The texts are for logs and tests. Written by hand so that the crate needs nothing.

use core::fmt;

/// Why a frame is not one that can be forwarded. Variants are in the order in which [`crate::parse::parse`] tests; those at
/// the end are IPv6's alone, from [`mod@crate::parse6`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ParseError {
    /// The frame ends inside its Ethernet header or the 20 fixed bytes of its IPv4 header.
    FrameTooShort,
    /// None of IPv4, IPv6 and ARP: also 802.1Q tags and 802.3 length frames.
    UnsupportedEthertype,
    /// An ARP message that is short, not Ethernet/IPv4, of an unknown operation, or from a group address.
    InvalidArp,
    /// The version field is not 4.
    UnsupportedIpVersion,
    /// The header length is under 20 bytes or past the frame's end.
    InvalidIpHeader,
    /// The total length is under the header's or past the frame's end.
    InvalidIpLength,
    /// The header checksum is wrong.
    InvalidIpChecksum,
    /// IPv4 options other than end, no-operation and router alert, or malformed ones.
    InvalidIpOption,
    /// The source cannot be one host's: 0/8, 127/8, 224/4, 240/4 (RFC 1812 5.3.7).
    InvalidSource,
    /// The destination can be nobody's: 0/8, 127/8, 240/4 but for 255.255.255.255 (RFC 1812 5.3.7).
    InvalidDestination,
    /// Source and destination are the same address.
    Land,
    /// A fragment that no sender makes: empty, not a multiple of 8 with more to come, past 65,535 bytes when put
    /// together, one that would overwrite TCP flags, or a first one without all of its TCP, UDP or ICMP header
    /// (RFC 1858, RFC 3128).
    InvalidFragment,
    /// The TCP header is cut off, or its length field is under 20 or past the datagram's end.
    InvalidTcpHeaderLength,
    /// A combination of TCP flags that no endpoint sends.
    BadTcpFlags,
    /// The UDP header is cut off, or its length field is under 8 or past the datagram's end.
    InvalidUdpLength,
    /// The ICMP message is cut off, its checksum is wrong, or what it quotes cannot be (see [`mod@crate::parse`]).
    InvalidIcmp,
    /// IPv6 extension headers that are cut off, repeated, out of place, or carry options that cannot be (RFC 8200 4).
    InvalidExtensionHeader,
    /// An IPv6 source route: a routing header of a deprecated type or with segments left (RFC 5095, RFC 9288).
    RoutingHeader,
    /// UDP over IPv6 without a checksum (RFC 8200 8.1).
    NoUdpChecksum,
    /// A neighbour discovery message that RFC 4861 says to discard.
    InvalidNd,
}

impl ParseError {
    /// The text for logs.
    pub const fn text(self) -> &'static str {
        match self {
            Self::FrameTooShort => "frame shorter than its headers",
            Self::UnsupportedEthertype => "none of IPv4, IPv6 and ARP",
            Self::InvalidArp => "malformed ARP",
            Self::UnsupportedIpVersion => "IP version is not 4",
            Self::InvalidIpHeader => "IP header length out of range",
            Self::InvalidIpLength => "IP total length out of range",
            Self::InvalidIpChecksum => "IP header checksum is wrong",
            Self::InvalidIpOption => "IP options that are not let through",
            Self::InvalidSource => "source address cannot be a host's",
            Self::InvalidDestination => "destination address cannot be anybody's",
            Self::Land => "source and destination are the same",
            Self::InvalidFragment => "impossible fragment",
            Self::InvalidTcpHeaderLength => "TCP header length out of range",
            Self::BadTcpFlags => "impossible TCP flags",
            Self::InvalidUdpLength => "UDP length out of range",
            Self::InvalidIcmp => "malformed ICMP message",
            Self::InvalidExtensionHeader => "malformed IPv6 extension headers",
            Self::RoutingHeader => "IPv6 source route",
            Self::NoUdpChecksum => "UDP over IPv6 without a checksum",
            Self::InvalidNd => "malformed or foreign neighbour discovery message",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for ParseError {}

/// Why a frame was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmitError {
    /// The buffer is smaller than the frame.
    NoRoom,
    /// What the frame would answer must not be answered so.
    NotAnswerable,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "buffer too small for the frame",
            Self::NotAnswerable => "not to be answered",
        })
    }
}

impl core::error::Error for EmitError {}
