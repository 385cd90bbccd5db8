// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 packets in fragments: held until whole, decided on by the first, sent on one by one as they came.
//!
//! What [`crate::worker::slow::fragments`] is for IPv4, without translation and without cutting, which in IPv6 only the source
//! does (RFC 8200 section 5). An overlap ends its whole packet (RFC 5722), a first fragment holds the whole chain of headers
//! (RFC 7112, seen to by the parser), and one that is alone in its fragment header is a packet like any other (RFC 6946) and never
//! comes here. Echo requests to the appliance are answered in the pieces they came in.
//!
//! "Reassembly time exceeded" is the receiver's to say (RFC 4443 3.3), so it is sent only where the appliance is that. What
//! waits, and what is refused of it, is [`collect`]'s. Worker core, slow path.

use super::forward::{self, admit};
use crate::worker::clock::Now;
use crate::worker::net::{Net, unanswered};
use crate::worker::reassembly::{Ipv6Identity, Span};
use crate::worker::runtime::View;
use crate::worker::{collect, dispatch};
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::v6::Admission6;
use fedgate_flow::{Booked, Packet};
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_wire::checksum::Sum;
use fedgate_wire::headers6::{FRAGMENT_HEADER_LEN, FragmentHeader};
use fedgate_wire::{Fragment, Parsed6, emit6, icmp6, ipv6, proto};

type Piece = collect::Piece<Parsed6>;
type Pieces = collect::Pieces<Parsed6>;

/// One fragment, of a packet that is for us or may be forwarded.
#[cold]
pub(super) fn packet(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf, parsed: &Parsed6) {
    if let Some(there) = dispatch::collector6(net, view, ifindex, &parsed.tuple) {
        return net.hand_over(there, mbuf);
    }
    let Some(header) = FragmentHeader::read(mbuf.data(), parsed.fragment.into()) else {
        return net.drop(DropReason::Fragment, mbuf);
    };
    let id = Ipv6Identity { src: parsed.tuple.src, dst: parsed.tuple.dst, ident: header.ident, ifindex };
    // The parser has seen that the whole is no longer than a packet can be.
    let start = header.offset as u16;
    let span = Span { start, end: start + (end_of(parsed) - data_of(parsed)) as u16, more: header.more };
    let piece = Piece { mbuf, parsed: *parsed };
    collect::put(net, view, now, (id, span), piece, |net, pieces, len| {
        whole(net, view, now, ifindex, pieces, len);
    });
}

/// Its time is over: told to its sender, if that sent the first fragment, to us.
pub(in crate::worker) fn overdue(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &Pieces) {
    let Some(first) = pieces.first().filter(|piece| piece.parsed.frag == Fragment::First) else { return };
    if net.routes6(view).is_own_of(ifindex, first.parsed.tuple.dst) {
        let error = icmp6::Error::ReassemblyTimeExceeded;
        net.answer_with_error6(view, now, ifindex, error, &first.mbuf, &first.parsed);
    }
}

/// Where in its frame a fragment's part of the packet starts.
fn data_of(parsed: &Parsed6) -> usize {
    usize::from(parsed.fragment) + FRAGMENT_HEADER_LEN
}

fn end_of(parsed: &Parsed6) -> usize {
    usize::from(parsed.l3) + usize::from(parsed.ip_len)
}

/// All of a packet is here: `len` bytes behind fragment headers.
fn whole(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &mut Pieces, len: u16) {
    let least = pieces.iter().map(|piece| piece.parsed.hop_limit).min();
    let Some(first) = pieces.first_mut().filter(|piece| piece.parsed.frag == Fragment::First) else {
        return collect::drop_all(net, DropReason::Fragment, pieces);
    };
    // A packet goes as far as the most travelled of its pieces.
    first.parsed.hop_limit = least.unwrap_or(first.parsed.hop_limit);
    let Parsed6 { l3, l4, tuple, .. } = first.parsed;
    // The first one's headers may be longer than those of the piece by which the parser judged the end.
    let before = data_of(&first.parsed) - FRAGMENT_HEADER_LEN - usize::from(l3) - ipv6::HEADER_LEN;
    let upper = usize::from(len) + data_of(&first.parsed) - usize::from(l4);
    if before + usize::from(len) > usize::from(u16::MAX) {
        return collect::drop_all(net, DropReason::Fragment, pieces);
    }
    if tuple.proto == proto::UDP && udp_len(first).is_none_or(|said| usize::from(said) > upper) {
        return collect::drop_all(net, DropReason::InvalidUdpLength, pieces);
    }
    // Its head speaks for it: everything is there that is read of a packet that came whole, but for the data.
    let ip_len = u16::try_from(usize::from(l4 - l3) + upper).unwrap_or(u16::MAX);
    let packet = Parsed6 { ip_len, frag: Fragment::No, ..first.parsed };
    let routes = net.routes6(view);
    if routes.is_own_of(ifindex, tuple.dst) || routes.is_ours(tuple.dst) {
        return local(net, view, now, ifindex, pieces, &packet);
    }
    match net.flow.conns6.lookup(&tuple) {
        Some((id, dir)) => established(net, view, now, ifindex, pieces, &packet, (id, dir)),
        None => {
            if net.may_hand_over()
                && let Some(there) = dispatch::whole6(net, view, ifindex, &tuple)
            {
                // Its worker collects them anew: they go there in order, and nothing has been changed.
                return pieces.drain(..).for_each(|piece| net.hand_over(there, piece.mbuf));
            }
            begins(net, view, now, ifindex, pieces, &packet);
        }
    }
}

fn udp_len(first: &Piece) -> Option<u16> {
    let at = usize::from(first.parsed.l4) + 4;
    first.mbuf.data().get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// What is booked of a packet in pieces.
fn booked<'a>(pieces: &'a Pieces, packet: &Parsed6) -> Packet<'a> {
    forward::booked(pieces[0].mbuf.data(), packet)
}

/// Of a connection: what `forward` does with a packet of one.
fn established(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    pieces: &mut Pieces,
    packet: &Parsed6,
    (id, dir): (ConnId, Dir),
) {
    if net.flow.conns6.hot(id).iface[dir as usize] != ifindex {
        return collect::drop_all(net, DropReason::RpfViolated, pieces);
    }
    if packet.hop_limit <= 1 {
        let error = icmp6::Error::HopLimitExceeded;
        return answer(net, view, now, ifindex, error, DropReason::TtlExceeded, pieces);
    }
    match net.flow.account6(id, dir, &booked(pieces, packet), &view.flow, now.tick()) {
        Ok(Booked::Passes) => pass(net, view, now, ifindex, (id, dir), pieces),
        Ok(Booked::Afresh) => {
            net.end6(id);
            begins(net, view, now, ifindex, pieces, packet);
        }
        Ok(Booked::Handshake(reaction)) => {
            pieces.clear(); // they have said what they had to say
            super::intercept::react(net, view, now, id, &reaction);
        }
        Err(reason) => collect::drop_all(net, reason, pieces),
    }
}

/// Of no connection: what `forward` does with a first packet.
fn begins(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &mut Pieces, packet: &Parsed6) {
    match admit(net, view, now, ifindex, &pieces[0].mbuf, &pieces[0].parsed, None) {
        Admission6::New(id) => {
            match net.flow.account6(id, Dir::Forward, &booked(pieces, packet), &view.flow, now.tick()) {
                Ok(_) => pass(net, view, now, ifindex, (id, Dir::Forward), pieces),
                Err(reason) => {
                    net.end6(id);
                    collect::drop_all(net, reason, pieces);
                }
            }
        }
        // Nobody sends a SYN in pieces who does not wish to be taken for a flood.
        Admission6::Intercept { limit: reason, .. } | Admission6::Refused(reason) => {
            collect::drop_all(net, reason, pieces)
        }
    }
}

/// Sends all pieces the way of a connection, or none where one is too large for the next link.
fn pass(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    (id, dir): (ConnId, Dir),
    pieces: &mut Pieces,
) {
    let mtu = forward::mtu(net, view, id, dir);
    if pieces.iter().any(|piece| piece.parsed.ip_len > mtu) {
        let error = icmp6::Error::PacketTooBig { mtu: mtu.max(ipv6::MIN_MTU).into() };
        return answer(net, view, now, ifindex, error, DropReason::MtuExceeded, pieces);
    }
    if let Some(first) = pieces.first_mut() {
        super::intercept::shift(net, id, dir, first.mbuf.data_mut(), first.parsed.l4);
    }
    for Piece { mbuf, parsed } in pieces.drain(..) {
        forward::hop(net, view, now, mbuf, &parsed, id, dir);
    }
}

/// Tells the sender about its first fragment, and drops all.
fn answer(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    error: icmp6::Error,
    reason: DropReason,
    pieces: &mut Pieces,
) {
    net.answer_with_error6(view, now, ifindex, error, &pieces[0].mbuf, &pieces[0].parsed);
    collect::drop_all(net, reason, pieces);
}

/// For the appliance: an echo request is answered, the rest has nobody to go to.
fn local(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &mut Pieces, packet: &Parsed6) {
    let routes = net.routes6(view);
    if let Err(silence) = net.v6.icmp.may_echo(now.millis(), &routes, ifindex, packet) {
        return collect::drop_all(net, unanswered(silence), pieces);
    }
    let Parsed6 { tuple, l3, l4, ip_len, .. } = *packet;
    let len = u32::from(ip_len - (l4 - l3));
    let pseudo = Sum::default().pseudo_v6(tuple.src, tuple.dst, proto::ICMPV6, len);
    let sum = pieces.iter().fold(pseudo, |sum, piece| sum.bytes(upper_layer(piece)));
    if !sum.is_valid() {
        return collect::drop_all(net, DropReason::InvalidIcmp, pieces);
    }
    net.counters.add(Stat::IcmpEchoReplies, 1);
    for Piece { mut mbuf, parsed } in pieces.drain(..) {
        match emit6::echo_reply_fragment(mbuf.data_mut(), &parsed) {
            Ok(len) if mbuf.trim(mbuf.len() - len).is_ok() => net.transmit(view, ifindex, mbuf),
            Ok(_) | Err(_) => net.drop(DropReason::ToUsNotHandled, mbuf),
        }
    }
}

fn upper_layer(piece: &Piece) -> &[u8] {
    piece.mbuf.data().get(usize::from(piece.parsed.l4)..end_of(&piece.parsed)).unwrap_or_default()
}
