// SPDX-License-Identifier: MIT OR Apache-2.0
//! The usual case: `foreign.example` may federate with `local.example`, both with good certificates.

use crate::net::Lab;
use crate::pki::{Authority, Leaf, proxy_tls, tls_client, tls_server};
use fedgate_proxy::{Leg, Limits, Micros};
use rustls::Connection;
use std::rc::Rc;

pub const SECOND: u64 = 1_000_000;
/// Counter row of `foreign.example`.
pub const ENTRY: u32 = 7;

pub struct Scene {
    pub ca: Rc<Authority>,
    pub foreign: Leaf,
    pub inside: Leaf,
    pub lab: Lab,
}

pub fn secs(n: u64) -> Micros {
    Micros::from_secs(n)
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let ca = Rc::new(Authority::new("Federation CA"));
        let edge = ca.leaf(&["edge.local.example"]);
        let foreign = ca.leaf(&["foreign.example"]);
        let inside = ca.leaf(&["local.example"]);
        let mut lab = Lab::new(proxy_tls(&ca, &edge), limits);
        lab.domains.permit("foreign.example", ENTRY);
        lab.locals.0.push("local.example".into());
        Self { ca, foreign, inside, lab }
    }

    pub fn client(&self, leaf: &Leaf) -> Option<Connection> {
        Some(tls_client(&self.ca, Some(leaf)))
    }

    pub fn server(&self, leaf: &Leaf) -> Option<Connection> {
        Some(tls_server(&self.ca, leaf))
    }

    /// A foreign edge that calls in.
    pub fn inward(&mut self) -> usize {
        let (client, server) = (self.client(&self.foreign), self.server(&self.inside));
        self.lab.line(Leg::Client, client, server)
    }

    /// An inside server that calls out.
    pub fn outward(&mut self) -> usize {
        let (client, server) = (self.client(&self.inside), self.server(&self.foreign));
        self.lab.line(Leg::Server, client, server)
    }

    /// Puts text into the client's mouth.
    pub fn client_says(&mut self, line: usize, text: impl AsRef<[u8]>) {
        self.lab.lines[line].client.tell(text);
        self.lab.touch(line, Leg::Client);
    }

    pub fn server_says(&mut self, line: usize, text: impl AsRef<[u8]>) {
        self.lab.lines[line].server.tell(text);
        self.lab.touch(line, Leg::Server);
    }

    /// Both peers hang up; everything must be freed.
    pub fn finish(&mut self) {
        for line in 0..self.lab.lines.len() {
            for leg in Leg::BOTH {
                let it = &mut self.lab.lines[line];
                let peer = if leg == Leg::Client { &mut it.client } else { &mut it.server };
                peer.hangs_up = true;
                peer.reads = true;
                self.lab.touch(line, leg);
            }
        }
        self.lab.settle(secs(3700));
        self.assert_freed();
    }

    pub fn assert_freed(&self) {
        assert_eq!(self.lab.engine.sessions(), 0, "sessions left");
        assert_eq!(self.lab.engine.memory(), 0, "memory left");
        assert_eq!(self.lab.engine.handshakes(), 0, "handshakes left");
        assert_eq!(self.lab.engine.next_deadline(), None, "deadlines left");
    }

    pub fn counted(&self, counter: &str) -> u64 {
        self.lab.sink.counts.get(counter).copied().unwrap_or(0)
    }
}

/// A request as a peer would send it.
pub fn request(method: &str, from: &str, to: &str, number: usize, body: &str) -> String {
    format!(
        "{method} sip:bob@{to} SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.{from}:5061;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@{from}>;tag=a{number}\r\n\
         To: <sip:bob@{to}>\r\n\
         Call-ID: c{number}@{from}\r\n\
         CSeq: 1 {method}\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer that the called side gives to [`request`].
pub fn response(method: &str, from: &str, to: &str, number: usize) -> String {
    format!(
        "SIP/2.0 200 OK\r\n\
         Via: SIP/2.0/TLS edge.{from}:5061;branch=z9hG4bK{number}\r\n\
         From: <sip:alice@{from}>;tag=a{number}\r\n\
         To: <sip:bob@{to}>;tag=b{number}\r\n\
         Call-ID: c{number}@{from}\r\n\
         CSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

pub fn message_in(number: usize) -> String {
    request("MESSAGE", "foreign.example", "local.example", number, "hello")
}

pub fn message_out(number: usize) -> String {
    request("MESSAGE", "local.example", "foreign.example", number, "hello")
}
