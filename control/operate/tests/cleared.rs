// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is cleared counts from zero where that was asked for and nowhere else; whose it is is seen.

use fedgate_tables::counters::{Histo, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Filter, What};

use super::Lab;
use crate::operate::protocol::{FAILED, Request, USAGE};

/// The count at the end of the line with this name.
fn count(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(&format!("({name})")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A field of the JSON line that has another.
fn json(lab: &Lab, line: &str, name: [&str; 2], field: &str) -> Option<u64> {
    let (_, out, _) = lab.ask(&Request { line: line.into(), json: true, ..Request::default() });
    let mut rows = out.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    rows.find(|row| row[name[0]] == name[1])?[field].as_u64()
}

#[test]
fn counts_begin_anew_for_the_command_that_shows_them() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("logging enable");
    lab.good("logging buffered notifications");
    let work = |times: u64| {
        let state = fake.state();
        for _ in 0..times {
            state.counters.drop(DropReason::AclDrop);
            state.counters.add(Stat::ConnsBuilt, 10);
            state.counters.observe(Histo::HandshakeUs, 100);
        }
    };
    work(3);
    let shown = lab.good("show asp drop");
    assert!(count(&shown, "acl-drop") == Some(3) && shown.matches("Last clearing: Never").count() == 2);
    let viewer = Request { line: "clear asp drop".into(), privilege: Some(1), ..Request::default() };
    assert_eq!(lab.ask(&viewer).0.code, FAILED);
    assert_eq!(lab.good("clear asp drop"), "");
    let shown = lab.good("show drops");
    let own = rustix::process::geteuid().as_raw();
    let user = crate::operate::access::name_of(own).unwrap_or_else(|| own.to_string());
    let year = time::OffsetDateTime::now_utc().year();
    assert!(count(&shown, "acl-drop").is_none() && shown.contains(&format!("{year} by {user}\n")), "{shown}");
    assert_eq!(shown.matches("Last clearing: ").count(), 2);
    // Nothing else was.
    let shown = lab.good("show counters");
    assert!(count(&shown, "conns_built") == Some(30) && shown.contains("3 values, p50 100,"), "{shown}");
    assert!(shown.ends_with("\nLast clearing: Never\n"));
    work(2);
    assert_eq!(count(&lab.good("show asp drop"), "acl-drop"), Some(2));
    assert_eq!(json(&lab, "show asp drop", ["reason", "acl-drop"], "count"), Some(2));
    lab.good("clear counters");
    work(1);
    let shown = lab.good("show counters");
    assert!(count(&shown, "conns_built") == Some(10) && shown.contains("1 values, p50 100,"), "{shown}");
    assert!(shown.contains(&format!("{year} by {user}\n")));
    assert_eq!(json(&lab, "show counters", ["name", "conns_built"], "value"), Some(10));
    assert_eq!(count(&lab.good("show asp drop"), "acl-drop"), Some(3));
    // What others read has not gone back.
    let (_, top, _) = lab.ask(&Request { line: "show top".into(), json: true, ..Request::default() });
    let top: serde_json::Value = serde_json::from_str(&top).unwrap();
    assert_eq!(top["stats"]["conns_built"], 60);
    assert_eq!(top["drops"]["acl-drop"], 6);
    let log = lab.good("show logging");
    for line in ["clear asp drop", "clear counters"] {
        let told = format!("111010: User '{user}', running 'CLI' from IP 0.0.0.0, executed '{line}'");
        assert_eq!(log.matches(&told).count(), 1, "{log}");
    }
    assert_eq!(lab.cli("clear counters all of them").0, USAGE);
}

#[test]
fn a_hosts_state_is_the_dataplanes_to_end() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    for (line, host) in [
        ("clear local-host 10.10.0.7", Some("10.10.0.7")),
        ("clear local-host 2001:db8::7 all", Some("2001:db8::7")),
        ("clear local-host", None),
        ("clear local-host all", None),
    ] {
        assert_eq!(lab.good(line), "7 connections and 7 translations cleared\n");
        let address = host.map(|host| host.parse::<std::net::IpAddr>().unwrap().into());
        let filter = Filter { address, ..Filter::default() };
        let cleared = [(What::Conns, filter.clone()), (What::Xlates, filter)];
        assert_eq!(std::mem::take(&mut fake.state().cleared), cleared, "{line}");
    }
    assert_eq!(lab.cli("clear local-host inside").0, USAGE);
    assert!(fake.state().cleared.is_empty());
}
