// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first packets of a burst, looked at together before each is dealt with.
//!
//! The fetching pass ([`stages`](super::stages)) finds which plain packets have no connection. They are noted here and then looked ahead at all at
//! once ([`Flow::look_ahead`](fedgate_flow::Flow::look_ahead)): their ACEs are found by searches that take turns, and the lines of the
//! entries that they will most likely get are asked for. The acting pass then takes them one by one in their order, as it takes
//! everything else that is not on the short way, with what was [`Seen`] of each. Nothing that one packet of the burst may do can
//! make that wrong: it follows from the packet and the policy alone.
//!
//! A flood that the ingress ACL denies ends here ([`Firsts::deny`]): where that is all there is to say of a packet, and the log has
//! had its share, it is booked and needs no parsing, search and admission. Worker core only; nothing here allocates.

use super::clock::Now;
use super::dispatch::{self, Ways};
use super::net::Net;
use super::runtime::View;
use super::{slow, tell};
use dpdk::{prefetch_at, prefetch_near_at};
use fedgate_flow::ahead::{Ahead, Seen};
use fedgate_flow::conn::ConnId;
use fedgate_wire::plain::{self, Packed};
use fedgate_wire::{TcpFlags, ipv4, proto};

const _: () = assert!(dpdk::BURST <= fedgate_flow::ahead::MOST);

/// Added to a first packet's number where others have that of their entry. No entry has such a number (`Conns::new`).
const FIRST: u32 = 1 << 31;

/// First packets of one burst.
#[derive(Default)]
pub(super) struct Firsts {
    ahead: Ahead,
    /// [`Conns::serial`](fedgate_flow::conn::Conns::serial) when they were looked at.
    serial: u32,
}

impl Firsts {
    /// Begins a burst.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.ahead.clear();
    }

    /// Notes a first packet; gives its number in the place of an entry's.
    #[inline]
    pub(super) fn note(&mut self, key: &Packed) -> ConnId {
        ConnId(FIRST | self.ahead.add(key.unpack()) as u32)
    }

    /// What is known of the packet with this number, where it is a first one.
    #[inline]
    pub(super) fn seen(&self, id: ConnId) -> Option<&Seen> {
        self.ahead.seen((id.0 ^ FIRST) as usize)
    }

    /// Brings the lines of the first packet after the one with this number into the first cache.
    #[inline]
    pub(super) fn draw_next(&self, id: ConnId) {
        for line in self.ahead.lines((id.0 ^ FIRST) as usize + 1) {
            prefetch_at(line);
        }
    }

    /// Books a plain packet as denied where the long way would do no more than that and drop it. False where that is not sure, with nothing
    /// done. `id` and `key` are as at [`Self::note`].
    #[cold]
    #[inline(never)]
    pub(super) fn deny(
        &self,
        net: &mut Net,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        id: ConnId,
        key: &Packed,
        frame: &[u8],
    ) -> bool {
        let Some(seen) = self.seen(id) else { return false };
        self.draw_next(id);
        let key = key.unpack();
        let Some(decision) = net.flow.denies(seen, &key, ifindex) else { return false };
        let begins = key.proto == proto::UDP || plain::tcp_flags(frame) == Some(TcpFlags::SYN);
        let sound = ipv4::is_host(key.src) && ipv4::is_host(key.dst) && key.src != key.dst;
        // Else one of the burst may have made the connection that this is an answer of.
        let unknown = net.flow.conns.serial() == self.serial;
        let here = !net.may_hand_over() || dispatch::whole(net, view, ifindex, &key).is_none();
        if !(begins && sound && unknown && here && plain::ttl(frame) > 1)
            || slow::barred(view, ifindex, &key).is_some()
            || !tell::is_drowned(net, now, decision)
        {
            return false;
        }
        if let Some(slot) = decision.counter {
            net.counters.ace(slot);
        }
        true
    }

    /// Looks at those that were noted. `ifindex` is where the burst arrived.
    #[inline]
    pub(super) fn look_ahead(&mut self, net: &Net, view: &View<'_>, ifindex: u8) {
        if !self.ahead.is_empty() {
            self.look(net, view, ifindex);
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self, net: &Net, view: &View<'_>, ifindex: u8) {
        self.serial = net.flow.conns.serial();
        let counter = |slot| net.counters.fetch_ace(slot, prefetch_near_at);
        net.flow.look_ahead(
            &mut self.ahead,
            ifindex,
            &view.flow,
            &Ways::new(net, view),
            prefetch_near_at,
            counter,
        );
    }
}
