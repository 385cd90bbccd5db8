// SPDX-License-Identifier: MIT OR Apache-2.0
//! `federation` and `dns server-group`: how they are written, what is refused, and what of them reaches the dataplane.

use super::super::print::to_text;
use super::{TWO, found, model, try_load};
use crate::names::{Targets, spec};
use fedgate_sip::partner::{Bounds, PartnersSpec, Rate};
use fedgate_tables::policy_view::PolicyView;

const DNS: &str = "dns server-group DefaultDNS\n name-server 192.0.2.53 2001:db8::53\n name-server 192.0.2.54\n source-address 192.0.2.9\n timeout 3\n retries 0\n";

#[test]
fn it_is_printed_as_it_was_meant_and_reaches_the_policy() {
    let text = format!(
        "{TWO}{DNS}permit domain foreign.example\npermit domain *.partner.example\nfederation default\n rate-limit 100\n\
         federation domain Foreign.Example.\n srv\n maximum-session 4\nfederation domain a.partner.example\n rate-limit 5 burst 7\n"
    );
    assert_eq!(found(&text), Vec::<String>::new());
    let config = try_load(&text).unwrap_or_else(|_| panic!()).config;
    let printed = to_text(&config.model);
    assert!(model(&printed) == config.model, "{printed}");
    assert!(
        printed.contains(" name-server 192.0.2.53\n name-server 2001:db8::53\n name-server 192.0.2.54\n")
    );
    assert!(printed.contains("federation domain foreign.example\n srv\n maximum-session 4\n"), "{printed}");
    let slots = crate::policy::slots::Slots::default();
    let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
    let view = PolicyView::parse(&compiled.segment).unwrap();
    let sent: PartnersSpec = serde_json::from_str(view.str(view.globals().partners)).unwrap();
    assert_eq!(sent, spec(&config.model, &Targets::new()));
    let rate = |rate, burst| Some(Rate { rate, burst });
    assert_eq!(sent.default, Bounds { rate: rate(100, 200), sessions: None });
    assert_eq!(sent.partners[0].1.bounds, Bounds { rate: rate(5, 7), sessions: None });
    assert_eq!(sent.partners[1].1.bounds, Bounds { rate: None, sessions: Some(4) });
    // Without any, the policy says nothing.
    let config = try_load(TWO).unwrap_or_else(|_| panic!()).config;
    let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
    assert_eq!(PolicyView::parse(&compiled.segment).unwrap().globals().partners.len, 0);
}

#[test]
fn lines_are_taken_out() {
    let lines = format!(
        "{TWO}{DNS}permit domain f.example\nfederation domain f.example\n srv\n rate-limit 5\n maximum-session 2\n"
    );
    let out = format!(
        "{lines} no srv\n no rate-limit\n no maximum-session 2\ndns server-group DefaultDNS\n no name-server 2001:db8::53 192.0.2.53\n \
         no source-address\n no timeout 3\n no retries 0\n"
    );
    let model_out = model(&out);
    assert!(model_out.federations["f.example"].is_empty());
    assert_eq!(model_out.dns.servers.len(), 1);
    assert_eq!((model_out.dns.source, model_out.dns.timeout(), model_out.dns.retries()), (None, 2, 2));
    let gone = model(&format!("{out}no dns server-group DefaultDNS\nno federation domain f.example\n"));
    assert!(gone.federations.is_empty() && gone.dns == Default::default());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (lines, why) in [
        ("federation domain f.example\n srv\n", "no name server"),
        ("local domain f.example\nfederation domain f.example\n", "local domain"),
        ("federation default\n srv\n", "single domains"),
        ("federation domain 192.0.2.1\n", "an address has no edges"),
        ("federation domain f.example\n rate-limit 0\n", "requests a second"),
        ("federation domain f.example\n no srv\n", "no such line"),
        ("dns server-group other\n", "DefaultDNS"),
        ("dns server-group DefaultDNS\n name-server 0.0.0.0\n", "not the address of a server"),
        (
            "dns server-group DefaultDNS\n name-server 192.0.2.53\n source-address ::1\n",
            "the other IP version",
        ),
    ] {
        let all = found(&format!("{TWO}{lines}"));
        assert!(all.iter().any(|it| it.contains(why)), "{lines}: {all:?}");
    }
    let warned = found(&format!("{TWO}federation domain f.example\n rate-limit 5\n"));
    assert!(warned.iter().any(|it| it.contains("f.example is not permitted")), "{warned:?}");
}
