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
fn a_proxy_without_any_ca_is_refused() {
    let lab = Lab::new();
    let why = "6:2: tls-proxy p could verify no peer: no trustpoint has a `ca file`";
    assert_eq!(lab.found(&format!("{ID}{PROXY}")), [why]);
    assert_eq!(lab.found(&format!("{ID} ca file ca.crt\n{PROXY}")), [""; 0]);
    assert_eq!(lab.found(&format!("{ID}crypto ca trustpoint u\n ca file ca.crt\n{PROXY}")), [""; 0]);
    assert_eq!(lab.found(&format!("{ID}tls-proxy p\n server trust-point t\n")), [""; 0]);
    // And it cannot be taken away from under one.
    let config = lab.config(&format!("{ID} ca file ca.crt\n{PROXY}"));
    let why = lab.edit(&config, "crypto ca trustpoint t\nno ca file ca.crt").err().unwrap();
    assert!(why.contains("could verify no peer"), "{why}");
}

#[test]
fn more_cas_than_the_dataplane_takes_are_refused() {
    let lab = Lab::new();
    let one = ca("one");
    lab.file("some.crt", &one.repeat(MAX_CAS - 1));
    let text = "crypto ca trustpoint a\n ca file some.crt\ncrypto ca trustpoint b\n ca file ca.crt\n";
    let pooled = "4:2: the CAs of all trustpoints (a to b) vouch for every peer, inside and outside alike";
    assert_eq!(lab.found(text), [pooled]);
    lab.file("some.crt", &one.repeat(MAX_CAS));
    let many = "4:2: more than 256 CA certificates in all trustpoints together";
    assert_eq!(lab.found(text), [pooled, many]);
}

#[test]
fn a_ca_file_that_holds_no_ca_is_refused() {
    let lab = Lab::new();
    lab.file("bad.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let found = lab.found("crypto ca trustpoint t\n ca file bad.crt\n");
    assert!(found.iter().all(|f| f.starts_with("2:2: bad.crt: certificate 1")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("not X.509")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("cannot be a CA")), "{found:?}");
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
