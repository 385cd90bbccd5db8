// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets that are not of a known connection: ARP, first packets, what is for the appliance itself, ICMP errors in
//! transit, and the ICMP errors that a router owes.
//!
//! Fragments are [`fragments`]'.
//!
//! Every function here is cold: it may look at rules and routes. None may block or grow without bound. Worker core only.

use super::clock::Now;
use super::net::Net;
use super::proxied::Sessions;
use super::runtime::View;
use super::{dispatch, intercept, ping, stages, tell, v6};
use dpdk::Mbuf;
use fedgate_flow::ahead::Seen;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::firewall::{Admission, First, Hits};
use fedgate_flow::intercept::{Proof, may_have_cookie};
use fedgate_flow::key::Key;
use fedgate_flow::rewrite;
use fedgate_tables::counters::{Counter, InterfaceCounter, NatCounter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Packet5;
use fedgate_tables::policy::IF_VERIFY_REVERSE_PATH;
use fedgate_wire::{Fragment, Kind, Parsed, checksum, icmp4, parse, proto};

pub(super) mod fragments;

/// What every link takes (RFC 791).
const OLD_ROUTER: u16 = 576;

/// Anything that the connection table does not know. `seen` is what was found out beforehand about a packet that may begin a connection.
#[cold]
pub(super) fn packet(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed,
    seen: Option<&Seen>,
) {
    if parsed.tuple.proto == proto::ICMP && parsed.icmp_type == icmp4::ECHO_REPLY {
        let Err(left) = ping::hear(net, view, now, ifindex, mbuf, parsed) else { return };
        mbuf = left;
    }
    if net.may_hand_over()
        && let Some(there) = dispatch::elsewhere(net, view, ifindex, mbuf.data(), parsed)
    {
        return net.hand_over(there, mbuf);
    }
    match parsed.kind {
        Kind::Arp => net.arp(view, now, ifindex, mbuf),
        Kind::Ipv6 => v6::packet(net, view, now, ifindex, mbuf),
        Kind::IcmpError => icmp_error(net, sessions, view, now, ifindex, mbuf, parsed),
        Kind::Ipv4 if parsed.frag != Fragment::No => {
            fragments::packet(net, sessions, view, now, ifindex, mbuf, parsed);
        }
        Kind::Ipv4 => first(net, sessions, view, now, ifindex, mbuf, parsed, seen),
    }
}

fn first(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
    seen: Option<&Seen>,
) {
    if let Some(proof) = intercept::proof(net, now, ifindex, mbuf.data(), parsed) {
        return intercept::proven(net, sessions, view, now, ifindex, mbuf, parsed, &proof);
    }
    match admit(net, view, now, ifindex, &mbuf, parsed, None, seen) {
        Admission::New { id, tls_proxy: None } => {
            let dir = Dir::Forward;
            let booked = stages::packet(mbuf.data(), parsed);
            match net.flow.account(id, dir, &booked, &view.flow, now.tick()) {
                Ok(_) => net.forward(view, now, ifindex, id, dir, mbuf, parsed),
                Err(reason) => {
                    net.end(id, now);
                    net.drop(reason, mbuf);
                }
            }
        }
        Admission::New { id, tls_proxy: Some(proxy) } => {
            sessions.open(net, view, now, id, (proxy, None), mbuf, parsed);
        }
        Admission::Local => net.local_delivery(view, now, ifindex, mbuf, parsed),
        Admission::Intercept { out_if, .. } => {
            intercept::answer(net, view, now, ifindex, out_if, mbuf, parsed);
        }
        Admission::Refused(reason) => net.drop(reason, mbuf),
    }
}

/// A segment that is not of its connection, and is to be dropped as `reason`. But where a SYN was answered by a cookie and repeated when the
/// limits had room again, there is a connection that knows nothing of the answer: what the client says of that counts more.
#[cold]
pub(super) fn refused_by_tcp(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
    (id, dir): (ConnId, Dir),
    reason: DropReason,
) {
    let hot = net.flow.conns.hot(id);
    let proof = match dir {
        Dir::Forward if may_have_cookie(hot.state, hot.history, hot.flags) => {
            intercept::proof(net, now, ifindex, mbuf.data(), parsed)
        }
        Dir::Forward | Dir::Reverse => None,
    };
    match proof {
        Some(proof) => {
            net.end(id, now);
            intercept::proven(net, sessions, view, now, ifindex, mbuf, parsed, &proof);
        }
        None => net.drop(reason, mbuf),
    }
}

/// Decides on a datagram that begins a connection by its first packet, or first fragment: books what decided, logs what is to be
/// logged, and tells the sender what it is owed. What then becomes of the datagram is the caller's. With a `proof` it is the ACK of
/// a cookie, and stands for the SYN.
pub(super) fn admit(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: &Mbuf,
    parsed: &Parsed,
    proof: Option<&Proof>,
    seen: Option<&Seen>,
) -> Admission {
    let packet = First::of(parsed, ifindex);
    if let Some(reason) = barred(view, ifindex, &parsed.tuple) {
        if reason == DropReason::RpfViolated {
            net.counters.count(Counter::Interface(ifindex, InterfaceCounter::RpfDrops), 1);
        }
        return Admission::Refused(reason);
    }
    let ways = dispatch::Ways::new(net, view);
    let xlates = net.flow.xlates.in_use().0;
    let mut hits = Hits::default();
    let admission = match proof {
        None => net.flow.admit_seen(&packet, &view.flow, ways, now.tick(), seen, &mut hits),
        Some(proof) => net.flow.admit_proven(&packet, proof, &view.flow, ways, now.tick(), &mut hits),
    };
    net.counters.add(Stat::XlatesBuilt, u64::from(net.flow.xlates.in_use().0 - xlates));
    book(net, &hits);
    tell::acls(net, view, now, || told_of(ifindex, parsed, &hits), &hits);
    match admission {
        Admission::New { .. } => {
            net.flow.fetch_next(dpdk::prefetch_near_at);
            net.counters.add(Stat::ConnsBuilt, 1);
        }
        Admission::Local => {}
        Admission::Intercept { .. } => tell::intercepts(net, now, told_of(ifindex, parsed, &hits), &hits),
        Admission::Refused(reason) => refused(net, view, now, ifindex, mbuf, parsed, reason, &hits),
    }
    admission
}

/// What may not begin a connection whatever the rules say.
pub(super) fn barred(view: &View<'_>, ifindex: u8, key: &Key) -> Option<DropReason> {
    if !fedgate_wire::ipv4::is_host(key.dst) || view.routes().is_directed_broadcast(key.dst) {
        return Some(DropReason::NotUnicast); // RFC 1812 5.3.5, RFC 2644
    }
    if view.interface(ifindex).is_none_or(|interface| interface.addr == 0) {
        return Some(DropReason::InterfaceUnconfigured); // it speaks IPv6 alone
    }
    spoofed(view, ifindex, key.src).then_some(DropReason::RpfViolated)
}

/// `ip verify reverse-path interface I`: the way back to a source must lead out where it came in (RFC 3704 2.2, strict; a default
/// route is a way). A connection's later packets are held to its interface anyhow.
fn spoofed(view: &View<'_>, ifindex: u8, src: u32) -> bool {
    let checks = view.interface(ifindex).is_some_and(|i| i.flags & IF_VERIFY_REVERSE_PATH != 0);
    checks && view.routes().lookup(src).is_none_or(|way| way.ifindex != u32::from(ifindex))
}

fn refused(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: &Mbuf,
    parsed: &Parsed,
    reason: DropReason,
    hits: &Hits,
) {
    tell::refused(net, view, now, || told_of(ifindex, parsed, hits), reason, hits);
    // RFC 1812 5.2.7.1, 5.3.1; RFC 6888 REQ-11.
    let owed = match reason {
        DropReason::NoRoute => Some(icmp4::Error::NetUnreachable),
        DropReason::TtlExceeded => Some(icmp4::Error::TtlExceeded),
        DropReason::PatPoolExhausted | DropReason::PatHostLimit => Some(icmp4::Error::HostUnreachable),
        _ => None,
    };
    if let Some(error) = owed {
        net.answer_with_error(view, now, ifindex, error, mbuf, parsed);
    }
}

fn book(net: &mut Net, hits: &Hits) {
    for slot in hits.aces.iter().flatten() {
        net.counters.ace(*slot);
    }
    if let Some(slot) = hits.translate {
        net.counters.nat(slot, NatCounter::Translate);
    }
    if let Some(slot) = hits.untranslate {
        net.counters.nat(slot, NatCounter::Untranslate);
    }
}

/// The packet as messages name it.
fn told_of(ifindex: u8, parsed: &Parsed, hits: &Hits) -> Packet5 {
    let tuple = parsed.tuple;
    let (dst, dport) = hits.real.unwrap_or((tuple.dst, tuple.dport));
    let (sport, dport) = match tuple.proto {
        proto::ICMP => (parsed.icmp_type.into(), parsed.icmp_code.into()),
        _ => (tuple.sport, dport),
    };
    Packet5 {
        proto: tuple.proto,
        src: tuple.src.into(),
        sport,
        dst: dst.into(),
        dport,
        flags: parsed.tcp_flags.0,
        in_if: ifindex,
        out_if: hits.out_if,
    }
}

/// Somebody's ICMP error about a packet that we translated, or about nothing we know.
fn icmp_error(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed,
) {
    // Source quench and redirects are for nobody behind us (RFC 6633, RFC 1812 5.2.7.2).
    if !matches!(parsed.icmp_type, icmp4::UNREACHABLE | icmp4::TIME_EXCEEDED | icmp4::PARAMETER_PROBLEM) {
        return net.drop(DropReason::InvalidIcmp, mbuf);
    }
    let known = rewrite::error_belongs_to(&net.flow, mbuf.data(), parsed);
    let Some((id, dir)) = known.filter(|(id, dir)| net.flow.conns.hot(*id).iface[*dir as usize] == ifindex)
    else {
        return net.drop(DropReason::IcmpErrorNoConn, mbuf);
    };
    let hot = *net.flow.conns.hot(id);
    if hot.session() != fedgate_flow::conn::NO_SESSION {
        // A proxied leg ends here, so there is nobody behind it to tell; its TCP has to know what the path takes.
        let word = too_big_of(mbuf.data(), parsed);
        return match word.is_some_and(|(seq, mtu)| sessions.too_big(net, id, dir.flip(), seq, mtu)) {
            true => drop(mbuf),
            false => net.drop(DropReason::IcmpErrorNoConn, mbuf),
        };
    }
    if parsed.ttl <= 1 {
        return net.drop(DropReason::IcmpErrorNoConn, mbuf);
    }
    let egress = hot.iface[dir.flip() as usize];
    if view.interface(egress).is_some_and(|i| parsed.ip_len > i.mtu) {
        return net.drop(DropReason::MtuExceeded, mbuf); // no error is owed for an error
    }
    intercept::unshift_quoted(net, id, dir.flip(), mbuf.data_mut(), parsed);
    rewrite::translate_error(mbuf.data_mut(), parsed, &hot, dir);
    net.send_by_connection(view, now, id, dir, mbuf);
}

/// What a fragmentation needed says: the sequence number of the segment that it quotes, and the bytes that the next link takes. A router that is
/// older than RFC 1191 says 0 of these, which stands for what every link has to take.
fn too_big_of(frame: &[u8], parsed: &Parsed) -> Option<(u32, u16)> {
    let icmp = frame.get(parsed.l4.into()..usize::from(parsed.l3) + usize::from(parsed.ip_len))?;
    let [icmp4::UNREACHABLE, icmp4::CODE_FRAGMENTATION_NEEDED, _, _, _, _, high, low, ..] = *icmp else {
        return None;
    };
    let quote = parse::embedded(frame, parsed).ok().filter(|_| checksum::is_valid(icmp))?;
    let seq = frame.get(usize::from(quote.l4) + 4..)?.first_chunk()?;
    let mtu = u16::from_be_bytes([high, low]);
    Some((u32::from_be_bytes(*seq), if mtu == 0 { OLD_ROUTER } else { mtu }))
}

/// The TTL ran out here: RFC 1812 5.3.1.
#[cold]
pub(super) fn ttl_exceeded(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
) {
    net.answer_with_error(view, now, ifindex, icmp4::Error::TtlExceeded, &mbuf, parsed);
    net.drop(DropReason::TtlExceeded, mbuf);
}

/// Larger than the next link takes, and not to be fragmented: RFC 1191.
#[cold]
pub(super) fn too_big(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mtu: u16,
    mbuf: Mbuf,
    parsed: &Parsed,
) {
    net.answer_with_error(view, now, ifindex, icmp4::Error::FragmentationNeeded { mtu }, &mbuf, parsed);
    net.drop(DropReason::MtuExceeded, mbuf);
}
