// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS both ways: who is a peer by its certificate, who is anybody, who is nobody; and whom the node believes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{DEVICE, Node, Peer, connect, status};

pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA"))
    }

    /// Certificate and key in PEM. The machine's own name is in it too, for tools that cannot be told another.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(name);
        params.subject_alt_names.push(SanType::DnsName("localhost".try_into().expect("a name")));
        (params.signed_by(&key, &self.0).expect("signed").pem(), key.serialize_pem())
    }

    pub fn identity(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = named(name);
        let der = params.signed_by(&key, &self.0).expect("signed").der().clone();
        (vec![der], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        Arc::new(roots)
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub fn node(ca: &Ca, folder: &Path, extra: &str) -> Node {
    Node::start(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true",
        &format!("{}{extra}", tls_of(ca, folder)),
    )
}

/// The table of certificates, with the files it names.
pub fn tls_of(ca: &Ca, folder: &Path) -> String {
    tls_as(ca, folder, "cup.local.example")
}

/// Of a node with this name.
pub fn tls_as(ca: &Ca, folder: &Path, name: &str) -> String {
    let (certificate, key) = ca.issue(name);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("written");
        folder.join(name).display().to_string()
    };
    format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nca = \"{}\"\n",
        write("certificate", &certificate),
        write("key", &key),
        write("ca", &ca.0.pem())
    )
}

async fn secured(
    node: &Node,
    ca: &Ca,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Option<Peer> {
    secured_at(node.addresses[0], ca, identity).await
}

/// A connection to a node, with a certificate of a peer's or none.
pub async fn secured_at(
    address: SocketAddr,
    ca: &Ca,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Option<Peer> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(ca.roots());
    let config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("an identity"),
        None => config.with_no_client_auth(),
    };
    let stream = connect(DEVICE, address).await;
    let name = ServerName::try_from("cup.local.example").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    Some(Peer::over(Box::new(stream), "tls"))
}

/// The far side's end, which wants a certificate.
fn acceptor(ca: &Ca, name: &str) -> TlsAcceptor {
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(ca.roots(), provider())
        .build()
        .expect("a verifier");
    let (chain, key) = ca.identity(name);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("an identity");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_certificate_says_who_speaks_for_foreign_users() {
    let (ca, other, folder) = (Ca::new(), Ca::new(), tempfile::tempdir().expect("a folder"));
    let node = node(&ca, folder.path(), "");
    let extra = "Event: presence\r\nContact: <sip:x@h.example>\r\n";
    for (identity, expected) in [
        (Some(ca.identity("border.example")), Some(200)),
        // Good certificates of somebody else, and none at all, speak for nobody foreign.
        (Some(ca.identity("elsewhere.example")), Some(403)),
        (Some(ca.identity("sub.border.example")), Some(403)),
        (None, Some(403)),
        // One that nobody we know has signed ends the handshake.
        (Some(other.identity("border.example")), None),
    ] {
        // In TLS 1.3 the client learns of the refusal with its first read.
        let answer = async {
            let mut peer = secured(&node, &ca, identity).await?;
            peer.request("SUBSCRIBE", "x@foreign.example", "bob@local.example", extra, "").await;
            peer.receive().await
        };
        assert_eq!(answer.await.map(|answer| status(&answer)), expected);
    }
    // A device needs no certificate, only its password.
    let mut bob = secured(&node, &ca, None).await.expect("a connection");
    bob.register("bob", "b").await;
}

#[tokio::test]
async fn the_node_believes_only_the_name_it_asked_for() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let route = |name: &str| format!("[[route]]\nhost = \"*\"\nto = \"{address}\"\ntls = \"{name}\"\n");
    let acceptor = acceptor(&ca, "border.example");
    for (name, believed) in [("border.example", true), ("other.example", false)] {
        let node = node(&ca, folder.path(), &route(name));
        let added = node.ask(
            &json!({ "do": "add-contact", "user": "bob@local.example", "contact": "x@foreign.example" }),
        );
        assert!(added.is_ok(), "{added:?}");
        let (stream, _) = listener.accept().await.expect("a connection");
        let secured =
            tokio::time::timeout(Duration::from_secs(5), acceptor.accept(stream)).await.expect("in time");
        let subscribe = match secured {
            Ok(stream) => {
                assert!(stream.get_ref().1.peer_certificates().is_some());
                Peer::over(Box::new(stream), "border").receive().await
            }
            Err(_) => None,
        };
        assert_eq!(subscribe.is_some(), believed, "{name}");
        if let Some(subscribe) = subscribe {
            assert!(
                subscribe.starts_with("SUBSCRIBE sip:x@foreign.example SIP/2.0\r\nVia: SIP/2.0/TLS "),
                "{subscribe}"
            );
        }
    }
}

/// A route that goes by DNS: the domain's records lead to its edge, which must be what they say or the domain itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_a_domain_lead_to_its_edge() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
    let names = crate::names::Server::start();
    for (certificate, target, believed) in [
        ("edge.foreign.example", "edge.foreign.example.", true),
        ("foreign.example", "edge.foreign.example.", true),
        ("foreign.example", "host.elsewhere.example.", true),
        ("host.elsewhere.example", "host.elsewhere.example.", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        {
            let mut zone = names.zone.lock().expect("not poisoned");
            zone.records.clear();
            zone.srv("_sipfederationtls._tcp.foreign.example.", 60, (0, 0, port), target);
            zone.a(target, 60, "127.0.0.1");
        }
        let acceptor = acceptor(&ca, certificate);
        let route =
            format!("[[route]]\nhost = \"*\"\ndns = true\n[dns]\nservers = [\"127.0.0.1:{}\"]\n", names.port);
        let node = node(&ca, folder.path(), &route);
        let added = node.ask(
            &json!({ "do": "add-contact", "user": "bob@local.example", "contact": "x@foreign.example" }),
        );
        assert!(added.is_ok(), "{added:?}");
        let heard = async {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                if let Ok(stream) = acceptor.accept(stream).await
                    && let Some(subscribe) = Peer::over(Box::new(stream), "edge").receive().await
                {
                    return subscribe;
                }
            }
        };
        let subscribe = tokio::time::timeout(Duration::from_secs(3), heard).await;
        assert_eq!(subscribe.is_ok(), believed, "{certificate} at {target}");
        assert!(
            subscribe.is_err()
                || subscribe.is_ok_and(|it| it.starts_with("SUBSCRIBE sip:x@foreign.example "))
        );
    }
}

/// The openssl tool as a peer, since what we test ourselves with is the library we use.
#[tokio::test]
async fn openssl_agrees() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
    let node = node(&ca, folder.path(), "");
    for (version, good) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false)] {
        let out = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &node.addresses[0].to_string(),
                "-servername",
                "cup.local.example",
                version,
            ])
            .args(["-verify_return_error", "-verify_hostname", "cup.local.example", "-CAfile"])
            .arg(folder.path().join("ca"))
            .stdin(Stdio::null())
            .output()
            .expect("openssl has run");
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(
            out.status.success() && text.contains("Verify return code: 0 (ok)"),
            good,
            "{version}: {text}"
        );
    }
}
