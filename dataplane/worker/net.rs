// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker's ports, connections, neighbours and counters, and the only ways for a frame to leave or to be dropped.
//!
//! [`Net::transmit`] puts a finished frame into its port's buffer; [`Net::send_by_connection`] finds the next hop's MAC by the handle that
//! the connection keeps (one index and compare) and only on a miss asks routes and ARP; [`Net::drop`] counts a named
//! reason and frees. Buffers are flushed when full and at the end of each loop; what a full transmit queue does not
//! take after a few tries is dropped by name. Worker core only.

use super::clock::Now;
use super::command::EventSink;
use super::fragment;
use super::icmp::{Offence, Rate, Responder, TokenBucket};
use super::neigh::{Action, Heard, Learned, Limits, Neighbours, NextHop, Refusal, Resolve};
use super::runtime::{IoSlot, View};
use super::slow;
use dpdk::{Burst, Mbuf, Mempool, RxQueue, TxQueue};
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::{Flow, FlowConfig, rewrite};
use fedgate_tables::counters::{Stat, WorkerCounters};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_tables::policy::{NatKind, NatRule};
use fedgate_wire::arp::Operation;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Arp, MacAddr, Parsed, ethernet, icmp4, parse};

/// Bytes before the IP header in a frame.
pub const HEADER_ROOM: usize = ethernet::HEADER_LEN;
/// Tries to hand a buffer to a transmit queue that takes nothing.
const TX_TRIES: u32 = 8;
/// Events a second that may go to control, and at once.
const LOG_RATE: Rate = Rate { per_second: 200, burst: 400 };
/// Addresses of one NAT rule that are announced when a policy comes into use.
const ANNOUNCED_A_RULE: u32 = 64;

struct Io {
    rx: RxQueue,
    tx: TxQueue,
    out: Burst,
    out_bytes: u64,
}

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
    icmp: Responder,
    actions: Vec<Action<Mbuf>>,
    events: EventSink,
    log: TokenBucket,
    announced: Vec<(u8, u32)>,
}

impl Net {
    /// No ports yet.
    pub fn new(pool: Mempool, counters: WorkerCounters, flow: FlowConfig, events: EventSink) -> Self {
        Self {
            io: Vec::new(),
            pool,
            counters,
            flow: Flow::new(flow),
            neigh: Neighbours::new(Limits::default()),
            icmp: Responder::default(),
            actions: Vec::with_capacity(64),
            events,
            log: TokenBucket::full(LOG_RATE),
            announced: Vec::new(),
        }
    }

    /// Takes over the queues of a port.
    pub fn attach(&mut self, slot: IoSlot, rx: RxQueue, tx: TxQueue) {
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
            Some(io) => io.rx.burst(burst),
            None => 0,
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
        drop(mbuf);
    }

    /// Drops a burst.
    #[cold]
    pub fn drop_all(&mut self, reason: DropReason, burst: &mut Burst) {
        for mbuf in burst.drain() {
            self.counters.drop(reason);
            drop(mbuf);
        }
    }

    /// Puts a finished frame into the buffer of its port.
    #[inline]
    pub fn transmit(&mut self, view: &View<'_>, ifindex: u8, mbuf: Mbuf) {
        let slot = view.image.slots.get(usize::from(ifindex)).copied().flatten();
        let Some(slot) = slot.filter(|s| self.io.get(usize::from(*s)).is_some_and(Option::is_some)) else {
            return self.drop(DropReason::InterfaceDown, mbuf);
        };
        let Some(io) = &mut self.io[usize::from(slot)] else { return };
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
        let mut packets = io.out.len() as u64;
        let mut tries = 0;
        while !io.out.is_empty() && tries < TX_TRIES {
            if io.tx.send(&mut io.out) == 0 {
                tries += 1;
                dpdk::pause();
            }
        }
        let mut bytes = std::mem::take(&mut io.out_bytes);
        if !io.out.is_empty() {
            packets -= io.out.len() as u64;
            bytes -= io.out.iter().map(|m| m.len() as u64).sum::<u64>();
            for mbuf in io.out.drain() {
                self.counters.drop(DropReason::TxQueueFull);
                drop(mbuf);
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
        rewrite::translate(mbuf.data_mut(), parsed, &leaves, deltas);
        if parsed.ip_len > mtu {
            return self.send_in_pieces(view, now, id, dir, mtu, mbuf, parsed);
        }
        self.send_by_connection(view, now, id, dir, mbuf);
    }

    #[cold]
    fn send_in_pieces(
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

    /// Sends a packet (an IP datagram behind [`HEADER_ROOM`] bytes) the way that packets of `dir` leave.
    #[inline]
    pub fn send_by_connection(&mut self, view: &View<'_>, now: Now, id: ConnId, dir: Dir, mut mbuf: Mbuf) {
        let hot = self.flow.conns.hot(id);
        let egress = hot.iface[dir.flip() as usize];
        if hot.epoch == view.flow.epoch
            && let Some(mac) = self.neigh.mac(NextHop::from_bits(hot.hop[dir as usize]))
        {
            write_header(&mut mbuf, mac, view.mac(egress));
            return self.transmit(view, egress, mbuf);
        }
        self.find_hop(view, now, id, dir, mbuf);
    }

    /// The next hop is not known, or by an older policy.
    #[cold]
    fn find_hop(&mut self, view: &View<'_>, now: Now, id: ConnId, dir: Dir, mbuf: Mbuf) {
        let hot = self.flow.conns.hot_mut(id);
        let egress = hot.iface[dir.flip() as usize];
        let dst = hot.leaves_as(dir).dst;
        if hot.epoch != view.flow.epoch {
            hot.epoch = view.flow.epoch;
            hot.hop = [fedgate_flow::conn::NO_HOP; 2];
        }
        if let Some(hop) = self.send_to(view, now, egress, dst, mbuf) {
            self.flow.conns.hot_mut(id).hop[dir as usize] = hop.to_bits();
        }
    }

    /// Sends a packet to `dst` out of `egress`, asking for the next hop's MAC where need be. The handle is for keeping.
    pub fn send_to(
        &mut self,
        view: &View<'_>,
        now: Now,
        egress: u8,
        dst: u32,
        mut mbuf: Mbuf,
    ) -> Option<NextHop> {
        let Some(way) = view.routes().lookup(dst).filter(|way| way.ifindex == u32::from(egress)) else {
            self.drop(DropReason::NoRoute, mbuf);
            return None;
        };
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
        self.act(view, now);
        hop
    }

    /// Lets neighbours do what their time asks for.
    pub fn resolve(&mut self, view: &View<'_>, now: Now) -> usize {
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

    /// Ends connections whose time is over.
    pub fn expire(&mut self, view: &View<'_>, now: Now, budget: usize) -> usize {
        let before = self.flow.xlates.in_use().0;
        let mut conns = 0;
        self.flow.expire(&view.flow, now.tick(), budget, |_| conns += 1);
        let xlates = before - self.flow.xlates.in_use().0;
        if conns > 0 {
            self.counters.add(Stat::ConnsTornDown, conns);
        }
        if xlates > 0 {
            self.counters.add(Stat::XlatesTornDown, xlates.into());
        }
        conns as usize
    }

    /// Ends one connection.
    pub fn end(&mut self, id: ConnId, now: Now) {
        self.flow.end(id, now.tick());
        self.counters.add(Stat::ConnsTornDown, 1);
    }

    /// Takes a new policy into use: static ports set aside, timeouts, and our addresses announced where they are new.
    #[cold]
    pub fn adopt(&mut self, view: &View<'_>) {
        self.flow.reserve_static_ports(view.flow.nat);
        self.neigh.set_timeout(u64::from(view.flow.globals.timeout_arp) * 1000);
        let mut ours = Vec::new();
        for ifindex in 0..view.flow.interfaces.len() as u8 {
            let Some(interface) = view.interface(ifindex).filter(|i| i.addr != 0) else { continue };
            ours.push((ifindex, interface.addr));
            ours.extend(view.flow.nat.iter().flat_map(mapped_addresses).map(|addr| (ifindex, addr)));
        }
        ours.sort_unstable();
        ours.dedup();
        ours.retain(|&(ifindex, addr)| view.answers_arp_for(ifindex, addr));
        let before = std::mem::replace(&mut self.announced, ours.clone());
        for (ifindex, addr) in ours.into_iter().filter(|o| !before.contains(o)) {
            let from = Station { mac: view.mac(ifindex), ip: addr };
            self.send_arp(view, ifindex, |frame| emit::arp_gratuitous(frame, from), Stat::ArpRequests);
        }
    }

    /// An ARP message: answer it, learn from it.
    #[cold]
    pub(super) fn arp(&mut self, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf) {
        let Ok(arp) = Arp::new_checked(&mbuf.data()[HEADER_ROOM..]) else {
            return self.drop(DropReason::InvalidArp, mbuf);
        };
        let (sender, target, operation) =
            (Station { mac: arp.sender_mac(), ip: arp.sender_ip() }, arp.target_ip(), arp.operation());
        if view.answers_arp_for(ifindex, sender.ip) {
            // Somebody else claims an address of ours: say whose it is (RFC 5227 2.4), within the log's limit.
            if self.may_log(now) {
                let text =
                    format!("{} claims our address {}", sender.mac, std::net::Ipv4Addr::from(sender.ip));
                self.event(Event::Port { ifindex, text });
                let from = Station { mac: view.mac(ifindex), ip: sender.ip };
                self.send_arp(view, ifindex, |frame| emit::arp_gratuitous(frame, from), Stat::ArpRequests);
            }
            return self.drop(DropReason::InvalidArp, mbuf);
        }
        if !view.routes().is_on_link(ifindex.into(), sender.ip) {
            return self.drop(DropReason::InvalidArp, mbuf);
        }
        let asks_us = operation == Operation::Request && view.answers_arp_for(ifindex, target);
        let heard = Heard { ifindex: ifindex.into(), ip: sender.ip, mac: sender.mac, asks_us };
        let mut actions = std::mem::take(&mut self.actions);
        let learned = self.neigh.hear(now.millis(), heard, &mut |action| actions.push(action));
        self.actions = actions;
        self.act(view, now);
        if let Learned::Moved { from } = learned
            && self.may_log(now)
        {
            let text = format!("{} moved from {from} to {}", std::net::Ipv4Addr::from(sender.ip), sender.mac);
            self.event(Event::Port { ifindex, text });
        }
        if asks_us {
            let from = Station { mac: view.mac(ifindex), ip: target };
            self.send_arp(view, ifindex, |frame| emit::arp_reply(frame, from, sender), Stat::ArpReplies);
        }
        drop(mbuf); // consumed: an ARP message goes no further
    }

    fn send_arp(
        &mut self,
        view: &View<'_>,
        ifindex: u8,
        write: impl FnOnce(&mut [u8]) -> Result<usize, fedgate_wire::EmitError>,
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

    /// Nobody answered ARP for the next hop of a packet that is already translated: undo that, tell its sender, drop it.
    fn host_unreachable(&mut self, view: &View<'_>, now: Now, mut mbuf: Mbuf) {
        let sender = parse(mbuf.data()).ok().and_then(|parsed| {
            let answer = parsed.tuple.mirror();
            let (id, back) = self.flow.conns.lookup(self.flow.conns.hash(&answer), &answer)?;
            let hot = self.flow.conns.hot(id);
            let sent = hot.key(back.flip());
            rewrite::translate(mbuf.data_mut(), &parsed, &sent, hot.deltas.towards(back));
            Some((hot.iface[back.flip() as usize], sent.src))
        });
        if let Some((ingress, src)) = sender
            && let Ok(parsed) = parse(mbuf.data())
        {
            let own = view.mac(ingress);
            write_header(&mut mbuf, own, own);
            if let Some(error) =
                self.make_error(view, now, ingress, icmp4::Error::HostUnreachable, &mbuf, &parsed)
            {
                // Its sender's MAC is not in the frame any more, so it goes by its address.
                if view.routes().lookup(src).is_some_and(|way| way.ifindex == u32::from(ingress)) {
                    self.send_to_known(view, ingress, src, error);
                }
            }
        }
        self.drop(DropReason::NoAdjacency, mbuf);
    }

    /// Sends to a neighbour that is known already; asks nobody, so that failures cannot breed.
    fn send_to_known(&mut self, view: &View<'_>, egress: u8, dst: u32, mut mbuf: Mbuf) {
        let next_hop = view.routes().lookup(dst).map_or(dst, |way| way.next_hop);
        let known = self.neigh.entries().find(|e| e.ifindex == u32::from(egress) && e.ip == next_hop);
        match known.filter(|e| e.state != super::neigh::State::Incomplete) {
            Some(entry) => {
                write_header(&mut mbuf, entry.mac, view.mac(egress));
                self.transmit(view, egress, mbuf);
            }
            None => self.drop(DropReason::NoAdjacency, mbuf),
        }
    }

    /// Sends the ICMP error owed for a packet back to where it came from, if one is owed and the rate allows.
    #[cold]
    pub(super) fn answer_with_error(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        error: icmp4::Error,
        about: &Mbuf,
        parsed: &Parsed,
    ) {
        if let Some(mbuf) = self.make_error(view, now, ifindex, error, about, parsed) {
            self.transmit(view, ifindex, mbuf);
        }
    }

    fn make_error(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        error: icmp4::Error,
        about: &Mbuf,
        parsed: &Parsed,
    ) -> Option<Mbuf> {
        let interface = view.interface(ifindex)?;
        let ingress = Station { mac: view.mac(ifindex), ip: interface.addr };
        let offence = Offence { frame: about.data(), parsed, ingress };
        let mut mbuf = self.new_mbuf()?;
        let room = mbuf.append(emit::MAX_ERROR_FRAME_LEN).ok()?;
        match self.icmp.error(now.millis(), &view.routes(), error, offence, room) {
            Ok(len) => {
                mbuf.trim(emit::MAX_ERROR_FRAME_LEN - len).ok()?;
                self.counters.add(Stat::IcmpErrorsSent, 1);
                Some(mbuf)
            }
            // The buffer never held a frame, so this is no drop.
            Err(_) => None,
        }
    }

    /// Answers an echo request to the interface's own address, or drops what else is for us.
    pub(super) fn local_delivery(
        &mut self,
        view: &View<'_>,
        now: Now,
        ifindex: u8,
        mut mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        let answer = self.icmp.echo(now.millis(), &view.routes(), ifindex.into(), mbuf.data_mut(), parsed);
        match answer {
            Ok(len) if mbuf.trim(mbuf.len() - len).is_ok() => {
                self.counters.add(Stat::IcmpEchoReplies, 1);
                self.transmit(view, ifindex, mbuf);
            }
            Err(super::icmp::Silence::RateExceeded) => self.drop(DropReason::RateExceeded, mbuf),
            Ok(_) | Err(_) => self.drop(DropReason::ToUsNotHandled, mbuf),
        }
    }

    /// Whether the log's rate has room for one more event; where not, that is counted.
    pub fn may_log(&mut self, now: Now) -> bool {
        let may = self.log.take(now.millis());
        if !may {
            self.counters.add(Stat::EventsLost, 1);
        }
        may
    }

    /// Gives control something to log.
    pub fn event(&mut self, event: Event) {
        if !self.events.put(event) {
            self.counters.add(Stat::EventsLost, 1);
        }
    }
}

/// Ethernet header of an IPv4 frame.
#[inline]
fn write_header(mbuf: &mut Mbuf, to: MacAddr, from: MacAddr) {
    if let Some(head) = mbuf.data_mut().first_chunk_mut::<HEADER_ROOM>() {
        head[..6].copy_from_slice(&to.0);
        head[6..12].copy_from_slice(&from.0);
        head[12..].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    }
}

/// The addresses that a rule shows, a bounded number.
fn mapped_addresses(rule: &NatRule) -> impl Iterator<Item = u32> + use<> {
    let hosts = match NatKind::from_u8(rule.kind) {
        Some(NatKind::Static) => (!rule.real_mask).saturating_add(1).clamp(1, ANNOUNCED_A_RULE),
        Some(NatKind::StaticPat | NatKind::DynamicPat) => 1,
        Some(NatKind::Identity) | None => 0,
    };
    let first = rule.mapped;
    (0..hosts).map(move |n| first.wrapping_add(n))
}
