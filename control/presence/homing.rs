// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several nodes of one enterprise: which there are, and which of them is a user's home.
//!
//! Each user is at home on one node: his devices register there, it decides for him and holds what is stored of him. The table of the
//! configuration says which (`[homes]`: an address, or one of the node's domains for all of it), and the file of users may (`node`); whom neither names is
//! at home here. All nodes of an enterprise should have the same table: where they differ, a request is refused and never goes round.
//!
//! A name that is no node's is an error at the start. Read by [`crate::config`] and [`crate::users`], asked by the core.

use std::collections::{BTreeMap, HashMap};

use fedgate_sip::domain::Domain;
use serde::Deserialize;

use crate::aor::Aor;
use crate::config::ConfigError;

/// Another node of the enterprise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerNode {
    /// Its name: in its certificate, and in its Contacts.
    pub name: String,
    /// Where it is, `name:port` or `address:port`, tried in this order: of two that share a store, both.
    pub to: Vec<String>,
}

/// The node of this name, canonical or not: this one (`own`) or another.
pub(crate) fn home_named(own: &str, nodes: &[PeerNode], name: &str) -> Option<Home> {
    let name = Domain::canonical(name.as_bytes()).ok()?;
    if name.as_str() == own {
        return Some(Home::Here);
    }
    nodes.iter().position(|node| node.name == name.as_str()).map(Home::At)
}

/// Whether it is `name:port` or `address:port`.
pub(crate) fn is_place(to: &str) -> bool {
    to.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Which node a user is at home on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// This one.
    Here,
    /// The other of this number in the configuration.
    At(usize),
}

/// The configuration's table.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    users: HashMap<Aor, Home>,
    domains: HashMap<String, Home>,
}

impl Homes {
    /// Checks a table: `named` says which node a name is, `is_local` which domains are the enterprise's.
    pub(crate) fn parse(
        table: &BTreeMap<String, String>,
        named: impl Fn(&str) -> Option<Home>,
        is_local: impl Fn(&str) -> bool,
    ) -> Result<Self, ConfigError> {
        let bad = |why: String| Err(ConfigError::Value("homes", why));
        let mut homes = Self::default();
        for (who, node) in table {
            let Some(home) = named(node) else {
                return bad(format!("{who}: there is no node {node}"));
            };
            let user = Aor::parse(who);
            let domain = user.as_ref().map_or(who.as_str(), Aor::domain).to_ascii_lowercase();
            if !is_local(&domain) {
                return bad(format!("{who}: not of the node's domains"));
            }
            let twice = match user {
                Some(user) => homes.users.insert(user, home),
                None => homes.domains.insert(domain, home),
            };
            if twice.is_some() {
                return bad(format!("{who} stands twice"));
            }
        }
        Ok(homes)
    }

    /// What the table says of a user by his own address.
    pub(crate) fn of_user(&self, user: &Aor) -> Option<Home> {
        self.users.get(user).copied()
    }

    /// What it says of him, by his address or else by his domain.
    pub(crate) fn of(&self, user: &Aor) -> Option<Home> {
        self.of_user(user).or_else(|| self.domains.get(user.domain()).copied())
    }

    /// How many lines name this node.
    pub(crate) fn lines(&self, home: Home) -> usize {
        self.users.values().chain(self.domains.values()).filter(|other| **other == home).count()
    }
}
