// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery on the wire: answering for our addresses, learning from others, announcing and defending what is
//! ours, and sending packets by what is known (RFC 4861).
//!
//! What may be learned: a solicitation for an address of ours makes its sender known, if that is of this link; an
//! advertisement only updates what we ask about or know, and another station takes an address over only by the override
//! flag. Only an answer proves that its sender hears us; what anything else says is stale, to be asked at its next use (7.2.3, 7.2.5). Worker core, slow path.

use crate::worker::clock::Now;
use crate::worker::neigh::{Action, Heard, Learned, NextHop, Refusal, Resolve};
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

/// Announcements sent in one loop.
const ANNOUNCEMENTS_A_LOOP: usize = 8;

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
        let routes = view.routes6();
        if routes.is_own_of(ifindex, from.ip) {
            self.defend(view, now, ifindex, from);
            return false;
        }
        let asks_us = routes.is_own_of(ifindex, target);
        let us = Station6 { mac: view.mac(ifindex), ip: target };
        if from.ip == ipv6::UNSPECIFIED {
            // Duplicate address detection (RFC 4862 5.4.3): somebody wants an address that is ours. Nothing is learned from it.
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
        let routes = view.routes6();
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
    /// The handle is for keeping.
    pub(super) fn send_to6(
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
            Resolve::Held { hop } => Some(hop),
            Resolve::Refused { why, packet } => {
                let reason = match why {
                    Refusal::EntryQueueFull | Refusal::QueueFull => DropReason::AdjacencyQueueFull,
                    Refusal::TableFull => DropReason::NoAdjacency,
                };
                self.drop(reason, packet);
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

    /// Takes a new image into use: addresses to be announced. Where a way out may have `changed`, connections look theirs up anew; where
    /// interfaces have `moved`, what waited for a neighbour is dropped by name, and the neighbours will be asked again.
    pub(in crate::worker) fn adopt6(&mut self, view: &View<'_>, changed: bool, moved: bool) {
        let routes = view.routes6();
        let ours =
            routes.live().flat_map(|(ifindex, _)| routes.own(ifindex).map(move |ip| view.shown(ifindex, ip)));
        let Self { v6, counters, .. } = self;
        if changed {
            v6.epoch = v6.epoch.wrapping_add(1).max(1);
        }
        v6.announcements.adopt(ours);
        if moved {
            v6.neigh.clear(None, &mut |action| {
                if let Action::Failed { .. } = action {
                    counters.drop(DropReason::NoAdjacency);
                }
            });
        }
    }

    /// Announces some of the addresses that a new image brought (RFC 4861 7.2.6).
    pub(in crate::worker) fn announce6(&mut self, view: &View<'_>) -> usize {
        if self.worker() != 0 {
            return 0;
        }
        let some = self.v6.announcements.len().min(ANNOUNCEMENTS_A_LOOP);
        for _ in 0..some {
            let Some((ifindex, ip)) = self.v6.announcements.next() else { break };
            let us = Station6 { mac: view.mac(ifindex), ip };
            self.send_nd(view, ifindex, |f| emit6::announcement(f, us), Stat::NdAdvertisements);
        }
        some
    }

    /// Carries out what the neighbour table asked for.
    fn act6(&mut self, view: &View<'_>, now: Now) {
        let mut actions = std::mem::take(&mut self.v6.actions);
        for action in actions.drain(..) {
            match action {
                Action::SendRequest { ifindex, ip, to } => {
                    let ifindex = ifindex as u8;
                    let Some(own) = view.routes6().source_for(ifindex, ip) else { continue };
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

    fn send_nd(
        &mut self,
        view: &View<'_>,
        ifindex: u8,
        write: impl FnOnce(&mut [u8]) -> Result<usize, EmitError>,
        stat: Stat,
    ) {
        let Some(mut mbuf) = self.new_mbuf() else { return };
        let written = mbuf.append(emit6::ND_FRAME_LEN).is_ok_and(|frame| write(frame).is_ok());
        if written {
            self.counters.add(stat, 1);
            self.transmit(view, ifindex, mbuf);
        } else {
            self.drop(DropReason::NoMbuf, mbuf);
        }
    }
}

/// Ethernet header of an IPv6 frame.
pub(super) fn write_header(mbuf: &mut Mbuf, to: MacAddr, from: MacAddr) {
    if let Some(head) = mbuf.data_mut().first_chunk_mut::<HEADER_ROOM>() {
        head[..6].copy_from_slice(&to.0);
        head[6..12].copy_from_slice(&from.0);
        head[12..].copy_from_slice(&ethernet::TYPE_IPV6.to_be_bytes());
    }
}
