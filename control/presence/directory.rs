// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users from a directory: LDAP, as OpenLDAP and Active Directory speak it.
//!
//! The directory says who there is: it is read when the node starts and again every so often, in pages, under an account that may read it. Who comes and
//! goes there comes and goes here; while it does not answer, those who were known stay. And it judges passwords: somebody from the directory
//! logs in to the web service by a bind under his own name, so the node never holds a password of his. Digest, which SIP devices prove
//! themselves by, cannot be done by a bind: for that such a user has an entry in the file of users too ([`crate::users`]).
//!
//! Always by TLS, with the server's name checked: `ldaps://`, or `ldap://` with StartTLS. Bounds: [`MAX_ENTRIES`], [`PATIENCE`] for each answer.
//! The ldap3 crate does the protocol. One task of the driver's runtime, and one bind for each login.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::aor::Aor;
use crate::config::{Config, Directory as Settings};
use crate::driver::Asked;
use crate::transport::{TlsError, trusting};
use crate::users::Users;

/// Users taken from a directory.
const MAX_ENTRIES: usize = 100_000;
/// Entries in one answer; Active Directory gives no more than 1,000.
const PAGE: i32 = 500;
/// For a connection, and for each answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For all of it to be read.
const WHOLE: Duration = Duration::from_secs(60);
/// Until one that did not answer is asked again, at most.
const AGAIN: Duration = Duration::from_secs(10);
/// Result code of a bind with wrong credentials (RFC 4511 appendix A).
const INVALID_CREDENTIALS: u32 = 49;

/// Why a directory cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be reached, or refuses.
    #[error("the directory: {0}")]
    Ldap(#[from] LdapError),
    /// The file with the password.
    #[error("{0}: {1}")]
    Password(String, std::io::Error),
    /// The CAs.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// More users than are taken.
    #[error("the directory has more than {MAX_ENTRIES} users")]
    Many,
}

/// Somebody in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Address of record.
    pub(crate) aor: Aor,
    /// As he is shown.
    pub(crate) name: Option<String>,
    /// His entry's distinguished name, which he binds by.
    pub(crate) dn: String,
}

/// A directory.
pub(crate) struct Directory {
    settings: Settings,
    password: String,
    tls: Arc<ClientConfig>,
}

impl Directory {
    /// The configuration's, with the password from its file; nothing is asked yet.
    pub(crate) fn open(cfg: &Config) -> Result<Option<Self>, DirectoryError> {
        let Some(settings) = &cfg.directory else { return Ok(None) };
        let ca = settings.ca.as_ref().or(cfg.tls.as_ref().map(|tls| &tls.ca));
        // One of the two is there: the configuration has been checked.
        let Some(ca) = ca else { return Ok(None) };
        let shown = settings.password_file.display().to_string();
        let password = std::fs::read_to_string(&settings.password_file);
        let password = password
            .map_err(|why| DirectoryError::Password(shown, why))?
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        Ok(Some(Self { settings: settings.clone(), password, tls: trusting(ca)? }))
    }

    /// Reads it now, and goes on doing so for as long as somebody wants to hear of it. `file` are the users it adds to.
    pub(crate) async fn follow(
        self: Arc<Self>,
        cfg: Arc<Config>,
        file: Users,
        asked: mpsc::Sender<Asked>,
    ) -> Users {
        let first = self.known(&cfg, &file).await;
        let users = first.clone().unwrap_or_else(|| file.clone());
        let refresh = Duration::from_secs(self.settings.refresh);
        tokio::spawn(async move {
            let mut answers = first.is_some();
            loop {
                sleep(if answers { refresh } else { refresh.min(AGAIN) }).await;
                let users = self.known(&cfg, &file).await;
                answers = users.is_some();
                if let Some(users) = users
                    && asked.send(Asked::Users(users)).await.is_err()
                {
                    break;
                }
            }
        });
        users
    }

    /// The users, if it says who they are.
    async fn known(&self, cfg: &Config, file: &Users) -> Option<Users> {
        match timeout(WHOLE, self.read(|domain| cfg.is_local(domain))).await {
            Ok(Ok(listed)) => Some(file.and(listed, cfg)),
            Ok(Err(why)) => {
                tracing::warn!(%why, "who was a user stays one");
                None
            }
            Err(_) => {
                tracing::warn!("the directory takes too long; who was a user stays one");
                None
            }
        }
    }

    async fn connect(&self) -> Result<Ldap, LdapError> {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(PATIENCE)
            .set_starttls(!self.settings.url.starts_with("ldaps:"))
            .set_config(self.tls.clone());
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &self.settings.url).await?;
        tokio::spawn(async move {
            if let Err(why) = connection.drive().await {
                tracing::info!(%why, "the connection to the directory");
            }
        });
        ldap.with_timeout(PATIENCE);
        Ok(ldap)
    }

    /// All users in it whose address is of a domain that `is_local`.
    async fn read(&self, is_local: impl Fn(&str) -> bool) -> Result<Vec<Listed>, DirectoryError> {
        let Settings { base, filter, address, name, bind, .. } = &self.settings;
        let mut ldap = self.connect().await?;
        ldap.simple_bind(bind, &self.password).await?.success()?;
        let adapters: Vec<Box<dyn Adapter<_, _>>> =
            vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
        let wanted = [address.as_str(), name.as_str()];
        ldap.with_timeout(PATIENCE);
        let mut search = ldap.streaming_search_with(adapters, base, Scope::Subtree, filter, wanted).await?;
        let mut all = Vec::new();
        while let Some(entry) = search.next().await? {
            let entry = SearchEntry::construct(entry);
            // Names of attributes are compared without case, and come as the server writes them.
            let value = |wanted: &str| {
                let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.and_then(|(_, values)| values.first().cloned())
            };
            let aor = value(address).and_then(|address| Aor::parse(&address));
            if let Some(aor) = aor.filter(|aor| is_local(aor.domain())) {
                all.push(Listed { aor, name: value(name), dn: entry.dn.clone() });
            }
            if all.len() > MAX_ENTRIES {
                return Err(DirectoryError::Many);
            }
        }
        search.finish().await.success()?;
        ldap.unbind().await?;
        Ok(unambiguous(all))
    }

    /// Whether this is the password of the entry `dn`.
    pub(crate) async fn judges(&self, dn: &str, password: &str) -> Result<bool, DirectoryError> {
        // A bind without a password is an anonymous one, which succeeds and proves nothing (RFC 4513 section 5.1.2).
        if dn.is_empty() || password.is_empty() {
            return Ok(false);
        }
        let mut ldap = self.connect().await?;
        let result = ldap.simple_bind(dn, password).await?;
        let judged = match result.rc {
            INVALID_CREDENTIALS => false,
            _ => result.success().map(|_| true)?,
        };
        ldap.unbind().await?;
        Ok(judged)
    }
}

/// Those whose address nobody else has: of two who claim it, one may have written it himself.
fn unambiguous(all: Vec<Listed>) -> Vec<Listed> {
    let mut counts: HashMap<Aor, usize> = HashMap::new();
    for listed in &all {
        *counts.entry(listed.aor.clone()).or_default() += 1;
    }
    for (aor, count) in counts.iter().filter(|(_, count)| **count > 1) {
        tracing::warn!(%aor, count, "an address stands more than once in the directory, and is nobody's");
    }
    all.into_iter().filter(|listed| counts.get(&listed.aor) == Some(&1)).collect()
}
