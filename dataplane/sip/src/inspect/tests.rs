// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each match, each deed, each parameter; patterns that would be slow for others; rates.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;
const ALONE: Standing = Standing { known: false, whole: true, workers: 1 };

fn message(method: &str, more: &str, body: &str) -> String {
    format!(
        "{method} sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.foreign.example;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@foreign.example>;tag=1\r\nTo: <sip:bob@local.example>\r\nCall-ID: 1\r\n\
         CSeq: 1 {method}\r\nContact: <sip:alice@edge.foreign.example>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn rule(what: What, deed: Deed) -> Rule {
    let (not, action) = (false, Action { deed, log: false });
    Rule { text: "match x".into(), all: true, matches: vec![Match { not, what }], action, slot: 3 }
}

fn inspector(rules: Vec<Rule>, parameters: Parameters) -> Inspector {
    Inspector::new(Spec { name: "m".into(), rules, parameters, counters: Vec::new() }).expect("good patterns")
}

fn judge(inspector: &Inspector, text: &str) -> Ruling {
    let scanned = Message::scan(text.as_bytes()).expect("well formed");
    inspector.judge(&scanned, ALONE, &mut Rates::default(), SECOND, |_| {})
}

fn holds(what: What, text: &str) -> bool {
    judge(&inspector(vec![rule(what, Deed::Drop)], Parameters::default()), text).deed == Deed::Drop
}

fn one(pattern: &str) -> Vec<String> {
    vec![pattern.to_owned()]
}

#[test]
fn each_match() {
    let text = message("MESSAGE", "Content-Type: application/sdp;x=y\r\n", "hello");
    let register = message("REGISTER", "", "");
    for (what, yes) in [
        (What::CallingParty(one("@foreign\\.example$")), true),
        (What::CallingParty(one("@local\\.example$")), false),
        (What::CallingParty(vec!["x".repeat(3), "alice".into()]), true),
        (What::CalledParty(one("^sip:bob@")), true),
        (What::CalledParty(one("^bob@")), false),
        (What::ImSubscriber(one("alice")), true),
        (What::MessagePath(one("edge\\.foreign")), true),
        (What::MessagePath(one("evil")), false),
        (What::ThirdPartyRegistration(one("alice")), false),
        (What::ContentType(one("sdp")), true),
        (What::ContentSdp, true),
        (What::ContentLength(4), true),
        (What::ContentLength(5), false),
        (What::Method(Some("message".into())), true),
        (What::Method(Some("invite".into())), false),
        (What::Method(None), false),
        (What::UriLength { tel: false, over: 20 }, true),
        (What::UriLength { tel: false, over: 200 }, false),
        (What::UriLength { tel: true, over: 0 }, false),
    ] {
        let name = format!("{what:?}");
        assert_eq!(holds(what, &text), yes, "{name}");
    }
    assert!(holds(What::ThirdPartyRegistration(one("alice")), &register));
    assert!(!holds(What::ImSubscriber(one("alice")), &register));
    assert!(holds(What::Method(None), &message("PUBLISH", "", "")));
}

#[test]
fn all_any_and_not() {
    let ask = |all, nots: [bool; 2]| {
        let whats = [What::CallingParty(one("alice")), What::CallingParty(one("mallory"))];
        let matches = whats.into_iter().zip(nots).map(|(what, not)| Match { not, what }).collect();
        let rule = Rule { all, matches, ..rule(What::ContentSdp, Deed::Reset) };
        judge(&inspector(vec![rule], Parameters::default()), &message("OPTIONS", "", "")).deed == Deed::Reset
    };
    assert!(!ask(true, [false, false]) && ask(true, [false, true]));
    assert!(ask(false, [false, false]) && !ask(false, [true, false]));
}

#[test]
fn rules_go_on_until_one_ends_it() {
    let any = || What::CallingParty(one("."));
    let log = Rule { slot: 1, ..rule(any(), Deed::Pass) };
    let mask = Rule { slot: 2, ..rule(any(), Deed::Mask) };
    let drop = Rule { slot: 3, ..rule(any(), Deed::DropConnection) };
    let never = Rule { slot: 4, ..rule(any(), Deed::Drop) };
    let map = inspector(vec![log, mask, drop, never], Parameters::default());
    let text = message("MESSAGE", "", "secret");
    let scanned = Message::scan(text.as_bytes()).expect("well formed");
    let mut hits = Vec::new();
    let ruling = map.judge(&scanned, ALONE, &mut Rates::default(), SECOND, |hit| hits.push(hit.slot));
    assert_eq!(ruling, Ruling { deed: Deed::DropConnection, no_dialog: false, mask: true });
    assert_eq!(hits, [Some(1), Some(2), Some(3)]);
    let masked = crate::edit::apply(&scanned, map.masks(&scanned));
    assert_eq!(String::from_utf8(masked).expect("text"), message("MESSAGE", "", "xxxxxx"));
}

#[test]
fn each_parameter() {
    let drop = Some(Action { deed: Deed::Drop, log: true });
    let mask = Some(Action { deed: Deed::Mask, log: false });
    let of = |parameters| inspector(vec![], parameters);
    let deed = |map: &Inspector, text: &str| judge(map, text).deed;
    let good = message("INVITE", "", "");
    // im
    let map = of(Parameters { no_im: true, ..Parameters::default() });
    assert_eq!((deed(&map, &message("MESSAGE", "", "")), deed(&map, &good)), (Deed::Drop, Deed::Pass));
    // strict-header-validation
    let map = of(Parameters { headers: drop, ..Parameters::default() });
    assert_eq!(deed(&map, &good), Deed::Pass);
    for gone in ["Max-Forwards: 70\r\n", ";tag=1", "z9hG4bK", "Contact: <sip:alice@edge.foreign.example>\r\n"]
    {
        assert_eq!(deed(&map, &good.replace(gone, "")), Deed::Drop, "{gone}");
    }
    // state-checking
    let map = of(Parameters { state: drop, ..Parameters::default() });
    let within = good.replace("local.example>\r\n", "local.example>;tag=2\r\n");
    assert_eq!(judge(&map, &within), Ruling { deed: Deed::Drop, no_dialog: true, mask: false });
    assert_eq!(deed(&map, &good), Deed::Pass);
    let scanned = Message::scan(within.as_bytes()).expect("well formed");
    for standing in [Standing { known: true, ..ALONE }, Standing { whole: false, ..ALONE }] {
        let ruling = map.judge(&scanned, standing, &mut Rates::default(), SECOND, |_| {});
        assert_eq!(ruling.deed, Deed::Pass);
    }
    // software-version and uri-non-sip
    let map = of(Parameters { version: mask, uri_non_sip: mask, ..Parameters::default() });
    let more = "User-Agent: CUP/7.0\r\nCall-Info: <http://a/b>;purpose=icon, <sip:a@b>\r\n";
    let text = message("INVITE", more, "");
    assert!(judge(&map, &text).mask && !judge(&map, &good).mask);
    let scanned = Message::scan(text.as_bytes()).expect("well formed");
    let masked = String::from_utf8(crate::edit::apply(&scanned, map.masks(&scanned))).expect("text");
    assert_eq!(masked, text.replace("CUP/7.0", "xxxxxxx").replace("http://a/b", "http:xxxxx"));
}

#[test]
fn rates_are_by_rule_and_second() {
    let map = inspector(vec![rule(What::CallingParty(one(".")), Deed::RateLimit(10))], Parameters::default());
    let text = message("MESSAGE", "", "");
    let scanned = Message::scan(text.as_bytes()).expect("well formed");
    let mut rates = Rates::default();
    let mut passed = |now, workers| {
        let standing = Standing { workers, ..ALONE };
        (0..30).filter(|_| map.judge(&scanned, standing, &mut rates, now, |_| {}).deed == Deed::Pass).count()
    };
    assert_eq!(passed(SECOND, 1), 10);
    assert_eq!(passed(SECOND + 999_999, 1), 0);
    assert_eq!(passed(2 * SECOND, 1), 10);
    assert_eq!(passed(4 * SECOND, 4), 3, "its part, rounded up");
}

#[test]
fn patterns_are_checked() {
    check_pattern("@abc\\.example$").expect("a good one");
    assert!(check_pattern("(").is_err());
    assert!(check_pattern("(a|b)*a(a|b){30}").is_err(), "its automaton is too large");
    assert!(check_pattern("\\p{Greek}").is_err(), "octets have no script");
}

/// A pattern that takes a backtracking engine for ever.
#[test]
fn no_pattern_is_slow() {
    let evil = What::CallingParty(one("(a*)*b$"));
    let text = message("OPTIONS", "", "").replace("alice", &"a".repeat(8000));
    assert!(!holds(evil, &text));
}

proptest! {
    /// Plain words are found where a plain search finds them.
    #[test]
    fn words_as_a_plain_search_finds_them(words in prop::collection::vec("[a-c]{1,3}", 1..4), user in "[a-d]{1,12}") {
        let text = message("OPTIONS", "", "").replace("alice", &user);
        let uri = format!("sip:{user}@foreign.example");
        let want = words.iter().any(|word| uri.contains(word.as_str()));
        prop_assert_eq!(holds(What::CallingParty(words), &text), want);
    }
}
