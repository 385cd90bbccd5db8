// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates for the tests, made on the spot: one CA that is trusted, one that is not, and leaves of both.

use fedgate_proxy::ProxyTls;
use fedgate_proxy::tls::{Identity, Parts};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use std::time::SystemTime;

/// A certificate authority.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
#[derive(Clone)]
pub struct Leaf {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let cert = params.self_signed(&key).expect("a CA certificate");
        Self { pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    /// A leaf for DNS names, or URIs where there is a colon.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| ())
    }

    pub fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        for name in names {
            let text = (*name).try_into().expect("ASCII");
            params.subject_alt_names.push(if name.contains(':') {
                SanType::URI(text)
            } else {
                SanType::DnsName(text)
            });
        }
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).expect("a leaf");
        Leaf { chain: cert.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("own PEM")).expect("own CA");
        roots
    }
}

impl Leaf {
    fn parse(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain =
            CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(|c| c.expect("own PEM")).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("own PEM"))
    }
}

/// The appliance's configuration: it shows `own` both ways and trusts `authority`.
pub fn proxy_tls(authority: &Authority, own: &Leaf) -> Arc<ProxyTls> {
    let identity = Identity { trustpoint: "own", chain: own.chain.as_bytes(), key: own.key.as_bytes() };
    let parts = Parts {
        server: identity,
        client: Some(identity),
        cas: vec![("cas", authority.pem.as_bytes())],
        inside_clients_authenticate: true,
        now: SystemTime::now(),
    };
    Arc::new(ProxyTls::from_parts(&parts).expect("good parts"))
}

/// A TLS client that shows `leaf` (or nothing) and trusts `authority`.
pub fn tls_client(authority: &Authority, leaf: Option<&Leaf>) -> Connection {
    let config = Arc::new(tls_client_config(authority, leaf));
    let name = ServerName::try_from("edge.local.example").expect("a name");
    ClientConnection::new(config, name).expect("a client").into()
}

/// The configuration of [`tls_client`].
pub fn tls_client_config(authority: &Authority, leaf: Option<&Leaf>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(authority.roots());
    match leaf {
        Some(leaf) => {
            let (chain, key) = leaf.parse();
            builder.with_client_auth_cert(chain, key).expect("own leaf")
        }
        None => builder.with_no_client_auth(),
    }
}

/// A TLS server that shows `leaf` and wants a certificate from `authority`.
pub fn tls_server(authority: &Authority, leaf: &Leaf) -> Connection {
    let provider = Arc::new(default_provider());
    let (chain, key) = leaf.parse();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone())
        .build()
        .expect("a verifier");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("own leaf");
    ServerConnection::new(Arc::new(config)).expect("a server").into()
}
