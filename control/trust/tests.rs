// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys, requests, imports and the times at which an end is told. PKCS#12 files are OpenSSL's, new and old.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

use super::facts::{Facts, Told};
use super::store::{KeyKind, Store};
use super::{crl, enroll, import};
use crate::config::model::{Model, Trustpoint};

#[test]
fn keys_are_made_once_and_for_nobody_else_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::of(folder.path());
    assert!(store.keys().is_empty());
    store.generate("a/../b", KeyKind::Ecdsa(384)).unwrap();
    store.generate("rsa", KeyKind::Rsa(2048)).unwrap();
    assert!(store.generate("rsa", KeyKind::Rsa(2048)).unwrap_err().contains("already"));
    let labels: Vec<String> = store.keys().into_iter().map(|key| key.label).collect();
    assert_eq!(labels, ["a/../b", "rsa"]);
    let path = store.key_path("a/../b");
    assert_eq!(path.parent(), Some(&*folder.path().join("trust")), "a label is no path");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    store.zeroize("rsa").unwrap();
    assert!(store.key("rsa").err().unwrap().contains("crypto key generate"));
    assert!(store.zeroize("rsa").is_err());
}

#[test]
fn what_nothing_names_is_swept_but_for_key_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::of(folder.path());
    store.generate("k", KeyKind::Ecdsa(256)).unwrap();
    let (one, two) = (store.put("t", "crt", "one").unwrap(), store.put("t", "crt", "two").unwrap());
    assert_ne!(one, two);
    store.sweep(|path| path == two);
    assert!(!one.exists() && two.exists() && store.key_path("k").exists());
}

fn trustpoint(subject: Option<&str>, fqdn: Option<Option<&str>>) -> Trustpoint {
    Trustpoint {
        subject: subject.map(Into::into),
        fqdn: fqdn.map(|fqdn| fqdn.map(Into::into)),
        ..Trustpoint::default()
    }
}

fn alt_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap();
    names.map_or(Vec::new(), |names| names.value.general_names.iter().map(ToString::to_string).collect())
}

#[test]
fn a_self_signed_certificate_says_what_the_trustpoint_does() {
    let key = KeyPair::generate().unwrap();
    let model =
        Model { hostname: Some("fw".into()), domain_name: Some("example.com".into()), ..Model::default() };
    let made = |model: &Model, t: &Trustpoint| enroll::self_signed(model, t, &key);
    let named = |t: &Trustpoint| {
        let pem = made(&model, t).unwrap();
        let der = import::certificates(&pem).unwrap().remove(0);
        assert!(import::is_of(&der, &key));
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let eku = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(eku.server_auth && eku.client_auth && !certificate.is_ca());
        (certificate.subject().to_string(), alt_names(&certificate))
    };
    let dns = |name: &str| format!("DNSName({name})");
    assert_eq!(named(&trustpoint(None, None)), ("CN=fw.example.com".into(), vec![dns("fw.example.com")]));
    assert_eq!(
        named(&trustpoint(Some("CN=cup.example.com,O=X"), Some(None))),
        ("CN=cup.example.com, O=X".into(), vec![dns("cup.example.com")])
    );
    // As in the guide: an address for a name, which no peer compares.
    assert_eq!(named(&trustpoint(Some("cn=10.10.0.1"), Some(None))), ("CN=10.10.0.1".into(), vec![]));
    assert!(made(&Model::default(), &trustpoint(None, None)).is_err());
}

#[test]
fn a_request_is_one_that_openssl_takes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::of(folder.path());
    store.generate("k", KeyKind::Rsa(2048)).unwrap();
    let t = trustpoint(Some("CN=cup.example.com,O=Example"), None);
    let pem = enroll::request(&Model::default(), &t, &store.key("k").unwrap()).unwrap();
    let der = pem::parse(&pem).unwrap();
    let (_, request) = X509CertificationRequest::from_der(der.contents()).unwrap();
    assert_eq!(request.certification_request_info.subject.to_string(), "CN=cup.example.com, O=Example");
    let path = folder.path().join("request.pem");
    std::fs::write(&path, &pem).unwrap();
    let text = openssl(&["req", "-verify", "-noout", "-text", "-in", path.to_str().unwrap()]);
    assert!(text.contains("DNS:cup.example.com") && text.contains("TLS Web Client Authentication"), "{text}");
}

fn openssl(arguments: &[&str]) -> String {
    let done = Command::new("openssl").args(arguments).output().expect("openssl is there");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn pkcs12_files_of_openssl() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let root_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Root");
    let root = params.self_signed(&root_key).unwrap().pem();
    let root_issuer = Issuer::new(params, root_key);
    let middle_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Middle");
    let middle = params.signed_by(&middle_key, &root_issuer).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let params_leaf = CertificateParams::new(vec!["cup.example.com".into()]).unwrap();
    let leaf = params_leaf.signed_by(&key, &Issuer::new(params, middle_key)).unwrap().pem();
    std::fs::write(path("leaf.crt"), &leaf).unwrap();
    std::fs::write(path("leaf.key"), key.serialize_pem()).unwrap();
    std::fs::write(path("cas.crt"), format!("{middle}{root}")).unwrap();
    let (crt, key_path, cas, p12) = (path("leaf.crt"), path("leaf.key"), path("cas.crt"), path("x.p12"));
    let all = ["pkcs12", "-export", "-in", &crt, "-inkey", &key_path, "-certfile", &cas, "-out", &p12];
    for old in [&[][..], &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]] {
        openssl(&[&all[..], &["-passout", "pass:secret word"], old].concat());
        let bytes = std::fs::read(&p12).unwrap();
        let identity = import::pkcs12(&bytes, "secret word").unwrap();
        assert_eq!(identity.chain, import::certificates(&format!("{leaf}{middle}")).unwrap());
        assert!(import::is_of(&identity.chain[0], &KeyPair::from_pem(&identity.key).unwrap()));
        let why = import::pkcs12(&bytes, "secret").err().unwrap();
        assert!(why.contains("the passphrase is wrong"), "{why}");
        for cut in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
            assert!(import::pkcs12(&bytes[..cut], "secret word").is_err());
        }
    }
    // An imported leaf is led on by the CAs that the trustpoint has, short of the root.
    let cas = import::certificates(&format!("{root}{middle}")).unwrap();
    let leaf = import::certificates(&leaf).unwrap();
    assert_eq!(import::completed(leaf.clone(), &cas), [leaf[0].clone(), cas[1].clone()]);
}

#[test]
fn certificates_are_taken_as_pem_and_as_asas_print_them() {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap().cert;
    let der = vec![made.der().to_vec()];
    assert_eq!(import::certificates(&made.pem()), Ok(der.clone()));
    let bare: String =
        made.pem().lines().filter(|l| !l.starts_with("-----")).map(|l| format!("{l}\n")).collect();
    assert_eq!(import::certificates(&bare), Ok(der));
    for bad in ["", "!!!", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(import::certificates(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_end_is_told_once_a_mark() {
    const DAY: i64 = 86_400;
    let facts = |not_after| {
        vec![Facts {
            trustpoint: "t".into(),
            is_ca: false,
            serial: "01".into(),
            subject: String::new(),
            issuer: String::new(),
            key: String::new(),
            signature: String::new(),
            not_before: 0,
            not_after,
        }]
    };
    let (end, mut told) = (100 * DAY, Told::default());
    let old = facts(end);
    let mut days = Vec::new();
    for hour in 0..=(102 * 24) {
        if !told.due(&old, hour * 3600).is_empty() {
            days.push((end - hour * 3600).div_euclid(DAY));
        }
    }
    assert_eq!(days, [29, 13, 6, 0, -1]);
    // Renewed, and then again.
    assert!(told.due(&facts(end * 2), end).is_empty());
    assert_eq!(told.due(&facts(end * 2), end * 2 - 2 * DAY).len(), 1);
}

/// A CA of this name, and what signs with its key.
fn authority(name: &str) -> (Vec<u8>, rcgen::Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    (params.self_signed(&key).unwrap().der().to_vec(), rcgen::Issuer::new(params, key))
}

fn list_of(issuer: &rcgen::Issuer<'_, KeyPair>, year: i32) -> Vec<u8> {
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(year, 1, 1),
        next_update: rcgen::date_time_ymd(year + 1, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: 7u64.into(),
            revocation_time: rcgen::date_time_ymd(year, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().der().to_vec()
}

#[test]
fn a_list_counts_if_a_ca_of_ours_signed_it_and_it_is_newer() {
    let ((one, signs_one), (two, signs_two), (_, forges)) =
        (authority("one"), authority("two"), authority("one"));
    let cas = [one, two];
    let (der, facts) = crl::checked(&list_of(&signs_one, 2025), &cas).unwrap();
    assert_eq!((facts.issuer.as_str(), facts.revoked, facts.size), ("CN=one", 1, der.len()));
    let pem = import::encoded("X509 CRL", &der);
    assert_eq!(crl::checked(pem.as_bytes(), &cas).unwrap().0, der);
    let why = |bytes: &[u8], cas: &[Vec<u8>]| crl::checked(bytes, cas).err().unwrap();
    assert_eq!(why(&list_of(&forges, 2030), &cas), "CN=one has not signed the list");
    assert_eq!(why(&der, &cas[1..]), "the list is of CN=one, which is none of the CAs");
    assert_eq!(why(b"<html>", &cas), "what is there is no revocation list");
    let mut damaged = der.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(why(&damaged, &cas), "CN=one has not signed the list");
    assert!(why(&der[..der.len() - 9], &cas).starts_with("the list cannot be "));
    // Put together: one of each issuer, never an older one.
    let first = crl::merged(b"", &der).unwrap();
    let both = crl::merged(&first, &list_of(&signs_two, 2020)).unwrap();
    let issuers: Vec<String> = crl::facts_of(&both).into_iter().map(|facts| facts.issuer).collect();
    assert_eq!(issuers, ["CN=one", "CN=two"]);
    assert!(crl::merged(&both, &der).is_none() && crl::merged(&both, &list_of(&signs_one, 2024)).is_none());
    let renewed = crl::merged(&both, &list_of(&signs_one, 2026)).unwrap();
    assert_eq!(crl::facts_of(&renewed).len(), 2);
}

#[test]
fn certificates_say_where_lists_are() {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let at = |uri: &str| rcgen::CrlDistributionPoint { uris: vec![uri.to_owned()] };
    params.crl_distribution_points = vec![
        at("http://a.example/one.crl"),
        at("ldap://a.example/x"),
        at("http://a.example/one.crl"),
        at("http://b.example:8080/two"),
    ];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let places = ["http://a.example/one.crl", "http://b.example:8080/two"];
    assert_eq!(crl::points(&[der.clone(), der, b"nothing".to_vec()]), places);
}

#[test]
fn answers_are_fetched_within_bounds() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}/x", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let huge =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", crate::config::trust::MAX_CRL + 1);
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist",
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            &huge,
        ];
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 2048];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /x HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.starts_with(&huge) {
                // Until the other side has had enough.
                while stream.write_all(&[0; 1 << 16]).is_ok() {}
            }
        }
    });
    assert_eq!(crl::fetch(&at).unwrap(), b"list");
    assert!(crl::fetch(&at).err().unwrap().contains("404"));
    assert!(crl::fetch(&at).is_err());
    server.join().unwrap();
    assert!(crl::fetch(&at).is_err(), "nobody is there");
}
