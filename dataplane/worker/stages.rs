// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stages of a burst, each over the whole burst: parse -> hash, fetch buckets -> fetch entries -> look up -> act.
//!
//! The passes are apart so that the cache misses of up to 64 packets overlap instead of queueing. Acting on a packet of a
//! known connection is: book it, rewrite it, set its next hop's MAC, put it into the egress port's buffer. Everything else
//! leaves for `slow` or `proxied`. Worker core only; nothing here allocates.

use super::clock::Now;
use super::probe::{Pass, Probe};
use super::runtime::{IoSlot, View};
use super::{Path, net::Net, proxied, slow};
use dpdk::{Burst, Mbuf};
use fedgate_flow::Packet;
use fedgate_flow::conn::{ConnId, Dir, NO_SESSION};
use fedgate_tables::drops::DropReason;
use fedgate_wire::{Fragment, Kind, MacAddr, ParseError, Parsed, parse_into};

/// What the passes tell each other about a frame.
#[derive(Clone, Copy)]
struct Meta {
    parsed: Parsed,
    hash: u64,
    hit: Option<(ConnId, Dir)>,
    /// Where there is a reason to drop it, nothing else here has a meaning.
    refused: Option<DropReason>,
}

/// Room for one burst's notes.
pub(super) struct Stages {
    metas: Box<[Meta; dpdk::BURST]>,
}

impl Stages {
    pub(super) fn new() -> Self {
        let nothing = Meta { parsed: Parsed::default(), hash: 0, hit: None, refused: None };
        Self { metas: Box::new([nothing; dpdk::BURST]) }
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
    let own = view.mac(ifindex);
    net.counters.rx(ifindex, burst.len() as u64, burst.iter().map(|m| m.len() as u64).sum());
    probe.done(Pass::Count);

    let metas = &mut stages.metas[..burst.len()];
    for (mbuf, meta) in burst.iter().zip(&mut *metas) {
        meta.refused = examine(mbuf.data(), own, &mut meta.parsed).err();
    }
    probe.done(Pass::Parse);
    for meta in &mut *metas {
        meta.hash = net.flow.conns.hash(&meta.parsed.tuple);
        dpdk::prefetch(net.flow.conns.home(meta.hash));
    }
    probe.done(Pass::Hash);
    for meta in &*metas {
        if let Some(entry) = net.flow.conns.likely(meta.hash) {
            dpdk::prefetch(entry);
        }
    }
    probe.done(Pass::Fetch);
    for meta in &mut *metas {
        meta.hit = look_up(net, meta);
    }
    let found_at = net.flow.conns.changes();
    probe.done(Pass::Lookup);
    // Act. A packet that makes or ends a connection may be of the same flow as one behind it in the burst.
    for (mbuf, meta) in burst.drain().zip(&*metas) {
        let hit = if net.flow.conns.changes() == found_at { meta.hit } else { look_up(net, meta) };
        let parsed = &meta.parsed;
        match (meta.refused, hit) {
            (None, Some((id, dir))) => established(net, sessions, view, now, ifindex, mbuf, parsed, id, dir),
            (None, None) => slow::packet(net, sessions, view, now, ifindex, mbuf, parsed),
            (Some(reason), _) => net.drop(reason, mbuf),
        }
    }
    probe.done(Pass::Act);
}

/// Is the frame for us, and what is it. Only ARP may come by broadcast (RFC 1812 5.3.4).
#[inline]
fn examine(frame: &[u8], own: MacAddr, found: &mut Parsed) -> Result<(), DropReason> {
    let Some(dst) = frame.first_chunk::<6>() else { return Err(DropReason::FrameTooShort) };
    let ours = *dst == own.0;
    if !ours && *dst != MacAddr::BROADCAST.0 {
        return Err(DropReason::NotForUs);
    }
    parse_into(frame, found).map_err(drop_reason)?;
    if !ours && found.kind != Kind::Arp {
        return Err(DropReason::NotUnicast);
    }
    Ok(())
}

/// The connection of a whole datagram.
#[inline]
fn look_up(net: &Net, meta: &Meta) -> Option<(ConnId, Dir)> {
    let parsed = &meta.parsed;
    if meta.refused.is_some() || parsed.kind != Kind::Ipv4 || parsed.frag != Fragment::No {
        return None;
    }
    net.flow.conns.lookup(meta.hash, &parsed.tuple)
}

/// A packet of a connection.
#[inline]
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
    if parsed.has_options {
        return net.drop(DropReason::InvalidIpOption, mbuf);
    }
    if hot.session != NO_SESSION {
        return sessions.input(net, view, now, id, dir, mbuf, parsed);
    }
    if parsed.ttl <= 1 {
        return slow::ttl_exceeded(net, view, now, ifindex, mbuf, parsed);
    }
    if net.flow.account(id, dir, packet(mbuf.data(), parsed), &view.flow, now.tick()) {
        net.end(id, now);
        return slow::packet(net, sessions, view, now, ifindex, mbuf, parsed);
    }
    net.forward(view, now, ifindex, id, dir, mbuf, parsed);
}

/// What is booked of a packet. Payload is what stands behind the TCP header, for others behind the IP header.
#[inline]
pub(super) fn packet(frame: &[u8], parsed: &Parsed) -> Packet {
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let l4 = usize::from(parsed.l4);
    let header = match parsed.tuple.proto {
        fedgate_wire::proto::TCP => frame.get(l4 + 12).map_or(0, |b| usize::from(b >> 4) * 4),
        _ => 0,
    };
    Packet { len: parsed.ip_len, tcp_flags: parsed.tcp_flags.0, payload: end > l4 + header }
}

/// The drop reason of what the parser refuses.
fn drop_reason(error: ParseError) -> DropReason {
    match error {
        ParseError::FrameTooShort => DropReason::FrameTooShort,
        ParseError::UnsupportedEthertype => DropReason::UnsupportedEthertype,
        ParseError::InvalidArp => DropReason::InvalidArp,
        ParseError::UnsupportedIpVersion => DropReason::UnsupportedIpVersion,
        ParseError::InvalidIpHeader => DropReason::InvalidIpHeader,
        ParseError::InvalidIpLength => DropReason::InvalidIpLength,
        ParseError::InvalidIpChecksum => DropReason::InvalidIpChecksum,
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
