// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose frame is it: of what this worker has no connection for, what belongs to another worker goes there.
//!
//! Asked on a miss only, of frames that no worker has said to be ours, where there are several; the rules are
//! [`fedgate_flow::shard`]'s. What is for nobody (no way there, malformed, for the appliance itself) stays here and gets
//! its answer or its drop reason here. Worker core, slow path.

use super::mates::Errand;
use super::net::{Net, Origin};
use super::runtime::{IoSlot, View};
use fedgate_flow::firewall::Paths;
use fedgate_flow::key::Key;
use fedgate_flow::media::Whose;
use fedgate_flow::rewrite;
use fedgate_flow::shard::{self, Dealt};
use fedgate_wire::{Fragment, Kind, Parsed, Tuple6};
use std::cell::OnceCell;

/// Where a frame is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub worker: u8,
    pub errand: Errand,
    /// The port that it came in by.
    pub slot: IoSlot,
}

/// The worker that a frame of no known connection is to go to; None where it stays.
#[cold]
pub(super) fn elsewhere(
    net: &Net,
    view: &View<'_>,
    ifindex: u8,
    frame: &[u8],
    parsed: &Parsed,
) -> Option<Elsewhere> {
    let key = match parsed.kind {
        // Collected by one worker, whichever queues they come by; which one, the addresses alone must say.
        Kind::Ipv4 if parsed.frag != Fragment::No => {
            let Key { src, dst, .. } = parsed.tuple;
            let worker = shard::of_pair(src, dst, net.workers());
            return unless_here(net, view, ifindex, worker, Errand::Collect)
                .filter(|_| net.origin() == Origin::Port);
        }
        Kind::Ipv4 => parsed.tuple,
        // What it quotes left this way, so its answer would come this way.
        Kind::IcmpError => rewrite::quoted(frame, parsed)?.mirror(),
        Kind::Arp | Kind::Ipv6 => return None,
    };
    whole(net, view, ifindex, &key)
}

/// The same for a whole datagram of this tuple.
#[cold]
pub(super) fn whole(net: &Net, view: &View<'_>, ifindex: u8, key: &Key) -> Option<Elsewhere> {
    // A call's media goes where its signalling is, whatever the rules say.
    match net.flow.media.whose(key) {
        Some(Whose::Ours) => return None,
        Some(Whose::Mate(mate)) => return unless_here(net, view, ifindex, mate, Errand::Own),
        None => {}
    }
    let egress = |addr| view.routes().lookup(addr).map(|way| way.ifindex as u8);
    let owner = shard::owner(key, ifindex, &view.flow, egress, net.workers())?;
    unless_here(net, view, ifindex, owner, Errand::Own)
}

/// The same for an IPv6 packet, or for the answer to one.
#[cold]
pub(super) fn whole6(net: &Net, view: &View<'_>, ifindex: u8, key: &Tuple6) -> Option<Elsewhere> {
    unless_here(net, view, ifindex, shard::of_tuple6(key, net.workers()), Errand::Own)
}

/// The worker that collects an IPv6 packet's fragments; None where they stay. The addresses alone say which it is.
#[cold]
pub(super) fn collector6(net: &Net, view: &View<'_>, ifindex: u8, key: &Tuple6) -> Option<Elsewhere> {
    if net.workers() == 1 || net.origin() != Origin::Port {
        return None;
    }
    let worker = shard::of_pair6(key.src, key.dst, net.workers());
    unless_here(net, view, ifindex, worker, Errand::Collect)
}

/// The first worker, for what is its business whoever receives it; None where it stays.
#[cold]
pub(super) fn to_first(net: &Net, view: &View<'_>, ifindex: u8) -> Option<Elsewhere> {
    unless_here(net, view, ifindex, 0, Errand::Own).filter(|_| net.may_hand_over())
}

/// The ways of a packet that may begin a connection, and which mapped ports would bring its replies here.
pub(super) struct Ways<'a, 'v> {
    view: &'a View<'v>,
    me: u8,
    workers: u8,
    /// How replies come to the workers: looked up once an admission, in which they all come by one interface.
    dealt: OnceCell<Option<Dealt>>,
}

impl<'a, 'v> Ways<'a, 'v> {
    pub(super) fn new(net: &Net, view: &'a View<'v>) -> Self {
        Self { view, me: net.worker(), workers: net.workers(), dealt: OnceCell::new() }
    }
}

impl Paths for Ways<'_, '_> {
    fn egress(&self, addr: u32) -> Option<u8> {
        self.view.routes().lookup(addr).map(|way| way.ifindex as u8)
    }

    fn prefers(&self, reply: &Key) -> bool {
        if self.workers == 1 {
            return true;
        }
        let dealt = self.dealt.get_or_init(|| {
            let ifindex = self.egress(reply.src)?;
            self.view.image.dealt.get(usize::from(ifindex)).copied().flatten()
        });
        dealt.is_none_or(|dealt| dealt.worker(reply) == self.me)
    }
}

fn unless_here(net: &Net, view: &View<'_>, ifindex: u8, worker: u8, errand: Errand) -> Option<Elsewhere> {
    let slot = view.image.slots.get(usize::from(ifindex)).copied().flatten()?;
    (worker != net.worker()).then_some(Elsewhere { worker, errand, slot })
}
