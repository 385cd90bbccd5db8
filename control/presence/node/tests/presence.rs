// SPDX-License-Identifier: MIT OR Apache-2.0
use fedgate_sip::headers::HeaderName;
use serde_json::json;

use super::super::*;
use super::lab::*;
use crate::xml;

const X: &str = "x@foreign.example";
const BOB_AOR: &str = "bob@local.example";
const ANN_AOR: &str = "ann@local.example";
pub(super) const SUBSCRIBE: &str = "Event: presence\r\nAccept: application/msrtc-event-categories+xml, application/pidf+xml\r\nExpires: 7200\r\n\
    Contact: <sip:x@fe.foreign.example;opaque=user:epid:q;gruu>\r\n";

impl Lab {
    /// `from` subscribes to bob; the 200 and the first NOTIFY, answered.
    pub(super) fn watch(&mut self, from: &str) -> (Incoming, Incoming) {
        self.request(EDGE, "SUBSCRIBE", from, BOB_AOR, SUBSCRIBE, "");
        let ok = self.response(EDGE, 200);
        (ok, self.told(EDGE))
    }

    /// The NOTIFY that has come, answered.
    pub(super) fn told(&mut self, conn: ConnId) -> Incoming {
        let notify = self.expect(conn, "NOTIFY");
        self.answer(&notify, 200, "", "");
        notify
    }

    pub(super) fn decide(&mut self, who: &str, verdict: Option<&str>) {
        let reply = self.command(json!({ "do": "decide", "user": BOB_AOR, "who": who, "verdict": verdict }));
        assert_eq!(reply, Reply::Done);
    }
}

fn basic(notify: &Incoming) -> Option<String> {
    let body = notify.msg().body;
    (!body.is_empty()).then(|| {
        let root = xml::parse(body).expect("a document");
        let basic = root.descendants().into_iter().find(|element| element.name == "basic").expect("a state");
        basic.text.clone()
    })
}

#[test]
fn a_stranger_waits_and_is_let_in() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    lab.request(
        BOB,
        "SUBSCRIBE",
        BOB_AOR,
        BOB_AOR,
        "Event: presence.winfo\r\nContact: <sip:bob@192.0.2.2>\r\n",
        "",
    );
    let _ = lab.response(BOB, 200);
    let empty = lab.told(BOB);
    assert_eq!(empty.value(HeaderName::ContentType), Some("application/watcherinfo+xml"));
    lab.pass(10_000);

    let (ok, pending) = lab.watch(X);
    assert_eq!(ok.value(HeaderName::Expires), Some("7200"));
    assert_eq!((state_of(&pending).as_str(), basic(&pending)), ("pending", None));
    let winfo = lab.told(BOB);
    let root = xml::parse(winfo.msg().body).expect("a document");
    assert_eq!((root.attribute("version"), root.attribute("state")), (Some("1"), Some("partial")));
    let watcher = &root.children[0].children[0];
    assert_eq!(
        (watcher.text.as_str(), watcher.attribute("status")),
        ("sip:x@foreign.example", Some("pending"))
    );

    lab.pass(1_000);
    lab.decide(X, Some("allow"));
    let active = lab.told(EDGE);
    assert_eq!((state_of(&active).as_str(), basic(&active).as_deref()), ("active", Some("open")));
    // The user's devices hear of it, five seconds after the last at least.
    lab.quiet();
    lab.pass(4_000);
    let winfo = body_of(&lab.told(BOB));
    assert!(winfo.contains("status=\"active\" event=\"approved\""), "{winfo}");
    assert_eq!(lab.show(BOB_AOR)["watchers"], json!([{ "address": X, "status": "active" }]));
}

#[test]
fn the_order_of_decisions_on_the_wire() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    let winfo = "Event: presence.winfo\r\nContact: <sip:bob@192.0.2.2>\r\n";
    lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, winfo, "");
    let _ = lab.response(BOB, 200);
    let _ = lab.told(BOB);
    let refused = |lab: &mut Lab, from: &str, to: &str, extra: &str, status: u16| {
        lab.request(EDGE, "SUBSCRIBE", from, to, extra, "");
        let _ = lab.response(EDGE, status);
    };
    refused(&mut lab, "x@other.example", BOB_AOR, SUBSCRIBE, 403);
    refused(&mut lab, "x@sub.foreign.example", BOB_AOR, SUBSCRIBE, 403);
    refused(&mut lab, "x@part.example", BOB_AOR, SUBSCRIBE, 403);
    refused(&mut lab, X, "nobody@local.example", SUBSCRIBE, 404);
    refused(&mut lab, X, "bob@elsewhere.example", SUBSCRIBE, 403);
    refused(&mut lab, X, BOB_AOR, &SUBSCRIBE.replace("Event: presence", "Event: dialog"), 489);
    refused(&mut lab, X, BOB_AOR, &SUBSCRIBE.replace("application/pidf+xml", "text/plain"), 406);
    refused(&mut lab, X, BOB_AOR, &SUBSCRIBE.replace("7200", "59"), 423);
    refused(&mut lab, X, BOB_AOR, &SUBSCRIBE.replace("7200", "-1"), 400);
    refused(&mut lab, X, BOB_AOR, "Event: presence\r\n", 400);
    refused(&mut lab, X, BOB_AOR, &SUBSCRIBE.replace("Event: presence", "Event: presence.winfo"), 403);
    // bob, whose device would be told of anybody who asks, hears nothing of any of them, now or later.
    lab.pass(60_000);
    lab.quiet();
    assert_eq!(lab.show(BOB_AOR)["watchers"], json!([]));
    lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, &format!("{winfo}Expires: 0\r\n"), "");
    let _ = lab.response(BOB, 200);
    let _ = lab.told(BOB);
    for (who, verdict, state, shown) in [
        ("foreign.example", Some("allow"), "active", Some("open")),
        (X, Some("block"), "active", Some("closed")),
        (X, Some("allow"), "active", Some("open")),
        ("foreign.example", Some("block"), "active", Some("closed")),
        (X, None, "active", Some("closed")),
        ("foreign.example", None, "pending", None),
    ] {
        lab.decide(who, verdict);
        let first = lab.watch(X).1;
        assert_eq!(
            (state_of(&first).as_str(), basic(&first).as_deref()),
            (state, shown),
            "{who} {verdict:?}"
        );
        lab.pass(6_000);
        lab.within(&first, "SUBSCRIBE", &SUBSCRIBE.replace("7200", "0"), "");
        let _ = (lab.response(EDGE, 200), lab.told(EDGE));
    }
}

#[test]
fn a_subscription_is_taken_by_200_or_as_rfc_3265_had_it() {
    let mut lab = Lab::new();
    let _ = lab.watch(X);
    lab.reconfigure("control = \"control\"", "control = \"control\"\nsubscribe-status = 202");
    lab.request(EDGE, "SUBSCRIBE", "y@foreign.example", BOB_AOR, SUBSCRIBE, "");
    let taken = lab.response(EDGE, 202);
    assert_eq!(state_of(&lab.told(EDGE)), "pending");
    lab.within(&taken, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 202);
}

#[test]
fn changes_are_told_once_in_five_seconds_and_the_last_is_told() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.decide("foreign.example", Some("allow"));
    let _ = lab.watch(X);
    lab.pass(6_000);
    let mut etag = lab.publish(BOB, "bob", "open", None);
    assert_eq!(basic(&lab.told(EDGE)).as_deref(), Some("open"));
    for what in ["busy", "open", "away"] {
        lab.pass(500);
        etag = lab.publish(BOB, "bob", what, Some(&etag));
        lab.quiet();
    }
    lab.pass(3_400);
    lab.quiet();
    lab.pass(200);
    let last = body_of(&lab.told(EDGE));
    assert!(last.contains("<ep:activity>away</ep:activity>"), "{last}");
    // The same again is nothing new.
    lab.pass(10_000);
    let _ = lab.publish(BOB, "bob", "away", Some(&etag));
    lab.pass(10_000);
    lab.quiet();
}

#[test]
fn subscriptions_live_over_a_restart_and_end_well() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    lab.decide(X, Some("allow"));
    let (_, first) = lab.watch(X);
    let before = first.msg().cseq.number;
    lab.restart();
    // The state is there, the dialog is, and so is the decision; our numbers go on upwards.
    lab.within(&first, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 200);
    let told = lab.told(EDGE);
    assert!(told.msg().cseq.number > before);
    assert_eq!((state_of(&told).as_str(), basic(&told).as_deref()), ("active", Some("open")));
    // A subscriber that has forgotten it has none.
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "busy", None);
    lab.pass(6_000);
    let notify = lab.expect(EDGE, "NOTIFY");
    lab.answer(&notify, 481, "", "");
    lab.within(&first, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 481);
    // Unsubscribing is answered and told.
    let (_, first) = lab.watch(X);
    lab.within(&first, "SUBSCRIBE", &SUBSCRIBE.replace("7200", "0"), "");
    let _ = lab.response(EDGE, 200);
    assert_eq!(state_of(&lab.told(EDGE)), "terminated");
    lab.restart();
    assert_eq!(lab.core.subs.len(), 0);
}

#[test]
fn who_is_no_longer_permitted_is_told_nothing_more() {
    let mut lab = Lab::new();
    lab.decide(X, Some("allow"));
    let (_, first) = lab.watch(X);
    lab.reconfigure("\"foreign.example\"", "\"other.example\"");
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    lab.pass(10_000);
    lab.quiet();
    lab.within(&first, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 481);
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 403);
}

#[test]
fn one_that_runs_out_is_told_so_and_whoever_waited_is_remembered() {
    let mut lab = Lab::new();
    let _ = lab.watch(X);
    lab.pass(7_200_000);
    let end = lab.told(EDGE);
    assert_eq!(end.value(HeaderName::SubscriptionState), Some("terminated;reason=timeout"));
    lab.restart();
    assert_eq!(lab.show(BOB_AOR)["watchers"], json!([{ "address": X, "status": "waiting" }]));
    lab.decide(X, Some("block"));
    assert_eq!(lab.show(BOB_AOR)["watchers"], json!([]));
}

#[test]
fn a_contact_is_watched_for_each_user_who_has_it() {
    let mut lab = Lab::new();
    for user in [BOB_AOR, ANN_AOR] {
        let added = lab.command(json!({ "do": "add-contact", "user": user, "contact": X, "name": "Xaver" }));
        assert_eq!(added, Reply::Done);
        lab.pass(0);
    }
    // One connection, two subscriptions.
    assert_eq!(lab.opened.len(), 1);
    let border = lab.opened[0].0;
    let (bobs, anns) = (lab.expect(border, "SUBSCRIBE"), lab.expect(border, "SUBSCRIBE"));
    assert!(bobs.value(HeaderName::From).is_some_and(|from| from.contains(BOB_AOR)));
    assert!(anns.value(HeaderName::From).is_some_and(|from| from.contains(ANN_AOR)));
    assert_eq!(bobs.value(HeaderName::Accept), Some("application/pidf+xml"));
    let granted = "Expires: 7200\r\nContact: <sip:x@fe.foreign.example>\r\nRecord-Route: <sip:edge.foreign.example;lr>\r\n";
    lab.answer(&bobs, 200, granted, "");
    let notify = |lab: &mut Lab, request: &Incoming, state: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
        let extra = format!("Event: presence\r\nSubscription-State: {state}\r\n{kind}");
        // Our own tag stands in From of the request; theirs is that of the answer.
        let text = format!(
            "NOTIFY sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bKn\r\nFrom: {};tag=theirs\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} NOTIFY\r\nMax-Forwards: 70\r\nContact: <sip:x@fe.foreign.example>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            request.value(HeaderName::To).expect("To"),
            request.value(HeaderName::From).expect("From"),
            request.msg().call_id,
            lab.now % 1_000_000,
            body.len()
        );
        lab.send(border, &text);
    };
    notify(&mut lab, &bobs, "active;expires=7200", &pidf(X, "busy"));
    let _ = lab.response(border, 200);
    let contact = lab.show(BOB_AOR)["contacts"][0].clone();
    assert_eq!((&contact["reachability"], &contact["shown"]), (&json!("busy"), &json!("Away")));
    assert_eq!(lab.show(ANN_AOR)["contacts"][0]["reachability"], json!(null));
    // A device of bob's sees the same at once, without another subscription outside.
    lab.register(BOB, "bob");
    lab.request(BOB, "SUBSCRIBE", BOB_AOR, X, "Event: presence\r\nContact: <sip:bob@192.0.2.2>\r\n", "");
    let _ = lab.response(BOB, 200);
    let told = body_of(&lab.told(BOB));
    assert!(told.contains("<rpid:busy/>") && told.contains("Xaver"), "{told}");
    lab.quiet();
    for (state, body, status) in [
        ("active", "<presence/>".to_owned(), 400),
        ("active", pidf("y@foreign.example", "open"), 400),
        ("active;expires=100", pidf(X, "closed"), 200),
    ] {
        lab.pass(6_000);
        notify(&mut lab, &bobs, state, &body);
        let _ = lab.response(border, status);
    }
    let told = lab.told(BOB);
    assert_eq!(basic(&told).as_deref(), Some("closed"));
    // It is refreshed in its dialog by the way it came, and begun anew when the peer has forgotten it.
    lab.pass(51_000);
    let refresh = lab.expect(border, "SUBSCRIBE");
    assert_eq!(refresh.value(HeaderName::Route), Some("<sip:edge.foreign.example;lr>"));
    assert_eq!(refresh.msg().call_id, bobs.msg().call_id);
    lab.answer(&refresh, 481, "", "");
    lab.pass(0);
    let anew = lab.expect(border, "SUBSCRIBE");
    assert_ne!(anew.msg().call_id, bobs.msg().call_id);
    lab.answer(&anew, 503, "Retry-After: 120\r\n", "");
    lab.pass(119_000);
    // Ann's has had no answer; it goes on on its own.
    while let Some((_, other)) = lab.try_next(border) {
        assert!(other.value(HeaderName::From).is_some_and(|from| from.contains(ANN_AOR)), "{other:?}");
    }
    lab.pass(2_000);
    let again = lab.expect(border, "SUBSCRIBE");
    assert!(again.value(HeaderName::From).is_some_and(|from| from.contains(BOB_AOR)));
    // A NOTIFY of the old dialog is nobody's.
    notify(&mut lab, &bobs, "active", "");
    let _ = lab.response(border, 481);
    // After a restart it begins anew by itself.
    lab.restart();
    lab.pass(1_000);
    let border = lab.opened[0].0;
    let _ = (lab.expect(border, "SUBSCRIBE"), lab.expect(border, "SUBSCRIBE"));
}

#[test]
fn our_own_users_see_each_other_unless_blocked() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.register(ANN, "ann");
    lab.publish(BOB, "bob", "open", None);
    let subscribe = "Event: presence\r\nContact: <sip:ann@192.0.2.3>\r\n";
    lab.request(ANN, "SUBSCRIBE", ANN_AOR, BOB_AOR, subscribe, "");
    let _ = lab.response(ANN, 200);
    assert_eq!(basic(&lab.told(ANN)).as_deref(), Some("open"));
    lab.pass(6_000);
    lab.decide(ANN_AOR, Some("block"));
    assert_eq!(basic(&lab.told(ANN)).as_deref(), Some("closed"));
}

#[test]
fn a_domain_known_only_by_its_parent_is_slowed() {
    let mut lab = Lab::new();
    let mut refused = 0;
    for i in 0..60 {
        lab.request(EDGE, "SUBSCRIBE", &format!("x{i}@a.part.example"), BOB_AOR, SUBSCRIBE, "");
        if status_of(&lab.next(EDGE)) == Some(503) {
            refused += 1;
        } else {
            let _ = lab.told(EDGE);
        }
    }
    assert_eq!(refused, 40);
}

#[test]
fn who_addresses_too_many_of_our_users_is_on_the_watch_list() {
    let mut lab = Lab::new();
    lab.reconfigure("[federation]", "[federation]\nwatch-list = 2");
    for user in ["bob", "ann", "carl"] {
        lab.request(EDGE, "SUBSCRIBE", "x@a.part.example", &format!("{user}@local.example"), SUBSCRIBE, "");
        let answer = lab.next(EDGE);
        if user == "carl" {
            // The third makes it one too many.
            assert_eq!((status_of(&answer), answer.value(HeaderName::RetryAfter)), (Some(503), Some("60")));
        } else {
            assert_eq!(status_of(&answer), Some(200));
            let _ = lab.told(EDGE);
        }
    }
    // One a second from now on, of all names below that one together; a domain that is known by its own name is no part of it.
    lab.pass(1_000);
    for (from, status) in [("y@b.part.example", 200), ("x@a.part.example", 503), (X, 200)] {
        lab.request(EDGE, "SUBSCRIBE", from, BOB_AOR, SUBSCRIBE, "");
        let _ = lab.response(EDGE, status);
        if status == 200 {
            let _ = lab.told(EDGE);
        }
    }
}
