// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users who come and go while the node runs: by the operator's command ([`crate::users::Account`]), or with the directory.
//!
//! One who comes is a user at once, and his contacts are watched. With one who goes everything ends that he or others had by him: who watches
//! him is told `terminated;reason=noresource` and that he is offline, his own subscriptions end (`rejected`), his registrations, publications, quiet
//! sessions of texts and web clients go, and no connection has proved to be his any more. What he decided and whom he had in his list stays
//! in the store, for one who comes back.
//!
//! Many may go at once (a directory's unit), so what they had is looked for once for all of them. Part of the core.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Core, Output, Password};
use crate::aor::Aor;
use crate::ids::Tag;
use crate::store::Write;
use crate::users::{Account, AccountError, Place, Users};

impl Core {
    /// Of the store, when the node starts.
    pub(super) fn restore_accounts(&mut self, stored: Vec<(Aor, Account)>) {
        for (aor, account) in stored {
            self.users.set(&aor, Some(account), &self.cfg);
            if let Some(why) = self.users.unused(&aor, &self.cfg) {
                tracing::warn!(%why, "an entry of the store is not used");
            }
        }
    }

    /// There are other users in the file and the directory than before.
    pub fn on_users(&mut self, mut users: Users, now: u64) {
        self.now = now;
        users.adopt(&self.users, &self.cfg);
        let before = self.users.addresses();
        self.users = users;
        let after = self.users.addresses();
        self.users_left(&before.difference(&after).cloned().collect());
        self.users_came(&after.difference(&before).cloned().collect());
    }

    /// All users, and where they come from.
    pub(super) fn users_shown(&self) -> Value {
        self.users.shown(&self.cfg)
    }

    /// The operator adds somebody: with a password, or at home on another node.
    pub(super) fn add_user(
        &mut self,
        user: &str,
        name: String,
        node: Option<String>,
        password: Option<&Password>,
    ) -> Result<(), AccountError> {
        let aor = address(user)?;
        let place = match (node, password) {
            (None, Some(password)) => Place::with(&aor, password.text())?,
            (None, None) => return Err(AccountError::NoPassword(aor)),
            (Some(node), None) => Place::On(node),
            (Some(node), Some(_)) => return Err(AccountError::Elsewhere(aor, node)),
        };
        let account = Account { name, place };
        self.users.may_add(&aor, &account, &self.cfg)?;
        self.keep_account(&aor, Some(account));
        Ok(())
    }

    /// The operator takes somebody out of the store.
    pub(super) fn remove_user(&mut self, user: &str) -> Result<(), AccountError> {
        let aor = address(user)?;
        self.users.account(&aor)?;
        self.keep_account(&aor, None);
        self.forget_proofs(&BTreeSet::from([aor]));
        Ok(())
    }

    /// The operator gives somebody of the store another password.
    pub(super) fn change_password(&mut self, user: &str, password: &Password) -> Result<(), AccountError> {
        let aor = address(user)?;
        let account = self.users.account(&aor)?;
        match &account.place {
            Place::On(node) => return Err(AccountError::Elsewhere(aor, node.clone())),
            Place::Here(..) => {}
        }
        let place = Place::with(&aor, password.text())?;
        let account = Account { name: account.name.clone(), place };
        self.keep_account(&aor, Some(account));
        self.forget_proofs(&BTreeSet::from([aor]));
        Ok(())
    }

    fn keep_account(&mut self, aor: &Aor, account: Option<Account>) {
        let was = self.users.get(aor).is_some();
        let was_elsewhere = self.is_elsewhere(aor);
        self.write(Write::Account(aor.clone(), account.clone()));
        self.users.set(aor, account, &self.cfg);
        match (was, self.users.get(aor).is_some()) {
            (true, false) => self.users_left(&BTreeSet::from([aor.clone()])),
            (false, true) => self.users_came(&BTreeSet::from([aor.clone()])),
            (true, true) | (false, false) => {}
        }
        match (was_elsewhere, self.is_elsewhere(aor)) {
            (false, true) => self.has_gone_elsewhere(aor),
            (true, false) => self.is_elsewhere_no_more(aor),
            (true, true) | (false, false) => {}
        }
    }

    /// Who has him in his list watches him from now on at the node that he is at home on.
    fn has_gone_elsewhere(&mut self, aor: &Aor) {
        let lists = self.contacts.iter().filter(|(_, contacts)| contacts.contains_key(aor));
        let owners: Vec<Aor> =
            lists.map(|(owner, _)| owner.clone()).filter(|owner| self.users.get(owner).is_some()).collect();
        for owner in owners {
            self.want_watch(&owner, aor);
        }
    }

    fn is_elsewhere_no_more(&mut self, aor: &Aor) {
        self.end_subscriptions(&BTreeSet::from([aor.clone()]));
        let tags: BTreeSet<Tag> =
            self.watch_of.iter().filter(|((_, other), _)| other == aor).map(|(_, tag)| *tag).collect();
        for tag in tags {
            self.end_watch(tag);
        }
    }

    /// Contacts of those who are new are watched from now on.
    fn users_came(&mut self, users: &BTreeSet<Aor>) {
        let lists = users.iter().filter_map(|user| Some((user, self.contacts.get(user)?)));
        let wanted: Vec<(Aor, Aor)> = lists
            .flat_map(|(owner, contacts)| {
                contacts.keys().map(move |contact| (owner.clone(), contact.clone()))
            })
            .filter(|(_, contact)| !self.is_ours(contact))
            .collect();
        for (owner, contact) in wanted {
            self.want_watch(&owner, &contact);
        }
    }

    fn users_left(&mut self, users: &BTreeSet<Aor>) {
        if users.is_empty() {
            return;
        }
        self.forget_proofs(users);
        for user in users {
            for binding in self.bindings.remove(user).unwrap_or_default() {
                self.write(Write::Unbound(user.clone(), binding.contact));
            }
            self.unpublish(user);
            for id in self.web.forget(user) {
                self.out.push(Output::Silence(id));
            }
        }
        self.end_subscriptions(users);
        self.end_watches(users);
        self.end_sessions(users);
    }

    /// What has proved to be theirs is to prove it again.
    fn forget_proofs(&mut self, users: &BTreeSet<Aor>) {
        for conn in self.conns.values_mut() {
            conn.users.retain(|user| !users.contains(user));
        }
    }

    fn end_watches(&mut self, users: &BTreeSet<Aor>) {
        let theirs = self.watch_of.iter().filter(|((local, _), _)| users.contains(local));
        let tags: BTreeSet<Tag> = theirs.map(|(_, tag)| *tag).collect();
        for tag in tags {
            self.end_watch(tag);
        }
    }
}

fn address(user: &str) -> Result<Aor, AccountError> {
    Aor::parse(user).ok_or_else(|| AccountError::Address(user.to_owned()))
}
