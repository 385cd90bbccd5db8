// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 packets on their way through: connections known and new, ICMPv6 errors in transit, and the errors that a router owes.
//!
//! A packet leaves as it came but for its hop limit and its Ethernet header. Routers do not fragment (RFC 8200 section 5):
//! what is larger than the next link takes goes back as "packet too big". Worker core, slow path.

use super::intercept;
use super::neighbours::write_stations;
use crate::worker::clock::Now;
use crate::worker::net::{Net, unanswered};
use crate::worker::runtime::View;
use crate::worker::{dispatch, ping, tell};
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir, NO_HOP};
use fedgate_flow::firewall::Hits;
use fedgate_flow::intercept::{Proof, may_have_cookie};
use fedgate_flow::v6::{Admission6, First6};
use fedgate_flow::{Booked, Packet};
use fedgate_tables::counters::{Counter, InterfaceCounter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Packet5;
use fedgate_wire::parse6::embedded6;
use fedgate_wire::{Parsed6, emit6, icmp6, ipv6, parse6, proto};

/// A packet that belongs to no connection.
pub(super) fn first(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf, parsed: &Parsed6) {
    if net.may_hand_over()
        && let Some(there) = dispatch::whole6(net, view, ifindex, &parsed.tuple)
    {
        return net.hand_over(there, mbuf);
    }
    let proof = intercept::proof(net, now, ifindex, mbuf.data(), parsed);
    match admit(net, view, now, ifindex, &mbuf, parsed, proof.as_ref()) {
        Admission6::New(id) if proof.is_some() => intercept::proven(net, view, now, id, mbuf),
        Admission6::Intercept { out_if, .. } => {
            intercept::answer(net, view, now, ifindex, out_if, mbuf, parsed);
        }
        Admission6::New(id) => {
            let booked = booked(mbuf.data(), parsed);
            match net.flow.account6(id, Dir::Forward, &booked, &view.flow, now.tick()) {
                Ok(_) => pass(net, view, now, ifindex, mbuf, parsed, id, Dir::Forward),
                Err(reason) => {
                    net.end6(id);
                    net.drop(reason, mbuf);
                }
            }
        }
        Admission6::Refused(reason) => net.drop(reason, mbuf),
    }
}

/// Decides on a packet that begins a connection by its head: books what decided, logs what is to be logged, and tells the sender what it
/// is owed. What then becomes of the packet is the caller's.
pub(super) fn admit(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: &Mbuf,
    parsed: &Parsed6,
    proof: Option<&Proof>,
) -> Admission6 {
    let first = First6::of(parsed, ifindex);
    let egress = |addr| view.routes6().lookup(addr).map(|way| way.ifindex);
    let (admission, hits) = match proof {
        None => net.flow.admit6(&first, &view.flow, egress, now.tick()),
        Some(proof) => net.flow.admit_proven6(&first, proof, &view.flow, egress, now.tick()),
    };
    for slot in hits.aces.into_iter().flatten() {
        net.counters.ace(slot);
    }
    tell::acls(net, view, now, || told_of(&first, &hits), &hits);
    match admission {
        Admission6::New(_) => net.counters.add(Stat::ConnsBuilt, 1),
        Admission6::Intercept { .. } => tell::intercepts(net, now, told_of(&first, &hits), &hits),
        Admission6::Refused(reason) => {
            if reason == DropReason::RpfViolated {
                net.counters.count(Counter::Interface(ifindex, InterfaceCounter::RpfDrops), 1);
            }
            tell::refused(net, view, now, || told_of(&first, &hits), reason, &hits);
            let owed = match reason {
                DropReason::NoRoute => Some(icmp6::Error::NoRoute),
                DropReason::TtlExceeded => Some(icmp6::Error::HopLimitExceeded),
                _ => None,
            };
            if let Some(error) = owed {
                net.answer_with_error6(view, now, ifindex, error, mbuf, parsed);
            }
        }
    }
    admission
}

/// The packet as messages name it.
fn told_of(first: &First6, hits: &Hits) -> Packet5 {
    let key = first.key;
    let (sport, dport) = match key.proto {
        proto::ICMPV6 => (first.icmp_type.into(), first.icmp_code.into()),
        _ => (key.sport, key.dport),
    };
    Packet5 {
        proto: key.proto,
        src: key.src.into(),
        sport,
        dst: key.dst.into(),
        dport,
        flags: first.tcp_flags,
        in_if: first.in_if,
        out_if: hits.out_if,
    }
}

/// A packet of a connection.
pub(super) fn established(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed6,
    id: ConnId,
    dir: Dir,
) {
    if net.flow.conns6.hot(id).iface[dir as usize] != ifindex {
        return net.drop(DropReason::RpfViolated, mbuf);
    }
    if parsed.hop_limit <= 1 {
        net.answer_with_error6(view, now, ifindex, icmp6::Error::HopLimitExceeded, &mbuf, parsed);
        return net.drop(DropReason::TtlExceeded, mbuf);
    }
    if net.flow.conns6.hot(id).is_opening() && !intercept::is_intact(mbuf.data(), parsed) {
        return net.drop(DropReason::BadTcpChecksum, mbuf);
    }
    match net.flow.account6(id, dir, &booked(mbuf.data(), parsed), &view.flow, now.tick()) {
        Ok(Booked::Passes) => pass(net, view, now, ifindex, mbuf, parsed, id, dir),
        Ok(Booked::Afresh) => {
            net.end6(id);
            first(net, view, now, ifindex, mbuf, parsed);
        }
        Ok(Booked::Handshake(reaction)) => intercept::react(net, view, now, id, &reaction),
        Err(reason) => {
            // As for IPv4: a client whose SYN came twice may answer the cookie that the first one had.
            let hot = net.flow.conns6.hot(id);
            let may = dir == Dir::Forward && may_have_cookie(hot.state, hot.history, hot.flags);
            if may && intercept::proof(net, now, ifindex, mbuf.data(), parsed).is_some() {
                net.end6(id);
                return first(net, view, now, ifindex, mbuf, parsed);
            }
            net.drop(reason, mbuf);
        }
    }
}

/// What is booked of a packet.
pub(super) fn booked<'a>(frame: &'a [u8], parsed: &Parsed6) -> Packet<'a> {
    let tcp = parsed.tuple.proto == proto::TCP;
    Packet::new(
        parsed.ip_len,
        parsed.l4 - parsed.l3,
        tcp.then(|| frame.get(usize::from(parsed.l4)..)).flatten(),
    )
}

/// Sends a packet of a connection on, if the next link takes it.
fn pass(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed6,
    id: ConnId,
    dir: Dir,
) {
    let mtu = mtu(net, view, id, dir);
    if parsed.ip_len > mtu {
        let error = icmp6::Error::PacketTooBig { mtu: mtu.max(ipv6::MIN_MTU).into() };
        net.answer_with_error6(view, now, ifindex, error, &mbuf, parsed);
        return net.drop(DropReason::MtuExceeded, mbuf);
    }
    intercept::shift(net, id, dir, mbuf.data_mut(), parsed.l4);
    hop(net, view, now, mbuf, parsed, id, dir);
}

/// What the link takes by which a connection's packets leave.
pub(super) fn mtu(net: &Net, view: &View<'_>, id: ConnId, dir: Dir) -> u16 {
    let egress = net.flow.conns6.hot(id).iface[dir.flip() as usize];
    view.flow.interfaces.get(usize::from(egress)).map_or(u16::MAX, |i| i.mtu)
}

/// One hop less, and out by the neighbour that the connection knows.
pub(super) fn hop(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    mut mbuf: Mbuf,
    parsed: &Parsed6,
    id: ConnId,
    dir: Dir,
) {
    if let Some(packet) = mbuf.data_mut().get_mut(usize::from(parsed.l3)..)
        && let Ok(mut ip) = ipv6::Ipv6::new_checked(packet)
    {
        // The callers have seen that there is one to take.
        ip.decrement_hop_limit();
    }
    send_by_connection(net, view, now, mbuf, id, dir);
}

/// Sends a packet the way that packets of `dir` leave.
pub(super) fn send_by_connection(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    mut mbuf: Mbuf,
    id: ConnId,
    dir: Dir,
) {
    let hot = net.flow.conns6.hot(id);
    let (egress, dst) = (hot.iface[dir.flip() as usize], hot.destination(dir));
    if hot.epoch == net.v6.adjacencies.epoch()
        && let Some(adjacency) =
            net.v6.adjacencies.get_mut(hot.hop[dir as usize]).filter(|adjacency| adjacency.mtu > 0)
    {
        adjacency.used = true;
        let (slot, egress) = (adjacency.slot, adjacency.egress);
        write_stations(&mut mbuf, &adjacency.stations);
        return net.push(slot, egress, mbuf);
    }
    let Some(hop) = net.send_to6(view, now, egress, dst, mbuf) else { return };
    let v6 = &mut net.v6;
    let number = v6.adjacencies.number(egress, hop, &mut v6.neigh, view);
    let epoch = v6.adjacencies.epoch();
    let hot = net.flow.conns6.hot_mut(id);
    if hot.epoch != epoch {
        hot.epoch = epoch;
        hot.hop = [NO_HOP; 2];
    }
    hot.hop[dir as usize] = number;
}

/// Somebody's ICMPv6 error about a packet that we passed on, or about nothing we know. It goes to that packet's sender as it is.
pub(super) fn icmp_error(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed6,
) {
    let Ok(quote) = embedded6(mbuf.data(), parsed) else { return net.drop(DropReason::InvalidIcmp, mbuf) };
    let told = mbuf.data().get(usize::from(parsed.l4) + 4..usize::from(parsed.embedded));
    let mtu = told.and_then(|rest| rest.first_chunk()).map_or(0, |rest| u32::from_be_bytes(*rest));
    if parsed.icmp_type == icmp6::PACKET_TOO_BIG && mtu < ipv6::MIN_MTU.into() {
        // There is no such link (RFC 8201 section 4); it would make hosts send atomic fragments (RFC 8021).
        return net.drop(DropReason::InvalidIcmp, mbuf);
    }
    let known = net.flow.conns6.lookup(&quote.tuple).filter(|(id, dir)| {
        // It comes from where that packet went.
        net.flow.conns6.hot(*id).iface[dir.flip() as usize] == ifindex
    });
    match known {
        Some(_) if parsed.hop_limit <= 1 => net.drop(DropReason::TtlExceeded, mbuf),
        // No error about an error; honest ones are of 1,280 bytes at most.
        Some(_) if parsed.ip_len > ipv6::MIN_MTU => net.drop(DropReason::MtuExceeded, mbuf),
        Some((id, dir)) => {
            intercept::unshift_quoted(net, id, dir, mbuf.data_mut(), parsed, &quote);
            hop(net, view, now, mbuf, parsed, id, dir.flip());
        }
        None => match dispatch::whole6(net, view, ifindex, &quote.tuple).filter(|_| net.may_hand_over()) {
            Some(there) => net.hand_over(there, mbuf),
            None => net.drop(DropReason::IcmpErrorNoConn, mbuf),
        },
    }
}

impl Net {
    /// Answers an echo request to an address of the interface, takes the answer to one of ours, or drops what else is for us.
    pub(super) fn local_delivery6(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        mut mbuf: Mbuf,
        parsed: &Parsed6,
    ) {
        let Err(left) = ping::hear6(self, view, now, ifindex, mbuf, parsed) else { return };
        mbuf = left;
        let routes = self.routes6(view);
        let answer = self.v6.icmp.echo(now.millis(), &routes, ifindex, mbuf.data_mut(), parsed);
        match answer {
            Ok(len) if mbuf.trim(mbuf.len() - len).is_ok() => {
                self.counters.add(Stat::IcmpEchoReplies, 1);
                self.transmit(view, ifindex, mbuf);
            }
            Ok(_) => self.drop(DropReason::ToUsNotHandled, mbuf),
            Err(silence) => self.drop(unanswered(silence), mbuf),
        }
    }

    /// Whether [`Self::local_delivery6`] would answer, without any effect.
    pub(super) fn would_answer_echo6(
        &self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        frame: &[u8],
        parsed: &Parsed6,
    ) -> Result<(), DropReason> {
        let (mut icmp, mut frame) = (self.v6.icmp.clone(), frame.to_vec());
        let answer = icmp.echo(now.millis(), &self.routes6(view), ifindex, &mut frame, parsed);
        answer.map(drop).map_err(unanswered)
    }

    /// Sends the ICMPv6 error owed for a packet back to where it came from, if one is owed and the rate allows.
    pub(super) fn answer_with_error6(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        error: icmp6::Error,
        about: &Mbuf,
        parsed: &Parsed6,
    ) {
        let Some(mut mbuf) = self.new_mbuf() else { return };
        let Ok(room) = mbuf.append(emit6::MAX_ERROR_FRAME_LEN) else { return };
        let from = (ifindex, view.mac(ifindex));
        let about = (about.data(), parsed);
        let routes = self.routes6(view);
        match self.v6.icmp.error(now.millis(), &routes, error, from, about, room) {
            Ok(len) if mbuf.trim(emit6::MAX_ERROR_FRAME_LEN - len).is_ok() => {
                self.counters.add(Stat::IcmpErrorsSent, 1);
                self.transmit(view, ifindex, mbuf);
            }
            // The buffer never held a frame, so this is no drop.
            Ok(_) | Err(_) => {}
        }
    }

    /// Nobody answered for the next hop of a packet: tell its sender, whose station its frame still names, and drop it.
    pub(super) fn address_unreachable(&mut self, view: &View<'_>, now: Now, mut mbuf: Mbuf) {
        if let Ok(parsed) = parse6(mbuf.data())
            && let Some((id, dir)) = self.flow.conns6.lookup(&parsed.tuple)
        {
            intercept::unshift(self, id, dir, mbuf.data_mut(), parsed.l4, None);
            let ingress = self.flow.conns6.hot(id).iface[dir as usize];
            self.answer_with_error6(view, now, ingress, icmp6::Error::AddressUnreachable, &mbuf, &parsed);
        }
        self.drop(DropReason::NoAdjacency, mbuf);
    }

    /// Ends IPv6 connections whose time is over.
    pub(in crate::worker) fn expire6(&mut self, view: &View<'_>, now: Now, budget: usize) -> usize {
        let ended = self.flow.expire6(&view.flow, now.tick(), budget);
        if ended > 0 {
            self.counters.add(Stat::ConnsTornDown, ended.into());
        }
        ended as usize
    }

    /// Ends one IPv6 connection.
    pub(in crate::worker) fn end6(&mut self, id: ConnId) {
        if self.flow.end6(id) {
            self.counters.add(Stat::ConnsTornDown, 1);
        }
    }
}
