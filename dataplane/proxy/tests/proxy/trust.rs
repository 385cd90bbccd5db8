// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose certificates are taken on which face, revocation, renewal, resumption, SNI, versions and suites.

use crate::pki::*;
use crate::scene::*;
use fedgate_proxy::tls::Spoken;
use fedgate_proxy::{CloseReason, Leg, Micros};
use fedgate_tables::policy::{FACE_NO_CLIENT_AUTH, FACE_TLS12, FACE_TLS13, REVOCATION_CRL};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, HandshakeKind, ProtocolVersion, ServerConnection};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a line until its first message has arrived or failed; whether it arrived.
fn arrives(s: &mut Scene, line: usize) -> bool {
    s.lab.run(secs(20), |lab| !lab.lines[line].server.heard.is_empty() || lab.lines[line].closed.is_some());
    !s.lab.lines[line].server.heard.is_empty()
}

fn said(s: &Scene, words: &str) -> bool {
    s.lab.sink.events.iter().any(|event| event.contains(words))
}

/// A call from outside with its first message.
fn call(s: &mut Scene, client: rustls::Connection, server: rustls::Connection) -> usize {
    let line = s.lab.line(Leg::Client, Some(client), Some(server));
    s.client_says(line, message_in(line));
    line
}

/// The leaf that a peer was shown.
fn shown(connection: &rustls::Connection) -> CertificateDer<'static> {
    connection.peer_certificates().expect("a certificate was shown")[0].clone().into_owned()
}

fn der(leaf: &Leaf) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(leaf.chain.as_bytes()).expect("own PEM")
}

#[test]
fn a_ca_counts_on_the_face_it_was_given_to() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
    let inner = Authority::new("Inner CA");
    let own = ca.leaf(&["edge.local.example"]);
    let own_inside = inner.leaf(&["edge.local.example"]);
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, "")]), face(&own_inside, &[(&inner, "")]), &[]);
    let within = inner.leaf(&["local.example"]);
    let good = call(&mut s, tls_client(&ca, Some(&foreign)), tls_server(&inner, &within));
    assert!(arrives(&mut s, good));
    // One of the inner CA's outside, and one of the outer's inside.
    let stranger = inner.leaf(&["foreign.example"]);
    let line = call(&mut s, tls_client(&ca, Some(&stranger)), tls_server(&inner, &within));
    assert!(!arrives(&mut s, line));
    assert!(
        said(&s, "tls-failed Client: invalid peer certificate: UnknownIssuer"),
        "{:?}",
        s.lab.sink.events
    );
    let line = call(&mut s, tls_client(&ca, Some(&foreign)), tls_server(&inner, &inside));
    assert!(!arrives(&mut s, line));
    assert!(
        said(&s, "tls-failed Server: invalid peer certificate: UnknownIssuer"),
        "{:?}",
        s.lab.sink.events
    );
    s.finish();
}

#[test]
fn a_domain_may_be_bound_to_one_trustpoint() {
    let mut s = Scene::new();
    let (ca, inside) = (s.ca.clone(), s.inside.clone());
    let other = Authority::new("Another CA");
    let own = ca.leaf(&["edge.local.example"]);
    let mut server = face(&own, &[(&ca, ""), (&other, "")]);
    server.vouchers[1].trustpoint = "others";
    server.bound = vec![
        ("foreign.example", false, "others"),
        ("partner.example", true, "others"),
        ("a.partner.example", false, "cas"),
    ];
    s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
    for domain in ["partner.example", "a.partner.example", "b.c.partner.example"] {
        s.lab.domains.permit(domain, ENTRY + 1);
    }
    // (by which CA, for which domain, whether it may speak for it)
    let cases = [
        (&*ca, "foreign.example", false),
        (&other, "foreign.example", true),
        (&*ca, "partner.example", true),
        (&*ca, "b.c.partner.example", false),
        (&other, "b.c.partner.example", true),
        (&*ca, "a.partner.example", true),
        (&other, "a.partner.example", false),
    ];
    for (at, (by, domain, may)) in cases.into_iter().enumerate() {
        // A second name that nothing is said of, so that the peer is somebody in any case.
        let leaf = by.leaf(&[domain, "unbound.example"]);
        let client = Some(tls_client(&ca, Some(&leaf)));
        let line = s.lab.line(Leg::Client, client, Some(tls_server(&ca, &inside)));
        s.client_says(line, request("MESSAGE", domain, "local.example", at, "x"));
        s.lab.settle(secs(3));
        let heard = s.lab.lines[line].client.heard_text();
        assert_eq!(s.lab.lines[line].server.heard.is_empty(), !may, "{at}: {domain}: {heard}");
        assert_eq!(heard.starts_with("SIP/2.0 403 "), !may, "{at}: {domain}: {heard}");
    }
    s.finish();
}

/// A CA that may vouch for one domain makes nobody speak for another, be it by a CN or by a URI, which PKIX leaves alone.
#[test]
fn name_constraints_hold_for_every_name() {
    let mut s = Scene::new();
    let (ca, inside) = (s.ca.clone(), s.inside.clone());
    let (below, root) =
        (Authority::limited("partner.example", Some(&ca)), Authority::limited("partner.example", None));
    let own = ca.leaf(&["edge.local.example"]);
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, ""), (&root, "")]), face(&own, &[(&ca, "")]), &[]);
    s.lab.domains.permit("partner.example", ENTRY + 1);
    for (by, domain, names, may) in [
        (&below, "partner.example", &["partner.example"][..], true),
        (&below, "partner.example", &["sip:partner.example"], true),
        (&below, "partner.example", &[], true),
        (&below, "foreign.example", &["sip:foreign.example"], false),
        (&below, "foreign.example", &["sip:foreign.example", "partner.example"], false),
        (&below, "foreign.example", &[], false),
        (&root, "partner.example", &[], true),
        (&root, "foreign.example", &[], false),
    ] {
        let mut leaf = by.leaf_with(names, |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, domain);
        });
        leaf.chain.push_str(&by.pem);
        let client = Some(tls_client(&ca, Some(&leaf)));
        let line = s.lab.line(Leg::Client, client, Some(tls_server(&ca, &inside)));
        s.client_says(line, request("MESSAGE", domain, "local.example", line, "x"));
        assert_eq!(arrives(&mut s, line), may, "{domain} {names:?}: {:?}", s.lab.sink.events);
    }
    assert!(said(&s, "NameConstraintViolation"), "{:?}", s.lab.sink.events);
    s.finish();
}

#[test]
fn a_revoked_peer_is_refused_by_name() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let inside = s.inside.clone();
    let own = ca.leaf(&["edge.local.example"]);
    let serial = |n: u64| move |params: &mut rcgen::CertificateParams| params.serial_number = Some(n.into());
    let (bad, good) =
        (ca.leaf_with(&["foreign.example"], serial(77)), ca.leaf_with(&["foreign.example"], serial(78)));
    let list = ca.list(&[77], 3600);
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, &list)]), face(&own, &[(&ca, "")]), &[]);
    let line = call(&mut s, tls_client(&ca, Some(&bad)), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    assert!(said(&s, "tls-failed Client: invalid peer certificate: Revoked"), "{:?}", s.lab.sink.events);
    assert_eq!((s.counted("Stat(TlsRevoked)"), s.counted("Stat(TlsFailures)")), (1, 1));
    let line = call(&mut s, tls_client(&ca, Some(&good)), tls_server(&ca, &inside));
    assert!(arrives(&mut s, line));

    // Another voucher with the same CA does not let it in again.
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, ""), (&ca, &list)]), face(&own, &[(&ca, "")]), &[]);
    let line = call(&mut s, tls_client(&ca, Some(&bad)), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    assert_eq!(s.counted("Stat(TlsRevoked)"), 2);

    // A list that should have been renewed is none, unless that is said to be good enough.
    let old = ca.list(&[77], -3600);
    let mut server = face(&own, &[(&ca, &old)]);
    s.lab.tls = proxy_tls_of(server.clone(), face(&own, &[(&ca, "")]), &[]);
    let line = call(&mut s, tls_client(&ca, Some(&good)), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    assert!(said(&s, "certificate revocation list expired"), "{:?}", s.lab.sink.events);
    server.vouchers[0].revocation |= fedgate_tables::policy::REVOCATION_OR_NONE;
    s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
    let line = call(&mut s, tls_client(&ca, Some(&good)), tls_server(&ca, &inside));
    assert!(arrives(&mut s, line));
    let line = call(&mut s, tls_client(&ca, Some(&bad)), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    s.finish();
}

#[test]
fn a_ca_without_a_list_vouches_only_where_that_is_enough() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let own = ca.leaf(&["edge.local.example"]);
    let other = Authority::new("Another CA");
    let list = other.list(&[], 3600);
    let mut server = face(&own, &[(&ca, &list)]);
    s.lab.tls = proxy_tls_of(server.clone(), face(&own, &[(&ca, "")]), &[]);
    let line = s.inward();
    s.client_says(line, message_in(1));
    assert!(!arrives(&mut s, line));
    assert!(said(&s, "UnknownRevocationStatus"), "{:?}", s.lab.sink.events);
    server.vouchers[0].revocation |= fedgate_tables::policy::REVOCATION_OR_NONE;
    s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
    let line = s.inward();
    s.client_says(line, message_in(1));
    assert!(arrives(&mut s, line));
    s.finish();
}

#[test]
fn a_renewed_certificate_ends_no_connection() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let old = ca.leaf(&["edge.local.example"]);
    let before = proxy_tls(&ca, &old);
    s.lab.tls = before.clone();
    let first = s.inward();
    s.client_says(first, message_in(1));
    assert!(arrives(&mut s, first));
    let renewed = ca.leaf(&["edge.local.example"]);
    let renewed_face = face(&renewed, &[(&ca, "")]);
    s.lab.tls = proxy_tls_of(renewed_face.clone(), renewed_face, &[before]);
    let second = s.inward();
    s.client_says(second, message_in(2));
    assert!(arrives(&mut s, second));
    // The first goes on as it was; the second has the new certificate on both legs.
    s.client_says(first, message_in(3));
    s.server_says(first, response("MESSAGE", "foreign.example", "local.example", 1));
    s.lab.settle(secs(2));
    let lines = &s.lab.lines;
    assert!(lines[first].server.heard_text().contains("c3@foreign.example"));
    assert!(lines[first].client.heard_text().starts_with("SIP/2.0 200 OK"));
    for (line, leaf) in [(first, &old), (second, &renewed)] {
        for peer in [&lines[line].client, &lines[line].server] {
            assert_eq!(shown(peer.tls.as_ref().expect("TLS")), der(leaf));
        }
    }
    s.finish();
}

#[test]
fn sessions_are_resumed_and_checked_all_the_same() {
    for versions in [&[&TLS13][..], &[&TLS12][..]] {
        let mut s = Scene::new();
        let ca = s.ca.clone();
        let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
        let own = ca.leaf(&["edge.local.example"]);
        let before = proxy_tls(&ca, &own);
        s.lab.tls = before.clone();
        let client = client_config(&ca, Some(&foreign), versions);
        let server = server_config(&ca, &inside);
        let round = |s: &mut Scene, text: String| {
            let called = ServerConnection::new(server.clone()).expect("a server").into();
            let line = s.lab.line(Leg::Client, Some(calling(&client, "edge.local.example")), Some(called));
            s.client_says(line, text);
            s.lab.settle(secs(5));
            line
        };
        round(&mut s, message_in(1));
        assert_eq!(s.counted("Stat(TlsResumed)"), 0);
        let line = round(&mut s, message_in(2));
        assert_eq!(s.counted("Stat(TlsResumed)"), 2, "both legs: {:?}", s.lab.sink.events);
        assert!(s.lab.lines[line].server.heard_text().contains("c2@foreign.example"));
        // Who resumes is still whom its certificate says, and nobody else.
        s.lab.domains.permit("partner.example", ENTRY + 1);
        let line = round(&mut s, request("MESSAGE", "partner.example", "local.example", 3, "x"));
        assert!(s.counted("Stat(TlsResumed)") >= 3);
        assert!(s.lab.lines[line].server.heard.is_empty());
        assert!(s.lab.lines[line].client.heard_text().starts_with("SIP/2.0 403 "));
        // A policy that trusts the same goes on; one that does not begins anew, and refuses.
        let same = face(&own, &[(&ca, "")]);
        s.lab.tls = proxy_tls_of(same.clone(), same.clone(), std::slice::from_ref(&before));
        let resumed = s.counted("Stat(TlsResumed)");
        round(&mut s, message_in(4));
        assert_eq!(s.counted("Stat(TlsResumed)"), resumed + 2);
        let other = Authority::new("Another CA");
        s.lab.tls = proxy_tls_of(face(&own, &[(&other, "")]), same, &[before]);
        let line = round(&mut s, message_in(5));
        assert!(s.lab.lines[line].server.heard.is_empty());
        assert!(said(&s, "tls-failed Client: invalid peer certificate: UnknownIssuer"));
        s.finish();
    }
}

#[test]
fn a_certificate_that_ended_is_no_good_for_a_ticket() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let inside = s.inside.clone();
    let own = ca.leaf(&["edge.local.example"]);
    s.lab.tls = proxy_tls(&ca, &own);
    let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(3);
    let brief = ca.leaf_with(&["foreign.example"], |params| params.not_after = soon);
    let client = client_config(&ca, Some(&brief), ALL_VERSIONS);
    let line = call(&mut s, calling(&client, "edge.local.example"), tls_server(&ca, &inside));
    assert!(arrives(&mut s, line));
    s.lab.settle(secs(1));
    std::thread::sleep(Duration::from_secs(4));
    let line = call(&mut s, calling(&client, "edge.local.example"), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    assert!(
        said(&s, "tls-failed Client: invalid peer certificate: certificate expired"),
        "{:?}",
        s.lab.sink.events
    );
    s.finish();
}

#[test]
fn the_certificate_is_the_one_for_the_name_called() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
    let (own, second) = (ca.leaf(&["edge.local.example"]), ca.leaf(&["sip.other.example"]));
    let mut server = face(&own, &[(&ca, "")]);
    server.shown.push((Some("sip.other.example"), face(&second, &[]).shown[0].1));
    s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
    let client = client_config(&ca, Some(&foreign), ALL_VERSIONS);
    for (name, leaf) in [("sip.other.example", &second), ("edge.local.example", &own)] {
        let line = call(&mut s, calling(&client, name), tls_server(&ca, &inside));
        assert!(arrives(&mut s, line));
        assert_eq!(shown(s.lab.lines[line].client.tls.as_ref().expect("TLS")), der(leaf));
        // And the name of whom we call goes out as SNI, unless that is an address.
    }
    let line = s.outward();
    s.client_says(line, message_out(1));
    assert!(arrives(&mut s, line));
    let Some(rustls::Connection::Server(called)) = &s.lab.lines[line].server.tls else { panic!("a server") };
    assert_eq!(called.server_name(), Some("foreign.example"));
    s.finish();
}

/// A certificate that its own key has signed, as laboratories have them.
fn own_signed(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Leaf {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    change(&mut params);
    let chain = params.self_signed(&key).expect("a certificate").pem();
    Leaf { chain, key: key.serialize_pem() }
}

#[test]
fn a_peer_may_be_pinned_by_its_own_certificate() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let inside = s.inside.clone();
    let own = ca.leaf(&["edge.local.example"]);
    s.lab.domains.permit("other.example", ENTRY + 1);
    let lab = own_signed("foreign.example", |_| ());
    // `openssl req -x509` marks what it signs as a CA.
    let marked = own_signed("other.example", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let past = own_signed("foreign.example", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let pins = [&lab, &marked, &past].map(|leaf| leaf.chain.as_str()).concat();
    let mut server = face(&own, &[(&ca, "")]);
    server.vouchers[0].cas = pins.as_bytes();
    // Lists, where asked, are not asked of what no list could name.
    server.vouchers[0].revocation = REVOCATION_CRL;
    // Inside there is a CA.
    server.vouchers.extend(face(&own, &[(&ca, "")]).vouchers);
    s.lab.tls = proxy_tls_of(server.clone(), server, &[]);
    for (domain, leaf) in [("foreign.example", &lab), ("other.example", &marked)] {
        let line = s.lab.line(Leg::Client, Some(tls_client(&ca, Some(leaf))), Some(tls_server(&ca, &inside)));
        s.client_says(line, request("MESSAGE", domain, "local.example", line, "x"));
        assert!(arrives(&mut s, line), "{:?}", s.lab.sink.events);
    }
    // It speaks for what it names and no more.
    let line = s.lab.line(Leg::Client, Some(tls_client(&ca, Some(&lab))), Some(tls_server(&ca, &inside)));
    s.client_says(line, request("MESSAGE", "other.example", "local.example", line, "x"));
    assert!(!arrives(&mut s, line));
    assert!(s.lab.lines[line].client.heard_text().starts_with("SIP/2.0 403 "));
    // As a server too.
    let line = s.lab.line(Leg::Server, Some(tls_client(&ca, Some(&inside))), Some(tls_server(&ca, &lab)));
    s.client_says(line, message_out(line));
    assert!(arrives(&mut s, line), "{:?}", s.lab.sink.events);
    // The same names and another key, one past its end, and one that the pinned key has signed.
    let again = own_signed("foreign.example", |_| ());
    let mut issuer = rcgen::CertificateParams::new(vec![]).expect("no name");
    issuer.distinguished_name.push(rcgen::DnType::CommonName, "foreign.example");
    let issuer = rcgen::Issuer::new(issuer, rcgen::KeyPair::from_pem(&lab.key).expect("a key"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["foreign.example".to_owned()]).expect("a name");
    let signed = params.signed_by(&key, &issuer).expect("a certificate").pem();
    let signed = Leaf { chain: signed + &lab.chain, key: key.serialize_pem() };
    for (leaf, why) in
        [(&again, "UnknownIssuer"), (&past, "ertificate expired"), (&signed, "EndEntityUsedAsCa")]
    {
        s.lab.sink.events.clear();
        let line = call(&mut s, tls_client(&ca, Some(leaf)), tls_server(&ca, &inside));
        assert!(!arrives(&mut s, line));
        assert!(said(&s, why), "{why}: {:?}", s.lab.sink.events);
    }
    s.finish();
}

#[test]
fn a_name_may_be_met_in_its_own_way() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
    let (own, second) = (ca.leaf(&["edge.local.example"]), ca.leaf(&["sip.other.example"]));
    let mut server = face(&own, &[(&ca, "")]);
    server.spoken.flags = FACE_TLS13;
    let mut identity = face(&second, &[]).shown[0].1;
    // The fifth: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.
    identity.spoken = Some(Spoken { suites: 0b10000, flags: FACE_TLS12 | FACE_NO_CLIENT_AUTH });
    server.shown.push((Some("sip.other.example"), identity));
    s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
    let client = client_config(&ca, Some(&foreign), ALL_VERSIONS);
    for (name, leaf, version) in [
        ("sip.other.example", &second, ProtocolVersion::TLSv1_2),
        ("edge.local.example", &own, ProtocolVersion::TLSv1_3),
    ] {
        // Twice each: the second resumes, and only with its own.
        for resumed in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let line = call(&mut s, calling(&client, name), tls_server(&ca, &inside));
            assert!(arrives(&mut s, line), "{:?}", s.lab.sink.events);
            s.lab.settle(secs(1));
            let tls = s.lab.lines[line].client.tls.as_ref().expect("TLS");
            assert_eq!(
                (tls.protocol_version(), tls.handshake_kind()),
                (Some(version), Some(resumed)),
                "{name}"
            );
            assert_eq!(shown(tls), der(leaf));
        }
    }
    // What is refused is told by what that name takes; and it comes as an alert.
    let modern = client_config(&ca, Some(&foreign), &[&TLS13]);
    let line = call(&mut s, calling(&modern, "SIP.other.example"), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    assert!(
        said(&s, "; accepted are TLSv1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        "{:?}",
        s.lab.sink.events
    );
    let alert = s.lab.lines[line].client.tls_error.clone();
    assert!(matches!(alert, Some(rustls::Error::AlertReceived(_))), "{alert:?}");
    // Outside a certificate is wanted whatever the name says, inside as it says.
    let nobody = client_config(&ca, None, ALL_VERSIONS);
    let line = call(&mut s, calling(&nobody, "sip.other.example"), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    for (name, may) in [("sip.other.example", true), ("edge.local.example", false)] {
        let line = s.lab.line(Leg::Server, Some(calling(&nobody, name)), Some(tls_server(&ca, &foreign)));
        s.client_says(line, message_out(line));
        assert_eq!(arrives(&mut s, line), may, "{name}");
    }
    // A hello in pieces, and none at all.
    let line = s.lab.line(Leg::Client, None, None);
    for octet in [0x16, 3, 1, 0, 0xff] {
        s.client_says(line, [octet]);
        s.lab.settle(Micros(100_000));
    }
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[line].closed, Some(CloseReason::TlsTimeout(Leg::Client)));
    let line = s.lab.line(Leg::Client, None, None);
    s.client_says(line, message_in(1));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[line].closed, Some(CloseReason::TlsFailed(Leg::Client)));
    s.finish();
}

#[test]
fn inside_clients_may_go_without_where_that_is_said() {
    for (flag, may) in [(0, false), (FACE_NO_CLIENT_AUTH, true)] {
        let mut s = Scene::new();
        let ca = s.ca.clone();
        let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
        let own = ca.leaf(&["edge.local.example"]);
        let mut server = face(&own, &[(&ca, "")]);
        server.spoken.flags |= flag;
        s.lab.tls = proxy_tls_of(server, face(&own, &[(&ca, "")]), &[]);
        let (client, called) = (tls_client(&ca, None), tls_server(&ca, &foreign));
        let line = s.lab.line(Leg::Server, Some(client), Some(called));
        s.client_says(line, message_out(1));
        assert_eq!(arrives(&mut s, line), may);
        // Outside it is required whatever is said.
        let line = call(&mut s, tls_client(&ca, None), tls_server(&ca, &inside));
        assert!(!arrives(&mut s, line));
        assert!(said(&s, "tls-failed Client: peer sent no certificates"), "{:?}", s.lab.sink.events);
        s.finish();
    }
}

#[test]
fn what_has_nothing_in_common_is_told_what_would_be_taken() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let (foreign, inside) = (s.foreign.clone(), s.inside.clone());
    let own = ca.leaf(&["edge.local.example"]);
    let mut only_13 = face(&own, &[(&ca, "")]);
    only_13.spoken = Spoken { suites: 0b10, flags: FACE_TLS13 };
    s.lab.tls = proxy_tls_of(only_13.clone(), only_13, &[]);
    let old = client_config(&ca, Some(&foreign), &[&TLS12]);
    let line = call(&mut s, calling(&old, "edge.local.example"), tls_server(&ca, &inside));
    assert!(!arrives(&mut s, line));
    let event = s.lab.sink.events.last().expect("a line for the log").clone();
    assert!(event.contains("the peer offers TLSv1.2 with TLS_"), "{event}");
    assert!(event.ends_with("; accepted are TLSv1.3 with TLS_AES_128_GCM_SHA256"), "{event}");
    assert_eq!(s.counted("Stat(TlsNothingInCommon)"), 1);
    // One that speaks no TLS at all.
    let line = s.lab.line(Leg::Client, None, None);
    s.client_says(line, message_in(1));
    s.lab.settle(secs(20));
    let event = s.lab.sink.events.last().expect("a line for the log");
    assert!(event.contains("what came is no TLS; accepted are TLSv1.3"), "{event}");
    s.finish();
}

/// Carries a real program's bytes to and from a line's plain client until the program hangs up or the line does.
fn carry(s: &mut Scene, line: usize, mut stream: TcpStream) {
    stream.set_nonblocking(true).expect("a socket");
    let (mut written, end) = (0, Instant::now() + Duration::from_secs(20));
    let mut chunk = [0; 4096];
    while Instant::now() < end {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => s.client_says(line, &chunk[..n]),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
        s.lab.settle(fedgate_proxy::Micros(50_000));
        let heard = &s.lab.lines[line].client.heard;
        while written < heard.len() {
            match stream.write(&heard[written..]) {
                Ok(n) => written += n,
                Err(_) => break,
            }
        }
        if s.lab.lines[line].closed.is_some() || s.lab.lines[line].client.ended() {
            return;
        }
    }
}

/// `openssl s_client` with these arguments calls in.
fn openssl(s: &mut Scene, arguments: &[&str]) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("an address").port();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let line = s.lab.line(Leg::Client, None, Some(tls_server(&s.ca, &s.inside)));
    let (stream, _) = listener.accept().expect("it connects");
    carry(s, line, stream);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it ends");
    line
}

#[test]
fn openssl_of_today_and_of_long_ago() {
    let mut s = Scene::new();
    let ca = s.ca.clone();
    let own = ca.leaf(&["edge.local.example"]);
    s.lab.tls = proxy_tls(&ca, &own);
    openssl(&mut s, &["-tls1_1", "-cipher", "AES128-SHA:AES256-SHA:@SECLEVEL=0"]);
    let event = s.lab.sink.events.last().expect("a line for the log").clone();
    assert!(
        event.contains(
            "the peer offers TLSv1.1 with TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA; "
        ),
        "{event}"
    );
    assert!(event.contains("accepted are TLSv1.3, TLSv1.2 with TLS_AES_256_GCM_SHA384, "), "{event}");
    openssl(&mut s, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]);
    let event = s.lab.sink.events.last().expect("a line for the log").clone();
    assert!(event.contains("the peer offers TLSv1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA; "), "{event}");
    assert_eq!(s.counted("Stat(TlsNothingInCommon)"), 2);
    // Without a certificate, so it gets as far as that.
    openssl(&mut s, &["-tls1_3"]);
    assert!(said(&s, "peer sent no certificates"), "{:?}", s.lab.sink.events);
    s.lab.settle(secs(60));
}
