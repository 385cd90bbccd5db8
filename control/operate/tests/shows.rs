// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every `show` command owes its operator, whatever it shows; and the rows of several workers made one.

use super::*;
use crate::operate::commands::SPECS;
use fedgate_tables::counters::{Counter, Gauge, InterfaceCounter, Stat};

fn shows() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.words).filter(|words| words.starts_with("show "))
}

/// It shows what it has, or says that the dataplane is not there.
#[test]
fn without_a_dataplane_each_says_so() {
    let lab = Lab::new();
    let _control = lab.control();
    for command in shows() {
        let (code, out, err) = lab.cli(command);
        match code {
            0 => assert_eq!(err, "", "{command}"),
            1 => assert!(
                out.is_empty() && err.contains("the dataplane is not connected"),
                "{command}: {out}{err}"
            ),
            _ => panic!("{command}: {code} {err}"),
        }
    }
    for command in
        ["show local-host", "show nat pool", "show service-policy", "show cpu", "show ip verify statistics"]
    {
        assert_eq!(lab.cli(command).0, 1, "{command}");
    }
}

#[test]
fn odd_arguments_are_named() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    for command in shows() {
        let (code, out, err) = lab.cli(&format!("{command} bogus"));
        assert!(code != 0 && out.is_empty() && err.contains("bogus"), "{command}: {code} {out}{err}");
    }
    for (command, said) in [
        ("show local-host connection sctp", "embryonic"),
        ("show local-host 10.0.0", "an address"),
        ("show nat in-full", "detail"),
        ("show cpu in-full", "detailed"),
        ("show conn detail port 70000", "65535"),
    ] {
        let (code, _, err) = lab.cli(command);
        assert!(code == 2 && err.contains(said), "{command}: {err}");
    }
}

/// Each host, pool and class is told once, with the workers' sum.
#[test]
fn rows_of_several_workers_are_one() {
    let lab = Lab::new();
    let policy = "class-map all\n match any\npolicy-map p\n class all\n  set connection conn-max 9\nservice-policy p global\n\
                  ip verify reverse-path interface outside\n";
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{policy}")).unwrap();
    let fake = lab.fake();
    fake.state().conns = 20_000;
    let _control = lab.control();
    let hosts = lab.good("show local-host");
    assert!(hosts.starts_with(
        "Interface outside: 0 active\nInterface inside: 20000 active\nlocal host: <10.10.0.0>,\n"
    ));
    assert_eq!(
        hosts.matches("TCP flow count/limit = 6/unlimited\n    TCP embryonic count to host = 2\n").count(),
        20_000
    );
    assert_eq!(lab.good("show local-host connection tcp 7").matches("local host").count(), 0);
    let one = lab.good("show local-host 10.10.0.7 detail");
    assert!(one.contains("Interface inside: 1 active\nlocal host: <10.10.0.7>,"), "{one}");
    assert!(
        one.contains("\n  Xlate:\n") && one.contains("\n  Conn:\n    TCP outside: 10.10.0.1/80"),
        "{}",
        &one[..400]
    );
    assert!(!lab.good("show local-host 10.10.0.7 brief").contains("Conn:"));

    let pool = lab.good("show nat pool");
    assert!(
        pool.contains("TCP PAT pool outside, address 203.0.113.2, range 512-1023, allocated 2\n"),
        "{pool}"
    );
    assert!(pool.contains("range 1024-65535, allocated 40\n"), "{pool}");
    let policy = lab.good("show service-policy");
    assert!(
        policy.contains("Class-map: all\n      Set connection policy: conn-max 9\n        current embryonic conns 2, current conns 8, drop 4\n"),
        "{policy}"
    );
    assert!(!lab.good("show nat").contains("Source - Origin"));
    assert!(
        lab.good("show nat detail")
            .contains("    Source - Origin: 10.10.0.0/24, Translated: 203.0.113.2/32\n")
    );

    let state = fake.state();
    let count = |counter, n| state.counters.count(Counter::Interface(0, counter), n);
    count(InterfaceCounter::RpfDrops, 3);
    count(InterfaceCounter::RxMissed, 5);
    count(InterfaceCounter::RxNoMbuf, 7);
    state.counters.add(Stat::CyclesBusy, 250);
    state.counters.set(Gauge::CyclesAll, 1000);
    drop(state);
    assert_eq!(lab.good("show ip verify statistics"), "interface outside: 3 unicast rpf drops\n");
    let interface = lab.good("show interface outside");
    assert!(interface.contains(" bytes, 7 no buffer\n  0 input errors, 5 overrun\n"), "{interface}");
    assert_eq!(lab.good("show cpu"), "CPU utilization for 5 seconds = 25%; 1 minute: 25%; 5 minutes: 25%\n");
    assert!(lab.good("show cpu detailed").contains("\nCore 0       25.0%     25.0%     25.0%\n"));
    assert!(lab.good("show memory").contains("control process: "));
}

/// Dialogs stream as connections do; one domain's are asked for of the dataplane.
#[test]
fn dialogs_of_all_workers_and_of_a_domain() {
    let lab = Lab::new();
    std::fs::write(
        lab.path("startup.cfg"),
        format!("{CONFIG}permit domain *.example.org\npermit domain partner1.example\n"),
    )
    .unwrap();
    let fake = lab.fake();
    fake.state().conns = 20_000;
    fake.state().counters.add(Stat::SipDialogsExpired, 9);
    fake.state().counters.set(Gauge::SipDialogsInUse, 20_000);
    let _control = lab.control();
    let all = lab.good("show dialogs");
    assert!(
        all.starts_with("20000 in use; 0 begun, 0 ended, 9 expired, 0 cleared, 0 refused for lack of room\n"),
        "{}",
        &all[..200]
    );
    assert_eq!(all.matches("\ncall-id c").count(), 20_000);
    assert_eq!(all.matches("WARNING: timeout sip 0:30:00 is shorter than the 2:00:00").count(), 20_000);
    assert!(!all.contains("rule now"));
    let one = lab.good("show dialogs domain Partner1.Example. detail");
    assert_eq!(
        (one.matches("\ncall-id ").count(), one.matches("domain partner1.example").count()),
        (10_000, 20_000)
    );
    assert_eq!(one.matches("rule now: permit domain partner1.example\n").count(), 10_000);
    let json = lab.good("show dialogs domain partner0.example | json");
    assert!(json.lines().nth(1).unwrap().contains("\"rule\":null"), "{}", &json[..800]);
    assert_eq!(lab.good("show sip").matches("| state Active").count(), 20_000);
    assert_eq!(lab.good("clear dialogs domain partner1.example"), "3 dialogs cleared\n");
    assert_eq!(lab.good("clear dialogs"), "6 dialogs cleared\n");
    for (command, said) in [
        ("show dialogs domain", "a domain"),
        ("show dialogs domain no..domain", "a domain"),
        ("clear dialogs detail", "domain"),
    ] {
        let (code, _, err) = lab.cli(command);
        assert!(code == 2 && err.contains(said), "{command}: {err}");
    }
}

#[test]
fn members_of_pools_are_told_once() {
    let lab = Lab::new();
    let pools = "sip-pool front\n member 10.10.0.11 weight 2\n member 10.10.0.12 drain\nsip-pool spare\n member 10.10.0.13\n health-check none\n";
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{pools}")).unwrap();
    let _fake = lab.fake();
    let _control = lab.control();
    let all = lab.good("show sip-pool");
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines[0], "sip-pool front: not used by any tls-proxy; OPTIONS every 10 s, fail 3, rise 2");
    let words = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(2),
        "10.10.0.11:5061 up 2 2 6 40 0 200, 0:00:03 ago 0:01:00 ago".split(' ').collect::<Vec<_>>()
    );
    assert_eq!(
        words(3),
        "10.10.0.12:5061 not in use, draining 1 0 0 0 0 none never".split(' ').collect::<Vec<_>>()
    );
    assert_eq!(lines[4], "sip-pool spare: not used by any tls-proxy; no health check");
    assert_eq!(lab.good("show sip-pool spare").lines().count(), 3);
    let (code, _, err) = lab.cli("show sip-pool other");
    assert!(code == 1 && err.contains("there is no sip-pool other"), "{err}");
    let json = lab.good("show sip-pool front | json");
    assert_eq!(json.lines().count(), 2);
    assert!(json.contains("\"requests\":40") && json.contains("\"last_answer\":\"200\""), "{json}");
    let proxy = lab.good("show proxy");
    assert!(
        proxy.contains("  sip-pool front member 10.10.0.11:5061: up, 2 sessions, 6 dialogs, 40 requests\n"),
        "{proxy}"
    );
}
