// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both address forms, OCS's parameters, and the spoofs of the attack list (rows 14-16).

use super::*;

fn host(value: &str) -> Option<&str> {
    Address::parse(value)?.uri.host
}

#[test]
fn legal_forms() {
    for (value, want, tag) in [
        ("sip:a@foreign.com;tag=1", "foreign.com", Some("1")),
        ("<sip:a@foreign.com>", "foreign.com", None),
        ("caller<sip:a@foreign.com>;tag=323", "foreign.com", Some("323")),
        ("A. Bell <sip:a@foreign.com>;tag=x", "foreign.com", Some("x")),
        ("\"X\"<sip:x@foreign.com>;tag=a;epid=d6277c8671", "foreign.com", Some("a")),
        ("\"X\" <sip:x@foreign.com>;epid=d6277c8671;tag=a", "foreign.com", Some("a")),
        ("\"bob@permitted.com\" <sip:x@evil.com>", "evil.com", None),
        ("\"<sip:x@permitted.com>\" <sip:x@evil.com>", "evil.com", None),
        (
            "\"J Rosenberg \\\\\\\"\"       <sip:j@example.com>\r\n  ;\r\n  tag = 98asjd8",
            "example.com",
            Some("98asjd8"),
        ),
        ("sip:v@example.com ;   tag    = 1918181833n", "example.com", Some("1918181833n")),
        ("<sip:a;b@foreign.com;x=1>;TAG=2", "foreign.com", Some("2")),
    ] {
        let address = Address::parse(value);
        assert_eq!(address.and_then(|a| a.uri.host), Some(want), "{value:?}");
        assert_eq!(address.and_then(|a| a.tag), tag, "{value:?}");
    }
}

#[test]
fn what_has_two_readings_has_none() {
    for value in [
        "",
        "<sip:a@ok.com> <sip:b@evil.com>",
        "<sip:a@ok.com>, <sip:b@evil.com>",
        "sip:a@ok.com, sip:b@evil.com",
        "<sip:a@ok.com>x",
        "sip:a@ok.com x",
        "Bell, Alexander <sip:a@example.com>",
        "\"Mr. J. User <sip:j.user@example.com>",
        "\"W, T\" < sip:t@example.org >",
        "<sip:a@ok.com",
        "sip:a@ok.com?Route=%3Csip:x.com%3E",
        "sip:permitted.com;x@evil.com",
        "<sip:a@ok.com>;tag=1;tag=2",
        "<sip:a@ok.com>;tag",
        "<sip:a@ok.com>;tag=\"q\"",
        "<sip:a@ok.com>;;tag=1",
        "<sip:a@ok.com>;",
        "\u{feff}<sip:a@ok.com>",
        "\"\u{feff}bob\" <sip:a@ok.com>",
        "Bücher <sip:a@ok.com>",
        "\"a\" \"b\" <sip:a@ok.com>",
        "<<sip:a@ok.com>>",
        "<>",
    ] {
        assert_eq!(host(value), None, "{value:?}");
    }
}

#[test]
fn lists() {
    let hosts = |value| {
        Addresses::new(value).map(|a| a.and_then(|a| a.uri.host).map(str::to_owned)).collect::<Vec<_>>()
    };
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(hosts("<sip:a@b.c>;q=0.3, \"x,y\" <sip:d@e.f>"), [some("b.c"), some("e.f")]);
    assert_eq!(hosts("sip:a@b.c , sip:d@e.f"), [some("b.c"), some("e.f")]);
    assert_eq!(hosts("<sip:a@b.c>,"), [some("b.c"), None]);
    assert_eq!(hosts("<sip:a@b.c>;;;;"), [None]);
    assert_eq!(hosts("<sip:a@b.c> <sip:d@e.f>"), [None]);
    assert_eq!(hosts(""), [None]);
}
