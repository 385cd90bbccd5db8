// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a name server's zone to the dataplane's policy, and what an operator sees of it.

use std::sync::atomic::Ordering;

use fedgate_sip::partner::PartnersSpec;

use super::fake::Fake;
use super::{CONFIG, Lab, generation, wait};
use crate::names::tests::{PORT, server::Server};

const OWNER: &str = "_sipfederationtls._tcp.foreign.example.";

/// The addresses that the dataplane has for `foreign.example`.
fn targets(fake: &Fake) -> Vec<String> {
    let state = fake.state();
    let Some(policy) = &state.policy else { return Vec::new() };
    let view = policy.view();
    let spec: PartnersSpec = serde_json::from_str(view.str(view.globals().partners)).unwrap_or_default();
    let of = spec.partners.into_iter().filter(|(name, _)| name == "foreign.example");
    of.flat_map(|(_, partner)| partner.targets).map(|target| target.addr.to_string()).collect()
}

#[test]
fn what_dns_says_comes_into_force_and_outlives_control() {
    let server = Server::start();
    PORT.store(server.port, Ordering::Relaxed);
    {
        let mut zone = server.zone();
        zone.srv(OWNER, 1, (10, 5, 5061), "edge1.foreign.example.");
        zone.srv(OWNER, 1, (20, 0, 5061), "inside.foreign.example.");
        zone.a("edge1.foreign.example.", 1, "203.0.113.4");
        zone.a("inside.foreign.example.", 1, "10.10.0.11");
    }
    let lab = Lab::new();
    let names = "dns server-group DefaultDNS\n name-server 127.0.0.1\n timeout 1\n retries 0\nfederation domain foreign.example\n srv\n maximum-session 3\n";
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{names}")).unwrap();
    let fake = lab.fake();
    let control = lab.control();
    wait("the edge that is outside", || targets(&fake) == ["203.0.113.4"]);
    let shown = lab.good("show dns");
    assert!(shown.contains("Domain foreign.example: _sipfederationtls._tcp, 2 targets, asked "), "{shown}");
    let state = |target: &str| {
        let line = shown.lines().find(|line| line.contains(target)).unwrap_or_else(|| panic!("{shown}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(state("edge1"), "10 5 edge1.foreign.example 203.0.113.4 5061 1 usable");
    assert_eq!(
        state("inside."),
        "20 0 inside.foreign.example 10.10.0.11 5061 1 refused: it is behind inside"
    );
    assert!(lab.good("show domains").contains("federation foreign.example: 3 connections; 2 edges by DNS"));
    // Another answer is another policy; the same one is none.
    server.zone().a("edge1.foreign.example.", 1, "203.0.113.5");
    wait("the second", || targets(&fake) == ["203.0.113.4", "203.0.113.5"]);
    let before = generation(&fake);
    let asked = server.zone().asked.len();
    wait("asked again", || server.zone().asked.len() > asked + 2);
    assert_eq!(generation(&fake), before);
    // A commit takes along what is known, and so does the next control, although nobody answers it.
    lab.good("hostname other");
    assert_eq!(targets(&fake).len(), 2);
    drop(control);
    server.zone().silent = true;
    let before = generation(&fake);
    let _control = lab.control();
    wait("attached", || lab.cli("show dataplane").0 == 0);
    wait("no answer", || lab.good("show dns").contains("no answer: "));
    assert_eq!((generation(&fake), targets(&fake).len()), (before, 2));
    // What is no longer wanted goes with its line.
    let cli = |line: &str, context: &str| {
        lab.ask(&crate::operate::protocol::Request {
            line: line.into(),
            context: vec![context.into()],
            ..Default::default()
        })
    };
    assert_eq!(cli("no srv", "federation domain foreign.example").0.code, 0);
    assert!(targets(&fake).is_empty());
}
