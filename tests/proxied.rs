// SPDX-License-Identifier: MIT OR Apache-2.0
//! The proxy's own TCP against Linux's, over long, narrow and bad wires: whatever a wire does, each end has what the other said, to the byte.
//!
//! ```text
//! inside 10.77.0.10 (198.51.100.3 outside) -- appliance, TLS proxy -- router -- wire (tests/common/wire.rs) -- far 203.0.113.9
//! ```
//! The far host calls and is called over the wire, so the appliance is TCP's server and its client there. Both ends speak TLS ([`tls`]) and send
//! [`MESSAGES`] SIP messages of [`BODY`] bytes each, two under way at a time and their answers as large, so that both directions are full. A wire of
//! the test's does what `tc netem` would, which not every kernel has. Needs root, `ip` and `ethtool` (scripts/setup): without root it says so and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;
#[path = "proxied/tls.rs"]
mod tls;

use common::lab::{Appliance, Namespace, call, interface, is_root, own_name, until};
use common::wire::{Weather, Wire};
use common::{PATIENCE, flood};
use fedgate_tables::counters::{Counter, Stat};
use fedgate_tables::domains::DomainWriter;
use fedgate_tables::link::{ToControl, ToDataplane};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use rustls::client::ClientConnectionData;
use rustls::server::ServerConnectionData;
use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tls::{FOREIGN, LOCAL, Pki};

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(198, 51, 100, 2)];
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const PORT: u16 = 5061;
/// A call's messages, and the bytes of their bodies.
const MESSAGES: u32 = 8;
const BODY: usize = 30_000;

/// Namespaces and the appliance between them; all gone when dropped.
struct Lab {
    wire: Wire,
    inside: Namespace,
    router: Namespace,
    far: Namespace,
    appliance: Appliance,
    pki: Pki,
    _domains: DomainWriter,
}

impl Lab {
    fn new(weather: Weather) -> Self {
        let pki = Pki::new();
        let taps = ["i", "o"].map(own_name);
        let appliance = Appliance::start("0", &policy(&taps, &pki));
        let mut domains = DomainWriter::create(64).unwrap();
        domains.permit(FOREIGN, false, None).unwrap();
        let generation = domains.generation();
        let news = ToDataplane::Domains { generation };
        appliance.control.link.send(&news, &[domains.region().fd()], Some(PATIENCE)).unwrap();
        assert!(matches!(appliance.control.verdict(), ToControl::Adopted { .. }));

        let [inside, router, far] = ["in", "rt", "far"].map(Namespace::new);
        inside.take(&taps[0], &[format!("{INSIDE}/24")]);
        inside.ip(&format!("route add default via {}", OURS[0]));
        router.take(&taps[1], &[format!("{ROUTER}/24")]);
        let wire = Wire::between(&router, &far, weather);
        router.ip("addr add 203.0.113.1/24 dev wan");
        router.sysctl("net.ipv4.ip_forward=1");
        far.ip(&format!("addr add {FAR}/24 dev wan"));
        far.ip("route add default via 203.0.113.1");
        let lab = Self { wire, inside, router, far, appliance, pki, _domains: domains };
        lab.settle();
        lab
    }

    /// Waits for the ways to be there and for the taps to be up.
    fn settle(&self) {
        for (host, to) in [(&self.inside, OURS[0]), (&self.router, OURS[1])] {
            until("the appliance answers", || {
                host.run(&format!("ping -c 1 -W 1 {to}")).contains(" 0% packet loss")
            });
        }
    }

    /// The far host calls the inside one, and the other way round; the conversations go on at the same time.
    fn both_call(&self, messages: u32, body: usize) {
        let far = Side { at: &self.far, addr: FAR, domain: FOREIGN };
        let inside = Side { at: &self.inside, addr: INSIDE, domain: LOCAL };
        thread::scope(|scope| {
            scope.spawn(|| self.converse(&far, PUBLIC, &inside, messages, body));
            scope.spawn(|| self.converse(&inside, FAR, &far, messages, body));
        });
    }

    /// One call of `to`, which is `callee`.
    fn converse(&self, caller: &Side<'_>, to: Ipv4Addr, callee: &Side<'_>, messages: u32, body: usize) {
        let listener = callee.at.listen(SocketAddr::new(callee.addr.into(), PORT));
        let (server, client) = (self.pki.server(callee.domain), self.pki.client(caller.domain));
        let (from, own) = (caller.domain, callee.domain);
        let answering =
            thread::spawn(move || answer(Talk::new(server, listener.accept().unwrap().0), messages));
        let addr = caller.addr;
        let asking = caller.at.spawn(move || {
            let stream = call(addr.into(), SocketAddr::new(to.into(), PORT));
            ask(Talk::new(client, stream), [from, own], messages, body);
        });
        asking.join().unwrap();
        answering.join().unwrap();
    }
}

struct Side<'a> {
    at: &'a Namespace,
    addr: Ipv4Addr,
    domain: &'static str,
}

/// The inside host shown outside, reachable at its port, and a TLS proxy on calls of and by it.
fn policy(taps: &[String; 2], pki: &Pki) -> Vec<u8> {
    let mut b = PolicyBuilder::new();
    let calls = |dst: Ipv4Addr, id| Ace {
        dst: dst.into(),
        dst_mask: !0,
        sport: ANY_PORT,
        dport: one_port(PORT),
        proto: 6,
        flags: ACE_PERMIT,
        time_range: NONE16,
        line: 1,
        id,
        ..Ace::default()
    };
    let name = b.blob(b"federation");
    let acl = b.acl(name, &[calls(INSIDE, 1), calls(FAR, 2)], &[]);
    for (n, security) in [(0, 100), (1, 0)] {
        let plain = interface(&mut b, &taps[n], security);
        let acl_in = if security == 0 { acl } else { NONE };
        b.interface(Interface { addr: OURS[n].into(), acl_in, ..plain });
    }
    b.route(Route { gateway: ROUTER.into(), ifindex: 1, metric: 1, ..Route::default() });
    b.nat(NatRule {
        real_if: 0,
        mapped_if: 1,
        real: one_addr(INSIDE.into()),
        mapped: one_addr(PUBLIC.into()),
        kind: NatKind::Static as u8,
        section: 1,
        ..NatRule::default()
    });
    let leaf = pki.leaf("edge.local.example");
    let (name, chain, key) = (b.blob(b"edge"), b.blob(leaf.chain.as_bytes()), b.blob(leaf.key.as_bytes()));
    let cas = b.blob(pki.authority.as_bytes());
    let edge = b.trustpoint(Trustpoint { name, chain, key, cas, ..Trustpoint::default() });
    let face = b.face(&[Shown { trustpoint: edge, ..Shown::default() }], &[edge]);
    let name = b.blob(b"both");
    let tls_proxy = b.tls_proxy(TlsProxy { name, server: face, client: face, ..TlsProxy::default() });
    let name = b.blob(b"federation");
    b.class(ServiceClass {
        name,
        acl,
        tls_proxy,
        timeout_idle: NONE,
        timeout_half_closed: NONE,
        ..ServiceClass::default()
    });
    b.local_domain(LOCAL);
    b.globals(Globals::default());
    b.finish(1).unwrap()
}

/// TLS on a stream, message by message.
struct Talk<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData>(BufReader<StreamOwned<C, TcpStream>>);

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Talk<C, S> {
    fn new(tls: C, stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(StreamOwned::new(tls, stream)))
    }

    fn say(&mut self, head: &str, body: &[u8]) {
        let len = body.len();
        let message = [format!("{head}Content-Length: {len}\r\n\r\n").as_bytes(), body].concat();
        self.0.get_mut().write_all(&message).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    /// The next message's head and body.
    fn hear(&mut self) -> (String, Vec<u8>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "the end after {head:?}");
        }
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; len.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    /// Says its last, and hears that the other has.
    fn close(&mut self) {
        let both = self.0.get_mut();
        both.conn.send_close_notify();
        while both.conn.wants_write() {
            both.conn.write_tls(&mut both.sock).unwrap();
        }
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0, "more came than was said");
    }
}

/// Says `messages` requests, two of them without an answer at any time, and looks at every byte that comes back.
fn ask(
    mut talk: Talk<ClientConnection, ClientConnectionData>,
    [from, to]: [&str; 2],
    messages: u32,
    len: usize,
) {
    let say = |talk: &mut Talk<_, _>, n| {
        let head = format!(
            "MESSAGE sip:bob@{to} SIP/2.0\r\nVia: SIP/2.0/TLS edge.{from}:5061;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@{from}>;tag=a{n}\r\nTo: <sip:bob@{to}>\r\nCall-ID: {n}@{from}\r\nCSeq: 1 MESSAGE\r\n\
             Content-Type: application/octet-stream\r\n"
        );
        talk.say(&head, &body(n, len));
    };
    say(&mut talk, 0);
    for n in 0..messages {
        if n + 1 < messages {
            say(&mut talk, n + 1);
        }
        let (head, heard) = talk.hear();
        assert!(head.starts_with("SIP/2.0 200 "), "{head}");
        assert!(heard == body(n | 1 << 16, len), "answer {n} is not what was said");
    }
    talk.close();
}

/// Answers so many, each with other bytes than it came with.
fn answer(mut talk: Talk<ServerConnection, ServerConnectionData>, messages: u32) {
    for n in 0..messages {
        let (head, heard) = talk.hear();
        assert!(heard == body(n, heard.len()), "request {n} is not what was said");
        let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = head.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
        let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
        let head = format!("SIP/2.0 200 OK\r\n{lines}Content-Type: application/octet-stream\r\n");
        talk.say(&head, &body(n | 1 << 16, heard.len()));
    }
    talk.close();
}

/// Bytes that do not repeat themselves, by number.
fn body(n: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(n) << 1 | 1;
    let step = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// What must be so after two whole conversations.
fn all_arrived(lab: &Lab, messages: u32) {
    let stat = |stat| lab.appliance.counters.sum(Counter::Stat(stat));
    assert_eq!(stat(Stat::SipPassed), 4 * u64::from(messages));
    assert_eq!(stat(Stat::TlsFailures), 0);
    lab.appliance.no_window_drops();
}

/// A link behind the router takes less than both ends: its word (RFC 1191) reaches the proxy's TCP, and what was too large comes smaller.
#[test]
fn both_roles_by_a_narrow_link() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Weather { lost: 0, repeated: 0, overtaken: 0, ..Weather::ROUGH });
    lab.router.ip("link set wan mtu 1000");
    lab.both_call(MESSAGES, BODY);
    all_arrived(&lab, MESSAGES);
    let said = lab.router.run("nstat -asz IpFragFails");
    let too_big =
        said.lines().find_map(|line| line.strip_prefix("IpFragFails")).unwrap_or_else(|| panic!("{said}"));
    let too_big: u32 = too_big.split_whitespace().next().unwrap().parse().unwrap();
    assert!((1..200).contains(&too_big), "the router refused {too_big} packets");
}

/// SYNs from nobody to the port that the proxy answers at: they are answered by cookies and cost no session, and who is there gets in.
#[test]
fn a_flood_shuts_nobody_out() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Weather { lost: 0, repeated: 0, overtaken: 0, ..Weather::ROUGH });
    lab.router.ip("route add blackhole 172.20.0.0/15");
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let stop = Arc::clone(&stop);
        lab.router.spawn(move || flood::run((PUBLIC, PORT), &stop, &AtomicU64::new(0)))
    };
    let stat = |stat| lab.appliance.counters.sum(Counter::Stat(stat));
    until("most of the flood is answered by cookies", || stat(Stat::InterceptCookies) > 5000);
    lab.both_call(MESSAGES, BODY);
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    all_arrived(&lab, MESSAGES);
    assert!(stat(Stat::InterceptOpened) >= 1, "the caller had a cookie");
    // What times out makes room for others that never come.
    let opened = stat(Stat::ProxySessionsOpened);
    assert!(opened < stat(Stat::InterceptCookies) / 2, "{opened}");
}

#[test]
fn both_roles_on_a_rough_wire() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Weather::ROUGH);
    lab.both_call(4 * MESSAGES, BODY);
    let harm = lab.wire.harm();
    assert!(harm.iter().all(|packets| *packets > 5), "lost, repeated, overtaken: {harm:?}");
    all_arrived(&lab, 4 * MESSAGES);
}

#[test]
fn both_roles_far_away_and_behind_a_megabit() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Weather::FAR);
    lab.both_call(MESSAGES, BODY);
    let harm = lab.wire.harm();
    assert!(harm.iter().all(|packets| *packets > 5), "lost, repeated, overtaken: {harm:?}");
    all_arrived(&lab, MESSAGES);
}
