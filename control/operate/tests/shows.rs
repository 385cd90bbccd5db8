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
