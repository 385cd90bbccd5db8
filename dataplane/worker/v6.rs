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
mod trace;

use addresses::Addresses;
use icmp::Responder6;
pub(super) use intercept::retry;
use listener::Listener;
pub(super) use trace::packet as trace;

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

/// Whose business an IPv6 frame is.
enum Business {
    /// Neighbour discovery's.
    Neighbours,
    /// Multicast listener discovery's.
    Listeners,
    /// The appliance itself is called.
    Own,
    /// A piece of a packet.
    Fragments,
    /// An error about a packet of a connection.
    Errors,
    /// A packet that is passing through.
    Passing,
    /// It must not leave its link; its sender is told where that is owed.
    Beyond {
        /// Source and destination are of different scopes.
        is_owed: bool,
    },
}

/// Whose business a frame is that came in by `ifindex`, for our MAC or for a group.
fn sort(net: &Net, view: &View<'_>, ifindex: u8, frame: &[u8]) -> Result<(Parsed6, Business), DropReason> {
    let routes = net.routes6(view);
    if !routes.speaks(ifindex) {
        return Err(DropReason::UnsupportedEthertype);
    }
    let parsed = parse6(frame).map_err(drop_reason)?;
    let (src, dst) = (parsed.tuple.src, parsed.tuple.dst);
    if ipv6::is_multicast(dst) && !routes.listens(ifindex, dst) {
        return Err(DropReason::NotUnicast);
    }
    if nd::is_message(&parsed) {
        return Ok((parsed, Business::Neighbours));
    }
    if mld::is_query(&parsed) {
        return Ok((parsed, Business::Listeners));
    }
    let for_a_group = frame.first().is_some_and(|first| first & 1 != 0);
    if for_a_group || ipv6::is_multicast(dst) {
        return Err(DropReason::NotUnicast);
    }
    let for_us = routes.is_own_of(ifindex, dst) || routes.is_ours(dst);
    let of_link = [src, dst].map(ipv6::is_link_local);
    let business = match parsed.kind {
        _ if for_us && parsed.frag == Fragment::No => Business::Own,
        // RFC 4007 section 9.
        _ if !for_us && of_link != [false; 2] => Business::Beyond { is_owed: of_link == [true, false] },
        _ if parsed.frag != Fragment::No => Business::Fragments,
        Kind6::IcmpError => Business::Errors,
        Kind6::Packet if is_link_business(&parsed) => return Err(DropReason::InvalidIcmp),
        Kind6::Packet => Business::Passing,
    };
    Ok((parsed, business))
}

/// An IPv6 frame that came in by `ifindex`, for our MAC or for a group.
#[cold]
pub(super) fn packet(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, mbuf: Mbuf) {
    let (parsed, business) = match sort(net, view, ifindex, mbuf.data()) {
        Ok(sorted) => sorted,
        Err(reason) => return net.drop(reason, mbuf),
    };
    match business {
        Business::Neighbours => net.neighbour_message(view, now, ifindex, mbuf, &parsed),
        Business::Listeners => net.listener_query(view, now, ifindex, mbuf, &parsed),
        Business::Own => net.local_delivery6(view, now, ifindex, mbuf, &parsed),
        Business::Beyond { is_owed } => {
            if is_owed {
                net.answer_with_error6(view, now, ifindex, icmp6::Error::BeyondScope, &mbuf, &parsed);
            }
            net.drop(DropReason::Ipv6SecurityFailed, mbuf);
        }
        Business::Fragments => fragments::packet(net, view, now, ifindex, mbuf, &parsed),
        Business::Errors => forward::icmp_error(net, view, now, ifindex, mbuf, &parsed),
        Business::Passing => match net.flow.conns6.lookup(&parsed.tuple) {
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
