// SPDX-License-Identifier: MIT OR Apache-2.0
//! What peers may take of the node, and what they may not learn or touch.

use fedgate_sip::headers::HeaderName;
use serde_json::json;

use super::super::*;
use super::lab::*;

const X: &str = "x@foreign.example";
const BOB_AOR: &str = "bob@local.example";
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 5060 sip null\r\na=accept-types:text/plain\r\n";
const OFFER: &str = "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n";
const SUBSCRIBE: &str = "Event: presence\r\nExpires: 7200\r\nContact: <sip:x@fe.foreign.example>\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";

impl Lab {
    /// `from` subscribes to bob; the 200, its NOTIFY answered.
    fn subscribed(&mut self, from: &str) -> Incoming {
        self.request(EDGE, "SUBSCRIBE", from, BOB_AOR, SUBSCRIBE, "");
        let ok = self.response(EDGE, 200);
        let notify = self.expect(EDGE, "NOTIFY");
        self.answer(&notify, 200, "", "");
        ok
    }

    fn decided(&mut self, who: &str, verdict: Option<&str>) {
        let reply = self.command(json!({ "do": "decide", "user": BOB_AOR, "who": who, "verdict": verdict }));
        assert_eq!(reply, Reply::Done);
    }

    fn configured(&mut self, limits: &str) {
        self.reconfigure("[federation]", &format!("[limits]\n{limits}\n[federation]"));
    }

    fn timers_of(&self, is: impl Fn(&Timer) -> bool) -> usize {
        self.core.timers.iter().filter(|(_, timer)| is(timer)).count()
    }
}

/// What x is answered in a session with bob, who has blocked him or has gone.
fn answers_in_session(blocks: bool) -> Vec<Option<u16>> {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
    let session = lab.response(EDGE, 200);
    lab.within(&session, "ACK", "", "");
    if blocks {
        lab.decided(X, Some("block"));
    } else {
        lab.request(BOB, "REGISTER", BOB_AOR, BOB_AOR, "Contact: *\r\nExpires: 0\r\n", "");
        let _ = lab.response(BOB, 200);
    }
    let typing = "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>";
    let composing =
        "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
    let mut answers = Vec::new();
    for (method, kind, body) in [
        ("INFO", "application/xml", typing),
        ("MESSAGE", "application/im-iscomposing+xml", composing),
        ("MESSAGE", "text/html", "hi"),
        ("MESSAGE", "text/plain;charset=utf-16", "hi"),
        ("MESSAGE", "text/plain", "hi"),
        ("INVITE", "application/sdp", SDP),
    ] {
        let extra = if method == "INVITE" { OFFER } else { &format!("Content-Type: {kind}\r\n") };
        lab.within(&session, method, extra, body);
        answers.push(status_of(&lab.next(EDGE)));
        lab.quiet();
    }
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
    answers.push(status_of(&lab.next(EDGE)));
    lab.quiet();
    answers
}

#[test]
fn a_session_with_one_who_blocks_is_one_with_somebody_who_has_gone() {
    let (blocked, gone) = (answers_in_session(true), answers_in_session(false));
    assert_eq!(blocked, gone);
    assert_eq!(gone, [200, 200, 415, 415, 480, 200, 480].map(Some));
}

#[test]
fn a_block_that_is_taken_back_does_not_show() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    lab.decided(X, Some("block"));
    let session = lab.subscribed(X);
    lab.pass(6_000);
    lab.decided(X, None);
    lab.pass(6_000);
    lab.quiet();
    // Nor by the next refresh: from active there is no way back to pending.
    lab.within(&session, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 200);
    assert_eq!(state_of(&lab.expect(EDGE, "NOTIFY")), "active");
}

#[test]
fn requests_in_dialogs_count_as_well() {
    let mut lab = Lab::new();
    let refresh = lab.subscribed("x@a.part.example");
    let mut taken = 0;
    for _ in 0..60 {
        lab.within(&refresh, "SUBSCRIBE", SUBSCRIBE, "");
        if status_of(&lab.next(EDGE)) == Some(200) {
            taken += 1;
            let _ = lab.expect(EDGE, "NOTIFY");
        }
    }
    assert_eq!(taken, 19);
    // Another name below the same is no other peer.
    lab.request(EDGE, "SUBSCRIBE", "y@b.part.example", BOB_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 503);
}

#[test]
fn a_dialog_is_its_owners_alone() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let winfo = "Event: presence.winfo\r\nContact: <sip:bob@192.0.2.2>\r\n";
    lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, winfo, "");
    let ok = lab.response(BOB, 200);
    let notify = lab.expect(BOB, "NOTIFY");
    lab.answer(&notify, 200, "", "");
    // The same request from a connection on which bob has not proved himself, and from outside.
    for (conn, status) in [(ANN, 401), (EDGE, 403)] {
        let bytes = format!("{}{}", ok.msg().head(), body_of(&ok));
        let elsewhere =
            Incoming::scan(bytes.into_bytes().into(), conn, &crate::transport::LIMITS).expect("the same");
        lab.within(&elsewhere, "SUBSCRIBE", winfo, "");
        let _ = lab.response(conn, status);
    }
    // An ACK of somebody else's does not stop the 200.
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
    let session = lab.response(EDGE, 200);
    let bytes = format!("{}{}", session.msg().head(), body_of(&session));
    let elsewhere =
        Incoming::scan(bytes.into_bytes().into(), ANN, &crate::transport::LIMITS).expect("the same");
    lab.within(&elsewhere, "ACK", "", "");
    lab.pass(500);
    let _ = lab.response(EDGE, 200);
    lab.within(&session, "ACK", "", "");
    lab.pass(40_000);
    lab.quiet();
}

#[test]
fn a_notify_that_found_no_room_is_sent_later() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.decided(X, Some("allow"));
    let _ = lab.subscribed(X);
    lab.pass(6_000);
    let waiting =
        |lab: &mut Lab, so_many| lab.core.conns.get_mut(&EDGE).expect("it is there").waiting = so_many;
    waiting(&mut lab, usize::MAX);
    lab.publish(BOB, "bob", "busy", None);
    lab.quiet();
    waiting(&mut lab, 0);
    lab.pass(10_000);
    assert!(body_of(&lab.expect(EDGE, "NOTIFY")).contains("<ep:activity>busy</ep:activity>"));
}

#[test]
fn a_bye_without_a_tag_ends_nothing() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.request(BOB, "MESSAGE", BOB_AOR, X, TEXT, "hallo");
    let border = lab.opened[0].0;
    let invite = lab.expect(border, "INVITE");
    for method in ["BYE", "MESSAGE", "INFO"] {
        let text = format!(
            "{method} sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKb{method}\r\nFrom: <sip:{X}>\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
            invite.value(HeaderName::From).expect("From"),
            invite.msg().call_id
        );
        lab.send(border, &text);
        let _ = lab.response(border, 481);
    }
    lab.answer(&invite, 200, OFFER, SDP);
    let _ = lab.expect(border, "ACK");
    let text = lab.expect(border, "MESSAGE");
    lab.answer(&text, 200, "", "");
    let _ = lab.response(BOB, 200);
}

#[test]
fn long_dialogs_fill_their_share_sooner() {
    let mut lab = Lab::new();
    lab.configured("subscriptions = 10\nsessions = 10");
    lab.register(BOB, "bob");
    let long = format!("Contact: <sip:x@fe.foreign.example;x={}>\r\n", "x".repeat(4_000));
    for (i, status) in [200, 200, 503].into_iter().enumerate() {
        let from = format!("x{i}@foreign.example");
        lab.request(EDGE, "SUBSCRIBE", &from, BOB_AOR, &format!("Event: presence\r\n{long}"), "");
        let _ = lab.response(EDGE, status);
        if status == 200 {
            let _ = lab.expect(EDGE, "NOTIFY");
        }
        lab.request(EDGE, "INVITE", &from, BOB_AOR, &format!("{long}Content-Type: application/sdp\r\n"), SDP);
        let _ = lab.response(EDGE, status);
    }
    // Short ones as many as one domain may have; the rest is for others.
    let mut lab = Lab::new();
    lab.configured("subscriptions = 10");
    for i in 0..5 {
        let _ = lab.subscribed(&format!("x{i}@foreign.example"));
    }
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 503);
    let _ = lab.subscribed("y@a.part.example");
}

#[test]
fn texts_that_wait_are_bounded_in_octets() {
    let mut lab = Lab::forgetful();
    lab.register(BOB, "bob");
    let text = "t".repeat(60_000);
    let mut refused = 0;
    for i in 0..600 {
        lab.request(BOB, "MESSAGE", BOB_AOR, &format!("x{}@foreign.example", i / 30), TEXT, &text);
        refused += usize::from(lab.try_next(BOB).is_some_and(|(_, answer)| status_of(&answer) == Some(503)));
    }
    assert!((30..60).contains(&refused), "{refused}");
    let border = lab.opened[0].0;
    lab.close(border);
    while lab.try_next(BOB).is_some() {
        refused += 1;
    }
    assert_eq!((refused, lab.core.deferred_octets), (600, 0));
}

#[test]
fn the_end_of_a_subscription_is_stored_before_it_is_acknowledged() {
    let mut lab = Lab::new();
    let ok = lab.subscribed(X);
    lab.order.clear();
    lab.within(&ok, "SUBSCRIBE", &SUBSCRIBE.replace("7200", "0"), "");
    assert!(lab.order.starts_with("ws"), "{}", lab.order);
}

#[test]
fn one_timer_for_the_ack_however_often_it_is_invited() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
    let session = lab.response(EDGE, 200);
    for _ in 0..5 {
        lab.within(&session, "INVITE", OFFER, SDP);
        let _ = lab.response(EDGE, 200);
    }
    assert_eq!(lab.timers_of(|timer| matches!(timer, Timer::Ack(_))), 1);
    lab.within(&session, "BYE", "", "");
    assert_eq!(lab.timers_of(|timer| matches!(timer, Timer::Ack(_) | Timer::Idle(_))), 0);
}

#[test]
fn who_is_no_user_any_more_watches_nobody() {
    let mut lab = Lab::new();
    let added = lab.command(json!({ "do": "add-contact", "user": BOB_AOR, "contact": X, "name": "" }));
    assert_eq!(added, Reply::Done);
    lab.restart();
    lab.pass(1_000);
    assert_eq!(lab.opened.len(), 1, "bob is a user");
    lab.users = lab.users.replace("bob@", "rob@");
    lab.restart();
    lab.pass(1_000);
    assert!(lab.opened.is_empty());
}

#[test]
fn a_contact_nobody_wants_is_not_asked_for_again() {
    let mut lab = Lab::new();
    let contact = |verb: &str| json!({ "do": verb, "user": BOB_AOR, "contact": X });
    assert_eq!(lab.command(contact("add-contact")), Reply::Done);
    lab.pass(0);
    let border = lab.opened[0].0;
    let subscribe = lab.expect(border, "SUBSCRIBE");
    lab.answer(&subscribe, 200, "Contact: <sip:x@fe.foreign.example>\r\nExpires: 3600\r\n", "");
    // No NOTIFY comes, and before it would be begun anew bob takes x out of his list.
    lab.pass(20_000);
    assert_eq!(lab.command(contact("remove-contact")), Reply::Done);
    assert_eq!(lab.expect(border, "SUBSCRIBE").value(HeaderName::Expires), Some("0"));
    lab.pass(20_000);
    lab.pass(20_000);
    lab.quiet();
    assert!(lab.core.watches.is_empty());
}

#[test]
fn an_event_id_is_a_token_on_one_line() {
    let mut lab = Lab::new();
    let with = |id: &str| SUBSCRIBE.replace("Event: presence", &format!("Event: presence{id}"));
    for bad in [";id=a\r\n b", ";id=\"a\r\n\tX-Evil: b\"", ";id=\"a b\"", &format!(";id={}", "i".repeat(129))]
    {
        lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, &with(bad), "");
        let _ = lab.response(EDGE, 400);
    }
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, &with(";\r\n id=7"), "");
    let _ = lab.response(EDGE, 200);
    assert_eq!(lab.expect(EDGE, "NOTIFY").value(HeaderName::Event), Some("presence;id=7"));
}

#[test]
fn a_list_of_watchers_has_an_end_and_begins_with_those_who_wait() {
    let mut lab = Lab::forgetful();
    lab.decided("foreign.example", Some("allow"));
    for i in 0..2_000 {
        let _ = lab.subscribed(&format!("x{i}@foreign.example"));
    }
    let _ = lab.subscribed("y@a.part.example");
    let shown = lab.show(BOB_AOR);
    let watchers = shown["watchers"].as_array().expect("a list");
    assert_eq!(watchers.len(), 2_000);
    assert_eq!(watchers[0], json!({ "address": "y@a.part.example", "status": "pending" }));
}
