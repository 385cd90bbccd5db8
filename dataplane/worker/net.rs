// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker's ports, connections, neighbours and counters, and the only ways for a frame to leave or to be dropped.
//!
//! [`Net::transmit`] puts a finished frame into its port's buffer; [`Net::send_by_connection`] finds the next hop's MAC by the handle that
//! the connection keeps (one index and compare) and only on a miss asks routes and ARP; [`Net::drop`] counts a named
//! reason and frees. Buffers are flushed when full and at the end of each loop; what a full transmit queue does not
//! take after a few tries is dropped by name. Worker core only.

use super::announce::Announcements;
use super::clock::Now;
use super::collect::{self, Fragments};
use super::command::EventSink;
use super::floating::Floating;
use super::fragment;
use super::icmp::{Rate, Responder, TokenBucket};
use super::intercept;
use super::mates::Mates;
use super::neigh::{Action, Limits, Neighbours};
use super::ping::Pings;
use super::runtime::{IoSlot, View};
use super::slow;
use super::tap::{self, Taps};
use super::tell;
use super::v6::V6;
use dpdk::{Burst, Mbuf, Mempool, RxQueue, TxQueue};
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::{Flow, FlowConfig, rewrite};
use fedgate_tables::counters::{Stat, WorkerCounters};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_tables::policy::TELL_FLOWS;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Parsed, ethernet, plain};

/// Bytes before the IP header in a frame.
pub const HEADER_ROOM: usize = ethernet::HEADER_LEN;
/// Tries to hand a buffer to a transmit queue that takes nothing, before its head is dropped, and before all of it is.
const TX_TRIES: u32 = 8;
const TX_TRIES_IN_ALL: u32 = 16;
/// Events of a kind a second that may go to control, and at once.
const LOG_RATE: Rate = Rate { per_second: 100, burst: 200 };
/// Hits of access-lists are told by flows, of which control knows some thousands.
const ACL_RATE: Rate = Rate { per_second: 1000, burst: 2000 };

/// Connections are told in batches, so that this is 32,000 a second.
const FLOWS_RATE: Rate = Rate { per_second: 500, burst: 1000 };

/// How often we speak up for an address of ours that somebody else claims (RFC 5227 2.4 asks for 10 s a host).
const DEFENCE_RATE: Rate = Rate { per_second: 1, burst: 4 };

/// Kinds of events; each has its own rate, so that a flood of one does not silence the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Denied packets, full tables.
    Firewall,
    /// TLS and SIP.
    Proxy,
    /// Neighbours.
    Link,
    /// Port blocks.
    Nat,
    /// Hits of access-lists.
    Acl,
    /// Connections that begin and end, many to an event.
    Flows,
}

/// How a worker sends by a port.
pub enum Outlet {
    /// By a transmit queue of its own.
    Queue(TxQueue),
    /// By that of another worker, which is sent the frames.
    Mate(u8),
}

struct Io {
    /// None where the port's frames are received by others.
    rx: Option<RxQueue>,
    tx: Outlet,
    out: Burst,
    out_bytes: u64,
}

mod adjacency;
mod arp;
mod flows;
mod handover;
mod hops;
mod owed;

pub(super) use adjacency::Adjacencies;
pub(super) use handover::{Gossip, Origin};
use hops::write_header;
pub(super) use owed::unanswered;

/// See the module.
pub struct Net {
    io: Vec<Option<Io>>,
    pool: Mempool,
    /// This worker's counters.
    pub counters: WorkerCounters,
    /// Connections and translations.
    pub flow: Flow,
    /// Neighbours.
    pub neigh: Neighbours<Mbuf>,
    /// Ways out, as connections keep them.
    pub(super) adjacencies: Adjacencies,
    /// What they were made by.
    ways: Option<u64>,
    /// The NAT rules that the translations follow.
    nat: Option<u64>,
    icmp: Responder,
    /// Datagrams that are not all here.
    pub(super) fragments: Fragments,
    actions: Vec<Action<Mbuf>>,
    events: EventSink,
    log: [TokenBucket; 6],
    /// When connections that wait are told, milliseconds.
    flows_due: u64,
    /// Hits of access-lists that wait to be told.
    pub(super) acl_hits: tell::Hits,
    /// The last image's ports.
    slots: Vec<Option<IoSlot>>,
    announcements: Announcements<u32>,
    defence: TokenBucket,
    /// What IPv6 needs beside its connections.
    pub(super) v6: V6,
    /// Echo requests of ours.
    pub(super) pings: Pings,
    /// Connections that routes lead elsewhere.
    pub(super) floating: Floating,
    /// What is to be captured, if anything.
    pub(super) taps: Option<Box<Taps>>,
    mates: Mates,
    origin: Origin,
    /// Copies of neighbours' messages for the others.
    gossip: handover::GossipRates,
}

impl Net {
    /// No ports yet.
    pub fn new(
        pool: Mempool,
        counters: WorkerCounters,
        flow: FlowConfig,
        events: EventSink,
        mates: Mates,
    ) -> Self {
        Self {
            io: Vec::new(),
            fragments: Fragments::new(pool.available() as usize, flow.seed.rotate_left(21)),
            pool,
            counters,
            flow: {
                let mut flow = Flow::new(flow);
                if mates.count() > 1 {
                    flow.media.share();
                }
                flow
            },
            neigh: Neighbours::new(Limits::default()),
            adjacencies: Adjacencies::new(),
            ways: None,
            nat: None,
            icmp: Responder::default(),
            actions: Vec::with_capacity(64),
            events,
            log: std::array::from_fn(|kind| {
                TokenBucket::full(match kind {
                    _ if kind == LogKind::Acl as usize => ACL_RATE,
                    _ if kind == LogKind::Flows as usize => FLOWS_RATE,
                    _ => LOG_RATE,
                })
            }),
            flows_due: 0,
            acl_hits: tell::Hits::default(),
            slots: Vec::new(),
            announcements: Announcements::default(),
            defence: TokenBucket::full(DEFENCE_RATE),
            v6: V6::new(flow.seed.rotate_left(42)),
            pings: Pings::default(),
            floating: Floating::default(),
            taps: None,
            mates,
            origin: Origin::Port,
            gossip: handover::GossipRates::default(),
        }
    }

    /// Takes over this worker's queues of a port.
    pub fn attach(&mut self, slot: IoSlot, rx: Option<RxQueue>, tx: Outlet) {
        let place = usize::from(slot);
        if self.io.len() <= place {
            self.io.resize_with(place + 1, || None);
        }
        self.io[place] = Some(Io { rx, tx, out: Burst::new(), out_bytes: 0 });
    }

    /// Slots there are.
    pub fn ports(&self) -> IoSlot {
        self.io.len() as IoSlot
    }

    /// Receives into `burst`; frames that the driver gave and that cannot be used are its own to count.
    #[inline]
    pub fn receive(&mut self, slot: IoSlot, burst: &mut Burst) -> usize {
        match &mut self.io[usize::from(slot)] {
            Some(Io { rx: Some(rx), .. }) => rx.burst(burst),
            Some(Io { rx: None, .. }) | None => 0,
        }
    }

    /// A buffer for a frame of our own; where there is none that is counted.
    pub fn new_mbuf(&mut self) -> Option<Mbuf> {
        let mbuf = self.pool.alloc();
        if mbuf.is_none() {
            self.counters.drop(DropReason::NoMbuf);
        }
        mbuf
    }

    /// Drops a frame.
    #[inline]
    pub fn drop(&mut self, reason: DropReason, mbuf: Mbuf) {
        self.counters.drop(reason);
        if let Some(taps) = &mut self.taps {
            taps.dropped(reason, &mbuf);
        }
        drop(mbuf);
    }

    /// Drops a burst.
    #[cold]
    pub fn drop_all(&mut self, reason: DropReason, burst: &mut Burst) {
        for mbuf in burst.drain() {
            self.drop(reason, mbuf);
        }
    }

    /// Puts a finished frame into the buffer of its port.
    #[inline]
    pub fn transmit(&mut self, view: &View<'_>, ifindex: u8, mbuf: Mbuf) {
        let slot = view.image.slots.get(usize::from(ifindex)).copied().flatten();
        match slot {
            Some(slot) => self.push(slot, ifindex, mbuf),
            None => self.drop(DropReason::InterfaceDown, mbuf),
        }
    }

    /// [`Self::transmit`] where the port of the interface is known.
    #[inline(always)]
    pub(super) fn push(&mut self, slot: IoSlot, ifindex: u8, mbuf: Mbuf) {
        let Some(Some(io)) = self.io.get_mut(usize::from(slot)) else {
            return self.drop(DropReason::InterfaceDown, mbuf);
        };
        io.out_bytes += mbuf.len() as u64;
        let left = io.out.push(mbuf);
        if io.out.is_full() {
            self.flush(slot, ifindex);
        }
        if let Err(mbuf) = left {
            self.drop(DropReason::TxQueueFull, mbuf);
        }
    }

    /// Hands every buffer to its transmit queue.
    pub fn flush_all(&mut self, view: &View<'_>) {
        for slot in 0..self.io.len() {
            if self.io[slot].as_ref().is_some_and(|io| !io.out.is_empty()) {
                let ifindex = view.image.interface_of(slot as IoSlot).unwrap_or(u8::MAX);
                self.flush(slot as IoSlot, ifindex);
            }
        }
    }

    fn flush(&mut self, slot: IoSlot, ifindex: u8) {
        let Some(io) = &mut self.io[usize::from(slot)] else { return };
        let tx = match &mut io.tx {
            Outlet::Queue(tx) => tx,
            Outlet::Mate(mate) => {
                let (mate, frames) = (*mate, std::mem::take(&mut io.out));
                io.out_bytes = 0;
                return self.give(mate, slot, frames);
            }
        };
        if let Some(taps) = &self.taps {
            tap::depart(taps, &self.flow, ifindex, &io.out);
        }
        let mut packets = io.out.len() as u64;
        let mut bytes = std::mem::take(&mut io.out_bytes);
        let mut tries = 0;
        while !io.out.is_empty() {
            if tx.send(&mut io.out) > 0 {
                continue;
            }
            tries += 1;
            if tries < TX_TRIES {
                dpdk::pause();
                continue;
            }
            // A full queue, or a frame at the head that the driver refuses: only that one goes, at first.
            let mut rest = std::mem::take(&mut io.out);
            let mut rest = rest.drain();
            let surplus = if tries < TX_TRIES_IN_ALL { 1 } else { usize::MAX };
            for mbuf in rest.by_ref().take(surplus) {
                self.counters.drop(DropReason::TxQueueFull);
                if let Some(taps) = &mut self.taps {
                    taps.dropped(DropReason::TxQueueFull, &mbuf);
                }
                packets -= 1;
                bytes -= mbuf.len() as u64;
                drop(mbuf);
            }
            for mbuf in rest {
                // They came out of a buffer of this size.
                let _ = io.out.push(mbuf);
            }
        }
        self.counters.tx(ifindex, packets, bytes);
    }

    /// Rewrites a packet of a connection and sends it; `ifindex` is where it came in, for what is owed to its sender.
    #[inline]
    pub fn forward(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        id: ConnId,
        dir: Dir,
        mut mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        let hot = self.flow.conns.hot(id);
        let egress = hot.iface[dir.flip() as usize];
        let mtu = view.flow.interfaces.get(usize::from(egress)).map_or(u16::MAX, |i| i.mtu);
        if parsed.ip_len > mtu && parsed.dont_fragment {
            return slow::too_big(self, view, now, ifindex, mtu, mbuf, parsed);
        }
        let leaves = hot.leaves_as(dir);
        let deltas = hot.deltas.towards(dir);
        cut_trailer(&mut mbuf, parsed);
        intercept::shift(self, id, dir, mbuf.data_mut(), parsed.l4);
        rewrite::translate(mbuf.data_mut(), parsed, &leaves, deltas);
        if parsed.ip_len > mtu {
            if leaves.src != parsed.tuple.src {
                self.fragments.give_ident(mbuf.data_mut(), parsed);
            }
            return self.send_in_pieces(view, now, id, dir, mtu, mbuf, parsed);
        }
        self.send_by_connection(view, now, id, dir, mbuf);
    }

    /// Cuts a translated packet, or fragment, for an egress of `mtu` bytes.
    #[cold]
    pub(super) fn send_in_pieces(
        &mut self,
        view: &View<'_>,
        now: Now,
        id: ConnId,
        dir: Dir,
        mtu: u16,
        mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        for piece in fragment::pieces(mbuf.data(), parsed, mtu) {
            let Some(mut part) = self.new_mbuf() else { continue };
            match part.append(piece.len()) {
                Ok(room) => {
                    piece.write(room);
                    self.send_by_connection(view, now, id, dir, part);
                }
                Err(_) => self.drop(DropReason::NoMbuf, part),
            }
        }
        drop(mbuf); // all of it has left, in pieces
    }

    /// Lets neighbours do what their time asks for.
    pub fn resolve(&mut self, view: &View<'_>, now: Now) -> usize {
        if !self.neigh.is_due(now.millis()) {
            return 0;
        }
        self.adjacencies.tell_use(&mut self.neigh);
        let mut actions = std::mem::take(&mut self.actions);
        self.neigh.poll(now.millis(), &mut |action| actions.push(action));
        self.actions = actions;
        let work = self.actions.len();
        if work > 0 {
            self.act(view, now);
        }
        work
    }

    /// Forgets all neighbours (`clear arp`); what waited for one is dropped by name.
    pub fn clear_neighbours(&mut self, view: &View<'_>, now: Now) {
        let mut actions = std::mem::take(&mut self.actions);
        self.neigh.clear(None, &mut |action| actions.push(action));
        self.actions = actions;
        self.act(view, now);
    }

    /// Lets the ways out follow what has changed among the neighbours. Once a burst.
    #[inline]
    pub(super) fn follow_neighbours(&mut self, view: &View<'_>) {
        self.adjacencies.follow(&mut self.neigh, view);
    }

    /// Ends connections whose time is over.
    pub fn expire(&mut self, view: &View<'_>, now: Now, budget: usize) -> usize {
        let (conns, xlates) = self.flow.expire(&view.flow, now.tick(), budget);
        if conns > 0 {
            self.counters.add(Stat::ConnsTornDown, conns.into());
        }
        if xlates > 0 {
            self.counters.add(Stat::XlatesTornDown, xlates.into());
        }
        self.tell_blocks(now);
        conns as usize
    }

    /// Tells control of port blocks given and taken back.
    pub fn tell_blocks(&mut self, now: Now) {
        while let Some(note) = self.flow.xlates.block_note() {
            if self.may_log(now, LogKind::Nat) {
                self.event(Event::PortBlock {
                    given: note.given,
                    proto: note.proto,
                    real_if: note.real_if,
                    real: note.real,
                    mapped_if: note.mapped_if,
                    mapped: note.mapped,
                    first: note.ports[0],
                    last: note.ports[1],
                    share: note.share,
                });
            }
        }
        let lost = self.flow.xlates.take_lost_notes();
        if lost > 0 {
            self.counters.add(Stat::EventsLost, lost);
        }
    }

    /// Ends one connection.
    pub fn end(&mut self, id: ConnId, now: Now) {
        if self.flow.end(id, now.tick()) {
            self.counters.add(Stat::ConnsTornDown, 1);
        }
    }

    /// Takes a new image into use: static ports set aside, timeouts, interfaces that have moved, and our new addresses to be
    /// announced. Gives the connections whose interface is gone.
    #[cold]
    pub fn adopt(&mut self, view: &View<'_>, now: Now) -> Vec<ConnId> {
        let ways = view.ways();
        if self.ways != Some(ways) {
            if self.ways.replace(ways).is_some() {
                self.floating.ways_changed(now, view.flow.globals.timeout_floating_conn);
            }
            self.adjacencies.clear();
            self.v6.adjacencies.clear();
        }
        if self.nat.replace(view.flow.nat.digest()) != Some(view.flow.nat.digest()) {
            self.flow.adopt(view.flow.nat);
        }
        self.acl_hits.forget_aces();
        self.flow.ledger.switch(view.flow.globals.flags & TELL_FLOWS != 0);
        self.neigh.set_timeout(u64::from(view.flow.globals.timeout_arp) * 1000);
        self.announcements.adopt(view.image.ours.iter().map(|(ifindex, ip)| view.shown(*ifindex, *ip)));

        let old = std::mem::replace(&mut self.slots, view.image.slots.clone());
        let moved = !self.slots.starts_with(&old);
        self.adopt6(view, now, moved);
        if !moved {
            return Vec::new();
        }
        collect::clear(self);
        // Interfaces are known by their ports. What waited for a neighbour is dropped by name; they will be asked again.
        let Self { neigh, counters, .. } = self;
        neigh.clear(None, &mut |action| {
            if let Action::Failed { .. } = action {
                counters.drop(DropReason::NoAdjacency);
            }
        });
        let slots = &self.slots;
        let new_index = |ifindex| {
            let slot = old.get(usize::from(ifindex)).copied().flatten()?;
            slots.iter().position(|s| *s == Some(slot)).map(|i| i as u8)
        };
        let gone = self.flow.renumber(new_index);
        for id in self.flow.conns6.renumber(new_index) {
            self.end6(id);
        }
        gone
    }

    /// Carries out what the neighbour table asked for.
    fn act(&mut self, view: &View<'_>, now: Now) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::SendRequest { ifindex, ip, to } => {
                    let ifindex = ifindex as u8;
                    let own = view.interface(ifindex).map_or(0, |i| i.addr);
                    let from = Station { mac: view.mac(ifindex), ip: own };
                    self.send_arp(
                        view,
                        ifindex,
                        |frame| emit::arp_request(frame, from, ip, to),
                        Stat::ArpRequests,
                    );
                }
                Action::Transmit { ifindex, mac, mut packet } => {
                    write_header(&mut packet, mac, view.mac(ifindex as u8));
                    self.transmit(view, ifindex as u8, packet);
                }
                Action::Failed { packet, .. } => self.host_unreachable(view, now, packet),
            }
        }
        self.actions = actions;
    }

    /// Whether the log's rate has room for one more event of a kind; where not, that is counted.
    pub fn may_log(&mut self, now: Now, kind: LogKind) -> bool {
        let may = self.log[kind as usize].take(now.millis());
        if !may {
            self.counters.add(Stat::EventsLost, 1);
        }
        may
    }

    /// Whether [`Self::may_log`] would say no.
    #[inline]
    pub fn logs_no_more(&self, now: Now, kind: LogKind) -> bool {
        self.log[kind as usize].is_empty(now.millis())
    }

    /// Gives control something to log. False where there was no room, which is counted.
    pub fn event(&mut self, event: Event) -> bool {
        let put = self.events.put(event);
        if !put {
            self.counters.add(Stat::EventsLost, 1);
        }
        put
    }
}

/// Cuts off what lies behind the datagram, where it is more than a link's padding: nobody has checked it, and the MTU does not
/// count it.
fn cut_trailer(mbuf: &mut Mbuf, parsed: &Parsed) {
    let end = (usize::from(parsed.l3) + usize::from(parsed.ip_len)).max(plain::PADDED);
    if mbuf.len() > end {
        // No more than there is.
        let _ = mbuf.trim(mbuf.len() - end);
    }
}
