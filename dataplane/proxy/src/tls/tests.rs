// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a trustpoint, each with its own error.

use super::*;
use fedgate_tables::policy::ALL_SUITES;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use std::time::Duration;

struct Made {
    chain: String,
    key: String,
}

fn made() -> Made {
    made_with(|_| ())
}

fn made_with(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["edge.local.example".into()]).unwrap();
    change(&mut params);
    Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A certificate that another's key has signed.
fn issued(change: impl FnOnce(&mut CertificateParams)) -> String {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "issuer");
    let mut params = CertificateParams::new(vec!["edge.local.example".into()]).unwrap();
    change(&mut params);
    params.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap().pem()
}

fn ca() -> Made {
    made_with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

fn face<'a>(chain: &'a str, key: &'a str, cas: &'a str) -> FaceParts<'a> {
    let cas = cas.as_bytes();
    FaceParts {
        shown: vec![(
            None,
            Identity { trustpoint: "own", chain: chain.as_bytes(), key: key.as_bytes(), spoken: None },
        )],
        vouchers: vec![Voucher { trustpoint: "partners", cas, crls: b"", revocation: 0 }],
        spoken: Spoken { suites: ALL_SUITES, flags: FACE_TLS12 | FACE_TLS13 },
        bound: Vec::new(),
    }
}

fn parts<'a>(chain: &'a str, key: &'a str, cas: &'a str) -> Parts<'a> {
    let face = face(chain, key, cas);
    Parts { name: "p", server: face.clone(), client: face, now: SystemTime::now() }
}

fn fails(chain: &str, key: &str, cas: &str) -> String {
    ProxyTls::from_parts(&parts(chain, key, cas), &[]).expect_err("bad parts").to_string()
}

#[test]
fn good_parts_have_no_warnings() {
    let (own, ca) = (made(), ca());
    let tls = ProxyTls::from_parts(&parts(&own.chain, &own.key, &ca.chain), &[]).unwrap();
    assert_eq!(tls.warnings(), []);
}

#[test]
fn each_fault_is_named() {
    let (own, other) = (made(), ca());
    assert_eq!(fails("", &own.key, &other.chain), "trustpoint own: no identity certificate");
    assert_eq!(fails(&own.chain, "", &other.chain), "trustpoint own: no private key");
    assert_eq!(
        fails(&own.chain, &other.key, &other.chain),
        "trustpoint own: the private key does not match the certificate"
    );
    assert_eq!(
        fails(&own.chain, &own.key, ""),
        "the server face has no CA certificate: no peer could be verified"
    );
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
fn what_is_no_ca_vouches_for_nobody() {
    let own = made();
    let leaf = fails(&own.chain, &own.key, &issued(|_| ()));
    assert_eq!(leaf, "trustpoint partners: certificate 1: no CA: its basicConstraints do not say cA");
    let mute = issued(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    assert!(fails(&own.chain, &own.key, &mute).ends_with("no CA: its keyUsage lacks keyCertSign"));
    // A peer's own certificate is another thing: see `tests/proxy/trust.rs`.
    assert!(ProxyTls::from_parts(&parts(&own.chain, &own.key, &made().chain), &[]).is_ok());
    let many = made().chain.repeat(MAX_CAS + 1);
    assert!(fails(&own.chain, &own.key, &many).starts_with("257 CA certificates"));
}

#[test]
fn an_end_is_taken_over_only_while_it_is_the_same() {
    let (own, one, two) = (made(), ca(), ca());
    let same = |a: &ProxyTls, b: &ProxyTls| {
        [Arc::ptr_eq(&a.server.foreign, &b.server.foreign), Arc::ptr_eq(&a.client, &b.client)]
    };
    let first = Arc::new(ProxyTls::from_parts(&parts(&own.chain, &own.key, &one.chain), &[]).unwrap());
    let before = [first.clone()];
    let next = |parts: &Parts<'_>| same(&first, &ProxyTls::from_parts(parts, &before).unwrap());
    let good = parts(&own.chain, &own.key, &one.chain);
    assert_eq!(next(&good), [true, true]);
    let mut changed = good.clone();
    changed.client = face(&own.chain, &own.key, &two.chain);
    assert_eq!(next(&changed), [true, false]);
    let mut changed = good.clone();
    changed.server.vouchers[0].revocation = fedgate_tables::policy::REVOCATION_CRL;
    assert_eq!(next(&changed), [false, true]);
    let mut changed = good.clone();
    changed.server.spoken.suites = 0b11001;
    assert_eq!(next(&changed), [false, true]);
    let mut changed = good.clone();
    changed.server.bound = vec![("partner.example", false, "partners")];
    assert_eq!(next(&changed), [false, true]);
    let renewed = made();
    let mut changed = good;
    changed.server = face(&renewed.chain, &renewed.key, &one.chain);
    assert_eq!(next(&changed), [false, true]);
    // A client that may go without a certificate inside gets no ticket that is good outside.
    assert!(Arc::ptr_eq(&first.server.foreign, &first.server.inside));
    let mut open = parts(&own.chain, &own.key, &one.chain);
    open.server.spoken.flags |= FACE_NO_CLIENT_AUTH;
    let open = ProxyTls::from_parts(&open, &before).unwrap();
    let open = &open.server;
    assert!(!Arc::ptr_eq(&open.foreign, &open.inside) && open.foreign.print != open.inside.print);
}

#[test]
fn dates_are_warnings() {
    let (own, ca) = (made(), ca());
    let mut late = parts(&own.chain, &own.key, &ca.chain);
    late.now = UNIX_EPOCH + Duration::from_secs(1 << 40);
    let tls = ProxyTls::from_parts(&late, &[]).unwrap();
    let kinds: std::collections::BTreeSet<_> = tls
        .warnings()
        .iter()
        .map(|w| (w.trustpoint.as_str(), matches!(w.kind, WarningKind::Expired(_))))
        .collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [("own", true), ("partners", true)]);
    late.now = UNIX_EPOCH;
    let tls = ProxyTls::from_parts(&late, &[]).unwrap();
    assert!(!tls.warnings().is_empty());
    assert!(tls.warnings().iter().all(|w| matches!(w.kind, WarningKind::NotYetValid(_))));
}

#[test]
fn built_from_a_policy() {
    use fedgate_tables::policy::{Shown, TlsProxy, Trustpoint};
    use fedgate_tables::policy_build::PolicyBuilder;
    let (own, ca) = (made(), ca());
    let mut policy = PolicyBuilder::new();
    let own_point = Trustpoint {
        name: policy.blob(b"own"),
        chain: policy.blob(own.chain.as_bytes()),
        key: policy.blob(own.key.as_bytes()),
        ..Trustpoint::default()
    };
    let ca_point = Trustpoint {
        name: policy.blob(b"ca"),
        cas: policy.blob(ca.chain.as_bytes()),
        ..Trustpoint::default()
    };
    let (own_index, ca_index) = (policy.trustpoint(own_point), policy.trustpoint(ca_point));
    let name = policy.blob(b"federation");
    let showing = |trustpoint| [Shown { trustpoint, ..Shown::default() }];
    let good = policy.face(&showing(own_index), &[ca_index]);
    let mute = policy.face(&showing(ca_index), &[ca_index]);
    let blind = policy.face(&showing(own_index), &[own_index]);
    for (server, client) in [(good, good), (mute, good), (good, blind)] {
        policy.tls_proxy(TlsProxy { name, server, client, ..TlsProxy::default() });
    }
    let segment = policy.finish(1).expect("a policy");
    let view = PolicyView::parse(&segment).expect("its own policy");
    assert!(ProxyTls::build(&view, 0, &[]).is_ok());
    let why = |index| ProxyTls::build(&view, index, &[]).expect_err("a fault").to_string();
    assert_eq!(why(1), "trustpoint ca: no identity certificate");
    assert_eq!(why(2), "the client face has no CA certificate: no peer could be verified");
    assert_eq!(why(3), "there is no tls-proxy number 3");
}
