// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients of every kind: good ones, in a sub-mode, with JSON; and those that hang, babble, flood or do not read.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Lab, wait};
use crate::config::model::users::OPERATOR;
use crate::operate::protocol::{FAILED, MAX_LINE, Request, UNREACHABLE, USAGE};
use crate::operate::server::MAX_CLIENTS;

#[test]
fn sub_modes_are_handed_back_and_forth() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let typed = |line: &str, context: &[&str]| {
        let context = context.iter().map(|l| (*l).to_owned()).collect();
        lab.ask(&Request { line: line.into(), context, ..Request::default() }).0
    };
    let answer = typed("object network cup", &[]);
    assert_eq!(
        (answer.code, answer.context, answer.mode.as_str()),
        (0, vec!["object network cup".to_owned()], "config-network-object")
    );
    assert_eq!(answer.hostname, "fw");
    let answer = typed("host 10.10.0.11", &["object network cup"]);
    assert_eq!((answer.code, answer.mode.as_str()), (0, "config-network-object"));
    let answer = typed("hostname other", &["object network cup"]);
    assert_eq!((answer.code, answer.context.len(), answer.mode.as_str()), (0, 0, "config"));
    assert_eq!(typed("host 10.10.0.12", &[]).code, USAGE);
    assert!(lab.running().contains("object network cup\n host 10.10.0.11\n"));
    assert!(lab.good("show ro?").contains("  route  routes\n"));
}

/// The lines that lead to a mode are the client's word: they count as what the line itself needs, and nothing else can hide among them.
#[test]
fn a_context_is_no_way_around_privileges() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let typed = |line: &str, context: &[&str], privilege| {
        let context = context.iter().map(|l| (*l).to_owned()).collect();
        let request =
            Request { line: line.into(), context, privilege: Some(privilege), ..Request::default() };
        let (answer, _, err) = lab.ask(&request);
        (answer.code, answer.mode, err)
    };
    let (code, _, err) = typed("permit domain a.example", &["object network evil"], OPERATOR);
    assert!(code == FAILED && err.contains("privilege"), "{code} {err}");
    let password = ["username evil password secret privilege 15"; 3];
    for context in [&password[..1], &password, &["object network evil"; 5]] {
        let (code, mode, err) = typed("permit domain b.example", context, OPERATOR);
        assert_eq!((code, mode.as_str()), (0, "config"), "it is left out: {err}");
        assert_eq!(typed("hostname fw", context, 15).0, 0);
    }
    let running = lab.running();
    assert!(!running.contains("evil") && !running.contains("a.example"), "{running}");
    assert!(running.contains("permit domain b.example\n"));
    assert_eq!(typed("host 10.10.0.11", &["object network good"], 15).0, 0);
    assert!(lab.running().contains("object network good\n host 10.10.0.11\n"));
}

/// `show tech-support` is one command, whatever it shows; what is logged and listed has no secrets.
#[test]
fn what_was_typed_is_kept_once_and_without_secrets() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    lab.good("logging enable");
    lab.good("logging buffered debugging");
    assert!(lab.good("show tech-support").contains("------ show version ------"));
    lab.good("username olga  password \"cherry pie\" privilege 5");
    let (answer, _, err) =
        lab.ask(&Request { line: "login olga".into(), input: "apple pie\n".into(), ..Request::default() });
    assert!(answer.code == FAILED && err.contains("Login failed"), "{err}");
    let (answer, _, err) =
        lab.ask(&Request { line: "login olga".into(), input: "cherry pie\n".into(), ..Request::default() });
    assert!(answer.code == 0 && answer.privilege == OPERATOR, "{err}");
    let (history, log) = (lab.good("show history"), lab.good("show logging"));
    assert_eq!(history.matches("show tech-support").count(), 1);
    assert!(
        !history.contains("show version") && history.contains("username olga  password ***** privilege 5")
    );
    for told in [
        "%ASA-6-611102: User authentication failed: IP address: 0.0.0.0, Uname: olga",
        "%ASA-6-611101: User authentication succeeded: IP address: 0.0.0.0, Uname: olga",
        "%ASA-5-502103: User priv level changed: Uname: olga From: 15 To: 5",
        "executed 'username olga  password ***** privilege 5'",
    ] {
        assert!(log.contains(told), "{told}:\n{log}");
    }
    let running = lab.running();
    for secret in ["cherry", "apple"] {
        assert!(!format!("{history}{log}{running}").contains(secret));
    }
    let startup = lab.good("write memory") + &lab.good("show startup-config");
    assert!(startup.contains("username olga password $sha512$"), "{startup}");
    let (_, seen, _) =
        lab.ask(&Request { line: "show startup-config".into(), privilege: Some(0), ..Request::default() });
    assert!(seen.contains("username olga password ***** pbkdf2 privilege 5\n"), "{seen}");
}

#[test]
fn every_show_command_answers_in_both_forms() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().conns = 3;
    fake.state().counters.drop(fedgate_tables::drops::DropReason::AclDrop);
    let _control = lab.control();
    for spec in crate::operate::commands::SPECS.iter().filter(|s| s.words.starts_with("show")) {
        lab.good(spec.words);
        let (answer, out, err) =
            lab.ask(&Request { line: spec.words.into(), json: true, ..Request::default() });
        assert_eq!(answer.code, 0, "{}: {err}", spec.words);
        for line in out.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
            assert!(value.is_object(), "{}: {line}", spec.words);
        }
    }
    assert!(
        lab.good("show conn")
            .contains("TCP outside 10.10.0.1:80 inside 10.10.0.1:2, idle 0:00:00, bytes 0, flags UIO\n")
    );
    assert!(
        lab.good("show drops")
            .lines()
            .any(|l| l.len() == 80 && l.contains("(acl-drop)") && l.ends_with(" 1"))
    );
    assert_eq!(lab.good("show conn port 80 count"), "3 matching\n");
    assert_eq!(lab.good("clear conn"), "7 connections cleared\n");
}

#[test]
fn pipes_abbreviations_and_completion() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().conns = 3000;
    let _control = lab.control();
    assert_eq!(lab.good("sh conn | count"), "3001\n");
    assert_eq!(lab.good("sh conn | inc :17, | count"), "1\n");
    assert_eq!(lab.good("sh conn por 80 coun"), "3000 matching\n");
    assert!(
        lab.good("show running-config | begin ^access-list | exclude deny")
            .starts_with("access-list out extended permit")
    );
    let (_, json, _) = lab.cli("show interface | json | grep outside");
    assert!(json.lines().all(|line| line.starts_with('{') && line.contains("outside")), "{json}");
    let (code, _, err) = lab.cli("show conn | sort");
    assert_eq!(code, USAGE);
    assert!(err.contains("filters are include"), "{err}");
    let (code, _, err) = lab.cli("access x");
    assert_eq!((code, err.as_str()), (USAGE, "ambiguous: `access` may be access-group, access-list\n"));
    lab.good("hostn cut");
    assert!(lab.running().contains("hostname cut\n"));
    lab.good("permit domain bar.example comment a | b");
    assert!(lab.running().contains("comment a | b\n"));
    let (_, words, _) = lab.cli("show interface out\t");
    assert_eq!(words, "outside\n");
}

#[test]
fn a_long_list_streams_whole() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().conns = 60_000;
    let _control = lab.control();
    let out = lab.good("show conn");
    assert_eq!(out.lines().filter(|l| l.starts_with("TCP ")).count(), 60_000);
}

#[test]
fn a_client_that_does_not_read_costs_the_others_nothing() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().conns = 60_000;
    let _control = lab.control();
    let mut stuck: Vec<UnixStream> =
        (0..3).map(|_| UnixStream::connect(lab.path("control.sock")).unwrap()).collect();
    for stream in &mut stuck {
        stream.write_all(b"{\"line\": \"show conn\"}\n").unwrap();
    }
    // Half a request, and never the rest.
    let mut half = UnixStream::connect(lab.path("control.sock")).unwrap();
    half.write_all(b"{\"line\": ").unwrap();
    let start = Instant::now();
    lab.good("permit domain other.example");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let start = Instant::now();
    lab.good("show dataplane");
    lab.good("hostname other");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn seats_are_bounded_and_given_back() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let mut idle: Vec<UnixStream> =
        (0..MAX_CLIENTS).map(|_| UnixStream::connect(lab.path("control.sock")).unwrap()).collect();
    wait("is full", || lab.cli("show version").2.contains("clients are connected already"));
    idle.clear();
    wait("has room again", || lab.cli("show version").0 == 0);
}

#[test]
fn babble_is_answered_and_floods_are_cut() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(lab.path("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // The daemon may hang up while we still write.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(say(b"hello\n").contains("not a request"));
    assert!(say(b"{\"line\": 5}\n").contains("not a request"));
    assert!(say(b"{\"line\": \"x\", \"extra\": 1}\n").contains("not a request"));
    assert!(say(b"\xff\xfe\n\n").contains("not a request"));
    assert_eq!(say(&vec![b'x'; 2 * MAX_LINE]), "");
    assert_eq!(lab.cli("show version").0, 0);
    assert_eq!(lab.cli("hostname a\u{1b}[31m").0, USAGE);
}

#[test]
fn the_socket_is_for_its_owner() {
    let lab = Lab::new();
    assert_eq!(lab.cli("show version").0, UNREACHABLE);
    let _fake = lab.fake();
    let _control = lab.control();
    let mode = std::fs::metadata(lab.path("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = crate::operate::server::bind(&lab.path("control.sock"), None);
    assert_eq!(second.err().map(|why| why.kind()), Some(std::io::ErrorKind::AddrInUse));
}
