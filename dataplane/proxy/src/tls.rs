// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rustls configurations of one `tls-proxy`, made once for every policy and shared by all workers.
//!
//! Built off the workers, by the housekeeping thread: it parses PEM, checks that keys fit certificates and says
//! clearly what is wrong with a trustpoint. TLS 1.2 and 1.3 with aws-lc-rs, which is passed explicitly; no
//! process-wide default is touched.
//!
//! Peers are verified against one pool of CAs, those of every trustpoint, as the ASA does. Chains only: which
//! domains a peer may speak for is the business of [`crate::identity`] (RFC 5922), because SIP compares names
//! with the message and not with the address that was called. Facing the foreign side a client certificate is
//! required; inside it is too unless [`Parts::inside_clients_authenticate`] is off.
//!
//! Sessions are not resumed and there is no early data, so each connection shows its certificate: SIP in 0-RTT
//! could be replayed, and a resumed session would skip the check of a certificate that expired since.

use crate::identity::identity;
use fedgate_sip::domain::Domain;
use fedgate_sip::identity::PeerIdentity;
use fedgate_tables::policy_view::PolicyView;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

mod verify;

/// Most CA certificates all trustpoints may hold together: each is named in every request for a certificate,
/// and the handshake has a bound.
pub const MAX_CAS: usize = 256;

/// One trustpoint's identity as PEM.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The trustpoint's name, for messages.
    pub trustpoint: &'a str,
    /// Own certificate, then intermediates.
    pub chain: &'a [u8],
    /// Private key: PKCS#8, PKCS#1 or SEC1.
    pub key: &'a [u8],
}

/// What a [`ProxyTls`] is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// Shown to the TCP client.
    pub server: Identity<'a>,
    /// Shown to the TCP server where it asks; without one, nothing is shown.
    pub client: Option<Identity<'a>>,
    /// PEM of the CAs that peers may chain to, with the trustpoint each came from.
    pub cas: Vec<(&'a str, &'a [u8])>,
    /// Clients on the inside must show a certificate too; else they are asked for one and may go without.
    pub inside_clients_authenticate: bool,
    /// Certificates are compared with this moment for [`ProxyTls::warnings`].
    pub now: SystemTime,
}

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The policy has no TLS proxy with this index.
    #[error("there is no tls-proxy number {0}")]
    NoSuchProxy(u32),
    /// The TLS proxy names no `server trust-point`.
    #[error("tls-proxy {proxy}: no server trust-point")]
    NoServerTrustpoint {
        /// The TLS proxy.
        proxy: String,
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
        /// `certificate chain`, `private key` or `CA certificates`.
        what: &'static str,
        /// What the PEM reader says.
        why: String,
    },
    /// A certificate that is PEM but not X.509.
    #[error("trustpoint {trustpoint}: certificate {number}: {why}")]
    BadCertificate {
        /// The trustpoint.
        trustpoint: String,
        /// Position in the chain or among the CAs, from 1.
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
    /// No trustpoint has a CA, so that no peer could ever be verified.
    #[error("no trustpoint holds a CA certificate: no peer could be verified")]
    NoCas,
    /// More than [`MAX_CAS`].
    #[error("{0} CA certificates; at most {MAX_CAS} are supported")]
    TooManyCas(usize),
    /// rustls refuses the combination.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate that loads but that peers will not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The trustpoint.
    pub trustpoint: String,
    /// The certificate's subject.
    pub subject: String,
    /// What is wrong with it.
    pub kind: WarningKind,
}

/// What is wrong with a certificate's dates. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// It was good until then.
    Expired(i64),
    /// It will be good from then on.
    NotYetValid(i64),
}

/// The TLS side of one `tls-proxy`.
pub struct ProxyTls {
    provider: Arc<CryptoProvider>,
    foreign: Arc<ServerConfig>,
    inside: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    names: Vec<PeerIdentity>,
    warnings: Vec<Warning>,
}

impl std::fmt::Debug for ProxyTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyTls").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl ProxyTls {
    /// Makes the configurations for a policy's `tls-proxy`. Call it where a second's work does no harm.
    ///
    /// # Errors
    /// What is missing or wrong, by trustpoint.
    pub fn build(policy: &PolicyView<'_>, tls_proxy: u32) -> Result<Self, TlsConfigError> {
        let proxy =
            policy.tls_proxies().get(tls_proxy as usize).ok_or(TlsConfigError::NoSuchProxy(tls_proxy))?;
        let identity = |index: u32| {
            policy.trustpoints().get(index as usize).map(|t| Identity {
                trustpoint: policy.str(t.name),
                chain: policy.blob(t.chain),
                key: policy.blob(t.key),
            })
        };
        Self::from_parts(&Parts {
            server: identity(proxy.server_trustpoint)
                .ok_or_else(|| TlsConfigError::NoServerTrustpoint { proxy: policy.str(proxy.name).into() })?,
            client: identity(proxy.client_trustpoint),
            cas: policy.trustpoints().iter().map(|t| (policy.str(t.name), policy.blob(t.cas))).collect(),
            inside_clients_authenticate: true,
            now: SystemTime::now(),
        })
    }

    /// Makes the configurations from PEM.
    ///
    /// # Errors
    /// What is missing or wrong, by trustpoint.
    pub fn from_parts(parts: &Parts<'_>) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(default_provider());
        let mut warnings = Vec::new();
        let now = parts.now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);

        let roots = Arc::new(trust_pool(&parts.cas, now, &mut warnings)?);
        let server = certified(&parts.server, &provider, now, &mut warnings)?;
        let client =
            parts.client.as_ref().map(|id| certified(id, &provider, now, &mut warnings)).transpose()?;

        let leaf = |key: &Arc<CertifiedKey>| key.cert.first().and_then(|der| identity(der));
        let names = [Some(&server), client.as_ref()].into_iter().flatten().filter_map(leaf).collect();
        Ok(Self {
            foreign: Arc::new(server_config(&provider, &roots, &server, true)?),
            inside: Arc::new(server_config(&provider, &roots, &server, parts.inside_clients_authenticate)?),
            client: Arc::new(client_config(&provider, roots, client)?),
            provider,
            names,
            warnings,
        })
    }

    /// Whether one of our own certificates carries this host's name: it is us that the world calls by it.
    pub(crate) fn is_own_name(&self, host: &Domain) -> bool {
        self.names.iter().any(|names| names.is_host(host))
    }

    /// Certificates that peers will refuse by their dates.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Our end towards a TCP client; `foreign` if that client is on the outside.
    pub(crate) fn accept(&self, foreign: bool) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(if foreign { self.foreign.clone() } else { self.inside.clone() })
    }

    /// Our end towards a TCP server. The name is sent as SNI where it is a DNS name; it is not compared with
    /// the certificate.
    pub(crate) fn connect(&self, name: ServerName<'static>) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.client.clone(), name)
    }

    /// 64 bits that nobody can guess.
    pub(crate) fn random(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.provider.secure_random.fill(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    key: &Arc<CertifiedKey>,
    required: bool,
) -> Result<ServerConfig, TlsConfigError> {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    if !required {
        verifier = verifier.allow_unauthenticated();
    }
    let verifier = verifier.build().map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    key: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, TlsConfigError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify::ChainOnly::new(roots, provider)));
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn certificates(
    trustpoint: &str,
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| TlsConfigError::BadPem {
        trustpoint: trustpoint.into(),
        what,
        why: e.to_string(),
    })
}

fn certified(
    id: &Identity<'_>,
    provider: &CryptoProvider,
    now: i64,
    warnings: &mut Vec<Warning>,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let trustpoint = || id.trustpoint.to_owned();
    let chain = certificates(id.trustpoint, "certificate chain", id.chain)?;
    if chain.is_empty() {
        return Err(TlsConfigError::NoCertificate { trustpoint: trustpoint() });
    }
    check_dates(id.trustpoint, &chain, now, warnings)?;
    let key = match PrivateKeyDer::from_pem_slice(id.key) {
        Ok(key) => key,
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            return Err(TlsConfigError::NoKey { trustpoint: trustpoint() });
        }
        Err(e) => {
            return Err(TlsConfigError::BadPem {
                trustpoint: trustpoint(),
                what: "private key",
                why: e.to_string(),
            });
        }
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|e| TlsConfigError::BadKey { trustpoint: trustpoint(), why: e.to_string() })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsConfigError::KeyMismatch { trustpoint: trustpoint() })
        }
        Err(e) => {
            Err(TlsConfigError::BadCertificate { trustpoint: trustpoint(), number: 1, why: e.to_string() })
        }
    }
}

fn trust_pool(
    cas: &[(&str, &[u8])],
    now: i64,
    warnings: &mut Vec<Warning>,
) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for (trustpoint, pem) in cas {
        let certs = certificates(trustpoint, "CA certificates", pem)?;
        check_dates(trustpoint, &certs, now, warnings)?;
        for (index, cert) in certs.into_iter().enumerate() {
            roots.add(cert).map_err(|e| TlsConfigError::BadCertificate {
                trustpoint: (*trustpoint).into(),
                number: index + 1,
                why: e.to_string(),
            })?;
        }
    }
    match roots.len() {
        0 => Err(TlsConfigError::NoCas),
        n if n > MAX_CAS => Err(TlsConfigError::TooManyCas(n)),
        _ => Ok(roots),
    }
}

fn check_dates(
    trustpoint: &str,
    certs: &[CertificateDer<'_>],
    now: i64,
    warnings: &mut Vec<Warning>,
) -> Result<(), TlsConfigError> {
    for (index, der) in certs.iter().enumerate() {
        let (_, cert) = X509Certificate::from_der(der).map_err(|e| TlsConfigError::BadCertificate {
            trustpoint: trustpoint.into(),
            number: index + 1,
            why: e.to_string(),
        })?;
        let (from, until) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
        let kind = if now > until {
            WarningKind::Expired(until)
        } else if now < from {
            WarningKind::NotYetValid(from)
        } else {
            continue;
        };
        warnings.push(Warning { trustpoint: trustpoint.into(), subject: cert.subject().to_string(), kind });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
