// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes between workers: frames whose connection is another's, frames for another's transmit queue, and what ARP said.
//!
//! A frame that came from a port may be handed on (fragments twice: to be collected, and as a whole datagram); one that a mate has
//! found to be ours never is, whatever this worker makes of it: so two workers that disagree for a moment (they take up a new policy one after the other) cannot play ball.
//! Worker core, slow path; nothing of this is called where there is one worker.

use super::{Io, Net, Outlet};
use crate::worker::clock::Now;
use crate::worker::dispatch::Elsewhere;
use crate::worker::icmp::{Rate, TokenBucket};
use crate::worker::mates::{Errand, Parcel};
use crate::worker::runtime::{IoSlot, View};
use dpdk::{Burst, Mbuf};
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::MAX_INTERFACES;

/// ARP and neighbour discovery messages a second that are copied to the other workers, of one interface and kind: one of them may wait
/// for what it says. Beyond, they ask themselves.
const GOSSIP_RATE: Rate = Rate { per_second: 1000, burst: 200 };

/// News of media taken from each other worker in one loop.
const NEWS_A_LOOP: usize = 64;

/// A message of neighbours that has been found good, for the other workers to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gossip {
    /// An ARP request, or a reply to somebody else.
    Arp,
    /// An ARP reply to us.
    ArpAnswer,
    /// A neighbour solicitation, or an advertisement to all.
    Nd,
    /// A neighbour advertisement that says to be an answer.
    NdAnswer,
    /// Of an address that this worker waits for itself: as rare as its own questions, so always told.
    Awaited,
}

/// Each interface and kind has its own rate, so that a flood silences its own kind on its own link and nothing else.
pub(super) struct GossipRates([[TokenBucket; 4]; MAX_INTERFACES]);

impl Default for GossipRates {
    fn default() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| TokenBucket::full(GOSSIP_RATE))))
    }
}

impl GossipRates {
    fn allow(&mut self, now: Now, ifindex: u8, gossip: Gossip) -> bool {
        let kind = match gossip {
            Gossip::Arp => 0,
            Gossip::ArpAnswer => 1,
            Gossip::Nd => 2,
            Gossip::NdAnswer => 3,
            Gossip::Awaited => return true,
        };
        self.0.get_mut(usize::from(ifindex)).is_some_and(|kinds| kinds[kind].take(now.millis()))
    }
}

/// How the burst at hand came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a port.
    Port,
    /// From the worker that received it, as fragments for us to collect; the datagram may yet be another's.
    Collect,
    /// From a worker which found it to be ours.
    Mate,
    /// The same, as something to learn from and no more.
    Copy,
}

impl Net {
    /// Workers there are.
    #[inline]
    pub fn workers(&self) -> u8 {
        self.mates.count()
    }

    /// This one's number.
    #[inline]
    pub fn worker(&self) -> u8 {
        self.mates.me()
    }

    /// The number by which operators know a connection of this worker: its own count for each family is the low half.
    pub fn conn_number(&self, serial: u32, is_v6: bool) -> u64 {
        u64::from(self.worker()) << 33 | u64::from(is_v6) << 32 | u64::from(serial)
    }

    /// The number by which operators know a proxy session of this worker: the process has at most 1,000,000 of them.
    pub fn session_number(&self, slot: u32) -> u32 {
        u32::from(self.worker()) << 24 | slot
    }

    /// How the burst at hand came.
    #[inline]
    pub(in crate::worker) fn origin(&self) -> Origin {
        self.origin
    }

    /// Says how the next burst came.
    #[inline]
    pub(in crate::worker) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Whether the frame at hand may go to another worker: there are others, and none has said that it is ours.
    #[inline]
    pub(in crate::worker) fn may_hand_over(&self) -> bool {
        self.workers() > 1 && matches!(self.origin, Origin::Port | Origin::Collect)
    }

    /// Counts what came by an interface, once: the worker that received it from the port has done so for what a mate sends.
    #[inline]
    pub(in crate::worker) fn count_received(&mut self, ifindex: u8, frames: u64, bytes: u64) {
        match self.origin {
            Origin::Port => self.counters.rx(ifindex, frames, bytes),
            Origin::Collect | Origin::Mate => self.counters.add(Stat::TakenOver, frames),
            Origin::Copy => {}
        }
    }

    /// Gives a frame to the worker that it is for.
    #[cold]
    pub(in crate::worker) fn hand_over(&mut self, to: Elsewhere, frame: Mbuf) {
        self.counters.add(Stat::HandedOver, 1);
        self.pack(to.worker, to.errand, to.slot, frame);
    }

    /// Lets all other workers learn from an ARP or neighbour discovery message that this one has found good.
    #[cold]
    pub(in crate::worker) fn tell_mates(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        frame: &Mbuf,
        gossip: Gossip,
    ) {
        let slot = view.image.slots.get(usize::from(ifindex)).copied().flatten();
        let Some(slot) = slot.filter(|_| self.workers() > 1 && self.origin == Origin::Port) else { return };
        if !self.gossip.allow(now, ifindex, gossip) {
            return;
        }
        let me = self.worker();
        for mate in (0..self.workers()).filter(|mate| *mate != me) {
            match self.pool.copy_of(frame.data()) {
                Some(copy) => self.pack(mate, Errand::Learn, slot, copy),
                None => self.counters.drop(DropReason::NoMbuf),
            }
        }
    }

    /// Tells the others which media entrances are ours, and no longer; gives how many.
    pub(in crate::worker) fn tell_media(&mut self) -> usize {
        let mut told = 0;
        while let Some(entrance) = self.flow.media.news() {
            let deaf = self.mates.tell(entrance);
            self.counters.add(Stat::MediaRefused, deaf);
            told += 1;
        }
        told
    }

    /// Learns which media entrances are a mate's; gives how many.
    #[inline]
    pub(in crate::worker) fn hear_media(&mut self, mate: u8) -> usize {
        for heard in 0..NEWS_A_LOOP {
            let Some(entrance) = self.mates.hear(mate) else { return heard };
            let learnt = self.flow.media.learn(mate, &entrance);
            self.counters.add(Stat::MediaRefused, u64::from(!learnt));
        }
        NEWS_A_LOOP
    }

    /// Sends what has been packed for the others. At the end of each loop.
    #[inline]
    pub(in crate::worker) fn post_all(&mut self) {
        for mate in 0..self.workers() {
            let counters = &mut self.counters;
            self.mates.post(mate, |refused| {
                (0..refused.len()).for_each(|_| counters.drop(DropReason::DispatchQueueLimit));
            });
        }
    }

    /// The next parcel from a mate, looked after as far as that needs no more than ports: None then too.
    #[inline]
    pub(in crate::worker) fn take_parcel(&mut self, from: u8) -> Option<Parcel> {
        self.mates.take(from)
    }

    /// Sends another worker's frames by our queue of their port.
    pub(in crate::worker) fn send_for_mate(&mut self, view: &View<'_>, slot: IoSlot, mut frames: Burst) {
        let is_ours = |io: &Option<Io>| matches!(io, Some(Io { tx: Outlet::Queue(_), .. }));
        if !self.io.get(usize::from(slot)).is_some_and(is_ours) {
            return self.drop_all(DropReason::InterfaceDown, &mut frames);
        }
        let ifindex = view.image.interface_of(slot).unwrap_or(u8::MAX);
        for frame in frames.drain() {
            self.push(slot, ifindex, frame);
        }
    }

    pub(super) fn give(&mut self, to: u8, slot: IoSlot, frames: Burst) {
        if let Some(refused) = self.mates.give(to, Errand::Send, slot, frames) {
            self.refuse(refused);
        }
    }

    fn pack(&mut self, to: u8, errand: Errand, slot: IoSlot, frame: Mbuf) {
        if let Some(refused) = self.mates.pack(to, errand, slot, frame) {
            self.refuse(refused);
        }
    }

    #[cold]
    fn refuse(&mut self, mut frames: Burst) {
        self.drop_all(DropReason::DispatchQueueLimit, &mut frames);
    }
}
