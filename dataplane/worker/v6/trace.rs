// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer` for IPv6: [`crate::worker::trace`] has what is common, and why.
//!
//! [`super::sort`] says whose business a packet is, admission's first half or the connection decides. Worker core, between bursts.

use super::{Business, forward};
use crate::worker::clock::Now;
use crate::worker::dispatch;
use crate::worker::net::Net;
use crate::worker::runtime::View;
use crate::worker::trace::{Followed, Notes};
use fedgate_flow::Booked;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::trace::Foreseen;
use fedgate_flow::v6::First6;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Fate, Known, Phase};
use fedgate_wire::Parsed6;

/// An IPv6 frame that came in by `ifindex`; as [`super::packet`] takes it.
pub(in crate::worker) fn packet(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    frame: &[u8],
    handed: bool,
    notes: &mut Notes,
) -> Followed {
    let checks = Phase::Checks { permit: false };
    let (parsed, business) = match super::sort(net, view, ifindex, frame) {
        Ok(sorted) => sorted,
        Err(reason) => return notes.drop(checks, reason),
    };
    match business {
        Business::Passing => {}
        Business::Own => {
            let answered = net.would_answer_echo6(view, now, ifindex, frame, &parsed);
            notes.phases.push(Phase::Local { permit: answered.is_ok() });
            return Ok(answered.map_or_else(Fate::Dropped, |()| Fate::Answered));
        }
        // What is of a link never comes by a router, and so not with a hop limit like this one's.
        Business::Neighbours | Business::Listeners => return notes.drop(checks, DropReason::InvalidNd),
        Business::Beyond { .. } => return notes.drop(checks, DropReason::Ipv6SecurityFailed),
        Business::Fragments => return notes.drop(checks, DropReason::Fragment),
        // About nothing.
        Business::Errors => return notes.drop(checks, DropReason::InvalidIcmp),
    }
    if let Some(found) = net.flow.conns6.lookup(&parsed.tuple) {
        return known(net, view, now, ifindex, frame, &parsed, found, notes);
    }
    if !handed && let Some(there) = dispatch::whole6(net, view, ifindex, &parsed.tuple) {
        return Err(there.worker);
    }
    notes.phases.push(Phase::NotFound);
    first(net, view, ifindex, &parsed, None, notes)
}

/// A packet of a connection; as `forward::established` takes it.
fn known(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    frame: &[u8],
    parsed: &Parsed6,
    (id, dir): (ConnId, Dir),
    notes: &mut Notes,
) -> Followed {
    let hot = *net.flow.conns6.hot(id);
    let conn = net.conn_number(hot.serial as u32, true);
    let found = |known, permit| Phase::Found { conn, known, session: None, permit };
    let out_if = hot.iface[dir.flip() as usize];
    notes.out_if = Some(out_if);
    if hot.iface[dir as usize] != ifindex {
        return notes.drop(found(Known::Its, false), DropReason::RpfViolated);
    }
    match net.flow.foresee_account6(id, dir, &forward::booked(frame, parsed), now.tick()) {
        Ok(Booked::Passes) => {
            notes.phases.push(found(Known::Its, true));
            leave(net, view, out_if, hot.destination(dir), notes)
        }
        Ok(Booked::Afresh) => {
            notes.phases.push(found(Known::Over, true));
            first(net, view, ifindex, parsed, Some(id), notes)
        }
        Ok(Booked::Handshake(_)) => {
            notes.phases.push(found(Known::Opening, true));
            Ok(Fate::Intercepted)
        }
        Err(reason) => notes.drop(found(Known::Its, false), reason),
    }
}

/// A packet of no connection but one that is `over`; as `forward::first` takes it.
fn first(
    net: &mut Net,
    view: &View<'_>,
    ifindex: u8,
    parsed: &Parsed6,
    over: Option<ConnId>,
    notes: &mut Notes,
) -> Followed {
    let egress = |addr| view.routes6().lookup(addr).map(|way| way.ifindex);
    let foreseen =
        net.flow.foresee6(&First6::of(parsed, ifindex), &view.flow, egress, over, &mut notes.phases);
    match foreseen {
        Foreseen::New { out_if, .. } => leave(net, view, out_if, parsed.tuple.dst, notes),
        Foreseen::Intercept { out_if } => {
            notes.out_if = Some(out_if);
            Ok(Fate::Intercepted)
        }
        Foreseen::Local => Ok(Fate::Answered),
        Foreseen::Refused(reason) => {
            notes.out_if = notes.way_out();
            Ok(Fate::Dropped(reason))
        }
    }
}

/// To the next hop; as [`Net::send_to6`] finds it.
fn leave(net: &Net, view: &View<'_>, out_if: u8, dst: u128, notes: &mut Notes) -> Followed {
    let way = net.routes6(view).lookup(dst).filter(|way| way.ifindex == out_if);
    let station = way.map(|way| net.v6.neigh.foresee(out_if.into(), way.next_hop));
    notes.leave(view, out_if, way.map(|way| way.next_hop.into()), station)
}
