// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host extraction, the tricks played on it, and what is no URI.

use super::*;

fn host(text: &str) -> Option<&str> {
    Uri::parse(text)?.host
}

#[test]
fn host_is_what_follows_the_at() {
    for (text, want) in [
        ("sip:alice@foreign.com", "foreign.com"),
        ("SIPS:foreign.com", "foreign.com"),
        ("sip:x@foreign.com:5070;transport=tls", "foreign.com"),
        ("sip:user%40permitted.com@evil.com", "evil.com"),
        ("sip:sips%3Auser%40example.com@example.net", "example.net"),
        ("sip:permitted.com:x@evil.com", "evil.com"),
        ("sip:user;par=u%40example.net@example.com", "example.com"),
        ("sip:a;b?c/d@example.com", "example.com"),
        ("sip:x@[2001:db8::1]:5061", "[2001:db8::1]"),
        ("sip:x@192.0.2.7", "192.0.2.7"),
        ("sip:x@bücher.example", "bücher.example"),
        ("sip:x@foreign.com?From=%3Csip:a@ok.com%3E".split('@').next().unwrap_or(""), "x"),
        ("sip:x@foreign.com?Subject=hi&Route=%3Csip:ok.com%3E", "foreign.com"),
        ("im:fred@example.com", "example.com"),
        ("PRES:fred@example.com?a=b", "example.com"),
        ("sip:%00@host5.example.net", "host5.example.net"),
        ("sip:vivekg@chair-dnrc.example.com;unknownparam", "chair-dnrc.example.com"),
        (
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "example.com",
        ),
    ] {
        assert_eq!(host(text), Some(want), "{text}");
    }
}

#[test]
fn schemes_without_a_host() {
    for text in ["tel:+1555", "http://www.example.com", "isbn:2983792873", "soap.beep://192.0.2.103:3002"] {
        assert_eq!(Uri::parse(text).map(|u| u.host), Some(None), "{text}");
    }
    assert_eq!(Uri::parse("Tel:+1").map(|u| u.scheme), Some(Scheme::Tel));
}

#[test]
fn what_is_no_uri() {
    for text in [
        "",
        "foreign.com",
        ":x",
        "sip:",
        "sip:@foreign.com",
        "sip:user@permitted@evil.com",
        "sip:x@evil.com;p=@ok.com",
        "sip:x@evil.com?From=a@b",
        "<sip:user@example.com>",
        " sip:a@b",
        "sip:a@b ",
        "sip:a@b;;x",
        "sip:a@b;",
        "sip:a@b;x=",
        "sip:a@b:",
        "sip:a@b:65536",
        "sip:a@b:+1",
        "sip:a@b%2ecom",
        "sip:a@b/c",
        "sip:%4@b",
        "sip:a b@c",
        "sip:a\\@b@c",
        "sip:x@[::1",
        "sip:x@[g::1]",
        "sip:x@a?b",
        "sip:x@a?",
        "sip:дом@b",
        "im:fred",
        "im:a@b@c",
        "im:a@b:5060",
        "1sip:a@b",
        "tel:",
        "tel:<1>",
        "x:\"",
    ] {
        assert_eq!(Uri::parse(text), None, "{text}");
    }
}
