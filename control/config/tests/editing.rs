// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single commands on a configuration, as the CLI sends them.

use super::super::model::Model;
use super::super::print::to_text;
use super::super::raw::Mode;
use super::super::{Config, edit, parse_line};
use super::{TWO, try_load};
use std::path::Path;

fn start(text: &str) -> Config {
    try_load(text).unwrap_or_else(|report| panic!("{}", report.render(false))).config
}

fn done(config: &Config, text: &str) -> Config {
    edit(config, text, Path::new("/")).unwrap_or_else(|report| panic!("{}", report.render(false))).config
}

fn refused(config: &Config, text: &str) -> String {
    let report = edit(config, text, Path::new("/")).err().expect("must be refused");
    report.diagnostics[0].problem.message.clone()
}

const LIST: &str = "\
access-list a extended permit ip any any
access-list a extended permit tcp any any eq sip
access-group a in interface inside
object network o
 host 10.10.0.9
 nat (inside,outside) static 203.0.113.4
";

#[test]
fn no_takes_out_exactly_that_line() {
    let before = start(&format!("{TWO}{LIST}"));
    let text = to_text(&before.model);
    let after = done(&before, "no access-list a extended permit tcp any any eq 5060");
    let gone: Vec<&str> = text.lines().filter(|l| !to_text(&after.model).lines().any(|m| m == *l)).collect();
    assert_eq!(gone, ["access-list a extended permit tcp any any eq sip"]);
    let again = done(&after, "access-list a extended permit tcp any any eq sip");
    assert!(again == before);
    assert!(refused(&after, "no access-list a extended permit tcp any any eq sip").contains("no such line"));
}

#[test]
fn what_is_used_cannot_go() {
    let config = start(&format!("{TWO}{LIST}"));
    let both =
        "no access-list a extended permit ip any any\nno access-list a extended permit tcp any any eq sip";
    assert_eq!(refused(&config, both), "ERROR: access-list <a> does not exist");
    assert_eq!(refused(&config, "no interface tap fgo"), "there is no interface `outside`");
    done(&config, "no object network o");
}

#[test]
fn an_object_grows_command_by_command() {
    let mut config = start(TWO);
    for line in [
        "object network x",
        "object network x\nhost 10.10.0.7",
        "object network x\nnat (inside,outside) dynamic interface",
    ] {
        config = done(&config, line);
    }
    assert!(to_text(&config.model).contains("object network x\n nat (inside,outside) dynamic interface\n"));
    let config = done(&config, "object network x\nno nat (inside,outside) dynamic interface");
    assert!(config.model.networks["x"].nat.is_none());
}

#[test]
fn old_warnings_are_not_told_again() {
    let config = start(&format!("{TWO}access-list unused extended permit ip any any\n"));
    let told = |text: &str| edit(&config, text, Path::new("/")).ok().unwrap().report.diagnostics.len();
    assert_eq!(told("hostname x"), 0);
    assert_eq!(told("access-list more extended permit ip any any"), 1);
}

#[test]
fn lines_are_understood_in_their_mode() {
    let base = Path::new("/");
    let context = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    let mode = |lines: &[&str], line: &str| {
        parse_line(&Model::default(), &context(lines), line, base).ok().map(|(_, place)| place.mode)
    };
    assert_eq!(mode(&[], "policy-map p"), Some(Mode::PolicyMap));
    assert_eq!(mode(&["policy-map p"], "class c"), Some(Mode::PolicyClass));
    assert_eq!(mode(&["policy-map p", "class c"], "inspect sip tls-proxy x"), Some(Mode::PolicyClass));
    assert_eq!(mode(&["policy-map p", "class c"], "class d"), Some(Mode::PolicyClass));
    assert_eq!(mode(&["policy-map p", "class c"], "hostname x"), Some(Mode::Global));
    assert_eq!(mode(&["policy-map p"], "inspect sip tls-proxy x"), None);
    assert_eq!(mode(&["interface tap a"], "no shutdown"), Some(Mode::Interface));
    assert_eq!(mode(&["object network a"], "no object network a"), Some(Mode::Global));
    let (_, place) =
        parse_line(&Model::default(), &context(&["policy-map p", "class c"]), "class d", base).ok().unwrap();
    assert_eq!(place.context, ["policy-map p", "class d"]);
}

#[test]
fn lines_go_in_at_their_number() {
    let before = start(&format!("{TWO}{LIST}"));
    let after = done(&before, "access-list a line 2 remark between");
    let after = done(&after, "access-list a line 1 extended deny ip host 10.10.0.7 any");
    let after = done(&after, "access-list a line 99 remark last");
    let lines: Vec<String> = after.model.acls["a"].iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "extended deny ip host 10.10.0.7 any",
            "extended permit ip any any",
            "remark between",
            "extended permit tcp any any eq sip",
            "remark last",
        ]
    );
    assert!(refused(&after, "no access-list a line 2 remark between").contains("no such line"));
    let after = done(&after, "no access-list a line 3 remark between");
    assert_eq!(after.model.acls["a"].len(), 4);
}

#[test]
fn groups_grow_and_are_kept_while_used() {
    let config = start(TWO);
    let config = done(&config, "object-group network g\n network-object host 10.10.0.7");
    let line = "access-list x extended permit tcp object-group g any eq 5061";
    let config = done(&config, line);
    assert_eq!(refused(&config, "no object-group network g"), "there is no `object-group` g");
    assert_eq!(
        refused(&config, "object-group network g\n no network-object host 10.10.0.7"),
        "object-group g is empty"
    );
    let what = "there is an object-group g of another kind";
    assert_eq!(refused(&config, "object-group service g tcp"), what);
    let config = done(
        &config,
        "object-group network g\n group-object h\nobject-group network h\n network-object host 10.10.0.8",
    );
    assert_eq!(
        refused(&config, "object-group network h\n group-object g"),
        "object-group g would hold itself"
    );
}
