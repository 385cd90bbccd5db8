// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a router owes to a sender: ICMP errors, and echo replies for its own addresses. Worker core, slow path.

use super::{Net, write_header};
use crate::worker::clock::Now;
use crate::worker::icmp::{Offence, Silence};
use crate::worker::intercept;
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_flow::conn::NO_SESSION;
use fedgate_flow::rewrite;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Fragment, Kind, Parsed, icmp4, parse};

impl Net {
    /// Nobody answered ARP for the next hop of a packet that is already translated: undo that, tell its sender, drop it.
    pub(super) fn host_unreachable(&mut self, view: &View<'_>, now: Now, mut mbuf: Mbuf) {
        let whole = parse(mbuf.data()).ok().filter(|p| p.kind == Kind::Ipv4 && p.frag == Fragment::No);
        let sender = whole.and_then(|parsed| {
            let answer = parsed.tuple.mirror();
            let (id, back) = self.flow.conns.lookup(self.flow.conns.hash(&answer), &answer)?;
            let hot = self.flow.conns.hot(id);
            // What a proxy session sends is its own, and TCP will find out.
            if hot.session() != NO_SESSION {
                return None;
            }
            intercept::unshift(self, id, back.flip(), mbuf.data_mut(), parsed.l4);
            let sent = hot.key(back.flip());
            rewrite::translate(mbuf.data_mut(), &parsed, &sent, hot.deltas.towards(back));
            Some((hot.iface[back.flip() as usize], sent.src))
        });
        if let Some((ingress, src)) = sender
            && let Ok(parsed) = parse(mbuf.data())
        {
            let own = view.mac(ingress);
            write_header(&mut mbuf, own, own);
            if let Some(error) =
                self.make_error(view, now, ingress, icmp4::Error::HostUnreachable, &mbuf, &parsed)
            {
                // Its sender's MAC is not in the frame any more, so it goes by its address.
                if view.routes().lookup(src).is_some_and(|way| way.ifindex == u32::from(ingress)) {
                    self.send_to_known(view, ingress, src, error);
                }
            }
        }
        self.drop(DropReason::NoAdjacency, mbuf);
    }

    /// Sends to a neighbour that is known already; asks nobody, so that failures cannot breed.
    fn send_to_known(&mut self, view: &View<'_>, egress: u8, dst: u32, mut mbuf: Mbuf) {
        let next_hop = view.routes().lookup(dst).map_or(dst, |way| way.next_hop);
        match self.neigh.known(egress.into(), next_hop) {
            Some(mac) => {
                write_header(&mut mbuf, mac, view.mac(egress));
                self.transmit(view, egress, mbuf);
            }
            None => self.drop(DropReason::NoAdjacency, mbuf),
        }
    }

    /// Sends the ICMP error owed for a packet back to where it came from, if one is owed and the rate allows.
    #[cold]
    pub(in crate::worker) fn answer_with_error(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        error: icmp4::Error,
        about: &Mbuf,
        parsed: &Parsed,
    ) {
        if let Some(mbuf) = self.make_error(view, now, ifindex, error, about, parsed) {
            self.transmit(view, ifindex, mbuf);
        }
    }

    fn make_error(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        error: icmp4::Error,
        about: &Mbuf,
        parsed: &Parsed,
    ) -> Option<Mbuf> {
        let interface = view.interface(ifindex)?;
        let ingress = Station { mac: view.mac(ifindex), ip: interface.addr };
        let offence = Offence { frame: about.data(), parsed, ingress };
        let mut mbuf = self.new_mbuf()?;
        let room = mbuf.append(emit::MAX_ERROR_FRAME_LEN).ok()?;
        match self.icmp.error(now.millis(), &view.routes(), error, offence, room) {
            Ok(len) => {
                mbuf.trim(emit::MAX_ERROR_FRAME_LEN - len).ok()?;
                self.counters.add(Stat::IcmpErrorsSent, 1);
                Some(mbuf)
            }
            // The buffer never held a frame, so this is no drop.
            Err(_) => None,
        }
    }

    /// Whether an echo request is for the address of the interface it came in by, and the rate has room for its reply.
    pub(in crate::worker) fn may_answer_echo(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        parsed: &Parsed,
    ) -> Result<(), DropReason> {
        self.icmp.may_echo(now.millis(), &view.routes(), ifindex.into(), parsed).map_err(unanswered)
    }

    /// What [`Self::may_answer_echo`] would say, without any effect.
    pub(in crate::worker) fn would_answer_echo(
        &self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        parsed: &Parsed,
    ) -> Result<(), DropReason> {
        let mut icmp = self.icmp.clone();
        icmp.may_echo(now.millis(), &view.routes(), ifindex.into(), parsed).map_err(unanswered)
    }

    /// Answers an echo request to the interface's own address, or drops what else is for us.
    pub(in crate::worker) fn local_delivery(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        mut mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        let answer = self.icmp.echo(now.millis(), &view.routes(), ifindex.into(), mbuf.data_mut(), parsed);
        match answer {
            Ok(len) if mbuf.trim(mbuf.len() - len).is_ok() => {
                self.counters.add(Stat::IcmpEchoReplies, 1);
                self.transmit(view, ifindex, mbuf);
            }
            Ok(_) => self.drop(DropReason::ToUsNotHandled, mbuf),
            Err(silence) => self.drop(unanswered(silence), mbuf),
        }
    }
}

/// The drop reason of an echo request that is not answered.
pub(in crate::worker) fn unanswered(silence: Silence) -> DropReason {
    match silence {
        Silence::RateExceeded => DropReason::RateExceeded,
        Silence::NotOwed | Silence::NoRoom => DropReason::ToUsNotHandled,
    }
}
