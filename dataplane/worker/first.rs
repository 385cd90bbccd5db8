// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first packets of a burst, looked at together before each is dealt with.
//!
//! The fetching pass ([`stages`](super::stages)) finds which plain packets have no connection. They are noted here and then looked ahead at all at
//! once ([`Flow::look_ahead`](fedgate_flow::Flow::look_ahead)): their ACEs are found by searches that take turns, and the lines of the
//! entries that they will most likely get are asked for. The acting pass then takes them one by one in their order, as it takes
//! everything else that is not on the short way, with what was [`Seen`] of each. Nothing that one packet of the burst may do can
//! make that wrong: it follows from the packet and the policy alone. Worker core only; nothing here allocates.

use super::dispatch::Ways;
use super::net::Net;
use super::runtime::View;
use dpdk::prefetch_near_at;
use fedgate_flow::ahead::{Ahead, Seen};
use fedgate_flow::conn::ConnId;
use fedgate_wire::plain::Packed;

const _: () = assert!(dpdk::BURST <= fedgate_flow::ahead::MOST);

/// Added to a first packet's number where others have that of their entry. No entry has such a number (`Conns::new`).
const FIRST: u32 = 1 << 31;

/// First packets of one burst.
#[derive(Default)]
pub(super) struct Firsts(Ahead);

impl Firsts {
    /// Begins a burst.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes a first packet; gives its number in the place of an entry's.
    #[inline]
    pub(super) fn note(&mut self, key: &Packed) -> ConnId {
        ConnId(FIRST | self.0.add(key.unpack()) as u32)
    }

    /// What is known of the packet with this number, where it is a first one.
    #[inline]
    pub(super) fn seen(&self, id: ConnId) -> Option<&Seen> {
        self.0.seen((id.0 ^ FIRST) as usize)
    }

    /// Looks at those that were noted. `ifindex` is where the burst arrived.
    #[inline]
    pub(super) fn look_ahead(&mut self, net: &Net, view: &View<'_>, ifindex: u8) {
        if !self.0.is_empty() {
            self.look(net, view, ifindex);
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self, net: &Net, view: &View<'_>, ifindex: u8) {
        let counter = |slot| net.counters.fetch_ace(slot, prefetch_near_at);
        net.flow.look_ahead(
            &mut self.0,
            ifindex,
            &view.flow,
            &Ways::new(net, view),
            prefetch_near_at,
            counter,
        );
    }
}
