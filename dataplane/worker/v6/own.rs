// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our own addresses on the wire: asked for before they are used, announced when they are ours (RFC 4862 5.4, RFC 4861 7.2.6), and the groups
//! that go with them reported (RFC 3810).
//!
//! When and which is [`super::addresses`]' and [`super::listener`]'s to say; here it is done. The first worker speaks for all; the others hear
//! what it hears, by copies of good messages, and draw the same conclusions. Worker core, slow path.

use super::addresses::{DELAY_MS, Due, Own, Standing};
use super::route::Routes6;
use crate::worker::clock::Now;
use crate::worker::neigh::Action;
use crate::worker::net::{Gossip, LogKind, Net, Origin};
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_tables::policy::MAX_INTERFACES;
use fedgate_wire::emit6::{self, Station6};
use fedgate_wire::{EmitError, Ethernet, Parsed6, ipv6, mld};
use std::net::Ipv6Addr;

/// Messages sent in one loop.
const MESSAGES_A_LOOP: usize = 8;

impl Net {
    /// The ways out for IPv6, and those of our addresses that are to be used.
    pub(in crate::worker) fn routes6<'v>(&self, view: &View<'v>) -> Routes6<'v> {
        Routes6 { barred: self.v6.addresses.barred(), ..view.routes6() }
    }

    /// How our addresses stand.
    pub(in crate::worker) fn own6(&self) -> &[Own] {
        self.v6.addresses.list()
    }

    /// Takes a new image into use: addresses to be asked for, groups to be reported. Where interfaces have `moved`, what waited for a neighbour
    /// is dropped by name, and the neighbours will be asked again.
    pub(in crate::worker) fn adopt6(&mut self, view: &View<'_>, now: Now, moved: bool) {
        let routes = view.routes6();
        let ours = routes
            .live()
            .flat_map(|(ifindex, _)| routes.all_own(ifindex).map(move |ip| view.shown(ifindex, ip)));
        let asks = self.worker() == 0;
        let Self { v6, counters, .. } = self;
        let delay = if asks { v6.listener.delay(DELAY_MS) } else { DELAY_MS };
        v6.addresses.adopt(ours, now.millis() + delay, asks);
        for ifindex in 0..MAX_INTERFACES as u8 {
            v6.listener.listen(ifindex, routes.groups(ifindex), now.millis() + delay);
        }
        if moved {
            v6.neigh.clear(None, &mut |action| {
                if let Action::Failed { .. } = action {
                    counters.drop(DropReason::NoAdjacency);
                }
            });
        }
    }

    /// Says what is due of our addresses and groups. Gives how many messages that were.
    pub(in crate::worker) fn speak6(&mut self, view: &View<'_>, now: Now) -> usize {
        let speaks = self.worker() == 0;
        let mut said = 0;
        // Reports first: what asks for an address listens for the answer.
        while said < MESSAGES_A_LOOP && speaks {
            let Some((ifindex, records)) = self.v6.listener.poll(now.millis()) else { break };
            let own = self.routes6(view).own(ifindex).find(|own| ipv6::is_link_local(*own));
            let from = Station6 { mac: view.mac(ifindex), ip: own.unwrap_or(ipv6::UNSPECIFIED) };
            self.send_own(view, ifindex, mld::MAX_FRAME_LEN, |frame| mld::report(frame, from, &records));
            said += 1;
        }
        while said < MESSAGES_A_LOOP {
            let Some(due) = self.v6.addresses.poll(now.millis()) else { break };
            said += 1;
            match due {
                Due::Ask(ifindex, ip) => {
                    let mac = view.mac(ifindex);
                    self.send_nd(view, ifindex, |f| emit6::probe(f, mac, ip), Stat::NdSolicitations);
                }
                Due::Announce(ifindex, ip) if speaks => {
                    if ipv6::is_link_local(ip) {
                        self.v6.listener.say_again(ifindex, now.millis());
                    }
                    let us = Station6 { mac: view.mac(ifindex), ip };
                    self.send_nd(view, ifindex, |f| emit6::announcement(f, us), Stat::NdAdvertisements);
                }
                Due::Announce(..) => {}
            }
        }
        said
    }

    /// Somebody speaks as one who has `target`, or is about to. True where that makes an address a duplicate that was to be ours.
    pub(super) fn claimed(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        target: u128,
        frame: &Mbuf,
    ) -> bool {
        let station = Ethernet::new_checked(frame.data()).map(|head| head.src()).unwrap_or_default();
        // Our own question, by way of a bridge that loops.
        if station == view.mac(ifindex) || !self.v6.addresses.claimed(ifindex, target) {
            return false;
        }
        self.tell_mates(view, now, ifindex, frame, Gossip::Awaited);
        if self.origin() != Origin::Copy && self.may_log(now, LogKind::Link) {
            let text = format!("{} is a duplicate: {station} has it", Ipv6Addr::from(target));
            self.event(Event::Port { ifindex, text });
        }
        true
    }

    /// Somebody asks who listens to which groups.
    pub(super) fn listener_query(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        mbuf: Mbuf,
        parsed: &Parsed6,
    ) {
        match mld::read_query(mbuf.data(), parsed) {
            Ok(query) if self.worker() == 0 => self.v6.listener.asked(ifindex, query, now.millis()),
            Ok(_) => self.tell_mates(view, now, ifindex, &mbuf, Gossip::Nd),
            Err(_) if self.origin() == Origin::Copy => {}
            Err(_) => self.drop(DropReason::InvalidNd, mbuf),
        }
    }

    /// Sends a frame of our own, of `room` bytes at most. False where there is no buffer for it.
    pub(super) fn send_own(
        &mut self,
        view: &View<'_>,
        ifindex: u8,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, EmitError>,
    ) -> bool {
        let Some(mut mbuf) = self.new_mbuf() else { return false };
        let written = mbuf.append(room).ok().and_then(|frame| write(frame).ok());
        match written.map(|len| mbuf.trim(room - len)) {
            Some(Ok(())) => {
                self.transmit(view, ifindex, mbuf);
                true
            }
            Some(Err(_)) | None => {
                self.drop(DropReason::NoMbuf, mbuf);
                false
            }
        }
    }
}

impl Standing {
    /// As listings show it.
    pub(in crate::worker) fn name(self) -> &'static str {
        match self {
            Self::Tentative => "tentative",
            Self::Preferred => "own",
            Self::Duplicate => "duplicate",
        }
    }
}
