// SPDX-License-Identifier: MIT OR Apache-2.0
use serde_json::{Value, json};

use super::super::*;
use super::lab::*;

const X: &str = "x@foreign.example";
const BOB_AOR: &str = "bob@local.example";
const ANN_AOR: &str = "ann@local.example";

fn kinds(told: &[(&'static str, Value)]) -> Vec<&'static str> {
    told.iter().map(|(kind, _)| *kind).collect()
}

impl Lab {
    /// The one thing a listener has been told.
    fn notice(&mut self, id: u64, kind: &str) -> Value {
        let told = self.noticed(id);
        assert_eq!(kinds(&told), [kind], "{told:?}");
        told.into_iter().next().expect("it is there").1
    }

    /// bob's client listens, under number 1.
    fn bob_listens(&mut self) {
        self.listen(1, BOB_AOR);
        let state = self.notice(1, "state");
        assert_eq!(state["address"], BOB_AOR);
    }

    fn ann_says(&mut self, text: &str) {
        self.request(ANN, "MESSAGE", ANN_AOR, BOB_AOR, "Content-Type: text/plain\r\n", text);
    }
}

#[test]
fn a_listener_is_told_all_there_is_and_then_what_changes() {
    let mut lab = Lab::new();
    lab.bob_listens();
    lab.command(json!({ "do": "add-contact", "user": BOB_AOR, "contact": ANN_AOR, "name": "Ann" }));
    let ann = lab.notice(1, "contact");
    assert_eq!((&ann["name"], &ann["reachability"]), (&json!("Ann"), &json!("unavailable")));
    lab.register(ANN, "ann");
    lab.publish(ANN, "ann", "busy", None);
    assert_eq!(lab.notice(1, "contact")["reachability"], "busy");
    // ann blocks bob: for him she goes offline, here as in SIP, and what she does is told no more.
    lab.command(json!({ "do": "decide", "user": ANN_AOR, "who": BOB_AOR, "verdict": "block" }));
    assert_eq!(lab.notice(1, "contact")["reachability"], "unavailable");
    assert_eq!(lab.show(BOB_AOR)["contacts"][0]["reachability"], "unavailable");
    let before = lab.show(BOB_AOR)["contacts"].clone();
    lab.publish(ANN, "ann", "open", None);
    let told: Vec<Value> = lab.noticed(1).into_iter().map(|(_, body)| body).collect();
    assert!(told.iter().all(|contact| *contact == before[0]), "{told:?}");
    lab.command(json!({ "do": "remove-contact", "user": BOB_AOR, "contact": ANN_AOR }));
    assert_eq!(lab.notice(1, "contact-removed")["address"], ANN_AOR);
}

#[test]
fn who_asks_to_watch_is_told_and_decided_about() {
    let mut lab = Lab::new();
    lab.bob_listens();
    let extra = "Event: presence\r\nContact: <sip:x@h.example>\r\n";
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, extra, "");
    let _ = (lab.response(EDGE, 200), lab.expect(EDGE, "NOTIFY"));
    assert_eq!(lab.notice(1, "watcher"), json!({ "address": X, "status": "pending" }));
    lab.command(json!({ "do": "decide", "user": BOB_AOR, "who": "foreign.example", "verdict": "allow" }));
    let told = lab.noticed(1);
    assert_eq!(kinds(&told), ["decision", "watcher"]);
    assert_eq!(told[0].1, json!({ "who": "foreign.example", "verdict": "allow" }));
    assert_eq!(told[1].1["status"], "active");
    lab.command(json!({ "do": "decide", "user": BOB_AOR, "who": "foreign.example", "verdict": null }));
    assert_eq!(lab.noticed(1)[0].1["verdict"], Value::Null);
}

#[test]
fn a_text_is_delivered_when_a_client_has_acknowledged_it() {
    let mut lab = Lab::new();
    lab.register(ANN, "ann");
    lab.bob_listens();
    lab.ann_says("are you there?");
    let text = lab.notice(1, "text");
    assert_eq!((&text["from"], &text["text"]), (&json!(ANN_AOR), &json!("are you there?")));
    // Nothing has been delivered yet; a page that is loaded again hears of it again.
    lab.quiet();
    lab.listen(2, BOB_AOR);
    assert_eq!(kinds(&lab.noticed(2)), ["state", "text"]);
    let received = |user: &str| json!({ "do": "received", "user": user, "id": text["id"] });
    assert!(matches!(lab.command(received(ANN_AOR)), Reply::Refused(_)));
    assert_eq!(lab.command(received(BOB_AOR)), Reply::Done);
    let _ = lab.response(ANN, 200);
    // Once only, and nothing is left of it.
    assert!(matches!(lab.command(received(BOB_AOR)), Reply::Refused(_)));
    lab.listen(3, BOB_AOR);
    assert_eq!(kinds(&lab.noticed(3)), ["state"]);
}

#[test]
fn a_text_that_nobody_acknowledges_is_reported_failed() {
    let mut lab = Lab::new();
    lab.register(ANN, "ann");
    lab.bob_listens();
    lab.ann_says("are you there?");
    lab.pass(31_999);
    lab.quiet();
    lab.pass(1);
    let _ = lab.response(ANN, 480);
    let id = lab.notice(1, "text")["id"].clone();
    let late = lab.command(json!({ "do": "received", "user": BOB_AOR, "id": id }));
    assert!(matches!(late, Reply::Refused(_)));
    // Who has gone is not there.
    lab.core.on_gone(1, lab.now);
    lab.ann_says("and now?");
    let _ = lab.response(ANN, 480);
}

#[test]
fn a_device_and_a_client_have_it_both_and_it_counts_once() {
    let mut lab = Lab::new();
    lab.register(ANN, "ann");
    lab.register(BOB, "bob");
    lab.bob_listens();
    lab.ann_says("hello");
    let text = lab.notice(1, "text");
    let leg = lab.expect(BOB, "MESSAGE");
    lab.answer(&leg, 200, "", "");
    let _ = lab.response(ANN, 200);
    let reply = lab.command(json!({ "do": "received", "user": BOB_AOR, "id": text["id"] }));
    assert_eq!(reply, Reply::Done);
    lab.quiet();
}

#[test]
fn a_foreign_session_needs_no_device_where_a_client_listens() {
    let mut lab = Lab::new();
    lab.bob_listens();
    let offer = "Contact: <sip:x@fe.foreign.example>\r\n";
    lab.request(EDGE, "INVITE", X, BOB_AOR, offer, "");
    let ok = lab.response(EDGE, 200);
    lab.within(&ok, "ACK", "", "");
    lab.within(&ok, "MESSAGE", "Content-Type: text/plain\r\n", "hi");
    let text = lab.notice(1, "text");
    lab.quiet();
    lab.command(json!({ "do": "received", "user": BOB_AOR, "id": text["id"] }));
    let _ = lab.response(EDGE, 200);
    let typing = "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>";
    lab.within(&ok, "INFO", "Content-Type: application/xml\r\n", typing);
    let _ = lab.response(EDGE, 200);
    assert_eq!(lab.notice(1, "typing"), json!({ "from": X, "active": true }));
}

#[test]
fn what_a_client_says_goes_the_way_of_what_a_device_says() {
    let mut lab = Lab::new();
    lab.register(ANN, "ann");
    let say = |to: &str| json!({ "do": "say", "user": BOB_AOR, "to": to, "text": "hello" });
    lab.later(7, say(ANN_AOR));
    let leg = lab.expect(ANN, "MESSAGE");
    assert_eq!((body_of(&leg).as_str(), lab.replies.len()), ("hello", 0));
    lab.answer(&leg, 200, "", "");
    assert_eq!(lab.replies, [(7, Reply::Done)]);
    // To a foreign user: a session, and the text in it.
    lab.later(8, say(X));
    let border = lab.opened.last().expect("a connection").0;
    let invite = lab.expect(border, "INVITE");
    let sdp = "v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=session\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=message 5060 sip null\r\n";
    let contact = "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n";
    lab.answer(&invite, 200, contact, sdp);
    let _ = lab.expect(border, "ACK");
    let text = lab.expect(border, "MESSAGE");
    lab.answer(&text, 200, "", "");
    assert_eq!(lab.replies.pop(), Some((8, Reply::Done)));
    // Nobody there, nobody at all, and one who has blocked him, who is nobody there.
    for (to, block, status) in
        [("nobody@local.example", false, 404), (ANN_AOR, true, 480), ("bob@local.example", false, 480)]
    {
        if block {
            lab.command(json!({ "do": "decide", "user": ANN_AOR, "who": BOB_AOR, "verdict": "block" }));
        }
        lab.later(9, say(to));
        assert_eq!(lab.replies.pop(), Some((9, Reply::Failed(status))), "{to}");
        lab.quiet();
    }
}

#[test]
fn one_user_has_so_many_texts_on_their_way() {
    let mut lab = Lab::forgetful();
    lab.register(ANN, "ann");
    for n in 0..40 {
        lab.later(n, json!({ "do": "say", "user": BOB_AOR, "to": ANN_AOR, "text": "hello" }));
    }
    let failed = lab.replies.drain(..).filter(|(_, reply)| *reply == Reply::Failed(503)).count();
    assert_eq!(failed, 8);
    let leg = lab.expect(ANN, "MESSAGE");
    lab.answer(&leg, 200, "", "");
    lab.replies.clear();
    lab.later(50, json!({ "do": "say", "user": BOB_AOR, "to": ANN_AOR, "text": "again" }));
    assert_eq!(lab.replies, []);
}

#[test]
fn a_client_s_state_is_one_publication_and_lives_over_a_restart() {
    let mut lab = Lab::new();
    lab.bob_listens();
    let set = |state: Value, note: &str| json!({ "do": "set-state", "user": BOB_AOR, "state": state, "note": note, "seconds": 300 });
    assert_eq!(lab.command(set(json!("busy"), "in a meeting")), Reply::Done);
    let told = lab.notice(1, "presence");
    assert_eq!((&told["state"], &told["own"]["note"]), (&json!("busy"), &json!("in a meeting")));
    // A device that is there does not speak over one that is busy; the client still shows what was chosen.
    lab.register(BOB, "bob");
    lab.publish(BOB, "bob", "open", None);
    assert_eq!(kinds(&lab.noticed(1)), Vec::<&str>::new());
    assert_eq!(lab.command(set(json!("away"), "")), Reply::Done);
    let told = lab.notice(1, "presence");
    assert_eq!((&told["state"], &told["own"]["state"]), (&json!("available"), &json!("away")));
    assert_eq!(lab.command(set(json!("busy"), "")), Reply::Done);
    lab.restart();
    assert_eq!(lab.show(BOB_AOR)["presence"]["own"]["state"], "busy");
    assert_eq!(lab.command(set(json!("do-not-disturb"), "")), Reply::Done);
    assert_eq!(lab.show(BOB_AOR)["reachability"], "do-not-disturb");
    assert_eq!(lab.command(set(Value::Null, "")), Reply::Done);
    assert_eq!(lab.show(BOB_AOR)["reachability"], "available");
    // It ends by itself, too.
    lab.command(set(json!("busy"), ""));
    lab.pass(300_000);
    assert_eq!(lab.show(BOB_AOR)["presence"]["own"], Value::Null);
    for (state, note, word) in [("asleep", String::new(), "available"), ("busy", "x".repeat(257), "note")] {
        match lab.command(set(json!(state), &note)) {
            Reply::Refused(why) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_preference_decides_about_those_nobody_has_decided_about() {
    let mut lab = Lab::new();
    let prefer =
        |value: Value| json!({ "do": "prefer", "user": BOB_AOR, "name": "unknown-watchers", "value": value });
    let extra = "Event: presence\r\nContact: <sip:x@h.example>\r\n";
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, extra, "");
    let _ = lab.response(EDGE, 200);
    let notify = lab.expect(EDGE, "NOTIFY");
    assert_eq!(state_of(&notify), "pending");
    lab.answer(&notify, 200, "", "");
    assert!(matches!(lab.command(prefer(json!("perhaps"))), Reply::Refused(_)));
    assert_eq!(lab.command(prefer(json!("allow"))), Reply::Done);
    let notify = lab.expect(EDGE, "NOTIFY");
    assert_eq!(state_of(&notify), "active");
    lab.answer(&notify, 200, "", "");
    lab.restart();
    assert_eq!(lab.show(BOB_AOR)["preferences"], json!({ "unknown-watchers": "allow" }));
    lab.request(EDGE, "SUBSCRIBE", "y@foreign.example", BOB_AOR, extra, "");
    let _ = lab.response(EDGE, 200);
    let told = loop {
        let notify = lab.expect(EDGE, "NOTIFY");
        if notify.msg().to.uri.text.contains("y@") {
            break notify;
        }
    };
    assert_eq!(state_of(&told), "active");
    assert_eq!(lab.command(prefer(Value::Null)), Reply::Done);
    assert!(matches!(lab.command(prefer(Value::Null)), Reply::Refused(_)));
}

#[test]
fn the_oldest_listener_makes_room() {
    let mut lab = Lab::new();
    for id in 1..=17 {
        lab.listen(id, BOB_AOR);
    }
    assert_eq!(lab.silenced, [1]);
    lab.listen(18, "nobody@local.example");
    assert_eq!(lab.silenced, [1, 18]);
    assert_eq!(lab.show(BOB_AOR)["clients"], 16);
    for id in 2..=17 {
        lab.core.on_gone(id, lab.now);
    }
    assert_eq!(lab.show(BOB_AOR)["clients"], 0);
}

#[test]
fn a_password_is_judged_and_never_printed() {
    let mut lab = Lab::new();
    let mut judged = |user: &str, password: &str| {
        let command = Command::LogIn { user: user.to_owned(), password: Password::new(password) };
        assert!(!format!("{command:?}").contains("secret"));
        lab.core.command(0, command).expect("a reply at once")
    };
    assert_eq!(judged("Bob@Local.Example", "b"), Reply::Told(json!({ "user": BOB_AOR, "directory": null })));
    for (user, password) in [(BOB_AOR, "secret"), (BOB_AOR, ""), ("nobody@local.example", "b"), ("", "b")] {
        assert!(matches!(judged(user, password), Reply::Refused(_)), "{user}");
    }
    // Nobody asks that by the control socket.
    assert!(
        serde_json::from_value::<Command>(json!({ "do": "log-in", "user": BOB_AOR, "password": "b" }))
            .is_err()
    );
}
