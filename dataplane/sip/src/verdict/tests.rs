// SPDX-License-Identifier: MIT OR Apache-2.0
//! The twelve rows of the domain table, each side of each check, and the order of the checks.

use super::*;
use crate::answer::compose_with;
use crate::identity::CertificateNames;

/// Patterns (`x` or `*.x`, `!` in front to block) with pinned peers; the slow obvious list: longest pattern first, block
/// before permit, `*.x` not x itself.
struct List(Vec<(&'static str, Option<&'static str>)>);

impl DomainList for List {
    fn lookup(&self, canonical: &str) -> Listed {
        let mut hits: Vec<(usize, bool, usize)> = Vec::new();
        for (at, (pattern, _)) in self.0.iter().enumerate() {
            let (permit, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (false, pattern),
                None => (true, *pattern),
            };
            let hit = match pattern.strip_prefix('*') {
                Some(suffix) => canonical.ends_with(suffix),
                None => canonical == pattern,
            };
            if hit {
                let weight = if pattern.starts_with('*') { pattern.len() } else { usize::MAX };
                hits.push((weight, !permit, at));
            }
        }
        match hits.into_iter().max() {
            None => Listed::Unlisted,
            Some((_, true, at)) => Listed::Blocked { id: at as u32 },
            Some((_, false, at)) => {
                let peer = self.0[at].1.map(|p| Domain::canonical(p.as_bytes()).expect("test peer"));
                Listed::Permitted { id: at as u32, peer }
            }
        }
    }
}

struct Locals<'a>(&'a [&'a str]);

impl LocalDomains for Locals<'_> {
    fn is_local(&self, canonical: &str) -> bool {
        self.0.contains(&canonical)
    }

    fn is_own_host(&self, canonical: &str) -> bool {
        ["cup.local.com", "192.0.2.80", "2001:db8::80"].contains(&canonical)
    }
}

fn certificate(names: &[&str]) -> PeerIdentity {
    PeerIdentity::of(&CertificateNames { has_alt_names: true, dns: names, ..Default::default() })
        .expect("few names")
}

/// What happens to a SUBSCRIBE from `from` to `sip:bob@<local>`.
fn subscribe(
    local: &'static str,
    list: Vec<(&'static str, Option<&'static str>)>,
    from: &str,
    cert: &[&str],
) -> Option<Denial> {
    let frame = request("SUBSCRIBE", &format!("sip:bob@{local}"), from, &format!("<sip:bob@{local}>"), "");
    let message = Message::scan(&frame).expect("well formed");
    inbound(&message, &certificate(cert), &List(list), &Locals(&[local])).denial()
}

fn request(method: &str, uri: &str, from: &str, to: &str, more: &str) -> Vec<u8> {
    message(&format!("{method} {uri} SIP/2.0"), method, from, to, more)
}

fn message(start: &str, method: &str, from: &str, to: &str, more: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n{more}l: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn row_1_local_is_a_child_of_the_foreign_domain() {
    let list = || vec![("cisco.com", Some("sip.cisco.com"))];
    assert_eq!(subscribe("cup.cisco.com", list(), "<sip:x@cisco.com>", &["sip.cisco.com"]), None);
}

#[test]
fn row_2_a_sibling_is_not_permitted_by_its_parent() {
    let list = || vec![("cisco.com", Some("sip.cisco.com"))];
    assert_eq!(
        subscribe("cup.cisco.com", list(), "<sip:x@evil.cisco.com>", &["sip.cisco.com"]),
        Some(Denial::NotPermitted)
    );
}

#[test]
fn row_3_local_is_the_parent_of_the_foreign_domain() {
    let list = || vec![("ocs.cisco.com", Some("sip.ocs.cisco.com"))];
    assert_eq!(subscribe("cisco.com", list(), "<sip:x@ocs.cisco.com>", &["sip.ocs.cisco.com"]), None);
}

#[test]
fn row_4_spoofed_local() {
    let list = || vec![("ocs.cisco.com", Some("sip.ocs.cisco.com"))];
    assert_eq!(
        subscribe("cisco.com", list(), "<sip:x@cisco.com>", &["sip.ocs.cisco.com"]),
        Some(Denial::SpoofLocal)
    );
}

#[test]
fn row_5_siblings_case_and_trailing_dot() {
    let list = || vec![("ocs.cisco.com", Some("sip.ocs.cisco.com"))];
    assert_eq!(subscribe("cup.cisco.com", list(), "<sip:x@OCS.Cisco.COM.>", &["SIP.ocs.cisco.com"]), None);
}

#[test]
fn row_6_wildcards() {
    let list = || vec![("*.cisco.com", None)];
    let from = |from: &str| {
        subscribe("cup.cisco.com", list(), from, &["a.b.cisco.com", "cisco.com", "cup.cisco.com"])
    };
    assert_eq!(from("<sip:x@a.b.cisco.com>"), None);
    assert_eq!(from("<sip:x@cisco.com>"), Some(Denial::NotPermitted));
    assert_eq!(from("<sip:x@cup.cisco.com>"), Some(Denial::SpoofLocal));
}

#[test]
fn row_7_lookalikes() {
    let from = |from: &str| subscribe("local.com", vec![("foreign.com", None)], from, &["foreign.com"]);
    assert_eq!(from("<sip:x@notforeign.com>"), Some(Denial::NotPermitted));
    assert_eq!(from("<sip:x@foreign.com.evil.net>"), Some(Denial::NotPermitted));
    assert_eq!(from("<sip:foreign.com@evil.net>"), Some(Denial::NotPermitted));
}

#[test]
fn row_8_wrong_peer() {
    let list = || vec![("foreign.com", Some("sip.foreign.com")), ("partner.com", Some("sip.partner.com"))];
    assert_eq!(
        subscribe("local.com", list(), "<sip:x@partner.com>", &["sip.foreign.com"]),
        Some(Denial::PeerMismatch)
    );
    assert_eq!(subscribe("local.com", list(), "<sip:x@partner.com>", &["sip.partner.com"]), None);
    assert_eq!(subscribe("local.com", list(), "<sip:x@partner.com>", &[]), Some(Denial::PeerMismatch));
}

/// On purpose otherwise than at first, when the pin was one more name that would do.
#[test]
fn a_pin_narrows() {
    let check = |pin, cert: &[&str]| {
        subscribe("local.com", vec![("partner.com", pin)], "<sip:x@partner.com>", cert).is_none()
    };
    assert!(check(None, &["partner.com"]));
    assert!(!check(None, &["sip.partner.com"]));
    assert!(!check(Some("sip.partner.com"), &["partner.com"]));
    assert!(check(Some("sip.partner.com"), &["partner.com", "sip.partner.com"]));
    assert!(check(Some("partner.com"), &["partner.com"]));
}

#[test]
fn row_9_idna() {
    let list = || vec![("xn--bcher-kva.example", None)];
    for from in [
        "<sip:x@bücher.example>",
        "<sip:x@BÜCHER.example>",
        "<sip:x@xn--bcher-kva.example>",
        "<sip:x@XN--bcher-KVA.example.>",
    ] {
        assert_eq!(subscribe("local.com", list(), from, &["xn--bcher-kva.example"]), None, "{from}");
    }
    assert_eq!(
        subscribe("local.com", list(), "<sip:x@xn--bcher.example>", &["xn--bcher-kva.example"]),
        Some(Denial::NotPermitted)
    );
}

#[test]
fn row_10_ip_literals() {
    for from in ["<sip:x@192.0.2.7>", "<sip:x@[2001:db8::1]>", "<sip:x@[::ffff:192.0.2.7]>"] {
        assert_eq!(
            subscribe("local.com", vec![("foreign.com", None)], from, &["foreign.com"]),
            Some(Denial::NotPermitted)
        );
        // Even a listed literal needs a pinned peer: certificates do not vouch for addresses.
        assert_eq!(
            subscribe("local.com", vec![("192.0.2.7", None), ("2001:db8::1", None)], from, &["192.0.2.7"]),
            Some(Denial::PeerMismatch)
        );
    }
    let listed = || vec![("192.0.2.7", Some("edge.example"))];
    assert_eq!(subscribe("local.com", listed(), "<sip:x@[::ffff:192.0.2.7]>", &["edge.example"]), None);
}

#[test]
fn row_11_port_and_scheme_do_not_matter() {
    for from in [
        "sip:x@foreign.com;tag=1",
        "<sip:x@foreign.com:5070;transport=tls>",
        "<sips:x@foreign.com>",
        "<pres:x@foreign.com>",
        "<im:x@foreign.com>",
    ] {
        assert_eq!(
            subscribe("local.com", vec![("foreign.com", None)], from, &["foreign.com"]),
            None,
            "{from}"
        );
    }
}

#[test]
fn row_12_no_domain() {
    for from in ["<tel:+1555>", "<http://foreign.com>", "isbn:2983792873"] {
        assert_eq!(
            subscribe("local.com", vec![("foreign.com", None)], from, &["foreign.com"]),
            Some(Denial::NotPermitted),
            "{from}"
        );
    }
}

/// `(method, R-URI, From, To, more headers)` from foreign.com, or from whom From says, to local.com.
fn from_outside(method: &str, uri: &str, from: &str, to: &str, more: &str) -> Verdict {
    let frame = request(method, uri, from, to, more);
    let message = Message::scan(&frame).expect("well formed");
    let list = List(vec![("foreign.com", None), ("!bad.foreign.com", None), ("!blocked.com", None)]);
    inbound(
        &message,
        &certificate(&["foreign.com", "blocked.com"]),
        &list,
        &Locals(&["local.com", "also.local"]),
    )
}

#[test]
fn relay() {
    let check = |uri: &str, to: &str| from_outside("INVITE", uri, "<sip:x@foreign.com>", to, "").denial();
    assert_eq!(check("sip:bob@local.com", "<sip:bob@local.com>"), None);
    assert_eq!(check("sip:bob@also.local", "<sip:bob@local.com>"), None);
    assert_eq!(check("sip:bob@elsewhere.com", "<sip:bob@local.com>"), Some(Denial::Relay));
    assert_eq!(check("sip:bob@local.com", "<sip:bob@elsewhere.com>"), Some(Denial::Relay));
    assert_eq!(check("sip:bob@sub.local.com", "<sip:bob@sub.local.com>"), Some(Denial::Relay));
    assert_eq!(check("sip:bob@foreign.com", "<sip:bob@foreign.com>"), Some(Denial::Relay));
    assert_eq!(check("sip:bob@10.0.0.5", "<sip:bob@local.com>"), Some(Denial::Relay));
    assert_eq!(check("sip:bob@cup.local.com", "<sip:bob@local.com>"), Some(Denial::Relay), "no domain");
    assert_eq!(check("sip:bob@local.com", "<sip:bob@cup.local.com>"), Some(Denial::Relay));
}

#[test]
fn maddr_is_held_to_the_same_as_the_host() {
    let uri = |uri: &str, tag: &str| {
        from_outside("INFO", uri, "<sip:x@foreign.com>", &format!("<sip:bob@local.com>{tag}"), "").denial()
    };
    assert_eq!(uri("sip:bob@local.com;maddr=also.local;lr", ""), None);
    assert_eq!(uri("sip:bob@cup.local.com;maddr=192.0.2.80", ";tag=b"), None);
    for params in [
        ";maddr=10.9.9.9",
        ";lr;MADDR=elsewhere.com",
        ";maddr",
        ";m%61ddr=10.9.9.9",
        ";maddr=local.com;maddr=x.y",
    ] {
        for tag in ["", ";tag=b"] {
            assert_eq!(
                uri(&format!("sip:bob@local.com{params}"), tag),
                Some(Denial::Relay),
                "{params} {tag}"
            );
        }
        assert_eq!(route(&format!("<sip:cup.local.com{params}>"), ""), Some(Denial::Relay), "{params}");
    }
}

/// A MESSAGE to local.com by way of `routes`.
fn route(routes: &str, to_tag: &str) -> Option<Denial> {
    let to = format!("<sip:bob@local.com>{to_tag}");
    from_outside("MESSAGE", "sip:bob@local.com", "<sip:x@foreign.com>", &to, &format!("Route: {routes}\r\n"))
        .denial()
}

#[test]
fn every_route_leads_to_a_host_of_ours() {
    for tag in ["", ";tag=b"] {
        for good in [
            "<sip:cup.local.com:5061;transport=tls;lr>",
            "<sip:local.com;lr>",
            "<sips:CUP.local.COM.;lr>, <sip:192.0.2.80;lr>,\r\n <sip:[2001:db8:0::80];lr>",
            "<sip:[::ffff:192.0.2.80];lr>\r\nRoute: <sip:local.com;lr>",
        ] {
            assert_eq!(route(good, tag), None, "{good}");
        }
        for bad in [
            "<sip:10.9.9.9;lr>",
            "<sip:cup.local.com;lr>, <sip:10.9.9.9;lr>",
            "<sip:cup.local.com;lr>\r\nroute : <sip:10.9.9.9;lr>",
            "\"a, b\" <sip:elsewhere.com;lr>",
            "<sip:cup.local.com@elsewhere.com;lr>",
            "<sip:sub.cup.local.com;lr>",
            "<sip:foreign.com;lr>",
            "<sip:cup_local.com;lr>",
            "<sip:192.0.2.080;lr>",
            "<tel:+1555>",
        ] {
            assert_eq!(route(bad, tag), Some(Denial::Relay), "{bad}");
        }
        assert_eq!(route("<sip:cup.local.com;lr> <sip:10.9.9.9;lr>", tag), Some(Denial::Malformed));
        assert_eq!(route("", tag), Some(Denial::Malformed));
    }
}

#[test]
fn an_empty_set_of_own_hosts_is_the_default() {
    struct OnlyDomains;
    impl LocalDomains for OnlyDomains {
        fn is_local(&self, canonical: &str) -> bool {
            canonical == "local.com"
        }
    }
    assert!(!OnlyDomains.is_own_host("local.com"));
}

#[test]
fn register_and_publish_do_not_come_in() {
    let check = |method: &str, from: &str| {
        from_outside(
            method,
            "sip:local.com",
            from,
            "<sip:bob@local.com>",
            "Contact: <sip:evil@203.0.113.66>\r\n",
        )
    };
    for method in ["REGISTER", "PUBLISH", "Register", "publish"] {
        let verdict = check(method, "<sip:x@foreign.com>");
        assert!(matches!(verdict, Verdict::Deny { why: Denial::Method, status: 405, .. }), "{verdict:?}");
        assert_eq!(check(method, "<sip:x@unlisted.com>").denial(), Some(Denial::NotPermitted));
    }
    for method in ALLOW.split(", ").chain(["NEWMETHOD", "RE%47ISTER"]) {
        assert!(check(method, "<sip:x@foreign.com>").is_pass(), "{method}");
    }
    assert!(ALLOW.split(", ").all(|method| Method::of(method) != Method::Other), "{ALLOW}");
    let out = to_outside("PUBLISH", "sip:x@foreign.com", "<sip:bob@local.com>", "<sip:x@foreign.com>");
    assert!(out.is_pass(), "only inwards");
}

#[test]
fn a_405_says_what_is_allowed() {
    let frame = request("REGISTER", "sip:local.com", "<sip:x@foreign.com>", "<sip:bob@local.com>", "");
    let message = Message::scan(&frame).expect("well formed");
    let why = Denial::Method;
    let answer = compose_with(&message, why.status(), why.reason(), "t", why.extras()).expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("SIP/2.0 405 Method Not Allowed\r\n"), "{answer}");
    assert!(answer.contains(&format!("\r\nAllow: {ALLOW}\r\n")), "{answer}");
    assert_eq!((why.name(), Denial::Relay.extras()), ("method", &[][..]));
}

/// A host of ours, that is: any host would do at first, which with a made-up To tag made the server behind us a relay.
#[test]
fn in_a_dialog_the_request_uri_is_a_contact() {
    let check = |uri: &str, to: &str| from_outside("BYE", uri, "<sip:x@foreign.com>", to, "").denial();
    assert_eq!(check("sip:cup.local.com:5061;transport=tls", "<sip:bob@local.com>;tag=b"), None);
    assert_eq!(check("sip:bob@192.0.2.80:5061", "<sip:bob@local.com>;tag=b"), None);
    assert_eq!(check("sip:bob@[2001:db8::80]", "<sip:bob@local.com>;tag=b"), None);
    assert_eq!(check("sip:bob@local.com", "<sip:bob@local.com>;tag=b"), None);
    for elsewhere in
        ["sip:bob@10.0.0.5:5061", "sip:victim@third.party", "sip:x@foreign.com", "sip:a@sub.local.com"]
    {
        assert_eq!(check(elsewhere, "<sip:bob@local.com>;tag=made-up"), Some(Denial::Relay), "{elsewhere}");
    }
    assert_eq!(check("sip:bob@local.com", "<sip:bob@elsewhere.com>;tag=b"), Some(Denial::Relay));
    let other = from_outside("BYE", "sip:cup.local.com", "<sip:x@evil.com>", "<sip:bob@local.com>;tag=b", "");
    assert_eq!(other.denial(), Some(Denial::NotPermitted), "a To tag is no free ticket");
}

#[test]
fn blocked_beats_what_the_certificate_says() {
    let check = |from: &str| from_outside("OPTIONS", "sip:local.com", from, "<sip:local.com>", "");
    assert_eq!(check("<sip:x@blocked.com>").denial(), Some(Denial::Blocked));
    assert_eq!(check("<sip:x@blocked.com>").subject().id, Some(2));
    assert_eq!(check("<sip:x@bad.foreign.com>").denial(), Some(Denial::Blocked));
}

#[test]
fn asserted_identities_must_agree_with_from() {
    let check = |more: &str| {
        from_outside("INVITE", "sip:bob@local.com", "<sip:x@foreign.com>", "<sip:bob@local.com>", more)
    };
    for good in [
        "P-Asserted-Identity: \"X\" <sip:x@FOREIGN.com>, <tel:+1555>\r\n",
        "P-Asserted-Identity: sip:x@foreign.com\r\n",
        "Remote-Party-ID: <sip:x@foreign.com>;party=calling\r\n",
        "b: <sip:x@foreign.com>\r\n",
        "History-Info: <sip:bob@local.com>;index=1, <sip:bob@local.com?Reason=SIP%3Bcause%3D302>;index=1.1\r\n",
    ] {
        assert_eq!(check(good).denial(), None, "{good}");
    }
    for bad in [
        "P-Asserted-Identity: <sip:x@other.com>\r\n",
        "P-Asserted-Identity: <sip:x@foreign.com>, <sip:boss@local.com>\r\n",
        "P-Asserted-Identity: <sip:x@foreign.com>\r\nP-Asserted-Identity: <sip:boss@local.com>\r\n",
        "p-preferred-identity: <sip:boss@local.com>\r\n",
        "Remote-Party-ID: <sip:boss@local.com>\r\n",
        "Referred-By: <sip:boss@local.com>\r\n",
        "b : <sip:boss@local.com>\r\n",
        "Diversion: <sip:boss@local.com>;reason=no-answer\r\n",
        "History-Info: <sip:x@other.com>;index=1\r\n",
        "P-Asserted-Identity: <http://foreign.com>\r\n",
        "P-Asserted-Identity: <sip:x@for_eign.com>\r\n",
    ] {
        assert_eq!(check(bad).denial(), Some(Denial::AssertedIdentity), "{bad}");
    }
    let malformed = check("P-Asserted-Identity: <sip:x@foreign.com> <sip:y@foreign.com>\r\n");
    assert!(matches!(malformed, Verdict::Deny { why: Denial::Malformed, status: 400, .. }), "{malformed:?}");
}

#[test]
fn first_failing_check_names_the_denial() {
    let check = |from: &str, uri: &str, more: &str| {
        from_outside("OPTIONS", uri, from, &format!("<{uri}>"), more).denial()
    };
    let pai = "P-Asserted-Identity: <sip:a@b>\r\n";
    assert_eq!(check("<sip:x@local.com>", "sip:elsewhere.com", pai), Some(Denial::SpoofLocal));
    assert_eq!(check("<sip:x@unlisted.com>", "sip:elsewhere.com", pai), Some(Denial::NotPermitted));
    assert_eq!(check("<sip:x@foreign.com>", "sip:elsewhere.com", pai), Some(Denial::AssertedIdentity));
    assert_eq!(check("<sip:x@foreign.com>", "sip:elsewhere.com", ""), Some(Denial::Relay));
}

#[test]
fn what_a_verdict_carries() {
    let verdict =
        from_outside("MESSAGE", "sip:bob@local.com", "<sip:x@FOREIGN.com>", "<sip:bob@local.com>", "");
    let subject = *verdict.subject();
    assert!(verdict.is_pass());
    assert_eq!(subject.domain.map(|d| d.to_string()).as_deref(), Some("foreign.com"));
    assert_eq!((subject.id, subject.method), (Some(0), Some(Method::Message)));
    let denied =
        from_outside("MESSAGE", "sip:bob@local.com", "<sip:x@nobody.com>", "<sip:bob@local.com>", "");
    let Verdict::Deny { why, status, subject } = denied else { panic!("{denied:?}") };
    assert_eq!((why, status, subject.id), (Denial::NotPermitted, 403, None));
    assert_eq!(subject.domain.map(|d| d.to_string()).as_deref(), Some("nobody.com"));
}

#[test]
fn denials_with_one_status_look_the_same_from_outside() {
    use Denial::*;
    for why in [
        NotPermitted,
        Blocked,
        PeerMismatch,
        Relay,
        SpoofLocal,
        AssertedIdentity,
        OutboundFrom,
        OutboundNotPermitted,
        OutboundBlocked,
        OutboundPeer,
    ] {
        assert_eq!((why.status(), why.reason()), (403, "Forbidden"));
    }
    assert_eq!((Malformed.status(), Malformed.reason()), (400, "Bad Request"));
    assert_eq!((Denial::Method.status(), Denial::Method.reason()), (405, "Method Not Allowed"));
}

#[test]
fn acks_and_responses_are_dropped_not_answered() {
    let ack = from_outside("ACK", "sip:bob@local.com", "<sip:x@evil.com>", "<sip:bob@local.com>;tag=b", "");
    assert!(matches!(ack, Verdict::Drop { why: Denial::NotPermitted, .. }), "{ack:?}");
}

fn response(from: &str, to: &str, outbound: bool) -> Verdict {
    let frame = message("SIP/2.0 200 OK", "SUBSCRIBE", from, to, "");
    let message = Message::scan(&frame).expect("well formed");
    let (list, locals) = (
        List(vec![("foreign.com", None), ("partner.com", None), ("!blocked.com", None)]),
        Locals(&["local.com"]),
    );
    let peer = certificate(&["foreign.com", "blocked.com"]);
    if outbound {
        super::outbound(&message, &peer, &list, &locals)
    } else {
        inbound(&message, &peer, &list, &locals)
    }
}

#[test]
fn responses_mirror_their_request() {
    let inbound = |from: &str, to: &str| response(from, to, false);
    assert!(inbound("<sip:bob@local.com>;tag=1", "<sip:x@foreign.com>;tag=2").is_pass());
    for (from, to, why) in [
        ("<sip:x@foreign.com>", "<sip:bob@local.com>;tag=2", Denial::StrayResponse),
        ("<sip:bob@local.com>", "<tel:+1>", Denial::StrayResponse),
        ("<sip:bob@local.com>", "<sip:al@local.com>;tag=2", Denial::StrayResponse),
        ("<sip:bob@local.com>", "<sip:x@partner.com>", Denial::PeerMismatch),
        ("<sip:bob@local.com>", "<sip:x@blocked.com>", Denial::Blocked),
        ("<sip:bob@local.com>", "<sip:x@unlisted.com>", Denial::NotPermitted),
    ] {
        let verdict = inbound(from, to);
        assert!(matches!(verdict, Verdict::Drop { why: got, .. } if got == why), "{verdict:?}");
    }
    let out = response("<sip:x@foreign.com>", "<sip:bob@local.com>;tag=2", true);
    assert!(out.is_pass());
    assert_eq!((out.subject().id, out.subject().method), (Some(0), None));
    for (from, to, why) in [
        ("<sip:x@foreign.com>", "<sip:y@partner.com>;tag=2", Denial::StrayResponse),
        ("<tel:+1>", "<sip:bob@local.com>;tag=2", Denial::StrayResponse),
        ("<sip:al@local.com>", "<sip:bob@local.com>;tag=2", Denial::StrayResponse),
        ("<sip:x@partner.com>", "<sip:bob@local.com>;tag=2", Denial::OutboundPeer),
        ("<sip:x@blocked.com>", "<sip:bob@local.com>;tag=2", Denial::OutboundBlocked),
        ("<sip:x@unlisted.com>", "<sip:bob@local.com>;tag=2", Denial::OutboundNotPermitted),
    ] {
        let verdict = response(from, to, true);
        assert!(matches!(verdict, Verdict::Drop { why: got, .. } if got == why), "{from} {to}: {verdict:?}");
    }
}

/// The half without a peer lets a response out for whom the other half must then vouch.
#[test]
fn an_outbound_response_has_a_peer_to_check() {
    let frame =
        message("SIP/2.0 200 OK", "SUBSCRIBE", "<sip:x@partner.com>;tag=1", "<sip:bob@local.com>;tag=2", "");
    let message = Message::scan(&frame).expect("well formed");
    let list = List(vec![("partner.com", None)]);
    let policy = outbound_policy(&message, &list, &Locals(&["local.com"]));
    assert!(policy.is_pass());
    let domain = policy.subject().domain.expect("the requester's");
    let far = |names: &[&str]| outbound_peer(&domain, &list.lookup(domain.as_str()), &certificate(names));
    assert_eq!(far(&["partner.com"]), Ok(()));
    assert_eq!(far(&["foreign.com"]), Err(Denial::OutboundPeer));
}

fn to_outside(method: &str, uri: &str, from: &str, to: &str) -> Verdict {
    let frame = request(method, uri, from, to, "");
    let message = Message::scan(&frame).expect("well formed");
    let list = List(vec![
        ("foreign.com", None),
        ("pinned.com", Some("edge.foreign.com")),
        ("partner.com", None),
        ("!blocked.com", None),
        ("*.local.com", None),
    ]);
    outbound(
        &message,
        &certificate(&["foreign.com", "edge.foreign.com"]),
        &list,
        &Locals(&["local.com", "also.local.com"]),
    )
}

#[test]
fn outbound_checks() {
    let check = |from: &str, uri: &str| to_outside("SUBSCRIBE", uri, from, &format!("<{uri}>")).denial();
    assert_eq!(check("<sip:bob@local.com>", "sip:x@foreign.com"), None);
    assert_eq!(check("<sip:bob@local.com>", "sip:x@pinned.com"), None);
    assert_eq!(check("<sip:bob@local.com>", "sip:x@partner.com"), Some(Denial::OutboundPeer));
    assert_eq!(check("<sip:bob@local.com>", "sip:x@unlisted.com"), Some(Denial::OutboundNotPermitted));
    assert_eq!(check("<sip:bob@local.com>", "sip:x@blocked.com"), Some(Denial::OutboundBlocked));
    assert_eq!(
        check("<sip:bob@local.com>", "sip:x@also.local.com"),
        Some(Denial::OutboundNotPermitted),
        "ours, though *.local.com is permitted"
    );
    assert_eq!(check("<sip:bob@elsewhere.com>", "sip:x@foreign.com"), Some(Denial::OutboundFrom));
    assert_eq!(check("<sip:x@foreign.com>", "sip:x@foreign.com"), Some(Denial::OutboundFrom));
}

#[test]
fn outbound_in_a_dialog_goes_by_to() {
    let check = |to: &str| {
        to_outside("BYE", "sip:edge.somewhere.net:5061;transport=tls", "<sip:bob@local.com>;tag=a", to)
            .denial()
    };
    assert_eq!(check("<sip:x@foreign.com>;tag=b"), None);
    assert_eq!(check("<sip:x@unlisted.com>;tag=b"), Some(Denial::OutboundNotPermitted));
    assert_eq!(
        check("<sip:x@foreign.com>"),
        Some(Denial::OutboundNotPermitted),
        "without a tag the Request-URI counts"
    );
}

#[test]
fn the_list_is_asked_again_for_the_peer() {
    let domain = Domain::canonical(b"foreign.com").expect("test domain");
    let peer = certificate(&["foreign.com"]);
    assert_eq!(outbound_peer(&domain, &Listed::Permitted { id: 0, peer: None }, &peer), Ok(()));
    assert_eq!(outbound_peer(&domain, &Listed::Blocked { id: 0 }, &peer), Err(Denial::OutboundBlocked));
    assert_eq!(outbound_peer(&domain, &Listed::Unlisted, &peer), Err(Denial::OutboundNotPermitted));
    assert_eq!(
        outbound_peer(&domain, &Listed::Permitted { id: 0, peer: None }, &PeerIdentity::none()),
        Err(Denial::OutboundPeer)
    );
}
