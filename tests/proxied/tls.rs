// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates of one test, by one authority, and TLS ends that show them and ask for the other's.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;

/// The federated domain, and our own.
pub const FOREIGN: &str = "foreign.example";
pub const LOCAL: &str = "local.example";

/// A certificate and its key, PEM.
pub struct Leaf {
    pub chain: String,
    pub key: String,
}

pub struct Pki {
    /// PEM.
    pub authority: String,
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let authority = params.self_signed(&key).unwrap().pem();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        Self { authority, issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }

    pub fn leaf(&self, name: &str) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        Leaf { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    fn identity(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let leaf = self.leaf(name);
        let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        (chain, PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap())
    }

    /// An end that calls the appliance and shows itself as `name`.
    pub fn client(&self, name: &str) -> ClientConnection {
        let (chain, key) = self.identity(name);
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(chain, key)
            .unwrap();
        ClientConnection::new(config.into(), ServerName::try_from("edge.local.example").unwrap()).unwrap()
    }

    /// An end that the appliance calls.
    pub fn server(&self, name: &str) -> ServerConnection {
        let (chain, key) = self.identity(name);
        let provider = Arc::new(default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        ServerConnection::new(config.into()).unwrap()
    }
}
