// SPDX-License-Identifier: MIT OR Apache-2.0
//! Subscriptions to the node: foreign users watching ours, our users watching each other and their foreign contacts, and
//! each user watching who watches him (`presence.winfo`).
//!
//! What a watcher is told is worked out when it is told ([`Core::view`]): from the user's state and decisions for our own users, from
//! our own subscription there for foreign ones. A blocked watcher takes the same path as the watcher of an offline user to the last octet,
//! and changes of the user never reach it. Our own users see each other unless they are blocked; only foreign ones have to ask.
//!
//! RFC 6665, with RFC 3265's ways taken: 202 by configuration, NOTIFY by any dialog. A subscription is stored before its SUBSCRIBE is
//! acknowledged and lives over restarts. Part of the core.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fedgate_sip::headers::HeaderName;
use rsip::headers::UntypedHeader as _;

use super::request::{Answered, Who};
use super::transact::{Answer, Purpose};
use super::{Core, Timer};
use crate::aor::Aor;
use crate::config::Permission;
use crate::dialog::Dialog;
use crate::ids::Tag;
use crate::message::compose::{Outgoing, unfolded};
use crate::message::{Incoming, is_token, param};
use crate::presence::notifier::{After, Due, Notifier};
use crate::presence::pidf;
use crate::presence::policy::Access;
use crate::presence::state::Presence;
use crate::presence::winfo::{self, Watcher};
use crate::store::{Package, StoredSubscription, Write};

/// Shortest subscription but for those that end at once, s.
const MIN_EXPIRES: u32 = 60;
/// Default, s.
const EXPIRES: u32 = 3_600;
/// Longest `id` of an Event header, octets.
const MAX_EVENT_ID: usize = 128;

/// One subscription to us.
pub(super) struct Subscription {
    pub(super) dialog: Dialog,
    pub(super) resource: Aor,
    pub(super) watcher: Aor,
    package: Package,
    event_id: Option<Box<str>>,
    expires: u64,
    notifier: Notifier,
    /// When the timer for the next NOTIFY stands.
    alarm: Option<u64>,
    /// Hash of what was last told, so that nothing is told twice.
    told: u64,
    /// The watcher has been told that it is active: there is no way back to pending (RFC 3857 section 4.7.1), which would show it
    /// that a block was taken back.
    was_active: bool,
    /// Why it ends before its time.
    over: Option<Over>,
    /// What it is charged for.
    octets: usize,
    /// Of a subscription to watchers: those that have changed since the last NOTIFY; `None` where all are to be told.
    pub(super) watchers: Option<Vec<Watcher>>,
}

/// Why a subscription ends before its time (RFC 6665 section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Whom it is about is no user any more.
    NoResource,
    /// Whose it is is none any more: not to be tried again.
    Rejected,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::NoResource => "noresource",
            Self::Rejected => "rejected",
        }
    }
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Substate {
    Active,
    Pending,
}

impl Core {
    pub(super) fn restore_subscriptions(&mut self, stored: Vec<StoredSubscription>) {
        for sub in stored {
            let is_here = if self.is_ours(&sub.resource) {
                self.users.get(&sub.resource).is_some()
            } else {
                self.is_ours(&sub.watcher)
            };
            if !is_here || !self.may_watch(&sub.watcher) {
                // The configuration is another: its next refresh is answered by that.
                self.write(Write::Unsubscribed(sub.dialog.tag));
                continue;
            }
            let mut dialog = sub.dialog;
            dialog.resume();
            let was_active = self.access_of(&sub.resource, &sub.watcher) != Access::Pending;
            let restored = Subscription {
                dialog,
                resource: sub.resource,
                watcher: sub.watcher,
                package: sub.package,
                event_id: sub.event_id,
                expires: sub.expires,
                notifier: Notifier::default(),
                alarm: None,
                told: 0,
                was_active,
                over: None,
                octets: 0,
                watchers: None,
            };
            self.add(restored);
        }
    }

    /// Whether the configuration knows such a watcher.
    fn may_watch(&self, watcher: &Aor) -> bool {
        if self.is_local(watcher) {
            !self.is_ours(watcher) || self.users.get(watcher).is_some()
        } else {
            self.cfg.permission(watcher.domain()) != Permission::Refused
        }
    }

    /// The subscriptions of one kind to a user, by watcher.
    pub(super) fn watching(&self, package: Package, resource: &Aor) -> impl Iterator<Item = &(Aor, Tag)> {
        self.by_resource.get(&(package, resource.clone())).into_iter().flatten()
    }

    /// Those of one watcher to a user's presence.
    pub(super) fn watching_as(&self, resource: &Aor, watcher: &Aor) -> impl Iterator<Item = Tag> {
        let all = self.by_resource.get(&(Package::Presence, resource.clone()));
        let range = (watcher.clone(), Tag(0))..=(watcher.clone(), Tag(u64::MAX));
        all.into_iter().flat_map(move |all| all.range(range.clone())).map(|(_, tag)| *tag)
    }

    fn add(&mut self, mut sub: Subscription) {
        let tag = sub.dialog.tag;
        self.at(sub.expires, Timer::Expire(tag));
        let key = (sub.package, sub.resource.clone());
        self.by_resource.entry(key).or_default().insert((sub.watcher.clone(), tag));
        *self.by_watcher.entry(sub.watcher.clone()).or_default() += 1;
        sub.octets = sub.dialog.octets();
        self.shares.subscriptions.take(self.cfg.entry(sub.watcher.domain()), sub.octets);
        self.subs.insert(tag, sub);
    }

    fn remove(&mut self, tag: Tag) -> Option<Subscription> {
        let sub = self.subs.remove(&tag)?;
        self.timers.remove(&(sub.expires, Timer::Expire(tag)));
        if let Some(alarm) = sub.alarm {
            self.timers.remove(&(alarm, Timer::Notify(tag)));
        }
        let key = (sub.package, sub.resource.clone());
        if let Some(tags) = self.by_resource.get_mut(&key) {
            tags.remove(&(sub.watcher.clone(), tag));
            if tags.is_empty() {
                self.by_resource.remove(&key);
            }
        }
        self.shares.subscriptions.give_back(self.cfg.entry(sub.watcher.domain()), sub.octets);
        if let Some(count) = self.by_watcher.get_mut(&sub.watcher) {
            *count -= 1;
            if *count == 0 {
                self.by_watcher.remove(&sub.watcher);
            }
        }
        Some(sub)
    }

    pub(super) fn on_subscribe(&mut self, request: &Incoming) {
        let Ok(who) = self.requester(request) else { return };
        let event = request.value(HeaderName::Event).map(unfolded).unwrap_or_default();
        let (name, params) = event.split_once(';').unwrap_or((&event, ""));
        let Some(package) = Package::of(name.trim()) else { return self.refuse(request, 489, "bad_event") };
        let event_id: Option<Box<str>> = param(params, "id").filter(|id| !id.is_empty()).map(Box::from);
        if event_id.as_deref().is_some_and(|id| id.len() > MAX_EVENT_ID || !is_token(id)) {
            return self.refuse(request, 400, "bad_event");
        }
        let Ok(resource) = self.resource(request, &who, package) else { return };
        let takes = match package {
            Package::Presence => pidf::TYPE,
            Package::Winfo => winfo::TYPE,
        };
        if !accepts(request, takes) {
            return self.refuse(request, 406, "accept");
        }
        let Ok(seconds) = self.seconds(request) else { return };
        let watching = self.by_watcher.get(who.aor()).copied().unwrap_or(0);
        let tag = self.ids.tag();
        let dialog = match Dialog::of_request(request.msg(), tag, request.conn) {
            Ok(dialog) => dialog,
            Err(why) => return self.refuse(request, why.status(), "dialog"),
        };
        let entry = self.cfg.entry(who.aor().domain());
        if !self.shares.subscriptions.has_room(entry, dialog.octets(), self.cfg.limits.subscriptions)
            || watching >= self.cfg.limits.subscriptions_per_watcher
        {
            return self.refuse(request, 503, "subscriptions_full");
        }
        let sub = Subscription {
            dialog,
            resource: resource.clone(),
            watcher: who.aor().clone(),
            package,
            event_id,
            expires: self.now + u64::from(seconds) * 1_000,
            notifier: Notifier::default(),
            alarm: None,
            told: 0,
            was_active: false,
            over: None,
            octets: 0,
            watchers: None,
        };
        if package == Package::Presence && self.is_ours(&resource) && self.access(&sub) == Access::Pending {
            self.ask(&resource, who.aor());
        }
        self.count("subscriptions");
        self.add(sub);
        self.accept(request, tag, seconds);
        self.tell_watched(&resource, package, std::slice::from_ref(who.aor()));
        if package == Package::Presence && !self.is_ours(&resource) && seconds > 0 {
            self.want_watch(who.aor(), &resource);
        }
    }

    /// Whom it is about, and whether this requester may ask that.
    fn resource(&mut self, request: &Incoming, who: &Who, package: Package) -> Result<Aor, Answered> {
        let target = request.msg().request_uri().and_then(|uri| Aor::of(&uri));
        match (who, package) {
            (Who::Foreign(_), Package::Presence) => self.local_target(request),
            (Who::Foreign(_), Package::Winfo) => Err(self.refused(request, 403, "winfo_foreign")),
            (Who::Local(user), Package::Winfo) => {
                let own = target.filter(|target| target == user);
                own.ok_or_else(|| self.refused(request, 403, "winfo_other"))
            }
            (Who::Local(_), Package::Presence) => match target {
                Some(target) if self.is_ours(&target) => self.local_target(request),
                Some(target) if self.is_reachable(&target) => Ok(target),
                Some(_) | None => Err(self.refused(request, 404, "no_user")),
            },
        }
    }

    fn seconds(&mut self, request: &Incoming) -> Result<u32, Answered> {
        let Ok(expires) = request.number(HeaderName::Expires) else {
            return Err(self.refused(request, 400, "expires"));
        };
        let seconds = expires.unwrap_or(EXPIRES).min(self.cfg.max_expires);
        if (1..MIN_EXPIRES).contains(&seconds) {
            self.count("expires");
            let out = self.response(request, 423).other("Min-Expires", MIN_EXPIRES.to_string());
            self.send_response(request, out);
            return Err(Answered);
        }
        Ok(seconds)
    }

    pub(super) fn on_resubscribe(&mut self, request: &Incoming, tag: Tag) {
        let Some(sub) = self.subs.get(&tag) else { return };
        let (resource, watcher, package) = (sub.resource.clone(), sub.watcher.clone(), sub.package);
        let Ok(who) = self.speaker(request, Some(&resource)) else { return };
        if *who.aor() != watcher {
            return self.refuse(request, 403, "third_party");
        }
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        if let Err(why) = sub.dialog.check(request.msg(), request.conn, true) {
            return self.refuse(request, why.status(), "dialog");
        }
        let Ok(seconds) = self.seconds(request) else { return };
        let until = self.now + u64::from(seconds) * 1_000;
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        let old = std::mem::replace(&mut sub.expires, until);
        let charged = std::mem::replace(&mut sub.octets, sub.dialog.octets());
        let charge = sub.octets;
        sub.watchers = None;
        let entry = self.cfg.entry(watcher.domain());
        self.shares.subscriptions.give_back(entry, charged);
        self.shares.subscriptions.take(entry, charge);
        self.timers.remove(&(old, Timer::Expire(tag)));
        self.at(until, Timer::Expire(tag));
        self.accept(request, tag, seconds);
        if seconds == 0 {
            self.tell_watched(&resource, package, &[watcher]);
        }
    }

    /// Stores, answers and tells: the tail of every SUBSCRIBE that is taken.
    fn accept(&mut self, request: &Incoming, tag: Tag, seconds: u32) {
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        sub.notifier.force();
        let user = sub.resource.user().to_owned();
        let lives = (seconds > 0).then(|| Box::new(sub.stored()));
        self.write(lives.map_or(Write::Unsubscribed(tag), Write::Subscribed));
        let out = Outgoing::response(request.msg(), self.cfg.subscribe_status, Some(tag))
            .record_routes(request.msg())
            .with(rsip::headers::Contact::new(self.contact(&user, request.conn)))
            .with(rsip::headers::Expires::new(seconds.to_string()));
        self.send_response(request, out);
        self.flush(tag);
        if seconds == 0 {
            self.ended(tag);
        }
    }

    /// Its time has run out.
    pub(super) fn on_expired(&mut self, tag: Tag) {
        if let Some(sub) = self.subs.get_mut(&tag) {
            sub.notifier.force();
            self.flush(tag);
            self.end(tag);
        }
    }

    /// Those to users who are none any more, and theirs, end: each with a last NOTIFY, even where an answer to one is awaited.
    pub(super) fn end_subscriptions(&mut self, users: &BTreeSet<Aor>) {
        let over = |sub: &Subscription| match (users.contains(&sub.watcher), users.contains(&sub.resource)) {
            (true, _) => Some(Over::Rejected),
            (false, true) => Some(Over::NoResource),
            (false, false) => None,
        };
        let ending = self.subs.iter().filter_map(|(tag, sub)| Some((sub.package, *tag, over(sub)?)));
        let mut ending: Vec<(Package, Tag, Over)> = ending.collect();
        // First those to watchers, or they would be told of each of the others.
        ending.sort_unstable_by_key(|(package, tag, _)| (*package != Package::Winfo, *tag));
        for (_, tag, over) in ending {
            if let Some(sub) = self.subs.get_mut(&tag) {
                sub.over = Some(over);
                self.notify(tag);
                self.end(tag);
            }
        }
    }

    /// Takes a subscription away, from the store as well.
    fn end(&mut self, tag: Tag) {
        self.write(Write::Unsubscribed(tag));
        self.ended(tag);
    }

    /// Forgets one that the store has no more; whoever is concerned is told.
    fn ended(&mut self, tag: Tag) {
        let Some(sub) = self.remove(tag) else { return };
        self.tell_watched(&sub.resource, sub.package, std::slice::from_ref(&sub.watcher));
        if sub.package == Package::Presence && !self.is_ours(&sub.resource) {
            self.unwant_watch(&sub.watcher, &sub.resource);
        }
    }

    /// Sends the NOTIFY that is due, or sets the time at which it will be.
    pub(super) fn flush(&mut self, tag: Tag) {
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        if let Some(alarm) = sub.alarm.take() {
            self.timers.remove(&(alarm, Timer::Notify(tag)));
        }
        match sub.notifier.due(self.now) {
            Due::Now => self.notify(tag),
            Due::At(time) => {
                sub.alarm = Some(time);
                self.at(time, Timer::Notify(tag));
            }
            Due::Idle => {}
        }
    }

    fn notify(&mut self, tag: Tag) {
        let Some(sub) = self.subs.get(&tag) else { return };
        let is_device = self.is_ours(&sub.watcher);
        let dialog = sub.dialog.clone();
        let conn = self.conn_of(&dialog, is_device);
        let now = self.now;
        let Some(sub) = self.subs.get(&tag) else { return };
        let (substate, body) = self.view(sub);
        let over = sub.over;
        // Who is no user any more is shown nothing.
        let body = body.filter(|_| over != Some(Over::Rejected));
        let Some(conn) = conn else {
            // Nobody can be reached by it now; there may be a connection later.
            if let Some(sub) = self.subs.get_mut(&tag) {
                sub.notifier.sent(now);
                let _ = sub.notifier.answered(503, None, now);
            }
            self.count("unreachable");
            return self.flush(tag);
        };
        let (branch, via) = self.via(conn);
        let contact = self.contact(sub_user(&self.subs, tag), conn);
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        let left = sub.expires.saturating_sub(now) / 1_000;
        let state = match (over, &substate) {
            (Some(over), _) => format!("terminated;reason={}", over.name()),
            (None, _) if left == 0 => "terminated;reason=timeout".to_owned(),
            (None, Substate::Active) => format!("active;expires={left}"),
            (None, Substate::Pending) => format!("pending;expires={left}"),
        };
        let event = match &sub.event_id {
            Some(id) => format!("{};id={id}", sub.package.name()),
            None => sub.package.name().to_owned(),
        };
        sub.told = told(&substate, body.as_ref().map(|(_, text)| text.as_str()));
        sub.was_active |= substate == Substate::Active;
        sub.notifier.sent(now);
        sub.watchers = (sub.package == Package::Winfo).then(Vec::new);
        let mut out = sub
            .dialog
            .request("NOTIFY", via)
            .with(rsip::headers::Contact::new(contact))
            .with(rsip::headers::Event::new(event))
            .with(rsip::headers::SubscriptionState::new(state));
        if let Some((kind, text)) = body {
            out = out.body(kind, text);
        }
        if self.send_request(conn, branch, Purpose::Notify(tag), out).is_err() {
            // Nothing of it has been told: all of it is, later.
            if let Some(sub) = self.subs.get_mut(&tag) {
                sub.told = 0;
                sub.watchers = None;
                let _ = sub.notifier.answered(503, None, now);
            }
            return self.flush(tag);
        }
        self.count("notifies");
    }

    /// What a watcher is to be told now.
    fn view(&self, sub: &Subscription) -> (Substate, Option<(&'static str, String)>) {
        if sub.package == Package::Winfo {
            let version = sub.dialog.local_cseq();
            let (full, watchers) = match &sub.watchers {
                None => (true, self.watchers(&sub.resource)),
                Some(changed) => (false, changed.clone()),
            };
            let text = winfo::write(&sub.resource, version, full, &watchers);
            return (Substate::Active, Some((winfo::TYPE, text)));
        }
        let (state, presence, name) = if self.is_ours(&sub.resource) {
            let user = self.users.get(&sub.resource).and_then(|user| user.name.clone());
            match self.access(sub) {
                Access::Pending if !sub.was_active => return (Substate::Pending, None),
                Access::Pending => (Substate::Active, Presence::OFFLINE, user),
                Access::Polite => (Substate::Active, Presence::OFFLINE, user),
                Access::Active => (Substate::Active, self.state(&sub.resource), user),
            }
        } else {
            let Some(presence) = self.seen(&sub.watcher, &sub.resource) else {
                return (Substate::Pending, None);
            };
            let name = self.contacts.get(&sub.watcher).and_then(|contacts| contacts.get(&sub.resource));
            (Substate::Active, presence, name.map(|contact| contact.name.clone()))
        };
        let name = name.filter(|name| !name.is_empty());
        (state, Some((pidf::TYPE, pidf::write(&sub.resource, name.as_deref(), &presence))))
    }

    /// How far a watcher of one of our users may see.
    fn access(&self, sub: &Subscription) -> Access {
        self.access_of(&sub.resource, &sub.watcher)
    }

    pub(super) fn access_of(&self, resource: &Aor, watcher: &Aor) -> Access {
        if resource == watcher {
            return Access::Active;
        }
        let access = self.policies.get(resource).map_or(Access::Pending, |policy| policy.access(watcher));
        match access {
            // Only foreign users have to ask.
            Access::Pending if self.is_local(watcher) => Access::Active,
            Access::Pending => self.access_of_unknown(resource),
            Access::Active | Access::Polite => access,
        }
    }

    /// A user's state is another: those who may see it are told, five seconds apart at least.
    pub(super) fn on_state_changed(&mut self, user: &Aor) {
        self.tell_state(user);
        let tags: Vec<Tag> = self.watching(Package::Presence, user).map(|(_, tag)| *tag).collect();
        for tag in tags {
            let sees = self.subs.get(&tag).is_some_and(|sub| self.access(sub) == Access::Active);
            if sees {
                self.changed(tag, false);
            }
        }
    }

    /// A user has decided about watchers, who had such access before.
    pub(super) fn on_decided(&mut self, user: &Aor, before: &BTreeMap<Aor, Access>) {
        let tags: Vec<Tag> = self.watching(Package::Presence, user).map(|(_, tag)| *tag).collect();
        for tag in tags {
            if let Some(before) = self.subs.get(&tag).and_then(|sub| before.get(&sub.watcher)) {
                self.changed(tag, *before == Access::Pending);
            }
        }
        let watchers: Vec<Aor> = before.keys().cloned().collect();
        self.tell_watched(user, Package::Presence, &watchers);
    }

    /// What our own subscription to a foreign contact says is another.
    pub(super) fn on_contact_changed(&mut self, watcher: &Aor, contact: &Aor) {
        self.tell_contact(watcher, contact);
        let tags: Vec<Tag> = self.watching_as(contact, watcher).collect();
        for tag in tags {
            self.changed(tag, false);
        }
    }

    pub(super) fn changed(&mut self, tag: Tag, at_once: bool) {
        let Some(sub) = self.subs.get(&tag) else { return };
        // A list of watchers may be long, and is made when it is sent and not before.
        if sub.package == Package::Presence {
            let (substate, body) = self.view(sub);
            if told(&substate, body.as_ref().map(|(_, text)| text.as_str())) == sub.told {
                return;
            }
        }
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        if at_once {
            sub.notifier.force();
        } else {
            sub.notifier.change();
        }
        self.flush(tag);
    }

    pub(super) fn on_notify_answer(&mut self, tag: Tag, answer: &Answer<'_>) {
        let now = self.now;
        let Some(sub) = self.subs.get_mut(&tag) else { return };
        let after = sub.notifier.answered(answer.status, answer.retry_after, now);
        if !matches!(answer.status, 200..=299) {
            // What was not taken is told whole the next time.
            sub.watchers = None;
            sub.told = 0;
        }
        if answer.status == 503 {
            sub.dialog.conn = None;
        }
        match after {
            After::Keep => self.flush(tag),
            After::Gone => {
                self.count("notify_gone");
                self.end(tag);
            }
        }
    }
}

impl Subscription {
    /// Who watches whose presence.
    pub(super) fn watches(&self) -> Option<(&Aor, &Aor)> {
        (self.package == Package::Presence).then_some((&self.watcher, &self.resource))
    }

    fn stored(&self) -> StoredSubscription {
        StoredSubscription {
            dialog: self.dialog.clone(),
            resource: self.resource.clone(),
            watcher: self.watcher.clone(),
            package: self.package,
            event_id: self.event_id.clone(),
            expires: self.expires,
        }
    }
}

fn sub_user(subs: &HashMap<Tag, Subscription>, tag: Tag) -> &str {
    subs.get(&tag).map_or("", |sub| sub.resource.user())
}

fn told(substate: &Substate, body: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (substate, body).hash(&mut hasher);
    hasher.finish()
}

/// Whether the Accept headers take this type; without any, they do (RFC 3856 section 6.7).
fn accepts(request: &Incoming, kind: &str) -> bool {
    let msg = request.msg();
    if !msg.present.contains(HeaderName::Accept) {
        return true;
    }
    msg.values(HeaderName::Accept).flat_map(|value| crate::message::parts(value, b',')).any(|range| {
        let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        range == kind || range == "application/*" || range == "*/*"
    })
}
