// SPDX-License-Identifier: MIT OR Apache-2.0
//! The users of the node: from a file, from a directory if there is one ([`crate::directory`]), and from the store ([`account`]).
//!
//! A TOML file of `[[user]]` tables: `address`, optionally `name` (shown to others), and what the user proves himself by:
//! `password`, or `ha1-md5` and `ha1-sha256` (hex of user:realm:password), by which the file need not hold the password.
//! Of one who is at home on another
//! node (`node`, or the configuration's table) nothing more is read. Passwords are turned into the two at the start. The realm is the user's domain.
//!
//! The file is read at the start; asked by the core.

mod account;

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::constant_time;
use serde::Deserialize;

use crate::aor::Aor;
use crate::config::Config;
use crate::digest::{Algorithm, hash};
use crate::directory::Listed;
use crate::homing::Home;
pub(crate) use account::AccountError;
pub use account::{Account, Place};

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// It is not what it should be.
    #[error("{0}: {1}")]
    Form(String, toml::de::Error),
    /// No address, or one of a domain that is not the node's.
    #[error("user {0}: not an address of this node's domains")]
    Address(String),
    /// Twice the same.
    #[error("user {0} stands twice")]
    Twice(Aor),
    /// At home on a node that there is not.
    #[error("user {0}: there is no node {1}")]
    Node(Aor, String),
    /// At home on one node by the file, on another by the configuration.
    #[error("user {0}: at home on {1} by this file, on {2} by [homes]")]
    Homes(Aor, String, String),
    /// Nothing to prove himself by.
    #[error("user {0} has neither password nor ha1-md5 or ha1-sha256")]
    Secret(Aor),
    /// Cannot prove himself by an algorithm that the configuration offers: devices take the first they know.
    #[error("user {0} has neither password nor {1}, and digest offers {2}")]
    Offered(Aor, &'static str, &'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    address: String,
    name: Option<String>,
    node: Option<String>,
    password: Option<String>,
    ha1_md5: Option<String>,
    ha1_sha256: Option<String>,
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    /// The address of record.
    pub aor: Aor,
    /// What others are shown.
    pub name: Option<String>,
    md5: Option<String>,
    sha256: Option<String>,
    /// His entry in the directory, which judges his password.
    dn: Option<String>,
    /// He stands in the file.
    is_in_file: bool,
}

/// HA1 of RFC 7616, hex; the realm is the user's domain.
fn ha1_of(algorithm: Algorithm, aor: &Aor, password: &str) -> String {
    hash(algorithm, &format!("{}:{}:{password}", aor.user(), aor.domain()))
}

impl User {
    /// The distinguished name by which he proves himself to the directory; `None` where he is the file's alone.
    pub(crate) fn dn(&self) -> Option<&str> {
        self.dn.as_deref()
    }

    /// Whether this is his password, by the best that is known of it; in the same time wherever it differs.
    pub fn has_password(&self, password: &str) -> bool {
        let known = Algorithm::ALL.into_iter().find_map(|algorithm| Some((algorithm, self.ha1(algorithm)?)));
        known.is_some_and(|(algorithm, ha1)| {
            let shown = ha1_of(algorithm, &self.aor, password);
            constant_time::verify_slices_are_equal(shown.as_bytes(), ha1.as_bytes()).is_ok()
        })
    }

    /// HA1 of RFC 7616 for this algorithm, hex.
    pub fn ha1(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Users {
    here: HashMap<Aor, User>,
    /// Which node the file says that a user is at home on.
    homes: HashMap<Aor, Home>,
    /// What the store adds.
    accounts: account::Accounts,
}

impl Users {
    /// Reads the file of the configuration.
    pub fn read(cfg: &Config) -> Result<Self, UsersError> {
        let shown = cfg.users.display().to_string();
        let text = std::fs::read_to_string(&cfg.users).map_err(|why| UsersError::Read(shown.clone(), why))?;
        Self::parse(&text, &shown, cfg)
    }

    /// Reads the text of the file called `shown`.
    pub fn parse(text: &str, shown: &str, cfg: &Config) -> Result<Self, UsersError> {
        let file: File = toml::from_str(text).map_err(|why| UsersError::Form(shown.to_owned(), why))?;
        let (mut users, mut homes) = (HashMap::new(), HashMap::new());
        for entry in file.user {
            let aor = Aor::parse(&entry.address).filter(|aor| cfg.is_local(aor.domain()));
            let aor = aor.ok_or(UsersError::Address(entry.address))?;
            if let Some(node) = entry.node {
                let home =
                    cfg.home_named(&node).ok_or_else(|| UsersError::Node(aor.clone(), node.clone()))?;
                if let Some(other) = cfg.homes.of_user(&aor).filter(|other| *other != home) {
                    return Err(UsersError::Homes(aor, node, cfg.name_of(other).to_owned()));
                }
                if homes.insert(aor.clone(), home).is_some() {
                    return Err(UsersError::Twice(aor));
                }
            }
            let home = homes.get(&aor).copied().or_else(|| cfg.homes.of(&aor)).unwrap_or(Home::Here);
            if home != Home::Here {
                continue;
            }
            let made = |algorithm| {
                let password = entry.password.as_ref()?;
                Some(ha1_of(algorithm, &aor, password))
            };
            let md5 = entry.ha1_md5.map(|hex| hex.to_ascii_lowercase()).or_else(|| made(Algorithm::Md5));
            let sha256 =
                entry.ha1_sha256.map(|hex| hex.to_ascii_lowercase()).or_else(|| made(Algorithm::Sha256));
            if md5.is_none() && sha256.is_none() {
                return Err(UsersError::Secret(aor));
            }
            let user = User { aor: aor.clone(), name: entry.name, md5, sha256, dn: None, is_in_file: true };
            if let Some(offered) = cfg.digest.iter().find(|algorithm| user.ha1(**algorithm).is_none()) {
                let (key, name) = match offered {
                    Algorithm::Md5 => ("ha1-md5", "MD5"),
                    Algorithm::Sha256 => ("ha1-sha256", "SHA-256"),
                };
                return Err(UsersError::Offered(aor, key, name));
            }
            if users.insert(aor.clone(), user).is_some() {
                return Err(UsersError::Twice(aor));
            }
        }
        Ok(Self { here: users, homes, accounts: account::Accounts::default() })
    }

    /// Which node the file or the store says that a user is at home on.
    pub fn home(&self, user: &Aor) -> Option<Home> {
        self.homes.get(user).or_else(|| self.accounts.homes.get(user)).copied()
    }

    /// How many they say so of, of one node.
    pub fn named(&self, home: Home) -> usize {
        self.homes.values().chain(self.accounts.homes.values()).filter(|other| **other == home).count()
    }

    fn is_in_file(&self, user: &Aor) -> bool {
        self.homes.contains_key(user) || self.here.get(user).is_some_and(|user| user.is_in_file)
    }

    /// These, and those of a directory. Who is in both has the file's digests and the directory's password.
    pub(crate) fn and(&self, listed: Vec<Listed>, cfg: &Config) -> Self {
        let mut users = self.here.clone();
        for Listed { aor, name, dn } in listed {
            if self.home(&aor).or_else(|| cfg.homes.of(&aor)).is_some_and(|home| home != Home::Here) {
                continue;
            }
            let fresh = || User {
                aor: aor.clone(),
                name: None,
                md5: None,
                sha256: None,
                dn: None,
                is_in_file: false,
            };
            let user = users.entry(aor.clone()).or_insert_with(fresh);
            user.name = user.name.take().or(name);
            user.dn = Some(dn);
        }
        Self { here: users, homes: self.homes.clone(), accounts: self.accounts.clone() }
    }

    /// The user with this address, where he is at home here.
    pub fn get(&self, aor: &Aor) -> Option<&User> {
        if self.accounts.homes.contains_key(aor) {
            return None;
        }
        self.accounts.here.get(aor).or_else(|| self.here.get(aor))
    }

    /// All who are at home here.
    pub(crate) fn addresses(&self) -> BTreeSet<Aor> {
        let known = self.here.keys().chain(self.accounts.here.keys());
        known.filter(|aor| self.get(aor).is_some()).cloned().collect()
    }

    /// How many there are at home here.
    pub fn len(&self) -> usize {
        let added = self.accounts.here.keys().filter(|aor| !self.here.contains_key(aor)).count();
        let moved = self.accounts.homes.keys().filter(|aor| self.here.contains_key(aor)).count();
        self.here.len() + added - moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Users, UsersError> {
        offered(text, &["SHA-256", "MD5"])
    }

    fn offered(text: &str, digest: &[&str]) -> Result<Users, UsersError> {
        let config = format!(
            "name = \"n.example\"\ndomains = [\"local.example\"]\nstore = \"s\"\nusers = \"u\"\ncontrol = \"c\"\ndigest = {digest:?}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n"
        );
        Users::parse(text, "users", &Config::parse(&config, "config").expect("a configuration"))
    }

    #[test]
    fn a_password_and_its_digest_are_the_same() {
        let bob = Aor::parse("bob@local.example").expect("an address");
        let plain =
            parse("[[user]]\naddress = \"Bob@local.example\"\npassword = \"secret\"\n").expect("users");
        let md5 = plain.get(&bob).and_then(|user| user.ha1(Algorithm::Md5)).expect("a digest").to_owned();
        // printf 'bob:local.example:secret' | md5sum
        assert_eq!(md5, "cd36d9088eedfec77ebe77a06ab057b3");
        let only_md5 = format!("[[user]]\naddress = \"bob@local.example\"\nha1-md5 = \"{md5}\"\n");
        let hashed = offered(&only_md5, &["MD5"]).expect("users");
        let user = hashed.get(&bob).expect("bob");
        assert_eq!((user.ha1(Algorithm::Md5), user.ha1(Algorithm::Sha256)), (Some(md5.as_str()), None));
        for user in [user, plain.get(&bob).expect("bob")] {
            assert!(user.has_password("secret") && !user.has_password("Secret") && !user.has_password(""));
        }
        // A device that knows SHA-256 would take that, and never come in.
        let why = parse(&only_md5).expect_err("SHA-256 is offered").to_string();
        assert!(why.contains("ha1-sha256"), "{why}");
    }

    #[test]
    fn what_is_refused() {
        let of = |text: &str| parse(text).expect_err(text).to_string();
        assert!(of("[[user]]\naddress = \"bob@else.example\"\npassword = \"x\"\n").contains("domains"));
        assert!(of("[[user]]\naddress = \"bob@local.example\"\n").contains("neither"));
        let twice = "[[user]]\naddress = \"bob@local.example\"\npassword = \"x\"\n".repeat(2);
        assert!(of(&twice).contains("twice"));
        assert!(of("[[user]]\naddress = \"bob@local.example\"\npasword = \"x\"\n").contains("pasword"));
    }
}
