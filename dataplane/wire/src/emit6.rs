// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole IPv6 frames that the appliance itself sends, written into a buffer of the caller's.
//!
//! Neighbour solicitations and advertisements (RFC 4861); the ICMPv6 echo reply, made of its request in place; and ICMPv6
//! errors that quote what they are about (RFC 4443 2.4). Every function returns the bytes of the frame, padded with
//! zeros to Ethernet's 60. Whether an error is owed at all is [`may_answer_with_error`]'s to say, how many a second
//! is for the caller. Slow path of the worker cores; no state.

use crate::bytes::put128;
use crate::emit::{pad, write_ethernet};
use crate::headers6::FRAGMENT_HEADER_LEN;
use crate::icmp6::{self, Class};
use crate::ipv6::{self, Header, Ipv6};
use crate::{EmitError, Ethernet, Fragment, Kind6, MacAddr, Parsed6, ethernet, nd, proto};

/// Bytes of a neighbour discovery frame.
pub const ND_FRAME_LEN: usize = L4 + nd::LEN + nd::OPTION_LEN;
/// Most bytes of an ICMPv6 error's packet (RFC 4443 2.4 (c)).
pub const MAX_ERROR_LEN: usize = ipv6::MIN_MTU as usize;
/// Most bytes of an ICMPv6 error's frame: a buffer that always suffices.
pub const MAX_ERROR_FRAME_LEN: usize = L3 + MAX_ERROR_LEN;

const L3: usize = ethernet::HEADER_LEN;
const L4: usize = L3 + ipv6::HEADER_LEN;

/// A station and one of its IPv6 addresses (host order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station6 {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP address.
    pub ip: u128,
}

/// Asks for `target`'s station: of everybody who may have it, by its solicited-node group (`to` None), or of the
/// station that had it when last heard of (RFC 4861 7.2.2, 7.3.3).
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ND_FRAME_LEN`] bytes.
pub fn solicitation(
    out: &mut [u8],
    from: Station6,
    target: u128,
    to: Option<MacAddr>,
) -> Result<usize, EmitError> {
    let (mac, ip) = match to {
        Some(mac) => (mac, target),
        None => {
            let group = ipv6::solicited_node(target);
            (ipv6::multicast_mac(group), group)
        }
    };
    let option = Some(nd::OPTION_SOURCE);
    let said = Said { message_type: icmp6::NEIGHBOUR_SOLICITATION, flags: 0, target, option };
    neighbour(out, from, Station6 { mac, ip }, &said)
}

/// Asks whether somebody has `target`, which the station `mac` is about to use: without a source address, and so without naming the
/// station (RFC 4862 5.4.2).
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ND_FRAME_LEN`] bytes.
pub fn probe(out: &mut [u8], mac: MacAddr, target: u128) -> Result<usize, EmitError> {
    let group = ipv6::solicited_node(target);
    let to = Station6 { mac: ipv6::multicast_mac(group), ip: group };
    let said = Said { message_type: icmp6::NEIGHBOUR_SOLICITATION, flags: 0, target, option: None };
    neighbour(out, Station6 { mac, ip: ipv6::UNSPECIFIED }, to, &said)
}

/// Tells whoever asked that `from.ip` is at `from.mac`, and is a router's (RFC 4861 7.2.4). Where `to.ip` is
/// [`ipv6::UNSPECIFIED`], somebody is about to take the address: all nodes are told, unsolicited.
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ND_FRAME_LEN`] bytes.
pub fn advertisement(out: &mut [u8], from: Station6, to: Station6) -> Result<usize, EmitError> {
    if to.ip == ipv6::UNSPECIFIED {
        return announcement(out, from);
    }
    let flags = nd::flag::ROUTER | nd::flag::SOLICITED | nd::flag::OVERRIDE;
    advertise(out, from, to, flags)
}

/// Announces to all nodes that `from.ip` is at `from.mac` (RFC 4861 7.2.6).
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ND_FRAME_LEN`] bytes.
pub fn announcement(out: &mut [u8], from: Station6) -> Result<usize, EmitError> {
    let everybody = Station6 { mac: ipv6::multicast_mac(ipv6::ALL_NODES), ip: ipv6::ALL_NODES };
    advertise(out, from, everybody, nd::flag::ROUTER | nd::flag::OVERRIDE)
}

fn advertise(out: &mut [u8], from: Station6, to: Station6, flags: u8) -> Result<usize, EmitError> {
    let (message_type, option) = (icmp6::NEIGHBOUR_ADVERTISEMENT, Some(nd::OPTION_TARGET));
    neighbour(out, from, to, &Said { message_type, flags, target: from.ip, option })
}

/// The parts in which a solicitation and an advertisement differ.
struct Said {
    message_type: u8,
    flags: u8,
    target: u128,
    /// The kind of the option that names the sender's station.
    option: Option<u8>,
}

fn neighbour(out: &mut [u8], from: Station6, to: Station6, said: &Said) -> Result<usize, EmitError> {
    let Some(frame) = out.first_chunk_mut::<ND_FRAME_LEN>() else { return Err(EmitError::NoRoom) };
    let len = if said.option.is_some() { ND_FRAME_LEN } else { ND_FRAME_LEN - nd::OPTION_LEN };
    let frame = &mut frame[..len];
    frame.fill(0);
    write_ethernet(frame, to.mac, from.mac, ethernet::TYPE_IPV6);
    Header {
        traffic_class: 0,
        payload_len: (len - L4) as u16,
        next: proto::ICMPV6,
        hop_limit: nd::HOP_LIMIT,
        src: from.ip,
        dst: to.ip,
    }
    .write(&mut frame[L3..L4]);
    let message = &mut frame[L4..];
    message[icmp6::field::TYPE] = said.message_type;
    message[nd::field::FLAGS] = said.flags;
    put128(message, nd::field::TARGET, said.target);
    if let Some(kind) = said.option {
        let option = &mut message[nd::LEN..];
        (option[0], option[1]) = (kind, 1);
        option[2..nd::OPTION_LEN].copy_from_slice(&from.mac.0);
    }
    icmp6::fill_checksum(message, from.ip, to.ip);
    Ok(len)
}

/// Whether this is a whole ICMPv6 echo request.
pub fn is_echo_request(parsed: &Parsed6) -> bool {
    parsed.kind == Kind6::Packet
        && parsed.frag == Fragment::No
        && parsed.tuple.proto == proto::ICMPV6
        && parsed.icmp_type == icmp6::ECHO_REQUEST
}

/// Turns an ICMPv6 echo request to one of our addresses into its reply, where it lies (RFC 4443 4.2). The caller has
/// seen that the destination is ours. Returns the bytes to send, at most `frame.len()`.
///
/// # Errors
/// [`EmitError::NotAnswerable`] for anything but a whole echo request between two hosts, without extension headers, in a frame
/// for one station; the frame is then as it was.
pub fn echo_reply(frame: &mut [u8], parsed: &Parsed6) -> Result<usize, EmitError> {
    if !is_echo_request(parsed) || parsed.l4 != parsed.l3 + ipv6::HEADER_LEN as u16 {
        return Err(EmitError::NotAnswerable);
    }
    let (l4, end) = turn_back(frame, parsed)?;
    icmp6::make_echo_reply(&mut frame[l4..end], parsed.tuple.dst, parsed.tuple.src);
    Ok(pad(frame, end))
}

/// The same for a fragment of an echo request whose fragments are all here, between them its right checksum: the reply goes out
/// in the parts that the request came in, under its identification, which between these two addresses this way nothing else has.
///
/// # Errors
/// [`EmitError::NotAnswerable`] for anything but a fragment of one between two hosts, without other extension headers, in a
/// frame for one station; the frame is then as it was.
pub fn echo_reply_fragment(frame: &mut [u8], parsed: &Parsed6) -> Result<usize, EmitError> {
    const ONLY: u16 = ipv6::HEADER_LEN as u16;
    let asks = match parsed.frag {
        Fragment::No => false,
        Fragment::First => parsed.icmp_type == icmp6::ECHO_REQUEST,
        Fragment::Later => true,
    };
    let plain =
        parsed.fragment == parsed.l3 + ONLY && parsed.l4 == parsed.fragment + FRAGMENT_HEADER_LEN as u16;
    if parsed.tuple.proto != proto::ICMPV6 || !asks || !plain {
        return Err(EmitError::NotAnswerable);
    }
    let (l4, end) = turn_back(frame, parsed)?;
    if parsed.frag == Fragment::First {
        icmp6::turn_into_echo_reply(&mut frame[l4..end]);
    }
    Ok(pad(frame, end))
}

/// Makes a packet of `parsed` one of ours to its sender, header and addresses. Gives where its upper layer is.
fn turn_back(frame: &mut [u8], parsed: &Parsed6) -> Result<(usize, usize), EmitError> {
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.ip_len);
    let least = if parsed.frag == Fragment::Later { l4 } else { l4 + icmp6::HEADER_LEN };
    let fits = least <= end && end <= frame.len();
    if !fits || !ipv6::is_host(parsed.tuple.dst) {
        return Err(EmitError::NotAnswerable);
    }
    let head = Ethernet::new_checked(&frame[..]).map_err(|_| EmitError::NotAnswerable)?;
    let (ours, theirs) = (head.dst(), head.src());
    if !ours.is_unicast() || !theirs.is_unicast() {
        return Err(EmitError::NotAnswerable);
    }
    let mut ip = Ipv6::new_checked(&mut frame[l3..end]).map_err(|_| EmitError::NotAnswerable)?;
    ip.set_src(parsed.tuple.dst);
    ip.set_dst(parsed.tuple.src);
    ip.set_hop_limit(ipv6::DEFAULT_HOP_LIMIT);
    write_ethernet(frame, theirs, ours, ethernet::TYPE_IPV6);
    Ok((l4, end))
}

/// Whether this ICMPv6 error may be sent about a packet (RFC 4443 2.4 (e)): not about an error, a redirect or a
/// message that may be one, not about a later fragment, not to a source that is not one host, and not where more
/// than one station or host was meant, except to say that a packet is too big.
pub fn may_answer_with_error(error: icmp6::Error, parsed: &Parsed6, frame: &[u8]) -> bool {
    let Ok(ethernet) = Ethernet::new_checked(frame) else { return false };
    let informational = match Class::of(parsed.icmp_type) {
        Class::EchoRequest | Class::EchoReply => true,
        Class::Error | Class::Link | Class::Other => false,
    };
    let one_was_meant = ethernet.dst().is_unicast() && ipv6::is_host(parsed.tuple.dst);
    parsed.kind == Kind6::Packet
        && parsed.frag != Fragment::Later
        && (parsed.tuple.proto != proto::ICMPV6 || informational)
        && ipv6::is_host(parsed.tuple.src)
        && ethernet.src().is_unicast()
        && (one_was_meant || matches!(error, icmp6::Error::PacketTooBig { .. }))
}

/// Writes an ICMPv6 error about the packet in `frame`, from `from` to its source by way of the station `to`: as much of
/// the packet as fits in [`MAX_ERROR_LEN`] bytes.
///
/// # Errors
/// [`EmitError::NotAnswerable`] by [`may_answer_with_error`], or where `parsed` is not of this frame;
/// [`EmitError::NoRoom`] where `out` cannot hold it ([`MAX_ERROR_FRAME_LEN`] always can).
pub fn icmp_error(
    out: &mut [u8],
    error: icmp6::Error,
    from: Station6,
    to: MacAddr,
    frame: &[u8],
    parsed: &Parsed6,
) -> Result<usize, EmitError> {
    const QUOTE: usize = L4 + icmp6::HEADER_LEN;
    if !may_answer_with_error(error, parsed, frame) {
        return Err(EmitError::NotAnswerable);
    }
    let l3 = usize::from(parsed.l3);
    let Some(packet) = frame.get(l3..l3 + usize::from(parsed.ip_len)) else {
        return Err(EmitError::NotAnswerable);
    };
    let quote = &packet[..packet.len().min(MAX_ERROR_FRAME_LEN - QUOTE)];
    // Longer than Ethernet's least frame: two fixed headers are in it.
    let len = QUOTE + quote.len();
    let Some(out) = out.get_mut(..len) else { return Err(EmitError::NoRoom) };

    write_ethernet(out, to, from.mac, ethernet::TYPE_IPV6);
    Header {
        traffic_class: 0,
        payload_len: (len - L4) as u16,
        next: proto::ICMPV6,
        hop_limit: ipv6::DEFAULT_HOP_LIMIT,
        src: from.ip,
        dst: parsed.tuple.src,
    }
    .write(&mut out[L3..L4]);
    icmp6::write_error(&mut out[L4..], error, quote, from.ip, parsed.tuple.src);
    Ok(len)
}

#[cfg(test)]
mod tests;
