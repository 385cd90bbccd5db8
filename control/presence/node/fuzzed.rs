// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole node under any octets: what is fuzzed by `fuzz/fuzz_targets/node.rs` and replayed by `crate::fuzzed`.
//!
//! The input is a play in text, its lines of dialogue parted by lines with nothing but `%`. The first letter of each says what it is ([`World::go`]):
//! requests of a foreign user, of a device that has proved itself, of a stranger; answers to what the node has asked; octets as
//! they are; commands; time. Tags, branches and lengths are filled in, so that mutations get behind the scanner.
//!
//! Holds: the node does not panic; all it says passes the border's scanner, and its bodies the readers of their kinds; each request has one
//! final answer; and when everybody has fallen silent, nothing is left of any of it. Only built for tests and fuzzing.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fedgate_sip::frame::{Frame, Framer};
use fedgate_sip::headers::HeaderName;

use super::*;
use crate::presence::{pidf, winfo};
use crate::transport::{LIMITS, Origin};

const EDGE: ConnId = ConnId(1);
const DEVICE: ConnId = ConnId(2);
const STRANGER: ConnId = ConnId(3);
/// Of one play.
const MAX_LINES: usize = 64;
/// So long everything there is lives, and longer, ms.
const SILENCE: u64 = 30_000;

const CONFIG: &str = r#"
name = "cup.local.example"
port = 5061
domains = ["local.example"]
store = "sqlite::memory:"
users = "users"
control = "control"
session-idle = 60
max-expires = 600
[[listen]]
address = "127.0.0.1:0"
[federation]
permitted = ["foreign.example", "*.part.example"]
pager = true
unlisted-rate = 1000
[[route]]
host = "*"
to = "border:5061"
"#;

const USERS: &str = r#"
[[user]]
address = "bob@local.example"
name = "Bob"
password = "b"
[[user]]
address = "ann@local.example"
password = "a"
"#;

/// What is the same in every play.
fn given() -> &'static (Arc<Config>, Users) {
    static GIVEN: OnceLock<(Arc<Config>, Users)> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let cfg = Arc::new(Config::parse(CONFIG, "config").expect("a configuration"));
        let users = Users::parse(USERS, "users", &cfg).expect("users");
        (cfg, users)
    })
}

struct World {
    core: Core,
    now: u64,
    number: u32,
    /// Requests of the node without an answer.
    asked: Vec<Incoming>,
    /// What dialogs can be spoken in by: its 200s and requests.
    dialogs: Vec<Incoming>,
    /// Final answers by the branches of our requests.
    answers: HashMap<String, Vec<Vec<u8>>>,
}

/// Plays it, and then falls silent; what the node has counted meanwhile.
pub fn check(data: &[u8]) -> BTreeMap<&'static str, u64> {
    let text = String::from_utf8_lossy(data);
    let mut world = World::new();
    for line in text.split("\n%\n").take(MAX_LINES) {
        let mut letters = line.chars();
        if let Some(kind) = letters.next() {
            world.go(kind, letters.as_str());
        }
    }
    world.end();
    world.core.counters
}

impl World {
    fn new() -> Self {
        let (cfg, users) = given();
        let now = 1_800_000_000_000;
        let core = Core::new(cfg.clone(), users.clone(), [7; 48], Image::default(), now);
        let (asked, dialogs, answers) = Default::default();
        let mut world = Self { core, now, number: 0, asked, dialogs, answers };
        for (conn, origin) in
            [(EDGE, Origin::Federation), (DEVICE, Origin::Client), (STRANGER, Origin::Client)]
        {
            world.open(conn, origin);
        }
        world
    }

    fn open(&mut self, conn: ConnId, origin: Origin) {
        self.core.on_open(conn, Peer { origin, tls: false }, self.now);
        if conn == DEVICE
            && let Some(device) = self.core.conns.get_mut(&conn)
        {
            device
                .users
                .extend(["bob@local.example", "ann@local.example"].iter().filter_map(|u| Aor::parse(u)));
        }
        self.take();
    }

    fn go(&mut self, kind: char, line: &str) {
        match kind {
            'e' => self.request(EDGE, line),
            'd' => self.request(DEVICE, line),
            's' => self.request(STRANGER, line),
            'w' => self.within(line),
            'a' => self.answer(line),
            'r' => self.raw(line.as_bytes()),
            'j' => self.command(line),
            't' => self.pass(line.trim().parse::<u64>().unwrap_or(1_000).min(7_200_000)),
            'x' => {
                let conn = if line.starts_with('d') { DEVICE } else { EDGE };
                self.core.on_closed(conn, self.now);
                self.take();
                self.open(conn, if conn == DEVICE { Origin::Client } else { Origin::Federation });
            }
            _ => {}
        }
    }

    /// `METHOD FROM TO`, then headers, an empty line, a body.
    fn request(&mut self, conn: ConnId, line: &str) {
        let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
        let mut words = first.split_whitespace();
        let mut word = |other| words.next().unwrap_or(other);
        let (method, from, to) = (word("OPTIONS"), word("x@foreign.example"), word("bob@local.example"));
        let n = self.next_number();
        let (headers, body) = parts_of(rest);
        let text = format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bK{n}\r\nFrom: <sip:{from}>;tag=f{n}\r\nTo: <sip:{to}>\r\n\
             Call-ID: c{n}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.hear(conn, text.into_bytes());
    }

    /// `METHOD WHICH`, then as before: in the dialog of that message of the node's, counted from the last.
    fn within(&mut self, line: &str) {
        let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
        let mut words = first.split_whitespace();
        let method = words.next().unwrap_or("MESSAGE").to_owned();
        let which = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
        let Some(at) = self.dialogs.len().checked_sub(1 + which) else { return };
        let n = self.next_number();
        let message = &self.dialogs[at];
        let msg = message.msg();
        let value = |name| message.value(name).unwrap_or_default();
        let (ours, theirs) = (value(HeaderName::From), value(HeaderName::To));
        let (from, to) = if msg.method().is_none() { (ours, theirs) } else { (theirs, ours) };
        let uri =
            message.value(HeaderName::Contact).map_or("sip:cup.local.example", crate::message::inner_uri);
        let (headers, body) = parts_of(rest);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bK{n}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\n\
             CSeq: {n} {method}\r\nMax-Forwards: 70\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            msg.call_id,
            body.len()
        );
        let conn = message.conn;
        self.hear(conn, text.into_bytes());
    }

    /// A status, then as before: answers what the node has asked first.
    fn answer(&mut self, line: &str) {
        let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
        if self.asked.is_empty() {
            return;
        }
        let status = first.trim().parse::<u16>().unwrap_or(200).clamp(100, 699);
        let request = if status < 200 { None } else { Some(self.asked.remove(0)) };
        let request = request.as_ref().unwrap_or_else(|| &self.asked[0]);
        let msg = request.msg();
        let vias: String = msg.values(HeaderName::Via).map(|via| format!("Via: {via}\r\n")).collect();
        let value = |name| request.value(name).unwrap_or_default();
        let tag = if msg.has_to_tag() { "" } else { ";tag=theirs" };
        let (headers, body) = parts_of(rest);
        let text = format!(
            "SIP/2.0 {status} X\r\n{vias}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            value(HeaderName::From),
            value(HeaderName::To),
            msg.call_id,
            value(HeaderName::CSeq),
            body.len()
        );
        let (conn, dialog) = (request.conn, msg.method_name() == Some("INVITE") && status / 100 == 2);
        let copy = dialog.then(|| request.msg().head().to_owned());
        self.hear(conn, text.into_bytes());
        let copy = copy.and_then(|head| Incoming::scan(head.into_bytes().into(), conn, &LIMITS).ok());
        self.dialogs.extend(copy);
    }

    /// Octets of a peer, framed as the transport frames them.
    fn raw(&mut self, mut octets: &[u8]) {
        let mut framer = Framer::new(LIMITS);
        while !octets.is_empty() {
            match framer.next(octets) {
                Frame::KeepAlive { len } => octets = &octets[len..],
                Frame::Message { head_len, body_len } => {
                    let (frame, rest) = octets.split_at(head_len + body_len);
                    octets = rest;
                    self.hear(EDGE, frame.to_vec());
                }
                Frame::Incomplete { .. } | Frame::Bad(_) => return,
            }
        }
    }

    fn command(&mut self, line: &str) {
        if let Ok(command) = serde_json::from_str::<Command>(line) {
            self.core.on_command(1, command, self.now);
            self.take();
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.core.on_time(self.now);
        self.take();
    }

    fn next_number(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    fn hear(&mut self, conn: ConnId, octets: Vec<u8>) {
        if let Ok(message) = Incoming::scan(octets.into(), conn, &LIMITS) {
            self.core.on_message(message, self.now);
            self.take();
        }
    }

    /// What the node says must be what the border would take.
    fn take(&mut self) {
        for output in self.core.take_output() {
            let Output::Send(conn, bytes) = output else { continue };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let message = Incoming::scan(bytes.clone().into(), conn, &LIMITS);
            let message = message.unwrap_or_else(|why| panic!("{why}: {text}"));
            assert_eq!(message.octets(), bytes.len());
            let body = message.msg().body;
            match message.content_type().as_str() {
                pidf::TYPE | winfo::TYPE => drop(crate::xml::parse(body).expect("a document")),
                crate::im::sdp::TYPE => drop(crate::im::sdp::read(body).expect("a description")),
                _ => {}
            }
            let msg = message.msg();
            match msg.start {
                Start::Response { status, .. } if status >= 200 => {
                    let branch = msg.top_via.branch.unwrap_or_default().to_owned();
                    let own = branch.strip_prefix("z9hG4bK").is_some_and(|n| n.parse::<u32>().is_ok());
                    if own && msg.top_via.host == "h.example" {
                        self.answers.entry(branch).or_default().push(bytes);
                    }
                    if status < 300 {
                        self.dialogs.push(message);
                    }
                }
                Start::Response { .. } => {}
                Start::Request { .. } if msg.method_name() != Some("ACK") => self.asked.push(message),
                Start::Request { .. } => {}
            }
        }
    }

    /// Nobody says anything any more: all that waits is given up, and nothing is left.
    fn end(&mut self) {
        let lists: Vec<_> =
            self.core.contacts.iter().map(|(owner, all)| (owner.clone(), all.clone())).collect();
        for (owner, contacts) in lists {
            for contact in contacts.keys() {
                let (user, contact) = (owner.to_string(), contact.to_string());
                self.core.on_command(2, Command::RemoveContact { user, contact }, self.now);
            }
        }
        self.take();
        for _ in 0..100 {
            self.pass(SILENCE);
        }
        for (branch, answers) in &self.answers {
            // A 200 to an INVITE is said again until its ACK; an octet is an octet.
            let same = answers.iter().all(|answer| *answer == answers[0]);
            let text = String::from_utf8_lossy(&answers[0]);
            assert!(answers.len() == 1 || (same && text.contains(" INVITE\r\n")), "{branch}: {text}");
        }
        let core = &self.core;
        assert!(core.deferred.is_empty() && core.deliveries.is_empty() && core.texts.is_empty());
        assert_eq!((core.clients.len(), core.deferred_octets), (0, 0));
        assert!(core.conns.values().all(|conn| conn.waiting == 0));
        assert_eq!((core.sessions.len(), core.pairs.len(), core.invites.len()), (0, 0, 0));
        assert_eq!((core.subs.len(), core.by_resource.len(), core.by_watcher.len()), (0, 0, 0));
        assert_eq!((core.watches.len(), core.watch_of.len()), (0, 0));
        assert_eq!((core.publications.len(), core.devices.len(), core.states.len()), (0, 0, 0));
        assert!(core.shares.is_empty(), "{:?}", core.shares);
        let odd: Vec<_> = core.timers.iter().filter(|(_, timer)| *timer != Timer::Bindings).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}

/// Headers and body of a line, its ends of lines as SIP has them.
fn parts_of(text: &str) -> (String, String) {
    let (headers, body) = match text.strip_prefix('\n') {
        Some(body) => ("", body),
        None => text.split_once("\n\n").unwrap_or((text, "")),
    };
    let headers = headers.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    (headers, body.to_owned())
}
