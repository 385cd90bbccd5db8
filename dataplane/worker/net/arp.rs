// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP: answering for our addresses, learning from others, announcing and defending what is ours. Worker core, slow path.

use super::handover::Gossip;
use super::{HEADER_ROOM, LogKind, Net, Origin};
use crate::worker::clock::Now;
use crate::worker::neigh::{Heard, Learned};
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_wire::arp::Operation;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Arp, EmitError};
use std::net::Ipv4Addr;

/// Announcements sent in one loop.
const ANNOUNCEMENTS_A_LOOP: usize = 8;

impl Net {
    /// Announces some of the addresses that a new image brought. One worker does it for all.
    pub fn announce(&mut self, view: &View<'_>) -> usize {
        if self.worker() != 0 {
            return 0;
        }
        let some = self.announcements.len().min(ANNOUNCEMENTS_A_LOOP);
        for _ in 0..some {
            let Some((ifindex, ip)) = self.announcements.next() else { break };
            let from = Station { mac: view.mac(ifindex), ip };
            self.send_arp(view, ifindex, |frame| emit::arp_gratuitous(frame, from), Stat::ArpRequests);
        }
        some
    }

    /// An ARP message: answer it, learn from it.
    #[cold]
    pub(in crate::worker) fn arp(&mut self, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf) {
        let Ok(arp) = Arp::new_checked(&mbuf.data()[HEADER_ROOM..]) else {
            return self.drop(DropReason::InvalidArp, mbuf);
        };
        let (sender, target, operation) =
            (Station { mac: arp.sender_mac(), ip: arp.sender_ip() }, arp.target_ip(), arp.operation());
        let asks_us = operation == Operation::Request && view.answers_arp_for(ifindex, target);
        if self.origin() == Origin::Copy {
            // Answered by the worker that received it.
            if !view.answers_arp_for(ifindex, sender.ip)
                && view.routes().is_on_link(ifindex.into(), sender.ip)
            {
                self.hear(view, now, ifindex, sender, asks_us);
            }
            return drop(mbuf);
        }
        if view.answers_arp_for(ifindex, sender.ip) {
            // Somebody else claims an address of ours: say whose it is (RFC 5227 2.4).
            if self.defence.take(now.millis()) {
                let from = Station { mac: view.mac(ifindex), ip: sender.ip };
                self.send_arp(view, ifindex, |frame| emit::arp_gratuitous(frame, from), Stat::ArpRequests);
            }
            if self.may_log(now, LogKind::Link) {
                let text = format!("{} claims our address {}", sender.mac, Ipv4Addr::from(sender.ip));
                self.event(Event::Port { ifindex, text });
            }
            return self.drop(DropReason::InvalidArp, mbuf);
        }
        if sender.ip == 0 && asks_us {
            // A probe (RFC 5227 2.1.1): somebody wants an address that is ours. Nothing is learned from it.
            let from = Station { mac: view.mac(ifindex), ip: target };
            self.send_arp(view, ifindex, |frame| emit::arp_reply(frame, from, sender), Stat::ArpReplies);
            return drop(mbuf);
        }
        if !view.routes().is_on_link(ifindex.into(), sender.ip) {
            return self.drop(DropReason::InvalidArp, mbuf);
        }
        let gossip = match operation {
            _ if self.neigh.awaits(ifindex.into(), sender.ip) => Gossip::Awaited,
            Operation::Reply if target == view.interface(ifindex).map_or(0, |i| i.addr) => Gossip::ArpAnswer,
            Operation::Request | Operation::Reply => Gossip::Arp,
        };
        self.tell_mates(view, now, ifindex, &mbuf, gossip);
        if let Learned::Moved { from } = self.hear(view, now, ifindex, sender, asks_us)
            && self.may_log(now, LogKind::Link)
        {
            let text = format!("{} moved from {from} to {}", Ipv4Addr::from(sender.ip), sender.mac);
            self.event(Event::Port { ifindex, text });
        }
        if asks_us {
            let from = Station { mac: view.mac(ifindex), ip: target };
            self.send_arp(view, ifindex, |frame| emit::arp_reply(frame, from, sender), Stat::ArpReplies);
        }
        drop(mbuf); // consumed: an ARP message goes no further
    }

    /// Takes in what an ARP message says of its sender, and sends what waited for that.
    fn hear(&mut self, view: &View<'_>, now: Now, ifindex: u8, sender: Station, asks_us: bool) -> Learned {
        let heard =
            Heard { ifindex: ifindex.into(), ip: sender.ip, mac: sender.mac, asks_us, confirms: true };
        let mut actions = std::mem::take(&mut self.actions);
        let learned = self.neigh.hear(now.millis(), heard, &mut |action| actions.push(action));
        self.actions = actions;
        self.act(view, now);
        learned
    }

    pub(super) fn send_arp(
        &mut self,
        view: &View<'_>,
        ifindex: u8,
        write: impl FnOnce(&mut [u8]) -> Result<usize, EmitError>,
        stat: Stat,
    ) {
        let Some(mut mbuf) = self.new_mbuf() else { return };
        let written = mbuf.append(emit::ARP_FRAME_LEN).is_ok_and(|frame| write(frame).is_ok());
        if written {
            self.counters.add(stat, 1);
            self.transmit(view, ifindex, mbuf);
        } else {
            self.drop(DropReason::NoMbuf, mbuf);
        }
    }
}
