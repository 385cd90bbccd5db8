// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users from a directory: OpenLDAP's slapd with a directory of the test's own, over TLS and StartTLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{EDGE, Peer, status};
use crate::page::done;
use crate::tls::Ca;
use crate::web::Web;

const ADMIN: &str = "cn=admin,dc=local,dc=example";

struct Slapd {
    child: Child,
    tls: u16,
    plain: u16,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Slapd {
    fn start(folder: &Path, ca: &Ca) -> Self {
        let (certificate, key) = ca.issue("directory.local.example");
        let path = |name: &str| folder.join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
        write("slapd.pem", &certificate);
        write("slapd.key", &key);
        write("slapd.ca", &ca.pem());
        std::fs::create_dir(folder.join("db")).expect("a folder");
        let schemas: String = ["core", "cosine", "inetorgperson"]
            .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"))
            .concat();
        write(
            "slapd.conf",
            &format!(
                "{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\nTLSCACertificateFile {}\n\
                 sizelimit size.soft=3 size.prtotal=unlimited\npidfile {}\n\
                 database mdb\nsuffix dc=local,dc=example\nrootdn {ADMIN}\nrootpw admin\ndirectory {}\n\
                 access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n",
                path("slapd.pem"),
                path("slapd.key"),
                path("slapd.ca"),
                path("slapd.pid"),
                path("db")
            ),
        );
        let person = |uid: &str, mail: &str, password: &str| {
            format!(
                "dn: uid={uid},ou=people,dc=local,dc=example\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\
                 displayName: The {uid}\nmail: {mail}\nuserPassword: {password}\n\n"
            )
        };
        let mut ldif = "dn: dc=local,dc=example\nobjectClass: dcObject\nobjectClass: organization\no: Local\ndc: local\n\n\
             dn: ou=people,dc=local,dc=example\nobjectClass: organizationalUnit\nou: people\n\n"
            .to_owned();
        ldif += &person("cid", "Cid@local.example", "c");
        ldif += &person("ann", "ann@local.example", "directory");
        ldif += &person("far", "far@elsewhere.example", "f");
        // Two who claim one address, and none of them gets it.
        ldif += &person("eve", "boss@local.example", "e");
        ldif += &person("boss", "boss@local.example", "b");
        // More than one page of answers.
        ldif += &(0..600)
            .map(|n| person(&format!("u{n}"), &format!("u{n}@local.example"), "u"))
            .collect::<String>();
        write("ldif", &ldif);
        done(
            Command::new("/usr/sbin/slapadd")
                .args(["-q", "-f"])
                .arg(folder.join("slapd.conf"))
                .arg("-l")
                .arg(folder.join("ldif")),
        );
        let port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            listener.expect("a port").port()
        };
        let (tls, plain) = (port(), port());
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &format!("ldaps://localhost:{tls}/ ldap://localhost:{plain}/"), "-f"])
            .arg(folder.join("slapd.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd has started; scripts/setup installs it");
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", tls)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "slapd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, tls, plain }
    }
}

fn table(url: &str, folder: &Path) -> String {
    std::fs::write(folder.join("secret"), "admin\n").expect("written");
    format!(
        "[directory]\nurl = \"{url}\"\nbind = \"{ADMIN}\"\npassword-file = \"{}\"\nbase = \"ou=people,dc=local,dc=example\"\nca = \"{}\"\nrefresh = 1\n",
        folder.join("secret").display(),
        folder.join("slapd.ca").display()
    )
}

async fn log_in(web: &Web, user: &str, password: &str) -> u16 {
    let body = json!({ "user": user, "password": password, "bearer": true });
    web.http.api("POST", "/session", Some(body)).await.status
}

/// What a foreign user is answered who wants to watch somebody.
async fn subscribes(x: &mut Peer, user: &str) -> u16 {
    let extra = "Event: presence\r\nContact: <sip:x@127.0.0.2:9;transport=tcp>\r\n";
    x.request("SUBSCRIBE", "x@foreign.example", user, extra, "").await;
    x.response().await.map_or(0, |answer| status(&answer))
}

fn users(web: &Web) -> Value {
    web.node.ask(&json!({ "do": "statistics" })).expect("statistics")["users"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_the_directory_is_a_user() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
    let slapd = Slapd::start(folder.path(), &ca);
    for url in [format!("ldaps://localhost:{}", slapd.tls), format!("ldap://localhost:{}", slapd.plain)] {
        let web = Web::start("", &table(&url, folder.path()));
        // bob of the file, cid of the directory, ann of both, and all the others; nobody of another domain or of an address that is another's too.
        assert_eq!(users(&web), 603, "{url}");
        let cid = web.node.show("cid@local.example");
        assert_eq!(cid["name"], "The cid");
        for (user, password, expected) in [
            ("cid", "c", 200),
            ("cid", "wrong", 401),
            // A bind without a password succeeds, and proves nothing.
            ("cid", "", 401),
            ("ann", "directory", 200),
            // The file's is for digest only where the directory judges.
            ("ann", "a", 401),
            ("bob", "b", 200),
        ] {
            assert_eq!(log_in(&web, user, password).await, expected, "{user} {password}");
        }
    }
    let url = format!("ldaps://localhost:{}", slapd.tls);
    let web = Web::start("", &table(&url, folder.path()));
    let mut x = Peer::connect(EDGE, web.node.addresses[0]).await;
    assert_eq!(
        (subscribes(&mut x, "cid@local.example").await, subscribes(&mut x, "dan@local.example").await),
        (200, 404)
    );
    // Who leaves the company is no user any more.
    let mut delete = Command::new("ldapdelete");
    // The tool asks for the machine's own name, whatever it is told.
    delete.env("LDAPTLS_REQCERT", "never").args(["-x", "-H", &url, "-D", ADMIN, "-w", "admin"]);
    done(delete.arg("uid=u0,ou=people,dc=local,dc=example"));
    let started = Instant::now();
    while users(&web) != 602 {
        assert!(started.elapsed() < Duration::from_secs(10), "{}", users(&web));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A directory that is gone takes nobody with it, but judges nobody either.
    drop(slapd);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(subscribes(&mut x, "cid@local.example").await, 200);
    assert_eq!((log_in(&web, "cid", "c").await, log_in(&web, "bob", "b").await), (503, 200));
}

#[tokio::test]
async fn a_directory_that_is_somebody_else_s_is_not_asked() {
    let (ca, other, folder) = (Ca::new(), Ca::new(), tempfile::tempdir().expect("a folder"));
    let slapd = Slapd::start(folder.path(), &ca);
    std::fs::write(folder.path().join("slapd.ca"), other.pem()).expect("written");
    let web = Web::start("", &table(&format!("ldaps://localhost:{}", slapd.tls), folder.path()));
    assert_eq!(users(&web), 2);
}
