// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery on the wire: answering for our addresses, learning from others, defending what is ours, and sending packets by
//! what is known (RFC 4861). How addresses become ours is [`super::own`]'s.
//!
//! What may be learned: a solicitation for an address of ours makes its sender known, if that is of this link; an
//! advertisement only updates what we ask about or know, and another station takes an address over only by the override
//! flag. Only an answer proves that its sender hears us; what anything else says is stale, to be asked at its next use (7.2.3, 7.2.5). Worker core, slow path.

use crate::worker::clock::Now;
use crate::worker::neigh::{Action, Heard, Learned, NextHop, Resolve};
use crate::worker::net::{Gossip, HEADER_ROOM, LogKind, Net, Origin};
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_wire::emit6::{self, Station6};
use fedgate_wire::nd::{self, Message, flag};
use fedgate_wire::{EmitError, Ethernet, MacAddr, Parsed6, ethernet, ipv6};
use std::net::Ipv6Addr;

impl Net {
    /// A neighbour solicitation or advertisement: answer it, learn from it.
    pub(super) fn neighbour_message(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        mbuf: Mbuf,
        parsed: &Parsed6,
    ) {
        // What comes as a copy is answered by the worker that received it; here it is only learned from.
        let said = nd::read(mbuf.data(), parsed).ok();
        let station = Ethernet::new_checked(mbuf.data()).map(|head| head.src()).unwrap_or_default();
        let good = match said {
            Some(Message::Solicitation { target, from, mac }) => {
                let from = Station6 { mac: mac.unwrap_or(station), ip: from };
                self.solicited(view, now, ifindex, target, from, &mbuf)
            }
            Some(Message::Advertisement { target, mac, flags }) => {
                self.advertised(view, now, ifindex, (target, mac, flags), &mbuf)
            }
            None => false,
        };
        if good || self.origin() == Origin::Copy {
            drop(mbuf); // consumed: it goes no further
        } else {
            self.drop(DropReason::InvalidNd, mbuf);
        }
    }

    /// Somebody asks who has `target`. False where the message is not to be believed.
    fn solicited(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        target: u128,
        from: Station6,
        frame: &Mbuf,
    ) -> bool {
        let routes = self.routes6(view);
        if routes.is_own_of(ifindex, from.ip) {
            self.defend(view, now, ifindex, from);
            return false;
        }
        let asks_us = routes.is_own_of(ifindex, target);
        let us = Station6 { mac: view.mac(ifindex), ip: target };
        if from.ip == ipv6::UNSPECIFIED {
            // Duplicate address detection (RFC 4862 5.4.3): somebody wants an address that is ours, or is to be. Nothing is learned from it.
            self.claimed(view, now, ifindex, target, frame);
            if asks_us && self.origin() != Origin::Copy {
                self.send_nd(view, ifindex, |f| emit6::announcement(f, us), Stat::NdAdvertisements);
            }
            return true;
        }
        if !routes.is_on_link(ifindex, from.ip) || !from.mac.is_unicast() {
            return false;
        }
        self.tell6(view, now, ifindex, from.ip, Gossip::Nd, frame);
        let heard = Heard { ifindex: ifindex.into(), ip: from.ip, mac: from.mac, asks_us, confirms: false };
        self.heard6(view, now, heard);
        if asks_us && self.origin() != Origin::Copy {
            self.send_nd(view, ifindex, |f| emit6::advertisement(f, us, from), Stat::NdAdvertisements);
        }
        true
    }

    /// Somebody says who has `target`. False where that cannot be.
    fn advertised(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        (target, mac, flags): (u128, Option<MacAddr>, u8),
        frame: &Mbuf,
    ) -> bool {
        let routes = self.routes6(view);
        if self.claimed(view, now, ifindex, target, frame) {
            return true;
        }
        if routes.is_own_of(ifindex, target) {
            self.defend(view, now, ifindex, Station6 { mac: mac.unwrap_or_default(), ip: target });
            return false;
        }
        if !routes.is_on_link(ifindex, target) {
            return false;
        }
        let confirms = flags & flag::SOLICITED != 0;
        let gossip = if confirms { Gossip::NdAnswer } else { Gossip::Nd };
        self.tell6(view, now, ifindex, target, gossip, frame);
        let known = self.v6.neigh.known(ifindex.into(), target);
        let Some(mac) = mac.or(known) else { return true };
        if known.is_some_and(|old| old != mac) && flags & flag::OVERRIDE == 0 {
            self.v6.neigh.doubt(now.millis(), ifindex.into(), target);
        } else {
            let heard = Heard { ifindex: ifindex.into(), ip: target, mac, asks_us: false, confirms };
            self.heard6(view, now, heard);
        }
        true
    }

    /// Lets the other workers learn from a good message about `ip`.
    fn tell6(&mut self, view: &View<'_>, now: Now, ifindex: u8, ip: u128, gossip: Gossip, frame: &Mbuf) {
        let awaited = self.v6.neigh.awaits(ifindex.into(), ip);
        self.tell_mates(view, now, ifindex, frame, if awaited { Gossip::Awaited } else { gossip });
    }

    /// Somebody else claims an address of ours: say whose it is.
    fn defend(&mut self, view: &View<'_>, now: Now, ifindex: u8, claimed: Station6) {
        if self.origin() == Origin::Copy {
            return;
        }
        if self.v6.defence.take(now.millis()) {
            let us = Station6 { mac: view.mac(ifindex), ip: claimed.ip };
            self.send_nd(view, ifindex, |f| emit6::announcement(f, us), Stat::NdAdvertisements);
        }
        if self.may_log(now, LogKind::Link) {
            let text = format!("{} claims our address {}", claimed.mac, Ipv6Addr::from(claimed.ip));
            self.event(Event::Port { ifindex, text });
        }
    }

    fn heard6(&mut self, view: &View<'_>, now: Now, heard: Heard<u128>) {
        let mut actions = std::mem::take(&mut self.v6.actions);
        let learned = self.v6.neigh.hear(now.millis(), heard, &mut |action| actions.push(action));
        self.v6.actions = actions;
        self.act6(view, now);
        if let Learned::Moved { from } = learned
            && self.origin() != Origin::Copy
            && self.may_log(now, LogKind::Link)
        {
            let text = format!("{} moved from {from} to {}", Ipv6Addr::from(heard.ip), heard.mac);
            self.event(Event::Port { ifindex: heard.ifindex as u8, text });
        }
    }

    /// Sends a packet (behind [`HEADER_ROOM`] bytes) to `dst` out of `egress`, asking for the next hop's MAC where need be.
    /// The handle of one that is known is for keeping.
    pub(in crate::worker) fn send_to6(
        &mut self,
        view: &View<'_>,
        now: Now,
        egress: u8,
        dst: u128,
        mut mbuf: Mbuf,
    ) -> Option<NextHop> {
        let Some(way) = view.routes6().lookup(dst).filter(|way| way.ifindex == egress) else {
            self.drop(DropReason::NoRoute, mbuf);
            return None;
        };
        let mut actions = std::mem::take(&mut self.v6.actions);
        let resolved =
            self.v6.neigh.resolve(now.millis(), egress.into(), way.next_hop, mbuf, &mut |action| {
                actions.push(action);
            });
        self.v6.actions = actions;
        let hop = match resolved {
            Resolve::Known { hop, mac, packet } => {
                mbuf = packet;
                write_header(&mut mbuf, mac, view.mac(egress));
                self.transmit(view, egress, mbuf);
                Some(hop)
            }
            // Only those who have answered once are kept, so that a scan of a network fills no list.
            Resolve::Held { .. } => None,
            Resolve::Refused { why, packet } => {
                self.drop(why.reason(), packet);
                None
            }
        };
        self.act6(view, now);
        hop
    }

    /// Lets IPv6 neighbours do what their time asks for.
    pub(in crate::worker) fn resolve6(&mut self, view: &View<'_>, now: Now) -> usize {
        if !self.v6.neigh.is_due(now.millis()) {
            return 0;
        }
        self.v6.adjacencies.tell_use(&mut self.v6.neigh);
        let mut actions = std::mem::take(&mut self.v6.actions);
        self.v6.neigh.poll(now.millis(), &mut |action| actions.push(action));
        self.v6.actions = actions;
        let work = self.v6.actions.len();
        if work > 0 {
            self.act6(view, now);
        }
        work
    }

    /// Forgets all IPv6 neighbours (`clear ipv6 neighbors`); what waited for one is dropped by name.
    pub(in crate::worker) fn clear_neighbours6(&mut self, view: &View<'_>, now: Now) {
        let mut actions = std::mem::take(&mut self.v6.actions);
        self.v6.neigh.clear(None, &mut |action| actions.push(action));
        self.v6.actions = actions;
        self.act6(view, now);
    }

    /// Carries out what the neighbour table asked for.
    fn act6(&mut self, view: &View<'_>, now: Now) {
        let mut actions = std::mem::take(&mut self.v6.actions);
        for action in actions.drain(..) {
            match action {
                Action::SendRequest { ifindex, ip, to } => {
                    let ifindex = ifindex as u8;
                    let Some(own) = self.routes6(view).source_for(ifindex, ip) else { continue };
                    let us = Station6 { mac: view.mac(ifindex), ip: own };
                    let to = Some(to).filter(|mac| *mac != MacAddr::BROADCAST);
                    let write = |frame: &mut [u8]| emit6::solicitation(frame, us, ip, to);
                    self.send_nd(view, ifindex, write, Stat::NdSolicitations);
                }
                Action::Transmit { ifindex, mac, mut packet } => {
                    write_header(&mut packet, mac, view.mac(ifindex as u8));
                    self.transmit(view, ifindex as u8, packet);
                }
                Action::Failed { packet, .. } => self.address_unreachable(view, now, packet),
            }
        }
        self.v6.actions = actions;
    }

    pub(super) fn send_nd(
        &mut self,
        view: &View<'_>,
        ifindex: u8,
        write: impl FnOnce(&mut [u8]) -> Result<usize, EmitError>,
        stat: Stat,
    ) {
        if self.send_own(view, ifindex, emit6::ND_FRAME_LEN, write) {
            self.counters.add(stat, 1);
        }
    }
}

/// Ethernet header of an IPv6 frame.
fn write_header(mbuf: &mut Mbuf, to: MacAddr, from: MacAddr) {
    let mut stations = [0; 12];
    stations[..6].copy_from_slice(&to.0);
    stations[6..].copy_from_slice(&from.0);
    write_stations(mbuf, &stations);
}

/// The same of a way out that is known.
pub(super) fn write_stations(mbuf: &mut Mbuf, stations: &[u8; 12]) {
    if let Some(head) = mbuf.data_mut().first_chunk_mut::<HEADER_ROOM>() {
        head[..12].copy_from_slice(stations);
        head[12..].copy_from_slice(&ethernet::TYPE_IPV6.to_be_bytes());
    }
}
