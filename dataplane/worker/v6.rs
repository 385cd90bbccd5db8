// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 through the firewall: stateful, without NAT and without the TLS proxy.
//!
//! A plain packet of a known connection goes through [`stages`], a burst at a time; [`packet`] takes every other IPv6 frame for our MAC or for a group: parse, neighbour discovery and echo for the
//! appliance itself, the connection, hop limit and MTU, the next hop, the port. A first packet goes through admission
//! ([`fedgate_flow::v6`]), an ICMPv6 error to the connection that it quotes. Hosts behind the appliance see an ordinary
//! router: it answers for its addresses once nobody else has them ([`own`]), tells path MTU and unreachable destinations, and announces itself.
//!
//! Not here: router advertisements (hosts have a static default route, as an ASA without `ipv6 nd` gives them none).
//! Packets in fragments are [`fragments`]'. What stands where: `route` and `icmp` are plain
//! logic without IO; `nd` and `forward` are [`Net`]'s. Worker core only.

use super::clock::Now;
use super::icmp::{Rate, TokenBucket};
use super::neigh::{Action, Limits, Neighbours};
use super::net::{Adjacencies, Net};
use super::runtime::View;
use dpdk::Mbuf;
use fedgate_tables::drops::DropReason;
use fedgate_wire::icmp6::Class;
use fedgate_wire::{Fragment, Kind6, ParseError, Parsed6, icmp6, ipv6, mld, nd, parse6, proto};

pub mod addresses;
mod forward;
pub(in crate::worker) mod fragments;
mod icmp;
mod intercept;
mod listener;
mod neighbours;
mod own;
pub mod route;
pub(in crate::worker) mod stages;

use addresses::Addresses;
use icmp::Responder6;
pub(super) use intercept::retry;
use listener::Listener;

/// How long a neighbour is known without a word from it; in use, it is asked in the last three of them (RFC 4861 section 10:
/// REACHABLE_TIME 30 s, three probes a second apart).
const REACHABLE_MS: u64 = 30_000;
/// As for ARP: how often we speak up for an address of ours that somebody else claims.
const DEFENCE_RATE: Rate = Rate { per_second: 1, burst: 4 };

/// What a worker keeps for IPv6 beside its connections.
pub struct V6 {
    /// Neighbours.
    pub neigh: Neighbours<Mbuf, u128>,
    actions: Vec<Action<Mbuf, u128>>,
    icmp: Responder6,
    defence: TokenBucket,
    /// Ways out, as connections keep them.
    pub(super) adjacencies: Adjacencies,
    addresses: Addresses,
    listener: Listener,
}

impl V6 {
    /// Nothing known; `seed` from the system's entropy.
    pub fn new(seed: u64) -> Self {
        Self {
            neigh: Neighbours::new(Limits { timeout_ms: REACHABLE_MS, ..Limits::default() }),
            actions: Vec::with_capacity(64),
            icmp: Responder6::default(),
            defence: TokenBucket::full(DEFENCE_RATE),
            adjacencies: Adjacencies::new(),
            addresses: Addresses::default(),
            listener: Listener::new(seed),
        }
    }
}

/// An IPv6 frame that came in by `ifindex`, for our MAC or for a group.
#[cold]
pub(super) fn packet(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf) {
    let routes = net.routes6(view);
    if !routes.speaks(ifindex) {
        return net.drop(DropReason::UnsupportedEthertype, mbuf);
    }
    let parsed = match parse6(mbuf.data()) {
        Ok(parsed) => parsed,
        Err(error) => return net.drop(drop_reason(error), mbuf),
    };
    let (src, dst) = (parsed.tuple.src, parsed.tuple.dst);
    if ipv6::is_multicast(dst) && !routes.listens(ifindex, dst) {
        return net.drop(DropReason::NotUnicast, mbuf);
    }
    if nd::is_message(&parsed) {
        return net.neighbour_message(view, now, ifindex, mbuf, &parsed);
    }
    if mld::is_query(&parsed) {
        return net.listener_query(view, now, ifindex, mbuf, &parsed);
    }
    let for_a_group = mbuf.data().first().is_some_and(|first| first & 1 != 0);
    if for_a_group || ipv6::is_multicast(dst) {
        return net.drop(DropReason::NotUnicast, mbuf);
    }
    let for_us = routes.is_own_of(ifindex, dst) || routes.is_ours(dst);
    if for_us && parsed.frag == Fragment::No {
        return net.local_delivery6(view, now, ifindex, mbuf, &parsed);
    }
    if !for_us && ipv6::is_link_local(src) && !ipv6::is_link_local(dst) {
        // RFC 4007 section 9.
        net.answer_with_error6(view, now, ifindex, icmp6::Error::BeyondScope, &mbuf, &parsed);
    }
    if !for_us && (ipv6::is_link_local(src) || ipv6::is_link_local(dst)) {
        return net.drop(DropReason::Ipv6SecurityFailed, mbuf);
    }
    match parsed.kind {
        _ if parsed.frag != Fragment::No => fragments::packet(net, view, now, ifindex, mbuf, &parsed),
        Kind6::IcmpError => forward::icmp_error(net, view, now, ifindex, mbuf, &parsed),
        Kind6::Packet if is_link_business(&parsed) => net.drop(DropReason::InvalidIcmp, mbuf),
        Kind6::Packet => match net.flow.conns6.lookup(&parsed.tuple) {
            Some((id, dir)) => forward::established(net, view, now, ifindex, mbuf, &parsed, id, dir),
            None => forward::first(net, view, now, ifindex, mbuf, &parsed),
        },
    }
}

/// Router and listener discovery, redirects: never off their link (RFC 4861, RFC 4890 4.3.3).
fn is_link_business(parsed: &Parsed6) -> bool {
    parsed.tuple.proto == proto::ICMPV6 && Class::of(parsed.icmp_type) == Class::Link
}

/// The drop reason of what the parser refuses; the ASA has one for all addresses that IPv6 must not have.
fn drop_reason(error: ParseError) -> DropReason {
    match error {
        ParseError::InvalidSource | ParseError::InvalidDestination | ParseError::Land => {
            DropReason::Ipv6SecurityFailed
        }
        other => super::stages::drop_reason(other),
    }
}
