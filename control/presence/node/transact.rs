// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests of ours: where they go, and what their answers are for (client transactions, RFC 3261 section 17.1).
//!
//! All transports are reliable, so nothing is retransmitted: a transaction is a branch that waits for a final answer until 64*T1.
//! An INVITE that has been answered provisionally waits longer and is then cancelled; its refusal is acknowledged here.
//! A branch is 64 bits nobody can guess, so an answer that bears one is by somebody who saw the request.
//!
//! Connections are reused (RFC 5923): a dialog's requests go where its peer last spoke from while that lives, all others to the route
//! of their next hop, of which there is one connection. Part of the core.

use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Message;
use fedgate_sip::uri::{Scheme, Uri};
use rsip::headers::UntypedHeader as _;

use super::{Conn, Core, Output, Timer};
use crate::dialog::Dialog;
use crate::ids::Tag;
use crate::message::compose::{Outgoing, unfolded};
use crate::message::{Incoming, number};
use crate::transport::{ConnId, Kind, Origin, Peer, Target};

/// 64*T1: as long as a request waits for an answer, ms.
pub(super) const TIMER_F: u64 = 32_000;
/// As long as an INVITE that rings waits, ms.
const RINGING: u64 = 60_000;
/// Requests of ours that may be without an answer.
const MAX_CLIENTS: usize = 100_000;
/// Of them, on one connection to a peer, which speaks for many users.
const MAX_ON_PEER: usize = 50_000;
/// On one of a user's devices, or of a proxy before them.
const MAX_ON_CLIENT: usize = 10_000;
const COOKIE: &str = "z9hG4bK";

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// NOTIFY of a subscription to us.
    Notify(Tag),
    /// SUBSCRIBE of one of ours.
    Subscribe(Tag),
    /// INVITE of a session of ours.
    Invite(Tag),
    /// MESSAGE in a session.
    Text(Tag),
    /// MESSAGE to a device of a user: the delivery and its leg.
    Leg(u64),
    /// Somebody else's, passed on under this branch.
    Pass(u64),
    /// BYE, CANCEL, what nobody waits for.
    Nothing,
}

/// A request that waits for its answer.
pub(super) struct Client {
    conn: ConnId,
    purpose: Purpose,
    deadline: u64,
    /// The INVITE as it was sent, for its ACK and CANCEL.
    invite: Option<Box<[u8]>>,
    rings: bool,
    cancelled: bool,
}

/// What an answer says.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<u32>,
    /// The answer itself; none came for 408 and 503 of our own making.
    pub(super) message: Option<&'a Incoming>,
}

impl Answer<'_> {
    fn own(status: u16) -> Self {
        Self { status, retry_after: None, message: None }
    }
}

impl Core {
    /// The connection on which the dialog's next request goes; whether its peer is a user's device decides how it is found.
    pub(super) fn conn_of(&mut self, dialog: &Dialog, is_device: bool) -> Option<ConnId> {
        if let Some(conn) = dialog.conn.filter(|conn| self.conns.contains_key(conn)) {
            return Some(conn);
        }
        if is_device { self.conn_to_device(dialog.next_hop()) } else { self.conn_to(dialog.next_hop()) }
    }

    /// The connection to the next hop of a URI, by the nodes and the routes of the configuration.
    pub(super) fn conn_to(&mut self, uri: &str) -> Option<ConnId> {
        let uri = Uri::parse(uri)?;
        let host = uri.host?;
        if let Some(target) = self.target_at_node(&uri) {
            return self.conn_for(target);
        }
        let route = self.cfg.route(host)?;
        let target = match &route.to {
            Some(to) => Target { to: to.clone(), tls: route.tls.clone(), kind: Kind::Peer },
            None => {
                let host = host.to_ascii_lowercase();
                let to = uri.port.map_or(host.clone(), |port| format!("{host}:{port}"));
                Target { to, tls: Some(host), kind: Kind::Found }
            }
        };
        self.conn_for(target)
    }

    /// The connection to a device of a user by its Contact: an address and `transport=tcp`, or nothing.
    pub(super) fn conn_to_device(&mut self, contact: &str) -> Option<ConnId> {
        let uri = Uri::parse(contact)?;
        let host = uri.host?;
        let is_tcp = uri.params.split(';').any(|param| param.eq_ignore_ascii_case("transport=tcp"));
        let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        if uri.scheme != Scheme::Sip || !is_tcp || !is_address {
            return None;
        }
        self.conn_for(Target {
            to: format!("{host}:{}", uri.port.unwrap_or(5060)),
            tls: None,
            kind: Kind::Device,
        })
    }

    pub(super) fn conn_for(&mut self, target: Target) -> Option<ConnId> {
        if let Some(conn) = self.pool.get(&target) {
            return Some(*conn);
        }
        if self.pool.len() >= self.cfg.limits.connections {
            self.count("connections_full");
            return None;
        }
        self.opened += 1;
        let conn = ConnId::outgoing(self.opened);
        let origin = target.kind.origin();
        let peer = Peer { origin, tls: target.tls.is_some() };
        self.conns.insert(
            conn,
            Conn {
                peer,
                open: false,
                users: Default::default(),
                failures: 0,
                target: Some(target.clone()),
                waiting: 0,
            },
        );
        self.pool.insert(target.clone(), conn);
        self.out.push(Output::Open(conn, target));
        Some(conn)
    }

    pub(super) fn is_tls(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.peer.tls)
    }

    /// A branch and the Via that bears it.
    pub(super) fn via(&mut self, conn: ConnId) -> (u64, String) {
        let branch = self.ids.number();
        let transport = if self.is_tls(conn) { "TLS" } else { "TCP" };
        let via =
            format!("SIP/2.0/{transport} {}:{};branch={COOKIE}{}", self.cfg.name, self.cfg.port, Tag(branch));
        (branch, via)
    }

    /// Our Contact for a user, as reached over a connection of this kind.
    pub(super) fn contact(&self, user: &str, conn: ConnId) -> String {
        let transport = if self.is_tls(conn) { "tls" } else { "tcp" };
        format!("<sip:{user}@{}:{};transport={transport}>", self.cfg.name, self.cfg.port)
    }

    /// Sends a request that waits for its answer. `Err` where too many do.
    pub(super) fn send_request(
        &mut self,
        conn: ConnId,
        branch: u64,
        purpose: Purpose,
        request: Outgoing,
    ) -> Result<(), ()> {
        let is_invite = matches!(purpose, Purpose::Invite(_));
        self.start_request(conn, branch, purpose, request.bytes(), is_invite, TIMER_F)
    }

    /// As [`Core::send_request`], of octets that are whole, with a time of its own to wait (ms).
    pub(super) fn start_request(
        &mut self,
        conn: ConnId,
        branch: u64,
        purpose: Purpose,
        bytes: Vec<u8>,
        is_invite: bool,
        patience: u64,
    ) -> Result<(), ()> {
        let is_full = self.clients.len() >= MAX_CLIENTS;
        let has_room = |on: &&mut Conn| match on.peer.origin {
            Origin::Federation | Origin::Node(_) => on.waiting < MAX_ON_PEER,
            Origin::Client => on.waiting < MAX_ON_CLIENT,
        };
        let Some(on) = self.conns.get_mut(&conn).filter(|_| !is_full).filter(has_room) else {
            self.count("clients_full");
            return Err(());
        };
        on.waiting += 1;
        let invite = is_invite.then(|| bytes.clone().into_boxed_slice());
        let deadline = self.now + patience;
        self.clients
            .insert(branch, Client { conn, purpose, deadline, invite, rings: false, cancelled: false });
        self.at(deadline, Timer::Request(branch));
        self.out.push(Output::Send(conn, bytes));
        Ok(())
    }

    pub(super) fn on_response(&mut self, incoming: &Incoming, status: u16) {
        let msg = incoming.msg();
        let branch =
            msg.top_via.branch.and_then(|b| b.strip_prefix(COOKIE)).and_then(|b| b.parse::<Tag>().ok());
        let Some(Tag(branch)) = branch else { return self.count("stray_response") };
        let Some(client) = self.clients.get_mut(&branch) else {
            let is_ok = msg.cseq.method == "INVITE" && (200..300).contains(&status);
            if !(is_ok && self.on_passed_again(branch, incoming)) {
                self.on_late_response(incoming, status);
            }
            return;
        };
        let is_invite = client.invite.is_some();
        // A CANCEL has its INVITE's branch; its own answer means nothing.
        if is_invite != (msg.cseq.method == "INVITE") {
            return;
        }
        if status < 200 {
            if is_invite && !client.cancelled {
                let old = (client.deadline, Timer::Request(branch));
                client.deadline = self.now + RINGING;
                client.rings = true;
                let new = (client.deadline, Timer::Request(branch));
                self.timers.remove(&old);
                self.timers.insert(new);
            }
            if let Purpose::Pass(branch) = client.purpose {
                self.on_passed_provisional(branch, status, incoming);
            }
            return;
        }
        let Some(client) = self.finish(branch) else { return };
        if status >= 300
            && let Some(invite) = &client.invite
        {
            self.acknowledge_refusal(client.conn, invite, msg);
        }
        let retry_after = incoming.value(HeaderName::RetryAfter).and_then(|value| {
            let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
            number(digits)
        });
        self.on_answer(client.purpose, &Answer { status, retry_after, message: Some(incoming) });
    }

    fn finish(&mut self, branch: u64) -> Option<Client> {
        let client = self.clients.remove(&branch)?;
        self.timers.remove(&(client.deadline, Timer::Request(branch)));
        if let Some(on) = self.conns.get_mut(&client.conn) {
            on.waiting -= 1;
        }
        Some(client)
    }

    pub(super) fn on_no_answer(&mut self, branch: u64) {
        if self.cancel(branch) {
            return;
        }
        let Some(client) = self.finish(branch) else { return };
        self.count("request_timeout");
        self.on_answer(client.purpose, &Answer::own(408));
    }

    /// Cancels an INVITE, if it can be.
    pub(super) fn cancel(&mut self, branch: u64) -> bool {
        let Some(client) = self.clients.get_mut(&branch) else { return false };
        // What has not been answered at all cannot be cancelled (RFC 3261 section 9.1).
        if client.rings
            && !client.cancelled
            && let Some(invite) = client.invite.clone()
        {
            // It may be answered yet: by 487, or by a 200 that has crossed the CANCEL.
            client.cancelled = true;
            let old = std::mem::replace(&mut client.deadline, self.now + TIMER_F);
            let (conn, deadline) = (client.conn, client.deadline);
            self.timers.remove(&(old, Timer::Request(branch)));
            self.at(deadline, Timer::Request(branch));
            if let Ok(msg) = Message::scan(&invite) {
                self.out.push(Output::Send(conn, of_invite("CANCEL", &msg, None).bytes()));
            }
            return true;
        }
        false
    }

    pub(super) fn fail_requests_on(&mut self, conn: ConnId) {
        let mut lost: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.conn == conn)
            .map(|(branch, _)| *branch)
            .collect();
        lost.sort_unstable();
        for branch in lost {
            if let Some(client) = self.finish(branch) {
                self.on_answer(client.purpose, &Answer::own(503));
            }
        }
    }

    fn on_answer(&mut self, purpose: Purpose, answer: &Answer<'_>) {
        match purpose {
            Purpose::Notify(tag) => self.on_notify_answer(tag, answer),
            Purpose::Subscribe(tag) => self.on_subscribe_answer(tag, answer),
            Purpose::Invite(tag) => self.on_invite_answer(tag, answer),
            Purpose::Text(tag) => self.on_text_answer(tag, answer),
            Purpose::Leg(delivery) => self.on_leg_answer(delivery, answer),
            Purpose::Pass(branch) => self.on_passed_answer(branch, answer),
            Purpose::Nothing => {}
        }
    }

    fn acknowledge_refusal(&mut self, conn: ConnId, invite: &[u8], refusal: &Message<'_>) {
        if let Ok(msg) = Message::scan(invite) {
            let to = refusal.values(HeaderName::To).next().map(unfolded);
            self.out.push(Output::Send(conn, of_invite("ACK", &msg, to).bytes()));
        }
    }
}

/// ACK of a refusal or CANCEL: on the INVITE's branch and route (RFC 3261 sections 17.1.1.3 and 9.1).
fn of_invite(method: &str, invite: &Message<'_>, to: Option<String>) -> Outgoing {
    let uri = invite.request_uri().map_or("", |uri| uri.text);
    let mut out = Outgoing::request(method, uri);
    let mut first_via = true;
    for header in invite.headers() {
        let value = header.value.to_owned();
        out = match header.id {
            // This hop's, which stands first: those below it of one that was passed on are for others.
            HeaderName::Via if std::mem::take(&mut first_via) => out.with(rsip::headers::Via::new(value)),
            HeaderName::Route => out.with(rsip::headers::Route::new(value)),
            HeaderName::From => out.with(rsip::headers::From::new(value)),
            HeaderName::To => out.with(rsip::headers::To::new(to.clone().unwrap_or(value))),
            HeaderName::CallId => out.with(rsip::headers::CallId::new(value)),
            _ => continue,
        };
    }
    out.with(rsip::headers::CSeq::new(format!("{} {method}", invite.cseq.number)))
        .with(rsip::headers::MaxForwards::new("70"))
}
