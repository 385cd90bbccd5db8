// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a trustpoint, each with its own error.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::time::Duration;

struct Made {
    chain: String,
    key: String,
}

fn made() -> Made {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["edge.local.example".into()]).unwrap();
    Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn parts<'a>(chain: &'a str, key: &'a str, cas: &'a str) -> Parts<'a> {
    Parts {
        server: Identity { trustpoint: "own", chain: chain.as_bytes(), key: key.as_bytes() },
        client: None,
        cas: vec![("partners", cas.as_bytes())],
        inside_clients_authenticate: true,
        now: SystemTime::now(),
    }
}

fn fails(chain: &str, key: &str, cas: &str) -> String {
    ProxyTls::from_parts(&parts(chain, key, cas)).expect_err("bad parts").to_string()
}

#[test]
fn good_parts_have_no_warnings() {
    let (own, ca) = (made(), made());
    let tls = ProxyTls::from_parts(&parts(&own.chain, &own.key, &ca.chain)).unwrap();
    assert_eq!(tls.warnings(), []);
}

#[test]
fn each_fault_is_named() {
    let (own, other) = (made(), made());
    assert_eq!(fails("", &own.key, &other.chain), "trustpoint own: no identity certificate");
    assert_eq!(fails(&own.chain, "", &other.chain), "trustpoint own: no private key");
    assert_eq!(
        fails(&own.chain, &other.key, &other.chain),
        "trustpoint own: the private key does not match the certificate"
    );
    assert!(fails(&own.chain, &own.key, "").starts_with("no trustpoint holds a CA certificate"));
    let cut = &own.chain[..own.chain.len() / 2];
    assert!(fails(cut, &own.key, &other.chain).starts_with("trustpoint own: certificate chain: "));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(fails(garbage, &own.key, &other.chain).starts_with("trustpoint own: certificate 1: "));
    assert!(fails(&own.chain, &own.key, garbage).starts_with("trustpoint partners: certificate 1: "));
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(fails(&own.chain, key, &other.chain).starts_with("trustpoint own: private key: "));
    let many = other.chain.repeat(MAX_CAS + 1);
    assert!(fails(&own.chain, &own.key, &many).starts_with("257 CA certificates"));
}

#[test]
fn dates_are_warnings() {
    let (own, ca) = (made(), made());
    let mut late = parts(&own.chain, &own.key, &ca.chain);
    late.now = UNIX_EPOCH + Duration::from_secs(1 << 40);
    let tls = ProxyTls::from_parts(&late).unwrap();
    let kinds: Vec<_> = tls.warnings().iter().map(|w| (w.trustpoint.as_str(), &w.kind)).collect();
    assert!(matches!(kinds[..], [("partners", WarningKind::Expired(_)), ("own", WarningKind::Expired(_))]));
    late.now = UNIX_EPOCH;
    let tls = ProxyTls::from_parts(&late).unwrap();
    assert!(tls.warnings().iter().all(|w| matches!(w.kind, WarningKind::NotYetValid(_))));
    assert_eq!(tls.warnings().len(), 2);
}

#[test]
fn built_from_a_policy() {
    use fedgate_tables::policy::{Blob, NONE, TlsProxy, Trustpoint};
    use fedgate_tables::policy_build::PolicyBuilder;
    let (own, ca) = (made(), made());
    let mut policy = PolicyBuilder::new();
    let own_point = Trustpoint {
        name: policy.blob(b"own"),
        chain: policy.blob(own.chain.as_bytes()),
        key: policy.blob(own.key.as_bytes()),
        cas: Blob::default(),
    };
    let ca_point = Trustpoint {
        name: policy.blob(b"ca"),
        cas: policy.blob(ca.chain.as_bytes()),
        ..Trustpoint::default()
    };
    let (own_index, ca_index) = (policy.trustpoint(own_point), policy.trustpoint(ca_point));
    let name = policy.blob(b"federation");
    for (server, client) in [(own_index, NONE), (own_index, own_index), (ca_index, NONE)] {
        policy.tls_proxy(TlsProxy { name, server_trustpoint: server, client_trustpoint: client });
    }
    let segment = policy.finish(1).expect("a policy");
    let view = PolicyView::parse(&segment).expect("its own policy");
    assert!(ProxyTls::build(&view, 0).is_ok());
    assert!(ProxyTls::build(&view, 1).is_ok());
    let why = |index| ProxyTls::build(&view, index).expect_err("a fault").to_string();
    assert_eq!(why(2), "trustpoint ca: no identity certificate");
    assert_eq!(why(3), "there is no tls-proxy number 3");
}
