// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing a translation into a frame: addresses, ports, TTL and checksums; and into what an ICMP error quotes.
//!
//! A forwarded packet costs two stores of addresses, one of ports and two incremental checksum updates; the
//! [`Deltas`] are made when its connection is (one for the IP header, TTL included, one for TCP, UDP or ICMP) and the reverse
//! direction's are their complements. ICMP errors are rare and are summed anew (RFC 5508 REQ-4, REQ-5). Worker cores.

use crate::Flow;
use crate::conn::{ConnId, Dir, Hot};
use crate::key::{ICMP, Key, Packed, TCP, UDP};
use fedgate_wire::checksum::{self, Delta};
use fedgate_wire::parse::embedded;
use fedgate_wire::plain::{ADDRS, PORTS, TCP_HEADERS, UDP_HEADERS};
use fedgate_wire::{Fragment, Kind, Parsed};
use zerocopy::FromZeros;

/// What a translation changes in the checksums of its forward direction. 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Deltas {
    /// IPv4 header: addresses, without the TTL.
    ip: u16,
    /// TCP, UDP or ICMP.
    l4: u16,
}

impl Deltas {
    /// For packets that arrive as `from` and leave as `to`.
    pub fn new(from: &Key, to: &Key) -> Self {
        let addrs = Delta::addr(from.src, to.src).and(Delta::addr(from.dst, to.dst));
        let ports = Delta::word(from.sport, to.sport).and(Delta::word(from.dport, to.dport));
        // An ICMP checksum covers no addresses.
        let l4 = if from.proto == ICMP { ports } else { addrs.and(ports) };
        Self { ip: addrs.to_bits(), l4: l4.to_bits() }
    }

    /// For the direction `dir` of a connection whose forward deltas these are.
    #[inline(always)]
    pub fn towards(self, dir: Dir) -> Self {
        let flip = (dir as u16).wrapping_neg();
        Self { ip: self.ip ^ flip, l4: self.l4 ^ flip }
    }

    /// For the IPv4 header: addresses, without the TTL.
    #[inline(always)]
    pub fn ip(self) -> Delta {
        Delta::from_bits(self.ip)
    }

    /// For TCP, UDP or ICMP.
    #[inline(always)]
    pub fn l4(self) -> Delta {
        Delta::from_bits(self.l4)
    }
}

/// Rewrites a whole (unfragmented) packet to leave as `to`, one hop older. `parsed` must be of this frame, with a TTL above 1.
#[inline]
pub fn translate(frame: &mut [u8], parsed: &Parsed, to: &Key, deltas: Deltas) {
    debug_assert!(parsed.frag == Fragment::No && parsed.kind == Kind::Ipv4);
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let Some(ip) = frame.get_mut(l3..).and_then(|f| f.first_chunk_mut::<20>()) else { return };
    ip[8] = ip[8].wrapping_sub(1);
    update(ip, 10, |c| deltas.ip().and(Delta::TTL_DECREMENT).apply(c));
    ip[12..16].copy_from_slice(&to.src.to_be_bytes());
    ip[16..20].copy_from_slice(&to.dst.to_be_bytes());
    match to.proto {
        TCP => {
            let Some(tcp) = frame.get_mut(l4..).and_then(|f| f.first_chunk_mut::<20>()) else { return };
            tcp[0..2].copy_from_slice(&to.sport.to_be_bytes());
            tcp[2..4].copy_from_slice(&to.dport.to_be_bytes());
            update(tcp, 16, |c| deltas.l4().apply(c));
        }
        UDP => {
            let Some(udp) = frame.get_mut(l4..).and_then(|f| f.first_chunk_mut::<8>()) else { return };
            udp[0..2].copy_from_slice(&to.sport.to_be_bytes());
            udp[2..4].copy_from_slice(&to.dport.to_be_bytes());
            update(udp, 6, |c| deltas.l4().apply_udp(c));
        }
        ICMP => {
            let Some(icmp) = frame.get_mut(l4..).and_then(|f| f.first_chunk_mut::<8>()) else { return };
            let ident = match fedgate_wire::icmp4::Class::of(icmp[0]) {
                fedgate_wire::icmp4::Class::Request { .. } => to.sport,
                _ => to.dport,
            };
            icmp[4..6].copy_from_slice(&ident.to_be_bytes());
            update(icmp, 2, |c| deltas.l4().apply_icmp(c));
        }
        _ => {}
    }
}

/// [`translate`] for what [`fedgate_wire::plain::read`] accepted, with the new Ethernet addresses (as the first 12 bytes of the frame lie). The TTL must be
/// above 1. False where the frame is not such a one; nothing has changed then.
#[inline(always)]
pub fn translate_plain(frame: &mut [u8], stations: &[u8; 12], to: Packed, deltas: Deltas) -> bool {
    let done = match to.proto {
        UDP => frame.first_chunk_mut::<UDP_HEADERS>().map(|head| {
            update(head, 40, |c| deltas.l4().apply_udp(c));
            headers(head, stations, to, deltas);
        }),
        TCP => frame.first_chunk_mut::<TCP_HEADERS>().map(|head| {
            update(head, 50, |c| deltas.l4().apply(c));
            headers(head, stations, to, deltas);
        }),
        _ => None,
    };
    done.is_some()
}

/// Ethernet and IPv4 headers, and the ports.
#[inline(always)]
fn headers<const N: usize>(head: &mut [u8; N], stations: &[u8; 12], to: Packed, deltas: Deltas) {
    head[..12].copy_from_slice(stations);
    head[22] = head[22].wrapping_sub(1);
    update(head, 24, |c| deltas.ip().and(Delta::TTL_DECREMENT).apply(c));
    head[ADDRS..ADDRS + 8].copy_from_slice(&to.addrs.to_le_bytes());
    head[PORTS..PORTS + 4].copy_from_slice(&to.ports.to_le_bytes());
}

/// The connection that the ICMP error in `frame` is about, and the direction in which the error travels. `None` where it quotes
/// nothing that left this way.
pub fn error_belongs_to(flow: &Flow, frame: &[u8], parsed: &Parsed) -> Option<(ConnId, Dir)> {
    let answer = quoted(frame, parsed)?.mirror();
    flow.conns.lookup(flow.conns.hash(&answer), &answer)
}

/// The tuple of the packet that the ICMP error in `frame` quotes.
pub fn quoted(frame: &[u8], parsed: &Parsed) -> Option<Key> {
    Some(embedded(frame, parsed).ok()?.tuple)
}

/// Rewrites an ICMP error of the connection `hot`, travelling in `dir`, one hop older: the quote becomes what the error's receiver sent, the outer
/// destination becomes the receiver, and an outer source behind the translated side is shown as that side's mapped
/// address (RFC 5508 REQ-5). All checksums but the quoted segment's own are made anew; that one is updated, so that it stays as right
/// or wrong as it was.
pub fn translate_error(frame: &mut [u8], parsed: &Parsed, hot: &Hot, dir: Dir) {
    let Ok(quote) = embedded(frame, parsed) else { return };
    let sent = hot.key(dir.flip());
    let (inner, inner_l4) = (usize::from(quote.l3), usize::from(quote.l4));
    let quoted = Deltas::new(&quote.tuple, &sent);

    let Some(ip) = frame.get_mut(inner..).and_then(|f| f.first_chunk_mut::<20>()) else { return };
    ip[12..16].copy_from_slice(&sent.src.to_be_bytes());
    ip[16..20].copy_from_slice(&sent.dst.to_be_bytes());
    update(ip, 10, |c| quoted.ip().apply(c));
    let end = usize::from(quote.end);
    let Some(l4) = frame.get_mut(inner_l4..end) else { return };
    match sent.proto {
        TCP | UDP => {
            l4[0..2].copy_from_slice(&sent.sport.to_be_bytes());
            l4[2..4].copy_from_slice(&sent.dport.to_be_bytes());
            if sent.proto == UDP {
                update(l4, 6, |c| quoted.l4().apply_udp(c));
            } else if l4.len() >= 18 {
                update(l4, 16, |c| quoted.l4().apply(c));
            }
        }
        ICMP => {
            let ident = if sent.sport != quote.tuple.sport { sent.sport } else { sent.dport };
            if (sent.sport, sent.dport) != (quote.tuple.sport, quote.tuple.dport) {
                l4[4..6].copy_from_slice(&ident.to_be_bytes());
                update(l4, 2, |c| quoted.l4().apply_icmp(c));
            }
        }
        _ => {}
    }

    let (arrives, leaves) = (hot.key(dir), hot.leaves_as(dir));
    let (l3, outer_l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let datagram_end = l3 + usize::from(parsed.ip_len);
    let Some(icmp) = frame.get_mut(outer_l4..datagram_end) else { return };
    icmp[2..4].fill(0);
    let sum = checksum::of(icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());

    let src = if arrives.src == leaves.src { parsed.tuple.src } else { leaves.src };
    let outer = Delta::addr(parsed.tuple.src, src).and(Delta::addr(parsed.tuple.dst, leaves.dst));
    let Some(ip) = frame.get_mut(l3..).and_then(|f| f.first_chunk_mut::<20>()) else { return };
    ip[8] = ip[8].wrapping_sub(1);
    ip[12..16].copy_from_slice(&src.to_be_bytes());
    ip[16..20].copy_from_slice(&leaves.dst.to_be_bytes());
    update(ip, 10, |c| outer.and(Delta::TTL_DECREMENT).apply(c));
}

#[inline(always)]
fn update(bytes: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    let field = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    bytes[at..at + 2].copy_from_slice(&change(field).to_be_bytes());
}
