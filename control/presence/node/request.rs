// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that come: whose they are, whether he may, and which part of the core they are for.
//!
//! From the appliance or another peer of the configuration come requests of foreign users: From must be of a permitted domain, the
//! target ours (the peer's certificate was checked when it connected; that it speaks for the From domain is the appliance's to check).
//! What is for another node of the enterprise has been passed on before ([`super::elsewhere`]).
//! From anywhere else come requests of our own users, who must prove themselves by digest once a connection.
//! The order of the checks is RFC 3261 section 8.2; what is refused is answered and counted by name.
//!
//! Part of the core.

use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Method;
use rsip::headers::UntypedHeader as _;

use super::{Core, Output};
use crate::aor::Aor;
use crate::config::Permission;
use crate::digest::Denied;
use crate::homing::Home;
use crate::ids::Tag;
use crate::message::Incoming;
use crate::message::compose::{ALLOW, EVENTS, Outgoing, unfolded};
use crate::transport::Origin;

/// Wrong credentials on a connection before it is closed.
const MAX_FAILURES: u8 = 8;
/// Users that one connection (of a proxy before us) may speak for.
const MAX_USERS: usize = 10_000;
/// Requests whose answers wait.
const MAX_DEFERRED: usize = 100_000;
/// Octets of them all.
const MAX_DEFERRED_OCTETS: usize = 32 << 20;

/// Whose a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// One of our users.
    Local(Aor),
    /// A user of a permitted domain, or one of the enterprise's at home on the node that has sent it.
    Foreign(Aor),
}

/// The request has been answered already, and there is nothing more to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered;

impl Who {
    pub(super) fn aor(&self) -> &Aor {
        match self {
            Self::Local(aor) | Self::Foreign(aor) => aor,
        }
    }
}

impl Core {
    pub(super) fn on_request(&mut self, request: Incoming) {
        let Some(method) = request.msg().method() else { return };
        let Some(request) = self.unless_elsewhere(request, method) else { return };
        let msg = request.msg();
        if method == Method::Ack {
            return self.on_ack(&request);
        }
        if method == Method::Cancel {
            return self.on_cancel(&request);
        }
        // None of the extensions that can be required is supported.
        let unsupported: Vec<String> = msg.tokens(HeaderName::Require).map(unfolded).collect();
        if !unsupported.is_empty() {
            self.count("extension");
            let out =
                self.response(&request, 420).with(rsip::headers::Unsupported::new(unsupported.join(", ")));
            return self.send_response(&request, out);
        }
        if msg.has_to_tag() {
            return self.in_dialog(request, method);
        }
        match method {
            Method::Register => self.on_register(&request),
            Method::Subscribe => self.on_subscribe(&request),
            Method::Publish => self.on_publish(&request),
            Method::Message => self.on_pager(request),
            Method::Invite => self.on_invite(&request),
            Method::Options => {
                let out = self.response(&request, 200).with(rsip::headers::Allow::new(ALLOW));
                let out = out
                    .other("Allow-Events", EVENTS)
                    .with(rsip::headers::Accept::new(super::session::ACCEPT));
                self.send_response(&request, out);
            }
            Method::Bye | Method::Notify | Method::Info => self.refuse(&request, 481, "no_dialog"),
            Method::Update | Method::Prack | Method::Refer | Method::Ack | Method::Cancel | Method::Other => {
                self.method_refused(&request, method);
            }
        }
    }

    fn method_refused(&mut self, request: &Incoming, method: Method) {
        self.count("method");
        let status = if method == Method::Other { 501 } else { 405 };
        let out = self.response(request, status).with(rsip::headers::Allow::new(ALLOW));
        self.send_response(request, out);
    }

    fn in_dialog(&mut self, request: Incoming, method: Method) {
        let tag = request.msg().to.tag.and_then(|tag| tag.parse::<Tag>().ok()).unwrap_or(Tag(0));
        if self.subs.contains_key(&tag) && method == Method::Subscribe {
            return self.on_resubscribe(&request, tag);
        }
        if self.watches.contains_key(&tag) && method == Method::Notify {
            return self.on_notify(&request, tag);
        }
        if self.sessions.contains_key(&tag) {
            return match method {
                Method::Message => self.on_session_text(request, tag),
                Method::Bye => self.on_bye(&request, tag),
                Method::Info => self.on_info(&request, tag),
                Method::Invite => self.on_reinvite(&request, tag),
                Method::Options => {
                    let out = self.response(&request, 200).with(rsip::headers::Allow::new(ALLOW));
                    self.send_response(&request, out);
                }
                Method::Ack | Method::Cancel | Method::Notify | Method::Prack | Method::Publish => {
                    self.method_refused(&request, method);
                }
                Method::Refer | Method::Register | Method::Subscribe | Method::Update | Method::Other => {
                    self.count("group_chat");
                    self.method_refused(&request, method);
                }
            };
        }
        match method {
            Method::Refer | Method::Update | Method::Prack | Method::Other => {
                self.method_refused(&request, method)
            }
            _ => self.refuse(&request, 481, "no_dialog"),
        }
    }

    /// Whose the request is; if nobody's that may, it has been answered.
    pub(super) fn requester(&mut self, request: &Incoming) -> Result<Who, Answered> {
        let target = request.msg().request_uri().and_then(|uri| Aor::of(&uri));
        self.speaker(request, target.as_ref())
    }

    /// As [`Core::requester`], of a request in a dialog: that is about `target`, whatever our Contact is that it goes to.
    pub(super) fn speaker(&mut self, request: &Incoming, target: Option<&Aor>) -> Result<Who, Answered> {
        let from = Aor::of(&request.msg().from.uri);
        let origin = self.conns.get(&request.conn).map(|conn| conn.peer.origin);
        match (origin, from) {
            (Some(_), None) => Err(self.refused(request, 403, "from_uri")),
            (Some(Origin::Node(node)), Some(from)) if self.is_local(&from) => {
                // One at home here, or on a third, is not that node's to speak for.
                let speaks = self.home(&from) == Home::At(node);
                if speaks { Ok(Who::Foreign(from)) } else { Err(self.refused(request, 403, "spoof_node")) }
            }
            (Some(Origin::Federation | Origin::Node(_)), Some(from)) => match self
                .cfg
                .permission(from.domain())
            {
                Permission::Refused if self.is_local(&from) => Err(self.refused(request, 403, "spoof_local")),
                Permission::Refused => Err(self.refused(request, 403, "domain_refused")),
                Permission::Listed => Ok(Who::Foreign(from)),
                Permission::Below(entry) => self.guard(request, from, entry, target),
            },
            (Some(Origin::Client), Some(from)) => self.authenticate(request, from),
            (None, _) => Err(Answered),
        }
    }

    /// The local user whom the Request-URI and To name; if there is none, the request has been answered.
    pub(super) fn local_target(&mut self, request: &Incoming) -> Result<Aor, Answered> {
        let msg = request.msg();
        let target = msg.request_uri().and_then(|uri| Aor::of(&uri));
        let to = Aor::of(&msg.to.uri);
        let (Some(target), Some(to)) = (target, to) else {
            return Err(self.refused(request, 404, "no_user"));
        };
        if !self.is_local(&target) || !self.is_local(&to) {
            return Err(self.refused(request, 403, "relay"));
        }
        if self.users.get(&target).is_none() {
            return Err(self.refused(request, 404, "no_user"));
        }
        Ok(target)
    }

    fn authenticate(&mut self, request: &Incoming, from: Aor) -> Result<Who, Answered> {
        if !self.is_local(&from) {
            return Err(self.refused(request, 403, "from_foreign"));
        }
        if self.conns.get(&request.conn).is_some_and(|conn| conn.users.contains(&from)) {
            return Ok(Who::Local(from));
        }
        let msg = request.msg();
        let (Some(uri), Some(method)) = (msg.request_uri(), msg.method_name()) else { return Err(Answered) };
        let judged = match self.users.get(&from) {
            None => Err(Denied::Bad),
            Some(user) => {
                self.auth.verify(msg.values(HeaderName::Authorization), method, &uri, user, self.now)
            }
        };
        match judged {
            Ok(()) => {
                if let Some(conn) = self.conns.get_mut(&request.conn)
                    && conn.users.len() < MAX_USERS
                {
                    conn.users.insert(from.clone());
                }
                Ok(Who::Local(from))
            }
            Err(denied) => {
                // Who tried without credentials, and who is no user, is asked for them like any other.
                let had = msg.present.contains(HeaderName::Authorization);
                self.challenge(request, &from, denied == Denied::Stale);
                if denied == Denied::Bad && had {
                    self.count("credentials");
                    if let Some(conn) = self.conns.get_mut(&request.conn) {
                        conn.failures = conn.failures.saturating_add(1);
                        if conn.failures >= MAX_FAILURES {
                            // At once: what has been sent behind this one is not looked at any more.
                            self.on_closed(request.conn, self.now);
                        }
                    }
                }
                Err(Answered)
            }
        }
    }

    fn challenge(&mut self, request: &Incoming, user: &Aor, stale: bool) {
        let mut out = self.response(request, 401);
        for challenge in self.auth.challenge(user.domain(), stale, self.now) {
            out = out.with(rsip::headers::WwwAuthenticate::new(challenge));
        }
        self.send_response(request, out);
    }

    /// A response with a tag of ours where the request has none.
    pub(super) fn response(&mut self, request: &Incoming, status: u16) -> Outgoing {
        let tag = self.ids.tag();
        Outgoing::response(request.msg(), status, Some(tag))
    }

    pub(super) fn send_response(&mut self, request: &Incoming, out: Outgoing) {
        self.out.push(Output::Send(request.conn, out.bytes()));
    }

    /// As [`Core::refuse`], where a result is asked for.
    pub(super) fn refused(&mut self, request: &Incoming, status: u16, name: &'static str) -> Answered {
        self.refuse(request, status, name);
        Answered
    }

    /// Refuses, for a reason that is counted under `name`.
    pub(super) fn refuse(&mut self, request: &Incoming, status: u16, name: &'static str) {
        self.count(name);
        let mut out = self.response(request, status);
        out = match status {
            405 => out.with(rsip::headers::Allow::new(ALLOW)),
            489 => out.other("Allow-Events", EVENTS),
            503 => out.with(rsip::headers::RetryAfter::new("60")),
            _ => out,
        };
        self.send_response(request, out);
    }

    /// Marks a request whose answer waits; `false` where the same one waits already (it came twice), or too many do and it has been
    /// refused.
    pub(super) fn defer(&mut self, request: &Incoming) -> bool {
        let octets = self.deferred_octets + request.octets();
        if self.deferred.len() >= MAX_DEFERRED || octets > MAX_DEFERRED_OCTETS {
            self.refuse(request, 503, "deferred_full");
            return false;
        }
        let name = transaction(request);
        if self.deferred.contains_key(&name) {
            return false;
        }
        self.deferred_octets = octets;
        self.deferred.insert(name, request.octets());
        true
    }

    /// A request that has been deferred is answered, or about to be.
    pub(super) fn undefer(&mut self, request: &Incoming) {
        if let Some(octets) = self.deferred.remove(&transaction(request)) {
            self.deferred_octets -= octets;
        }
    }

    /// Answers a request that has been deferred.
    pub(super) fn answer_deferred(&mut self, request: &Incoming, status: u16) {
        self.undefer(request);
        let out = self.response(request, status);
        let out = match status {
            415 => out.with(rsip::headers::Accept::new("text/plain")),
            503 => out.with(rsip::headers::RetryAfter::new("5")),
            _ => out,
        };
        self.send_response(request, out);
    }
}

/// What names a server transaction (RFC 3261 section 17.2.3); senders of before RFC 3261 have no branch to go by.
pub(super) fn transaction(request: &Incoming) -> String {
    transaction_of(request, request.msg().cseq.method)
}

/// That of the request of this method which a request is about.
pub(super) fn transaction_of(request: &Incoming, method: &str) -> String {
    let msg = request.msg();
    let via = &msg.top_via;
    format!(
        "{}|{}|{:?}|{}|{} {}",
        via.branch.unwrap_or_default(),
        via.host,
        via.port,
        msg.call_id,
        msg.cseq.number,
        method
    )
}
