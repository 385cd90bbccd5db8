// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates of one run, and the TLS configurations of all who take part in it.
//!
//! One authority, ECDSA P-256 throughout, both sides of every handshake show a certificate, nothing is resumed: the same for the
//! appliance, for its peers (who read the PEM files that [`Pki::write`] makes) and for the generator that talks to either.

use crate::Failure;
use fedgate_proxy::ProxyTls;
use fedgate_proxy::tls::{FaceParts, Identity, Parts, Spoken, Voucher};
use fedgate_tables::policy::{ALL_SUITES, FACE_TLS12, FACE_TLS13};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Whom the callers call.
const EDGE: &str = "edge.local.example";

/// A certificate chain and its key, PEM.
pub struct Leaf {
    /// Own certificate.
    pub chain: String,
    /// PKCS#8.
    pub key: String,
}

/// See the module.
pub struct Pki {
    /// The authority, PEM.
    pub authority: String,
    /// Of whatever stands in the middle.
    pub edge: Leaf,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
}

impl Pki {
    /// Made on the spot.
    pub fn new() -> Result<Self, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "bench authority");
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        // The called end has the edge's name too: in `alone` the caller reaches it without an edge.
        let leaf = |name: &str| -> Result<Leaf, Failure> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(vec![])?;
            params.distinguished_name.push(DnType::CommonName, name);
            for name in [name, EDGE] {
                params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
            }
            Ok(Leaf { chain: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
        };
        let (edge, foreign, inside) = (leaf(EDGE)?, leaf("foreign.example")?, leaf("local.example")?);

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let roots = Arc::new(roots);
        let provider = Arc::new(default_provider());
        let (chain, private) = parsed(&foreign)?;
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain, private)?;
        client.resumption = rustls::client::Resumption::disabled();
        let (chain, private) = parsed(&inside)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            authority,
            edge,
            client: Arc::new(client),
            server: Arc::new(server),
            name: ServerName::try_from(EDGE)?,
        })
    }

    /// The engine's own configuration.
    pub fn proxy(&self) -> Result<Arc<ProxyTls>, Failure> {
        let identity = Identity {
            trustpoint: "edge",
            chain: self.edge.chain.as_bytes(),
            key: self.edge.key.as_bytes(),
            spoken: None,
        };
        let cas = self.authority.as_bytes();
        let face = FaceParts {
            shown: vec![(None, identity)],
            vouchers: vec![Voucher { trustpoint: "bench", cas, crls: b"", revocation: 0 }],
            spoken: Spoken { suites: ALL_SUITES, flags: FACE_TLS12 | FACE_TLS13 },
            bound: Vec::new(),
        };
        let parts = Parts { name: "bench", server: face.clone(), client: face, now: SystemTime::now() };
        Ok(Arc::new(ProxyTls::from_parts(&parts, &[])?))
    }

    /// A foreign edge that calls.
    pub fn caller(&self) -> Result<ClientConnection, Failure> {
        Ok(ClientConnection::new(self.client.clone(), self.name.clone())?)
    }

    /// The inside server.
    pub fn called(&self) -> Result<ServerConnection, Failure> {
        Ok(ServerConnection::new(self.server.clone())?)
    }

    /// Files for the peers: `ca.pem`, `edge.pem` (certificate and key), `edge.crt` and `edge.key`.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let Leaf { chain, key } = &self.edge;
        std::fs::write(folder.join("ca.pem"), &self.authority)?;
        std::fs::write(folder.join("edge.crt"), chain)?;
        std::fs::write(folder.join("edge.key"), key)?;
        Ok(std::fs::write(folder.join("edge.pem"), format!("{chain}{key}"))?)
    }
}

fn parsed(leaf: &Leaf) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(leaf.key.as_bytes())?))
}
