// SPDX-License-Identifier: MIT OR Apache-2.0
//! A network in virtual time: an [`Engine`] in the middle, peers of real TCP (smoltcp) and real TLS (rustls) at
//! both ends, and packets that take time, get lost, repeat and overtake each other as a seed says.
//!
//! A [`Lab`] holds any number of lines; a line is one client peer, one server peer and the session that the
//! engine makes of the client's SYN. Tests put plaintext into a peer's `say`, run the lab, and look at what the
//! other one `heard`. Nothing here waits: an hour of idle time is one step.
//!
//! Only the crate's public interface is used, so other packages can include this file by its path.

use fedgate_proxy::pool::Pool;
use fedgate_proxy::{
    AbortReason, Addr, CloseReason, Context, Engine, Event, Leg, Limits, MediaNote, Micros, OpenParams,
    Output, ProxyTls, Road, SessionId, Timeouts,
};
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::Transport;
use fedgate_tables::counters::{Counter, Histo};
use rustls::Connection;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpEndpoint, Ipv4Address};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::lists::{Domains, Locals};

/// The address that clients call.
pub const PUBLIC: (u32, u16) = (0xc000_0205, 5061); // 192.0.2.5
/// The server behind.
pub const SERVER: (u32, u16) = (0x0a00_0005, 5061); // 10.0.0.5

/// Our own address, inside.
pub const OURS: u32 = 0x0a00_0001; // 10.0.0.1

/// What happens to packets; chances in 1000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
}

/// splitmix64: small, seeded, good enough for weather.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// One end host with one connection.
pub struct Peer {
    link: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// `None` speaks plain TCP.
    pub tls: Option<Connection>,
    /// Plaintext to send.
    pub say: VecDeque<u8>,
    /// Plaintext received.
    pub heard: Vec<u8>,
    /// Takes what TCP has; else its window closes.
    pub reads: bool,
    /// Says close_notify and FIN when `say` is empty.
    pub hangs_up: bool,
    /// Answers each OPTIONS with this status.
    pub answers: Option<u16>,
    answered: usize,
    /// Sends FIN without close_notify when `say` is empty.
    pub cuts_off: bool,
    hung_up: bool,
    /// The other end said close_notify.
    pub notified: bool,
    /// Why TLS failed here.
    pub tls_error: Option<rustls::Error>,
    was_up: bool,
}

impl Peer {
    fn new(tls: Option<Connection>, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut link = Interface::new(config, &mut Tap::default(), Instant::from_micros(0));
        link.set_any_ip(true);
        let mut sockets = SocketSet::new(vec![]);
        let buffer = || SocketBuffer::new(vec![0; 32 * 1024]);
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        Self {
            link,
            sockets,
            handle,
            tls,
            say: VecDeque::new(),
            heard: Vec::new(),
            reads: true,
            hangs_up: false,
            answers: None,
            answered: 0,
            cuts_off: false,
            hung_up: false,
            notified: false,
            tls_error: None,
            was_up: false,
        }
    }

    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub fn state(&mut self) -> State {
        self.socket().state()
    }

    pub fn heard_text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// The other end has sent its FIN (or RST) and all was read.
    pub fn ended(&mut self) -> bool {
        self.was_up && !self.socket().may_recv()
    }

    /// Gives up its connection by RST.
    pub fn dies(&mut self) {
        self.socket().abort();
    }

    pub fn tell(&mut self, text: impl AsRef<[u8]>) {
        self.say.extend(text.as_ref());
    }

    fn work(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        self.was_up |=
            !matches!(socket.state(), State::Listen | State::SynSent | State::SynReceived | State::Closed);
        let Some(tls) = &mut self.tls else {
            if self.reads {
                let mut chunk = [0; 4096];
                while let Ok(n) = socket.recv_slice(&mut chunk)
                    && n > 0
                {
                    self.heard.extend_from_slice(&chunk[..n]);
                }
            }
            while socket.can_send() && !self.say.is_empty() {
                let (front, _) = self.say.as_slices();
                let n = socket.send_slice(front).unwrap_or(0);
                self.say.drain(..n);
            }
            if (self.hangs_up || self.cuts_off) && self.say.is_empty() && self.was_up && !self.hung_up {
                self.hung_up = true;
                socket.close();
            }
            return;
        };
        while self.reads && socket.can_recv() && self.tls_error.is_none() {
            tls.read_tls(&mut Stream(socket)).expect("in-memory TLS takes what it is given");
            match tls.process_new_packets() {
                Ok(state) => self.notified |= state.peer_has_closed(),
                Err(e) => self.tls_error = Some(e),
            }
            let mut chunk = [0; 4096];
            while let Ok(n) = tls.reader().read(&mut chunk) {
                if n == 0 {
                    break;
                }
                self.heard.extend_from_slice(&chunk[..n]);
            }
        }
        if let Some(status) = self.answers {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            let whole = heard.split_inclusive("\r\n\r\n").filter(|text| text.ends_with("\r\n\r\n"));
            for question in whole.skip(self.answered) {
                self.answered += 1;
                let (_, headers) = question.split_once("\r\n").expect("a start line");
                let answer = format!("SIP/2.0 {status} X\r\n{headers}").replace("Max-Forwards: 70\r\n", "");
                self.say.extend(answer.as_bytes());
            }
        }
        if self.tls_error.is_some() {
            let mut scrap = [0; 4096];
            while socket.can_recv() && socket.recv_slice(&mut scrap).is_ok() {}
        }
        loop {
            while tls.wants_write() && socket.can_send() {
                if tls.write_tls(&mut Stream(socket)).is_err() {
                    break;
                }
            }
            if tls.wants_write() || tls.is_handshaking() || self.say.is_empty() || !socket.may_send() {
                break;
            }
            let (front, _) = self.say.as_slices();
            let n = front.len().min(8192);
            tls.writer().write_all(&front[..n]).expect("in-memory TLS takes what it is given");
            self.say.drain(..n);
        }
        let done = self.say.is_empty() && !tls.wants_write() && !tls.is_handshaking();
        if done && !self.hung_up && (self.hangs_up || self.cuts_off) {
            self.hung_up = true;
            if self.hangs_up {
                tls.send_close_notify();
                tls.write_tls(&mut Stream(socket)).ok();
            }
            socket.close();
        }
        if self.tls_error.is_some() && !tls.wants_write() && !self.hung_up {
            self.hung_up = true;
            socket.close();
        }
    }
}

struct Stream<'a>(&'a mut Socket<'static>);

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.recv_slice(buf).map_err(|_| std::io::ErrorKind::NotConnected.into())
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.send_slice(buf).map_err(|_| std::io::ErrorKind::NotConnected.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One connection through the appliance.
pub struct Line {
    pub client: Peer,
    pub server: Peer,
    /// Servers that the engine connected to by itself: by the number it gave, where they are, and what they say.
    pub own: BTreeMap<u8, (Addr, Peer)>,
    /// All they heard, by address, of connections that are over.
    pub past: Vec<(Addr, String)>,
    pub session: Option<SessionId>,
    pub params: OpenParams,
    /// Why the engine closed it.
    pub closed: Option<CloseReason>,
    /// Packets the engine sent on each leg.
    pub sent: [usize; 2],
    /// What the server received at TCP level, before TLS.
    pub to_server: usize,
    /// The path to and from that peer is dead.
    pub unplugged: [bool; 2],
    /// Refuses to open a session for its SYN.
    pub refused: usize,
}

/// One of a line's peers: its client, its server, or one more than the number of an own connection after those.
type End = u16;
const CLIENT: End = 0;
const SERVER_END: End = 1;

fn end_of(leg: Leg) -> End {
    if leg == Leg::Client { CLIENT } else { SERVER_END }
}

fn road_of(end: End) -> Road {
    match end {
        CLIENT => Road::Leg(Leg::Client),
        SERVER_END => Road::Leg(Leg::Server),
        own => Road::Own((own - 2) as u8),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Engine(usize, End),
    Peer(usize, End),
}

/// When it arrives, a number to keep the order, where to, and what.
type Flying = (Micros, u64, To, Vec<u8>);

/// An own connection by its number, from and to where; none where it is over.
type Connect = (SessionId, u8, Option<(Addr, Addr)>);

/// What the engine puts out.
#[derive(Default)]
pub struct Sink {
    packets: Vec<(SessionId, Road, Vec<u8>)>,
    connects: Vec<Connect>,
    /// There is no way to these.
    pub no_way: BTreeSet<Addr>,
    ports: u16,
    pub events: Vec<String>,
    closed: Vec<(SessionId, CloseReason)>,
    /// Every counter that was touched, by its debug text.
    pub counts: BTreeMap<String, u64>,
    /// There are no packet buffers.
    pub starve: bool,
    /// Sockets behind us and what they are shown as; sessions are opened with NAT if there are some.
    pub nat: Vec<(SocketAddr, SocketAddr)>,
    /// Addresses that [`Output::shown`] has given.
    pub told: Vec<IpAddr>,
    /// What [`Output::media`] heard: the call, and the note in words.
    pub media: Vec<(u64, String)>,
}

impl Output for Sink {
    fn packet(&mut self, session: SessionId, road: Road, len: usize, fill: impl FnOnce(&mut [u8])) {
        if self.starve {
            return;
        }
        let mut packet = vec![0; len];
        fill(&mut packet);
        self.packets.push((session, road, packet));
    }
    fn connect(&mut self, session: SessionId, own: u8, from: Option<Addr>, to: Addr) -> Option<(Addr, u16)> {
        if self.no_way.contains(&to) {
            return None;
        }
        self.ports += 1;
        let from = from.unwrap_or((OURS, 49_152 + self.ports));
        self.connects.push((session, own, Some((from, to))));
        Some((from, 1500))
    }
    fn disconnect(&mut self, session: SessionId, own: u8) {
        self.connects.push((session, own, None));
    }
    fn event(&mut self, session: SessionId, event: Event<'_>) {
        self.events.push(match event {
            Event::Secured { leg, .. } => format!("secured {leg:?}"),
            Event::TlsFailed { leg, why, .. } => format!("tls-failed {leg:?}: {why}"),
            Event::Denied { leg, status, why, .. } => format!("denied {leg:?} {status} {}", why.name()),
            Event::Malformed { leg, why, .. } => format!("malformed {leg:?}: {why}"),
            Event::Inspected { rule, action, .. } => format!("inspected {rule}: {action}"),
            Event::Refused { reason, .. } => format!("refused: {reason}"),
            Event::Unreachable { status, .. } => format!("unreachable {status}"),
            Event::TargetLost { remote } => format!("target-lost {}", remote.0 & 0xff),
            Event::MemberTurned { pool, remote, up } => format!("member {pool} {} {up}", remote.0 & 0xff),
            Event::MemberLost { remote, status } => format!("member-lost {} {status}", remote.0 & 0xff),
        });
        // What control would get must always fit a datagram.
        let text = format!("{:?}", event.to_link(session.slot));
        assert!(text.len() < 64 * 1024, "an event of {} bytes", text.len());
    }
    fn closed(&mut self, session: SessionId, reason: CloseReason) {
        self.closed.push((session, reason));
    }
    fn count(&mut self, counter: Counter, n: u64) {
        *self.counts.entry(format!("{counter:?}")).or_default() += n;
    }
    fn observe(&mut self, histo: Histo, _: u64) {
        *self.counts.entry(format!("{histo:?}")).or_default() += 1;
    }
    fn media(&mut self, _: SessionId, note: &MediaNote<'_>) {
        let way = if note.inward { "in" } else { "out" };
        let ports = note.description.map(|d| d.media().map(|m| (d.host_of(m), m.port)).collect::<Vec<_>>());
        let ports =
            ports.into_iter().flatten().map(|(host, port)| format!(" {}:{port}", host.expect("an address")));
        let step = note.step.map_or(String::new(), |step| format!(" {step:?}"));
        self.media.push((note.call, format!("{way}{}{step}", ports.collect::<String>())));
    }
    fn is_shown(&self, _: SessionId, addr: std::net::Ipv4Addr) -> bool {
        self.told.contains(&addr.into())
    }
    fn shown(&mut self, _: SessionId, _: Transport, real: SocketAddr) -> Option<SocketAddr> {
        let shown = self.nat.iter().find(|(r, _)| *r == real).map(|(_, s)| *s)?;
        self.told.push(shown.ip());
        Some(shown)
    }
    fn real(&mut self, _: SessionId, _: Transport, shown: SocketAddr) -> Option<SocketAddr> {
        self.nat.iter().find(|(_, s)| *s == shown).map(|(r, _)| *r)
    }
    fn shown_host(&mut self, _: SessionId, real: IpAddr) -> Option<IpAddr> {
        self.nat.iter().find(|(r, _)| r.ip() == real).map(|(_, s)| s.ip())
    }
    fn shown_media(&mut self, id: SessionId, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)> {
        let media = self.shown(id, Transport::Udp, SocketAddr::new(real, ports.media))?;
        let rtcp = ports.rtcp.and_then(|port| self.shown(id, Transport::Udp, SocketAddr::new(real, port)));
        Some((media.ip(), Ports { media: media.port(), rtcp: rtcp.map(|rtcp| rtcp.port()) }))
    }
}

pub struct Lab {
    pub now: Micros,
    pub engine: Engine,
    pub lines: Vec<Line>,
    pub sink: Sink,
    pub weather: Weather,
    pub dice: Dice,
    pub domains: Domains,
    pub locals: Locals,
    pub timeouts: Timeouts,
    /// The engine's largest memory account so far.
    pub peak: usize,
    /// Calls into the engine.
    pub calls: u64,
    pub tls: Arc<ProxyTls>,
    /// What a server that the engine calls by itself speaks.
    pub serve: Box<dyn Fn(Addr) -> Option<Connection>>,
    /// What servers say to OPTIONS.
    pub answers: BTreeMap<Addr, u16>,
    /// Servers whose host is there and which do not listen.
    pub closed: BTreeSet<Addr>,
    /// Servers whose host is gone: no packet comes or goes.
    pub gone: BTreeSet<Addr>,
    /// Where the next client calls from.
    pub from: u32,
    by_session: HashMap<SessionId, usize>,
    air: BinaryHeap<Reverse<Flying>>,
    wake: BinaryHeap<Reverse<(Micros, usize, End)>>,
    count: u64,
}

/// One way, microseconds.
const TRIP: u64 = 2_000;

impl Lab {
    pub fn new(tls: Arc<ProxyTls>, limits: Limits) -> Self {
        Self {
            now: Micros(1),
            engine: Engine::new(limits),
            lines: Vec::new(),
            sink: Sink::default(),
            weather: Weather::default(),
            dice: Dice(1),
            domains: Domains::default(),
            locals: Locals::default(),
            timeouts: Timeouts::default(),
            peak: 0,
            calls: 0,
            tls,
            serve: Box::new(|_| None),
            answers: BTreeMap::new(),
            closed: BTreeSet::new(),
            gone: BTreeSet::new(),
            from: 0xc633_6400,
            by_session: HashMap::new(),
            air: BinaryHeap::new(),
            wake: BinaryHeap::new(),
            count: 0,
        }
    }

    /// A client that begins to call now, and the server that would be reached.
    pub fn line(&mut self, outside: Leg, client: Option<Connection>, server: Option<Connection>) -> usize {
        let n = self.lines.len();
        let remote = (self.from + (n as u32 / 50_000), 10_000 + (n % 50_000) as u16);
        let params = OpenParams {
            tls: self.tls.clone(),
            tls_proxy: 0,
            client_local: PUBLIC,
            client_remote: remote,
            server_local: remote,
            server_remote: SERVER,
            outside,
            nat: !self.sink.nat.is_empty(),
            client_mtu: 1500,
            server_mtu: 1500,
        };
        let mut caller = Peer::new(client, 2 * n as u64 + 77);
        let handle = caller.handle;
        let socket = caller.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(caller.link.context(), endpoint(PUBLIC), endpoint(remote)).expect("addresses are set");
        let mut called = Peer::new(server, 2 * n as u64 + 78);
        called.socket().listen(endpoint(SERVER)).expect("a fresh socket listens");
        self.lines.push(Line {
            client: caller,
            server: called,
            own: BTreeMap::new(),
            past: Vec::new(),
            session: None,
            params,
            closed: None,
            sent: [0; 2],
            to_server: 0,
            unplugged: [false; 2],
            refused: 0,
        });
        self.touch(n, Leg::Client);
        n
    }

    /// Has the engine watch these pools.
    pub fn watch(&mut self, pools: &[(Arc<Pool>, Arc<ProxyTls>)]) {
        self.engine.watch(self.now, pools, &mut self.sink);
        self.carry();
    }

    /// Lets the client of a line call from the address that its parameters say, before anything was sent.
    pub fn recall(&mut self, line: usize) {
        let it = &mut self.lines[line];
        let remote = it.params.client_remote;
        it.params.server_local = remote;
        let tls = it.client.tls.take();
        let peer = &mut it.client;
        *peer = Peer::new(tls, 99);
        let handle = peer.handle;
        let socket = peer.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(peer.link.context(), endpoint(PUBLIC), endpoint(remote)).expect("addresses are set");
        self.air.clear();
        self.touch(line, Leg::Client);
    }

    /// Lets a peer act now, after a test changed what it has to say or do.
    pub fn touch(&mut self, line: usize, leg: Leg) {
        self.touch_end(line, end_of(leg));
    }

    /// The same for a server that the engine called by itself.
    pub fn touch_own(&mut self, line: usize, own: u8) {
        self.touch_end(line, End::from(own) + 2);
    }

    fn touch_end(&mut self, line: usize, end: End) {
        let now = Instant::from_micros(self.now.0 as i64);
        let Some(peer) = peer(&mut self.lines[line], end) else { return };
        let mut tap = Tap::default();
        for _ in 0..8 {
            peer.work();
            while !matches!(
                peer.link.poll_egress(now, &mut tap, &mut peer.sockets),
                smoltcp::iface::PollResult::None
            ) {}
        }
        let at = peer.link.poll_at(now, &peer.sockets);
        if let Some(at) = at {
            let at = Micros((at.total_micros().max(0) as u64).max(self.now.0 + 500));
            self.wake.push(Reverse((at, line, end)));
        }
        for packet in tap.sent {
            self.post(To::Engine(line, end), packet);
        }
    }

    fn post(&mut self, to: To, packet: Vec<u8>) {
        let (line, end) = match to {
            To::Engine(line, end) | To::Peer(line, end) => (line, end),
        };
        let unplugged = match road_of(end) {
            Road::Leg(leg) => self.lines[line].unplugged[leg as usize],
            Road::Own(own) => self.lines[line].own.get(&own).is_none_or(|(addr, _)| self.gone.contains(addr)),
        };
        if unplugged || self.dice.roll(1000) < self.weather.lost {
            return;
        }
        let copies = 1 + u64::from(self.dice.roll(1000) < self.weather.doubled);
        for _ in 0..copies {
            let late = if self.dice.roll(1000) < self.weather.late { self.dice.roll(4 * TRIP) } else { 0 };
            self.count += 1;
            self.air.push(Reverse((self.now.after(TRIP + late), self.count, to, packet.clone())));
        }
    }

    /// Runs until `done` holds, or nothing is left to do, or `limit` from now has passed.
    pub fn run(&mut self, limit: Micros, mut done: impl FnMut(&mut Lab) -> bool) -> bool {
        let end = self.now.after(limit.0);
        loop {
            if done(self) {
                return true;
            }
            let next = [
                self.air.peek().map(|Reverse((at, ..))| *at),
                self.wake.peek().map(|Reverse((at, ..))| *at),
                self.engine.next_deadline(),
            ];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(at);
            self.step();
        }
    }

    /// Runs until nothing is left to do, or `limit` has passed.
    pub fn settle(&mut self, limit: Micros) {
        self.run(limit, |_| false);
    }

    fn step(&mut self) {
        while let Some(Reverse((at, ..))) = self.air.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, _, to, packet))) = self.air.pop() else { break };
            match to {
                To::Engine(line, end) => self.reach_engine(line, end, &packet),
                To::Peer(line, end) => self.reach_peer(line, end, &packet),
            }
        }
        while let Some(Reverse((at, line, end))) = self.wake.peek().copied()
            && at <= self.now
        {
            self.wake.pop();
            self.touch_end(line, end);
        }
        if self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            let ctx = Context { domains: &self.domains, locals: &self.locals, timeouts: self.timeouts };
            self.engine.poll(self.now, &ctx, &mut self.sink);
            self.calls += 1;
        }
        self.carry();
    }

    fn reach_engine(&mut self, line: usize, end: End, packet: &[u8]) {
        let ctx = Context { domains: &self.domains, locals: &self.locals, timeouts: self.timeouts };
        let it = &mut self.lines[line];
        let is_syn = packet[33] & 0x12 == 0x02;
        if it.session.is_none() && end == CLIENT && is_syn && it.closed.is_none() {
            match self.engine.open(self.now, it.params.clone(), &mut self.sink) {
                Ok(id) => {
                    it.session = Some(id);
                    self.by_session.insert(id, line);
                }
                Err(_) => it.refused += 1,
            }
        }
        if let Some(id) = self.lines[line].session {
            // A session that is gone: the worker would count the packet and drop it.
            if self.engine.input(self.now, id, road_of(end), packet).is_ok() {
                self.engine.poll(self.now, &ctx, &mut self.sink);
            }
            self.calls += 1;
        }
        self.carry();
    }

    fn reach_peer(&mut self, line: usize, end: End, packet: &[u8]) {
        let now = Instant::from_micros(self.now.0 as i64);
        if end == SERVER_END {
            self.lines[line].to_server += packet.len();
        }
        let Some(peer) = peer(&mut self.lines[line], end) else { return };
        let mut tap = Tap { came: Some(packet.to_vec()), sent: Vec::new() };
        peer.link.poll_ingress_single(now, &mut tap, &mut peer.sockets);
        for reply in tap.sent {
            self.post(To::Engine(line, end), reply);
        }
        self.touch_end(line, end);
    }

    /// What the engine put out goes on its way.
    fn carry(&mut self) {
        self.peak = self.peak.max(self.engine.memory());
        for (id, own, ends) in std::mem::take(&mut self.sink.connects) {
            if !self.by_session.contains_key(&id) && ends.is_some() {
                // The engine asks for itself.
                let line = self.line(Leg::Client, None, None);
                self.air.retain(|Reverse((_, _, to, _))| *to != To::Engine(line, CLIENT));
                self.lines[line].unplugged = [true; 2];
                self.lines[line].session = Some(id);
                self.by_session.insert(id, line);
            }
            let Some(&line) = self.by_session.get(&id) else { panic!("a connection of no session") };
            let it = &mut self.lines[line];
            match ends {
                Some((_, to)) => {
                    self.count += 1;
                    let mut called = Peer::new((self.serve)(to), 1_000_000 + self.count);
                    called.answers = self.answers.get(&to).copied();
                    if !self.closed.contains(&to) {
                        called.socket().listen(endpoint(to)).expect("a fresh socket listens");
                    }
                    assert!(it.own.insert(own, (to, called)).is_none(), "that number is in use");
                }
                None => {
                    let (addr, peer) = it.own.remove(&own).expect("what was connected");
                    it.past.push((addr, peer.heard_text()));
                }
            }
        }
        for (id, road, packet) in std::mem::take(&mut self.sink.packets) {
            let Some(&line) = self.by_session.get(&id) else { panic!("a packet of no session") };
            let end = match road {
                Road::Leg(leg) => {
                    self.lines[line].sent[leg as usize] += 1;
                    end_of(leg)
                }
                Road::Own(own) => End::from(own) + 2,
            };
            self.post(To::Peer(line, end), packet);
        }
        for (id, reason) in std::mem::take(&mut self.sink.closed) {
            let line = self.by_session.remove(&id).expect("closed once, and only what was open");
            self.lines[line].closed = Some(reason);
            self.lines[line].session = None;
        }
    }

    /// The worker ends a session.
    pub fn abort(&mut self, line: usize) -> bool {
        let Some(id) = self.lines[line].session else { return false };
        let ctx = Context { domains: &self.domains, locals: &self.locals, timeouts: self.timeouts };
        let was = self.engine.abort(self.now, id, AbortReason::Cleared, &ctx, &mut self.sink);
        self.carry();
        was
    }
}

fn peer(line: &mut Line, end: End) -> Option<&mut Peer> {
    match road_of(end) {
        Road::Leg(Leg::Client) => Some(&mut line.client),
        Road::Leg(Leg::Server) => Some(&mut line.server),
        Road::Own(own) => line.own.get_mut(&own).map(|(_, peer)| peer),
    }
}

fn endpoint((addr, port): (u32, u16)) -> IpEndpoint {
    IpEndpoint::new(Ipv4Address::from_bits(addr).into(), port)
}

#[derive(Default)]
struct Tap {
    came: Option<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Came(Vec<u8>);
struct Going<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Tap {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Came, Going<'_>)> {
        Some((Came(self.came.take()?), Going(&mut self.sent)))
    }
    fn transmit(&mut self, _: Instant) -> Option<Going<'_>> {
        Some(Going(&mut self.sent))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }
}

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Going<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
