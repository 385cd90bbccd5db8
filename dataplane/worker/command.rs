// SPDX-License-Identifier: MIT OR Apache-2.0
//! What housekeeping asks of a worker, and how it is answered without holding up a packet.
//!
//! Commands come through a bounded queue, at most one is done a loop. A listing is done in pages: a page looks at a
//! bounded number of entries and says where to go on; the housekeeping thread asks for the next when control has taken the
//! last. So `show conn` of a million connections costs the worker some microseconds a loop and no memory to speak
//! of. Rows are allocated here, on the worker: the one place where that is accepted, at an operator's pace.

use super::census;
use super::clock::Now;
use super::neigh::{Entry, State as ArpState};
use super::net::{Net, Outlet};
use super::ping::Order;
use super::proxied::Sessions;
use super::runtime::{IoSlot, View};
use super::spoken;
use super::tap;
use super::xlates;
use crossbeam::queue::ArrayQueue;
use dpdk::RxQueue;
use fedgate_flow::TICKS;
use fedgate_flow::conn::{ConnId, Dir, Hot, NO_SESSION};
use fedgate_flow::key::{TCP, UDP};
use fedgate_flow::media::Hole;
use fedgate_flow::tcp::{State, seen};
use fedgate_flow::v6::Hot6;
use fedgate_tables::link::{
    Addr, ArpRow, ConnRow, Echoed, End, Event, Filter, Probe, Rows, SipProbe, SipTrace, Trace, What,
};
use std::sync::Arc;

/// Rows in a page.
pub(super) const PAGE: usize = 64;
/// Entries looked at for a page.
pub(super) const SCAN: usize = 2048;
/// In a cursor over connections: among IPv6's, which follow IPv4's. (No table has so many entries.)
pub(super) const AMONG_V6: u32 = 1 << 31;

/// In a cursor over connections: among media pinholes that wait for their first packet, which come last. (No table has so many
/// entries.)
const AMONG_HOLES: u32 = 1 << 30;

/// A request.
pub enum Command {
    /// Take over queues of a port.
    Port {
        /// Its slot.
        slot: IoSlot,
        /// Receive queue, where this worker has one.
        rx: Option<RxQueue>,
        /// Transmit queue, or whose to use.
        tx: Outlet,
    },
    /// One page of a listing.
    Dump(Dump),
    /// End things, a bounded number.
    Clear(Clear),
    /// What would become of a packet.
    Trace(Ask),
    /// Ask somebody for an echo.
    Echo(Order),
    /// What would become of a SIP request.
    TraceSip(Box<SipAsk>),
    /// Capture this from now on, or nothing.
    Capture(Option<tap::Order>),
}

/// Echoed in answers: which of control's requests, and which control's, so that a new one never gets an old one's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The request's number.
    pub id: u64,
    /// Counts the controls that have connected.
    pub link: u64,
}

/// A page to make.
#[derive(Clone, Debug)]
pub struct Dump {
    /// Who asks.
    pub asker: Asker,
    /// Which listing.
    pub what: What,
    /// Which rows.
    pub filter: Filter,
    /// Where to go on; 0 to begin.
    pub cursor: u32,
}

/// A packet to be traced.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Who asks.
    pub asker: Asker,
    /// The packet.
    pub probe: Probe,
    /// A worker has said that it is this one's.
    pub handed: bool,
}

/// A SIP request to be traced.
#[derive(Clone, Debug)]
pub struct SipAsk {
    /// Who asks.
    pub asker: Asker,
    /// The request.
    pub probe: SipProbe,
}

/// Things to end, from a cursor on.
#[derive(Clone, Debug)]
pub struct Clear {
    /// Who asks.
    pub asker: Asker,
    /// What.
    pub what: What,
    /// Which.
    pub filter: Filter,
    /// Where to go on; 0 to begin.
    pub cursor: u32,
    /// Ended so far.
    pub count: u64,
}

/// An answer.
pub enum Reply {
    /// A page, and where the next begins.
    Page {
        /// The request's.
        dump: Dump,
        /// Rows.
        rows: Rows,
        /// `None` after the last.
        next: Option<u32>,
    },
    /// So many were ended.
    Cleared {
        /// The request, with the count so far.
        clear: Clear,
        /// Where to go on; `None` at the end.
        next: Option<u32>,
    },
    /// What would become of a packet.
    Traced {
        /// The request.
        ask: Ask,
        /// The answer; `None` without a policy.
        trace: Option<Trace>,
    },
    /// What became of an echo request.
    Echoed {
        /// Who asked.
        asker: Asker,
        /// The answer, or why there is none to wait for.
        outcome: Echoed,
    },
    /// What would become of a SIP request, or why nobody can say.
    SipTraced {
        /// Who asked.
        asker: Asker,
        /// The answer.
        trace: Result<SipTrace, String>,
    },
    /// A packet that is another worker's.
    Elsewhere {
        /// The request.
        ask: Ask,
        /// Whose it is.
        worker: u8,
    },
}

/// One end of the queues between housekeeping and a worker.
pub struct Desk {
    /// From housekeeping.
    pub commands: Arc<ArrayQueue<Command>>,
    /// To housekeeping.
    pub replies: Arc<ArrayQueue<Reply>>,
    /// To control's log.
    pub events: EventSink,
}

/// Where events for control's log go.
#[derive(Clone)]
pub struct EventSink(pub Arc<ArrayQueue<Event>>);

impl EventSink {
    /// False where there is no room.
    pub fn put(&self, event: Event) -> bool {
        self.0.push(event).is_ok()
    }
}

impl Desk {
    /// Both ends of one set of queues: housekeeping's and the worker's, with room for so many.
    pub fn pair(commands: usize, replies: usize, events: usize) -> (Desk, Desk) {
        let commands = Arc::new(ArrayQueue::new(commands));
        let replies = Arc::new(ArrayQueue::new(replies));
        let events = EventSink(Arc::new(ArrayQueue::new(events)));
        let end = || Desk { commands: commands.clone(), replies: replies.clone(), events: events.clone() };
        (end(), end())
    }

    /// The next command, while there is room for its answer.
    pub fn take(&mut self) -> Option<Command> {
        if self.commands.is_empty() || self.replies.is_full() {
            return None;
        }
        self.commands.pop()
    }

    /// Gives an answer; [`Desk::take`] has seen that there is room.
    pub fn answer(&mut self, reply: Reply) {
        let full = self.replies.push(reply).is_err();
        debug_assert!(!full);
    }
}

/// Makes a page.
pub fn page(dump: &Dump, net: &Net, sessions: &Sessions, view: Option<&View<'_>>, now: Now) -> Reply {
    let (rows, next) = match (dump.what, view) {
        (What::Conns, Some(view)) => conns(dump, net, view, now),
        (What::Xlates, Some(view)) => xlates::page(dump, net, view, now),
        (What::Arp, Some(view)) => (Rows::Arp(arp(net, view, now)), None),
        (What::Neighbors6, Some(view)) => (Rows::Arp(neighbours6(net, view, now)), None),
        (What::Proxy, Some(_)) => spoken::sessions(dump, net, sessions, now),
        (What::Pools, _) => census::pools(dump, net),
        (What::Classes, Some(view)) => (census::classes(net, view), None),
        (What::Hosts, Some(view)) => census::hosts(dump, net, view),
        (What::Sip, _) => spoken::dialogs(dump, net, sessions, view, now),
        (What::Members, Some(view)) => (spoken::members(sessions, view, now), None),
        // Ports are housekeeping's own to list; without a policy there is nothing else.
        (What::Conns, None) => (Rows::Conns(Vec::new()), None),
        (What::Xlates, None) => (Rows::Xlates(Vec::new()), None),
        (What::Arp | What::Neighbors6, None) => (Rows::Arp(Vec::new()), None),
        (What::Proxy, None) => (Rows::Proxy(Vec::new()), None),
        (What::Classes, None) => (Rows::Classes(Vec::new()), None),
        (What::Hosts, None) => (Rows::Hosts(Vec::new()), None),
        (What::Members, None) => (Rows::Members(Vec::new()), None),
        (What::Ports, _) => (Rows::Ports(Vec::new()), None),
    };
    Reply::Page { dump: dump.clone(), rows, next }
}

/// Ends what is asked for among a bounded number of entries.
pub fn clear(
    clear: &Clear,
    net: &mut Net,
    sessions: &mut Sessions,
    view: Option<&View<'_>>,
    now: Now,
) -> Reply {
    let Some(view) = view else { return Reply::Cleared { clear: clear.clone(), next: None } };
    let (count, next) = match clear.what {
        What::Conns if clear.cursor & AMONG_V6 != 0 => {
            let (found, next) = page6(net, &clear.filter, clear.cursor);
            for &id in &found {
                net.end6(id);
            }
            (found.len() as u64, next)
        }
        What::Conns | What::Proxy => {
            let (found, next) = net.flow.conns.page(clear.cursor, PAGE, SCAN, |hot| {
                matches(&clear.filter, hot) && (clear.what == What::Conns || hot.session() != NO_SESSION)
            });
            for &id in &found {
                end(id, net, sessions, view, now);
            }
            let next = if clear.what == What::Conns { next.or(begin6(net)) } else { next };
            (found.len() as u64, next)
        }
        What::Xlates => xlates::clear(clear, net, sessions, view, now),
        What::Arp => {
            let count = net.neigh.entries().count() as u64;
            net.clear_neighbours(view, now);
            (count, None)
        }
        What::Neighbors6 => {
            let count = net.v6.neigh.entries().count() as u64;
            net.clear_neighbours6(view, now);
            (count, None)
        }
        What::Sip => spoken::clear(clear, sessions),
        What::Ports | What::Pools | What::Classes | What::Hosts | What::Members => (0, None),
    };
    Reply::Cleared { clear: Clear { count: clear.count + count, ..clear.clone() }, next }
}

/// Ends a connection, by way of its session if it has one.
pub(super) fn end(id: ConnId, net: &mut Net, sessions: &mut Sessions, view: &View<'_>, now: Now) {
    match sessions.at(net.flow.conns.hot(id).session()) {
        Some(session) => sessions.abort(net, view, now, session),
        None => net.end(id, now),
    }
}

fn matches(filter: &Filter, hot: &Hot) -> bool {
    let (called, shown) = (hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
    filter.proto.is_none_or(|p| p == hot.proto)
        && filter
            .address
            .is_none_or(|a| [called.src, called.dst, shown.src, shown.dst].map(Addr::V4).contains(&a))
        && filter.port.is_none_or(|p| [called.sport, called.dport, shown.sport, shown.dport].contains(&p))
}

fn matches6(filter: &Filter, hot: &Hot6) -> bool {
    let key = hot.key();
    filter.proto.is_none_or(|p| p == hot.proto)
        && filter.address.is_none_or(|a| [key.src, key.dst].map(Addr::from).contains(&a))
        && filter.port.is_none_or(|p| [key.sport, key.dport].contains(&p))
}

/// Where IPv6's connections begin, if there are any.
pub(super) fn begin6(net: &Net) -> Option<u32> {
    (net.flow.conns6.in_use().0 > 0).then_some(AMONG_V6)
}

/// A page of IPv6 connections, from a cursor among them on.
fn page6(net: &Net, filter: &Filter, cursor: u32) -> (Vec<ConnId>, Option<u32>) {
    let (found, next) = net.flow.conns6.page(cursor & !AMONG_V6, PAGE, SCAN, |hot| matches6(filter, hot));
    (found, next.map(|n| n | AMONG_V6))
}

fn conns(dump: &Dump, net: &Net, view: &View<'_>, now: Now) -> (Rows, Option<u32>) {
    if dump.cursor & AMONG_V6 != 0 {
        let (found, next) = page6(net, &dump.filter, dump.cursor);
        let rows = found.into_iter().map(|id| conn_row6(net, view, now, id)).collect();
        return (Rows::Conns(rows), next.or(begin_holes(net)));
    }
    if dump.cursor & AMONG_HOLES != 0 {
        let (found, next) = net.flow.media.page(dump.cursor & !AMONG_HOLES, PAGE);
        let waiting = found.into_iter().filter(|hole| hole_matches(&dump.filter, hole));
        let rows = waiting.map(|hole| hole_row(net, view, now, &hole)).collect();
        return (Rows::Conns(rows), next.map(|next| next | AMONG_HOLES));
    }
    let (found, next) = net.flow.conns.page(dump.cursor, PAGE, SCAN, |hot| matches(&dump.filter, hot));
    let rows = found.into_iter().map(|id| conn_row(net, view, now, id)).collect();
    (Rows::Conns(rows), next.or(begin6(net)).or(begin_holes(net)))
}

/// Where pinholes begin, if there are any.
fn begin_holes(net: &Net) -> Option<u32> {
    (!net.flow.media.is_empty()).then_some(AMONG_HOLES)
}

/// A pinhole that nothing has come through, as asked for.
fn hole_matches(filter: &Filter, hole: &Hole) -> bool {
    hole.conns.iter().all(Option::is_none)
        && filter.proto.is_none_or(|p| p == UDP)
        && filter.address.is_none_or(|a| [hole.real.0, hole.shown.0, hole.peer.0].map(Addr::V4).contains(&a))
        && filter.port.is_none_or(|p| [hole.real.1, hole.shown.1].contains(&p))
}

/// Such a pinhole as the ASA lists it: a connection of whatever port, incomplete.
fn hole_row(net: &Net, view: &View<'_>, now: Now, hole: &Hole) -> ConnRow {
    let peer = hole.peer.0.into();
    let idle_secs = now.tick().wrapping_sub(hole.last) / TICKS;
    ConnRow {
        id: net.conn_number(u32::from(hole.shown.1), false) | 1 << 48,
        proto: UDP,
        initiator: End { ifindex: hole.mapped_if, real: peer, real_port: 0, mapped: peer, mapped_port: 0 },
        responder: End {
            ifindex: hole.real_if,
            real: hole.real.0.into(),
            real_port: hole.real.1,
            mapped: hole.shown.0.into(),
            mapped_port: hole.shown.1,
        },
        inbound: true,
        idle_secs,
        age_secs: idle_secs,
        timeout_secs: view.flow.globals.timeout_sip_media,
        bytes: 0,
        packets: 0,
        flags: "im".into(),
        session: None,
    }
}

fn conn_row6(net: &Net, view: &View<'_>, now: Now, id: ConnId) -> ConnRow {
    let hot = net.flow.conns6.hot(id);
    let key = hot.key();
    let end = |ifindex, addr: u128, port| End {
        ifindex,
        real: addr.into(),
        real_port: port,
        mapped: addr.into(),
        mapped_port: port,
    };
    ConnRow {
        id: net.conn_number(hot.serial as u32, true),
        proto: hot.proto,
        initiator: end(hot.iface[0], key.src, key.sport),
        responder: end(hot.iface[1], key.dst, key.dport),
        inbound: hot.is_inbound(),
        idle_secs: now.tick().wrapping_sub(hot.last) / TICKS,
        age_secs: now.tick().wrapping_sub(hot.created) / TICKS,
        timeout_secs: view.flow.timeout_of(hot.proto, hot.state, hot.class) / TICKS,
        bytes: hot.bytes,
        packets: hot.packets.into(),
        flags: flags(hot.proto, hot.state, hot.history, hot.is_inbound(), false),
        session: None,
    }
}

fn conn_row(net: &Net, view: &View<'_>, now: Now, id: ConnId) -> ConnRow {
    let (hot, warm) = (net.flow.conns.hot(id), net.flow.conns.warm(id));
    let (called, shown) = (hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
    let proxied = hot.session() != NO_SESSION;
    let timeout = if proxied { view.flow.globals.timeout_sip } else { view.flow.timeout(hot) / TICKS };
    ConnRow {
        id: net.conn_number(warm.serial, false),
        proto: hot.proto,
        initiator: End {
            ifindex: hot.iface[0],
            real: called.src.into(),
            real_port: called.sport,
            mapped: shown.src.into(),
            mapped_port: shown.sport,
        },
        responder: End {
            ifindex: hot.iface[1],
            real: shown.dst.into(),
            real_port: shown.dport,
            mapped: called.dst.into(),
            mapped_port: called.dport,
        },
        inbound: hot.is_inbound(),
        idle_secs: now.tick().wrapping_sub(hot.last) / TICKS,
        age_secs: now.tick().wrapping_sub(warm.created) / TICKS,
        timeout_secs: timeout,
        bytes: hot.bytes,
        packets: hot.packets.into(),
        flags: match hot.media() {
            Some(_) => "m".into(),
            None => flags(hot.proto, hot.state, hot.history, hot.is_inbound(), proxied),
        },
        session: proxied.then(|| net.session_number(hot.session())),
    }
}

/// The ASA's letters (`show conn`): what is awaited of whom while half-open, else U, data seen each way, who began, FINs, T for SIP.
fn flags(proto: u8, state: State, history: u8, inbound: bool, proxied: bool) -> String {
    if proto != TCP {
        return "-".into();
    }
    let mut flags = String::new();
    let mut add = |when: bool, letter: &str| {
        if when {
            flags.push_str(letter);
        }
    };
    match state {
        State::SynSent if !proxied => add(true, if inbound { "SaA" } else { "saA" }),
        State::SynReceived if !proxied => add(true, if inbound { "a" } else { "A" }),
        _ => add(true, "U"),
    }
    let saw = |bit| history & bit != 0;
    let (from_outside, from_inside) = if inbound {
        (saw(seen::DATA_INITIATOR), saw(seen::DATA_RESPONDER))
    } else {
        (saw(seen::DATA_RESPONDER), saw(seen::DATA_INITIATOR))
    };
    add(from_outside, "I");
    add(from_inside, "O");
    add(inbound, "B");
    let (fin_outside, fin_inside) = if inbound {
        (saw(seen::FIN_INITIATOR), saw(seen::FIN_RESPONDER))
    } else {
        (saw(seen::FIN_RESPONDER), saw(seen::FIN_INITIATOR))
    };
    add(fin_outside, "F");
    add(fin_inside, "f");
    add(proxied, "T");
    flags
}

fn arp(net: &Net, view: &View<'_>, now: Now) -> Vec<ArpRow> {
    let own = (0u8..).zip(view.flow.interfaces);
    let own = own.map(|(ifindex, interface)| own_row(view, ifindex, interface.addr.into()));
    own.chain(net.neigh.entries().map(|entry| neighbour_row(entry, now))).collect()
}

fn neighbours6(net: &Net, view: &View<'_>, now: Now) -> Vec<ArpRow> {
    let own = net.own6().iter().map(|own| ArpRow {
        state: own.standing.name().into(),
        ..own_row(view, own.shown.ifindex, own.shown.ip.into())
    });
    own.chain(net.v6.neigh.entries().map(|entry| neighbour_row(entry, now))).collect()
}

fn own_row(view: &View<'_>, ifindex: u8, addr: Addr) -> ArpRow {
    ArpRow { ifindex, addr, mac: view.mac(ifindex).0, state: "own".into(), age_secs: 0 }
}

fn neighbour_row<A: Into<Addr>>(entry: Entry<A>, now: Now) -> ArpRow {
    ArpRow {
        ifindex: entry.ifindex as u8,
        addr: entry.ip.into(),
        mac: entry.mac.0,
        state: match entry.state {
            ArpState::Incomplete => "incomplete",
            ArpState::Reachable => "reachable",
            ArpState::Stale => "stale",
        }
        .into(),
        age_secs: (now.millis().saturating_sub(entry.since_ms) / 1000) as u32,
    }
}
