// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users whom the operator has put into the store by the command line.
//!
//! What is kept is what the file of users may hold in a password's place: HA1 by each algorithm, never the password; of one who is at home on another
//! node only which. The file wins: who stands there cannot be put into the store as well, and where a later file names one of the store, the store's
//! entry is not used. Who is in the directory as well has the store's digests and the directory's password, as with the file.
//!
//! An entry that the configuration has no place for any more (its domain or its node is gone) is kept, and not used; `users` says so.
//! Bounds: [`MAX_ACCOUNTS`], [`MAX_PASSWORD`], [`MAX_NAME`]. Pure; asked by the core, which stores what changes.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{User, Users, ha1_of};
use crate::aor::Aor;
use crate::config::Config;
use crate::digest::Algorithm;
use crate::homing::Home;

/// Users in the store.
pub(crate) const MAX_ACCOUNTS: usize = 100_000;
/// Longest password, octets.
const MAX_PASSWORD: usize = 256;
/// Longest name, octets.
const MAX_NAME: usize = 256;

/// Why somebody cannot be put into the store, changed or taken out.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum AccountError {
    /// No address.
    #[error("{0}: not an address, and no name that becomes one with --domain")]
    Address(String),
    /// The file has him.
    #[error("{0} stands in the file of users, which goes before the store: change it there")]
    InFile(Aor),
    /// Twice the same.
    #[error("{0} stands in the store already")]
    Twice(Aor),
    /// He is the directory's alone.
    #[error("{0} is in the directory alone, not in the store")]
    InDirectory(Aor),
    /// Nobody has him.
    #[error("{0}: no such user")]
    Unknown(Aor),
    /// Of a domain that is not the node's.
    #[error("{0}: not of this node's domains")]
    Domain(Aor),
    /// At home on a node that there is not.
    #[error("{0}: there is no node {1}")]
    Node(Aor, String),
    /// At home here, and named as if he were not.
    #[error("{0}: {1} is this node, where a user needs a password and --node is left out")]
    Own(Aor, String),
    /// At home elsewhere by the configuration.
    #[error("{0}: at home on {1} by [homes]")]
    Homes(Aor, String),
    /// At home here, without a password.
    #[error("{0}: no password")]
    NoPassword(Aor),
    /// At home elsewhere, with a password.
    #[error("{0}: at home on {1}, which knows his password")]
    Elsewhere(Aor, String),
    /// Not a password.
    #[error("a password has 1 to {MAX_PASSWORD} octets and no controls in it")]
    Password,
    /// Not a name.
    #[error("a name has {MAX_NAME} octets at most and no controls in it")]
    Name,
    /// No room.
    #[error("the store has {MAX_ACCOUNTS} users, and takes no more")]
    Full,
}

/// Where a user of the store is at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here; HA1 by MD5 and by SHA-256 (RFC 7616), hex.
    Here(String, String),
    /// On the node of this name.
    On(String),
}

impl Place {
    /// Here, with this password, of which only the digests are kept.
    pub(crate) fn with(aor: &Aor, password: &str) -> Result<Self, AccountError> {
        if password.is_empty() || password.len() > MAX_PASSWORD || password.chars().any(char::is_control) {
            return Err(AccountError::Password);
        }
        let made = |algorithm| ha1_of(algorithm, aor, password);
        Ok(Self::Here(made(Algorithm::Md5), made(Algorithm::Sha256)))
    }
}

/// A user as the store has him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What others are shown; empty without a name.
    pub name: String,
    /// Where he is at home.
    pub place: Place,
}

impl Account {
    /// Where the configuration has him at home, or why it has no place for him.
    fn home(&self, aor: &Aor, cfg: &Config) -> Result<Home, AccountError> {
        if !cfg.is_local(aor.domain()) {
            return Err(AccountError::Domain(aor.clone()));
        }
        match &self.place {
            Place::Here(..) => match cfg.homes.of(aor) {
                None | Some(Home::Here) => Ok(Home::Here),
                Some(other @ Home::At(_)) => {
                    Err(AccountError::Homes(aor.clone(), cfg.name_of(other).to_owned()))
                }
            },
            Place::On(node) => match cfg.home_named(node) {
                None => Err(AccountError::Node(aor.clone(), node.clone())),
                Some(Home::Here) => Err(AccountError::Own(aor.clone(), node.clone())),
                Some(home @ Home::At(_)) => match cfg.homes.of_user(aor).filter(|other| *other != home) {
                    Some(other) => Err(AccountError::Homes(aor.clone(), cfg.name_of(other).to_owned())),
                    None => Ok(home),
                },
            },
        }
    }
}

/// Those of the store, and what has become of them among the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    all: BTreeMap<Aor, Account>,
    /// Those that are used and at home here, with what the directory says of them.
    pub(super) here: HashMap<Aor, User>,
    /// Those that are used and at home elsewhere.
    pub(super) homes: HashMap<Aor, Home>,
}

impl Users {
    /// Puts an account of the store among the users, or takes it out.
    pub(crate) fn set(&mut self, aor: &Aor, account: Option<Account>, cfg: &Config) {
        match account {
            Some(account) => self.accounts.all.insert(aor.clone(), account),
            None => self.accounts.all.remove(aor),
        };
        self.settle(aor, cfg);
    }

    /// Takes over the accounts that others had: they are the same, the file and the directory are not.
    pub(crate) fn adopt(&mut self, before: &Self, cfg: &Config) {
        self.accounts.all = before.accounts.all.clone();
        let all: Vec<Aor> = self.accounts.all.keys().cloned().collect();
        for aor in all {
            self.settle(&aor, cfg);
        }
    }

    fn settle(&mut self, aor: &Aor, cfg: &Config) {
        self.accounts.here.remove(aor);
        self.accounts.homes.remove(aor);
        let Some(account) = self.accounts.all.get(aor).filter(|_| !self.is_in_file(aor)) else { return };
        match (account.home(aor, cfg), &account.place) {
            (Ok(Home::Here), Place::Here(md5, sha256)) => {
                let listed = self.here.get(aor);
                let own = Some(account.name.clone()).filter(|name| !name.is_empty());
                let user = User {
                    aor: aor.clone(),
                    name: own.or_else(|| listed.and_then(|user| user.name.clone())),
                    md5: Some(md5.clone()),
                    sha256: Some(sha256.clone()),
                    dn: listed.and_then(|user| user.dn.clone()),
                    is_in_file: false,
                };
                self.accounts.here.insert(aor.clone(), user);
            }
            (Ok(home), Place::On(_)) => {
                self.accounts.homes.insert(aor.clone(), home);
            }
            // An account that there is no place for.
            (Ok(Home::At(_)), Place::Here(..)) | (Err(_), _) => {}
        }
    }

    /// Whether this could be put into the store for `aor`.
    pub(crate) fn may_add(&self, aor: &Aor, account: &Account, cfg: &Config) -> Result<(), AccountError> {
        if self.is_in_file(aor) {
            return Err(AccountError::InFile(aor.clone()));
        }
        if self.accounts.all.contains_key(aor) {
            return Err(AccountError::Twice(aor.clone()));
        }
        if account.name.len() > MAX_NAME || account.name.chars().any(char::is_control) {
            return Err(AccountError::Name);
        }
        if self.accounts.all.len() >= MAX_ACCOUNTS {
            return Err(AccountError::Full);
        }
        account.home(aor, cfg).map(|_| ())
    }

    /// The store's entry of `aor`, or who else has him.
    pub(crate) fn account(&self, aor: &Aor) -> Result<&Account, AccountError> {
        self.accounts.all.get(aor).ok_or_else(|| {
            let aor = aor.clone();
            if self.is_in_file(&aor) {
                AccountError::InFile(aor)
            } else if self.here.contains_key(&aor) {
                AccountError::InDirectory(aor)
            } else {
                AccountError::Unknown(aor)
            }
        })
    }

    /// Why the store's entry of `aor` is not used.
    pub(crate) fn unused(&self, aor: &Aor, cfg: &Config) -> Option<AccountError> {
        let account = self.accounts.all.get(aor)?;
        if self.is_in_file(aor) {
            return Some(AccountError::InFile(aor.clone()));
        }
        account.home(aor, cfg).err()
    }

    /// All who stand anywhere, in the order of their addresses: name, where from (what goes before stands first), node.
    pub(crate) fn shown(&self, cfg: &Config) -> Value {
        let known = self.here.keys().chain(self.homes.keys()).chain(self.accounts.all.keys());
        let mut known: Vec<&Aor> = known.collect();
        known.sort_unstable();
        known.dedup();
        let one = |aor: &Aor| {
            let listed = self.here.get(aor);
            let from = [
                ("file", self.is_in_file(aor)),
                ("store", self.accounts.all.contains_key(aor)),
                ("ldap", listed.is_some_and(|user| user.dn.is_some())),
            ];
            let from: Vec<&str> = from.into_iter().filter(|(_, is)| *is).map(|(from, _)| from).collect();
            let home = self.home(aor).or_else(|| cfg.homes.of(aor)).unwrap_or(Home::Here);
            let mut shown = json!({ "address": aor.as_str(), "from": from, "node": cfg.name_of(home) });
            if let Some(name) = self.get(aor).and_then(|user| user.name.as_deref()) {
                shown["name"] = name.into();
            }
            if let Some(why) = self.unused(aor, cfg) {
                shown["store-not-used"] = why.to_string().into();
            }
            shown
        };
        known.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests;
