// SPDX-License-Identifier: MIT OR Apache-2.0
//! What users and operators decide, and what they ask: the one entrance for all clients but SIP's.
//!
//! The control socket brings commands as JSON ([`crate::control`]); web services for users come in here too. A decision is stored and acted on
//! at once: a watcher that waited is told in the same breath, one that is blocked now sees the user go offline.
//!
//! Part of the core.

use std::collections::BTreeMap;

use fedgate_sip::domain::Domain;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Core;
use crate::aor::Aor;
use crate::presence::policy::{Access, Subject, Verdict};
use crate::store::{Package, Write};

/// One command. Addresses as people write them.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// `user` allows or blocks `who`, an address or a domain; without a verdict the decision is taken back.
    Decide {
        /// Who decides.
        user: String,
        /// About whom.
        who: String,
        /// `allow`, `block`, or nothing.
        verdict: Option<String>,
    },
    /// `user` puts somebody into his list, or gives him another name.
    AddContact {
        /// Whose list.
        user: String,
        /// Who.
        contact: String,
        /// As he is shown.
        #[serde(default)]
        name: String,
    },
    /// `user` takes somebody out of his list.
    RemoveContact {
        /// Whose list.
        user: String,
        /// Who.
        contact: String,
    },
    /// All about a user.
    Show {
        /// Who.
        user: String,
    },
    /// The node's counters and how much it holds.
    Statistics,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is done, and on the disk.
    Done,
    /// It cannot be done, and why.
    Refused(String),
    /// What was asked.
    Told(Value),
}

/// Longest name of a contact, octets.
const MAX_NAME: usize = 256;

impl Core {
    pub(super) fn command(&mut self, command: Command) -> Reply {
        let done = match command {
            Command::Decide { user, who, verdict } => self.decide(&user, &who, verdict.as_deref()),
            Command::AddContact { user, contact, name } => self.add_contact(&user, &contact, name),
            Command::RemoveContact { user, contact } => self.remove_contact(&user, &contact),
            Command::Show { user } => {
                return self.user(&user).map_or_else(Reply::Refused, |u| Reply::Told(self.show(&u)));
            }
            Command::Statistics => return Reply::Told(self.statistics()),
        };
        done.map_or_else(Reply::Refused, |()| Reply::Done)
    }

    fn user(&self, text: &str) -> Result<Aor, String> {
        let user = Aor::parse(text).filter(|aor| self.users.get(aor).is_some());
        user.ok_or_else(|| format!("{text}: no user of this node"))
    }

    fn decide(&mut self, user: &str, who: &str, verdict: Option<&str>) -> Result<(), String> {
        let user = self.user(user)?;
        let subject = match Aor::parse(who) {
            Some(aor) => Subject::User(aor),
            None => {
                let domain = Domain::canonical(who.as_bytes()).map_err(|why| format!("{who}: {why}"))?;
                Subject::Domain(domain.as_str().into())
            }
        };
        let verdict = match verdict {
            None => None,
            Some(text) => Some(Verdict::of(text).ok_or_else(|| format!("{text}: neither allow nor block"))?),
        };
        let before = self.concerned(&user, &subject);
        let policy = self.policies.entry(user.clone()).or_default();
        policy.decide(subject.clone(), verdict).map_err(|()| "too many decisions".to_owned())?;
        self.write(Write::Policy(user.clone(), subject, verdict));
        if verdict.is_some() {
            for watcher in before.keys() {
                self.has_been_answered(&user, watcher);
            }
        }
        self.on_decided(&user, &before);
        Ok(())
    }

    /// Watchers, present and waiting, whom a decision is about, and what they have.
    fn concerned(&self, user: &Aor, subject: &Subject) -> BTreeMap<Aor, Access> {
        let present = self.watching(Package::Presence, user).map(|(watcher, _)| watcher.clone());
        let waiting = self.asked.get(user).into_iter().flat_map(|asked| asked.keys().cloned());
        let covered = present.chain(waiting).filter(|watcher| subject.covers(watcher));
        covered.map(|watcher| (watcher.clone(), self.access_of(user, &watcher))).collect()
    }

    fn has_been_answered(&mut self, user: &Aor, watcher: &Aor) {
        let Some(asked) = self.asked.get_mut(user) else { return };
        if asked.remove(watcher).is_some() {
            if asked.is_empty() {
                self.asked.remove(user);
            }
            self.write(Write::Asked(user.clone(), watcher.clone(), None));
        }
    }

    fn add_contact(&mut self, user: &str, contact: &str, name: String) -> Result<(), String> {
        let user = self.user(user)?;
        let contact = Aor::parse(contact).ok_or_else(|| format!("{contact}: not an address"))?;
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err("the name is too long or has controls in it".to_owned());
        }
        let contacts = self.contacts.entry(user.clone()).or_default();
        if contacts.len() >= self.cfg.limits.contacts && !contacts.contains_key(&contact) {
            return Err("the list is full".to_owned());
        }
        contacts.insert(contact.clone(), name.clone());
        self.write(Write::Contact(user.clone(), contact.clone(), Some(name)));
        if !self.is_local(&contact) {
            self.want_watch(&user, &contact);
        }
        Ok(())
    }

    fn remove_contact(&mut self, user: &str, contact: &str) -> Result<(), String> {
        let user = self.user(user)?;
        let known = Aor::parse(contact).filter(|aor| {
            self.contacts.get_mut(&user).is_some_and(|contacts| contacts.remove(aor).is_some())
        });
        let contact = known.ok_or_else(|| format!("{contact}: not in the list"))?;
        self.write(Write::Contact(user.clone(), contact.clone(), None));
        if !self.is_local(&contact) {
            self.unwant_watch(&user, &contact);
        }
        Ok(())
    }

    fn show(&self, user: &Aor) -> Value {
        let state = self.state(user);
        let decisions = self.policies.get(user).map(|policy| policy.decisions()).unwrap_or_default();
        let decisions: Vec<Value> = decisions
            .into_iter()
            .map(|(subject, verdict)| json!({ "who": subject.who(), "verdict": verdict.name() }))
            .collect();
        let contacts = self.contacts.get(user).into_iter().flatten();
        let contacts: Vec<Value> = contacts
            .map(|(contact, name)| {
                let seen =
                    if self.is_local(contact) { Some(self.state(contact)) } else { self.seen(user, contact) };
                json!({
                    "address": contact.as_str(),
                    "name": name,
                    "reachability": seen.as_ref().map(|presence| presence.reach.name()),
                    "shown": seen.as_ref().map(|presence| presence.reach.shown_at_cupc()),
                    "note": seen.as_ref().and_then(|presence| presence.note.as_deref()),
                })
            })
            .collect();
        let watchers: Vec<Value> = self
            .watchers(user)
            .into_iter()
            .map(|watcher| json!({ "address": watcher.who.as_str(), "status": watcher.status.name() }))
            .collect();
        json!({
            "address": user.as_str(),
            "reachability": state.reach.name(),
            "shown-to-foreign": state.reach.shown_at_communicator(),
            "note": state.note.as_deref(),
            "devices": self.bindings.get(user).map_or(0, Vec::len),
            "decisions": decisions,
            "contacts": contacts,
            "watchers": watchers,
        })
    }

    fn statistics(&self) -> Value {
        json!({
            "users": self.users.len(),
            "connections": self.conns.len(),
            "subscriptions": self.subs.len(),
            "watches": self.watches.len(),
            "publications": self.publications.len(),
            "registrations": self.bindings.values().map(Vec::len).sum::<usize>(),
            "sessions": self.sessions.len(),
            "requests": self.clients.len(),
            "watch-listed": self.guards.values().filter(|guard| guard.watched).count(),
            "counters": self.counters,
        })
    }
}
