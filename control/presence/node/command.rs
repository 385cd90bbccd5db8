// SPDX-License-Identifier: MIT OR Apache-2.0
//! What users and operators decide, and what they ask: the one entrance for all clients but SIP's.
//!
//! The control socket brings commands as JSON ([`crate::control`]); web services for users come in here too. A decision is stored and acted on
//! at once: a watcher that waited is told in the same breath, one that is blocked now sees the user go offline.
//!
//! Part of the core.

use std::collections::BTreeMap;
use std::fmt;

use fedgate_sip::domain::Domain;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Core;
use crate::aor::Aor;
use crate::contact::Contact;
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
    /// `user` puts somebody into his list, or gives him another name or other groups.
    AddContact {
        /// Whose list.
        user: String,
        /// Who.
        contact: String,
        /// As he is shown.
        #[serde(default)]
        name: String,
        /// What he stands in; without them, what he has stood in.
        groups: Option<Vec<String>>,
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
    /// The enterprise's nodes, and how it goes with them.
    Nodes,
    /// Which node somebody is at home on.
    Home {
        /// Who.
        user: String,
    },
    /// `user` is in this state, as one of his clients says; without a state that is taken back.
    SetState {
        /// Whose.
        user: String,
        /// `available`, `away`, `busy`, `do-not-disturb`, `unavailable`, or nothing.
        state: Option<String>,
        /// What he says about it.
        #[serde(default)]
        note: String,
        /// As long as it holds, s.
        seconds: Option<u32>,
    },
    /// `user` wants something to be so; without a value as it would be by itself.
    Prefer {
        /// Who.
        user: String,
        /// What.
        name: String,
        /// How.
        value: Option<String>,
    },
    /// `user` says something to somebody. The reply comes when that has it, or cannot have it.
    Say {
        /// Who says it.
        user: String,
        /// To whom.
        to: String,
        /// What.
        text: String,
    },
    /// A client of `user` has the text that it was told under this number.
    Received {
        /// Who.
        user: String,
        /// The text's number.
        id: String,
    },
    /// All users, and where they come from: the file, the store, the directory.
    Users,
    /// The operator puts a user into the store: with a password, or at home on another node.
    AddUser {
        /// Whom.
        user: String,
        /// As others are shown him.
        #[serde(default)]
        name: String,
        /// Another node that he is at home on; here without it.
        node: Option<String>,
        /// What he proves himself by here. Its digests are kept, and not itself.
        password: Option<Password>,
    },
    /// The operator takes a user out of the store.
    RemoveUser {
        /// Whom.
        user: String,
    },
    /// The operator gives a user of the store another password.
    ChangePassword {
        /// Whose.
        user: String,
        /// What he proves himself by from now on.
        password: Password,
    },
    /// Whether this is the user's password; told is his address, and the entry of the directory that is yet to judge. Not for the control socket, where nobody has to prove anything.
    #[serde(skip)]
    LogIn {
        /// Who.
        user: String,
        /// What proves it.
        password: Password,
    },
}

/// A password on its way, which is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// As it was typed.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// To show it to whoever judges.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is done, and on the disk.
    Done,
    /// It cannot be done, and why.
    Refused(String),
    /// A text was not delivered; the SIP status.
    Failed(u16),
    /// What was asked.
    Told(Value),
}

impl Core {
    /// The reply; none where it comes later, by the ticket.
    pub(super) fn command(&mut self, ticket: u64, command: Command) -> Option<Reply> {
        let done = match command {
            Command::Decide { user, who, verdict } => self.decide(&user, &who, verdict.as_deref()),
            Command::AddContact { user, contact, name, groups } => {
                self.add_contact(&user, &contact, name, groups)
            }
            Command::RemoveContact { user, contact } => self.remove_contact(&user, &contact),
            Command::Show { user } => {
                return Some(self.user(&user).map_or_else(Reply::Refused, |u| Reply::Told(self.show(&u))));
            }
            Command::Statistics => return Some(Reply::Told(self.statistics())),
            Command::Nodes => return Some(Reply::Told(self.nodes_shown())),
            Command::Home { user } => {
                return Some(self.home_shown(&user).map_or_else(Reply::Refused, Reply::Told));
            }
            Command::SetState { user, state, note, seconds } => {
                self.set_state(&user, state.as_deref(), &note, seconds)
            }
            Command::Prefer { user, name, value } => self.prefer(&user, &name, value),
            Command::Say { user, to, text } => {
                self.client_says(ticket, &user, &to, text);
                return None;
            }
            Command::Received { user, id } => self.received(&user, &id),
            Command::Users => return Some(Reply::Told(self.users_shown())),
            Command::AddUser { user, name, node, password } => {
                self.add_user(&user, name, node, password.as_ref()).map_err(|why| why.to_string())
            }
            Command::RemoveUser { user } => self.remove_user(&user).map_err(|why| why.to_string()),
            Command::ChangePassword { user, password } => {
                self.change_password(&user, &password).map_err(|why| why.to_string())
            }
            Command::LogIn { user, password } => return Some(self.log_in(&user, &password)),
        };
        Some(done.map_or_else(Reply::Refused, |()| Reply::Done))
    }

    fn log_in(&self, user: &str, password: &Password) -> Reply {
        let user = Aor::parse(user).and_then(|aor| self.users.get(&aor));
        match user {
            Some(user) if user.dn().is_some() || user.has_password(&password.0) => {
                Reply::Told(json!({ "user": user.aor.as_str(), "directory": user.dn() }))
            }
            Some(_) | None => Reply::Refused("the name or the password is wrong".to_owned()),
        }
    }

    pub(super) fn user(&self, text: &str) -> Result<Aor, String> {
        let aor = Aor::parse(text);
        if let Some(user) = aor.as_ref().filter(|user| self.is_elsewhere(user)) {
            return Err(format!("{user}: at home on {}", self.cfg.name_of(self.home(user))));
        }
        let user = aor.filter(|aor| self.users.get(aor).is_some());
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
        let before = self.concerned(&user, |watcher| subject.covers(watcher));
        let policy = self.policies.entry(user.clone()).or_default();
        policy.decide(subject.clone(), verdict).map_err(|()| "too many decisions".to_owned())?;
        let shown = json!({ "who": subject.who(), "verdict": verdict.map(Verdict::name) });
        self.write(Write::Policy(user.clone(), subject.clone(), verdict));
        self.tell(&user, "decision", shown);
        self.tell_decided(&user, &subject);
        if verdict.is_some() {
            for watcher in before.keys() {
                self.has_been_answered(&user, watcher);
            }
        }
        self.on_decided(&user, &before);
        Ok(())
    }

    /// Watchers, present and waiting, whom a decision is about, and what they have.
    pub(super) fn concerned(&self, user: &Aor, covers: impl Fn(&Aor) -> bool) -> BTreeMap<Aor, Access> {
        let present = self.watching(Package::Presence, user).map(|(watcher, _)| watcher.clone());
        let waiting = self.asked.get(user).into_iter().flat_map(|asked| asked.keys().cloned());
        let covered = present.chain(waiting).filter(|watcher| covers(watcher));
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

    fn add_contact(
        &mut self,
        user: &str,
        contact: &str,
        name: String,
        groups: Option<Vec<String>>,
    ) -> Result<(), String> {
        let user = self.user(user)?;
        let contact = Aor::parse(contact).ok_or_else(|| format!("{contact}: not an address"))?;
        let before = self.contacts.get(&user).and_then(|contacts| contacts.get(&contact));
        let groups = groups.or_else(|| before.map(|entry| entry.groups.clone()));
        let entry = Contact::new(name, groups.unwrap_or_default())?;
        let contacts = self.contacts.entry(user.clone()).or_default();
        if contacts.len() >= self.cfg.limits.contacts && !contacts.contains_key(&contact) {
            return Err("the list is full".to_owned());
        }
        contacts.insert(contact.clone(), entry.clone());
        self.write(Write::Contact(user.clone(), contact.clone(), Some(entry)));
        if !self.is_ours(&contact) {
            self.want_watch(&user, &contact);
        }
        self.tell_contact(&user, &contact);
        Ok(())
    }

    fn remove_contact(&mut self, user: &str, contact: &str) -> Result<(), String> {
        let user = self.user(user)?;
        let known = Aor::parse(contact).filter(|aor| {
            self.contacts.get_mut(&user).is_some_and(|contacts| contacts.remove(aor).is_some())
        });
        let contact = known.ok_or_else(|| format!("{contact}: not in the list"))?;
        self.write(Write::Contact(user.clone(), contact.clone(), None));
        if !self.is_ours(&contact) {
            self.unwant_watch(&user, &contact);
        }
        self.tell(&user, "contact-removed", json!({ "address": contact.as_str() }));
        Ok(())
    }

    pub(super) fn show(&self, user: &Aor) -> Value {
        let state = self.state(user);
        let decisions = self.policies.get(user).map(|policy| policy.decisions()).unwrap_or_default();
        let decisions: Vec<Value> = decisions
            .into_iter()
            .map(|(subject, verdict)| json!({ "who": subject.who(), "verdict": verdict.name() }))
            .collect();
        let contacts = self.contacts.get(user).into_iter().flatten();
        let contacts: Vec<Value> =
            contacts.map(|(contact, entry)| self.contact_shown(user, contact, entry)).collect();
        let watchers: Vec<Value> = self
            .watchers(user)
            .into_iter()
            .map(|watcher| json!({ "address": watcher.who.as_str(), "status": watcher.status.name() }))
            .collect();
        json!({
            "address": user.as_str(),
            "name": self.users.get(user).and_then(|user| user.name.as_deref()),
            "presence": self.own_presence(user),
            "preferences": self.preferences(user),
            "clients": self.listening(user),
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
            "clients": self.listeners(),
            "counters": self.counters,
            "web": self.web.counters.as_ref().map(|counters| counters.shown()),
        })
    }
}
