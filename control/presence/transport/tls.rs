// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS as the node uses it: mutual with peers, one-sided with users' devices.
//!
//! A peer that connects may show a certificate, and if it does it must be good; whether it is a peer of the configuration or just anybody
//! follows from the names in it. To peers the node shows its own certificate, and theirs must bear the name the route has. TLS 1.2 and
//! 1.3 by rustls; nothing is taken as early data, since a request could be played twice.
//!
//! Called when the node starts and for each handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::Tls;

/// Why the certificates are refused.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, rustls_pki_types::pem::Error),
    /// A file without what it should hold.
    #[error("{0}: no certificate in it")]
    Empty(PathBuf),
    /// What is in them.
    #[error("the certificates: {0}")]
    Rustls(#[from] rustls::Error),
    /// The CAs.
    #[error("the CAs: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The configurations for those who connect to us and for those we connect to.
pub(super) fn configs(files: &Tls) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|why| TlsError::File(files.key.clone(), why))?;
    let mut roots = RootCertStore::empty();
    for ca in certificates(&files.ca)? {
        roots.add(ca)?;
    }
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok((Arc::new(server), Arc::new(client)))
}

/// The configuration for servers of others, whose certificates these may sign.
pub(crate) fn trusting(ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in certificates(ca)? {
        roots.add(ca)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The configuration for browsers and other programs of users: the node's certificate, and nobody is asked for his.
pub(crate) fn https(files: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|why| TlsError::File(files.key.clone(), why))?;
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates(&files.certificate)?, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    let all = read.map_err(|why| TlsError::File(path.to_owned(), why))?;
    if all.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(all) }
}

/// The names in a certificate that has been verified.
pub(super) fn identity(der: &CertificateDer<'_>) -> Option<PeerIdentity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let (mut uris, mut dns) = (Vec::new(), Vec::new());
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(name) => dns.push(*name),
            _ => {}
        }
    }
    let common: Vec<&str> =
        certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    let names =
        CertificateNames { has_alt_names: names.is_some(), uris: &uris, dns: &dns, common_names: &common };
    PeerIdentity::of(&names).ok()
}
