// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translation against a slow twin: messages are put together from text with a hole for each address, and what has to stand in
//! the hole outside or inside is looked up and formatted by itself. The twin parses nothing.

use super::*;
use crate::edit::apply;
use proptest::prelude::*;
use std::collections::HashMap;

/// Real and shown, one to one.
#[derive(Clone, Debug, Default)]
struct Table {
    pairs: Vec<(Transport, SocketAddr, SocketAddr)>,
    hosts: HashMap<IpAddr, IpAddr>,
    asked: usize,
}

impl Mapping for Table {
    fn shown(&mut self, transport: Transport, real: SocketAddr) -> Option<SocketAddr> {
        self.asked += 1;
        self.pairs.iter().find(|(t, r, _)| (*t, *r) == (transport, real)).map(|(.., s)| *s)
    }

    fn real(&mut self, transport: Transport, shown: SocketAddr) -> Option<SocketAddr> {
        self.asked += 1;
        self.pairs.iter().find(|(t, _, s)| (*t, *s) == (transport, shown)).map(|(_, r, _)| *r)
    }

    fn host(&mut self, real: IpAddr) -> Option<IpAddr> {
        self.hosts.get(&real).copied()
    }

    fn media(&mut self, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)> {
        let media = self.shown(Transport::Udp, SocketAddr::new(real, ports.media))?;
        let rtcp = match ports.rtcp {
            Some(port) => Some(self.shown(Transport::Udp, SocketAddr::new(real, port))?.port()),
            None => None,
        };
        Some((media.ip(), Ports { media: media.port(), rtcp }))
    }
}

fn translated(text: &str, way: Way, table: &mut Table) -> String {
    let message = Message::scan(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut edits = Vec::new();
    rewrite(&message, way, table, &mut edits);
    assert!(edits.is_empty() || concerns(&message, way), "{text}");
    let after = String::from_utf8(apply(&message, edits)).expect("text");
    Message::scan(after.as_bytes()).unwrap_or_else(|e| panic!("{e}: {after}"));
    after
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

/// TCP and UDP alike.
fn table(pairs: &[(&str, &str)]) -> Table {
    let both = [Transport::Tcp, Transport::Udp];
    let pairs = pairs.iter().flat_map(|(real, shown)| both.map(|t| (t, addr(real), addr(shown))));
    Table { pairs: pairs.collect(), ..Table::default() }
}

const HEADERS: &str = "From: <sip:alice@10.0.0.5>;tag=1\r\nTo: <sip:bob@foreign.example>\r\n\
    Call-ID: 77@10.0.0.5\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n";

fn invite(vias: &str, contact: &str, body: &str) -> String {
    format!(
        "INVITE sip:bob@10.0.0.5 SIP/2.0\r\n{vias}{contact}{HEADERS}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_request_goes_out_and_its_answer_comes_back() {
    let mut nat = table(&[
        ("10.0.0.5:5061", "203.0.113.3:5061"),
        ("10.0.0.5:5060", "203.0.113.3:5070"),
        ("10.0.0.9:5060", "203.0.113.3:5071"),
        ("10.0.0.9:40001", "203.0.113.3:6001"),
    ]);
    let vias = "Via: SIP/2.0/TLS 10.0.0.5 : 5061;branch=z9hG4bK1;rport\r\n\
        v: SIP / 2.0 / UDP 10.0.0.9;received=10.0.0.9;rport=40001;branch=z9hG4bK2, SIP/2.0/TCP pc.local.example\r\n";
    let shown = "Via: SIP/2.0/TLS 203.0.113.3 : 5061;branch=z9hG4bK1;rport\r\n\
        v: SIP / 2.0 / UDP 203.0.113.3:5071;received=203.0.113.3;rport=6001;branch=z9hG4bK2, SIP/2.0/TCP pc.local.example\r\n";
    let contact = "Record-Route: <sips:10.0.0.5;lr>,\r\n <sip:10.0.0.5:5060;maddr=10.0.0.5;lr>\r\n\
        m: \"10.0.0.5\" <sip:alice@10.0.0.5:5061;transport=TLS>;x=10.0.0.5\r\n";
    let shown_contact = "Record-Route: <sips:203.0.113.3;lr>,\r\n <sip:203.0.113.3:5070;maddr=203.0.113.3;lr>\r\n\
        m: \"10.0.0.5\" <sip:alice@203.0.113.3:5061;transport=TLS>;x=10.0.0.5\r\n";
    let out = translated(&invite(vias, contact, "v=0\r\n"), Way::Out, &mut nat);
    assert_eq!(out, invite(shown, shown_contact, "v=0\r\n"), "names, From, To, Call-ID and Request-URI stay");
    let answer = |vias: &str, more: &str| format!("SIP/2.0 200 OK\r\n{vias}{more}{HEADERS}l: 0\r\n\r\n");
    let heard = |vias: &str, by: &str| vias.replace(";rport\r\n", &format!(";rport={by}\r\n"));
    let back = translated(&answer(&heard(shown, "9;received=1.2.3.4"), shown_contact), Way::In, &mut nat);
    let vias = vias.replace("10.0.0.9;received", "10.0.0.9:5060;received");
    // Heard from where NAT shows nobody: that stays.
    assert_eq!(back, answer(&heard(&vias, "9;received=1.2.3.4"), contact));
    let heard_at = ("6001;received=203.0.113.3", "40001;received=10.0.0.9");
    let back = translated(&answer(&heard(shown, heard_at.0), shown_contact), Way::In, &mut nat);
    assert_eq!(back, answer(&heard(&vias, heard_at.1), contact));
}

#[test]
fn others_vias_and_descriptions_are_theirs() {
    let mut nat = table(&[("10.0.0.5:5061", "203.0.113.3:5061"), ("10.0.0.5:4000", "203.0.113.3:4000")]);
    nat.hosts.insert("10.0.0.5".parse().expect("an address"), "203.0.113.3".parse().expect("an address"));
    // The foreign side's network has the same private addresses.
    let vias =
        "Via: SIP/2.0/TLS 10.0.0.5:5061;branch=z9hG4bK1\r\nVia: SIP/2.0/TLS 203.0.113.3;branch=z9hG4bK1\r\n";
    let offer = "v=0\r\no=- 1 1 IN IP4 203.0.113.3\r\nc=IN IP4 203.0.113.3\r\nm=audio 4000 RTP/AVP 0\r\n";
    let inward = invite(vias, "", offer);
    assert_eq!(translated(&inward, Way::In, &mut nat), inward);
    let answer = format!("SIP/2.0 200 OK\r\n{vias}{HEADERS}Content-Length: 0\r\n\r\n");
    assert_eq!(translated(&answer, Way::Out, &mut nat), answer);
}

#[test]
fn a_request_in_a_dialog_comes_in_to_the_contact() {
    let mut nat = table(&[("10.0.0.5:5062", "203.0.113.3:5062"), ("10.0.0.6:5061", "203.0.113.3:6061")]);
    let request = |uri: &str, route: &str| {
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/TLS edge.foreign.example\r\nRoute: {route}\r\n{HEADERS}l: 0\r\n\r\n"
        )
    };
    let shown = request(
        "sip:alice@203.0.113.3:5062;transport=tls",
        "<sip:203.0.113.3:6061;lr>, <sip:p.local.example;lr>",
    );
    let real =
        request("sip:alice@10.0.0.5:5062;transport=tls", "<sip:10.0.0.6:5061;lr>, <sip:p.local.example;lr>");
    assert_eq!(translated(&shown, Way::In, &mut nat), real);
}

#[test]
fn ipv6_is_translated_alike() {
    let mut nat = table(&[
        ("[fd00::5]:5061", "[2001:db8::3]:5061"),
        ("[fd00::5]:4000", "[2001:db8::3]:4000"),
        ("[fd00::5]:4001", "[2001:db8::3]:4001"),
    ]);
    let offer =
        |host: &str| format!("v=0\r\no=- 1 1 IN IP6 {host}\r\nc=IN IP6 {host}\r\nm=audio 4000 RTP/AVP 0\r\n");
    let text = |host: &str| {
        let vias = format!("Via: SIP/2.0/TLS [{host}];received={host};rport=5061\r\n");
        let contact = format!("Contact: <sip:a@[{host}]:5061>\r\n");
        invite(&vias, &contact, &offer(host))
    };
    assert_eq!(translated(&text("fd00::5"), Way::Out, &mut nat), text("2001:db8::3"));
}

#[test]
fn media_are_shown_with_their_ports() {
    let mut nat = table(&[
        ("10.0.0.5:4000", "203.0.113.3:6000"),
        ("10.0.0.5:4001", "203.0.113.3:6001"),
        ("10.0.0.6:4000", "203.0.113.4:7000"),
        ("10.0.0.6:4009", "203.0.113.4:7009"),
        ("10.0.0.5:5000", "203.0.113.5:5000"),
        ("10.0.0.5:5001", "203.0.113.5:9"),
        ("10.0.0.5:5060", "203.0.113.3:5060"),
    ]);
    let offer = "v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 10.0.0.5\r\n\
        m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n\
        m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.6\r\na=rtcp:4009 IN IP4 10.0.0.6\r\n\
        m=video 5000 RTP/AVP 96\r\ni=x\r\na=x\r\n\
        m=video 8000 RTP/AVP 96\r\n\
        m=message 5060 sip null\r\n";
    let shown = "v=0\r\no=- 1 1 IN IP4 203.0.113.3\r\ns=-\r\nc=IN IP4 203.0.113.3\r\n\
        m=audio 6000 RTP/AVP 0\r\na=sendrecv\r\n\
        m=audio 7000 RTP/AVP 0\r\nc=IN IP4 203.0.113.4\r\na=rtcp:7009 IN IP4 203.0.113.4\r\n\
        m=video 5000 RTP/AVP 96\r\ni=x\r\nc=IN IP4 203.0.113.5\r\na=x\r\na=rtcp:9\r\n\
        m=video 8000 RTP/AVP 96\r\n\
        m=message 5060 sip null\r\n";
    assert_eq!(translated(&invite(VIA, "", offer), Way::Out, &mut nat), invite(VIA, "", shown));
}

#[test]
fn held_and_refused_media_show_the_host_all_the_same() {
    let mut nat = table(&[]);
    let host = |text: &str| text.parse::<IpAddr>().expect("an address");
    nat.hosts.insert(host("10.0.0.5"), host("203.0.113.3"));
    let offer = |host: &str| {
        format!(
            "v=0\no=- 1 1 IN IP4 {host}\nc=IN IP4 {host}\nm=audio 0 RTP/AVP 0\nm=audio 0 RTP/AVP 0\nc=IN IP4 {host}\n"
        )
    };
    assert_eq!(
        translated(&invite(VIA, "", &offer("10.0.0.5")), Way::Out, &mut nat),
        invite(VIA, "", &offer("203.0.113.3"))
    );
    let held = invite(VIA, "", "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n");
    assert_eq!(translated(&held, Way::Out, &mut nat), held);
}

const VIA: &str = "Via: SIP/2.0/TLS edge.local.example;branch=z9hG4bK1\r\n";

#[test]
fn names_ask_nothing() {
    let mut nat = table(&[]);
    let text = invite(VIA, "Contact: *\r\nRecord-Route: <sip:p.example;lr>\r\n", "");
    let text = text.replace("10.0.0.5", "local.example");
    for way in [Way::Out, Way::In] {
        assert_eq!(translated(&text, way, &mut nat), text);
        assert!(!concerns(&Message::scan(text.as_bytes()).expect("well formed"), way));
    }
    assert_eq!(nat.asked, 0);
}

// The twin.

/// A host in a message.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Inside { host: u8, port: Option<u16> },
    Foreign(u8),
    Name(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Inside,
    Outside,
    /// Inside again: what came back.
    Again,
}

/// Ports move by the host's number, but the default ones of host 1 stay.
fn shown_port(host: u8, port: u16) -> u16 {
    if host == 1 && port < 5062 { port } else { port + u16::from(host) * 10 }
}

fn twin(spot: Spot, default: u16, seen: Seen) -> String {
    match spot {
        Spot::Inside { host, port } => {
            let asked = port.unwrap_or(default);
            let shown = shown_port(host, asked);
            let (ip, port) = match seen {
                Seen::Inside => (format!("10.0.0.{host}"), port),
                Seen::Outside => (
                    format!("203.0.113.{host}"),
                    port.map(|_| shown).or(Some(shown).filter(|p| *p != default)),
                ),
                Seen::Again => (format!("10.0.0.{host}"), port.or(Some(asked).filter(|_| shown != default))),
            };
            port.map_or(ip.clone(), |port| format!("{ip}:{port}"))
        }
        Spot::Foreign(n) => format!("198.51.100.{n}:7000"),
        Spot::Name(n) => format!("h{n}.example"),
    }
}

fn twin_table() -> Table {
    let ports = [5060, 5061, 5062, 5063, 9999];
    let hosts = 1..=4u8;
    let all = hosts.flat_map(|host| ports.map(|port| (host, port)));
    let pairs = all.flat_map(|(host, port)| {
        let real = SocketAddr::from(([10, 0, 0, host], port));
        let shown = SocketAddr::from(([203, 0, 113, host], shown_port(host, port)));
        [Transport::Tcp, Transport::Udp].map(|t| (t, real, shown))
    });
    Table { pairs: pairs.collect(), ..Table::default() }
}

fn spot() -> impl Strategy<Value = Spot> {
    let port = proptest::option::of(prop::sample::select(vec![5060u16, 5061, 5062, 5063, 9999]));
    prop_oneof![
        4 => (1..=4u8, port).prop_map(|(host, port)| Spot::Inside { host, port }),
        1 => any::<u8>().prop_map(Spot::Foreign),
        1 => any::<u8>().prop_map(Spot::Name),
    ]
}

#[derive(Clone, Debug)]
struct Plan {
    vias: Vec<(Spot, bool)>,
    routes: Vec<(Spot, bool)>,
    contact: (Spot, bool),
}

fn plan() -> impl Strategy<Value = Plan> {
    let spots = || prop::collection::vec((spot(), any::<bool>()), 1..4);
    (spots(), spots(), (spot(), any::<bool>())).prop_map(|(vias, routes, contact)| Plan {
        vias,
        routes,
        contact,
    })
}

impl Plan {
    fn headers(&self, seen: Seen) -> String {
        let via = |(spot, tls): &(Spot, bool)| {
            let (name, default) = if *tls { ("TLS", 5061) } else { ("TCP", 5060) };
            format!("Via: SIP/2.0/{name} {};branch=z9hG4bK7.1\r\n", twin(*spot, default, seen))
        };
        let uri = |header: &str, (spot, sips): &(Spot, bool)| {
            let (scheme, default) = if *sips { ("sips", 5061) } else { ("sip", 5060) };
            format!("{header}: <{scheme}:x@{};lr>\r\n", twin(*spot, default, seen))
        };
        let vias: String = self.vias.iter().map(via).collect();
        let routes: String = self.routes.iter().map(|route| uri("Record-Route", route)).collect();
        format!("{vias}{routes}{}{HEADERS}l: 0\r\n\r\n", uri("Contact", &self.contact))
    }
}

proptest! {
    /// What goes out is what the twin says; its answer, which repeats it, comes back as what was sent, to the byte, but for a port that
    /// was not written and had to be.
    #[test]
    fn out_and_back(plan in plan()) {
        let mut nat = twin_table();
        let request = format!("INVITE sip:bob@foreign.example SIP/2.0\r\n{}", plan.headers(Seen::Inside));
        let out = translated(&request, Way::Out, &mut nat);
        prop_assert_eq!(&out, &format!("INVITE sip:bob@foreign.example SIP/2.0\r\n{}", plan.headers(Seen::Outside)));
        let (_, headers) = out.split_once("\r\n").expect("a start line");
        let back = translated(&format!("SIP/2.0 200 OK\r\n{headers}"), Way::In, &mut nat);
        prop_assert_eq!(back, format!("SIP/2.0 200 OK\r\n{}", plan.headers(Seen::Again)));
    }

    /// A table without entries changes nothing, whatever is in the message.
    #[test]
    fn nothing_known_nothing_changed(plan in plan(), way in prop_oneof![Just(Way::In), Just(Way::Out)]) {
        let request = format!("INVITE sip:bob@203.0.113.1:5062 SIP/2.0\r\n{}", plan.headers(Seen::Inside));
        prop_assert_eq!(translated(&request, way, &mut table(&[])), request);
    }
}
