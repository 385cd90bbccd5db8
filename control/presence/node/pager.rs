// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texts between the node and its users' devices (the design's pager mode), and the conversion between the two modes.
//!
//! A text from a device goes to another of our users as it is, or to a foreign user or one at home on another node by the pair's conversation
//! ([`super::session`]). A text for one of our users goes to each of his devices as a MESSAGE of its own; the first that takes it has
//! delivered it, and only then is whoever sent it told so. A client that listens ([`super::client`]) is a device in all this. Nothing is kept
//! for later: a user without a device gets nothing, and the sender learns it (480).
//!
//! Plain text in UTF-8, and notices of typing, which are passed on where they are understood and answered for in any case.
//! Part of the core.

use rsip::headers::UntypedHeader as _;

use super::Core;
use super::request::Who;
use super::transact::{Answer, Purpose};
use crate::aor::Aor;
use crate::ids::Tag;
use crate::message::compose::Outgoing;
use crate::message::{Incoming, param};
use crate::presence::policy::Access;
use fedgate_sip::headers::HeaderName;

/// Texts.
pub(super) const PLAIN: &str = "text/plain;charset=UTF-8";
/// Notices of typing (RFC 3994).
pub(super) const COMPOSING: &str = "application/im-iscomposing+xml";

/// Who waits to hear what became of a text.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The device or the peer whose request it came in.
    Request(Incoming),
    /// A client of this user, by its ticket.
    Client(u64, Aor),
}

/// A text on its way to a foreign user.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) waiting: Waiting,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

/// A text on its way to a user's devices.
pub(super) struct Delivery {
    /// Who waits for the outcome, and in which session.
    origin: Option<(Waiting, Option<Tag>)>,
    open: usize,
    best: u16,
}

impl Core {
    /// A MESSAGE outside of any session.
    pub(super) fn on_pager(&mut self, request: Incoming) {
        let Ok(who) = self.requester(&request) else { return };
        let target = request.msg().request_uri().and_then(|uri| Aor::of(&uri));
        let Some(target) = target else { return self.refuse(&request, 404, "no_user") };
        match who {
            Who::Foreign(_) if !self.cfg.federation.pager => self.refuse(&request, 405, "pager_foreign"),
            Who::Local(from) if !self.is_ours(&target) => self.say(request, from, target),
            Who::Foreign(from) | Who::Local(from) => {
                let Ok(local) = self.local_target(&request) else { return };
                self.take_text(request, &local, &from, None);
            }
        }
    }

    /// A device says something to a foreign user.
    fn say(&mut self, request: Incoming, local: Aor, foreign: Aor) {
        if !self.is_reachable(&foreign) {
            return self.refuse(&request, 404, "no_user");
        }
        let (kind, body) = match content(&request) {
            Ok(content) => content,
            Err(status) => return self.refuse_text(&request, status),
        };
        let pair = (local, foreign);
        if kind == COMPOSING {
            let out = self.response(&request, 200);
            self.send_response(&request, out);
            let active = self.pairs.get(&pair).and_then(crate::im::Conversation::active);
            if let Some(tag) = active.filter(|tag| self.sessions.get(tag).is_some_and(|s| s.composing)) {
                // A notice that is lost is no loss.
                let _ = self.send_in(tag, kind, body, Purpose::Nothing);
            }
            return;
        }
        if !self.defer(&request) {
            return;
        }
        self.count("texts_out");
        self.carry(pair, Text { waiting: Waiting::Request(request), kind, body });
    }

    /// Takes a text into the conversation of two.
    pub(super) fn carry(&mut self, pair: super::session::Pair, text: Text) {
        self.pair_does(pair, |conversation| {
            conversation.say(text).unwrap_or_else(|text| vec![crate::im::Do::Done(text, 503)])
        });
    }

    /// A text for one of our users.
    pub(super) fn take_text(&mut self, request: Incoming, local: &Aor, from: &Aor, session: Option<Tag>) {
        let (kind, body) = match content(&request) {
            Ok(content) => content,
            Err(status) => return self.refuse_text(&request, status),
        };
        if kind == COMPOSING {
            let out = self.response(&request, 200);
            self.send_response(&request, out);
            return self.deliver(local, from, kind, body, None);
        }
        if !self.defer(&request) {
            return;
        }
        self.count("texts_in");
        self.deliver(local, from, kind, body, Some((Waiting::Request(request), session)));
    }

    fn refuse_text(&mut self, request: &Incoming, status: u16) {
        self.count("text_body");
        let mut out = self.response(request, status);
        if status == 415 {
            out = out.with(rsip::headers::Accept::new(format!("text/plain, {COMPOSING}")));
        }
        self.send_response(request, out);
    }

    /// Sends to each device of a user, and tells his clients. For a sender whom he has blocked there is neither: that is the one place where a
    /// block is looked at, so that all that goes before is the same as for a user who is not there.
    pub(super) fn deliver(
        &mut self,
        local: &Aor,
        from: &Aor,
        kind: &str,
        body: String,
        origin: Option<(Waiting, Option<Tag>)>,
    ) {
        let number = self.ids.number();
        let is_blocked = self.access_of(local, from) == Access::Polite;
        let devices = self.bindings.get(local).filter(|_| !is_blocked).cloned().unwrap_or_default();
        let now = self.now;
        // Until all have been tried the delivery counts as open, so that it cannot end before.
        self.deliveries.insert(number, Delivery { origin, open: 1, best: 480 });
        for device in devices.into_iter().filter(|device| device.expires > now) {
            let Some(conn) = device.conn.or_else(|| self.conn_to_device(&device.contact)) else { continue };
            let (branch, via) = self.via(conn);
            let call_id = format!("{}@{}", Tag(self.ids.number()), self.cfg.name);
            let from_tag = self.ids.tag();
            let out = Outgoing::request("MESSAGE", &device.contact)
                .with(rsip::headers::Via::new(via))
                .with(rsip::headers::MaxForwards::new("70"))
                .with(rsip::headers::From::new(format!("<{}>;tag={from_tag}", from.uri())))
                .with(rsip::headers::To::new(format!("<{}>", local.uri())))
                .with(rsip::headers::CallId::new(call_id))
                .with(rsip::headers::CSeq::new("1 MESSAGE"))
                .body(kind, body.clone());
            if self.send_request(conn, branch, Purpose::Leg(number), out).is_ok()
                && let Some(delivery) = self.deliveries.get_mut(&number)
            {
                delivery.open += 1;
            }
        }
        if is_blocked {
            // Nobody is there.
        } else if kind == COMPOSING {
            self.tell_typing(local, from, &body);
        } else if self.tell_text(number, local, from, &body)
            && let Some(delivery) = self.deliveries.get_mut(&number)
        {
            delivery.open += 1;
        }
        self.leg_ended(number, 480);
    }

    pub(super) fn on_leg_answer(&mut self, number: u64, answer: &Answer<'_>) {
        self.leg_ended(number, answer.status);
    }

    pub(super) fn leg_ended(&mut self, number: u64, status: u16) {
        let Some(delivery) = self.deliveries.get_mut(&number) else { return };
        delivery.open -= 1;
        // A device that does not take the text says more than one that is not there.
        if matches!(status, 400 | 413 | 415 | 486 | 488 | 600..=699) {
            delivery.best = status;
        }
        let taken = (200..300).contains(&status);
        let outcome = if taken { Some(200) } else { (delivery.open == 0).then_some(delivery.best) };
        let ended = delivery.open == 0;
        let origin = outcome.and_then(|_| delivery.origin.take());
        if ended {
            self.deliveries.remove(&number);
        }
        if let (Some(status), Some((waiting, session))) = (outcome, origin) {
            if let (Some(tag), Waiting::Request(request)) = (session, &waiting) {
                self.text_taken(tag, request.msg().cseq.number, status);
            }
            self.count(if status == 200 { "texts_delivered" } else { "texts_failed" });
            self.answer_text(&waiting, status);
        }
    }

    /// Whoever waits for it hears what became of a text.
    pub(super) fn answer_text(&mut self, waiting: &Waiting, status: u16) {
        match waiting {
            Waiting::Request(request) => self.answer_deferred(request, status),
            Waiting::Client(ticket, user) => self.reply_text(*ticket, user, status),
        }
    }
}

/// What a MESSAGE says, if that is something we carry.
fn content(request: &Incoming) -> Result<(&'static str, String), u16> {
    let body = request.msg().body;
    let kind = match request.content_type().as_str() {
        "text/plain" => PLAIN,
        "" if body.is_empty() => PLAIN,
        COMPOSING => COMPOSING,
        _ => return Err(415),
    };
    let params = request.value(HeaderName::ContentType).unwrap_or_default();
    let charset = param(params, "charset").unwrap_or("utf-8").to_ascii_lowercase();
    if !matches!(charset.as_str(), "utf-8" | "us-ascii")
        || request.msg().present.contains(HeaderName::ContentEncoding)
    {
        return Err(415);
    }
    String::from_utf8(body.to_vec()).map(|body| (kind, body)).map_err(|_| 415)
}
