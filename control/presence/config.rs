// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node's configuration: one TOML file, read at the start, checked whole before anything is opened.
//!
//! Names, domains and numbers are turned into the forms in which the node compares them here; the rest of the program never sees the
//! file's. An unknown key is an error, so that no misspelt limit is silently the default. docs/presence.md has an example of
//! each key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use fedgate_sip::domain::Domain;
use serde::Deserialize;

use crate::digest::Algorithm;
use crate::homing::{Home, Homes, PeerNode, home_named, is_place};

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// It is not what it should be.
    #[error("{0}: {1}")]
    Form(String, toml::de::Error),
    /// A value makes no sense; the key and why.
    #[error("{0}: {1}")]
    Value(&'static str, String),
}

/// What listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// TLS, or plain TCP.
    #[serde(default)]
    pub tls: bool,
}

/// Certificates in PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The node's chain, its own certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Those who may sign a peer's.
    pub ca: PathBuf,
}

/// A way out of the node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The host of the next URI (a domain, or a machine named in a route set), or `*` for all others.
    pub host: String,
    /// Where to connect: `name:port` or `address:port`.
    pub to: Option<String>,
    /// The name the peer's certificate must bear; plain TCP without.
    pub tls: Option<String>,
    /// Instead of both: where the host's own records say, by TLS, with a certificate for the host.
    #[serde(default)]
    pub dns: bool,
}

/// Name servers, for the routes that ask them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Asked in this order.
    pub servers: Vec<SocketAddr>,
}

/// Who may speak for foreign domains, and which.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Federation {
    /// Permitted foreign domains: exact, or `*.x` for all below x.
    pub permitted: Vec<String>,
    /// Names in the certificates of the appliance and other peers (TLS peer subjects).
    pub peers: Vec<String>,
    /// Peers on plain TCP by address.
    pub addresses: Vec<IpAddr>,
    /// Requests a second taken from all domains together that one `*.x` permits.
    pub unlisted_rate: u32,
    /// Local users they may address before they are slowed to one request a second.
    pub watch_list: usize,
    /// Whether MESSAGE outside a session is taken from foreign domains.
    pub pager: bool,
}

/// Bounds on what others can make the node hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Of one address.
    pub connections_per_address: usize,
    /// Seconds without a message before a connection is closed.
    pub idle: u64,
    /// Inbound subscriptions; one entry of the permitted domains may have half of them.
    pub subscriptions: usize,
    /// Of one watcher.
    pub subscriptions_per_watcher: usize,
    /// Sessions of instant messages; one entry of the permitted domains may have half of them.
    pub sessions: usize,
    /// Contacts of one user.
    pub contacts: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1_000,
            idle: 1_800,
            subscriptions: 200_000,
            subscriptions_per_watcher: 2_000,
            sessions: 50_000,
            contacts: 1_000,
        }
    }
}

/// The web service for users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Web {
    /// Where it listens, by TLS.
    pub listen: SocketAddr,
    /// Users' sessions at once.
    #[serde(default = "Web::sessions")]
    pub sessions: usize,
    /// Seconds without a request after which one ends.
    #[serde(default = "Web::session_idle")]
    pub session_idle: u64,
    /// Connections at once.
    #[serde(default = "Web::connections")]
    pub connections: usize,
    /// Of one address.
    #[serde(default = "Web::connections_per_address")]
    pub connections_per_address: usize,
}

impl Web {
    fn sessions() -> usize {
        10_000
    }

    fn session_idle() -> u64 {
        3_600
    }

    fn connections() -> usize {
        5_000
    }

    fn connections_per_address() -> usize {
        100
    }
}

/// A directory of users (LDAP).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// `ldaps://host:port`, or `ldap://host:port` for StartTLS.
    pub url: String,
    /// Distinguished name of the account that reads it.
    pub bind: String,
    /// The file with that account's password.
    pub password_file: PathBuf,
    /// The entry below which users are.
    pub base: String,
    /// Which of the entries there are users.
    #[serde(default = "Directory::filter")]
    pub filter: String,
    /// The attribute with a user's address.
    #[serde(default = "Directory::address")]
    pub address: String,
    /// The attribute with his name.
    #[serde(default = "Directory::name")]
    pub name: String,
    /// Who may sign the directory's certificate; those who may sign a peer's if it is not said.
    pub ca: Option<PathBuf>,
    /// Seconds between two readings.
    #[serde(default = "Directory::refresh")]
    pub refresh: u64,
}

impl Directory {
    fn filter() -> String {
        "(objectClass=person)".to_owned()
    }

    fn address() -> String {
        "mail".to_owned()
    }

    fn name() -> String {
        "displayName".to_owned()
    }

    fn refresh() -> u64 {
        300
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    name: String,
    port: Option<u16>,
    domains: Vec<String>,
    store: String,
    users: PathBuf,
    control: PathBuf,
    subscribe_status: Option<u16>,
    max_expires: Option<u32>,
    session_idle: Option<u64>,
    lease: Option<u64>,
    digest: Option<Vec<String>>,
    listen: Vec<Listen>,
    tls: Option<Tls>,
    #[serde(default)]
    route: Vec<Route>,
    #[serde(default)]
    node: Vec<PeerNode>,
    #[serde(default)]
    homes: BTreeMap<String, String>,
    #[serde(default)]
    dns: Dns,
    #[serde(default)]
    federation: Federation,
    #[serde(default)]
    limits: Bounds,
    web: Option<Web>,
    directory: Option<Directory>,
}

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, in its Vias and Contacts.
    pub name: String,
    /// The port in its Contacts.
    pub port: u16,
    /// Its domains, canonical.
    pub domains: Vec<String>,
    /// The store's URL.
    pub store: String,
    /// The file of users.
    pub users: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// 200, or 202 as RFC 3265 had it.
    pub subscribe_status: u16,
    /// Longest subscription, publication and registration granted, s.
    pub max_expires: u32,
    /// Seconds without a message before a session is ended.
    pub session_idle: u64,
    /// Seconds after which another node on the same PostgreSQL takes over from one that is silent.
    pub lease: u64,
    /// The algorithms of digest authentication that are offered, in this order.
    pub(crate) digest: Vec<Algorithm>,
    /// What listens.
    pub listen: Vec<Listen>,
    /// Certificates, where there is TLS.
    pub tls: Option<Tls>,
    /// Ways out.
    pub routes: Vec<Route>,
    /// The other nodes of the enterprise.
    pub nodes: Vec<PeerNode>,
    /// Which users are at home on which node.
    pub homes: Homes,
    /// Whom routes ask that go by DNS.
    pub dns: Dns,
    /// Foreign domains.
    pub federation: Federation,
    /// Bounds.
    pub limits: Bounds,
    /// The web service, where there is one.
    pub web: Option<Web>,
    /// The directory of users, where there is one.
    pub directory: Option<Directory>,
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| ConfigError::Read(shown.clone(), why))?;
        Self::parse(&text, &shown)
    }

    /// Checks the text of the file called `shown`.
    pub fn parse(text: &str, shown: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|why| ConfigError::Form(shown.to_owned(), why))?;
        let domains: Vec<String> =
            file.domains.iter().map(|domain| canonical("domains", domain)).collect::<Result<_, _>>()?;
        let bad = |key, why: &str| Err(ConfigError::Value(key, why.to_owned()));
        if domains.is_empty() {
            return bad("domains", "the node needs one at least");
        }
        if file.listen.is_empty() {
            return bad("listen", "the node needs one at least");
        }
        let wants_tls = file.listen.iter().any(|l| l.tls)
            || file.route.iter().any(|r| r.tls.is_some() || r.dns)
            || !file.node.is_empty();
        if wants_tls && file.tls.is_none() {
            return bad(
                "tls",
                "a listener, a route or another node uses TLS, which needs certificate, key and ca",
            );
        }
        if let Some(directory) = &file.directory {
            if !directory.url.starts_with("ldaps://") && !directory.url.starts_with("ldap://") {
                return bad("directory.url", "ldaps://host:port or ldap://host:port");
            }
            if directory.ca.is_none() && file.tls.is_none() {
                return bad("directory.ca", "who may sign the directory's certificate");
            }
            if !(1..=86_400).contains(&directory.refresh) {
                return bad("directory.refresh", "1 to 86400");
            }
        }
        if file.web.is_some() && file.tls.is_none() {
            return bad("tls", "the web service uses TLS, which needs certificate, key and ca");
        }
        let subscribe_status = file.subscribe_status.unwrap_or(200);
        if !matches!(subscribe_status, 200 | 202) {
            return bad("subscribe-status", "200 or 202");
        }
        let max_expires = file.max_expires.unwrap_or(7_200);
        if !(60..=86_400).contains(&max_expires) {
            return bad("max-expires", "60 to 86400");
        }
        let lease = file.lease.unwrap_or(10);
        if !(1..=300).contains(&lease) {
            return bad("lease", "1 to 300");
        }
        let tls_port = file.listen.iter().find(|l| l.tls).or(file.listen.first()).map(|l| l.address.port());
        let mut federation = file.federation;
        federation.permitted = permitted(&federation.permitted, &domains)?;
        federation.peers = federation
            .peers
            .iter()
            .map(|peer| canonical("federation.peers", peer))
            .collect::<Result<_, _>>()?;
        if federation.unlisted_rate == 0 {
            federation.unlisted_rate = 20;
        }
        if federation.watch_list == 0 {
            federation.watch_list = 1_000;
        }
        let name = canonical("name", &file.name)?;
        let nodes = nodes(file.node, &name)?;
        let is_local = |domain: &str| domains.iter().any(|local| local == domain);
        let homes = Homes::parse(&file.homes, |node| home_named(&name, &nodes, node), is_local)?;
        let mut routes = file.route;
        for route in &mut routes {
            if route.host != "*" {
                route.host = canonical("route.host", &route.host)?;
            }
            let to = route.to.as_ref().map(|to| is_place(to));
            match (to, route.dns) {
                (Some(true), false) => {}
                (None, true) if route.tls.is_some() => {
                    return bad("route.tls", "what goes by DNS must bear the host's own name");
                }
                (None, true) if file.dns.servers.is_empty() => {
                    return bad("dns.servers", "a route asks them");
                }
                (None, true) => {}
                (Some(_), true) => return bad("route.to", "where to is said, DNS is not asked"),
                (Some(false), false) => return bad("route.to", "name:port or address:port"),
                (None, false) => return bad("route.to", "name:port or address:port, or dns = true"),
            }
        }
        let digest = match &file.digest {
            None => Algorithm::ALL.to_vec(),
            Some(names) => names.iter().filter_map(|name| Algorithm::of(name)).collect(),
        };
        if digest.is_empty() || file.digest.is_some_and(|names| names.len() != digest.len()) {
            return bad("digest", "SHA-256, MD5 or both");
        }
        Ok(Self {
            name,
            port: file.port.or(tls_port).unwrap_or(5061),
            domains,
            store: file.store,
            users: file.users,
            control: file.control,
            subscribe_status,
            max_expires,
            session_idle: file.session_idle.unwrap_or(1_200).clamp(1, 86_400),
            lease,
            digest,
            listen: file.listen,
            tls: file.tls,
            routes,
            nodes,
            homes,
            dns: file.dns,
            federation,
            limits: file.limits,
            web: file.web,
            directory: file.directory,
        })
    }

    /// Whether a canonical domain is the node's. By equality, never by suffix.
    pub fn is_local(&self, domain: &str) -> bool {
        self.domains.iter().any(|local| local == domain)
    }

    /// The other node of this name, canonical or not.
    pub(crate) fn node(&self, host: &str) -> Option<usize> {
        let host = Domain::canonical(host.as_bytes()).ok()?;
        self.nodes.iter().position(|node| node.name == host.as_str())
    }

    /// The node of this name, this one or another.
    pub(crate) fn home_named(&self, name: &str) -> Option<Home> {
        home_named(&self.name, &self.nodes, name)
    }

    /// The name of a node.
    pub(crate) fn name_of(&self, home: Home) -> &str {
        match home {
            Home::Here => &self.name,
            Home::At(node) => self.nodes.get(node).map_or("", |node| &node.name),
        }
    }

    /// Which entry of the permitted domains a canonical foreign domain is permitted by: its own name before a `*.x`.
    pub fn entry(&self, domain: &str) -> Option<usize> {
        let of = |name: &str| self.federation.permitted.iter().position(|permitted| permitted == name);
        let below = || domain.match_indices('.').find_map(|(dot, _)| of(&format!("*{}", &domain[dot..])));
        if self.is_local(domain) { None } else { of(domain).or_else(below) }
    }

    /// How a canonical foreign domain is permitted.
    pub fn permission(&self, domain: &str) -> Permission {
        match self.entry(domain) {
            None => Permission::Refused,
            Some(entry) if self.federation.permitted[entry].starts_with('*') => Permission::Below(entry),
            Some(_) => Permission::Listed,
        }
    }

    /// The way to a host, canonical or not.
    pub fn route(&self, host: &str) -> Option<&Route> {
        let host = Domain::canonical(host.as_bytes()).ok()?;
        let exact = self.routes.iter().find(|route| route.host == host.as_str());
        exact.or_else(|| self.routes.iter().find(|route| route.host == "*"))
    }
}

/// What the list of permitted domains says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// By its own name.
    Listed,
    /// By a `*.x` only, the list's entry of this number: held to the limits for unknown peers.
    Below(usize),
    /// Not at all, or it is the node's own.
    Refused,
}

fn nodes(nodes: Vec<PeerNode>, own: &str) -> Result<Vec<PeerNode>, ConfigError> {
    let bad = |key, why: String| Err(ConfigError::Value(key, why));
    let mut all: Vec<PeerNode> = Vec::new();
    for PeerNode { name, to } in nodes {
        let name = canonical("node.name", &name)?;
        if name == own || all.iter().any(|other| other.name == name) {
            return bad("node.name", format!("{name} stands twice"));
        }
        if to.is_empty() || !to.iter().all(|to| is_place(to)) {
            return bad("node.to", format!("{name}: name:port or address:port, one at least"));
        }
        all.push(PeerNode { name, to });
    }
    Ok(all)
}

fn permitted(entries: &[String], local: &[String]) -> Result<Vec<String>, ConfigError> {
    let mut all = Vec::new();
    for entry in entries {
        let (star, name) = entry.strip_prefix("*.").map_or(("", entry.as_str()), |name| ("*.", name));
        let name = canonical("federation.permitted", name)?;
        if star.is_empty() && local.contains(&name) {
            return Err(ConfigError::Value(
                "federation.permitted",
                format!("{name} is the node's own domain"),
            ));
        }
        if !star.is_empty() && !name.contains('.') {
            return Err(ConfigError::Value(
                "federation.permitted",
                format!("{entry} is a whole top-level domain"),
            ));
        }
        all.push(format!("{star}{name}"));
    }
    Ok(all)
}

fn canonical(key: &'static str, name: &str) -> Result<String, ConfigError> {
    let domain = Domain::canonical(name.as_bytes())
        .map_err(|why| ConfigError::Value(key, format!("{name}: {why}")))?;
    Ok(domain.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "name = \"CUP.local.example\"\ndomains = [\"cup.cisco.example\"]\nstore = \"sqlite::memory:\"\n\
        users = \"u\"\ncontrol = \"c\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n";

    fn with(rest: &str) -> Result<Config, ConfigError> {
        Config::parse(&format!("{PLAIN}{rest}"), "file")
    }

    #[test]
    fn domains_are_permitted_by_their_names_and_no_others() {
        let config = with("[federation]\npermitted = [\"cisco.example\", \"*.part.example\"]\n")
            .expect("a configuration");
        for (domain, permission) in [
            ("cisco.example", Permission::Listed),
            ("cup.cisco.example", Permission::Refused),
            ("evil.cisco.example", Permission::Refused),
            ("part.example", Permission::Refused),
            ("a.b.part.example", Permission::Below(1)),
            ("notpart.example", Permission::Refused),
            ("cisco.example.evil.example", Permission::Refused),
        ] {
            assert_eq!(config.permission(domain), permission, "{domain}");
        }
    }

    #[test]
    fn routes_by_host_then_the_other() {
        let config = with(
            "[[route]]\nhost = \"*\"\nto = \"b:5060\"\n[[route]]\nhost = \"A.example\"\nto = \"a:5060\"\n",
        )
        .expect("a configuration");
        assert_eq!(config.route("a.EXAMPLE.").and_then(|r| r.to.as_deref()), Some("a:5060"));
        assert_eq!(config.route("c.example").and_then(|r| r.to.as_deref()), Some("b:5060"));
    }

    #[test]
    fn mistakes_are_named() {
        let digest = format!("digest = [\"SHA-256\", \"SHA-1\"]\n{PLAIN}");
        assert!(Config::parse(&digest, "file").expect_err("unknown").to_string().contains("digest"));
        for (text, word) in [
            ("[federation]\npermitted = [\"cup.cisco.example\"]\n", "own domain"),
            ("[federation]\npermitted = [\"*.example\"]\n", "top-level"),
            ("[federation]\npermited = []\n", "permited"),
            ("[[route]]\nhost = \"*\"\nto = \"b\"\n", "route.to"),
            ("[limits]\nidle = \"long\"\n", "idle"),
            ("[[route]]\nhost = \"*\"\nto = \"b:1\"\ntls = \"b\"\n", "certificate"),
            ("[[route]]\nhost = \"*\"\n", "dns = true"),
            ("[[route]]\nhost = \"*\"\ndns = true\n", "certificate"),
            (
                "[tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n[[route]]\nhost = \"*\"\ndns = true\n",
                "dns.servers",
            ),
            (
                "[directory]\nurl = \"http://d\"\nbind = \"b\"\npassword-file = \"p\"\nbase = \"b\"\n",
                "directory.url",
            ),
            (
                "[directory]\nurl = \"ldap://d\"\nbind = \"b\"\npassword-file = \"p\"\nbase = \"b\"\n",
                "directory.ca",
            ),
            ("[[node]]\nname = \"b\"\nto = [\"b:1\"]\n", "another node uses TLS"),
            ("[homes]\n\"bob@cup.cisco.example\" = \"cup2.local.example\"\n", "no node cup2.local.example"),
            ("[homes]\n\"bob@else.example\" = \"cup.local.example\"\n", "not of the node's domains"),
            ("[web]\nlisten = \"127.0.0.1:0\"\n", "web service"),
        ] {
            let why = with(text).expect_err(text).to_string();
            assert!(why.contains(word), "{why}");
        }
    }
}
