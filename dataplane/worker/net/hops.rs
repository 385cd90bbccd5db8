// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sending to a next hop: by what a connection keeps of its way out, else by routes and neighbours.
//!
//! A connection keeps the number of an [adjacency](super::adjacency) for each direction. Its first packet finds that among the ones that
//! other connections found a moment ago, by next hop; only where it is not there are the neighbours asked, and the packet waits with
//! them where they have to ask. Worker core only.

use super::{HEADER_ROOM, Net};
use crate::worker::clock::Now;
use crate::worker::neigh::{NextHop, Resolve};
use crate::worker::route::Egress;
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir, NO_HOP};
use fedgate_tables::drops::DropReason;
use fedgate_wire::{MacAddr, ethernet};

impl Net {
    /// Sends a packet (an IP datagram behind [`HEADER_ROOM`] bytes) the way that packets of `dir` leave.
    #[inline]
    pub fn send_by_connection(&mut self, view: &View<'_>, now: Now, id: ConnId, dir: Dir, mut mbuf: Mbuf) {
        let hot = self.flow.conns.hot(id);
        if hot.epoch == self.adjacencies.epoch()
            && let Some(adjacency) = self.adjacencies.get_mut(hot.hop[dir as usize]).filter(|a| a.mtu > 0)
        {
            adjacency.used = true;
            let (slot, egress) = (adjacency.slot, adjacency.egress);
            if let Some(head) = mbuf.data_mut().first_chunk_mut::<HEADER_ROOM>() {
                head[..12].copy_from_slice(&adjacency.stations);
                head[12..].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
            }
            return self.push(slot, egress, mbuf);
        }
        self.find_hop(view, now, id, dir, mbuf);
    }

    /// The next hop is not known, or by an older policy.
    #[cold]
    fn find_hop(&mut self, view: &View<'_>, now: Now, id: ConnId, dir: Dir, mbuf: Mbuf) {
        let hot = self.flow.conns.hot(id);
        let egress = hot.iface[dir.flip() as usize];
        let dst = hot.leaves_as(dir).dst;
        let Some(way) = view.routes().lookup(dst).filter(|way| way.ifindex == u32::from(egress)) else {
            return self.drop(DropReason::NoRoute, mbuf);
        };
        if let Some(number) = self.adjacencies.recent(egress, way.next_hop) {
            self.keep_hop(id, dir, number);
            return self.send_by_connection(view, now, id, dir, mbuf);
        }
        if let Some(hop) = self.send_by(view, now, way, mbuf) {
            let number = self.adjacencies.number(egress, hop, &mut self.neigh, view);
            self.adjacencies.note(egress, way.next_hop, number);
            self.keep_hop(id, dir, number);
        }
    }

    /// A connection's packets leave by this adjacency.
    fn keep_hop(&mut self, id: ConnId, dir: Dir, number: u16) {
        let epoch = self.adjacencies.epoch();
        let hot = self.flow.conns.hot_mut(id);
        if hot.epoch != epoch {
            hot.epoch = epoch;
            hot.hop = [NO_HOP; 2];
        }
        hot.hop[dir as usize] = number;
    }

    /// Sends a packet to `dst` out of `egress`, asking for the next hop's MAC where need be. The handle is for keeping.
    pub fn send_to(
        &mut self,
        view: &View<'_>,
        now: Now,
        egress: u8,
        dst: u32,
        mbuf: Mbuf,
    ) -> Option<NextHop> {
        let Some(way) = view.routes().lookup(dst).filter(|way| way.ifindex == u32::from(egress)) else {
            self.drop(DropReason::NoRoute, mbuf);
            return None;
        };
        self.send_by(view, now, way, mbuf)
    }

    /// [`Self::send_to`] where the way is known.
    fn send_by(&mut self, view: &View<'_>, now: Now, way: Egress, mut mbuf: Mbuf) -> Option<NextHop> {
        let egress = way.ifindex as u8;
        let mut actions = std::mem::take(&mut self.actions);
        let resolved = self
            .neigh
            .resolve(now.millis(), way.ifindex, way.next_hop, mbuf, &mut |action| actions.push(action));
        self.actions = actions;
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
        self.act(view, now);
        hop
    }
}

/// Ethernet header of an IPv4 frame.
#[inline]
pub(super) fn write_header(mbuf: &mut Mbuf, to: MacAddr, from: MacAddr) {
    if let Some(head) = mbuf.data_mut().first_chunk_mut::<HEADER_ROOM>() {
        head[..6].copy_from_slice(&to.0);
        head[6..12].copy_from_slice(&from.0);
        head[12..].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    }
}
