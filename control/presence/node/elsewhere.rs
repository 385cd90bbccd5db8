// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several nodes of one enterprise: what is for another of them is passed on, and its answers go back.
//!
//! The appliance hands everything from outside to one node, the routing node. A request for a user who is at home elsewhere ([`crate::homing`])
//! goes on to that node, after this one's own checks of who asks; so does one in a dialog whose Contact names the other node. This node puts itself into
//! the dialogs that are made so (Record-Route), and what a home node says in them goes out by it. It is a transaction-stateful proxy (RFC 3261 section
//! 16, RFC 6026): answers go back by Via, no answer and no connection become 480, and nothing is held longer than [`PATIENCE`]. Users of the
//! enterprise on two nodes meet as foreign users do, by subscriptions and sessions from node to node, without this.
//!
//! A node is who its certificate says. It speaks for the users at home there, for foreign ones, and for nobody else; what it sends for a
//! user at home elsewhere never goes on (482, 404), so there is no way round and round; a request without hops left has been refused where it was read
//! (483). Bounds: those of [`super::transact`]. Part of the core.

use std::collections::HashMap;

use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Method;
use fedgate_sip::uri::Uri;
use rsip::headers::UntypedHeader as _;
use serde_json::{Value, json};

use super::transact::{Answer, Purpose, TIMER_F};
use super::{Core, Output, Timer};
use crate::aor::Aor;
use crate::config::Permission;
use crate::homing::Home;
use crate::ids::Tag;
use crate::message::compose::unfolded;
use crate::message::{Incoming, inner_uri, relay};
use crate::transport::{ConnId, Kind, Origin, Target};

/// As long as another node has for its answer, ms: less than whoever asks waits.
const PATIENCE: u64 = 20_000;
/// When one that is not there may be asked again, s.
const AGAIN: u32 = 10;
/// INVITEs that have been accepted and whose 200 may come again.
const MAX_ACCEPTED: usize = 50_000;

/// Where a request leads.
enum Way {
    /// To this node.
    Here,
    /// To the other of this number.
    Node(usize),
    /// Out: a home node's, in a dialog that this one is part of. The next hop.
    Out(usize, String),
    /// Nowhere: refused with this status, under this name.
    Refused(u16, &'static str),
}

/// What is known of other nodes, and what is passed on between them.
#[derive(Default)]
pub(super) struct Elsewhere {
    passing: HashMap<u64, Passing>,
    /// INVITEs that are being passed on, by their own transactions.
    invites: HashMap<String, u64>,
    /// Where the 200 of an INVITE goes if it comes again.
    accepted: HashMap<u64, ConnId>,
    /// Of each node.
    tallies: HashMap<usize, Tally>,
}

/// A request on its way.
struct Passing {
    request: Incoming,
    node: usize,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    returned: u64,
    failed: u64,
    refused: u64,
}

impl Elsewhere {
    /// Nothing is on its way.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.passing.is_empty() && self.invites.is_empty() && self.accepted.is_empty()
    }

    /// The branch of the one INVITE that is on its way.
    #[cfg(test)]
    pub(super) fn branch_of_invite(&self) -> Tag {
        Tag(*self.invites.values().next().expect("an INVITE"))
    }
}

impl Core {
    /// Which node a user of the enterprise is at home on.
    pub(super) fn home(&self, user: &Aor) -> Home {
        self.users.home(user).or_else(|| self.cfg.homes.of(user)).unwrap_or(Home::Here)
    }

    /// Whether a user is of the enterprise and at home here, if he is anywhere.
    pub(super) fn is_ours(&self, user: &Aor) -> bool {
        self.is_local(user) && self.home(user) == Home::Here
    }

    /// Of the enterprise, and at home on another node.
    pub(super) fn is_elsewhere(&self, user: &Aor) -> bool {
        self.is_local(user) && self.home(user) != Home::Here
    }

    /// Whether there is a way to somebody who is not at home here.
    pub(super) fn is_reachable(&self, who: &Aor) -> bool {
        let domain = who.domain();
        let is_foreign = || !self.is_local(who) && self.cfg.node(domain).is_none();
        self.is_elsewhere(who) || (is_foreign() && self.cfg.route(domain).is_some())
    }

    /// Whether a connection's peer speaks for somebody who is not at home here.
    pub(super) fn speaks_for(&self, conn: ConnId, who: &Aor) -> bool {
        match self.conns.get(&conn).map(|conn| conn.peer.origin) {
            Some(Origin::Federation) => !self.is_local(who),
            Some(Origin::Node(node)) => !self.is_local(who) || self.home(who) == Home::At(node),
            Some(Origin::Client) | None => false,
        }
    }

    /// The connection to a node, if a URI leads to one: by its name, or by the user it names.
    pub(super) fn target_at_node(&self, uri: &Uri<'_>) -> Option<Target> {
        let by_user = || {
            let user = Aor::of(uri).filter(|user| self.is_local(user))?;
            match self.home(&user) {
                Home::At(node) => Some(node),
                Home::Here => None,
            }
        };
        let node = uri.host.and_then(|host| self.cfg.node(host)).or_else(by_user)?;
        self.node_target(node)
    }

    fn node_target(&self, node: usize) -> Option<Target> {
        let name = self.cfg.nodes.get(node)?.name.clone();
        Some(Target { to: name.clone(), tls: Some(name), kind: Kind::Node(node) })
    }

    /// Passes a request on that is for another node; what is for this one comes back.
    pub(super) fn unless_elsewhere(&mut self, request: Incoming, method: Method) -> Option<Incoming> {
        if self.cfg.nodes.is_empty() {
            return Some(request);
        }
        let (node, next) = match self.way(&request) {
            Way::Here => return Some(request),
            Way::Node(node) => (node, None),
            Way::Out(node, next) => (node, Some(next)),
            Way::Refused(status, name) => {
                if let Some(Origin::Node(node)) = self.conns.get(&request.conn).map(|conn| conn.peer.origin) {
                    self.tally(node).refused += 1;
                }
                if method == Method::Ack {
                    self.count(name);
                } else {
                    self.refuse(&request, status, name);
                }
                return None;
            }
        };
        match method {
            Method::Ack => self.pass_ack(&request, node, next.as_deref()),
            Method::Cancel => self.cancel_passed(&request),
            _ => self.pass_on(request, node, next.as_deref()),
        }
        None
    }

    fn way(&self, request: &Incoming) -> Way {
        let msg = request.msg();
        let (Some(uri), Some(origin)) =
            (msg.request_uri(), self.conns.get(&request.conn).map(|conn| conn.peer.origin))
        else {
            return Way::Here;
        };
        let tag = msg.to.tag.and_then(|tag| tag.parse::<Tag>().ok());
        let is_own_dialog = tag.is_some_and(|tag| {
            self.subs.contains_key(&tag)
                || self.watches.contains_key(&tag)
                || self.sessions.contains_key(&tag)
        });
        let own_name = uri.host.is_some_and(|host| self.cfg.home_named(host) == Some(Home::Here));
        // A dialog's Contact names a node; what begins one names a user, and no host of ours.
        let named = uri.host.filter(|_| msg.has_to_tag()).and_then(|host| self.cfg.node(host));
        let home =
            Aor::of(&uri).filter(|user| !is_own_dialog && self.is_local(user)).map(|user| self.home(&user));
        let node = match (named, home) {
            (Some(node), _) | (None, Some(Home::At(node))) => Some(node),
            (None, Some(Home::Here) | None) => None,
        };
        match (origin, node) {
            (Origin::Client, _) => Way::Here,
            (Origin::Federation, Some(node)) => Way::Node(node),
            (Origin::Federation, None) => Way::Here,
            (Origin::Node(from), Some(node)) if node == from => Way::Refused(482, "node_loop"),
            (Origin::Node(_), Some(_)) => Way::Refused(404, "node_not_home"),
            (Origin::Node(from), None) if msg.has_to_tag() && !is_own_dialog && !own_name => {
                self.way_out(request, from)
            }
            (Origin::Node(_), None) => Way::Here,
        }
    }

    /// The way out for a home node, in a dialog that was made by way of this one.
    fn way_out(&self, request: &Incoming, from: usize) -> Way {
        let msg = request.msg();
        let routes = relay::routes(msg);
        let is_ours = |route: &String| {
            let host = Uri::parse(inner_uri(route)).and_then(|uri| uri.host);
            host.is_some_and(|host| self.cfg.home_named(host) == Some(Home::Here))
        };
        if !routes.first().is_some_and(is_ours) {
            return Way::Here;
        }
        let speaker = Aor::of(&msg.from.uri).filter(|user| self.is_local(user));
        if speaker.is_none_or(|user| self.home(&user) != Home::At(from)) {
            return Way::Refused(403, "spoof_node");
        }
        let next = match routes.get(1) {
            Some(route) => inner_uri(route).to_owned(),
            None => msg.request_uri().map_or(String::new(), |uri| uri.text.to_owned()),
        };
        let host = Uri::parse(&next).and_then(|uri| uri.host);
        let leads_in = host.is_none_or(|host| self.cfg.home_named(host).is_some() || self.cfg.is_local(host));
        if leads_in { Way::Refused(482, "node_loop") } else { Way::Out(from, next) }
    }

    /// The connection that something goes on by.
    fn conn_on(&mut self, node: usize, out: Option<&str>) -> Option<ConnId> {
        match out {
            Some(next) => self.conn_to(next),
            None => {
                let target = self.node_target(node)?;
                self.conn_for(target)
            }
        }
    }

    fn pass_on(&mut self, request: Incoming, node: usize, out: Option<&str>) {
        let msg = request.msg();
        let unsupported: Vec<String> = msg.tokens(HeaderName::ProxyRequire).map(unfolded).collect();
        if !unsupported.is_empty() {
            self.count("extension");
            let out =
                self.response(&request, 420).with(rsip::headers::Unsupported::new(unsupported.join(", ")));
            return self.send_response(&request, out);
        }
        let target = if msg.has_to_tag() {
            Aor::of(&msg.to.uri)
        } else {
            msg.request_uri().and_then(|uri| Aor::of(&uri))
        };
        // What comes in is judged here as well as at home; what goes out has been, by who it is.
        if out.is_none() && self.speaker(&request, target.as_ref()).is_err() {
            return;
        }
        if !self.defer(&request) {
            return;
        }
        let Some(conn) = self.conn_on(node, out) else { return self.not_passed(&request, node) };
        let msg = request.msg();
        let (branch, via) = self.via(conn);
        let makes_dialog =
            !msg.has_to_tag() && matches!(msg.method(), Some(Method::Invite | Method::Subscribe));
        let route = makes_dialog.then(|| self.record_route(request.conn));
        let bytes = relay::request(msg, out.is_some() || self.is_led(&request), &via, route.as_deref());
        let is_invite = msg.method() == Some(Method::Invite);
        if self.start_request(conn, branch, Purpose::Pass(branch), bytes, is_invite, PATIENCE).is_err() {
            return self.not_passed(&request, node);
        }
        if is_invite {
            self.elsewhere.invites.insert(super::request::transaction(&request), branch);
        }
        self.tally(node).passed += 1;
        self.elsewhere.passing.insert(branch, Passing { request, node });
    }

    /// Whether the first Route names this node.
    fn is_led(&self, request: &Incoming) -> bool {
        let routes = relay::routes(request.msg());
        let host = routes.first().and_then(|route| Uri::parse(inner_uri(route))).and_then(|uri| uri.host);
        host.is_some_and(|host| self.cfg.home_named(host) == Some(Home::Here))
    }

    /// An ACK has no answer, and nobody waits for one.
    fn pass_ack(&mut self, request: &Incoming, node: usize, out: Option<&str>) {
        let msg = request.msg();
        // That of a refusal ends here, as its INVITE's transaction does: it names the user, and not the other's Contact.
        let is_refusals = out.is_none()
            && msg.request_uri().is_none_or(|uri| uri.host.and_then(|host| self.cfg.node(host)).is_none());
        let from = Aor::of(&msg.from.uri);
        let may = out.is_some()
            || from.is_some_and(|from| self.cfg.permission(from.domain()) != Permission::Refused);
        if is_refusals || !may {
            return;
        }
        let Some(conn) = self.conn_on(node, out) else { return };
        let (_, via) = self.via(conn);
        let bytes = relay::request(msg, out.is_some() || self.is_led(request), &via, None);
        self.out.push(Output::Send(conn, bytes));
    }

    fn cancel_passed(&mut self, request: &Incoming) {
        let invite = super::request::transaction_of(request, "INVITE");
        let Some(branch) = self.elsewhere.invites.get(&invite).copied() else {
            return self.refuse(request, 481, "cancel");
        };
        let out = self.response(request, 200);
        self.send_response(request, out);
        self.cancel(branch);
    }

    /// The Record-Route that keeps this node in a dialog, for who is at `conn`.
    fn record_route(&self, conn: ConnId) -> String {
        let transport = if self.is_tls(conn) { "tls" } else { "tcp" };
        format!("<sip:{}:{};transport={transport};lr>", self.cfg.name, self.cfg.port)
    }

    /// Something provisional has come back; 100 is for this hop only.
    pub(super) fn on_passed_provisional(&mut self, branch: u64, status: u16, message: &Incoming) {
        if let Some(passing) = self.elsewhere.passing.get(&branch).filter(|_| status > 100) {
            self.out.push(Output::Send(passing.request.conn, relay::response(message.msg())));
        }
    }

    /// What was passed on has its answer.
    pub(super) fn on_passed_answer(&mut self, branch: u64, answer: &Answer<'_>) {
        let Some(Passing { request, node }) = self.elsewhere.passing.remove(&branch) else { return };
        let is_invite = request.msg().method() == Some(Method::Invite);
        if is_invite {
            self.elsewhere.invites.remove(&super::request::transaction(&request));
        }
        let Some(message) = answer.message else { return self.not_passed(&request, node) };
        self.tally(node).returned += 1;
        self.undefer(&request);
        self.out.push(Output::Send(request.conn, relay::response(message.msg())));
        if is_invite && answer.status < 300 && self.elsewhere.accepted.len() < MAX_ACCEPTED {
            self.elsewhere.accepted.insert(branch, request.conn);
            self.at(self.now + TIMER_F, Timer::Accepted(branch));
        }
    }

    /// The 200 of an INVITE that was passed on has come again; `false` where it is not one.
    pub(super) fn on_passed_again(&mut self, branch: u64, message: &Incoming) -> bool {
        let Some(conn) = self.elsewhere.accepted.get(&branch).copied() else { return false };
        self.out.push(Output::Send(conn, relay::response(message.msg())));
        true
    }

    pub(super) fn on_accepted_over(&mut self, branch: u64) {
        self.elsewhere.accepted.remove(&branch);
    }

    /// The other node cannot be reached, or does not answer: so it is with its users, and with nobody else's.
    fn not_passed(&mut self, request: &Incoming, node: usize) {
        self.count("node_unreachable");
        self.tally(node).failed += 1;
        self.undefer(request);
        let warning =
            format!("399 {} \"node {} does not answer\"", self.cfg.name, self.cfg.name_of(Home::At(node)));
        let out = self.response(request, 480).with(rsip::headers::RetryAfter::new(AGAIN.to_string()));
        self.send_response(request, out.other("Warning", warning));
    }

    fn tally(&mut self, node: usize) -> &mut Tally {
        self.elsewhere.tallies.entry(node).or_default()
    }

    /// Which node a user is at home on, as a command's reply.
    pub(super) fn home_shown(&self, user: &str) -> Result<Value, String> {
        let aor = Aor::parse(user).filter(|aor| self.is_local(aor));
        let aor = aor.ok_or_else(|| format!("{user}: not of this enterprise's domains"))?;
        let home = self.home(&aor);
        // Whether one who is at home elsewhere is a user is that node's to say.
        let known = (home == Home::Here).then(|| self.users.get(&aor).is_some());
        Ok(
            json!({ "address": aor.as_str(), "node": self.cfg.name_of(home), "here": home == Home::Here, "user": known }),
        )
    }

    /// The nodes of the enterprise, who is at home on them, and how it goes with them.
    pub(super) fn nodes_shown(&self) -> Value {
        let nodes = self.cfg.nodes.iter().enumerate().map(|(node, peer)| {
            let home = Home::At(node);
            let with = self
                .conns
                .values()
                .filter(|conn| conn.peer.origin == Origin::Node(node) && conn.open)
                .count();
            let none = Tally::default();
            let tally = self.elsewhere.tallies.get(&node).unwrap_or(&none);
            json!({
                "name": peer.name,
                "to": peer.to,
                "homes": self.cfg.homes.lines(home) + self.users.named(home),
                "connections": with,
                "waiting": self.elsewhere.passing.values().filter(|passing| passing.node == node).count(),
                "passed": tally.passed,
                "answered": tally.returned,
                "unanswered": tally.failed,
                "refused": tally.refused,
            })
        });
        json!({ "name": self.cfg.name, "users": self.users.len(), "nodes": nodes.collect::<Vec<_>>() })
    }
}
