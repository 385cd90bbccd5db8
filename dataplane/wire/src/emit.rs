// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole frames that the appliance itself sends, written into a buffer of the caller's.
//!
//! ARP requests, replies and announcements; the ICMP echo reply, made of its request in place; and ICMP errors that
//! quote what they are about (RFC 1812 4.3.2). Every function returns the bytes of the frame, padded with zeros to
//! Ethernet's 60. Whether an error is owed at all is [`may_answer_with_error`]'s to say, how many a second is for the
//! caller. An error must quote the datagram as its sender sent it: call it before translating, or translate back.
//! Slow path of the worker cores; no state.

use crate::arp::{self, Operation};
use crate::icmp4::{self, Class};
use crate::ipv4::{self, Header, Ipv4};
use crate::{EmitError, Ethernet, Fragment, Kind, MacAddr, Parsed, ethernet, proto};

/// Bytes of an ARP frame.
pub const ARP_FRAME_LEN: usize = ethernet::MIN_FRAME_LEN;
/// Most bytes of an ICMP error's datagram (RFC 1812 4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;
/// Most bytes of an ICMP error's frame: a buffer that always suffices.
pub const MAX_ERROR_FRAME_LEN: usize = ethernet::HEADER_LEN + MAX_ERROR_LEN;

/// A station and one of its addresses (host order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP address.
    pub ip: u32,
}

/// Asks for `target_ip`'s MAC: of everybody (`to` = [`MacAddr::BROADCAST`]), or of the station that had it
/// when last heard of (RFC 1122 2.3.2.1).
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ARP_FRAME_LEN`] bytes.
pub fn arp_request(out: &mut [u8], from: Station, target_ip: u32, to: MacAddr) -> Result<usize, EmitError> {
    arp(out, to, Operation::Request, from, Station { mac: MacAddr::ZERO, ip: target_ip })
}

/// Tells `to` that `from.ip` (our own, or one that we answer for) is at `from.mac`.
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ARP_FRAME_LEN`] bytes.
pub fn arp_reply(out: &mut [u8], from: Station, to: Station) -> Result<usize, EmitError> {
    arp(out, to.mac, Operation::Reply, from, to)
}

/// Announces that `from.ip` is at `from.mac`: a request for it by itself, to everybody (RFC 5227 2.3).
///
/// # Errors
/// [`EmitError::NoRoom`] under [`ARP_FRAME_LEN`] bytes.
pub fn arp_gratuitous(out: &mut [u8], from: Station) -> Result<usize, EmitError> {
    arp_request(out, from, from.ip, MacAddr::BROADCAST)
}

fn arp(
    out: &mut [u8],
    dst: MacAddr,
    operation: Operation,
    from: Station,
    to: Station,
) -> Result<usize, EmitError> {
    let Some(frame) = out.first_chunk_mut::<ARP_FRAME_LEN>() else { return Err(EmitError::NoRoom) };
    frame.fill(0);
    write_ethernet(frame, dst, from.mac, ethernet::TYPE_ARP);
    arp::write(&mut frame[ethernet::HEADER_LEN..], operation, (from.mac, from.ip), (to.mac, to.ip));
    Ok(ARP_FRAME_LEN)
}

/// Whether this is a whole ICMP echo request.
#[inline]
pub fn is_echo_request(parsed: &Parsed) -> bool {
    parsed.kind == Kind::Ipv4
        && parsed.frag == Fragment::No
        && parsed.tuple.proto == proto::ICMP
        && parsed.icmp_type == icmp4::ECHO_REQUEST
}

/// Turns an ICMP echo request to one of our addresses into its reply, where it lies (RFC 792, RFC 1122 3.2.2.6).
/// The caller has seen that the destination is ours. Returns the bytes to send, at most `frame.len()`
/// (a frame that came short of 60 stays short: ports pad).
///
/// # Errors
/// [`EmitError::NotAnswerable`] for anything but a whole echo request between two hosts, without IP options (we
/// reverse no source routes and record none), in a frame for one station; the frame is then as it was.
pub fn echo_reply(frame: &mut [u8], parsed: &Parsed) -> Result<usize, EmitError> {
    if !is_echo_request(parsed) {
        return Err(EmitError::NotAnswerable);
    }
    let (l4, end) = turn_back(frame, parsed)?;
    icmp4::make_echo_reply(&mut frame[l4..end]);
    Ok(pad(frame, end))
}

/// [`echo_reply`] for one fragment of a request that came whole: the reply leaves in the same pieces. The ICMP checksum is
/// updated in the first one; whether it was right is for the caller to have seen.
///
/// # Errors
/// [`EmitError::NotAnswerable`] for what is no fragment of an echo request, as far as can be seen, and as with [`echo_reply`].
pub fn echo_reply_fragment(frame: &mut [u8], parsed: &Parsed) -> Result<usize, EmitError> {
    let asks = match parsed.frag {
        Fragment::No => false,
        Fragment::First => parsed.icmp_type == icmp4::ECHO_REQUEST,
        Fragment::Later => true,
    };
    if parsed.tuple.proto != proto::ICMP || !asks {
        return Err(EmitError::NotAnswerable);
    }
    let (l4, end) = turn_back(frame, parsed)?;
    if parsed.frag == Fragment::First {
        icmp4::turn_into_echo_reply(&mut frame[l4..end]);
    }
    Ok(pad(frame, end))
}

/// Makes a datagram of `parsed` one of ours to its sender, header and addresses. Gives where its payload is.
fn turn_back(frame: &mut [u8], parsed: &Parsed) -> Result<(usize, usize), EmitError> {
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.ip_len);
    let least = if parsed.frag == Fragment::Later { l4 } else { l4 + icmp4::HEADER_LEN };
    let fits = least <= end && end <= frame.len();
    if parsed.has_options || !ipv4::is_host(parsed.tuple.dst) || !fits {
        return Err(EmitError::NotAnswerable);
    }
    let head = Ethernet::new_checked(&frame[..]).map_err(|_| EmitError::NotAnswerable)?;
    let (ours, theirs) = (head.dst(), head.src());
    if !ours.is_unicast() || !theirs.is_unicast() {
        return Err(EmitError::NotAnswerable);
    }
    let mut ip = Ipv4::new_checked(&mut frame[l3..end]).map_err(|_| EmitError::NotAnswerable)?;
    ip.set_src(parsed.tuple.dst);
    ip.set_dst(parsed.tuple.src);
    ip.set_ttl(ipv4::DEFAULT_TTL);
    ip.fill_checksum();
    write_ethernet(frame, theirs, ours, ethernet::TYPE_IPV4);
    Ok((l4, end))
}

/// What padding there is was theirs; ours is zeros. Gives the bytes to send.
pub(crate) fn pad(frame: &mut [u8], end: usize) -> usize {
    let len = end.max(frame.len().min(ethernet::MIN_FRAME_LEN));
    frame[end..len].fill(0);
    len
}

/// Whether an ICMP error may be sent about a packet (RFC 1812 4.3.2.7, RFC 1122 3.2.2): not about an ICMP error or
/// an ICMP message that may be one, not about a later fragment, not where more than one station or host was meant,
/// not to a source that is not one host. A network's own broadcast address is for the caller to know.
pub fn may_answer_with_error(parsed: &Parsed, frame: &[u8]) -> bool {
    let Ok(ethernet) = Ethernet::new_checked(frame) else { return false };
    let query = match Class::of(parsed.icmp_type) {
        Class::Request { .. } | Class::Reply { .. } => true,
        Class::Error | Class::Other => false,
    };
    parsed.kind == Kind::Ipv4
        && parsed.frag != Fragment::Later
        && (parsed.tuple.proto != proto::ICMP || query)
        && ipv4::is_host(parsed.tuple.src)
        && ipv4::is_host(parsed.tuple.dst)
        && ethernet.dst().is_unicast()
        && ethernet.src().is_unicast()
}

/// Writes an ICMP error about the packet in `frame`, from `from` (the interface it leaves by) to its source by way
/// of the station `to`: the IP header and as much of the rest as fits in [`MAX_ERROR_LEN`] bytes.
///
/// # Errors
/// [`EmitError::NotAnswerable`] by [`may_answer_with_error`], or where `parsed` is not of this frame;
/// [`EmitError::NoRoom`] where `out` cannot hold it ([`MAX_ERROR_FRAME_LEN`] always can).
pub fn icmp_error(
    out: &mut [u8],
    error: icmp4::Error,
    from: Station,
    to: MacAddr,
    frame: &[u8],
    parsed: &Parsed,
) -> Result<usize, EmitError> {
    const L3: usize = ethernet::HEADER_LEN;
    const L4: usize = L3 + ipv4::HEADER_LEN;
    const QUOTE: usize = L4 + icmp4::HEADER_LEN;
    if !may_answer_with_error(parsed, frame) {
        return Err(EmitError::NotAnswerable);
    }
    let l3 = usize::from(parsed.l3);
    let Some(datagram) = frame.get(l3..l3 + usize::from(parsed.ip_len)) else {
        return Err(EmitError::NotAnswerable);
    };
    let tos = Ipv4::new_checked(datagram).map_err(|_| EmitError::NotAnswerable)?.tos();
    let quote = &datagram[..datagram.len().min(MAX_ERROR_FRAME_LEN - QUOTE)];
    let len = QUOTE + quote.len();
    let padded = len.max(ethernet::MIN_FRAME_LEN);
    let Some(out) = out.get_mut(..padded) else { return Err(EmitError::NoRoom) };

    write_ethernet(out, to, from.mac, ethernet::TYPE_IPV4);
    Header {
        // Precedence "internetwork control", the packet's own type of service, no ECN (RFC 1812 4.3.2.5).
        tos: 0xc0 | (tos & 0x1c),
        total_len: (len - L3) as u16,
        // An atomic datagram needs no identification (RFC 6864), and 576 bytes pass every link there is.
        ident: 0,
        fragment_word: ipv4::DONT_FRAGMENT,
        ttl: ipv4::DEFAULT_TTL,
        protocol: proto::ICMP,
        src: from.ip,
        dst: parsed.tuple.src,
    }
    .write(&mut out[L3..L4]);
    icmp4::write_error(&mut out[L4..len], error, quote);
    out[len..].fill(0);
    Ok(padded)
}

pub(crate) fn write_ethernet(out: &mut [u8], dst: MacAddr, src: MacAddr, ethertype: u16) {
    out[..6].copy_from_slice(&dst.0);
    out[6..12].copy_from_slice(&src.0);
    out[12..14].copy_from_slice(&ethertype.to_be_bytes());
}

#[cfg(test)]
mod tests;
