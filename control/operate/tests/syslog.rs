// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's messages as rsyslogd understands them, over UDP, TCP and TLS; a collector that the trustpoint does not vouch for gets none.
//!
//! rsyslogd is the real one (scripts/setup installs it), on ports of the loopback, as a child of the test.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use fedgate_tables::link::{AclFlow, BY_LEVEL, Event, Packet5};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::{CONFIG, Lab, wait};

struct Rsyslogd(Child);

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What rsyslogd made of each message, a line each.
const TEMPLATE: &str = "%inputname%|%syslogfacility%|%syslogseverity%|%protocol-version%|%hostname%|%app-name%|%msgid%|%timereported:::date-year%|%rawmsg-after-pri%\\n";

/// Ports that nobody has: of UDP the same numbers are as good as any.
fn ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Starts rsyslogd with an input of each kind.
fn rsyslogd(lab: &Lab, [udp, tcp, counted, tls]: [u16; 4]) -> Rsyslogd {
    let at = |name: &str| lab.path(name).display().to_string();
    let config = format!(
        "global(workDirectory=\"{}\" maxMessageSize=\"8k\" defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")\n\
         module(load=\"imudp\")\nmodule(load=\"imtcp\")\n\
         template(name=\"whole\" type=\"string\" string=\"{TEMPLATE}\")\n\
         ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{}\" template=\"whole\" asyncWriting=\"off\") }}\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\" name=\"udp\" ruleset=\"all\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tcp}\" name=\"tcp\" ruleset=\"all\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{counted}\" name=\"counted\" ruleset=\"all\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tls}\" name=\"tls\" ruleset=\"all\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n",
        lab.folder.path().display(),
        at("ca.crt"),
        at("collector.crt"),
        at("collector.key"),
        at("received")
    );
    std::fs::write(lab.path("rsyslog.conf"), config).unwrap();
    let log = std::fs::File::create(lab.path("rsyslog.log")).unwrap();
    let child = Command::new("rsyslogd")
        .args(["-n", "-iNONE", "-f", &at("rsyslog.conf")])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("rsyslogd is there: scripts/setup installs it");
    let mut running = Rsyslogd(child);
    wait("rsyslogd listens", || {
        let ended = running.0.try_wait().unwrap();
        assert!(ended.is_none(), "{}", std::fs::read_to_string(lab.path("rsyslog.log")).unwrap());
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, tls)).is_ok()
    });
    running
}

/// A CA, and a collector's certificate by it for the loopback's address and `collector.example`.
pub(super) fn certificates(lab: &Lab) {
    let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let write = |name: &str, text: String| std::fs::write(lab.path(name), text).unwrap();
    write("ca.crt", params.self_signed(&key).unwrap().pem());
    let names = vec!["127.0.0.1".to_owned(), "collector.example".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&own, &Issuer::new(params, key)).unwrap();
    write("collector.crt", leaf.pem());
    write("collector.key", own.serialize_pem());
    let mut other = CertificateParams::new(vec![]).unwrap();
    other.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("other.crt", other.self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
}

#[test]
fn rsyslogd_understands_every_form() {
    let lab = Lab::new();
    let fake = lab.fake();
    certificates(&lab);
    let [udp, tcp, counted, tls] = ports();
    let _collector = rsyslogd(&lab, [udp, tcp, counted, tls]);
    let lines = format!(
        "crypto ca trustpoint logs\n ca file ca.crt\ncrypto ca trustpoint other\n ca file other.crt\n\
         logging enable\nlogging timestamp\nlogging device-id hostname\nlogging trap debugging\nlogging buffered notifications\n\
         logging host m 127.0.0.1 udp/{udp}\nlogging host m 127.0.0.1 tcp/{tcp}\n\
         logging host m 127.0.0.1 tcp/{counted} format rfc5424\n\
         logging host m 127.0.0.1 tcp/{tls} format rfc5424 secure trustpoint logs reference-identity collector.example\n"
    );
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{lines}")).unwrap();
    let _control = lab.control();
    wait("collectors are up", || lab.good("show logging").matches(" up,").count() == 4);
    // Of UDP nobody knows whether anybody is there, and rsyslogd opens one input after the other.
    let bound = format!(":{udp:04X} ");
    wait("its UDP input is there", || {
        std::fs::read_to_string("/proc/net/udp").is_ok_and(|it| it.lines().any(|it| it.contains(&bound)))
    });
    lab.good("block domain bad.example");
    let packet = Packet5 {
        proto: 6,
        src: "198.51.100.99".parse::<std::net::IpAddr>().unwrap().into(),
        sport: 40000,
        dst: "10.10.0.11".parse::<std::net::IpAddr>().unwrap().into(),
        dport: 23,
        flags: 2,
        in_if: 0,
        out_if: Some(1),
    };
    let flow = AclFlow { acl: BY_LEVEL, packet, ..AclFlow::default() };
    fake.state().events.push(Event::AclHits { flow, hits: 1 });
    let received = || std::fs::read_to_string(lab.path("received")).unwrap_or_default();
    let denied = "%ASA-2-106001: Inbound TCP connection denied from 198.51.100.99/40000 to 10.10.0.11/23 flags SYN on interface outside";
    wait("every input has the denial", || received().matches(denied).count() == 4);
    let text = received();
    let own = rustix::process::geteuid().as_raw();
    let user = crate::operate::access::name_of(own).unwrap_or_else(|| own.to_string());
    let audit = format!(
        "%ASA-5-111010: User '{user}', running 'CLI' from IP 0.0.0.0, executed 'block domain bad.example'"
    );
    let audit = audit.as_str();
    let year = time::OffsetDateTime::now_utc().year();
    for (input, version, app, id) in [
        ("udp", 0, "", "-"),
        ("tcp", 0, "", "-"),
        ("counted", 1, "fedgate", "106001"),
        ("tls", 1, "fedgate", "106001"),
    ] {
        let of = |what: &str| -> Vec<String> {
            let line =
                text.lines().find(|line| line.starts_with(&format!("{input}|")) && line.contains(what));
            let line = line.unwrap_or_else(|| panic!("{input} has no {what}:\n{text}"));
            line.splitn(9, '|').map(str::to_owned).collect()
        };
        let fields = of(denied);
        assert_eq!(fields[1..5], ["20", "2", &version.to_string(), "fw"], "{fields:?}");
        assert_eq!(fields[6], id, "{fields:?}");
        assert!(app.is_empty() || fields[5] == app, "{fields:?}");
        assert_eq!(fields[7], year.to_string(), "the time was read: {fields:?}");
        assert_eq!(of(audit)[2], "5");
    }
    let shown = lab.good("show logging");
    assert!(shown.contains("Trap logging: level debugging, facility 20, "), "{shown}");
    assert!(shown.contains(denied) && shown.contains(audit), "{shown}");
    // Another CA does not vouch for it.
    let line = format!("logging host m 127.0.0.1 tcp/{tls} secure trustpoint other");
    lab.good(&line);
    wait("it is not trusted", || lab.good("show logging").contains("down (invalid peer certificate"));
    // By its address, which is in the certificate, it is.
    lab.good(&format!("logging host m 127.0.0.1 tcp/{tls} secure trustpoint logs"));
    wait("it is up again", || lab.good("show logging").matches(" up,").count() == 4);
    lab.good("clear logging buffer");
    assert!(!lab.good("show logging").contains(denied));
}
