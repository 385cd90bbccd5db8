// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools: how they are written, what is wrong with some, and what of them reaches the dataplane.

use super::super::print::to_text;
use super::trust::{ID, Lab};
use fedgate_tables::policy::{HealthCheck, PoolSpec};
use fedgate_tables::policy_view::PolicyView;

const POOL: &str = "sip-pool front\n member 10.0.0.7\n member 10.0.0.8 port 5062 weight 3 drain\n";
const PROXY: &str = "tls-proxy p\n server trust-point t\n client trust-point t\n";

fn with(pool: &str) -> String {
    format!("{ID} ca file ca.crt\n{pool}{PROXY} client sip-pool front\n")
}

#[test]
fn a_pool_reaches_the_policy_and_comes_back_as_it_was_written() {
    let lab = Lab::new();
    for (check, meant) in [
        ("", Some(HealthCheck::default())),
        (" health-check none\n", None),
        (" health-check options fail 5\n", Some(HealthCheck { fail: 5, ..HealthCheck::default() })),
        (
            " health-check options interval 30 fail 2 rise 4\n",
            Some(HealthCheck { interval: 30, fail: 2, rise: 4 }),
        ),
    ] {
        let config = lab.config(&with(&format!("{POOL}{check}")));
        let slots = crate::policy::slots::Slots::default();
        let compiled = crate::policy::compile(&config, 1, &slots, &crate::policy::slots::Zero).unwrap();
        let view = PolicyView::parse(&compiled.segment).unwrap();
        let spec: PoolSpec = serde_json::from_str(view.str(view.tls_proxies()[0].pool)).unwrap();
        let members: Vec<_> =
            spec.members.iter().map(|m| (m.addr.to_string(), m.port, m.weight, m.drain)).collect();
        assert_eq!(
            members,
            [("10.0.0.7".to_owned(), 5061, 1, false), ("10.0.0.8".to_owned(), 5062, 3, true)]
        );
        assert_eq!((spec.name.as_str(), spec.check), ("front", meant));
        let text = to_text(&config.model);
        assert!(lab.config(&text).model == config.model, "{text}");
    }
}

#[test]
fn what_makes_no_pool_is_refused() {
    let lab = Lab::new();
    let none = "8:18: there is no `sip-pool front`";
    assert_eq!(lab.found(&with("")), [none.to_owned()]);
    let empty = lab.found(&with("sip-pool front\n"));
    assert_eq!(empty, ["9:18: sip-pool front has no member, so nobody would be called"]);
    let many: String = (1..18).map(|n| format!(" member 10.0.0.{n}\n")).collect();
    let many = lab.found(&with(&format!("sip-pool front\n{many}")));
    assert!(many.iter().any(|it| it.contains("17 members; at most 16 fit")), "{many:?}");
    let idle = lab.found(&with("sip-pool front\n member 10.0.0.7 drain\n"));
    assert!(idle.iter().any(|it| it.contains("all members of sip-pool front drain")), "{idle:?}");
    for (line, why) in [
        (" member 0.0.0.0", "not the address of a server"),
        (" member 10.0.0.1 weight 0", "a weight"),
        (" member 10.0.0.1 port 70000", "a port"),
        (" health-check options interval 0", "seconds"),
        (" health-check ping", "expected `none` or `options`"),
    ] {
        let found = lab.found(&with(&format!("sip-pool front\n{line}\n member 10.0.0.9\n")));
        assert!(found.iter().any(|it| it.contains(why)), "{line}: {found:?}");
    }
}

#[test]
fn a_member_is_changed_drained_and_taken_out_while_it_runs() {
    let lab = Lab::new();
    let config = lab.config(&with(POOL));
    let drained = lab.edit(&config, "sip-pool front\nmember 10.0.0.7 drain").unwrap();
    assert!(to_text(&drained.model).contains(" member 10.0.0.7 port 5061 weight 1 drain\n"));
    let back = lab.edit(&drained, "sip-pool front\nmember 10.0.0.7").unwrap();
    assert!(back.model == config.model);
    let fewer = lab.edit(&config, "sip-pool front\nno member 10.0.0.8 port 5062").unwrap();
    assert!(!to_text(&fewer.model).contains("10.0.0.8"));
    let why = lab.edit(&fewer, "sip-pool front\nno member 10.0.0.7").err().unwrap();
    assert!(why.contains("has no member"), "{why}");
    let why = lab.edit(&config, "no sip-pool front").err().unwrap();
    assert!(why.contains("there is no `sip-pool front`"), "{why}");
    let without = lab.edit(&config, "tls-proxy p\nno client sip-pool front").unwrap();
    assert!(lab.edit(&without, "no sip-pool front").is_ok());
}
