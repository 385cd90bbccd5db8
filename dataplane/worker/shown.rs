// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NAT says of the addresses that SIP messages name, for the proxy's sessions.
//!
//! The engine asks for a session; its connection says to whom the host is shown: the peer on its outside. The answers are fedgate-flow's
//! ([`fedgate_flow::shown`]): static rules, the live xlates, and new ones where a dynamic rule has none yet. IPv6 is never
//! translated. Worker core, for messages.

use super::clock::Now;
use super::dispatch::Ways;
use super::net::Net;
use super::runtime::View;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::key::{TCP, UDP};
use fedgate_flow::shown::{ShownMedia, Viewer};
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::Transport;
use fedgate_tables::counters::Stat;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who is on the outside of a proxied connection.
pub(super) fn viewer(net: &Net, conn: ConnId) -> Viewer {
    let hot = net.flow.conns.hot(conn);
    match hot.is_inbound() {
        true => {
            let called = hot.key(Dir::Forward);
            Viewer { ifindex: hot.iface[Dir::Forward as usize], peer: (called.src, called.sport) }
        }
        false => {
            let shown = hot.leaves_as(Dir::Forward);
            Viewer { ifindex: hot.iface[Dir::Reverse as usize], peer: (shown.dst, shown.dport) }
        }
    }
}

/// See [`Mapping::shown`](fedgate_sip::translate::Mapping::shown).
pub(super) fn shown(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    conn: ConnId,
    transport: Transport,
    real: SocketAddr,
) -> Option<SocketAddr> {
    let (viewer, real) = (viewer(net, conn), socket(real)?);
    let ways = Ways::new(net, view);
    let before = net.flow.xlates.in_use().0;
    let shown = net.flow.shown(proto(transport), real, &viewer, &view.flow, &ways, now.tick());
    built(net, before);
    shown.map(socket_addr)
}

/// See [`Mapping::real`](fedgate_sip::translate::Mapping::real).
pub(super) fn real(
    net: &Net,
    view: &View<'_>,
    conn: ConnId,
    transport: Transport,
    shown: SocketAddr,
) -> Option<SocketAddr> {
    net.flow.real(proto(transport), socket(shown)?, &viewer(net, conn), &view.flow).map(socket_addr)
}

/// See [`Mapping::host`](fedgate_sip::translate::Mapping::host).
pub(super) fn host(net: &Net, view: &View<'_>, conn: ConnId, real: IpAddr) -> Option<IpAddr> {
    let IpAddr::V4(real) = real else { return None };
    let shown = net.flow.shown_host(real.to_bits(), &viewer(net, conn), &view.flow, &Ways::new(net, view));
    shown.map(|addr| Ipv4Addr::from_bits(addr).into())
}

/// See [`Mapping::media`](fedgate_sip::translate::Mapping::media).
pub(super) fn media(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    conn: ConnId,
    real: IpAddr,
    ports: Ports,
) -> Option<(IpAddr, Ports)> {
    let IpAddr::V4(real) = real else { return None };
    let viewer = viewer(net, conn);
    let ways = Ways::new(net, view);
    let before = net.flow.xlates.in_use().0;
    let (real, tick) = (real.to_bits(), now.tick());
    let shown = net.flow.shown_media(real, ports.media, ports.rtcp, &viewer, &view.flow, &ways, tick);
    built(net, before);
    let ShownMedia { addr, media, rtcp, .. } = shown?;
    Some((Ipv4Addr::from_bits(addr).into(), Ports { media, rtcp }))
}

/// Counts xlates that were made.
pub(super) fn built(net: &mut Net, before: u32) {
    let now = net.flow.xlates.in_use().0;
    net.counters.add(Stat::XlatesBuilt, u64::from(now.saturating_sub(before)));
}

fn proto(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}

fn socket(addr: SocketAddr) -> Option<(u32, u16)> {
    match addr {
        SocketAddr::V4(addr) => Some((addr.ip().to_bits(), addr.port())),
        SocketAddr::V6(_) => None,
    }
}

fn socket_addr((addr, port): (u32, u16)) -> SocketAddr {
    (Ipv4Addr::from_bits(addr), port).into()
}
