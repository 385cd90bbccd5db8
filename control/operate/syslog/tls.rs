// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS to a collector (RFC 5425): the trustpoint's CAs, and its revocation lists where it looks at them, vouch for the certificate, which must carry
//! the name that was said or else the address. A trustpoint with a certificate of its own shows it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::config::Config;
use crate::config::model::Revocation;
use crate::config::trust::Pem;

/// What a trustpoint has; with another, the connection is made anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    pem: Pem,
    revocation: Revocation,
}

impl Trust {
    /// Of the trustpoint called `name`.
    pub fn of(config: &Config, name: &str) -> Self {
        let pem = config.material.get(name).cloned().unwrap_or_default();
        let revocation = config.model.trustpoints.get(name).map(|t| t.revocation).unwrap_or_default();
        Self { pem, revocation }
    }

    /// What rustls goes by.
    ///
    /// # Errors
    /// A sentence.
    pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let Pem { chain, key, cas, crls, .. } = &self.pem;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in certificates(cas)? {
            roots.add(ca).map_err(|why| why.to_string())?;
        }
        let mut verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        if self.revocation != Revocation::None {
            let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(crls).collect();
            verifier = verifier.with_crls(lists.map_err(|why| why.to_string())?);
            if self.revocation == Revocation::CrlOrNone {
                verifier = verifier.allow_unknown_revocation_status();
            }
        }
        let verifier = verifier.build().map_err(|why| why.to_string())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_webpki_verifier(verifier);
        let client = if chain.is_empty() || key.is_empty() {
            client.with_no_client_auth()
        } else {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|why| why.to_string())?;
            client.with_client_auth_cert(certificates(chain)?, key).map_err(|why| why.to_string())?
        };
        Ok(Arc::new(client))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|why| why.to_string())
}
