// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions of instant messages with foreign users (the design's session mode), as dialogs.
//!
//! [`crate::im::Conversation`] decides which session a text goes into; here sessions are made, kept and ended. An INVITE is answered at once:
//! by 200 where the user has a device and has not blocked who invites, by 480 otherwise (a blocked user sees an absent one). The
//! 200 is repeated until its ACK comes (RFC 3261 section 13.3.1.4). Sessions nobody uses are ended after a while.
//!
//! Only two take part. What would make them three (Microsoft's multiparty headers and bodies, REFER) is refused, and the session stays.
//! `ms-text-format`, a first message inside the INVITE, is not said to be supported, so the peer sends that text again as a MESSAGE.
//! Part of the core.

use std::collections::BTreeSet;

use rsip::headers::UntypedHeader as _;

use super::pager::{COMPOSING, Text};
use super::request::Who;
use super::transact::{Answer, Purpose};
use super::{Core, Output, Timer};
use crate::aor::Aor;
use crate::dialog::Dialog;
use crate::ids::Tag;
use crate::im::{Do, sdp};
use crate::message::Incoming;
use crate::message::compose::{ALLOW, Outgoing};
use crate::presence::policy::Access;
use crate::transport::ConnId;

/// What we take as bodies, for OPTIONS and 200.
pub(super) const ACCEPT: &str = "application/sdp, text/plain, application/pidf+xml";
/// T1, ms.
const T1: u64 = 500;
/// T2, ms.
const T2: u64 = 4_000;

/// Local and foreign user.
pub(super) type Pair = (Aor, Aor);

/// One session.
pub(super) struct Session {
    pair: Pair,
    pub(super) dialog: Dialog,
    /// What it is charged for.
    octets: usize,
    /// Our 200 that has no ACK yet; when it is repeated next, after how long then, and when no more.
    unacknowledged: Option<Repeat>,
    /// Our ACK, for a 200 that comes again.
    ack: Option<Vec<u8>>,
    /// Number of the INVITE that made it.
    invite: u32,
    used: u64,
    /// When it is looked at for idleness.
    looked_at: u64,
    /// The last text taken in it, and its answer.
    taken: Option<(u32, u16)>,
    /// The peer takes notices of typing.
    pub(super) composing: bool,
}

struct Repeat {
    bytes: Vec<u8>,
    pause: u64,
    /// When its timer stands.
    due: u64,
    until: u64,
}

impl Core {
    pub(super) fn on_invite(&mut self, request: &Incoming) {
        let Ok(who) = self.requester(request) else { return };
        let Who::Foreign(foreign) = who else {
            // Our users' devices talk to the node in pager mode; it carries no calls.
            return self.refuse(request, 488, "invite_local");
        };
        let Ok(local) = self.local_target(request) else { return };
        let msg = request.msg();
        if let Some(tag) = self.invited_before(request) {
            return self.repeat_answer(tag);
        }
        if is_multiparty(request) {
            return self.refuse(request, 488, "group_chat");
        }
        let composing = match request.content_type().as_str() {
            _ if msg.body.is_empty() => false,
            sdp::TYPE => match sdp::read(msg.body) {
                Some(peer) => peer.composing,
                None => return self.refuse(request, 488, "sdp"),
            },
            _ => {
                self.count("sdp");
                let out = self.response(request, 415).with(rsip::headers::Accept::new(sdp::TYPE));
                return self.send_response(request, out);
            }
        };
        let blocked = self.access_of(&local, &foreign) == Access::Polite;
        if blocked || !self.is_there(&local) {
            return self.refuse(request, 480, "absent");
        }
        let tag = self.ids.tag();
        let dialog = match Dialog::of_request(msg, tag, request.conn) {
            Ok(dialog) => dialog,
            Err(why) => return self.refuse(request, why.status(), "dialog"),
        };
        if !self.has_room(&foreign, &dialog) {
            return self.refuse(request, 503, "sessions_full");
        }
        let invite = msg.cseq.number;
        self.count("sessions_in");
        let pair = (local, foreign);
        self.add_session(tag, pair.clone(), dialog, invite, composing);
        self.take_invite(request, tag);
        self.pair_does(pair, |conversation| conversation.peer_invited(tag));
    }

    /// Whether there may be one more session with this foreign user.
    fn has_room(&self, foreign: &Aor, dialog: &Dialog) -> bool {
        let entry = self.cfg.entry(foreign.domain());
        self.shares.sessions.has_room(entry, dialog.octets(), self.cfg.limits.sessions)
    }

    /// The peer has said something about itself: what is remembered may be more than before.
    fn charge(&mut self, tag: Tag) {
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let charged = std::mem::replace(&mut session.octets, session.dialog.octets());
        let (charge, entry) = (session.octets, self.cfg.entry(session.pair.1.domain()));
        self.shares.sessions.give_back(entry, charged);
        self.shares.sessions.take(entry, charge);
    }

    fn add_session(&mut self, tag: Tag, pair: Pair, dialog: Dialog, invite: u32, composing: bool) {
        let used = self.now;
        let looked_at = used + self.cfg.session_idle * 1_000;
        self.invites.insert(invite_key(&dialog.call_id, dialog.remote_tag(), invite), tag);
        let session = Session {
            pair,
            octets: dialog.octets(),
            dialog,
            unacknowledged: None,
            ack: None,
            invite,
            used,
            looked_at,
            taken: None,
            composing,
        };
        self.shares.sessions.take(self.cfg.entry(session.pair.1.domain()), session.octets);
        self.sessions.insert(tag, session);
        self.at(looked_at, Timer::Idle(tag));
    }

    /// Answers an INVITE by 200, and again until it is acknowledged.
    fn take_invite(&mut self, request: &Incoming, tag: Tag) {
        let Some(session) = self.sessions.get(&tag) else { return };
        let user = session.pair.0.clone();
        let bytes = Outgoing::response(request.msg(), 200, Some(tag))
            .record_routes(request.msg())
            .with(rsip::headers::Contact::new(self.contact(user.user(), request.conn)))
            .with(rsip::headers::Allow::new(ALLOW))
            .with(rsip::headers::Accept::new(ACCEPT))
            .body(sdp::TYPE, sdp::write(&self.cfg.name, Some(&user.uri())))
            .bytes();
        self.out.push(Output::Send(request.conn, bytes.clone()));
        self.acknowledged(tag);
        let (due, until) = (self.now + T1, self.now + 64 * T1);
        if let Some(session) = self.sessions.get_mut(&tag) {
            session.unacknowledged = Some(Repeat { bytes, pause: T1, due, until });
        }
        self.at(due, Timer::Ack(tag));
    }

    /// The session that this very INVITE has made already.
    fn invited_before(&self, request: &Incoming) -> Option<Tag> {
        let msg = request.msg();
        self.invites.get(&invite_key(msg.call_id, msg.from.tag.unwrap_or_default(), msg.cseq.number)).copied()
    }

    fn repeat_answer(&mut self, tag: Tag) {
        let session = self.sessions.get(&tag);
        let repeat = session.and_then(|s| Some((s.dialog.conn?, s.unacknowledged.as_ref()?.bytes.clone())));
        if let Some((conn, bytes)) = repeat {
            self.out.push(Output::Send(conn, bytes));
        }
    }

    pub(super) fn on_no_ack(&mut self, tag: Tag) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let Some(repeat) = &mut session.unacknowledged else { return };
        if now >= repeat.until {
            self.count("no_ack");
            return self.end_session(tag);
        }
        repeat.pause = (repeat.pause * 2).min(T2);
        repeat.due = now + repeat.pause;
        let due = repeat.due;
        self.repeat_answer(tag);
        self.at(due, Timer::Ack(tag));
    }

    /// Our 200 has arrived, or there is another: it is not said again.
    fn acknowledged(&mut self, tag: Tag) {
        let repeat = self.sessions.get_mut(&tag).and_then(|session| session.unacknowledged.take());
        if let Some(repeat) = repeat {
            self.timers.remove(&(repeat.due, Timer::Ack(tag)));
        }
    }

    pub(super) fn on_ack(&mut self, request: &Incoming) {
        let msg = request.msg();
        let tag = msg.to.tag.and_then(|tag| tag.parse().ok()).unwrap_or(Tag(0));
        let Some(session) = self.sessions.get(&tag) else { return };
        let speaks = self.speaks_for(request.conn, &session.pair.1);
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let is_peer = Aor::of(&msg.from.uri).as_ref() == Some(&session.pair.1) && session.dialog.knows(msg);
        if speaks && is_peer {
            session.dialog.conn = Some(request.conn);
            self.acknowledged(tag);
        }
    }

    /// INVITEs are answered when they come, so there is never one left to cancel.
    pub(super) fn on_cancel(&mut self, request: &Incoming) {
        self.refuse(request, 481, "cancel");
    }

    pub(super) fn on_reinvite(&mut self, request: &Incoming, tag: Tag) {
        if !self.in_session(request, tag) {
            return;
        }
        let body = request.msg().body;
        if is_multiparty(request) {
            return self.refuse(request, 488, "group_chat");
        }
        let composing = match sdp::read(body) {
            _ if body.is_empty() => None,
            Some(peer) if request.content_type() == sdp::TYPE => Some(peer.composing),
            Some(_) | None => return self.refuse(request, 488, "sdp"),
        };
        if let Some(session) = self.sessions.get_mut(&tag) {
            session.composing = composing.unwrap_or(session.composing);
        }
        self.charge(tag);
        self.take_invite(request, tag);
    }

    /// Whether a request is the peer's in this session; if not, it has been answered.
    fn in_session(&mut self, request: &Incoming, tag: Tag) -> bool {
        let msg = request.msg();
        let Some((local, foreign)) = self.sessions.get(&tag).map(|session| session.pair.clone()) else {
            return false;
        };
        let Ok(who) = self.speaker(request, Some(&local)) else { return false };
        if *who.aor() != foreign {
            self.refuse(request, 403, "third_party");
            return false;
        }
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&tag) else { return false };
        let refreshes = msg.cseq.method == "INVITE";
        match session.dialog.check(msg, request.conn, refreshes) {
            Ok(()) => {
                session.used = now;
                // Who speaks in it has our 200.
                self.acknowledged(tag);
                true
            }
            Err(why) => {
                self.refuse(request, why.status(), "dialog");
                false
            }
        }
    }

    pub(super) fn on_bye(&mut self, request: &Incoming, tag: Tag) {
        if self.in_session(request, tag) {
            let out = self.response(request, 200);
            self.send_response(request, out);
            self.drop_session(tag);
        }
    }

    /// Typing, as Microsoft's clients tell it; anything else in an INFO is not taken.
    pub(super) fn on_info(&mut self, request: &Incoming, tag: Tag) {
        if !self.in_session(request, tag) {
            return;
        }
        let typing = (request.content_type() == "application/xml")
            .then(|| crate::xml::parse(request.msg().body).ok())
            .flatten()
            .filter(|root| root.name == "KeyboardActivity")
            .and_then(|root| Some(root.children.first()?.attribute("status")? == "type"));
        let Some(typing) = typing else {
            self.count("info");
            let out = self.response(request, 415).with(rsip::headers::Accept::new("application/xml"));
            return self.send_response(request, out);
        };
        let out = self.response(request, 200);
        self.send_response(request, out);
        if let Some((local, foreign)) = self.sessions.get(&tag).map(|session| session.pair.clone()) {
            let state = if typing { "active" } else { "idle" };
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\
                 <state>{state}</state><contenttype>text/plain</contenttype></isComposing>\r\n"
            );
            self.deliver(&local, &foreign, COMPOSING, body, None);
        }
    }

    pub(super) fn on_session_text(&mut self, request: Incoming, tag: Tag) {
        let again = self.sessions.get(&tag).and_then(|session| {
            let repeat = session.dialog.is_repeat(request.msg());
            session.taken.filter(|(number, _)| repeat && *number == request.msg().cseq.number)
        });
        if !self.in_session(&request, tag) {
            return;
        }
        if let Some((_, status)) = again {
            // It has been delivered, or has failed: not a second time.
            let out = self.response(&request, status);
            return self.send_response(&request, out);
        }
        let Some((local, foreign)) = self.sessions.get(&tag).map(|session| session.pair.clone()) else {
            return;
        };
        self.take_text(request, &local, &foreign, Some(tag));
    }

    /// A text of a session has been answered.
    pub(super) fn text_taken(&mut self, tag: Tag, number: u32, status: u16) {
        if let Some(session) = self.sessions.get_mut(&tag) {
            session.taken = Some((number, status));
        }
    }

    /// Does what the conversation of a pair says.
    pub(super) fn pair_does(
        &mut self,
        pair: Pair,
        event: impl FnOnce(&mut crate::im::Conversation<Text>) -> Vec<Do<Text>>,
    ) {
        let todo = event(self.pairs.entry(pair.clone()).or_default());
        for one in todo {
            match one {
                Do::Invite => self.invite(&pair),
                Do::Send(tag) => self.send_text(&pair, tag),
                Do::End(tag) => self.end_session(tag),
                Do::Done(text, status) => self.answer_text(&text.waiting, status),
            }
        }
        if self.pairs.get(&pair).is_some_and(crate::im::Conversation::is_over) {
            self.pairs.remove(&pair);
        }
    }

    fn invite(&mut self, pair: &Pair) {
        let (local, foreign) = pair;
        let tag = self.ids.tag();
        let call_id = format!("{}@{}", Tag(self.ids.number()), self.cfg.name);
        let mut dialog = Dialog::outgoing(tag, call_id, &local.uri(), &foreign.uri());
        if let Some(conversation) = self.pairs.get_mut(pair) {
            conversation.inviting(tag);
        }
        let conn = self.conn_of(&dialog, false).filter(|_| self.has_room(foreign, &dialog));
        let Some(conn) = conn else {
            return self.pair_does(pair.clone(), |conversation| conversation.refused(tag, 503));
        };
        let (branch, via) = self.via(conn);
        let out = dialog
            .request("INVITE", via)
            .with(rsip::headers::Contact::new(self.contact(local.user(), conn)))
            .with(rsip::headers::Allow::new(ALLOW))
            .body(sdp::TYPE, sdp::write(&self.cfg.name, None));
        let invite = dialog.local_cseq();
        self.count("sessions_out");
        self.add_session(tag, pair.clone(), dialog, invite, false);
        if self.send_request(conn, branch, Purpose::Invite(tag), out).is_err() {
            self.on_invite_answer(tag, &Answer { status: 503, retry_after: None, message: None });
        }
    }

    pub(super) fn on_invite_answer(&mut self, tag: Tag, answer: &Answer<'_>) {
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let pair = session.pair.clone();
        let status = match (answer.status, answer.message) {
            (200..=299, Some(message)) => {
                let peer = sdp::read(message.msg().body);
                match session.dialog.establish(message.msg(), message.conn) {
                    Ok(()) => {
                        session.composing = peer.is_some_and(|peer| peer.composing);
                        session.used = self.now;
                        self.charge(tag);
                        self.acknowledge(tag, message.conn);
                        if peer.is_none() {
                            // It has taken the INVITE for something else.
                            self.bye(tag);
                            488
                        } else {
                            return self.session_made(tag, pair);
                        }
                    }
                    Err(_) => 500,
                }
            }
            (200..=299, None) => 500,
            (status, _) => status,
        };
        self.count("invite_refused");
        self.forget_session(tag);
        // 3xx and 401 are nothing a user's device should act on.
        let status = if (400..700).contains(&status) && !matches!(status, 401 | 407) { status } else { 480 };
        self.pair_does(pair, |conversation| conversation.refused(tag, status));
    }

    fn session_made(&mut self, tag: Tag, pair: Pair) {
        let other = self.pairs.get(&pair).and_then(crate::im::Conversation::active);
        let call_id = |tag: &Tag| self.sessions.get(tag).map(|session| session.dialog.call_id.clone());
        let ours_stays = other.is_none_or(|other| call_id(&tag) < call_id(&other));
        self.pair_does(pair, |conversation| conversation.invited(tag, ours_stays));
    }

    fn acknowledge(&mut self, tag: Tag, conn: ConnId) {
        let (_, via) = self.via(conn);
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let bytes = session.dialog.request("ACK", via).bytes();
        session.ack = Some(bytes.clone());
        self.out.push(Output::Send(conn, bytes));
    }

    /// A 200 that has come again, its ACK having been lost behind the first hop.
    pub(super) fn on_late_response(&mut self, incoming: &Incoming, status: u16) {
        let msg = incoming.msg();
        let tag = msg.from.tag.and_then(|tag| tag.parse().ok()).unwrap_or(Tag(0));
        let session = self.sessions.get(&tag).filter(|_| msg.cseq.method == "INVITE" && status / 100 == 2);
        match session.filter(|s| s.invite == msg.cseq.number).and_then(|session| session.ack.clone()) {
            Some(ack) => self.out.push(Output::Send(incoming.conn, ack)),
            None => self.count("stray_response"),
        }
    }

    fn send_text(&mut self, pair: &Pair, tag: Tag) {
        let text = self.pairs.get(pair).and_then(|c| c.sending());
        let Some((kind, body)) = text.map(|text| (text.kind, text.body.clone())) else { return };
        self.texts.insert(tag, pair.clone());
        if self.send_in(tag, kind, body, Purpose::Text(tag)).is_err() {
            self.texts.remove(&tag);
            self.pair_does(pair.clone(), |conversation| conversation.answered(tag, 503));
        }
    }

    /// Sends a MESSAGE in a session.
    pub(super) fn send_in(&mut self, tag: Tag, kind: &str, body: String, purpose: Purpose) -> Result<(), ()> {
        let dialog = self.sessions.get(&tag).ok_or(())?.dialog.clone();
        let conn = self.conn_of(&dialog, false).ok_or(())?;
        let (branch, via) = self.via(conn);
        let now = self.now;
        let session = self.sessions.get_mut(&tag).ok_or(())?;
        session.used = now;
        let out = session.dialog.request("MESSAGE", via).body(kind, body);
        self.send_request(conn, branch, purpose, out)
    }

    pub(super) fn on_text_answer(&mut self, tag: Tag, answer: &Answer<'_>) {
        let Some(pair) = self.texts.remove(&tag) else { return };
        if answer.status == 481 {
            // The peer has no such session: there is nothing to end.
            self.forget_session(tag);
        }
        self.pair_does(pair, |conversation| conversation.answered(tag, answer.status));
    }

    fn forget_session(&mut self, tag: Tag) -> Option<Session> {
        self.acknowledged(tag);
        let session = self.sessions.remove(&tag)?;
        self.shares.sessions.give_back(self.cfg.entry(session.pair.1.domain()), session.octets);
        self.timers.remove(&(session.looked_at, Timer::Idle(tag)));
        // The key of one of ours that has been answered is not the one it was put in by.
        for remote_tag in [session.dialog.remote_tag(), ""] {
            self.invites.remove(&invite_key(&session.dialog.call_id, remote_tag, session.invite));
        }
        Some(session)
    }

    pub(super) fn on_idle(&mut self, tag: Tag) {
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let end = session.used + self.cfg.session_idle * 1_000;
        let quiet = self.pairs.get(&session.pair).is_none_or(crate::im::Conversation::is_quiet);
        if end <= self.now && quiet {
            self.count("sessions_idle");
            return self.end_session(tag);
        }
        session.looked_at = end.max(self.now + 1_000);
        let next = session.looked_at;
        self.at(next, Timer::Idle(tag));
    }

    fn bye(&mut self, tag: Tag) {
        let Some(dialog) = self.sessions.get(&tag).map(|session| session.dialog.clone()) else { return };
        let Some(conn) = self.conn_of(&dialog, false).filter(|_| dialog.is_established()) else { return };
        let (branch, via) = self.via(conn);
        let Some(session) = self.sessions.get_mut(&tag) else { return };
        let out = session.dialog.request("BYE", via);
        // Where not even a BYE can be sent, the peer finds out by its next text.
        let _ = self.send_request(conn, branch, Purpose::Nothing, out);
    }

    fn end_session(&mut self, tag: Tag) {
        self.bye(tag);
        self.drop_session(tag);
    }

    /// Ends those of users who are none any more. Where a text is on its way its answer comes first, and then the session idles out.
    pub(super) fn end_sessions(&mut self, users: &BTreeSet<Aor>) {
        let is_quiet = |pair: &Pair| self.pairs.get(pair).is_none_or(crate::im::Conversation::is_quiet);
        let theirs = self.sessions.iter().filter(|(_, session)| users.contains(&session.pair.0));
        let tags: BTreeSet<Tag> =
            theirs.filter(|(_, session)| is_quiet(&session.pair)).map(|(tag, _)| *tag).collect();
        for tag in tags {
            self.end_session(tag);
        }
    }

    fn drop_session(&mut self, tag: Tag) {
        if let Some(session) = self.forget_session(tag) {
            self.pair_does(session.pair, |conversation| conversation.ended(tag));
        }
    }
}

/// What an INVITE that comes twice has in common with itself.
fn invite_key(call_id: &str, tag: &str, number: u32) -> String {
    format!("{number} {tag} {call_id}")
}

/// The signs of a conversation of more than two (Microsoft's).
fn is_multiparty(request: &Incoming) -> bool {
    let triggered = request.named("TriggeredInvite").any(|value| value.eq_ignore_ascii_case("TRUE"));
    let ends = request.named("EndPoints").flat_map(|value| crate::message::parts(value, b',')).count();
    triggered || ends > 2 || request.content_type() == "application/ms-conf-invite+xml"
}
