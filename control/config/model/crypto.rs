// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trustpoints and TLS proxies in the model: what is shown to whom, who vouches for whose peers, and what of TLS is spoken.
//!
//! Trustpoints name files, or hold certificates as an ASA prints them; keys are not part of a configuration's text. Suites are bits in the order of
//! `fedgate_tables::policy::SUITES`, the one list of what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use fedgate_tables::policy::{ALL_SUITES, FACE_TLS12, FACE_TLS13, suites};

use super::Model;

/// `crypto ca trustpoint`; paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trustpoint {
    /// `certificate file`: own certificate, then intermediates.
    pub certificate: Option<PathBuf>,
    /// `key file`: its private key.
    pub key: Option<PathBuf>,
    /// `ca file`: CAs of peers.
    pub ca: Option<PathBuf>,
    /// `crl file`: revocation lists of those CAs.
    pub crl: Option<PathBuf>,
    /// `revocation-check`.
    pub revocation: Revocation,
    /// `no enforcenextupdate` under `crl configure`: lists past their nextUpdate still count.
    pub stale_lists: bool,
    /// `url` under `crl configure`: where the lists are, by index.
    pub crl_urls: BTreeMap<u32, String>,
    /// `cache-time`: minutes after which a list is fetched again.
    pub crl_cache: Option<u32>,
    /// What is spoken where it is shown.
    pub tls: Profile,
    /// `no authenticate-client`: inside clients that it is shown to may go without a certificate.
    pub anonymous_clients: bool,
    /// `enrollment`.
    pub enrollment: Option<Enrollment>,
    /// `fqdn`; `Some(None)` for `fqdn none`.
    pub fqdn: Option<Option<String>>,
    /// `subject-name`, as written.
    pub subject: Option<String>,
    /// `keypair`.
    pub keypair: Option<String>,
    /// `crypto ca certificate chain`, `certificate`: own certificate, instead of a file.
    pub own: Option<Der>,
    /// The same, `certificate ca`: CAs of peers, instead of a file.
    pub cas: Vec<Der>,
}

/// A certificate that a configuration holds, DER.
pub type Der = Arc<[u8]>;

impl Trustpoint {
    /// Whether there are CAs in it.
    pub fn has_ca(&self) -> bool {
        self.ca.is_some() || !self.cas.is_empty()
    }

    /// Whether there is a certificate of its own in it.
    pub fn has_certificate(&self) -> bool {
        self.certificate.is_some() || self.own.is_some()
    }
}

/// `revocation-check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// `none`.
    #[default]
    None,
    /// `crl`.
    Crl,
    /// `crl none`.
    CrlOrNone,
}

/// `enrollment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrollment {
    /// `self`: signed by its own key.
    SelfSigned,
    /// `terminal`: a request is printed, and the certificate imported.
    Terminal,
}

/// `tls-proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsProxy {
    /// Towards the TCP client.
    pub server: TlsFace,
    /// Towards the TCP server.
    pub client: TlsFace,
    /// `no server authenticate-client`.
    pub anonymous_clients: bool,
}

/// A face of a TLS proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFace {
    /// `trust-point T`: what is shown.
    pub shown: Option<String>,
    /// `trust-point T domain D`: what is shown to who calls D, canonical.
    pub by_name: BTreeMap<String, String>,
    /// `trust-point T verify`: whose CAs vouch for its peers.
    pub vouchers: BTreeSet<String>,
    /// What is spoken.
    pub tls: Profile,
}

/// What of TLS is spoken, as far as it is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// `tls-version`: whether TLS 1.3 alone.
    pub only_13: Option<bool>,
    /// `cipher-suite`.
    pub suites: Option<u32>,
}

/// `ssl` lines: what is spoken where neither the face nor the trustpoint that it shows says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// `ssl server-version tlsv1.3`.
    pub server_13_only: bool,
    /// `ssl client-version tlsv1.3`.
    pub client_13_only: bool,
    /// `ssl cipher tlsv1.2`.
    pub suites_12: Option<u32>,
    /// `ssl cipher tlsv1.3`.
    pub suites_13: Option<u32>,
}

impl TlsFace {
    /// The trustpoints whose CAs vouch for this face's peers: those said to, else the one that is shown.
    pub fn trusted<'m>(&'m self, model: &'m Model) -> Vec<&'m str> {
        let own = self.shown.iter().filter(|_| self.vouchers.is_empty());
        let has_ca = |name: &&str| model.trustpoints.get(*name).is_some_and(Trustpoint::has_ca);
        self.vouchers.iter().chain(own).map(String::as_str).filter(has_ca).collect()
    }

    /// Suites and versions spoken where this face shows a trustpoint: `SUITES` bits and `FACE_TLS*` flags. The trustpoint's word counts
    /// before the face's, the face's before `only_13` and the suites of `ssl`. A version none of whose suites is left is off.
    pub fn spoken(&self, shown: Profile, ssl: &Ssl, only_13: bool) -> (u32, u32) {
        let of = |version| suites_of(ALL_SUITES, version);
        let by_default =
            (ssl.suites_12.unwrap_or(of(FACE_TLS12))) | (ssl.suites_13.unwrap_or(of(FACE_TLS13)));
        let bits = shown.suites.or(self.tls.suites).unwrap_or(by_default);
        let only_13 = shown.only_13.or(self.tls.only_13).unwrap_or(only_13);
        let versions = if only_13 { FACE_TLS13 } else { FACE_TLS12 | FACE_TLS13 };
        let spoken = |version| if suites_of(bits, version) != 0 { versions & version } else { 0 };
        let flags = spoken(FACE_TLS12) | spoken(FACE_TLS13);
        (suites_of(bits, flags), flags)
    }
}

/// The bits of `bits` that belong to a version of `flags`.
pub fn suites_of(bits: u32, flags: u32) -> u32 {
    use fedgate_tables::policy::SUITES;
    let numbers: Vec<u16> = suites(bits, flags).map(|suite| suite.number).collect();
    (0..SUITES.len()).filter(|at| numbers.contains(&SUITES[*at].number)).map(|at| 1 << at).sum()
}
