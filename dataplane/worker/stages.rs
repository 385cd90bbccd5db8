// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stages of a burst, each over the whole burst: read -> fetch entries -> act.
//!
//! The passes are apart so that the cache misses of up to 64 packets overlap instead of queueing: reading asks for the buckets of the
//! connection table, fetching for the entries that the buckets name. Nearly every packet is a plain one ([`fedgate_wire::plain`]) of a
//! known connection in good order and takes the short way ([`short_way`]): it is compared with the entry that was fetched, booked,
//! translated, and put into its egress port's buffer. Whatever differs in anything changes nothing on that way and
//! takes the long one ([`long_way`]), which reads the frame anew and knows all cases. So the two must agree
//! only where the short one says yes. Worker core only; nothing here allocates.

use super::clock::Now;
use super::first::Firsts;
use super::net::Net;
use super::probe::{Pass, Probe};
use super::runtime::{IoSlot, View};
use super::v6::stages::Stages6;
use super::{Path, intercept, proxied, slow, tap};
use dpdk::{Burst, Mbuf};
use fedgate_flow::ahead::Seen;
use fedgate_flow::conn::{ConnId, Dir, NO_SESSION};
use fedgate_flow::{Booked, Packet, rewrite};
use fedgate_tables::drops::DropReason;
use fedgate_wire::plain::{self, Ours, Packed, Plain};
use fedgate_wire::{Fragment, Kind, MacAddr, ParseError, Parsed, ipv6, parse_into, plain6};

/// What the passes tell each other about a frame. Half a cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Meta {
    hash: u64,
    key: Packed,
    /// 0 where the frame is not plain and nothing else here has a meaning.
    ip_len: u16,
    dir: Dir,
    /// The entry that the key is most likely that of.
    id: ConnId,
}

/// How many packets ahead of its use a line is brought from the second cache into the first.
pub(super) const AHEAD: usize = 8;

/// So many connections, their buckets included, stay in the second cache: what is asked for comes from there, not from memory.
const FEW: u32 = 4096;

/// Asks for a line that another pass will use, in a table of more than [`FEW`] connections or not.
#[inline(always)]
fn ask<T>(line: &T, many: bool) {
    if many { dpdk::prefetch_near(line) } else { dpdk::prefetch(line) }
}

/// No entry has this number.
const NOBODY: ConnId = ConnId(u32::MAX);

/// Room for one burst's notes.
pub(super) struct Stages {
    metas: Box<[Meta; dpdk::BURST]>,
    /// Places in the burst of packets that are not in the first bucket of their hash.
    strays: Box<[u8; dpdk::BURST]>,
    firsts: Firsts,
    /// What is IPv6.
    six: Stages6,
}

impl Stages {
    pub(super) fn new() -> Self {
        let nothing = Meta { hash: 0, key: Packed::default(), ip_len: 0, dir: Dir::Forward, id: NOBODY };
        Self {
            metas: Box::new([nothing; dpdk::BURST]),
            strays: Box::new([0; dpdk::BURST]),
            firsts: Firsts::default(),
            six: Stages6::new(),
        }
    }
}

/// Runs a burst received on `slot`.
#[inline]
pub(super) fn run(
    path: &mut Path,
    burst: &mut Burst,
    view: &View<'_>,
    now: Now,
    slot: IoSlot,
    probe: &mut impl Probe,
) {
    let Path { net, sessions, stages, .. } = path;
    let Some(ifindex) = view.image.interface_of(slot) else {
        net.drop_all(DropReason::InterfaceUnconfigured, burst);
        return;
    };
    if view.interface(ifindex).is_none() {
        net.drop_all(DropReason::InterfaceDown, burst);
        return;
    }
    let tapped = net.taps.is_some();
    if tapped {
        tap::arrive(net, ifindex, burst);
    }
    net.follow_neighbours(view);
    let many = net.flow.conns.in_use().0 > FEW;
    let ours = Ours::new(view.mac(ifindex));
    let Stages { metas, strays, firsts, six } = stages;
    let metas = &mut metas[..burst.len()];
    let mut bytes = 0;
    for (mbuf, meta) in burst.iter().zip(&mut *metas) {
        bytes += mbuf.len() as u64;
        meta.ip_len = 0;
        if let Some(plain) = plain::read(mbuf.data(), ours) {
            (meta.key, meta.ip_len) = (plain.key, plain.ip_len);
            meta.hash = net.flow.conns.hash_packed(&plain.key);
            if let Some(bucket) = net.flow.conns.home(meta.hash) {
                ask(bucket, many);
            }
        }
    }
    net.count_received(ifindex, burst.len() as u64, bytes);
    probe.done(Pass::Read);

    let conns = &net.flow.conns;
    let mut elsewhere = 0;
    for (n, meta) in (0u8..).zip(&mut *metas) {
        meta.id = NOBODY;
        match conns.likely(meta.hash) {
            Some((id, dir)) => {
                (meta.id, meta.dir) = (id, dir);
                conns.fetch(id, meta.key.proto, |hot| ask(hot, many), |warm| ask(warm, many));
            }
            // A few in a hundred, when the table is well filled; and first packets.
            None if meta.ip_len != 0 => {
                if let Some(bucket) = conns.second_home(meta.hash) {
                    dpdk::prefetch(bucket);
                }
                strays[elsewhere] = n;
                elsewhere += 1;
            }
            None => {}
        }
    }
    firsts.clear();
    for &n in &strays[..elsewhere] {
        let meta = &mut metas[usize::from(n)];
        if let Some((id, dir)) = conns.likely_second(meta.hash) {
            (meta.id, meta.dir) = (id, dir);
            conns.fetch(id, meta.key.proto, dpdk::prefetch, dpdk::prefetch);
        } else {
            // A first packet, then.
            meta.id = firsts.note(&meta.key);
        }
    }
    firsts.look_ahead(net, view, ifindex);
    probe.done(Pass::Fetch);

    let tick = now.tick();
    let mut ahead = metas.iter().skip(AHEAD);
    for (mut mbuf, meta) in burst.drain().zip(&*metas) {
        if many && let Some(next) = ahead.next() {
            net.flow.conns.fetch(next.id, next.key.proto, dpdk::prefetch, dpdk::prefetch);
        }
        match short_way(net, tick, ifindex, meta, &mut mbuf) {
            Some((slot, egress)) => net.push(slot, egress, mbuf),
            None if firsts.deny(net, view, now, ifindex, meta.id, &meta.key, mbuf.data()) => {
                net.drop(DropReason::AclDrop, mbuf);
            }
            None => match firsts.seen(meta.id) {
                Some(seen) => begin(net, sessions, view, now, ifindex, mbuf, meta, seen),
                None => other(net, sessions, six, view, now, ifindex, mbuf),
            },
        }
    }
    six.run(net, sessions, view, now, ifindex);
    if tapped {
        tap::conclude(net);
    }
    probe.done(Pass::Act);
}

/// A plain packet of a connection in good order: books and translates it, and gives the port and interface it leaves by. None, with nothing
/// changed, for any other.
#[inline(always)]
fn short_way(
    net: &mut Net,
    tick: fedgate_flow::Tick,
    ifindex: u8,
    meta: &Meta,
    mbuf: &mut Mbuf,
) -> Option<(IoSlot, u8)> {
    if meta.ip_len == 0 {
        return None;
    }
    let conns = &net.flow.conns;
    let likely = conns.try_hot(meta.id).is_some_and(|hot| hot.is(meta.dir, &meta.key));
    let (id, dir) = if likely { (meta.id, meta.dir) } else { second_look(net, meta)? };
    let hot = conns.try_hot(id)?;
    let theirs = (hot.iface[dir as usize] == ifindex) & hot.is_common();
    if !theirs || hot.epoch != net.adjacencies.epoch() {
        return None;
    }
    let adjacency = net.adjacencies.get_mut(hot.hop[dir as usize]).filter(|a| meta.ip_len <= a.mtu)?;
    let frame = mbuf.data_mut();
    if plain::ttl(frame) <= 1 {
        return None;
    }
    if hot.proto == fedgate_flow::key::TCP && !net.flow.track_plain(id, dir, frame, meta.ip_len) {
        return None;
    }
    let hot = net.flow.conns.try_hot_mut(id)?;
    hot.book(tick, meta.ip_len);
    let to = hot.packed(dir.flip()).mirror();
    rewrite::translate_plain(frame, &adjacency.stations, to, hot.deltas.towards(dir));
    adjacency.used = true;
    Some((adjacency.slot, adjacency.egress))
}

/// The entry of a key that is none of the two it was likeliest to be, because two keys have one tag or because it was made a moment ago.
#[cold]
#[inline(never)]
fn second_look(net: &Net, meta: &Meta) -> Option<(ConnId, Dir)> {
    net.flow.conns.lookup_packed(meta.hash, &meta.key)
}

/// Any other frame: IPv6 has passes of its own, behind this one.
#[cold]
#[inline(never)]
fn other(
    net: &mut Net,
    sessions: &mut proxied::Sessions,
    six: &mut Stages6,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
) {
    let left = if plain6::is_ipv6(mbuf.data()) { six.collect(mbuf) } else { Err(mbuf) };
    if let Err(mbuf) = left {
        long_way(net, sessions, view, now, ifindex, mbuf);
    }
}

/// A plain packet that had no connection when the burst was looked at.
#[cold]
#[inline(never)]
fn begin(
    net: &mut Net,
    sessions: &mut proxied::Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    meta: &Meta,
    seen: &Seen,
) {
    let read = plain::parsed(mbuf.data(), &Plain { key: meta.key, ip_len: meta.ip_len });
    // One before it in the burst may have made its connection.
    let known = || net.flow.conns.lookup_packed(meta.hash, &meta.key).is_some();
    match read {
        Some(parsed) if !known() => {
            slow::packet(net, sessions, view, now, ifindex, mbuf, &parsed, Some(seen));
        }
        Some(_) | None => long_way(net, sessions, view, now, ifindex, mbuf),
    }
}

/// A frame that took no short way.
#[cold]
#[inline(never)]
pub(super) fn long_way(
    net: &mut Net,
    sessions: &mut proxied::Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
) {
    let mut parsed = Parsed::default();
    if let Err(reason) = examine(mbuf.data(), view.mac(ifindex), &mut parsed) {
        return net.drop(reason, mbuf);
    }
    match look_up(net, &parsed) {
        Some((id, dir)) => established(net, sessions, view, now, ifindex, mbuf, &parsed, id, dir),
        None => slow::packet(net, sessions, view, now, ifindex, mbuf, &parsed, None),
    }
}

/// Is the frame for us, and what is it. Only ARP may come by broadcast (RFC 1812 5.3.4), only IPv6 to its groups (RFC 2464).
pub(super) fn examine(frame: &[u8], own: MacAddr, found: &mut Parsed) -> Result<(), DropReason> {
    let Some(dst) = frame.first_chunk::<6>() else { return Err(DropReason::FrameTooShort) };
    let ours = *dst == own.0;
    let group6 = dst.starts_with(&ipv6::GROUP_MAC);
    if !ours && !group6 && *dst != MacAddr::BROADCAST.0 {
        return Err(DropReason::NotForUs);
    }
    parse_into(frame, found).map_err(drop_reason)?;
    let addressed = match found.kind {
        _ if ours => true,
        Kind::Arp => !group6,
        Kind::Ipv6 => group6,
        Kind::Ipv4 | Kind::IcmpError => false,
    };
    if addressed { Ok(()) } else { Err(DropReason::NotUnicast) }
}

/// The connection of a whole datagram.
pub(super) fn look_up(net: &Net, parsed: &Parsed) -> Option<(ConnId, Dir)> {
    if parsed.kind != Kind::Ipv4 || parsed.frag != Fragment::No {
        return None;
    }
    net.flow.conns.lookup(net.flow.conns.hash(&parsed.tuple), &parsed.tuple)
}

/// A packet of a connection.
fn established(
    net: &mut Net,
    sessions: &mut proxied::Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
    id: ConnId,
    dir: Dir,
) {
    let hot = net.flow.conns.hot(id);
    if hot.iface[dir as usize] != ifindex {
        return net.drop(DropReason::RpfViolated, mbuf);
    }
    if hot.session() != NO_SESSION {
        return sessions.input(net, now, id, dir, mbuf, parsed);
    }
    if parsed.ttl <= 1 {
        return slow::ttl_exceeded(net, view, now, ifindex, mbuf, parsed);
    }
    if hot.is_opening() && !intercept::is_intact(mbuf.data(), parsed) {
        return net.drop(DropReason::BadTcpChecksum, mbuf);
    }
    match net.flow.account(id, dir, &packet(mbuf.data(), parsed), &view.flow, now.tick()) {
        Ok(Booked::Passes) => net.forward(view, now, ifindex, id, dir, mbuf, parsed),
        Ok(Booked::Afresh) => {
            net.end(id, now);
            slow::packet(net, sessions, view, now, ifindex, mbuf, parsed, None);
        }
        Ok(Booked::Handshake(reaction)) => intercept::react(net, view, now, id, &reaction),
        Err(reason) => {
            slow::refused_by_tcp(net, sessions, view, now, ifindex, mbuf, parsed, (id, dir), reason)
        }
    }
}

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// What is booked of a packet.
pub(super) fn packet<'a>(frame: &'a [u8], parsed: &Parsed) -> Packet<'a> {
    let is = |proto| parsed.tuple.proto == proto;
    let l4 = usize::from(parsed.l4);
    let tcp = is(fedgate_wire::proto::TCP).then(|| frame.get(l4..)).flatten();
    let packet = Packet::new(parsed.ip_len, parsed.l4 - parsed.l3, tcp);
    // Behind the datagram the link may have padded.
    let end = frame.len().min(usize::from(parsed.l3) + usize::from(parsed.ip_len));
    let udp = is(fedgate_wire::proto::UDP).then(|| frame.get(l4 + UDP_HEADER..end)).flatten();
    packet.with_datagram(udp.unwrap_or_default())
}

/// The drop reason of what the parser refuses.
pub(super) fn drop_reason(error: ParseError) -> DropReason {
    match error {
        ParseError::FrameTooShort => DropReason::FrameTooShort,
        ParseError::UnsupportedEthertype => DropReason::UnsupportedEthertype,
        ParseError::InvalidArp => DropReason::InvalidArp,
        ParseError::UnsupportedIpVersion => DropReason::UnsupportedIpVersion,
        ParseError::InvalidIpHeader => DropReason::InvalidIpHeader,
        ParseError::InvalidIpLength => DropReason::InvalidIpLength,
        ParseError::InvalidIpChecksum => DropReason::InvalidIpChecksum,
        ParseError::InvalidIpOption => DropReason::InvalidIpOption,
        ParseError::InvalidSource => DropReason::InvalidSource,
        ParseError::InvalidDestination => DropReason::InvalidSource,
        ParseError::Land => DropReason::LandAttack,
        ParseError::InvalidFragment => DropReason::Fragment,
        ParseError::InvalidTcpHeaderLength => DropReason::InvalidTcpHeaderLength,
        ParseError::BadTcpFlags => DropReason::BadTcpFlags,
        ParseError::InvalidUdpLength => DropReason::InvalidUdpLength,
        ParseError::InvalidIcmp => DropReason::InvalidIcmp,
        ParseError::InvalidExtensionHeader => DropReason::Ipv6BadExtensionHeader,
        ParseError::RoutingHeader => DropReason::Ipv6RoutingHeader,
        ParseError::NoUdpChecksum => DropReason::NoUdpChecksum,
        ParseError::InvalidNd => DropReason::InvalidNd,
    }
}
