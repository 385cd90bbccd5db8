// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names on the domain lists: one canonical form with the dataplane (`fedgate_sip::domain`), and the rules that keep a list from
//! permitting more than its author meant.
//!
//! Refused: `*` alone, `*.tld` (a whole top-level domain), a wildcard on an address, a permitted domain that is one of our own.
//! Warned of: a wildcard that covers a domain of our own (the dataplane asks "is it local" first, so it is safe, but seldom meant).

use std::fmt;
use std::net::IpAddr;

use fedgate_sip::domain::{Domain, DomainError};

use super::model::{DomainKey, Model};

/// The canonical form of a domain or an address literal (IPv6 in brackets on input, without them here).
pub fn canonical(word: &str) -> Result<String, DomainError> {
    Domain::canonical(word.as_bytes()).map(|d| d.as_str().to_owned())
}

/// Whether a canonical name is an address.
pub fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// A canonical name as it is written in a configuration: IPv6 in brackets.
pub fn written(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

/// Why a word is no entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// `*`.
    #[error("`*` alone would match every domain")]
    Everything,
    /// `*.com`.
    #[error("it would match a whole top-level domain")]
    TopLevel,
    /// `*.192.0.2.1`.
    #[error("an address has no subdomains")]
    Address,
    /// Not a domain.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

/// `D` or `*.D` of a `permit` or `block` line.
pub fn parse_key(word: &str) -> Result<DomainKey, BadKey> {
    if word == "*" || word == "*." {
        return Err(BadKey::Everything);
    }
    let Some(suffix) = word.strip_prefix("*.") else {
        return Ok(DomainKey { name: canonical(word)?, wildcard: false });
    };
    let name = canonical(suffix)?;
    if is_address(&name) {
        return Err(BadKey::Address);
    }
    if !name.contains('.') {
        return Err(BadKey::TopLevel);
    }
    Ok(DomainKey { name, wildcard: true })
}

impl fmt::Display for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, written(&self.name))
    }
}

/// Why `key` cannot be permitted beside the local domains of `model`.
pub fn refused(model: &Model, key: &DomainKey) -> Option<String> {
    (!key.wildcard && model.local_domains.contains(&key.name))
        .then(|| format!("{} is a local domain: permitting it would let foreigners speak for us", key.name))
}

/// The permitted wildcards that cover `local`, shortest first.
pub fn covering<'m>(model: &'m Model, local: &str) -> Vec<&'m DomainKey> {
    let mut found = Vec::new();
    let mut rest = local;
    while let Some((_, suffix)) = rest.split_once('.') {
        let key = DomainKey { name: suffix.to_owned(), wildcard: true };
        if let Some((key, _)) = model.domains.get_key_value(&key).filter(|(_, entry)| entry.permit.is_some())
        {
            found.push(key);
        }
        rest = suffix;
    }
    found
}
