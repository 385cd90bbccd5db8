// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys and certificates by command: from the key pair to a certificate in force, its renewal, and what is refused.

use std::process::Command;

use super::Lab;
use crate::operate::protocol::Request;

impl Lab {
    /// Lines of a sub-mode, under `mode`.
    pub(super) fn under(&self, mode: &str, lines: &[&str]) {
        for line in lines {
            let context = vec![mode.to_owned()];
            let (answer, _, err) = self.ask(&Request { line: (*line).into(), context, ..Request::default() });
            assert_eq!(answer.code, 0, "{line}: {err}");
        }
    }

    /// A command with what is pasted behind it: exit code and errors.
    fn paste(&self, line: &str, input: &str) -> (u8, String) {
        let request = Request { line: line.into(), input: input.into(), ..Request::default() };
        let (answer, _, err) = self.ask(&request);
        (answer.code, err)
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().expect("openssl is there");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The chain of a trustpoint in the policy in force.
fn in_force(fake: &super::fake::Fake, trustpoint: &str) -> String {
    let state = fake.state();
    let view = state.policy.as_ref().expect("a policy").view();
    let found = view.trustpoints().iter().find(|t| view.str(t.name) == trustpoint).expect("the trustpoint");
    view.str(found.chain).to_owned()
}

#[test]
fn from_a_key_pair_to_a_certificate_and_its_renewal() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let (ca_key, ca) = (lab.path("ca.key"), lab.path("ca.crt"));
    let [ca_key, ca] = [ca_key.to_str().unwrap(), ca.to_str().unwrap()];
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        ca_key,
        "-out",
        ca,
        "-subj",
        "/CN=The CA",
    ]);
    assert!(lab.good("crypto key generate ecdsa label own").contains("`own` generated"));
    let why = lab.cli("crypto ca enroll public").2;
    assert!(why.contains("there is no `crypto ca trustpoint public`"), "{why}");
    lab.good("crypto ca trustpoint public");
    assert!(lab.cli("crypto ca enroll public").2.contains("has no `keypair LABEL`"));
    let mode = "crypto ca trustpoint public";
    lab.under(mode, &["keypair own", "subject-name CN=cup.example.com,O=Example", "enrollment terminal"]);

    let request = lab.good("crypto ca enroll public");
    let request = lab.file("request.pem", &request[request.find("-----BEGIN").expect("PEM")..]);
    let signed = |serial: &str| {
        let out = lab.path("signed.crt").to_str().unwrap().to_owned();
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            ca,
            "-CAkey",
            ca_key,
            "-set_serial",
            serial,
            "-days",
            "20",
            "-copy_extensions",
            "copyall",
            "-out",
            &out,
        ]);
        std::fs::read_to_string(out).unwrap()
    };
    let (code, err) = lab.paste("crypto ca authenticate public", &std::fs::read_to_string(ca).unwrap());
    assert_eq!(code, 0, "{err}");
    let first = signed("0x1001");
    let (code, err) = lab.paste("crypto ca import public certificate", &first);
    assert_eq!(code, 0, "{err}");
    assert!(in_force(&fake, "public").contains(first.trim()));
    let running = lab.running();
    assert!(!running.contains("PRIVATE"), "{running}");

    // Renewal: another certificate of the same key, by the same command. The one before stays for `rollback`.
    let renewed = signed("0x1002");
    assert_eq!(lab.paste("crypto ca import public certificate", &renewed).0, 0);
    assert!(
        in_force(&fake, "public").contains(renewed.trim())
            && !in_force(&fake, "public").contains(first.trim())
    );
    let kept: Vec<String> = std::fs::read_dir(lab.path("trust"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".crt"))
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");

    let shown = lab.good("show crypto ca certificates public");
    assert!(
        shown.starts_with("Certificate\n  Status: Available\n  Certificate Serial Number: 1002\n"),
        "{shown}"
    );
    assert!(shown.contains("  Subject Name:\n    CN=cup.example.com\n    O=Example\n"), "{shown}");
    // Twenty days, less the seconds since.
    let is_20_days =
        |text: &str, before: &str| [19, 20].iter().any(|n| text.contains(&format!("{before}{n}\n")));
    assert!(is_20_days(&shown, "days left: ") && shown.contains("\nCA Certificate\n"), "{shown}");
    assert!(
        lab.good("show crypto ca trustpoints")
            .contains("Trustpoint public:\n    Subject Name:\n    CN=The CA\n")
    );
    let keys = lab.good("show crypto key mypubkey ecdsa");
    assert!(keys.contains("Key name: own\n") && keys.contains("Key Size (bits): 256"), "{keys}");
    assert_eq!(lab.good("show crypto key mypubkey rsa"), "");
    assert!(is_20_days(&lab.good("show counters"), "(certificate_days_left): "));
    assert!(lab.cli("crypto key zeroize ecdsa label own").2.contains("of trustpoint public"));

    // A certificate of another key, and what is none, change nothing.
    lab.good("crypto key generate ecdsa label other");
    lab.under(mode, &["keypair other"]);
    assert!(
        lab.paste("crypto ca import public certificate", &renewed).1.contains("asked for with another key")
    );
    assert!(lab.paste("crypto ca import public certificate", "").1.contains("nothing was pasted"));
    assert!(in_force(&fake, "public").contains(renewed.trim()));
}

#[test]
fn a_certificate_by_its_own_key_and_one_from_pkcs12() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("crypto key generate rsa modulus 2048 label mine");
    lab.good("crypto ca trustpoint inside");
    let lines = ["enrollment self", "fqdn none", "subject-name cn=10.10.0.1", "keypair mine"];
    lab.under("crypto ca trustpoint inside", &lines);
    lab.good("crypto ca enroll inside");
    assert_eq!(lab.good("crypto ca export inside identity-certificate"), in_force(&fake, "inside"));

    let made = rcgen::generate_simple_self_signed(vec!["cup.example.com".to_owned()]).unwrap();
    let (crt, key) =
        (lab.file("p.crt", &made.cert.pem()), lab.file("p.key", &made.signing_key.serialize_pem()));
    let p12 = lab.path("p.p12").to_str().unwrap().to_owned();
    openssl(&["pkcs12", "-export", "-in", &crt, "-inkey", &key, "-out", &p12, "-passout", "pass:cisco123"]);
    let why = lab.cli(&format!("crypto ca import public pkcs12 wrong file {p12}")).2;
    assert!(why.contains("the passphrase is wrong"), "{why}");
    lab.good(&format!("crypto ca import public pkcs12 cisco123 file {p12}"));
    assert_eq!(in_force(&fake, "public").trim(), made.cert.pem().trim());
    // Pasted in base64, as an ASA exports it.
    let base64 = pem::encode(&pem::Pem::new("PKCS12", std::fs::read(&p12).unwrap()));
    assert_eq!(lab.paste("crypto ca import pasted pkcs12 cisco123", &base64).0, 0);
    assert_eq!(in_force(&fake, "pasted"), in_force(&fake, "public"));
    assert!(!lab.running().contains("cisco123"));
}

/// Lists are fetched from where they are, put to work, and shown; what cannot be had is told.
#[test]
fn revocation_lists_are_fetched() {
    use std::io::{Read, Write};
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let [ca_key, ca, list] =
        ["ca.key", "ca.crt", "ca.crl"].map(|name| lab.path(name).to_str().unwrap().to_owned());
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        &ca_key,
        "-out",
        &ca,
        "-subj",
        "/CN=The CA",
    ]);
    let database = lab.file("index.txt", "");
    let number = lab.file("number", "01\n");
    let section = format!(
        "[ca]\ndefault_ca=c\n[c]\ndatabase={database}\ncrlnumber={number}\ncrl_extensions=e\ndefault_md=sha256\ndefault_crl_days=2\n\
         [e]\nauthorityKeyIdentifier=keyid:always\n"
    );
    let section = lab.file("ca.cnf", &section);
    openssl(&["ca", "-gencrl", "-config", &section, "-keyfile", &ca_key, "-cert", &ca, "-out", &list]);
    let body = std::fs::read_to_string(&list).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ca.crl", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 2048]).unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let crls = |fake: &super::fake::Fake| {
        let state = fake.state();
        let Some(policy) = state.policy.as_ref() else { return 0 };
        let view = policy.view();
        view.trustpoints().iter().map(|t| view.blob(t.crls).len()).sum::<usize>()
    };
    lab.good("crypto ca trustpoint partners");
    let mode = "crypto ca trustpoint partners";
    lab.under(mode, &[&format!("ca file {ca}")]);
    // By itself, once the lines say so.
    let request = Request {
        line: format!("url 1 {url}"),
        context: vec![mode.into(), "crl configure".into()],
        ..Request::default()
    };
    assert_eq!(lab.ask(&request).0.code, 0);
    assert_eq!(crls(&fake), 0);
    lab.under(mode, &["revocation-check crl"]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while crls(&fake) == 0 {
        assert!(std::time::Instant::now() < end, "{}", lab.good("show crypto ca crls"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let shown = lab.good("show crypto ca crls partners");
    assert!(shown.starts_with("CRL Issuer Name:\n    CN=The CA\n  LastUpdate: "), "{shown}");
    assert!(
        shown.contains(&format!("CRL Distribution Point: {url}\n  Polled: ")) && !shown.contains("Failed"),
        "{shown}"
    );
    assert!(lab.good("show running-config").contains("crl file"));
    // At once, when asked; and when nobody answers any more.
    lab.good("crypto ca crl request partners");
    server.join().unwrap();
    let why = lab.cli("crypto ca crl request partners").2;
    assert!(why.contains(&url), "{why}");
    assert!(lab.good("show crypto ca crls").contains("  Failed: "));
    assert!(crls(&fake) > 0, "what there was stays");
}
