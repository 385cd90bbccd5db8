// SPDX-License-Identifier: MIT OR Apache-2.0
//! The IPv6 frames of a burst, in the same three passes as IPv4's: read -> fetch entries -> act.
//!
//! [`crate::worker::stages`] collects them here while it acts on its own, in the order they came. Nearly every one is plain
//! ([`fedgate_wire::plain6`]) and of a known connection in good order: compared with the entry that was fetched, booked, one hop less, put into
//! its egress port's buffer. Whatever differs in anything changes nothing on that way and takes the long one, which
//! reads the frame anew and knows all cases. Worker core only; nothing here allocates.

use crate::worker::clock::Now;
use crate::worker::net::Net;
use crate::worker::proxied::Sessions;
use crate::worker::runtime::{IoSlot, View};
use crate::worker::stages::{AHEAD, long_way};
use dpdk::{Burst, Mbuf};
use fedgate_flow::Tick;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::key::TCP;
use fedgate_wire::Tuple6;
use fedgate_wire::plain::Ours;
use fedgate_wire::plain6::{self, HOP_LIMIT};

/// What the passes tell each other about a frame.
#[derive(Clone, Copy)]
struct Meta {
    key: Tuple6,
    hash: u64,
    /// The entry that the key is most likely that of.
    id: ConnId,
    /// 0 where the frame is not plain and nothing else here has a meaning.
    ip_len: u16,
}

/// No entry has this number.
const NOBODY: ConnId = ConnId(u32::MAX);

/// Room for one burst's frames and notes.
pub(in crate::worker) struct Stages6 {
    frames: Burst,
    metas: Box<[Meta; dpdk::BURST]>,
}

impl Stages6 {
    pub(in crate::worker) fn new() -> Self {
        let nothing = Meta { key: Tuple6::default(), hash: 0, id: NOBODY, ip_len: 0 };
        Self { frames: Burst::new(), metas: Box::new([nothing; dpdk::BURST]) }
    }

    /// Takes a frame of the burst at hand.
    ///
    /// # Errors
    /// The frame, where there are more than one burst has.
    #[inline]
    pub(in crate::worker) fn collect(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.frames.push(mbuf)
    }

    /// Runs what was collected of a burst from `ifindex`.
    #[inline]
    pub(in crate::worker) fn run(
        &mut self,
        net: &mut Net,
        sessions: &mut Sessions,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
    ) {
        if !self.frames.is_empty() {
            self.run_some(net, sessions, view, now, ifindex);
        }
    }

    #[inline(never)]
    fn run_some(&mut self, net: &mut Net, sessions: &mut Sessions, view: &View<'_>, now: Now, ifindex: u8) {
        let v6 = &mut net.v6;
        v6.adjacencies.follow(&mut v6.neigh, view);
        let conns = &net.flow.conns6;
        let ours = Ours::new(view.mac(ifindex));
        let metas = &mut self.metas[..self.frames.len()];
        for (mbuf, meta) in self.frames.iter().zip(&mut *metas) {
            meta.ip_len = 0;
            if let Some(plain) = plain6::read(mbuf.data(), ours) {
                (meta.key, meta.ip_len) = (plain.key, plain.ip_len);
                meta.hash = conns.hash(&plain.key);
                conns.home(meta.hash).into_iter().for_each(dpdk::prefetch_near);
            }
        }
        let mut strays = 0u64;
        for (n, meta) in metas.iter_mut().enumerate().filter(|(_, meta)| meta.ip_len > 0) {
            meta.id = NOBODY;
            match conns.likely(meta.hash) {
                Some(id) => {
                    meta.id = id;
                    conns.fetch(id, meta.key.proto, dpdk::prefetch_near, dpdk::prefetch_near);
                }
                // A few in a hundred, when the table is well filled; and first packets.
                None => {
                    conns.second_home(meta.hash).into_iter().for_each(dpdk::prefetch_near);
                    strays |= 1 << n;
                }
            }
        }
        while strays != 0 {
            let meta = &mut metas[strays.trailing_zeros() as usize];
            strays &= strays - 1;
            if let Some(id) = conns.likely_second(meta.hash) {
                meta.id = id;
                conns.fetch(id, meta.key.proto, dpdk::prefetch_near, dpdk::prefetch_near);
            }
        }
        let tick = now.tick();
        let mut ahead = metas.iter().skip(AHEAD);
        for (mut mbuf, meta) in self.frames.drain().zip(&*metas) {
            if let Some(next) = ahead.next().filter(|next| next.ip_len > 0) {
                net.flow.conns6.fetch(next.id, next.key.proto, dpdk::prefetch, dpdk::prefetch);
            }
            match short_way(net, tick, ifindex, meta, &mut mbuf) {
                Some((slot, egress)) => net.push(slot, egress, mbuf),
                None => long_way(net, sessions, view, now, ifindex, mbuf),
            }
        }
    }
}

const _: () = assert!(dpdk::BURST <= u64::BITS as usize);

/// A plain packet of a connection in good order: books it and sends it a hop on, and gives the port and interface it leaves by. None, with
/// nothing changed, for any other.
#[inline(always)]
fn short_way(net: &mut Net, tick: Tick, ifindex: u8, meta: &Meta, mbuf: &mut Mbuf) -> Option<(IoSlot, u8)> {
    if meta.ip_len == 0 {
        return None;
    }
    let tried = net.flow.conns6.get(meta.id).and_then(|hot| hot.direction_of(&meta.key));
    let (id, dir) = match tried {
        Some(dir) => (meta.id, dir),
        None => second_look(net, meta)?,
    };
    let hot = net.flow.conns6.hot(id);
    let theirs = (hot.iface[dir as usize] == ifindex) & hot.is_common();
    if !theirs || hot.epoch != net.v6.adjacencies.epoch() {
        return None;
    }
    let adjacency = net.v6.adjacencies.get_mut(hot.hop[dir as usize]).filter(|a| meta.ip_len <= a.mtu)?;
    let frame = mbuf.data_mut();
    if frame.get(HOP_LIMIT)? <= &1 {
        return None;
    }
    if meta.key.proto == TCP && !net.flow.track_plain6(id, dir, frame, meta.ip_len) {
        return None;
    }
    net.flow.book6(id, tick, meta.ip_len)?;
    plain6::hop(frame, &adjacency.stations);
    adjacency.used = true;
    Some((adjacency.slot, adjacency.egress))
}

/// The entry of a key that is none of the two it was likeliest to be, because two keys have one tag or because it was made a moment ago.
#[cold]
#[inline(never)]
fn second_look(net: &Net, meta: &Meta) -> Option<(ConnId, Dir)> {
    net.flow.conns6.lookup_hashed(meta.hash, &meta.key)
}
