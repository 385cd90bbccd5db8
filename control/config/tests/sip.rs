// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regexes, typed class-maps and inspect maps: what loads, what it prints as, what it means to the dataplane, and what is refused.

use super::{found, model, try_load};
use crate::config::model::sip::spec;
use crate::config::print::to_text;
use fedgate_sip::inspect::{Action, Deed, Match, Parameters, Rtp, Rule, Spec, What};

/// As the ASA has it, the list of permitted domains.
const WHOLE: &str = "\
regex dom_own \"@example\\.com$\"
regex dom_abc \"@abc\\.example$\"
class-map type regex match-any permitted_domains
 match regex dom_own
 match regex dom_abc
class-map type inspect sip match-any not_permitted
 match not calling-party regex class permitted_domains
 match uri sip length gt 255
policy-map type inspect sip sip_inspect
 parameters
  no im
  max-forwards-validation action drop log
  state-checking action drop-connection
  strict-header-validation action reset log
  software-version action log
  uri-non-sip action mask
  rtp-conformance enforce-payloadtype
  asserted-identity strip
 class not_permitted
  drop log
 match request-method register
  drop-connection
 match not request-method unknown
  rate-limit 100
 match content type sdp
  mask log
 match content length gt 5000
  log
 match message-path regex dom_abc
  reset
";

#[test]
fn what_loads_prints_as_it_was_written() {
    let loaded = model(WHOLE);
    let printed = to_text(&loaded);
    let lines: Vec<&str> = WHOLE.lines().collect();
    let from = printed.find("regex dom_abc").expect("it is printed");
    let mut shown: Vec<&str> = printed[from..].lines().take(lines.len()).collect();
    // Regexes are in the order of their names.
    shown.swap(0, 1);
    assert_eq!(shown, lines);
    assert_eq!(model(&printed), loaded);
}

#[test]
fn what_it_means() {
    let loaded = model(WHOLE);
    let mut next = 0..;
    let spec = spec(&loaded, "sip_inspect", |_| next.next().unwrap_or(0)).expect("the map");
    let action = |deed, log| Action { deed, log };
    let patterns = vec!["@example\\.com$".to_owned(), "@abc\\.example$".to_owned()];
    let first = Rule {
        text: "class not_permitted".into(),
        all: false,
        matches: vec![
            Match { not: true, what: What::CallingParty(patterns) },
            Match { not: false, what: What::UriLength { tel: false, over: 255 } },
        ],
        action: action(Deed::Drop, true),
        slot: 0,
    };
    let Spec { name, rules, parameters, counters } = spec;
    assert_eq!((name.as_str(), rules.len(), counters.len()), ("sip_inspect", 6, 6));
    assert_eq!(rules[0], first);
    assert_eq!(rules[2].matches, [Match { not: true, what: What::Method(None) }]);
    assert_eq!(rules[2].action, action(Deed::RateLimit(100), false));
    let want = Parameters {
        max_forwards: Some(action(Deed::Drop, true)),
        state: Some(action(Deed::DropConnection, false)),
        headers: Some(action(Deed::Reset, true)),
        version: Some(action(Deed::Pass, true)),
        uri_non_sip: Some(action(Deed::Mask, false)),
        no_im: true,
        rtp: Some(Rtp { enforce_payloads: true }),
        strip_identities: true,
    };
    assert_eq!(parameters, want);
}

#[test]
fn lines_are_taken_out_again() {
    let without = |lines: &str| {
        let text = format!("{WHOLE}policy-map type inspect sip sip_inspect\n{lines}");
        model(&text).inspect_maps["sip_inspect"].clone()
    };
    assert!(!without(" parameters\n  im\n").parameters.no_im);
    assert_eq!(without(" parameters\n  no state-checking action drop-connection\n").parameters.state, None);
    assert_eq!(without(" no match request-method register\n").rules.len(), 5);
    assert_eq!(without(" no class not_permitted\n").rules.len(), 5);
    assert!(model(&format!("{WHOLE}no policy-map type inspect sip sip_inspect\n")).inspect_maps.is_empty());
}

#[test]
fn what_is_refused() {
    for (text, why) in [
        ("regex a \"(\"", "the pattern cannot be used"),
        ("regex a \"(a|b)*a(a|b){30}\"", "the pattern cannot be used"),
        ("class-map type regex match-any c\n match regex gone", "regex gone is needed by class-map c"),
        ("class-map type inspect sip c\n match called-party regex gone", "there is no regex gone"),
        (
            "class-map type inspect sip c\n match called-party regex class gone",
            "there is no class-map type regex",
        ),
        ("class-map type inspect sip c\n match request-method publish", "expected `ack`"),
        (
            "policy-map type inspect sip m\n class gone\n  drop",
            "there is no `class-map type inspect sip gone`",
        ),
        ("policy-map type inspect sip m\n match request-method bye\n  mask", "cannot be masked"),
        ("policy-map type inspect sip m\n parameters\n  rtp-conformance enforce", "enforce"),
        ("policy-map type inspect sip m\n parameters\n  ip-address-privacy", "not supported"),
        ("policy-map type inspect sip m\n parameters\n  traffic-non-sip", "passes SIP only"),
        ("policy-map type inspect sip m\n parameters\n  software-version action drop", "expected `mask`"),
        (
            "regex a \"b\"\nclass-map type inspect sip match-all c\nclass-map type inspect sip match-any c",
            "the other of match-all",
        ),
    ] {
        let messages = found(text);
        assert!(messages.iter().any(|message| message.contains(why)), "{text}: {messages:?}");
        assert!(try_load(text).is_err(), "{text}");
    }
}
