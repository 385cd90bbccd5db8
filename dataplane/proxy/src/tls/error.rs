// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with the trustpoints of a `tls-proxy`, each by name.
//!
//! Control has checked the same when they were configured; this is the dataplane's own look, by the very code that will use them, on
//! the housekeeping thread. Errors keep the whole policy out, warnings are for the log.

use super::MAX_CAS;

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The policy has no TLS proxy with this index.
    #[error("there is no tls-proxy number {0}")]
    NoSuchProxy(u32),
    /// A face that has to show something shows nothing.
    #[error("tls-proxy {proxy}: no server trust-point")]
    NoServerTrustpoint {
        /// The TLS proxy.
        proxy: String,
    },
    /// Its inspect map cannot be used.
    #[error("tls-proxy {proxy}: inspect map: {why}")]
    Inspect {
        /// The TLS proxy.
        proxy: String,
        /// What is wrong with the map.
        why: String,
    },
    /// The trustpoint has no certificate of its own.
    #[error("trustpoint {trustpoint}: no identity certificate")]
    NoCertificate {
        /// The trustpoint.
        trustpoint: String,
    },
    /// The trustpoint has no private key.
    #[error("trustpoint {trustpoint}: no private key")]
    NoKey {
        /// The trustpoint.
        trustpoint: String,
    },
    /// Text that should be PEM is not.
    #[error("trustpoint {trustpoint}: {what}: {why}")]
    BadPem {
        /// The trustpoint.
        trustpoint: String,
        /// `certificate chain`, `private key`, `CA certificates` or `revocation lists`.
        what: &'static str,
        /// What the PEM reader says.
        why: String,
    },
    /// A certificate that is PEM but not X.509, or no CA where one is needed.
    #[error("trustpoint {trustpoint}: certificate {number}: {why}")]
    BadCertificate {
        /// The trustpoint.
        trustpoint: String,
        /// Position in the chain or among the CAs, from 1.
        number: usize,
        /// What the reader says.
        why: String,
    },
    /// A revocation list that cannot be used.
    #[error("trustpoint {trustpoint}: revocation list {number}: {why}")]
    BadCrl {
        /// The trustpoint.
        trustpoint: String,
        /// Position among its lists, from 1.
        number: usize,
        /// What the reader says.
        why: String,
    },
    /// A key that cannot be used: unknown kind, too short, or damaged.
    #[error("trustpoint {trustpoint}: private key: {why}")]
    BadKey {
        /// The trustpoint.
        trustpoint: String,
        /// What rustls says.
        why: String,
    },
    /// The key belongs to another certificate.
    #[error("trustpoint {trustpoint}: the private key does not match the certificate")]
    KeyMismatch {
        /// The trustpoint.
        trustpoint: String,
    },
    /// Nothing vouches for the peers of a face.
    #[error("the {0} face has no CA certificate: no peer could be verified")]
    NoCas(&'static str),
    /// More than [`MAX_CAS`].
    #[error("{0} CA certificates vouch for one face; at most {MAX_CAS} are supported")]
    TooManyCas(usize),
    /// rustls refuses the combination.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A certificate that peers will not accept now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The trustpoint it belongs to.
    pub trustpoint: String,
    /// Its subject.
    pub subject: String,
    /// What is wrong.
    pub kind: WarningKind,
}

/// See [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Its end, in seconds since 1970, is past.
    Expired(i64),
    /// Its beginning, in seconds since 1970, is to come.
    NotYetValid(i64),
}
