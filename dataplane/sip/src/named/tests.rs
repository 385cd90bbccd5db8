// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every way to point elsewhere: at dialogs of others, at parties of others.

use super::*;
use std::collections::HashMap;

struct List(HashMap<&'static str, Listed>);

impl DomainList for List {
    fn lookup(&self, canonical: &str) -> Listed {
        self.0.get(canonical).copied().unwrap_or(Listed::Unlisted)
    }
}

struct Local;

impl LocalDomains for Local {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "local.example"
    }
}

/// What becomes of a request of `foreign.example` with these headers, where its one dialog with us is `c1` of `out` and `in`.
fn found(method: &str, headers: &str) -> Result<(), Denial> {
    let text = format!(
        "{method} sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:a@foreign.example>;tag=x\r\nTo: <sip:bob@local.example>\r\nCall-ID: new\r\nCSeq: 1 {method}\r\n\
         {headers}Content-Length: 0\r\n\r\n"
    );
    let message = Message::scan(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why:?}"));
    let list = List(HashMap::from([
        ("foreign.example", Listed::Permitted { id: 1, peer: None }),
        ("partner.example", Listed::Permitted { id: 2, peer: None }),
        ("bad.example", Listed::Blocked { id: 3 }),
    ]));
    let speaker = Domain::canonical(b"foreign.example").unwrap();
    let has = |call: &str, outside: &str, inside: &str| (call, outside, inside) == ("c1@h", "out", "in");
    check(&message, &speaker, &list, &Local, has)
}

#[test]
fn dialogs_are_the_senders_own() {
    assert_eq!(found("INVITE", ""), Ok(()));
    for header in ["Replaces", "Join"] {
        let of = |value: &str| found("INVITE", &format!("{header}: {value}\r\n"));
        for good in ["c1@h;to-tag=in;from-tag=out", "c1@h ; From-Tag = out;TO-TAG=in;early-only"] {
            assert_eq!(of(good), Ok(()), "{header}: {good}");
        }
        for other in
            ["c1@h;to-tag=out;from-tag=in", "c2@h;to-tag=in;from-tag=out", "c1@h;to-tag=in;from-tag=0"]
        {
            assert_eq!(of(other), Err(Denial::DialogNamed), "{header}: {other}");
        }
        for bad in [
            "c1@h",
            "c1@h;to-tag=in",
            "c1@h;to-tag=in;from-tag=out;to-tag=x",
            "c1@h;to-tag=in;from-tag=out;x=\";\"",
        ] {
            assert_eq!(of(bad), Err(Denial::Malformed), "{header}: {bad}");
        }
    }
    let of = |value: &str| found("SUBSCRIBE", &format!("Target-Dialog: {value}\r\n"));
    assert_eq!(of("c1@h;local-tag=in;remote-tag=out"), Ok(()));
    assert_eq!(of("c1@h;remote-tag=in;local-tag=out"), Ok(()));
    assert_eq!(of("c1@h;remote-tag=in;local-tag=other"), Err(Denial::DialogNamed));
}

#[test]
fn a_refer_leads_where_ours_may_go() {
    let of = |value: &str| found("REFER", &format!("Refer-To: {value}\r\n"));
    for good in [
        "<sip:c@foreign.example>",
        "sip:c@local.example",
        "<sips:c@Partner.Example;method=SUBSCRIBE>",
        "<sip:c@foreign.example?Replaces=any%40thing%3Bto-tag%3Da>",
        "<sip:c@local.example?Replaces=c1%40h%3Bto-tag%3Din%3Bfrom-tag%3Dout>",
    ] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    for bad in [
        "<sip:c@nobody.example>",
        "<sip:c@bad.example>",
        "<sip:c@192.0.2.1>",
        "<tel:+19005551234>",
        "<https://foreign.example/>",
        "<sip:c@foreign.example;method=BYE>",
        "<sip:c@foreign.example;%6dethod=BYE>",
        "<sip:c@foreign.example;maddr=10.0.0.1>",
        "<sip:c@foreign.example?Route=%3Csip%3A10.0.0.1%3E>",
    ] {
        assert_eq!(of(bad), Err(Denial::ReferTo), "{bad}");
    }
    assert_eq!(
        of("<sip:c@local.example?Replaces=c9%40h%3Bto-tag%3Din%3Bfrom-tag%3Dout>"),
        Err(Denial::DialogNamed)
    );
    assert_eq!(of("<sip:c@local.example?Replaces=c1%zz>"), Err(Denial::Malformed));
    assert_eq!(found("REFER", ""), Ok(()), "without one there is nothing to lead by");
    // In what is no REFER the header means nothing.
    assert_eq!(found("MESSAGE", "Refer-To: <sip:c@nobody.example>\r\n"), Ok(()));
}
