// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datagrams that come in fragments: held until whole, decided on by the first, sent on one by one (RFC 4787 REQ-14).
//!
//! The whole set is looked up or admitted as one datagram, booked as one, translated piece by piece
//! ([`rewrite_fragment`]) and leaves in order, each piece cut again where the next link asks for it. They are put
//! together only where the appliance itself is the receiver and one buffer holds them: segments of a proxied
//! connection. Echo requests to the appliance are answered in the pieces they came in.
//!
//! What waits, and what is refused of it, is [`collect`]'s. Worker core only.

use super::admit;
use crate::worker::clock::Now;
use crate::worker::intercept;
use crate::worker::net::{HEADER_ROOM, Net};
use crate::worker::proxied::Sessions;
use crate::worker::reassembly::{Ipv4Identity, Span};
use crate::worker::runtime::View;
use crate::worker::{collect, dispatch, stages};
use dpdk::Mbuf;
use fedgate_flow::Booked;
use fedgate_flow::conn::{ConnId, Dir, NO_SESSION};
use fedgate_flow::firewall::Admission;
use fedgate_flow::rewrite_fragment;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_wire::checksum::Sum;
use fedgate_wire::{Fragment, Ipv4, Kind, Parsed, emit, icmp4, parse, proto};

type Piece = collect::Piece<Parsed>;
type Pieces = collect::Pieces<Parsed>;

/// One fragment, from a port.
#[cold]
pub(super) fn packet(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
) {
    let Some(Ok(ip)) = mbuf.data().get(usize::from(parsed.l3)..).map(Ipv4::new_checked) else {
        return net.drop(DropReason::InvalidIpLength, mbuf);
    };
    let id = Ipv4Identity {
        src: parsed.tuple.src,
        dst: parsed.tuple.dst,
        ident: ip.ident(),
        proto: parsed.tuple.proto,
        ifindex,
    };
    let start = ip.fragment_offset();
    let span = Span {
        start,
        // The parser has seen that the whole is no longer than a datagram can be.
        end: start + ip.payload().len() as u16,
        more: ip.fragment_word() & fedgate_wire::ipv4::MORE_FRAGMENTS != 0,
    };
    let piece = Piece { mbuf, parsed: *parsed };
    collect::put(net, view, now, (id, span), piece, |net, pieces, len| {
        whole(net, sessions, view, now, ifindex, pieces, len);
    });
}

/// Its time is over: its sender is told, if it sent the first fragment (RFC 1122 3.3.2).
pub(in crate::worker) fn overdue(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &Pieces) {
    if let Some(first) = pieces.first().filter(|piece| piece.parsed.frag == Fragment::First) {
        let error = icmp4::Error::ReassemblyTimeExceeded;
        net.answer_with_error(view, now, ifindex, error, &first.mbuf, &first.parsed);
    }
}

/// A datagram is here: `len` bytes of payload in `pieces`.
fn whole(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    pieces: &mut Pieces,
    len: u16,
) {
    let least_ttl = pieces.iter().map(|piece| piece.parsed.ttl).min();
    let Some(first) = pieces.first_mut().filter(|piece| piece.parsed.frag == Fragment::First) else {
        return collect::drop_all(net, DropReason::Fragment, pieces);
    };
    // A datagram goes as far as the most travelled of its pieces.
    first.parsed.ttl = least_ttl.unwrap_or(first.parsed.ttl);
    let header = first.parsed.l4 - first.parsed.l3;
    // Its head speaks for it: everything is there that is read of a datagram that came whole, but for the data.
    let datagram = Parsed { ip_len: header.saturating_add(len), frag: Fragment::No, ..first.parsed };
    if datagram.tuple.proto == proto::UDP && udp_len(first).is_none_or(|said| said > len) {
        return collect::drop_all(net, DropReason::InvalidUdpLength, pieces);
    }
    let hash = net.flow.conns.hash(&datagram.tuple);
    match net.flow.conns.lookup(hash, &datagram.tuple) {
        Some((id, dir)) => established(net, sessions, view, now, ifindex, pieces, &datagram, (id, dir)),
        None => {
            if net.may_hand_over()
                && let Some(there) = dispatch::whole(net, view, ifindex, &datagram.tuple)
            {
                // Its worker collects them anew: they go there in order, and nothing has been changed but our books.
                return pieces.drain(..).for_each(|piece| net.hand_over(there, piece.mbuf));
            }
            begins(net, sessions, view, now, ifindex, pieces, &datagram);
        }
    }
}

fn udp_len(first: &Piece) -> Option<u16> {
    let at = usize::from(first.parsed.l4) + 4;
    first.mbuf.data().get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// Of a connection: what `stages` does with a packet of one.
fn established(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    pieces: &mut Pieces,
    datagram: &Parsed,
    (id, dir): (ConnId, Dir),
) {
    let hot = net.flow.conns.hot(id);
    if hot.iface[dir as usize] != ifindex {
        return collect::drop_all(net, DropReason::RpfViolated, pieces);
    }
    if hot.session() != NO_SESSION {
        if let Some((mbuf, parsed)) = join(net, pieces, datagram) {
            sessions.input(net, now, id, dir, mbuf, &parsed);
        }
        return;
    }
    if datagram.ttl <= 1 {
        return answer(net, view, now, ifindex, icmp4::Error::TtlExceeded, DropReason::TtlExceeded, pieces);
    }
    let booked = stages::packet(pieces[0].mbuf.data(), datagram);
    match net.flow.account(id, dir, &booked, &view.flow, now.tick()) {
        Ok(Booked::Passes) => forward(net, view, now, ifindex, (id, dir), pieces),
        Ok(Booked::Afresh) => {
            net.end(id, now);
            begins(net, sessions, view, now, ifindex, pieces, datagram);
        }
        Ok(Booked::Handshake(reaction)) => {
            pieces.clear(); // they have said what they had to say
            intercept::react(net, view, now, id, &reaction);
        }
        Err(reason) => collect::drop_all(net, reason, pieces),
    }
}

/// Of no connection: what `slow` does with a first packet.
fn begins(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    pieces: &mut Pieces,
    datagram: &Parsed,
) {
    match admit(net, view, now, ifindex, &pieces[0].mbuf, &pieces[0].parsed, None, None) {
        Admission::New { id, tls_proxy: None } => {
            let booked = stages::packet(pieces[0].mbuf.data(), datagram);
            match net.flow.account(id, Dir::Forward, &booked, &view.flow, now.tick()) {
                Ok(_) => forward(net, view, now, ifindex, (id, Dir::Forward), pieces),
                Err(reason) => {
                    net.end(id, now);
                    collect::drop_all(net, reason, pieces);
                }
            }
        }
        Admission::New { id, tls_proxy: Some(proxy) } => match join(net, pieces, datagram) {
            Some((mbuf, parsed)) => sessions.open(net, view, now, id, (proxy, None), mbuf, &parsed),
            None => net.end(id, now),
        },
        Admission::Local => local(net, view, now, ifindex, pieces, datagram),
        // Nobody sends a SYN in pieces who does not wish to be taken for a flood.
        Admission::Intercept { limit: reason, .. } | Admission::Refused(reason) => {
            collect::drop_all(net, reason, pieces)
        }
    }
}

/// Sends all pieces the way of a connection, or none where one is too large and must not be cut (RFC 1191).
fn forward(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    (id, dir): (ConnId, Dir),
    pieces: &mut Pieces,
) {
    let hot = net.flow.conns.hot(id);
    let (leaves, deltas) = (hot.leaves_as(dir), hot.deltas.towards(dir));
    let shared = hot.key(dir).src != leaves.src;
    let egress = hot.iface[dir.flip() as usize];
    let mtu = view.flow.interfaces.get(usize::from(egress)).map_or(u16::MAX, |i| i.mtu);
    if pieces.iter().any(|piece| piece.parsed.ip_len > mtu && piece.parsed.dont_fragment) {
        let error = icmp4::Error::FragmentationNeeded { mtu };
        return answer(net, view, now, ifindex, error, DropReason::MtuExceeded, pieces);
    }
    let ident = shared.then(|| net.fragments.new_ident());
    if let Some(first) = pieces.first_mut() {
        intercept::shift(net, id, dir, first.mbuf.data_mut(), first.parsed.l4);
    }
    for Piece { mut mbuf, parsed } in pieces.drain(..) {
        rewrite_fragment::translate(mbuf.data_mut(), &parsed, &leaves, deltas, ident);
        if parsed.ip_len > mtu {
            net.send_in_pieces(view, now, id, dir, mtu, mbuf, &parsed);
        } else {
            net.send_by_connection(view, now, id, dir, mbuf);
        }
    }
}

/// Tells the sender about its first fragment, and drops all.
fn answer(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    error: icmp4::Error,
    reason: DropReason,
    pieces: &mut Pieces,
) {
    net.answer_with_error(view, now, ifindex, error, &pieces[0].mbuf, &pieces[0].parsed);
    collect::drop_all(net, reason, pieces);
}

/// For the appliance: an echo request is answered, the rest has nobody to go to.
fn local(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &mut Pieces, datagram: &Parsed) {
    if let Err(reason) = net.may_answer_echo(view, now, ifindex, datagram) {
        return collect::drop_all(net, reason, pieces);
    }
    let sum = pieces.iter().fold(Sum::default(), |sum, piece| sum.bytes(payload(piece)));
    if !sum.is_valid() {
        return collect::drop_all(net, DropReason::InvalidIcmp, pieces);
    }
    net.counters.add(Stat::IcmpEchoReplies, 1);
    for Piece { mut mbuf, parsed } in pieces.drain(..) {
        match emit::echo_reply_fragment(mbuf.data_mut(), &parsed) {
            Ok(len) if mbuf.trim(mbuf.len() - len).is_ok() => net.transmit(view, ifindex, mbuf),
            Ok(_) | Err(_) => net.drop(DropReason::ToUsNotHandled, mbuf),
        }
    }
}

fn payload(piece: &Piece) -> &[u8] {
    let Parsed { l3, l4, ip_len, .. } = piece.parsed;
    piece.mbuf.data().get(usize::from(l4)..usize::from(l3) + usize::from(ip_len)).unwrap_or_default()
}

/// The pieces in one buffer, and what they are together; dropped by name where that is not possible. A segment of a proxied connection is
/// never larger than what we have announced to take, so what does not fit is not for us.
fn join(net: &mut Net, pieces: &mut Pieces, datagram: &Parsed) -> Option<(Mbuf, Parsed)> {
    let Some(mut joined) = net.new_mbuf() else {
        collect::drop_all(net, DropReason::Fragment, pieces);
        return None;
    };
    let fits = match joined.append(HEADER_ROOM + usize::from(datagram.ip_len)) {
        Ok(frame) => fill(frame, pieces, datagram),
        Err(_) => false,
    };
    match parse(joined.data()).ok().filter(|p| fits && p.kind == Kind::Ipv4 && p.frag == Fragment::No) {
        Some(parsed) => {
            pieces.clear();
            Some((joined, parsed))
        }
        None => {
            collect::drop_all(net, DropReason::Fragment, pieces);
            None
        }
    }
}

fn fill(frame: &mut [u8], pieces: &Pieces, datagram: &Parsed) -> bool {
    let head = usize::from(datagram.l4);
    let Some(first) = pieces.first().and_then(|piece| piece.mbuf.data().get(..head)) else { return false };
    frame[..head].copy_from_slice(first);
    let mut at = head;
    for piece in pieces {
        let bytes = payload(piece);
        let Some(room) = frame.get_mut(at..at + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        at += bytes.len();
    }
    // The length first: the view holds it against what is there.
    let l3 = usize::from(datagram.l3);
    frame[l3 + 2..l3 + 4].copy_from_slice(&datagram.ip_len.to_be_bytes());
    let Ok(mut ip) = Ipv4::new_checked(&mut frame[l3..]) else { return false };
    ip.set_fragment_word(0);
    ip.fill_checksum();
    at == frame.len()
}
