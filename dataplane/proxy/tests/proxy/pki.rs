// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates for the tests, made on the spot: one CA that is trusted, one that is not, and leaves of both.

use fedgate_proxy::ProxyTls;
use fedgate_proxy::tls::{FaceParts, Identity, Parts, Spoken, Voucher};
use fedgate_tables::policy::{ALL_SUITES, FACE_TLS12, FACE_TLS13, REVOCATION_CRL, REVOCATION_ENFORCE_UPDATE};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, GeneralSubtree, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams, SanType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use std::sync::Arc;
use std::time::SystemTime;
use time::{Duration, OffsetDateTime};

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
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let cert = params.self_signed(&key).expect("a CA certificate");
        Self { pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    /// A CA that may vouch for `domain` and what is under it only: a root, or one that is signed by `above`.
    pub fn limited(domain: &str, above: Option<&Authority>) -> Self {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Limited CA");
        let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.into())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        let cert = match above {
            Some(above) => params.signed_by(&key, &above.issuer),
            None => params.self_signed(&key),
        };
        Self { pem: cert.expect("a CA certificate").pem(), issuer: Issuer::new(params, key) }
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

    /// A list of what was revoked, PEM; good until a moment so many seconds from now.
    pub fn list(&self, serials: &[u64], seconds: i64) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: now - Duration::days(1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now - Duration::days(2),
            next_update: now + Duration::seconds(seconds),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
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
    let face = face(own, &[(authority, "")]);
    proxy_tls_of(face.clone(), face, &[])
}

/// A face that shows `own`; each of `vouchers` with its revocation lists, which are then asked.
pub fn face<'a>(own: &'a Leaf, vouchers: &[(&'a Authority, &'a str)]) -> FaceParts<'a> {
    let identity =
        Identity { trustpoint: "own", chain: own.chain.as_bytes(), key: own.key.as_bytes(), spoken: None };
    let voucher = |(authority, crls): &(&'a Authority, &'a str)| Voucher {
        trustpoint: "cas",
        cas: authority.pem.as_bytes(),
        crls: crls.as_bytes(),
        revocation: if crls.is_empty() { 0 } else { REVOCATION_CRL | REVOCATION_ENFORCE_UPDATE },
    };
    FaceParts {
        shown: vec![(None, identity)],
        vouchers: vouchers.iter().map(voucher).collect(),
        spoken: Spoken { suites: ALL_SUITES, flags: FACE_TLS12 | FACE_TLS13 },
        bound: Vec::new(),
    }
}

pub fn proxy_tls_of(server: FaceParts<'_>, client: FaceParts<'_>, before: &[Arc<ProxyTls>]) -> Arc<ProxyTls> {
    let parts = Parts { name: "federation", server, client, now: SystemTime::now() };
    Arc::new(ProxyTls::from_parts(&parts, before).expect("good parts"))
}

/// A TLS client that shows `leaf` (or nothing) and trusts `authority`.
pub fn tls_client(authority: &Authority, leaf: Option<&Leaf>) -> Connection {
    calling(&client_config(authority, leaf, ALL_VERSIONS), "edge.local.example")
}

/// The configuration of [`tls_client`].
pub fn tls_client_config(authority: &Authority, leaf: Option<&Leaf>) -> ClientConfig {
    ClientConfig::clone(&client_config(authority, leaf, ALL_VERSIONS))
}

/// A connection of a client that has (and remembers) its own sessions.
pub fn calling(config: &Arc<ClientConfig>, name: &str) -> Connection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(config.clone(), name).expect("a client").into()
}

pub fn client_config(
    authority: &Authority,
    leaf: Option<&Leaf>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots());
    let config = match leaf {
        Some(leaf) => {
            let (chain, key) = leaf.parse();
            builder.with_client_auth_cert(chain, key).expect("own leaf")
        }
        None => builder.with_no_client_auth(),
    };
    Arc::new(config)
}

/// A TLS server that shows `leaf` and wants a certificate from `authority`.
pub fn tls_server(authority: &Authority, leaf: &Leaf) -> Connection {
    ServerConnection::new(server_config(authority, leaf)).expect("a server").into()
}

pub fn server_config(authority: &Authority, leaf: &Leaf) -> Arc<ServerConfig> {
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
    Arc::new(config)
}
