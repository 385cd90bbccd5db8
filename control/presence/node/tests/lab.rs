// SPDX-License-Identifier: MIT OR Apache-2.0
//! A core, its store, and those who talk to it: what the tests of the core are written with.
//!
//! The lab carries out what the core says as the driver does, but at once: writes go to a store, what is sent is kept for the test to
//! look at. [`Lab::restart`] kills the core and makes a new one from the store.

use std::collections::VecDeque;
use std::sync::Arc;

use fedgate_sip::headers::HeaderName;

use super::super::*;
use crate::digest::{Algorithm, hash};
use crate::store::Store;
use crate::transport::{LIMITS, Origin};

pub(super) const EDGE: ConnId = ConnId(1);
pub(super) const BOB: ConnId = ConnId(2);
pub(super) const ANN: ConnId = ConnId(3);

const CONFIG: &str = r#"
name = "cup.local.example"
port = 5061
domains = ["local.example"]
store = "sqlite::memory:"
users = "users"
control = "control"
[[listen]]
address = "127.0.0.1:0"
[federation]
permitted = ["foreign.example", "*.part.example"]
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

pub(super) struct Lab {
    runtime: tokio::runtime::Runtime,
    url: String,
    /// Where the store is, if it is a file.
    _dir: Option<tempfile::TempDir>,
    store: Option<Store>,
    pub(super) core: Core,
    cfg: Arc<Config>,
    pub(super) now: u64,
    sent: VecDeque<(ConnId, Incoming)>,
    pub(super) opened: Vec<(ConnId, Target)>,
    pub(super) closed: Vec<ConnId>,
    /// What was written (`w`) and sent (`s`), in order.
    pub(super) order: String,
    /// The file of users.
    pub(super) users: String,
    runs: u8,
    pub(super) cseq: u32,
    pub(super) replies: Vec<(u64, Reply)>,
    pub(super) silenced: Vec<u64>,
    notices: Vec<(u64, Notice)>,
}

impl Lab {
    /// With a store in a file.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("store").display());
        Self { _dir: Some(dir), ..Self::on(url) }
    }

    /// With the store that has this URL.
    pub(super) fn on(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let cfg = Arc::new(Config::parse(CONFIG, "config").expect("a configuration"));
        let mut lab = Self {
            core: Core::new(cfg.clone(), Users::default(), [0; 48], Image::default(), 0),
            runtime,
            url,
            _dir: None,
            store: None,
            cfg,
            now: 1_800_000_000_000,
            sent: VecDeque::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            order: String::new(),
            users: USERS.to_owned(),
            runs: 0,
            cseq: 0,
            replies: Vec::new(),
            silenced: Vec::new(),
            notices: Vec::new(),
        };
        lab.restart();
        lab
    }

    /// With another configuration, or more of it, and other users.
    pub(super) fn of(more: &str, name: &str, users: &str) -> Self {
        let mut lab = Self::new();
        let config = CONFIG.replace("cup.local.example", name) + more;
        lab.cfg = Arc::new(Config::parse(&config, "config").expect("a configuration"));
        lab.users = users.to_owned();
        lab.restart();
        lab
    }

    /// Everything sent on one connection and not looked at yet, in order.
    pub(super) fn take_on(&mut self, conn: ConnId) -> Vec<Incoming> {
        let (here, rest) = std::mem::take(&mut self.sent).into_iter().partition(|(on, _)| *on == conn);
        self.sent = rest;
        VecDeque::into_iter(here).map(|(_, message)| message).collect()
    }

    /// Without its store, for tests of many steps: what is written goes nowhere.
    pub(super) fn forgetful() -> Self {
        let mut lab = Self::new();
        if let Some(store) = lab.store.take() {
            lab.runtime.block_on(store.close()).expect("closed");
        }
        lab
    }

    /// Everything sent and not looked at yet, in order.
    pub(super) fn take_sent(&mut self) -> Vec<Incoming> {
        self.sent.drain(..).map(|(_, message)| message).collect()
    }

    /// A peer's connection again.
    pub(super) fn open(&mut self, conn: ConnId, origin: Origin) {
        self.core.on_open(conn, Peer { origin, tls: false }, self.now);
        self.carry_out();
    }

    /// Octets as they come.
    pub(super) fn hand(&mut self, conn: ConnId, message: &Incoming) {
        let text = format!("{}{}", message.msg().head(), body_of(message));
        self.send(conn, &text);
    }

    /// Kills the core; the next one knows what was stored and nothing else. Peers connect again.
    pub(super) fn restart(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close()).expect("closed");
        }
        let (store, image) = self.runtime.block_on(async {
            let mut store = Store::open(&self.url).await.expect("a store");
            let image = store.load().await.expect("an image");
            (store, image)
        });
        self.store = Some(store);
        self.runs += 1;
        let users = Users::parse(&self.users, "users", &self.cfg).expect("users");
        self.core = Core::new(self.cfg.clone(), users, [self.runs; 48], image, self.now);
        self.sent.clear();
        self.opened.clear();
        for (conn, origin) in [(EDGE, Origin::Federation), (BOB, Origin::Client), (ANN, Origin::Client)] {
            self.core.on_open(conn, Peer { origin, tls: false }, self.now);
        }
        self.carry_out();
    }

    /// Kills the core; the next one draws other names.
    pub(super) fn reseed(&mut self, seed: u8) {
        self.runs = seed;
        self.restart();
    }

    /// Kills the core; the next one has another configuration.
    pub(super) fn reconfigure(&mut self, from: &str, to: &str) {
        let config = Config::parse(&CONFIG.replace(from, to), "config");
        self.cfg = Arc::new(config.expect("a configuration"));
        self.restart();
    }

    fn carry_out(&mut self) {
        for output in self.core.take_output() {
            match output {
                Output::Write(write) => {
                    self.order.push('w');
                    if let Some(store) = &mut self.store {
                        self.runtime.block_on(store.commit(&[write])).expect("committed");
                    }
                }
                Output::Send(conn, bytes) => {
                    self.order.push('s');
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let message = Incoming::scan(bytes.into(), conn, &LIMITS);
                    self.sent.push_back((conn, message.unwrap_or_else(|why| panic!("{why}: {text}"))));
                }
                Output::Open(conn, target) => self.opened.push((conn, target)),
                Output::Close(conn) => self.closed.push(conn),
                Output::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                Output::Tell(id, notice) => self.notices.push((id, notice)),
                Output::Silence(id) => self.silenced.push(id),
            }
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.core.on_time(self.now);
        self.carry_out();
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.core.on_closed(conn, self.now);
        self.carry_out();
    }

    pub(super) fn command(&mut self, command: serde_json::Value) -> Reply {
        let command = serde_json::from_value(command).expect("a command");
        self.core.now = self.now;
        let reply = self.core.command(0, command).expect("a reply at once");
        self.carry_out();
        reply
    }

    /// A command whose reply comes later, among [`Lab::replies`].
    pub(super) fn later(&mut self, ticket: u64, command: serde_json::Value) {
        let command = serde_json::from_value(command).expect("a command");
        self.core.on_command(ticket, command, self.now);
        self.carry_out();
    }

    /// Other users than before, while it runs.
    pub(super) fn replace_users(&mut self, users: &str) {
        let users = Users::parse(users, "users", &self.cfg).expect("users");
        self.core.on_users(users, self.now);
        self.carry_out();
    }

    pub(super) fn listen(&mut self, id: u64, user: &str) {
        self.core.on_listen(id, user, self.now);
        self.carry_out();
    }

    /// What a listener has been told since the last look.
    pub(super) fn noticed(&mut self, id: u64) -> Vec<(&'static str, serde_json::Value)> {
        let (here, rest) = std::mem::take(&mut self.notices).into_iter().partition(|(to, _)| *to == id);
        self.notices = rest;
        let read =
            |(_, notice): (u64, Notice)| (notice.kind, serde_json::from_str(&notice.body).expect("JSON"));
        Vec::into_iter(here).map(read).collect()
    }

    pub(super) fn show(&mut self, user: &str) -> serde_json::Value {
        match self.command(serde_json::json!({ "do": "show", "user": user })) {
            Reply::Told(value) => value,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, text: &str) {
        let message = Incoming::scan(text.as_bytes().into(), conn, &LIMITS);
        self.core.on_message(message.unwrap_or_else(|why| panic!("{why}: {text}")), self.now);
        self.carry_out();
    }

    /// A request outside of a dialog, with a From tag `f`.
    pub(super) fn request(
        &mut self,
        conn: ConnId,
        method: &str,
        from: &str,
        to: &str,
        extra: &str,
        body: &str,
    ) {
        self.cseq += 1;
        let n = self.cseq;
        let text = format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bK{n}\r\nFrom: <sip:{from}>;tag=f{n}\r\nTo: <sip:{to}>\r\n\
             Call-ID: c{n}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(conn, &text);
    }

    /// A request in the dialog that `message` (a response or request of the node) belongs to.
    pub(super) fn within(&mut self, message: &Incoming, method: &str, extra: &str, body: &str) {
        self.cseq += 1;
        let n = self.cseq;
        let msg = message.msg();
        let (ours, theirs) = (message.value(HeaderName::From), message.value(HeaderName::To));
        let (from, to) = if msg.method().is_none() { (ours, theirs) } else { (theirs, ours) };
        let uri =
            message.value(HeaderName::Contact).map_or("sip:cup.local.example", crate::message::inner_uri);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bK{n}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            from.unwrap_or_default(),
            to.unwrap_or_default(),
            msg.call_id,
            body.len()
        );
        self.send(message.conn, &text);
    }

    /// Answers a request of the node; the answer of one that has no To tag gets `tag`.
    pub(super) fn answer(&mut self, request: &Incoming, status: u16, extra: &str, body: &str) {
        let msg = request.msg();
        let vias: String = msg.values(HeaderName::Via).map(|via| format!("Via: {via}\r\n")).collect();
        let tag = if msg.has_to_tag() { "" } else { ";tag=theirs" };
        let value = |name| request.value(name).unwrap_or_default();
        let text = format!(
            "SIP/2.0 {status} X\r\n{vias}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            value(HeaderName::From),
            value(HeaderName::To),
            msg.call_id,
            value(HeaderName::CSeq),
            body.len()
        );
        self.send(request.conn, &text);
    }

    /// The next message the node has sent on `conn`.
    pub(super) fn next(&mut self, conn: ConnId) -> Incoming {
        let at = self.sent.iter().position(|(on, _)| *on == conn);
        let at = at.unwrap_or_else(|| panic!("nothing on {conn:?}; elsewhere {:?}", self.sent));
        self.sent.remove(at).expect("it is there").1
    }

    /// The next one, if there is one.
    pub(super) fn try_next(&mut self, conn: ConnId) -> Option<(ConnId, Incoming)> {
        let at = self.sent.iter().position(|(on, _)| *on == conn)?;
        self.sent.remove(at)
    }

    /// The next one, which must be this response.
    pub(super) fn response(&mut self, conn: ConnId, status: u16) -> Incoming {
        let message = self.next(conn);
        assert_eq!(status_of(&message), Some(status), "{message:?}");
        message
    }

    /// The next one, which must be this request.
    pub(super) fn expect(&mut self, conn: ConnId, method: &str) -> Incoming {
        let message = self.next(conn);
        assert_eq!(message.msg().method_name(), Some(method), "{message:?}");
        message
    }

    /// Nothing more has been sent to anybody.
    pub(super) fn quiet(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    /// Registers a user's device with the right credentials.
    pub(super) fn register(&mut self, conn: ConnId, user: &str) {
        let contact = format!("Contact: <sip:{user}@192.0.2.{};transport=tcp>\r\n", conn.0);
        let (address, uri) = (format!("{user}@local.example"), "sip:local.example");
        for authorization in [false, true] {
            self.cseq += 1;
            let n = self.cseq;
            let credentials = if authorization {
                let challenge = self.response(conn, 401);
                let offered: Vec<String> = challenge.named("WWW-Authenticate").map(str::to_owned).collect();
                assert!(offered[0].contains("SHA-256") && offered[1].contains("MD5"), "{offered:?}");
                credentials(&offered[0], user, &user[..1], "REGISTER", uri, 1)
            } else {
                String::new()
            };
            let text = format!(
                "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bK{n}\r\nFrom: <sip:{address}>;tag=f{n}\r\n\
                 To: <sip:{address}>\r\nCall-ID: r{}\r\nCSeq: {n} REGISTER\r\nMax-Forwards: 70\r\n{contact}{credentials}Content-Length: 0\r\n\r\n",
                conn.0
            );
            self.send(conn, &text);
        }
        let ok = self.response(conn, 200);
        assert!(ok.value(HeaderName::Contact).is_some_and(|c| c.contains("expires=3600")), "{ok:?}");
    }

    /// Publishes `activity` (or nothing but open, or closed) for a user that has registered on `conn`; the entity tag.
    pub(super) fn publish(&mut self, conn: ConnId, user: &str, document: &str, etag: Option<&str>) -> String {
        let address = format!("{user}@local.example");
        let body = pidf(&address, document);
        let condition = etag.map_or(String::new(), |etag| format!("SIP-If-Match: {etag}\r\n"));
        let extra = format!("Event: presence\r\nContent-Type: application/pidf+xml\r\n{condition}");
        self.request(conn, "PUBLISH", &address, &address, &extra, &body);
        let ok = self.response(conn, 200);
        ok.value(HeaderName::SipEtag).expect("an entity tag").to_owned()
    }
}

/// A document of RFC 3863 and RFC 4480 about a user: `open`, `closed` or an activity.
pub(super) fn pidf(address: &str, what: &str) -> String {
    let basic = if what == "closed" { "closed" } else { "open" };
    let person = match what {
        "open" | "closed" => String::new(),
        word => format!(
            "<dm:person xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' id='p'><r:activities \
             xmlns:r='urn:ietf:params:xml:ns:pidf:rpid'><r:{word}/></r:activities></dm:person>"
        ),
    };
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:{address}'><tuple id='t'><status><basic>{basic}</basic>\
         </status></tuple>{person}</presence>"
    )
}

pub(super) fn credentials(
    challenge: &str,
    user: &str,
    password: &str,
    method: &str,
    uri: &str,
    nc: u32,
) -> String {
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
    let of = |text: String| hash(Algorithm::Sha256, &text);
    let (ha1, ha2) = (of(format!("{user}:local.example:{password}")), of(format!("{method}:{uri}")));
    let response = of(format!("{ha1}:{nonce}:{nc:08x}:c:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"local.example\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=SHA-256, qop=auth, nc={nc:08x}, cnonce=\"c\"\r\n"
    )
}

pub(super) fn status_of(message: &Incoming) -> Option<u16> {
    match message.msg().start {
        Start::Response { status, .. } => Some(status),
        Start::Request { .. } => None,
    }
}

/// Subscription-State without its parameters.
pub(super) fn state_of(notify: &Incoming) -> String {
    let value = notify.value(HeaderName::SubscriptionState).expect("a Subscription-State");
    value.split(';').next().expect("a state").to_owned()
}

pub(super) fn body_of(message: &Incoming) -> String {
    String::from_utf8(message.msg().body.to_vec()).expect("text")
}
