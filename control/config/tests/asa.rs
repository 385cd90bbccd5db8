// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configurations as Cisco's guides print them (tests/corpus/asa): what `fedgate check` says of each, to the letter, and what comes of
//! those that load. `FEDGATE_BLESS=1` writes the expected answers anew.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::super::diag::{Report, Severity};
use super::super::model::{AceAddr, AcePorts, AclLine, Model};
use super::super::types::{Device, PortOp};
use super::super::{load, load_file_over, print};
use super::TWO;
use crate::policy::slots::{Slots, Zero};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/asa")
}

fn checked(name: &str) -> (Option<Model>, Report) {
    let text = std::fs::read_to_string(corpus().join(name)).unwrap();
    match load(&text, name, Path::new("/etc/fedgate")) {
        Ok(loaded) => (Some(loaded.config.model), loaded.report),
        Err(report) => (None, report),
    }
}

/// Whether the clock is in a certificate's life is not the text's matter.
fn timeless(mut report: Report) -> String {
    report.diagnostics.retain(|found| !found.problem.message.contains(" its life "));
    report.render(false)
}

#[test]
fn what_check_says_of_each() {
    let mut files: Vec<String> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".cfg"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 6);
    for name in files {
        let (model, report) = checked(&name);
        assert_eq!(model.is_some(), name != "06-guide-misprints.cfg", "{name}:\n{}", report.render(false));
        let (path, said) = (corpus().join(name.replace(".cfg", ".check")), timeless(report));
        if std::env::var_os("FEDGATE_BLESS").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(said == expected, "{name}, now:\n{said}");
    }
}

/// Each `! EXPECT` is about the line behind it.
#[test]
fn every_misprint_is_found_at_its_line() {
    let name = "06-guide-misprints.cfg";
    let text = std::fs::read_to_string(corpus().join(name)).unwrap();
    let found: Vec<u32> = checked(name).1.diagnostics.iter().map(|d| d.problem.span.line).collect();
    let lines: Vec<&str> = text.lines().collect();
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("! EXPECT:")) {
        // That of an object may be at any of its lines.
        let block = lines[at + 1..].iter().take_while(|line| !line.starts_with('!')).count();
        let lines = at as u32 + 2..at as u32 + 2 + block as u32;
        assert!(found.iter().any(|line| lines.contains(line)), "line {}: {}", at + 1, lines.start);
    }
}

#[test]
fn what_loads_is_printed_compiled_and_loads_again_to_the_same() {
    for name in ["01-single-cup-asa83.cfg", "02-single-cup-asa82.cfg", "03-multinode-two-domains-asa83.cfg"] {
        let model = checked(name).0.unwrap();
        let text = print::to_text(&model);
        let again =
            load(&text, name, Path::new("/etc/fedgate")).unwrap_or_else(|r| panic!("{}", r.render(false)));
        assert_eq!(again.config.model, model, "{name}");
        let policy = crate::policy::compile(&again.config, 1, &Slots::default(), &Zero).unwrap();
        let proxies = fedgate_tables::policy_view::PolicyView::parse(&policy.segment).unwrap();
        assert!(proxies.tls_proxies().iter().all(|proxy| proxy.server.shown == 0), "no keys are there");
        assert!(proxies.classes().iter().all(|class| class.tls_proxy != fedgate_tables::policy::NONE));
    }
}

/// 8.2 names what the interface sees; the lists that are enforced name the real host behind it.
#[test]
fn lists_of_8_2_become_real() {
    let model = checked("02-single-cup-asa82.cfg").0.unwrap();
    for name in ["outside_in", "ent_abc_to_cup"] {
        let AclLine::Ace(ace) = &*model.acls[name][0] else { panic!("an ACE") };
        let real = AceAddr::Net(crate::config::types::Net::host(Ipv4Addr::new(10, 10, 0, 11)));
        assert_eq!((&ace.dst, &ace.dport), (&real, &AcePorts::Op(PortOp::Eq(5062))));
    }
    let wrong = format!(
        "ASA Version 8.2(5)\n{TWO}access-list a extended permit tcp any host 203.0.113.3 eq 7\n\
         static (inside,outside) tcp 203.0.113.3 5061 10.10.0.11 5062 netmask 255.255.255.255\naccess-group a in interface outside\n"
    );
    let said = super::found(&wrong);
    assert!(
        said.iter().any(|m| m.starts_with("8:44: `host 203.0.113.3 eq echo` is what NAT shows, and no")),
        "{said:?}"
    );
}

#[test]
fn certificates_of_a_chain_are_the_trustpoints() {
    let text = std::fs::read_to_string(corpus().join("01-single-cup-asa83.cfg")).unwrap();
    let loaded = load(&text, "01", Path::new("/")).unwrap_or_else(|r| panic!("{}", r.render(false)));
    let public = &loaded.config.material["public_ca"];
    assert!(!public.chain.is_empty() && public.key.is_empty() && public.ca_count == 1);
    assert_eq!(loaded.config.material["abc_root"].ca_count, 1);
    let chain = "crypto ca trustpoint t\ncrypto ca certificate chain t\n certificate 0f\n";
    for (rest, expected) in [
        ("", "3:2: the certificate does not end"),
        ("    30\n  quit\n", "3:2: what stands under the line is no certificate"),
        ("    xyz\n", "4:5: neither hexadecimal nor `quit`, or too much of it"),
    ] {
        assert!(super::found(&format!("{chain}{rest}")).iter().any(|m| m == expected), "{rest}");
    }
}

#[test]
fn hardware_stays_when_a_configuration_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asa.cfg");
    let text = "interface GigabitEthernet0/0\n nameif outside\n ip address 203.0.113.2 255.255.255.248\n";
    std::fs::write(&path, text).unwrap();
    let machine = super::model("interface GigabitEthernet 0/0\n hardware tap fgo\n");
    let loaded = load_file_over(&path, &machine).unwrap_or_else(|r| panic!("{}", r.render(false)));
    assert_eq!(loaded.config.model.interfaces[0].port(), &Device::Tap("fgo".into()));
    assert!(loaded.report.is_empty(), "{}", loaded.report.render(false));
    let alone = load(text, "asa.cfg", folder.path()).unwrap_or_else(|r| panic!("{}", r.render(false)));
    assert!(alone.config.model.interfaces[0].is_down());
    assert!(alone.report.diagnostics.iter().all(|d| d.problem.severity == Severity::Warning));
    let twice = "interface tap a\n nameif x\ninterface GigabitEthernet0/1\n hardware tap a\n";
    assert!(super::found(twice).iter().any(|m| m.contains("tap a is the port of interface tap a already")));
}
