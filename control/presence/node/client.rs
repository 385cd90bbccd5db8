// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users' clients that speak no SIP: who of them listens, what they are told and what they say.
//!
//! The web service gives each client that wants to know a listener; it is told all there is when it comes ([`Core::show`]) and
//! every change from then on. A user with a listener is there, as one with a device is: texts are told to him, and a text has been delivered
//! when one of his clients has acknowledged it, not when it was sent. One that has not been acknowledged is told to listeners that
//! come later too, until the time of a request has passed.
//!
//! What a client says goes the way of what a device says. Its own presence is one publication a user, whichever of his clients
//! said it last, under an entity tag that is the same after a restart.
//!
//! Bounds: [`MAX_LISTENERS`], [`MAX_SAYING`], [`MAX_PREFERENCES`] a user, [`MAX_TOLD`] in all. Part of the core.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::pager::{PLAIN, Text, Waiting};
use super::transact::TIMER_F;
use super::{Core, Output, Reply, Timer};
use crate::aor::Aor;
use crate::contact::Contact;
use crate::ids::Tag;
use crate::presence::policy::{Access, Subject};
use crate::presence::state::{Presence, Reach};
use crate::presence::winfo::Status;
use crate::store::Write;
use crate::web::Counters;
use crate::xml;

/// Listeners of one user; one more takes the oldest one's place.
const MAX_LISTENERS: usize = 16;
/// Texts of one user on their way.
const MAX_SAYING: usize = 32;
/// Texts told and not acknowledged, of all users.
const MAX_TOLD: usize = 4_000;
/// Octets of a text: as much as a MESSAGE may carry and fit everywhere (RFC 3428 section 8 leaves it to congestion-safe transports).
const MAX_TEXT: usize = 8 << 10;
/// Octets of a note.
const MAX_NOTE: usize = 256;
/// Preferences of one user, octets of a name and of a value.
const MAX_PREFERENCES: usize = 64;
const MAX_PREFERENCE_NAME: usize = 64;
const MAX_PREFERENCE: usize = 1_024;
/// What becomes of foreign watchers nobody has decided about.
const UNKNOWN: &str = "unknown-watchers";
/// As long as a client's presence holds if it does not say otherwise, s, and the shortest.
const EXPIRES: u32 = 3_600;
const MIN_EXPIRES: u32 = 60;

/// What a listener is told: the event's name and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// `state`, `presence`, `contact`, `contact-removed`, `watcher`, `decision`, `preference`, `text`, `typing`.
    pub kind: &'static str,
    /// What it says, as JSON; all of a user's clients share it.
    pub body: Arc<str>,
}

impl Notice {
    fn new(kind: &'static str, body: &Value) -> Self {
        Self { kind, body: body.to_string().into() }
    }
}

/// All that is kept of clients.
#[derive(Default)]
pub(super) struct Clients {
    listeners: HashMap<Aor, Vec<u64>>,
    users: HashMap<u64, Aor>,
    /// Texts that wait to be acknowledged, by delivery.
    told: HashMap<u64, Told>,
    /// How many texts of a user are on their way.
    saying: HashMap<Aor, usize>,
    preferences: HashMap<Aor, BTreeMap<String, String>>,
    /// What the web service counts itself.
    pub(super) counters: Option<Arc<Counters>>,
}

impl Clients {
    /// Forgets the listeners of a user; they are told nothing more.
    pub(super) fn forget(&mut self, user: &Aor) -> Vec<u64> {
        let ids = self.listeners.remove(user).unwrap_or_default();
        for id in &ids {
            self.users.remove(id);
        }
        ids
    }
}

struct Told {
    user: Aor,
    body: Value,
    deadline: u64,
}

impl Core {
    pub(super) fn restore_preferences(&mut self, stored: Vec<(Aor, String, String)>) {
        for (owner, name, value) in stored {
            self.web.preferences.entry(owner).or_default().insert(name, value);
        }
    }

    /// The core, showing in its statistics what a web service counts.
    pub fn with_web(mut self, counters: Arc<Counters>) -> Self {
        self.web.counters = Some(counters);
        self
    }

    /// A client of `user` listens from now on, under a number that no other listener has had.
    pub fn on_listen(&mut self, id: u64, user: &str, now: u64) {
        self.now = now;
        let Ok(user) = self.user(user) else { return self.out.push(Output::Silence(id)) };
        let listeners = self.web.listeners.entry(user.clone()).or_default();
        listeners.push(id);
        let oldest = (listeners.len() > MAX_LISTENERS).then(|| listeners.remove(0));
        self.web.users.insert(id, user.clone());
        if let Some(oldest) = oldest {
            self.web.users.remove(&oldest);
            self.out.push(Output::Silence(oldest));
        }
        let state = Notice::new("state", &self.show(&user));
        let mut waiting: Vec<&Told> = self.web.told.values().filter(|told| told.user == user).collect();
        waiting.sort_by_key(|told| told.deadline);
        let texts = waiting.into_iter().map(|told| Notice::new("text", &told.body));
        let told: Vec<Notice> = std::iter::once(state).chain(texts).collect();
        self.out.extend(told.into_iter().map(|notice| Output::Tell(id, notice)));
    }

    /// A client has gone, or does not read.
    pub fn on_gone(&mut self, id: u64, now: u64) {
        self.now = now;
        let Some(user) = self.web.users.remove(&id) else { return };
        if let Some(listeners) = self.web.listeners.get_mut(&user) {
            listeners.retain(|other| *other != id);
            if listeners.is_empty() {
                self.web.listeners.remove(&user);
            }
        }
    }

    /// Clients that listen.
    pub(super) fn listeners(&self) -> usize {
        self.web.users.len()
    }

    /// Those of a user.
    pub(super) fn listening(&self, user: &Aor) -> usize {
        self.web.listeners.get(user).map_or(0, Vec::len)
    }

    /// Whether one of the user's clients listens.
    pub(super) fn is_listening(&self, user: &Aor) -> bool {
        self.web.listeners.contains_key(user)
    }

    /// Whether a text could be delivered to a user: he has a device, or a client that listens.
    pub(super) fn is_there(&self, user: &Aor) -> bool {
        self.bindings.contains_key(user) || self.is_listening(user)
    }

    /// Tells all of a user's clients.
    pub(super) fn tell(&mut self, user: &Aor, kind: &'static str, body: Value) {
        let Some(listeners) = self.web.listeners.get(user) else { return };
        let notice = Notice::new(kind, &body);
        self.out.extend(listeners.iter().map(|id| Output::Tell(*id, notice.clone())));
    }

    /// A user of ours is another state: his clients are told, and those who have him in their lists.
    pub(super) fn tell_state(&mut self, user: &Aor) {
        if self.is_listening(user) {
            self.tell(user, "presence", self.own_presence(user));
        }
        let others = self.web.listeners.keys().filter(|other| {
            *other != user && self.contacts.get(*other).is_some_and(|contacts| contacts.contains_key(user))
        });
        let others: Vec<Aor> = others.cloned().collect();
        for other in others {
            self.tell_contact(&other, user);
        }
    }

    /// What is known of a user's contact is another.
    pub(super) fn tell_contact(&mut self, user: &Aor, contact: &Aor) {
        let entry = self.contacts.get(user).and_then(|contacts| contacts.get(contact));
        if let Some(entry) = entry.filter(|_| self.is_listening(user)) {
            let body = self.contact_shown(user, contact, entry);
            self.tell(user, "contact", body);
        }
    }

    /// A user has decided about others: those of them who have him in their lists see him otherwise.
    pub(super) fn tell_decided(&mut self, user: &Aor, subject: &Subject) {
        let others = self.web.listeners.keys().filter(|other| subject.covers(other));
        let others: Vec<Aor> = others.cloned().collect();
        for other in others {
            self.tell_contact(&other, user);
        }
    }

    /// Some who watch a user have come, gone or been decided about.
    pub(super) fn tell_watchers(&mut self, user: &Aor, watchers: &[Aor]) {
        if !self.is_listening(user) {
            return;
        }
        for watcher in watchers.iter().filter(|watcher| *watcher != user) {
            let status = self.watcher(user, watcher).map_or(Status::Terminated, |watcher| watcher.status);
            self.tell(user, "watcher", json!({ "address": watcher.as_str(), "status": status.name() }));
        }
    }

    /// Somebody types, or has stopped.
    pub(super) fn tell_typing(&mut self, user: &Aor, from: &Aor, notice: &str) {
        let root = xml::parse(notice.as_bytes()).ok().filter(|_| self.is_listening(user));
        let state = root.and_then(|root| root.children.into_iter().find(|child| child.name == "state"));
        if let Some(state) = state {
            let active = state.text.trim() == "active";
            self.tell(user, "typing", json!({ "from": from.as_str(), "active": active }));
        }
    }

    /// A user's own presence, composed, and what his clients said of it.
    pub(super) fn own_presence(&self, user: &Aor) -> Value {
        let state = self.state(user);
        let own = self.published(own_tag(user)).map(|(presence, expires)| {
            json!({
                "state": presence.reach.name(),
                "note": presence.note.as_deref().unwrap_or_default(),
                "seconds": expires.saturating_sub(self.now) / 1_000,
            })
        });
        json!({
            "state": state.reach.name(),
            "note": state.note.as_deref().unwrap_or_default(),
            "shown-to-foreign": state.reach.shown_at_communicator(),
            "own": own,
        })
    }

    /// A contact as its owner sees it; nothing of the state where it has not been told.
    pub(super) fn contact_shown(&self, user: &Aor, contact: &Aor, entry: &Contact) -> Value {
        let seen = if self.is_ours(contact) {
            match self.access_of(contact, user) {
                Access::Active => Some(self.state(contact)),
                Access::Polite => Some(Presence::OFFLINE),
                Access::Pending => None,
            }
        } else {
            self.seen(user, contact)
        };
        json!({
            "address": contact.as_str(),
            "name": entry.name,
            "groups": entry.groups,
            "reachability": seen.as_ref().map(|presence| presence.reach.name()),
            "shown": seen.as_ref().map(|presence| presence.reach.shown_at_cupc()),
            "note": seen.as_ref().and_then(|presence| presence.note.as_deref()),
        })
    }

    /// A client says what its user's state is, or takes that back.
    pub(super) fn set_state(
        &mut self,
        user: &str,
        state: Option<&str>,
        note: &str,
        seconds: Option<u32>,
    ) -> Result<(), String> {
        let user = self.user(user)?;
        let (tag, before) = (own_tag(&user), self.state(&user));
        let Some(state) = state else {
            self.withdraw(tag);
            self.tell_own(&user, &before);
            return Ok(());
        };
        let reach = Reach::of(state)
            .ok_or_else(|| format!("{state}: no state; {}", Reach::ALL.map(Reach::name).join(", ")))?;
        if note.len() > MAX_NOTE || note.chars().any(char::is_control) {
            return Err("the note is too long or has controls in it".to_owned());
        }
        let seconds = seconds.unwrap_or(EXPIRES).min(self.cfg.max_expires);
        if seconds < MIN_EXPIRES {
            return Err(format!("at least {MIN_EXPIRES} seconds"));
        }
        let note = (!note.is_empty()).then(|| note.into());
        if !self.publish_as(tag, &user, seconds, Presence { reach, note }) {
            return Err("too many devices have published".to_owned());
        }
        self.tell_own(&user, &before);
        Ok(())
    }

    /// Tells a user's clients what one of them has chosen, where that changes nothing in what all devices together say.
    fn tell_own(&mut self, user: &Aor, before: &Presence) {
        if self.state(user) == *before && self.is_listening(user) {
            self.tell(user, "presence", self.own_presence(user));
        }
    }

    /// A client wants something to be so.
    pub(super) fn prefer(&mut self, user: &str, name: &str, value: Option<String>) -> Result<(), String> {
        let user = self.user(user)?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > MAX_PREFERENCE_NAME || !name.chars().all(good) {
            return Err("a preference's name is of small letters, digits and -._, and not long".to_owned());
        }
        if let Some(value) = &value {
            if value.len() > MAX_PREFERENCE || value.chars().any(char::is_control) {
                return Err("the value is too long or has controls in it".to_owned());
            }
            if name == UNKNOWN && !matches!(value.as_str(), "ask" | "allow" | "block") {
                return Err(format!("{value}: neither ask, allow nor block"));
            }
        }
        let mut before = if name == UNKNOWN { self.concerned(&user, |_| true) } else { BTreeMap::new() };
        let all = self.web.preferences.entry(user.clone()).or_default();
        match &value {
            Some(_) if all.len() >= MAX_PREFERENCES && !all.contains_key(name) => {
                return Err("too many preferences".to_owned());
            }
            Some(value) => {
                all.insert(name.to_owned(), value.clone());
            }
            None if all.remove(name).is_none() => return Err(format!("{name}: no such preference")),
            None => {}
        }
        self.write(Write::Preference(user.clone(), name.to_owned(), value.clone()));
        before.retain(|watcher, before| self.access_of(&user, watcher) != *before);
        self.on_decided(&user, &before);
        self.tell(&user, "preference", json!({ "name": name, "value": value }));
        Ok(())
    }

    /// What a user wants to be so.
    pub(super) fn preferences(&self, user: &Aor) -> Value {
        self.web.preferences.get(user).map_or_else(|| json!({}), |all| json!(all))
    }

    /// What a foreign watcher has whom the user has not decided about.
    pub(super) fn access_of_unknown(&self, user: &Aor) -> Access {
        let preference = self.web.preferences.get(user).and_then(|all| all.get(UNKNOWN));
        match preference.map(String::as_str) {
            Some("allow") => Access::Active,
            Some("block") => Access::Polite,
            Some(_) | None => Access::Pending,
        }
    }

    /// A client says something; the reply comes when it is known what became of it.
    pub(super) fn client_says(&mut self, ticket: u64, user: &str, to: &str, text: String) {
        if let Err(reply) = self.try_say(ticket, user, to, text) {
            self.out.push(Output::Reply(ticket, reply));
        }
    }

    fn try_say(&mut self, ticket: u64, user: &str, to: &str, text: String) -> Result<(), Reply> {
        let user = self.user(user).map_err(Reply::Refused)?;
        let to = Aor::parse(to).ok_or_else(|| Reply::Refused(format!("{to}: not an address")))?;
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(Reply::Refused(format!("a text has 1 to {MAX_TEXT} octets")));
        }
        if self.web.saying.get(&user).is_some_and(|count| *count >= MAX_SAYING) {
            return Err(Reply::Failed(503));
        }
        let waiting = Waiting::Client(ticket, user.clone());
        if self.is_ours(&to) {
            if self.users.get(&to).is_none() {
                return Err(Reply::Failed(404));
            }
            if self.access_of(&to, &user) == Access::Polite {
                return Err(Reply::Failed(480));
            }
            *self.web.saying.entry(user.clone()).or_default() += 1;
            self.count("texts_in");
            self.deliver(&to, &user, PLAIN, text, Some((waiting, None)));
        } else {
            if !self.is_reachable(&to) {
                return Err(Reply::Failed(404));
            }
            *self.web.saying.entry(user.clone()).or_default() += 1;
            self.count("texts_out");
            self.carry((user, to), Text { waiting, kind: PLAIN, body: text });
        }
        Ok(())
    }

    /// What became of a client's text.
    pub(super) fn reply_text(&mut self, ticket: u64, user: &Aor, status: u16) {
        if let Some(count) = self.web.saying.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.web.saying.remove(user);
            }
        }
        let reply = if status == 200 { Reply::Done } else { Reply::Failed(status) };
        self.out.push(Output::Reply(ticket, reply));
    }

    /// Tells a text to a user's clients; whether one of them may acknowledge it.
    pub(super) fn tell_text(&mut self, number: u64, user: &Aor, from: &Aor, text: &str) -> bool {
        if !self.is_listening(user) || self.web.told.len() >= MAX_TOLD {
            return false;
        }
        let body =
            json!({ "id": Tag(number).to_string(), "from": from.as_str(), "text": text, "time": self.now });
        let deadline = self.now + TIMER_F;
        self.at(deadline, Timer::Told(number));
        self.tell(user, "text", body.clone());
        self.web.told.insert(number, Told { user: user.clone(), body, deadline });
        true
    }

    /// A client has a text.
    pub(super) fn received(&mut self, user: &str, id: &str) -> Result<(), String> {
        let user = self.user(user)?;
        let number = id.parse::<Tag>().ok().map(|tag| tag.0);
        let known = number.filter(|number| self.web.told.get(number).is_some_and(|told| told.user == user));
        let number = known.ok_or_else(|| format!("{id}: no text that waits"))?;
        if let Some(told) = self.web.told.remove(&number) {
            self.timers.remove(&(told.deadline, Timer::Told(number)));
        }
        self.leg_ended(number, 200);
        Ok(())
    }

    /// No client has acknowledged a text.
    pub(super) fn on_not_acknowledged(&mut self, number: u64) {
        if self.web.told.remove(&number).is_some() {
            self.count("texts_unacknowledged");
            self.leg_ended(number, 408);
        }
    }
}

/// The entity tag of what a user's clients publish. Known to anybody, and of no use: a tag is good for its owner only.
fn own_tag(user: &Aor) -> u64 {
    let mut hasher = siphasher::sip::SipHasher24::new();
    hasher.write(b"client ");
    hasher.write(user.as_str().as_bytes());
    hasher.finish()
}
