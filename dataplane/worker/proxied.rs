// SPDX-License-Identifier: MIT OR Apache-2.0
//! Between the packet path and the TLS proxy: which connection is which session, and the engine's way out.
//!
//! The connection table knows a proxied connection like any other; its forward packets are for the client leg, its
//! reverse packets for the server leg. What the client leg sends goes to the initiator (as a reverse packet would), what
//! the server leg sends goes to the responder. The engine is sans-IO: [`Way`] gives it mbufs, counters and the
//! event queue. Worker core only.

use super::clock::Now;
use super::media;
use super::net::{HEADER_ROOM, LogKind, Net};
use super::runtime::{Runtime, View};
use super::shown;
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir, NO_SESSION};
use fedgate_flow::intercept::Proof;
use fedgate_proxy::{
    AbortReason, CloseReason, Context, Engine, Event, Leg, MediaNote, Met, OpenError, OpenParams, Output,
    SessionId,
};
use fedgate_sip::dialog::Roster;
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::Transport;
use fedgate_tables::counters::{Counter, Gauge, Histo, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link;
use fedgate_tables::policy::Interface;
use fedgate_wire::Parsed;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The engine and its sessions' connections.
pub struct Sessions {
    /// The engine.
    pub engine: Engine,
    conns: Vec<Option<(SessionId, ConnId)>>,
    ended: Vec<(SessionId, CloseReason)>,
    most: u64,
}

impl Sessions {
    /// None yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, conns: Vec::new(), ended: Vec::new(), most: 0 }
    }

    /// The same of one of several workers.
    #[must_use]
    pub fn of_several(self, roster: Arc<Roster>, worker: usize) -> Self {
        Self { engine: self.engine.of_several(roster, worker), ..self }
    }

    /// The connection of a session.
    pub fn conn(&self, id: SessionId) -> Option<ConnId> {
        self.conns
            .get(id.slot as usize)
            .copied()
            .flatten()
            .filter(|(held, _)| *held == id)
            .map(|(_, conn)| conn)
    }

    /// The session in an engine slot.
    pub fn at(&self, slot: u32) -> Option<SessionId> {
        self.conns.get(slot as usize).copied().flatten().map(|(id, _)| id)
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
                if self.conns.len() <= place {
                    self.conns.resize(place + 1, None);
                }
                self.conns[place] = Some((session, conn));
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
        let mut way = Way { net, view, now, conns: &self.conns, ended: &mut self.ended };
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
        let Some(session) = self.at(hot.session()) else {
            return net.drop(DropReason::ProxyNoSession, mbuf);
        };
        let leg = match dir {
            Dir::Forward => Leg::Client,
            Dir::Reverse => Leg::Server,
        };
        let start = usize::from(parsed.l3);
        let datagram = start..start + usize::from(parsed.ip_len);
        let Some(packet) = mbuf.data().get(datagram) else {
            return net.drop(DropReason::InvalidIpLength, mbuf);
        };
        match self.engine.input(now.proxy(), session, leg, packet) {
            // The packet ends here by design: its bytes are in the session's buffers. What follows from them is the poll's.
            Ok(()) => drop(mbuf),
            Err(_) => net.drop(DropReason::ProxyNoSession, mbuf),
        }
    }

    /// A router's word about a packet of ours that left in `dir` by a proxied connection, that it takes `mtu` bytes at most. False where that is
    /// none of a session's.
    pub(super) fn too_big(&mut self, net: &Net, conn: ConnId, dir: Dir, seq: u32, mtu: u16) -> bool {
        let leg = match dir {
            Dir::Forward => Leg::Server,
            Dir::Reverse => Leg::Client,
        };
        let session = self.at(net.flow.conns.hot(conn).session());
        session.is_some_and(|session| self.engine.too_big(session, leg, seq, mtu))
    }

    /// Lets sessions do what their time asks for.
    pub(super) fn poll(&mut self, net: &mut Net, view: &View<'_>, now: Now) -> usize {
        if self.engine.next_deadline().is_none_or(|at| at > now.proxy()) {
            return 0;
        }
        let ctx = context(view);
        let mut way = Way { net, view, now, conns: &self.conns, ended: &mut self.ended };
        self.engine.poll(now.proxy(), &ctx, &mut way);
        self.bury(net, now);
        1
    }

    /// Ends a session from our side.
    pub fn abort(&mut self, net: &mut Net, view: &View<'_>, now: Now, session: SessionId) {
        let ctx = context(view);
        let mut way = Way { net, view, now, conns: &self.conns, ended: &mut self.ended };
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
            let place = self.conns.get_mut(session.slot as usize);
            if let Some((_, conn)) = place.and_then(|p| p.take_if(|(held, _)| *held == session)) {
                net.flow.set_session(conn, NO_SESSION);
                net.end(conn, now);
            }
        }
        let open = u64::from(self.engine.sessions());
        self.most = self.most.max(open);
        net.flow.crowd_proxy(self.engine.is_crowded());
        net.counters.set(Gauge::ProxySessionsInUse, open);
        net.counters.set(Gauge::ProxySessionsMostUsed, self.most);
        net.counters.set(Gauge::SipDialogsInUse, self.engine.dialogs().len() as u64);
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
    conns: &'a [Option<(SessionId, ConnId)>],
    ended: &'a mut Vec<(SessionId, CloseReason)>,
}

impl Way<'_, '_> {
    fn conn(&self, session: SessionId) -> Option<ConnId> {
        self.conns
            .get(session.slot as usize)
            .copied()
            .flatten()
            .filter(|(s, _)| *s == session)
            .map(|(_, c)| c)
    }
}

impl Output for Way<'_, '_> {
    fn packet(&mut self, session: SessionId, leg: Leg, len: usize, fill: impl FnOnce(&mut [u8])) {
        let Some(conn) = self.conn(session) else { return };
        let Some(mut mbuf) = self.net.new_mbuf() else { return };
        let Ok(frame) = mbuf.append(HEADER_ROOM + len) else {
            return self.net.drop(DropReason::NoMbuf, mbuf);
        };
        fill(&mut frame[HEADER_ROOM..]);
        // To the initiator goes what a reverse packet would; to the responder what a forward packet would.
        let dir = match leg {
            Leg::Client => Dir::Reverse,
            Leg::Server => Dir::Forward,
        };
        let hot = self.net.flow.conns.hot_mut(conn);
        (hot.bytes, hot.packets) = (hot.bytes + len as u64, hot.packets.wrapping_add(1));
        self.net.send_by_connection(self.view, self.now, conn, dir, mbuf);
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
    use fedgate_flow::conn::NewConn;
    use fedgate_flow::key::{Key, TCP};
    use fedgate_flow::ports::Share;
    use fedgate_flow::tcp::State;
    use fedgate_flow::xlate::NO_XLATE;

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
        let (old_conn, new_conn) = (conn(1), conn(2));
        let mut sessions = Sessions::new(Engine::new(fedgate_proxy::Limits::default()));
        let (old, new) = (SessionId { slot: 0, generation: 0 }, SessionId { slot: 0, generation: 1 });
        sessions.conns.push(Some((old, old_conn)));
        sessions.ended.push((old, CloseReason::Finished));
        sessions.bury(&mut net, Now::default());
        assert!(!net.flow.conns.is_live(old_conn));
        sessions.conns[0] = Some((new, new_conn));
        // Word of the old one's end that comes late is not about the new one.
        sessions.ended.push((old, CloseReason::Finished));
        sessions.bury(&mut net, Now::default());
        assert_eq!(sessions.conn(new), Some(new_conn));
        assert!(net.flow.conns.is_live(new_conn));
    }
}
