// SPDX-License-Identifier: MIT OR Apache-2.0
//! Echo requests of our own and what comes back (RFC 792, RFC 4443 4.1): `ping`.
//!
//! A request is a datagram of any length that has room for the headers; the rest is the ASA's pattern, 0xabcd. IPv4's may not be fragmented and
//! so need no identification (RFC 6864). Ethernet's header is the caller's to write. Called on worker cores, for an operator.

use crate::bytes::put16;
use crate::icmp4::{self, Icmp4};
use crate::{EmitError, Fragment, Kind, Kind6, Parsed, Parsed6, checksum, icmp6, ipv4, ipv6, proto};

/// Bytes of the shortest request, IP header included: nothing behind the ICMP header.
pub const LEAST: u16 = (ipv4::HEADER_LEN + icmp4::HEADER_LEN) as u16;
/// The same for IPv6.
pub const LEAST6: u16 = (ipv6::HEADER_LEN + icmp6::HEADER_LEN) as u16;

/// What tells requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Identifier.
    pub ident: u16,
    /// Sequence number.
    pub seq: u16,
}

/// Makes `datagram` an ICMP echo request.
///
/// # Errors
/// [`EmitError::NoRoom`] under [`LEAST`] bytes, or over 65,535.
pub fn request(datagram: &mut [u8], src: u32, dst: u32, echo: Echo) -> Result<(), EmitError> {
    let total_len = u16::try_from(datagram.len()).map_err(|_| EmitError::NoRoom)?;
    let Some((head, message)) = datagram.split_at_mut_checked(ipv4::HEADER_LEN) else {
        return Err(EmitError::NoRoom);
    };
    fill(message, icmp4::ECHO_REQUEST, echo)?;
    let sum = checksum::of(message);
    put16(message, CHECKSUM, sum);
    ipv4::Header {
        tos: 0,
        total_len,
        ident: 0,
        fragment_word: ipv4::DONT_FRAGMENT,
        ttl: ipv4::DEFAULT_TTL,
        protocol: proto::ICMP,
        src,
        dst,
    }
    .write(head);
    Ok(())
}

/// Makes `packet` an ICMPv6 echo request.
///
/// # Errors
/// [`EmitError::NoRoom`] under [`LEAST6`] bytes, or with more than 65,535 behind the IP header.
pub fn request6(packet: &mut [u8], src: u128, dst: u128, echo: Echo) -> Result<(), EmitError> {
    let Some((head, message)) = packet.split_at_mut_checked(ipv6::HEADER_LEN) else {
        return Err(EmitError::NoRoom);
    };
    let payload_len = u16::try_from(message.len()).map_err(|_| EmitError::NoRoom)?;
    fill(message, icmp6::ECHO_REQUEST, echo)?;
    let sum = checksum::of_segment_v6(src, dst, proto::ICMPV6, message);
    put16(message, CHECKSUM, sum);
    ipv6::Header {
        traffic_class: 0,
        payload_len,
        next: proto::ICMPV6,
        hop_limit: ipv6::DEFAULT_HOP_LIMIT,
        src,
        dst,
    }
    .write(head);
    Ok(())
}

/// What a whole ICMP echo reply, with a right checksum, answers.
pub fn answered(frame: &[u8], parsed: &Parsed) -> Option<Echo> {
    let is_reply = parsed.kind == Kind::Ipv4
        && parsed.frag == Fragment::No
        && parsed.tuple.proto == proto::ICMP
        && (parsed.icmp_type, parsed.icmp_code) == (icmp4::ECHO_REPLY, 0);
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let message = frame.get(parsed.l4.into()..end).filter(|_| is_reply)?;
    read(message).filter(|_| checksum::is_valid(message))
}

/// The same for ICMPv6.
pub fn answered6(frame: &[u8], parsed: &Parsed6) -> Option<Echo> {
    let is_reply = parsed.kind == Kind6::Packet
        && parsed.frag == Fragment::No
        && parsed.tuple.proto == proto::ICMPV6
        && (parsed.icmp_type, parsed.icmp_code) == (icmp6::ECHO_REPLY, 0);
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let message = frame.get(parsed.l4.into()..end).filter(|_| is_reply)?;
    let (src, dst) = (parsed.tuple.src, parsed.tuple.dst);
    read(message).filter(|_| checksum::is_valid_segment_v6(src, dst, proto::ICMPV6, message))
}

/// Where the checksum is, in both.
const CHECKSUM: usize = 2;

fn fill(message: &mut [u8], message_type: u8, echo: Echo) -> Result<(), EmitError> {
    let Some((head, data)) = message.split_at_mut_checked(icmp4::HEADER_LEN) else {
        return Err(EmitError::NoRoom);
    };
    head.fill(0);
    head[0] = message_type;
    put16(head, 4, echo.ident);
    put16(head, 6, echo.seq);
    data.iter_mut().zip([0xab, 0xcd].into_iter().cycle()).for_each(|(byte, of)| *byte = of);
    Ok(())
}

fn read(message: &[u8]) -> Option<Echo> {
    let message = Icmp4::new_checked(message).ok()?;
    Some(Echo { ident: message.ident(), seq: message.seq() })
}

#[cfg(test)]
mod tests;
