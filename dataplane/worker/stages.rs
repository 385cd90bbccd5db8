// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stages of a burst, each over the whole burst: parse -> hash and touch the buckets -> look up -> act.
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
use fedgate_wire::{Fragment, Kind, MacAddr, ParseError, Parsed, parse};
use std::hint::black_box;

/// What the passes tell each other about a frame.
#[derive(Clone, Copy)]
struct Meta {
    parsed: Result<Parsed, DropReason>,
    hash: u64,
    hit: Option<(ConnId, Dir)>,
}

/// Room for one burst's notes.
pub(super) struct Stages {
    metas: Vec<Meta>,
}

impl Stages {
    pub(super) fn new() -> Self {
        Self { metas: Vec::with_capacity(dpdk::BURST) }
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

    // Parse and hash.
    stages.metas.clear();
    for mbuf in burst.iter() {
        let parsed = examine(mbuf.data(), own);
        let hash = parsed.as_ref().map_or(0, |p| net.flow.conns.hash(&p.tuple));
        stages.metas.push(Meta { parsed, hash, hit: None });
    }
    probe.done(Pass::Parse);
    // Touch, then look up.
    black_box(stages.metas.iter().fold(0, |sum, meta| sum ^ net.flow.conns.touch(meta.hash)));
    probe.done(Pass::Touch);
    for meta in &mut stages.metas {
        if let Ok(parsed) = &meta.parsed
            && parsed.kind == Kind::Ipv4
            && parsed.frag == Fragment::No
        {
            meta.hit = net.flow.conns.lookup(meta.hash, &parsed.tuple);
        }
    }
    probe.done(Pass::Lookup);
    // Act.
    for (mbuf, meta) in burst.drain().zip(&stages.metas) {
        match (&meta.parsed, meta.hit) {
            (Ok(parsed), Some((id, dir))) => {
                established(net, sessions, view, now, ifindex, mbuf, parsed, id, dir)
            }
            (Ok(parsed), None) => slow::packet(net, sessions, view, now, ifindex, mbuf, parsed),
            (Err(reason), _) => net.drop(*reason, mbuf),
        }
    }
    probe.done(Pass::Act);
}

/// Is the frame for us, and what is it.
#[inline]
fn examine(frame: &[u8], own: MacAddr) -> Result<Parsed, DropReason> {
    let Some(dst) = frame.first_chunk::<6>() else { return Err(DropReason::FrameTooShort) };
    if *dst != own.0 && *dst != MacAddr::BROADCAST.0 {
        return Err(DropReason::NotForUs);
    }
    parse(frame).map_err(drop_reason)
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
    }
}
