// SPDX-License-Identifier: MIT OR Apache-2.0
//! Echo requests of our own, for `ping`, and their answers.
//!
//! A request leaves as any packet does, by routes and neighbours, from the address of the interface that it leaves by. It is the first worker's
//! to send and to wait for: its answer may come by any worker's queue, and another hands it over. The identifier is 0: no translation is
//! given that one (RFC 5508 idents of PAT begin at 1), so what a host behind interface PAT asks and what we ask are never taken for one
//! another. At most [`MOST`] are waited for, the oldest is forgotten first; how long, control decides. An answer that is to nothing that
//! waits goes the way of any message for us, and is dropped by name.
//!
//! Worker core, slow path, at an operator's pace.

use super::clock::Now;
use super::command::{Asker, Reply};
use super::dispatch;
use super::net::{HEADER_ROOM, Net};
use super::runtime::View;
use dpdk::Mbuf;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Echo, Echoed};
use fedgate_wire::emit_echo::{self, LEAST, LEAST6};
use fedgate_wire::{Parsed, Parsed6, ipv4, ipv6};
use std::collections::VecDeque;

/// Requests that are waited for, and answers that wait to be told.
const MOST: usize = 64;
/// See the module.
const IDENT: u16 = 0;
/// What any buffer holds, whatever the interface's MTU.
const LONGEST: u16 = 1500;

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Who asks.
    pub asker: Asker,
    /// What for.
    pub echo: Echo,
    /// Its sequence number.
    pub seq: u16,
    /// The TSC when it was asked for.
    pub tsc: u64,
}

struct Waiting {
    asker: Asker,
    /// From and to.
    ends: (Addr, Addr),
    seq: u16,
    /// When it was asked for, microseconds.
    since: u64,
}

/// Requests under way.
#[derive(Default)]
pub(super) struct Pings {
    waiting: VecDeque<Waiting>,
    answered: VecDeque<Reply>,
}

impl Pings {
    /// The next answer to tell.
    pub(super) fn next(&mut self) -> Option<Reply> {
        self.answered.pop_front()
    }
}

/// Where a request leaves, and from which address.
struct Way {
    egress: u8,
    from: Addr,
}

/// Sends a request that was asked for at `since`, in microseconds. Gives the answer where it is not sent.
#[cold]
pub(super) fn send(
    net: &mut Net,
    view: Option<&View<'_>>,
    now: Now,
    order: &Order,
    since: u64,
) -> Option<Reply> {
    let Order { asker, echo, seq, .. } = *order;
    let sent = view.ok_or(Echoed::NoPolicy).and_then(|view| {
        let way = way(net, view, &echo)?;
        put(net, view, now, order, &way).map(|()| way.from)
    });
    match sent {
        Ok(from) => {
            let waiting = &mut net.pings.waiting;
            if waiting.len() >= MOST {
                waiting.pop_front();
            }
            waiting.push_back(Waiting { asker, ends: (from, echo.to), seq, since });
            None
        }
        Err(outcome) => Some(Reply::Echoed { asker, outcome }),
    }
}

fn way(net: &Net, view: &View<'_>, echo: &Echo) -> Result<Way, Echoed> {
    let by = |ifindex: u8| echo.ifindex.is_none_or(|only| only == ifindex);
    let (egress, from, least) = match echo.to {
        Addr::V4(to) => {
            let routes = view.routes();
            if !ipv4::is_host(to) || routes.is_directed_broadcast(to) {
                return Err(Echoed::NotOneHost);
            }
            if routes.own(to).is_some() {
                return Err(Echoed::Own);
            }
            let egress = routes.lookup(to).map(|way| way.ifindex as u8).filter(|egress| by(*egress));
            let interface = egress.and_then(|egress| view.interface(egress)).filter(|it| it.addr != 0);
            (egress, interface.map(|it| Addr::V4(it.addr)), LEAST)
        }
        Addr::V6(to) => {
            let (to, routes) = (u128::from(to), net.routes6(view));
            if !ipv6::is_host(to) {
                return Err(Echoed::NotOneHost);
            }
            if routes.is_ours(to) || routes.live().any(|(ifindex, _)| routes.is_own_of(ifindex, to)) {
                return Err(Echoed::Own);
            }
            let egress = routes.lookup(to).map(|way| way.ifindex).filter(|egress| by(*egress));
            // Its answers are to find the interface that they come in by.
            let own = |egress| routes.own(egress).find(|own| !ipv6::is_link_local(*own));
            (egress, egress.and_then(own).map(Addr::from), LEAST6)
        }
    };
    let (egress, from) = egress.zip(from).ok_or(Echoed::NoRoute)?;
    let most = view.interface(egress).map_or(0, |it| it.mtu).min(LONGEST);
    if (least..=most).contains(&echo.len) {
        Ok(Way { egress, from })
    } else {
        Err(Echoed::Length { least, most })
    }
}

fn put(net: &mut Net, view: &View<'_>, now: Now, order: &Order, way: &Way) -> Result<(), Echoed> {
    let mut mbuf = net.new_mbuf().ok_or(Echoed::NoBuffer)?;
    let echo = emit_echo::Echo { ident: IDENT, seq: order.seq };
    let frame = mbuf.append(HEADER_ROOM + usize::from(order.echo.len));
    let written = frame.is_ok_and(|frame| {
        let datagram = &mut frame[HEADER_ROOM..];
        let written = match (way.from, order.echo.to) {
            (Addr::V4(from), Addr::V4(to)) => emit_echo::request(datagram, from, to, echo),
            (Addr::V6(from), Addr::V6(to)) => emit_echo::request6(datagram, from.into(), to.into(), echo),
            (Addr::V4(_), Addr::V6(_)) | (Addr::V6(_), Addr::V4(_)) => return false, // never: see `way`
        };
        written.is_ok()
    });
    if !written {
        net.drop(DropReason::NoMbuf, mbuf);
        return Err(Echoed::NoBuffer);
    }
    net.counters.add(Stat::IcmpEchoRequests, 1);
    match order.echo.to {
        Addr::V4(to) => net.send_to(view, now, way.egress, to, mbuf),
        Addr::V6(to) => net.send_to6(view, now, way.egress, to.into(), mbuf),
    };
    Ok(())
}

/// Takes the answer to a request of ours, if this is one.
///
/// # Errors
/// It is none: the frame, unchanged.
#[cold]
pub(super) fn hear(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
) -> Result<(), Mbuf> {
    let (from, to) = (parsed.tuple.dst, parsed.tuple.src);
    let echo = emit_echo::answered(mbuf.data(), parsed);
    let echo = echo.filter(|_| view.routes().own(from) == Some(ifindex.into()));
    take(net, view, now, ifindex, mbuf, (from.into(), to.into()), echo)
}

/// The same for IPv6.
///
/// # Errors
/// As [`hear`].
#[cold]
pub(super) fn hear6(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed6,
) -> Result<(), Mbuf> {
    let (from, to) = (parsed.tuple.dst, parsed.tuple.src);
    let echo = emit_echo::answered6(mbuf.data(), parsed);
    let echo = echo.filter(|_| net.routes6(view).is_own_of(ifindex, from));
    take(net, view, now, ifindex, mbuf, (from.into(), to.into()), echo)
}

fn take(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    ends: (Addr, Addr),
    echo: Option<emit_echo::Echo>,
) -> Result<(), Mbuf> {
    let Some(seq) = echo.filter(|echo| echo.ident == IDENT).map(|echo| echo.seq) else { return Err(mbuf) };
    if let Some(there) = dispatch::to_first(net, view, ifindex) {
        net.hand_over(there, mbuf);
        return Ok(());
    }
    let waiting = &mut net.pings.waiting;
    let at = waiting.iter().position(|it| it.seq == seq && it.ends == ends);
    let Some(found) = at.and_then(|at| waiting.remove(at)) else { return Err(mbuf) };
    net.counters.add(Stat::IcmpEchoAnswers, 1);
    if net.pings.answered.len() < MOST {
        let micros = now.micros.saturating_sub(found.since);
        let outcome = Echoed::Answered { micros };
        net.pings.answered.push_back(Reply::Echoed { asker: found.asker, outcome });
    } else {
        net.counters.add(Stat::EventsLost, 1);
    }
    drop(mbuf); // consumed
    Ok(())
}
