// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the trustpoints' files must hold for the dataplane to take the policy, and when they are read.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;

use super::super::trust::MAX_CAS;
use super::super::{Config, edit, load_file};

struct Lab(TempDir);

impl Lab {
    /// `id.crt` with `id.key`, and `ca.crt`.
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        lab.file("id.crt", &made.cert.pem());
        lab.file("id.key", &made.signing_key.serialize_pem());
        lab.file("ca.crt", &ca("one"));
        lab
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn config(&self, text: &str) -> Config {
        self.file("fedgate.cfg", text);
        let loaded = load_file(&self.0.path().join("fedgate.cfg"));
        loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).config
    }

    /// `line:column: message` of what loading `text` finds, but for the mode of the key's file.
    fn found(&self, text: &str) -> Vec<String> {
        self.file("fedgate.cfg", text);
        let report = match load_file(&self.0.path().join("fedgate.cfg")) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        let base = format!("{}/", self.0.path().display());
        let all = report.diagnostics.iter().map(|d| (&d.problem.span, d.problem.message.replace(&base, "")));
        all.filter(|(_, message)| !message.contains("every user"))
            .map(|(span, message)| format!("{}:{}: {message}", span.line, span.start + 1))
            .collect()
    }

    fn edit(&self, config: &Config, text: &str) -> Result<Config, String> {
        edit(config, text, self.0.path()).map(|l| l.config).map_err(|report| report.render(false))
    }
}

fn ca(name: &str) -> String {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

const ID: &str = "crypto ca trustpoint t\n certificate file id.crt\n key file id.key\n";
const PROXY: &str = "tls-proxy p\n server trust-point t\n client trust-point t\n";

#[test]
fn a_face_that_nobody_vouches_for_refuses() {
    let lab = Lab::new();
    let no_one = |face| {
        format!(
            "tls-proxy p: no CA vouches for the peers of its {face} face: it refuses every connection until there is"
        )
    };
    assert_eq!(
        lab.found(&format!("{ID}{PROXY}")),
        [format!("5:2: {}", no_one("server")), format!("6:2: {}", no_one("client"))]
    );
    assert_eq!(lab.found(&format!("{ID} ca file ca.crt\n{PROXY}")), [""; 0]);
    // The CAs of a trustpoint that no face names count for none.
    let other = format!("{ID}crypto ca trustpoint u\n ca file ca.crt\n{PROXY}");
    let unused = "4:1: the CA of trustpoint u vouches for nobody: on an ASA it would on every face";
    let found = lab.found(&other);
    assert!(found.len() == 3 && found.iter().any(|what| what == unused), "{found:?}");
    let one = format!("{other} server trust-point u verify\n");
    assert_eq!(lab.found(&one), [format!("8:2: {}", no_one("client"))]);
    let both = format!("{one} client trust-point u verify\n");
    assert_eq!(lab.found(&both), [""; 0]);
    assert_eq!(lab.found(&format!("{ID}tls-proxy p\n server trust-point t\n")), [""; 0]);
    // And it cannot be taken away from under one.
    let config = lab.config(&both);
    let why = lab.edit(&config, "crypto ca trustpoint u\nno ca file ca.crt").err().unwrap();
    assert!(why.contains("trustpoint u has no `ca file`, so it cannot vouch"), "{why}");
    let left = lab.edit(&config, "tls-proxy p\nno client trust-point u verify").unwrap();
    let policy = |config: &Config| {
        let made =
            crate::policy::compile(config, 1, &Default::default(), &crate::policy::slots::Zero).unwrap();
        let view = fedgate_tables::policy_view::PolicyView::parse(&made.segment).unwrap();
        let proxy = view.tls_proxies()[0];
        (proxy.server.shown, proxy.client.shown)
    };
    assert_eq!((policy(&config), policy(&left)), ((1, 1), (0, 0)));
}

#[test]
fn more_cas_than_the_dataplane_takes_are_refused() {
    let lab = Lab::new();
    let one = ca("one");
    lab.file("some.crt", &one.repeat(MAX_CAS - 1));
    let text = format!(
        "{ID} ca file ca.crt\ncrypto ca trustpoint a\n ca file some.crt\n{PROXY} server trust-point a verify\n"
    );
    assert_eq!(lab.found(&text), [""; 0]);
    let more = format!("{text} server trust-point t verify\n");
    assert_eq!(lab.found(&more), [""; 0]);
    lab.file("some.crt", &one.repeat(MAX_CAS));
    let many = "11:2: 257 CA certificates vouch for one face of tls-proxy p; at most 256 may";
    assert_eq!(lab.found(&more), [many]);
}

#[test]
fn what_a_proxy_means_reaches_the_policy() {
    use fedgate_tables::policy::{
        FACE_NO_CLIENT_AUTH, FACE_TLS12, FACE_TLS13, REVOCATION_CRL, REVOCATION_OR_NONE, SUITES,
    };
    use fedgate_tables::policy_view::PolicyView;
    let lab = Lab::new();
    let config = lab.config(&format!(
        "{ID} ca file ca.crt\n revocation-check crl none\n crl configure\n  no enforcenextupdate\ncrypto ca trustpoint u\n \
         ca file ca.crt\nssl server-version tlsv1.3\nssl cipher tlsv1.2 high\n{PROXY} server trust-point t domain \
         Edge.Example\n client trust-point u verify\n no server authenticate-client\n"
    ));
    let slots = crate::policy::slots::Slots::default();
    let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
    let view = PolicyView::parse(&compiled.segment).unwrap();
    let proxy = view.tls_proxies()[0];
    let named = |face| -> Vec<_> { view.vouchers_of(face).map(|t| view.str(t.name)).collect() };
    assert_eq!((named(&proxy.server), named(&proxy.client)), (vec!["t"], vec!["u"]));
    let shown: Vec<_> = view.shown_of(&proxy.server).iter().map(|s| view.str(s.domain)).collect();
    assert_eq!(shown, ["", "edge.example"]);
    assert_eq!(proxy.server.flags, FACE_TLS13 | FACE_NO_CLIENT_AUTH);
    assert_eq!(proxy.client.flags, FACE_TLS12 | FACE_TLS13);
    let spoken = |bits: u32| -> Vec<_> {
        (0..SUITES.len()).filter(|at| bits >> at & 1 == 1).map(|at| SUITES[at].openssl).collect()
    };
    assert!(!spoken(proxy.server.suites).iter().any(|name| name.starts_with("ECDHE")));
    assert_eq!(
        spoken(proxy.client.suites)[3..],
        ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
    );
    assert_eq!(view.trustpoints()[0].revocation, REVOCATION_CRL | REVOCATION_OR_NONE);
    let text = super::super::print::to_text(&config.model);
    assert!(lab.config(&text).model == config.model, "{text}");
}

#[test]
fn what_is_spoken_is_the_trustpoints_word_before_the_faces_before_ssl() {
    use fedgate_tables::policy::{FACE_NO_CLIENT_AUTH, FACE_TLS12, FACE_TLS13, suites};
    use fedgate_tables::policy_view::PolicyView;
    let lab = Lab::new();
    let config = lab.config(&format!(
        "{ID} ca file ca.crt\ncrypto ca trustpoint old\n certificate file id.crt\n key file id.key\n tls-version tlsv1.2\n \
         cipher-suite TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n no authenticate-client\nssl server-version tlsv1.3\nssl client-version \
         tlsv1.3\n{PROXY} server trust-point old domain old.example\n server trust-point t domain same.example\n server cipher-suite \
         TLS_AES_256_GCM_SHA384\n client tls-version tlsv1.2\ntls-proxy q\n server trust-point old\n server trust-point t verify\n \
         server tls-version tlsv1.3\n client trust-point old\n client trust-point t verify\n"
    ));
    let slots = crate::policy::slots::Slots::default();
    let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
    let view = PolicyView::parse(&compiled.segment).unwrap();
    let [p, q] = view.tls_proxies() else { panic!("two") };
    let names = |bits, flags| -> Vec<_> { suites(bits, flags).map(|s| s.openssl).collect() };
    assert_eq!((names(p.server.suites, !0), p.server.flags), (vec!["TLS_AES_256_GCM_SHA384"], FACE_TLS13));
    assert_eq!((p.client.suites.count_ones(), p.client.flags), (9, FACE_TLS12 | FACE_TLS13));
    let old = (vec!["ECDHE-ECDSA-AES128-GCM-SHA256"], FACE_TLS12 | FACE_NO_CLIENT_AUTH);
    let named: Vec<_> = view
        .shown_of(&p.server)
        .iter()
        .map(|s| (view.str(s.domain), (names(s.suites, !0), s.flags)))
        .collect();
    assert_eq!(named[0], ("", (vec![], 0)));
    assert_eq!(named[1], ("old.example", old.clone()));
    assert_eq!(named[2], ("same.example", (vec!["TLS_AES_256_GCM_SHA384"], FACE_TLS13)));
    assert_eq!((names(q.server.suites, !0), q.server.flags), old);
    assert_eq!((names(q.client.suites, !0), q.client.flags), (old.0, FACE_TLS12));
    let text = super::super::print::to_text(&config.model);
    assert!(
        text.contains(
            " tls-version tlsv1.2\n cipher-suite ECDHE-ECDSA-AES128-GCM-SHA256\n no authenticate-client\n"
        ),
        "{text}"
    );
    assert!(text.contains(" client tls-version tlsv1.2\n"), "{text}");
    assert!(lab.config(&text).model == config.model, "{text}");
    // Each line can be taken back, and only as it stands.
    let lines = ["no cipher-suite ECDHE-ECDSA-AES128-GCM-SHA256", "authenticate-client"];
    for line in lines {
        let edited = lab.edit(&config, &format!("crypto ca trustpoint old\n{line}")).unwrap();
        assert!(edited.model != config.model, "{line}");
    }
    let both = format!("crypto ca trustpoint old\n{}\nno tls-version tlsv1.2", lines[0]);
    assert_eq!(lab.edit(&config, &both).unwrap().model.trustpoints["old"].tls, Default::default());
    assert!(lab.edit(&config, "crypto ca trustpoint old\nno tls-version tlsv1.3").is_err());
    assert!(lab.edit(&config, "tls-proxy p\nno server tls-version tlsv1.2").is_err());
    // One that leaves nothing to speak is refused, where it would be shown.
    let why = lab.edit(&config, "crypto ca trustpoint old\ntls-version tlsv1.3").err().unwrap();
    let none = "of the suites of its server face with trustpoint old none is of a version it speaks";
    assert!(
        why.contains(&format!("tls-proxy p: {none}")) && why.contains(&format!("tls-proxy q: {none}")),
        "{why}"
    );
}

#[test]
fn domains_are_bound_to_trustpoints_that_vouch() {
    let lab = Lab::new();
    let base = format!("{ID} ca file ca.crt\ncrypto ca trustpoint u\n ca file ca.crt\n{PROXY}");
    let two = format!("{base} server trust-point t verify\n server trust-point u verify\n");
    assert_eq!(lab.found(&format!("{two}permit domain a.example trustpoint u\n")), [""; 0]);
    let idle = "10:36: nobody can speak for a.example: trustpoint u vouches for no face of a tls-proxy";
    assert_eq!(lab.found(&format!("{base}permit domain a.example trustpoint u\n")), [idle]);
    let none = "12:36: there is no `crypto ca trustpoint v`";
    assert_eq!(lab.found(&format!("{two}permit domain a.example trustpoint v\n")), [none]);
    let clash = "certificates with the name edge.example are bound to trustpoint u by a.example already";
    let lines = "permit domain a.example peer edge.example trustpoint u\npermit domain b.example peer edge.example trustpoint t\n";
    assert_eq!(lab.found(&format!("{two}{lines}")), [format!("13:54: {clash}")]);

    let config =
        lab.config(&format!("{two}permit domain *.a.example trustpoint u\npermit domain c.example\n"));
    let text = super::super::print::to_text(&config.model);
    assert!(text.contains("permit domain *.a.example trustpoint u\npermit domain c.example\n"), "{text}");
    assert!(lab.config(&text).model == config.model);
    let slots = crate::policy::slots::Slots::default();
    let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
    let view = fedgate_tables::policy_view::PolicyView::parse(&compiled.segment).unwrap();
    let [bound] = view.name_trust() else { panic!("one") };
    assert_eq!((view.str(bound.name), bound.wildcard, bound.trustpoint), ("a.example", 1, 1));
    // Permitted anew without one, it is bound no more; and a trustpoint in use stays.
    let free = lab.edit(&config, "permit domain *.a.example").unwrap();
    assert!(free.model.domain_trust.is_empty());
    let why = lab.edit(&config, "no crypto ca trustpoint u").err().unwrap();
    assert!(why.contains("there is no `crypto ca trustpoint u`"), "{why}");
    assert!(lab.edit(&config, "no permit domain *.a.example trustpoint t").is_err());
    let gone = lab.edit(&config, "no permit domain *.a.example trustpoint u").unwrap();
    assert!(gone.model.domain_trust.is_empty() && gone.model.domains.len() == 1);
}

#[test]
fn suites_that_are_not_spoken_are_refused_with_those_that_are() {
    let lab = Lab::new();
    for (line, word) in [
        ("tls-proxy p\n client cipher-suite aes128-gcm", "aes128-gcm"),
        ("ssl cipher tlsv1.3 custom ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("ssl server-version tlsv1.1", "tlsv1.1"),
    ] {
        let found = lab.found(&format!("{line}\n"));
        assert!(found.len() == 1 && found[0].ends_with(&format!("`{word}` is not spoken here")), "{found:?}");
    }
    // Old ones are read as what is of the same strength.
    let config = lab.config("ssl encryption aes128-sha1\nssl cipher tlsv1.3 custom TLS_AES_256_GCM_SHA384\n");
    let printed = crate::config::print::to_text(&config.model);
    assert!(
        printed.contains(
            "\nssl cipher tlsv1.2 custom ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256\n"
        ),
        "{printed}"
    );
    let none = format!(
        "{ID} ca file ca.crt\nssl server-version tlsv1.3\n{PROXY} server cipher-suite ECDHE-RSA-AES128-GCM-SHA256\n"
    );
    let why = "9:2: tls-proxy p: of the suites of its server face none is of a version it speaks";
    assert_eq!(lab.found(&none), [why]);
}

/// A CA with a key, and a list by it of the serial numbers given, good until `year`.
fn ca_with_list(serials: &[u64], year: i32) -> (String, String) {
    use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyUsagePurpose, RevokedCertParams};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pem = params.self_signed(&key).unwrap().pem();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(year, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: (*serial).into(),
                revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap();
    (pem, list)
}

#[test]
fn revocation_lists_are_read_and_looked_at() {
    let lab = Lab::new();
    let (pem, list) = ca_with_list(&[7], 2090);
    lab.file("ca.crt", &pem);
    lab.file("ca.crl", &list);
    let text = "crypto ca trustpoint t\n ca file ca.crt\n crl file ca.crl\n revocation-check crl\n";
    assert_eq!(lab.found(text), [""; 0]);
    let as_pem = lab.config(text).material["t"].crls.clone();
    std::fs::write(lab.0.path().join("ca.crl"), pem::parse(&list).unwrap().contents()).unwrap();
    assert!(lab.config(text).material["t"].crls == as_pem, "DER and PEM are the same list");
    let unasked = "crypto ca trustpoint t\n ca file ca.crt\n crl file ca.crl\n";
    assert_eq!(lab.found(unasked), ["3:2: the revocation lists of t are not asked"]);
    let missing = "crypto ca trustpoint t\n ca file ca.crt\n revocation-check crl\n";
    assert!(lab.found(missing)[0].contains("vouches for nobody"));
    let places = format!(
        "{missing} crl configure\n  url 1 http://a.example/ca.crl\n  url 3 http://192.0.2.1:8080/x\n  cache-time 5\n"
    );
    let config = lab.config(&places);
    let printed = super::super::print::to_text(&config.model);
    assert!(printed.contains(" crl configure\n  url 1 http://a.example/ca.crl\n  url 3 http://192.0.2.1:8080/x\n  cache-time 5\n"), "{printed}");
    assert!(lab.config(&printed).model == config.model);
    let less = lab.edit(
        &config,
        "crypto ca trustpoint t\ncrl configure\nno url 3 http://192.0.2.1:8080/x\nno cache-time 5",
    );
    assert_eq!(less.unwrap().model.trustpoints["t"].crl_urls.len(), 1);
    assert!(
        lab.edit(&config, "crypto ca trustpoint t\ncrl configure\nno url 3 http://a.example/ca.crl").is_err()
    );
    for bad in ["ldap://a.example/x", "http:///x", "http://u@a.example/", "https://a.example/"] {
        let found = lab.found(&format!("crypto ca trustpoint t\n crl configure\n  url 1 {bad}\n"));
        assert!(found[0].contains("not a place that lists are fetched from"), "{bad}: {found:?}");
    }
    lab.file("ca.crl", &ca_with_list(&[], 2021).1);
    let found = lab.found(text);
    assert!(
        found[0].contains("ca.crl: list 1 should have been renewed by Jan  1 00:00:00 2021"),
        "{found:?}"
    );
    lab.file("ca.crl", "nothing\n");
    assert_eq!(lab.found(text), ["4:2: ca.crl: no revocation list in it"]);
}

#[test]
fn what_is_no_ca_cannot_vouch() {
    let lab = Lab::new();
    let key = KeyPair::generate().unwrap();
    let mut issuer = CertificateParams::new(vec![]).unwrap();
    issuer.distinguished_name.push(rcgen::DnType::CommonName, "issuer");
    let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(issuer, KeyPair::generate().unwrap())).unwrap().pem();
    lab.file("ca.crt", &leaf);
    let why = "2:2: ca.crt: certificate 1 is no CA: its basicConstraints do not say cA";
    assert_eq!(lab.found("crypto ca trustpoint t\n ca file ca.crt\n"), [why]);
    // A peer's own certificate may stand there: it vouches for that peer.
    let own = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap().cert.pem();
    lab.file("ca.crt", &own);
    assert_eq!(lab.found("crypto ca trustpoint t\n ca file ca.crt\n"), [""; 0]);
    assert_eq!(lab.config("crypto ca trustpoint t\n ca file ca.crt\n").material["t"].ca_count, 1);
}

#[test]
fn a_ca_file_that_holds_no_ca_is_refused() {
    let lab = Lab::new();
    lab.file("bad.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let found = lab.found("crypto ca trustpoint t\n ca file bad.crt\n");
    assert!(found.iter().all(|f| f.starts_with("2:2: bad.crt: certificate 1")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("not X.509")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("is no CA")), "{found:?}");
}

#[test]
fn only_the_files_of_trustpoints_that_an_edit_touches_are_read() {
    let lab = Lab::new();
    let config = lab.config(&format!("{ID}crypto ca trustpoint u\n ca file ca.crt\n"));
    let renewed = ca("two");
    lab.file("ca.crt", &renewed);
    std::fs::remove_file(lab.0.path().join("id.key")).unwrap();
    let after = lab.edit(&config, "hostname x").unwrap();
    assert!(after.material == config.material);
    let after = lab.edit(&config, "crypto ca trustpoint u\nca file ca.crt").unwrap();
    assert_eq!(after.material["u"].cas, renewed.as_bytes());
    assert!(after.material["t"] == config.material["t"]);
    let why = lab.edit(&config, "crypto ca trustpoint t\nkey file id.key").err().unwrap();
    assert!(why.contains("cannot read"), "{why}");
    assert!(load_file(&lab.0.path().join("fedgate.cfg")).is_err(), "a load reads everything");
    assert!(!lab.edit(&config, "no crypto ca trustpoint u").unwrap().material.contains_key("u"));
}

#[test]
fn a_fifo_in_a_trustpoint_is_refused() {
    let lab = Lab::new();
    let path = lab.0.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    let text = "crypto ca trustpoint t\n ca file fifo\n";
    assert_eq!(lab.found(text), ["2:2: cannot read fifo: not a regular file"]);
    let why = load_file(Path::new(&path)).err().unwrap().render(false);
    assert!(why.contains("not a regular file"), "{why}");
}
