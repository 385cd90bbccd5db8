// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our users' foreign contacts: one subscription of ours for each local watcher and foreign contact. A contact who is at home on another of
//! the enterprise's nodes is watched there in the same way.
//!
//! There is one as long as somebody wants it: the contact stands in the user's list, or one of his devices has subscribed to
//! it here. Several of his devices share one; two users watching the same contact have two, as the design demands, for the
//! foreign user decides about each. When to refresh, to begin anew or to wait is [`crate::presence::watch`]'s.
//!
//! They are not stored: after a restart each wanted one begins anew, spread over time, and the foreign side's NOTIFYs to the old
//! ones are answered 481, which ends them there. While nothing is known a contact is pending, and offline when the last
//! answer was a refusal.
//!
//! Part of the core.

use fedgate_sip::headers::HeaderName;
use rsip::headers::UntypedHeader as _;

use super::transact::{Answer, Purpose};
use super::{Core, Timer};
use crate::aor::Aor;
use crate::config::Permission;
use crate::dialog::Dialog;
use crate::ids::Tag;
use crate::message::{Incoming, number, param};
use crate::presence::pidf::{self, PidfError};
use crate::presence::state::Presence;
use crate::presence::watch::{Next, Pace};
use crate::store::Package;
use crate::xml::XmlError;

/// Between the first SUBSCRIBEs of a restarted node, ms.
const SPREAD: u64 = 10;
/// The first NOTIFY may come before the 200, and its answer may say how long (RFC 6665 section 4.1.2.4).
const METHOD: &str = "SUBSCRIBE";

/// One subscription of ours.
pub(super) struct Watch {
    local: Aor,
    foreign: Aor,
    dialog: Dialog,
    pace: Pace,
    next: Option<Next>,
    /// A SUBSCRIBE waits for its answer.
    asking: bool,
    /// A NOTIFY has come in this dialog.
    notified: bool,
    /// What the peer has granted, s.
    granted: Option<u32>,
    /// Nobody wants it any more; it ends with the next answer.
    unwanted: bool,
    /// What is known of the contact; `None` before its first word.
    seen: Option<Presence>,
}

impl Core {
    pub(super) fn restore_watches(&mut self) {
        let in_lists =
            self.contacts.iter().flat_map(|(owner, contacts)| contacts.keys().map(move |c| (owner, c)));
        let watching = self.subs.values().filter_map(|sub| sub.watches());
        let mut pairs: Vec<(Aor, Aor)> = in_lists
            .chain(watching)
            // Who is no user any more watches nobody.
            .filter(|(local, foreign)| self.users.get(local).is_some() && !self.is_ours(foreign))
            .map(|(local, foreign)| (local.clone(), foreign.clone()))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        for (i, (local, foreign)) in pairs.into_iter().enumerate() {
            let tag = self.new_watch(&local, &foreign, Pace::default(), None);
            self.watch_next(tag, Next::Anew(self.now + i as u64 * SPREAD));
        }
    }

    /// Somebody wants to know about a foreign contact.
    pub(super) fn want_watch(&mut self, local: &Aor, foreign: &Aor) {
        match self.watch_of.get(&(local.clone(), foreign.clone())).copied() {
            Some(tag) => {
                if let Some(watch) = self.watches.get_mut(&tag) {
                    watch.unwanted = false;
                }
            }
            None => {
                let tag = self.new_watch(local, foreign, Pace::default(), None);
                self.watch_next(tag, Next::Anew(self.now));
            }
        }
    }

    /// Somebody does not any more; if nobody else does, it ends.
    pub(super) fn unwant_watch(&mut self, local: &Aor, foreign: &Aor) {
        let in_list = self.contacts.get(local).is_some_and(|contacts| contacts.contains_key(foreign));
        if in_list || self.watching_as(foreign, local).next().is_some() {
            return;
        }
        if let Some(tag) = self.watch_of.get(&(local.clone(), foreign.clone())).copied() {
            self.end_watch(tag);
        }
    }

    /// Ends one, if it is not ending already.
    pub(super) fn end_watch(&mut self, tag: Tag) {
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        if std::mem::replace(&mut watch.unwanted, true) {
            return;
        }
        if watch.asking {
            return;
        }
        if watch.dialog.is_established() {
            self.send_subscribe(tag, 0);
        } else {
            self.drop_watch(tag);
        }
    }

    /// What a user knows of a contact.
    pub(super) fn seen(&self, local: &Aor, foreign: &Aor) -> Option<Presence> {
        let tag = self.watch_of.get(&(local.clone(), foreign.clone()))?;
        self.watches.get(tag)?.seen.clone()
    }

    fn new_watch(&mut self, local: &Aor, foreign: &Aor, pace: Pace, seen: Option<Presence>) -> Tag {
        let tag = self.ids.tag();
        let call_id = format!("{}@{}", Tag(self.ids.number()), self.cfg.name);
        let dialog = Dialog::outgoing(tag, call_id, &local.uri(), &foreign.uri());
        let watch = Watch {
            local: local.clone(),
            foreign: foreign.clone(),
            dialog,
            pace,
            next: None,
            asking: false,
            notified: false,
            granted: None,
            unwanted: false,
            seen,
        };
        self.watches.insert(tag, watch);
        self.watch_of.insert((local.clone(), foreign.clone()), tag);
        tag
    }

    fn drop_watch(&mut self, tag: Tag) -> Option<Watch> {
        let watch = self.watches.remove(&tag)?;
        if let Some(next) = watch.next {
            self.timers.remove(&(next.at(), Timer::Watch(tag)));
        }
        self.watch_of.remove(&(watch.local.clone(), watch.foreign.clone()));
        Some(watch)
    }

    fn watch_next(&mut self, tag: Tag, next: Next) {
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        if let Some(old) = watch.next.replace(next) {
            self.timers.remove(&(old.at(), Timer::Watch(tag)));
        }
        self.at(next.at(), Timer::Watch(tag));
    }

    pub(super) fn on_watch_due(&mut self, tag: Tag) {
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        let Some(next) = watch.next.take() else { return };
        if watch.unwanted {
            // It ends by the answer that is awaited.
            return;
        }
        match next {
            Next::Refresh(_) if watch.dialog.is_established() => {
                let expires = watch.pace.expires();
                self.send_subscribe(tag, expires);
            }
            Next::Refresh(_) | Next::Anew(_) => self.subscribe_anew(tag),
        }
    }

    /// A new dialog in the place of the old.
    fn subscribe_anew(&mut self, tag: Tag) {
        let Some(old) = self.drop_watch(tag) else { return };
        let expires = old.pace.expires();
        let tag = self.new_watch(&old.local, &old.foreign, old.pace, old.seen);
        self.send_subscribe(tag, expires);
    }

    fn send_subscribe(&mut self, tag: Tag, expires: u32) {
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        watch.asking = true;
        let dialog = watch.dialog.clone();
        let user = watch.local.user().to_owned();
        let Some(conn) = self.conn_of(&dialog, false) else {
            return self.on_subscribe_answer(tag, &Answer { status: 404, retry_after: None, message: None });
        };
        let (branch, via) = self.via(conn);
        let contact = self.contact(&user, conn);
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        let out = watch
            .dialog
            .request(METHOD, via)
            .with(rsip::headers::Contact::new(contact))
            .with(rsip::headers::Event::new(Package::Presence.name()))
            .with(rsip::headers::Accept::new(pidf::TYPE))
            .with(rsip::headers::Expires::new(expires.to_string()));
        self.count("subscribes");
        if self.send_request(conn, branch, Purpose::Subscribe(tag), out).is_err() {
            self.on_subscribe_answer(tag, &Answer { status: 503, retry_after: None, message: None });
        }
    }

    pub(super) fn on_subscribe_answer(&mut self, tag: Tag, answer: &Answer<'_>) {
        let now = self.now;
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        watch.asking = false;
        if watch.unwanted {
            let lives = matches!(answer.status, 200..=299) && !watch.dialog.is_established();
            if let Some(message) = answer.message.filter(|_| lives)
                && watch.dialog.establish(message.msg(), message.conn).is_ok()
            {
                // It was unwanted before it was made: end it there too.
                return self.send_subscribe(tag, 0);
            }
            self.drop_watch(tag);
            return;
        }
        match (answer.status, answer.message) {
            (200..=299, Some(message)) => {
                if !watch.dialog.is_established()
                    && watch.dialog.establish(message.msg(), message.conn).is_err()
                {
                    let next = watch.pace.refused(500, None, None, now);
                    self.count("dialog");
                    return self.watch_next(tag, next);
                }
                let granted = message.number(HeaderName::Expires).ok().flatten();
                watch.granted = granted;
                let next = match granted {
                    Some(0) => watch.pace.refused(500, None, None, now),
                    granted if watch.notified => {
                        watch.pace.granted(granted.unwrap_or(watch.pace.expires()), now)
                    }
                    // A NOTIFY has to follow; who sends none has no subscription.
                    _ => watch.pace.silent(now),
                };
                self.watch_next(tag, next);
            }
            (status, message) => {
                let least = message.and_then(|m| m.number(HeaderName::MinExpires).ok().flatten());
                let next = watch.pace.refused(status, answer.retry_after, least, now);
                let gone = next.at() > now;
                let (local, foreign) = (watch.local.clone(), watch.foreign.clone());
                // Whom nothing can be learnt of is shown offline.
                if gone && watch.seen.replace(Presence::OFFLINE) != Some(Presence::OFFLINE) {
                    self.on_contact_changed(&local, &foreign);
                }
                self.count("subscribe_refused");
                self.watch_next(tag, next);
            }
        }
    }

    pub(super) fn on_notify(&mut self, request: &Incoming, tag: Tag) {
        let msg = request.msg();
        let Some(watch) = self.watches.get(&tag) else { return };
        let is_peer = self.speaks_for(request.conn, &watch.foreign);
        let known = is_peer && msg.call_id == &*watch.dialog.call_id && watch.asked();
        let (local, foreign) = (watch.local.clone(), watch.foreign.clone());
        if !known || Aor::of(&msg.from.uri).as_ref() != Some(&foreign) {
            return self.refuse(request, 481, "no_dialog");
        }
        if let Permission::Below(entry) = self.cfg.permission(foreign.domain())
            && self.guard(request, foreign, entry, Some(&local)).is_err()
        {
            return;
        }
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        // The first NOTIFY may come before the answer and makes the dialog as well; a second fork's is not taken.
        let taken = if watch.dialog.is_established() {
            watch.dialog.check(msg, request.conn, true)
        } else {
            let made = watch.dialog.establish(msg, request.conn);
            made.and_then(|()| watch.dialog.check(msg, request.conn, false))
        };
        if let Err(why) = taken {
            return self.refuse(request, why.status(), "dialog");
        }
        let event = request.value(HeaderName::Event).unwrap_or_default();
        if event.split(';').next().map(str::trim) != Some(Package::Presence.name()) {
            return self.refuse(request, 489, "bad_event");
        }
        let Some(state) = request.value(HeaderName::SubscriptionState) else {
            return self.refuse(request, 400, "notify_bad");
        };
        let (state, params) = state.split_once(';').unwrap_or((state, ""));
        let state = state.trim().to_ascii_lowercase();
        let body = match self.body_of(request, tag) {
            Ok(body) => body,
            Err(status) => {
                self.count("notify_body");
                let out = self.response(request, status);
                let out = if status == 415 { out.with(rsip::headers::Accept::new(pidf::TYPE)) } else { out };
                return self.send_response(request, out);
            }
        };
        let out = self.response(request, 200);
        self.send_response(request, out);
        self.heard(tag, &state, params, body);
    }

    /// What a NOTIFY says of the contact; `None` for nothing new.
    fn body_of(&mut self, request: &Incoming, tag: Tag) -> Result<Option<Presence>, u16> {
        let body = request.msg().body;
        let Some(watch) = self.watches.get(&tag) else { return Err(481) };
        if body.is_empty() {
            return Ok(None);
        }
        if request.content_type() != pidf::TYPE {
            return Err(415);
        }
        match pidf::read(body, &watch.foreign) {
            Ok(presence) => {
                if presence.is_none() {
                    self.count("pidf_without_basic");
                }
                Ok(presence)
            }
            Err(PidfError::Xml(XmlError::Long)) => Err(413),
            Err(_) => Err(400),
        }
    }

    fn heard(&mut self, tag: Tag, state: &str, params: &str, body: Option<Presence>) {
        let now = self.now;
        let Some(watch) = self.watches.get_mut(&tag) else { return };
        watch.notified = true;
        let (local, foreign) = (watch.local.clone(), watch.foreign.clone());
        let before = watch.seen.clone();
        if let Some(presence) = body {
            watch.seen = Some(presence);
        }
        if state == "terminated" {
            if watch.unwanted {
                self.drop_watch(tag);
                return;
            }
            let retry_after = param(params, "retry-after").and_then(number);
            let next = watch.pace.terminated(param(params, "reason"), retry_after, now);
            if next.at() > now {
                watch.seen = Some(Presence::OFFLINE);
            }
            let changed = watch.seen != before;
            self.watch_next(tag, next);
            if changed {
                self.on_contact_changed(&local, &foreign);
            }
            return;
        }
        let left = param(params, "expires").and_then(number);
        let changed = watch.seen != before;
        if !watch.asking && !watch.unwanted {
            // The notifier may shorten what it has granted, and should say what is left in each NOTIFY.
            let is_first = matches!(watch.next, Some(Next::Anew(_)) | None);
            let left = left.or(watch.granted.filter(|_| is_first)).or(is_first.then(|| watch.pace.expires()));
            if let Some(left) = left {
                let next = watch.pace.granted(left, now);
                self.watch_next(tag, next);
            }
        }
        if changed {
            self.on_contact_changed(&local, &foreign);
        }
    }
}

impl Watch {
    /// Whether a SUBSCRIBE has been sent in this dialog.
    fn asked(&self) -> bool {
        self.dialog.local_cseq() > 0
    }
}
