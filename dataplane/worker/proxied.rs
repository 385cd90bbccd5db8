// SPDX-License-Identifier: MIT OR Apache-2.0
//! Between the packet path and the TLS proxy: which connection is which session, and the engine's way out.
//!
//! The connection table knows a proxied connection like any other; its forward packets are for the client leg, its
//! reverse packets for the server leg. What the client leg sends goes to the initiator (as a reverse packet would), what
//! the server leg sends goes to the responder. A session may have more connections, which it asked for itself (to members of a pool): they are
//! entries of the table like any other, whose forward packets are ours. The engine is sans-IO: [`Way`] gives it mbufs, counters and
//! the event queue. Worker core only.

use super::clock::Now;
use super::dispatch::Ways;
use super::media;
use super::net::{HEADER_ROOM, LogKind, Net};
use super::runtime::{Runtime, View};
use super::shown;
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir, InsertError, NO_CLASS, NO_SESSION, NewConn};
use fedgate_flow::firewall::Paths;
use fedgate_flow::intercept::Proof;
use fedgate_flow::key::{Key, TCP};
use fedgate_flow::shard;
use fedgate_flow::tcp::State;
use fedgate_flow::xlate::NO_XLATE;
use fedgate_proxy::pool::Pool;
use fedgate_proxy::{
    AbortReason, Addr, CloseReason, Context, Engine, Event, Leg, MediaNote, Met, OpenError, OpenParams,
    Output, ProxyTls, Road, SessionId,
};
use fedgate_sip::dialog::{Counts, Roster};
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::Transport;
use fedgate_tables::counters::{Counter, Gauge, Histo, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{self, SipProbe, SipTrace};
use fedgate_tables::policy::Interface;
use fedgate_wire::Parsed;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Ports tried for a connection of our own.
const PORTS_TRIED: u16 = 256;
/// The first of them where any will do (RFC 6056).
const FIRST_PORT: u16 = 49_152;

/// What is known of a session's slot.
struct Seat {
    id: SessionId,
    /// The connection that it took over; none where the engine asks for itself.
    conn: Option<ConnId>,
    /// Those that it made, by its numbers.
    own: Vec<(u8, ConnId)>,
}

/// The engine and its sessions' connections.
pub struct Sessions {
    /// The engine.
    pub engine: Engine,
    seats: Vec<Option<Seat>>,
    ended: Vec<(SessionId, CloseReason)>,
    most: u64,
}

impl Sessions {
    /// None yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, seats: Vec::new(), ended: Vec::new(), most: 0 }
    }

    /// The same of one of several workers.
    #[must_use]
    pub fn of_several(self, roster: Arc<Roster>, worker: usize) -> Self {
        Self { engine: self.engine.of_several(roster, worker), ..self }
    }

    /// What would become of a SIP request.
    ///
    /// # Errors
    /// Why nobody can say.
    pub(super) fn foresee(
        &self,
        probe: &SipProbe,
        view: Option<&View<'_>>,
        now: Now,
    ) -> Result<SipTrace, String> {
        let view = view.ok_or("the dataplane has no policy yet")?;
        let tls = view.image.tls.get(probe.proxy as usize).and_then(Option::as_ref);
        let tls = tls.ok_or("that tls-proxy is not ready")?;
        self.engine.foresee(probe, tls, now.proxy(), &context(view))
    }

    /// The connection of a session.
    pub fn conn(&self, id: SessionId) -> Option<ConnId> {
        seat(&self.seats, id)?.conn
    }

    /// The session in an engine slot.
    pub fn at(&self, slot: u32) -> Option<SessionId> {
        self.seats.get(slot as usize)?.as_ref().map(|seat| seat.id)
    }

    /// Begins a session for the connection that the SYN in `mbuf` made, or the ACK of a cookie. Where there can be none the connection ends again.
    #[cold]
    pub(super) fn open(
        &mut self,
        net: &mut Net,
        view: &View<'_>,
        now: Now,
        conn: ConnId,
        (tls_proxy, proof): (u32, Option<&Proof>),
        mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        let opened = self.try_open(net, view, now, conn, tls_proxy, proof);
        // The engine may have made room by forgetting an older session, and given its slot to this one.
        self.bury(net, now);
        match opened {
            Ok(session) => {
                let place = session.slot as usize;
                if self.seats.len() <= place {
                    self.seats.resize_with(place + 1, || None);
                }
                self.seats[place] = Some(Seat { id: session, conn: Some(conn), own: Vec::new() });
                net.flow.set_session(conn, session.slot);
                net.counters.add(Stat::ProxySessionsOpened, 1);
                self.input(net, now, conn, Dir::Forward, mbuf, parsed);
            }
            Err(error) => {
                net.end(conn, now);
                net.counters.add(Stat::ConnsRefused, 1);
                if net.may_log(now, LogKind::Proxy) {
                    let text = format!("TLS proxy session refused: {error}");
                    net.event(link::Event::Log { level: "warn".into(), text });
                }
                net.drop(DropReason::ProxySessionLimit, mbuf);
            }
        }
    }

    fn try_open(
        &mut self,
        net: &mut Net,
        view: &View<'_>,
        now: Now,
        conn: ConnId,
        tls_proxy: u32,
        proof: Option<&Proof>,
    ) -> Result<SessionId, OpenError> {
        let tls = view.image.tls.get(tls_proxy as usize).cloned().flatten().ok_or(OpenError::NotReady)?;
        let hot = net.flow.conns.hot(conn);
        let (called, shown) = (hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
        let outside = shown::viewer(net, conn).ifindex;
        let mtu = |ifindex: u8| view.interface(ifindex).map_or(1500, |i: &Interface| i.mtu);
        let params = OpenParams {
            tls,
            tls_proxy,
            client_local: (called.dst, called.dport),
            client_remote: (called.src, called.sport),
            server_local: (shown.src, shown.sport),
            server_remote: (shown.dst, shown.dport),
            outside: if net.flow.conns.hot(conn).is_inbound() { Leg::Client } else { Leg::Server },
            nat: view.flow.nat.translates_to(outside),
            client_mtu: mtu(hot.iface[Dir::Forward as usize]),
            server_mtu: mtu(hot.iface[Dir::Reverse as usize]),
        };
        let mut way = Way { net, view, now, seats: &mut self.seats, ended: &mut self.ended };
        match proof.map(Proof::handshake) {
            None => self.engine.open(now.proxy(), params, &mut way),
            Some((theirs, ours, mss)) => {
                self.engine.open_met(now.proxy(), params, Met { ours, theirs, mss }, &mut way)
            }
        }
    }

    /// A packet of a proxied connection.
    pub(super) fn input(
        &mut self,
        net: &mut Net,
        now: Now,
        conn: ConnId,
        dir: Dir,
        mbuf: Mbuf,
        parsed: &Parsed,
    ) {
        let hot = net.flow.conns.hot_mut(conn);
        (hot.last, hot.packets) = (now.tick(), hot.packets.wrapping_add(1));
        hot.bytes += u64::from(parsed.ip_len);
        let seat = self.seats.get(hot.session() as usize).and_then(Option::as_ref);
        let road = seat.and_then(|seat| Some((seat.id, seat.road(conn, dir)?)));
        let Some((session, road)) = road else {
            return net.drop(DropReason::ProxyNoSession, mbuf);
        };
        let start = usize::from(parsed.l3);
        let datagram = start..start + usize::from(parsed.ip_len);
        let Some(packet) = mbuf.data().get(datagram) else {
            return net.drop(DropReason::InvalidIpLength, mbuf);
        };
        self.engine.prefetch(session, dpdk::prefetch_near_at);
        match self.engine.input(now.proxy(), session, road, packet) {
            // The packet ends here by design: its bytes are in the session's buffers. What follows from them is the poll's.
            Ok(()) => drop(mbuf),
            Err(_) => net.drop(DropReason::ProxyNoSession, mbuf),
        }
    }

    /// A router's word about a packet of ours that left in `dir` by a proxied connection, that it takes `mtu` bytes at most. False where that is
    /// none of a session's.
    pub(super) fn too_big(&mut self, net: &Net, conn: ConnId, dir: Dir, seq: u32, mtu: u16) -> bool {
        // What leaves in one direction is answered in the other.
        let seat = self.seats.get(net.flow.conns.hot(conn).session() as usize).and_then(Option::as_ref);
        let road = seat.and_then(|seat| Some((seat.id, seat.road(conn, dir.flip())?)));
        road.is_some_and(|(session, road)| self.engine.too_big(session, road, seq, mtu))
    }

    /// Takes the trust and the pools of a new image into use: all sessions are held to the one, and the first worker watches the members of the others.
    pub(super) fn adopt(&mut self, net: &mut Net, view: &View<'_>, now: Now) {
        self.engine.trust(now.proxy(), view.image.tls.iter().flatten().cloned().collect());
        if net.worker() != 0 {
            return;
        }
        let mut pools: Vec<(Arc<Pool>, Arc<ProxyTls>)> = Vec::new();
        for tls in view.image.tls.iter().flatten() {
            let pool = tls.pool().filter(|pool| pool.check().is_some());
            if let Some(pool) = pool.filter(|pool| !pools.iter().any(|(known, _)| Arc::ptr_eq(known, pool))) {
                pools.push((pool.clone(), tls.clone()));
            }
        }
        let mut way = Way { net, view, now, seats: &mut self.seats, ended: &mut self.ended };
        self.engine.watch(now.proxy(), &pools, &mut way);
    }

    /// Lets sessions do what their time asks for.
    pub(super) fn poll(&mut self, net: &mut Net, view: &View<'_>, now: Now) -> usize {
        if self.engine.next_deadline().is_none_or(|at| at > now.proxy()) {
            return 0;
        }
        let ctx = context(view);
        let mut way = Way { net, view, now, seats: &mut self.seats, ended: &mut self.ended };
        self.engine.poll(now.proxy(), &ctx, &mut way);
        self.bury(net, now);
        1
    }

    /// Ends a session from our side.
    pub fn abort(&mut self, net: &mut Net, view: &View<'_>, now: Now, session: SessionId) {
        let ctx = context(view);
        let mut way = Way { net, view, now, seats: &mut self.seats, ended: &mut self.ended };
        self.engine.abort(now.proxy(), session, AbortReason::Cleared, &ctx, &mut way);
        self.bury(net, now);
    }

    /// Ends the connections of sessions that have ended, and keeps the gauges.
    fn bury(&mut self, net: &mut Net, now: Now) {
        for (session, reason) in self.ended.drain(..) {
            net.counters.add(Stat::ProxySessionsClosed, 1);
            if net.may_log(now, LogKind::Proxy) {
                let session = net.session_number(session.slot);
                net.event(link::Event::SessionClosed { session, reason: reason.to_string() });
            }
            let place = self.seats.get_mut(session.slot as usize);
            if let Some(seat) = place.and_then(|p| p.take_if(|seat| seat.id == session)) {
                for conn in seat.own.into_iter().map(|(_, conn)| conn).chain(seat.conn) {
                    net.flow.set_session(conn, NO_SESSION);
                    net.end(conn, now);
                }
            }
        }
        let open = u64::from(self.engine.sessions());
        self.most = self.most.max(open);
        net.flow.crowd_proxy(self.engine.is_crowded());
        net.counters.set(Gauge::ProxySessionsInUse, open);
        net.counters.set(Gauge::ProxySessionsMostUsed, self.most);
        net.counters.set(Gauge::SipDialogsInUse, self.engine.dialogs().len() as u64);
        let Counts { begun, ended, expired, cleared } = self.engine.take_dialog_counts();
        for (stat, n) in [
            (Stat::SipDialogsBegun, begun),
            (Stat::SipDialogsEnded, ended),
            (Stat::SipDialogsExpired, expired),
            (Stat::SipDialogsCleared, cleared),
        ] {
            if n > 0 {
                net.counters.add(stat, n);
            }
        }
        net.counters.set(Gauge::ProxyMemoryBytes, self.engine.memory() as u64);
    }
}

type SipContext<'a> = Context<'a, super::domains::Federation, fedgate_proxy::OwnDomains>;

fn context<'a>(view: &View<'a>) -> SipContext<'a> {
    let image: &'a Runtime = view.image;
    Context { domains: &image.federation, locals: &image.locals, timeouts: view.proxy_timeouts() }
}

/// The engine's way out for one call.
struct Way<'a, 'v> {
    net: &'a mut Net,
    view: &'a View<'v>,
    now: Now,
    seats: &'a mut Vec<Option<Seat>>,
    ended: &'a mut Vec<(SessionId, CloseReason)>,
}

impl Seat {
    /// Which of its connections a packet came by, if it can have come by that.
    fn road(&self, conn: ConnId, dir: Dir) -> Option<Road> {
        if Some(conn) == self.conn {
            return Some(Road::Leg(match dir {
                Dir::Forward => Leg::Client,
                Dir::Reverse => Leg::Server,
            }));
        }
        // Forward is what we send.
        let own = self.own.iter().find(|(_, own)| *own == conn && dir == Dir::Reverse);
        own.map(|(number, _)| Road::Own(*number))
    }
}

fn seat(seats: &[Option<Seat>], session: SessionId) -> Option<&Seat> {
    seats.get(session.slot as usize)?.as_ref().filter(|seat| seat.id == session)
}

impl Way<'_, '_> {
    /// The connection that a session took over.
    fn conn(&self, session: SessionId) -> Option<ConnId> {
        seat(self.seats, session)?.conn
    }

    /// Enters a connection of our own into the table.
    fn enter(&mut self, iface: [u8; 2], from: Addr, to: Addr, inbound: bool) -> Option<(ConnId, Addr)> {
        for n in 0..PORTS_TRIED {
            let sport = from.1.checked_add(n).unwrap_or(FIRST_PORT + n);
            let forward = Key { src: from.0, dst: to.0, sport, dport: to.1, proto: TCP };
            let reverse = forward.mirror();
            if !self.comes_here(iface[1], &reverse) {
                continue;
            }
            let new = NewConn {
                forward,
                reverse,
                iface,
                state: State::Established,
                inbound,
                xlate: NO_XLATE,
                class: NO_CLASS,
            };
            match self.net.flow.conns.insert(new, self.now.tick()) {
                Ok(conn) => return Some((conn, (from.0, sport))),
                Err(InsertError::Clash) => {}
                Err(InsertError::Full) => return None,
            }
        }
        None
    }

    /// Whether this worker gets what answers a connection of ours.
    fn comes_here(&self, ifindex: u8, reply: &Key) -> bool {
        if self.net.workers() == 1 {
            return true;
        }
        let egress = |addr| self.view.routes().lookup(addr).map(|way| way.ifindex as u8);
        match shard::owner(reply, ifindex, &self.view.flow, egress, self.net.workers()) {
            Some(owner) => owner == self.net.worker(),
            // To ourselves: whoever receives it.
            None => Ways::new(self.net, self.view).prefers(reply),
        }
    }
}

impl Output for Way<'_, '_> {
    fn packet(&mut self, session: SessionId, road: Road, len: usize, fill: impl FnOnce(&mut [u8])) {
        let Some(seat) = seat(self.seats, session) else { return };
        // To the initiator goes what a reverse packet would; to a responder what a forward packet would.
        let (conn, dir) = match road {
            Road::Leg(Leg::Client) => (seat.conn, Dir::Reverse),
            Road::Leg(Leg::Server) => (seat.conn, Dir::Forward),
            Road::Own(own) => {
                let own = seat.own.iter().find(|(number, _)| *number == own);
                (own.map(|(_, conn)| *conn), Dir::Forward)
            }
        };
        let Some(conn) = conn else { return };
        let Some(mut mbuf) = self.net.new_mbuf() else { return };
        let Ok(frame) = mbuf.append(HEADER_ROOM + len) else {
            return self.net.drop(DropReason::NoMbuf, mbuf);
        };
        fill(&mut frame[HEADER_ROOM..]);
        let hot = self.net.flow.conns.hot_mut(conn);
        (hot.bytes, hot.packets) = (hot.bytes + len as u64, hot.packets.wrapping_add(1));
        self.net.send_by_connection(self.view, self.now, conn, dir, mbuf);
    }

    #[cold]
    fn connect(&mut self, session: SessionId, own: u8, from: Option<Addr>, to: Addr) -> Option<(Addr, u16)> {
        let client = seat(self.seats, session).and_then(|seat| seat.conn);
        let egress = self.view.routes().lookup(to.0)?.ifindex as u8;
        let interface = self.view.interface(egress)?;
        let from = from.unwrap_or((interface.addr, FIRST_PORT));
        let hot = client.map(|client| self.net.flow.conns.hot(client));
        let ingress = hot.map_or(egress, |hot| hot.iface[Dir::Forward as usize]);
        let (iface, inbound) = ([ingress, egress], hot.is_some_and(|hot| hot.is_inbound()));
        let (conn, local) = self.enter(iface, from, to, inbound)?;
        self.net.flow.set_session(conn, session.slot);
        self.net.flow.began(conn, self.now.tick());
        self.net.counters.add(Stat::ConnsBuilt, 1);
        let place = session.slot as usize;
        if self.seats.len() <= place {
            self.seats.resize_with(place + 1, || None);
        }
        let seat = &mut self.seats[place];
        if seat.as_ref().is_none_or(|seat| seat.id != session) {
            *seat = Some(Seat { id: session, conn: None, own: Vec::new() });
        }
        if let Some(seat) = seat {
            seat.own.push((own, conn));
        }
        Some((local, interface.mtu))
    }

    #[cold]
    fn leads_alike(&self, session: SessionId, to: Addr) -> bool {
        let Some(called) = self.conn(session).map(|conn| self.net.flow.conns.hot(conn)) else { return false };
        let egress = self.view.routes().lookup(to.0).map(|way| way.ifindex as u8);
        egress == Some(called.iface[Dir::Reverse as usize])
            && egress.is_some_and(|egress| !self.view.answers_arp_for(egress, to.0))
    }

    #[cold]
    fn disconnect(&mut self, session: SessionId, own: u8) {
        let seat = self.seats.get_mut(session.slot as usize).and_then(Option::as_mut);
        let Some(seat) = seat.filter(|seat| seat.id == session) else { return };
        let Some(at) = seat.own.iter().position(|(number, _)| *number == own) else { return };
        let (_, conn) = seat.own.swap_remove(at);
        self.net.flow.set_session(conn, NO_SESSION);
        self.net.end(conn, self.now);
    }

    fn event(&mut self, session: SessionId, event: Event<'_>) {
        if !self.net.may_log(self.now, LogKind::Proxy) {
            return;
        }
        let session = self.net.session_number(session.slot);
        self.net.event(event.to_link(session));
    }

    fn closed(&mut self, session: SessionId, reason: CloseReason) {
        self.ended.push((session, reason));
    }

    fn count(&mut self, counter: Counter, n: u64) {
        self.net.counters.count(counter, n);
    }

    fn observe(&mut self, histo: Histo, value: u64) {
        self.net.counters.observe(histo, value);
    }

    fn media(&mut self, session: SessionId, note: &MediaNote<'_>) {
        if let Some(conn) = self.conn(session) {
            media::hear(self.net, self.view, self.now, session, conn, note);
        }
    }

    fn is_shown(&self, _: SessionId, addr: Ipv4Addr) -> bool {
        self.net.flow.is_told(addr.to_bits(), &self.view.flow, self.now.tick())
    }

    fn shown(&mut self, session: SessionId, transport: Transport, real: SocketAddr) -> Option<SocketAddr> {
        shown::shown(self.net, self.view, self.now, self.conn(session)?, transport, real)
    }

    fn real(&mut self, session: SessionId, transport: Transport, shown: SocketAddr) -> Option<SocketAddr> {
        shown::real(self.net, self.view, self.conn(session)?, transport, shown)
    }

    fn shown_host(&mut self, session: SessionId, real: IpAddr) -> Option<IpAddr> {
        shown::host(self.net, self.view, self.conn(session)?, real)
    }

    fn shown_media(&mut self, session: SessionId, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)> {
        shown::media(self.net, self.view, self.now, self.conn(session)?, real, ports)
    }
}

#[cfg(test)]
mod tests {
    //! The sessions' books where the engine makes room for a new session by forgetting an old one of the same slot.

    use super::*;
    use crate::worker::command::EventSink;
    use crate::worker::mates::Mates;
    use fedgate_flow::FlowConfig;
    use fedgate_flow::ports::Share;

    #[test]
    fn a_slot_that_is_taken_over_keeps_its_new_session() {
        let pool = dpdk::Mempool::new(dpdk::Eal::for_tests(), "bury", 255, 2048, 0).unwrap();
        let (_segment, mut blocks, _house) = fedgate_tables::counters::Counters::create(1, 0).unwrap();
        let events = EventSink(std::sync::Arc::new(crossbeam::queue::ArrayQueue::new(4)));
        let config = FlowConfig { max_conns: 16, max_xlates: 16, share: Share::WHOLE, seed: 1 };
        let mut net = Net::new(pool, blocks.remove(0), config, events, Mates::none());
        let mut conn = |sport| {
            let forward = Key { src: 1, dst: 2, sport, dport: 5061, proto: TCP };
            let new = NewConn {
                forward,
                reverse: forward.mirror(),
                iface: [0, 1],
                state: State::SynSent,
                inbound: true,
                xlate: NO_XLATE,
                class: fedgate_flow::conn::NO_CLASS,
            };
            let id = net.flow.conns.insert(new, 0).unwrap();
            net.flow.set_session(id, 0);
            id
        };
        let (old_conn, new_conn, own_conn) = (conn(1), conn(2), conn(3));
        let mut sessions = Sessions::new(Engine::new(fedgate_proxy::Limits::default()));
        let (old, new) = (SessionId { slot: 0, generation: 0 }, SessionId { slot: 0, generation: 1 });
        sessions.seats.push(Some(Seat { id: old, conn: Some(old_conn), own: Vec::new() }));
        sessions.ended.push((old, CloseReason::Finished));
        sessions.bury(&mut net, Now::default());
        assert!(!net.flow.conns.is_live(old_conn));
        sessions.seats[0] = Some(Seat { id: new, conn: Some(new_conn), own: vec![(3, own_conn)] });
        // Word of the old one's end that comes late is not about the new one.
        sessions.ended.push((old, CloseReason::Finished));
        sessions.bury(&mut net, Now::default());
        assert_eq!(sessions.conn(new), Some(new_conn));
        assert!(net.flow.conns.is_live(new_conn));
        // What is its own ends with it.
        sessions.ended.push((new, CloseReason::Finished));
        sessions.bury(&mut net, Now::default());
        assert!(!net.flow.conns.is_live(new_conn) && !net.flow.conns.is_live(own_conn));
    }
}
