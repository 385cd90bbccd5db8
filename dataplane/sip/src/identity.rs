// SPDX-License-Identifier: MIT OR Apache-2.0
//! For which domains a TLS peer's certificate speaks (RFC 5922 section 7.1 and 7.2).
//!
//! The names are, in this order: every `sip:` URI without a user part among the subjectAltNames; if there is none, every
//! dNSName; only if the certificate has no subjectAltName extension at all, the subject's CN. Wildcards match nothing
//! (7.2), neither do IP addresses, `sips:` or user URIs. Names compare in the canonical form of [`crate::domain`].
//!
//! A partner whose certificate carries its edge's host name instead of its SIP domain (an OCS direct partner) is
//! configured with that host name as its peer, and then no other will do, not even the SIP domain itself.
//! [`PeerIdentity::is_host`] answers for it, from dNSNames and the rest alike: that is a question about a host, so a SIP
//! URI beside it does not hide it.
//!
//! Made once a handshake by the proxy, which parses X.509 and hands in the names; asked for each message on worker
//! cores. Holds at most [`MAX_NAMES`] names.

use crate::domain::Domain;
use crate::uri::{Scheme, Uri};

/// Most names a certificate may carry.
pub const MAX_NAMES: usize = 256;

/// The names as the certificate has them, not yet judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateNames<'a> {
    /// Whether there is a subjectAltName extension, whatever is in it.
    pub has_alt_names: bool,
    /// Its uniformResourceIdentifiers.
    pub uris: &'a [&'a str],
    /// Its dNSNames.
    pub dns: &'a [&'a str],
    /// The CNs of the subject. More than one is ambiguous and counts as none.
    pub common_names: &'a [&'a str],
}

/// Why a certificate gives no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// More than [`MAX_NAMES`].
    #[error("{0} names in the certificate, at most {MAX_NAMES} are taken")]
    TooManyNames(usize),
}

/// Who the peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// SIP domain identities by RFC 5922: sorted, canonical.
    domains: Box<[Box<str>]>,
    /// All names of hosts; sorted, canonical.
    hosts: Box<[Box<str>]>,
}

impl PeerIdentity {
    /// A peer that showed no certificate: speaks for nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// The identity that these names give. Names that are no domains are left out.
    pub fn of(names: &CertificateNames<'_>) -> Result<Self, IdentityError> {
        let count = names.uris.len() + names.dns.len() + names.common_names.len();
        if count > MAX_NAMES {
            return Err(IdentityError::TooManyNames(count));
        }
        let uris: Vec<Box<str>> = names.uris.iter().copied().filter_map(sip_domain).collect();
        let dns: Vec<Box<str>> = names.dns.iter().copied().filter_map(dns_name).collect();
        let has_alt_names = names.has_alt_names || !names.uris.is_empty() || !names.dns.is_empty();
        let cn = match names.common_names {
            [cn] if !has_alt_names => dns_name(cn),
            _ => None,
        };
        let hosts = sorted(uris.iter().chain(&dns).cloned().chain(cn.clone()).collect());
        let domains = if !uris.is_empty() {
            uris
        } else if !dns.is_empty() {
            dns
        } else {
            cn.into_iter().collect()
        };
        Ok(Self { domains: sorted(domains), hosts })
    }

    /// Whether the certificate is good for `domain` as a SIP domain.
    pub fn covers(&self, domain: &Domain) -> bool {
        !domain.is_ip() && has(&self.domains, domain)
    }

    /// Whether the certificate names `host`, the configured peer of a domain.
    pub fn is_host(&self, host: &Domain) -> bool {
        !host.is_ip() && has(&self.hosts, host)
    }

    /// Forgets every name that `keep` does not hold for: the peer then speaks for none of those.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        for names in [&mut self.domains, &mut self.hosts] {
            *names = std::mem::take(names).into_iter().filter(|name| keep(name)).collect();
        }
    }

    /// Every name there is in it, some twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().chain(&self.hosts).map(AsRef::as_ref)
    }

    /// The SIP domains it speaks for, sorted; for logs.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(AsRef::as_ref)
    }
}

fn has(names: &[Box<str>], domain: &Domain) -> bool {
    names.binary_search_by(|name| (**name).cmp(domain.as_str())).is_ok()
}

fn sorted(mut names: Vec<Box<str>>) -> Box<[Box<str>]> {
    names.sort_unstable();
    names.dedup();
    names.into_boxed_slice()
}

fn dns_name(text: &str) -> Option<Box<str>> {
    let domain = Domain::canonical(text.as_bytes()).ok()?;
    (!domain.is_ip()).then(|| domain.as_str().into())
}

/// RFC 5922 section 7.1: scheme `sip` only, no user part; the rest of the URI does not matter.
fn sip_domain(text: &str) -> Option<Box<str>> {
    let uri = Uri::parse(text).filter(|uri| uri.scheme == Scheme::Sip && uri.userinfo.is_none())?;
    dns_name(uri.host?)
}

#[cfg(test)]
mod tests;
