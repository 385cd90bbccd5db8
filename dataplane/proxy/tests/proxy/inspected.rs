// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inspect maps through the whole proxy: each deed as peers see it, hits, and what parameters do to connections.

use crate::pki::{proxy_tls, tls_client};
use crate::scene::*;
use fedgate_proxy::{CloseReason, Engine, Leg, Limits};
use fedgate_sip::dialog::{self, Check, Crossing, Dialogs, Roster};
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::inspect::{Action, Deed, Inspector, Match, Parameters, Rule, Spec, What};
use fedgate_sip::message::Message;
use std::sync::Arc;

pub fn scene(rules: Vec<Rule>, parameters: Parameters) -> Scene {
    let counters = parameters.set().zip(100..).map(|((text, _), slot)| (text.to_owned(), slot)).collect();
    let spec = Spec { name: "map".into(), rules, parameters, counters };
    let mut s = Scene::new();
    let edge = s.ca.leaf(&["edge.local.example"]);
    let inspector = Inspector::new(spec).expect("good patterns");
    s.lab.tls =
        Arc::new(Arc::into_inner(proxy_tls(&s.ca, &edge)).expect("nobody else has it").inspected(inspector));
    s
}

pub fn rule(what: What, deed: Deed) -> Rule {
    let action = Action { deed, log: true };
    Rule { text: "match it".into(), all: true, matches: vec![Match { not: false, what }], action, slot: 7 }
}

fn from(pattern: &str) -> What {
    What::CallingParty(vec![pattern.into()])
}

pub fn info(number: usize) -> String {
    request("INFO", "foreign.example", "local.example", number, "")
}

#[test]
fn drop_answers_and_goes_on() {
    let mut s = scene(vec![rule(What::Method(Some("message".into())), Deed::Drop)], Parameters::default());
    let n = s.inward();
    s.client_says(n, message_in(1) + &info(2));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == info(2)));
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 "));
    assert_eq!((s.counted("Inspect(7)"), s.counted("Stat(SipDeniedInspect)")), (1, 1));
    assert_eq!(s.lab.sink.events.iter().filter(|event| *event == "inspected match it: drop log").count(), 1);
    s.finish();
}

/// The rule of an ASA that lists its permitted domains: `match not calling-party regex class permitted`.
#[test]
fn not_and_both_ways() {
    let only = |pattern: &str| Rule {
        matches: vec![Match { not: true, what: from(pattern) }],
        ..rule(from(pattern), Deed::Drop)
    };
    let mut s = scene(vec![only("@foreign\\.example$|@local\\.example$")], Parameters::default());
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    let mut s = scene(vec![only("@foreign\\.example$")], Parameters::default());
    let n = s.outward();
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 ")));
    assert_eq!(s.lab.lines[n].server.heard_text(), "");
}

#[test]
fn connections_are_dropped_or_reset() {
    for (deed, notified) in [(Deed::DropConnection, true), (Deed::Reset, false)] {
        let mut s = scene(vec![rule(from("alice"), deed)], Parameters::default());
        let n = s.inward();
        s.client_says(n, message_in(1));
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Inspected(Leg::Client)));
        assert_eq!((s.lab.lines[n].client.notified, s.lab.lines[n].sent[1]), (notified, 0));
        assert_eq!(s.lab.lines[n].client.heard_text(), "");
        s.assert_freed();
    }
}

#[test]
fn bodies_are_masked_and_lengths_stay() {
    let mut s = scene(vec![rule(What::ContentLength(3), Deed::Mask)], Parameters::default());
    let n = s.inward();
    s.client_says(n, message_in(1) + &info(2));
    let masked = message_in(1).replace("hello", "xxxxx") + &info(2);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == masked));
    s.finish();
}

#[test]
fn a_rate_is_of_all_connections() {
    let mut s = scene(vec![rule(from("."), Deed::RateLimit(20))], Parameters::default());
    let lines = [s.inward(), s.inward()];
    s.lab.settle(secs(3));
    for n in lines {
        s.client_says(n, (0..30).map(info).collect::<String>());
    }
    s.lab.settle(fedgate_proxy::Micros(500_000));
    let passed: usize =
        lines.iter().map(|n| s.lab.lines[*n].server.heard_text().matches("INFO sip").count()).sum();
    let refused: usize =
        lines.iter().map(|n| s.lab.lines[*n].client.heard_text().matches("SIP/2.0 503 ").count()).sum();
    assert!((20..=40).contains(&passed), "{passed}: a second's, or two if one began");
    assert_eq!(passed + refused, 60);
    s.finish();
}

#[test]
fn parameters_do_as_they_say() {
    let action = |deed| Some(Action { deed, log: true });
    // A Max-Forwards of 0 ends the connection, where it would be a 483.
    let hops = Parameters { max_forwards: action(Deed::Reset), ..Parameters::default() };
    let mut s = scene(vec![], hops);
    let n = s.inward();
    s.client_says(n, message_in(1).replace("Max-Forwards: 70", "Max-Forwards: 0"));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Inspected(Leg::Client)));
    assert_eq!(s.counted("Inspect(100)"), 1);
    // A dialog that was never begun.
    let mut s = scene(vec![], Parameters { state: action(Deed::Drop), ..Parameters::default() });
    let n = s.inward();
    s.client_says(
        n,
        message_in(1).replace("To: <sip:bob@local.example>", "To: <sip:bob@local.example>;tag=x"),
    );
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 481 ")));
    s.finish();
    // Identities are cut out, not checked; software is masked.
    let quiet = Parameters { strip_identities: true, version: action(Deed::Mask), ..Parameters::default() };
    let mut s = scene(vec![], quiet);
    let n = s.inward();
    let more = "P-Asserted-Identity: <sip:boss@local.example>\r\nUser-Agent: OCS/3\r\n";
    s.client_says(n, message_in(1).replace("CSeq", &format!("{more}CSeq")));
    let want = message_in(1).replace("CSeq", "User-Agent: xxxxx\r\nCSeq");
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == want));
    s.finish();
}

/// A dialog that began at another worker is no dialog that was never begun.
#[test]
fn state_checking_knows_the_dialogs_of_other_workers() {
    let drop = Some(Action { deed: Deed::Drop, log: false });
    let mut s = scene(vec![], Parameters { state: drop, ..Parameters::default() });
    let roster = Arc::new(Roster::new(2, 64));
    s.lab.engine = Engine::new(Limits { workers: 2, ..Limits::default() }).of_several(roster.clone(), 0);
    let mut other = Dialogs::new(dialog::Limits::default()).of_several(roster, 1);
    // There a SUBSCRIBE from outside was answered.
    let answered = response("SUBSCRIBE", "foreign.example", "local.example", 5);
    let frame = answered.as_bytes();
    let message = Message::scan(frame).expect("well formed");
    let note = other.note(&message, false);
    let timers = dialog::Timers::default();
    let nobody = PeerIdentity::none();
    let by = |frame| Crossing { frame, peer: &nobody, peer_key: 1, server: (1, 0), check: Check::Domain };
    assert!(other.crossed(&note, &by(frame), 1, &timers) && other.len() == 1);
    // Here the next one of it comes, and one of another.
    let refresh = |number: usize, tag: &str| {
        request("SUBSCRIBE", "foreign.example", "local.example", number, "")
            .replace("To: <sip:bob@local.example>", &format!("To: <sip:bob@local.example>;tag={tag}"))
    };
    let n = s.inward();
    s.client_says(n, refresh(5, "b5") + &refresh(6, "b6"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 481 ")));
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[n].server.heard_text(), refresh(5, "b5"));
    // When it is over there, it is here.
    let over = answered.replace("CSeq: 1 SUBSCRIBE", "CSeq: 2 BYE");
    let message = Message::scan(over.as_bytes()).expect("well formed");
    let note = other.note(&message, false);
    other.crossed(&note, &by(over.as_bytes()), 2, &timers);
    assert!(other.is_empty());
    s.client_says(n, refresh(5, "b5"));
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 481 ").count(), 2);
    s.finish();
}

/// Whoever does not get past the domain verdict never comes to the map.
#[test]
fn the_domain_verdict_comes_first() {
    let mut s = scene(vec![rule(from("."), Deed::Pass)], Parameters::default());
    let stranger = s.ca.leaf(&["stranger.example"]);
    let (client, server) = (Some(tls_client(&s.ca, Some(&stranger))), s.server(&s.inside));
    let n = s.lab.line(Leg::Client, client, server);
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 ")));
    assert_eq!(s.counted("Inspect(7)"), 0);
    s.finish();
}
