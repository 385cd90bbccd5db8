// SPDX-License-Identifier: MIT OR Apache-2.0
use fedgate_sip::headers::HeaderName;
use serde_json::json;

use super::super::*;
use super::lab::*;

const X: &str = "x@foreign.example";
const ANN_AOR: &str = "ann@local.example";
const BOB_AOR: &str = "bob@local.example";
const CAROL_AOR: &str = "carol@local.example";
/// Carol's device.
const CAROL: ConnId = BOB;
const SUBSCRIBE: &str = "Event: presence\r\nExpires: 7200\r\nContact: <sip:x@fe.foreign.example>\r\n";
const WINFO: &str = "Event: presence.winfo\r\nContact: <sip:c@192.0.2.2>\r\n";

impl Lab {
    fn done(&mut self, command: serde_json::Value) {
        assert_eq!(self.command(command.clone()), Reply::Done, "{command}");
    }

    fn refusal(&mut self, command: serde_json::Value) -> String {
        match self.command(command) {
            Reply::Refused(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn add_carol(&mut self) {
        self.done(
            json!({ "do": "add-user", "user": "Carol@local.example", "name": "Carol", "password": "c" }),
        );
    }

    /// `from` subscribes on `conn`; the NOTIFYs that come are answered.
    fn subscribes(&mut self, conn: ConnId, from: &str, to: &str, extra: &str) {
        self.request(conn, "SUBSCRIBE", from, to, extra, "");
        let _ = self.response(conn, 200);
        assert_ne!(self.notified(conn), []);
    }

    /// Subscription-State and body of the NOTIFYs that have come on `conn`, which are answered.
    fn notified(&mut self, conn: ConnId) -> Vec<(String, String)> {
        let mut all = Vec::new();
        while let Some((_, notify)) = self.try_next(conn) {
            assert_eq!(notify.msg().method_name(), Some("NOTIFY"), "{notify:?}");
            self.answer(&notify, 200, "", "");
            let state = notify.value(HeaderName::SubscriptionState).expect("a state").to_owned();
            all.push((state, body_of(&notify)));
        }
        all
    }
}

#[test]
fn one_who_is_added_is_a_user_and_one_who_is_removed_is_none() {
    let mut lab = Lab::new();
    lab.request(EDGE, "SUBSCRIBE", X, CAROL_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 404);
    lab.add_carol();
    lab.restart();
    lab.register(CAROL, "carol");
    lab.publish(CAROL, "carol", "busy", None);
    lab.done(json!({ "do": "decide", "user": CAROL_AOR, "who": X, "verdict": "allow" }));
    lab.register(ANN, "ann");
    lab.subscribes(EDGE, X, CAROL_AOR, SUBSCRIBE);
    lab.subscribes(ANN, ANN_AOR, CAROL_AOR, SUBSCRIBE);
    lab.subscribes(CAROL, CAROL_AOR, CAROL_AOR, WINFO);
    lab.subscribes(CAROL, CAROL_AOR, ANN_AOR, SUBSCRIBE);
    lab.done(json!({ "do": "add-contact", "user": CAROL_AOR, "contact": X }));
    lab.pass(0);
    let border = lab.opened[0].0;
    let outward = lab.expect(border, "SUBSCRIBE");
    lab.answer(&outward, 200, "Contact: <sip:x@fe.foreign.example>\r\nExpires: 3600\r\n", "");
    lab.listen(7, CAROL_AOR);
    lab.quiet();

    lab.done(json!({ "do": "remove-user", "user": CAROL_AOR }));
    for conn in [EDGE, ANN] {
        let told = lab.notified(conn);
        let [(state, body)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(state, "terminated;reason=noresource");
        assert!(body.contains("closed") && !body.contains("busy"), "{body}");
    }
    let rejected = ("terminated;reason=rejected".to_owned(), String::new());
    assert_eq!(lab.notified(CAROL), [rejected.clone(), rejected]);
    assert_eq!(lab.expect(border, "SUBSCRIBE").value(HeaderName::Expires), Some("0"));
    assert_eq!(lab.silenced, [7]);
    lab.quiet();
    assert!(lab.core.subs.is_empty() && lab.core.publications.is_empty() && lab.core.bindings.len() == 1);
    // Her device has proved nothing any more, and nobody finds her.
    for (method, status) in [("REGISTER", 401), ("PUBLISH", 401), ("SUBSCRIBE", 401)] {
        lab.request(CAROL, method, CAROL_AOR, CAROL_AOR, "", "");
        let _ = lab.response(CAROL, status);
    }
    lab.request(EDGE, "SUBSCRIBE", X, CAROL_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 404);
    assert!(lab.refusal(json!({ "do": "show", "user": CAROL_AOR })).contains("no user"));
    lab.restart();
    assert!(lab.refusal(json!({ "do": "show", "user": CAROL_AOR })).contains("no user"));
    assert!(lab.core.subs.is_empty() && lab.core.publications.is_empty() && lab.core.bindings.len() == 1);
    // One who comes back has the list she had, and it is watched.
    lab.add_carol();
    assert_eq!(lab.show(CAROL_AOR)["contacts"].as_array().map(Vec::len), Some(1));
    lab.pass(0);
    assert_eq!(lab.opened.len(), 1);
}

#[test]
fn a_session_ends_with_its_user() {
    const OFFER: &str = "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n";
    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 5060 sip null\r\na=accept-types:text/plain\r\n";
    let mut lab = Lab::new();
    lab.add_carol();
    lab.register(CAROL, "carol");
    lab.request(EDGE, "INVITE", X, CAROL_AOR, OFFER, SDP);
    let ok = lab.response(EDGE, 200);
    lab.within(&ok, "ACK", "", "");
    assert_eq!(lab.core.sessions.len(), 1);
    lab.done(json!({ "do": "remove-user", "user": CAROL_AOR }));
    let _ = lab.expect(EDGE, "BYE");
    assert_eq!((lab.core.sessions.len(), lab.core.pairs.len()), (0, 0));
}

#[test]
fn a_changed_password_counts_at_once() {
    let mut lab = Lab::new();
    lab.add_carol();
    lab.register(CAROL, "carol");
    lab.request(CAROL, "REGISTER", CAROL_AOR, CAROL_AOR, "", "");
    let _ = lab.response(CAROL, 200);
    lab.done(json!({ "do": "change-password", "user": CAROL_AOR, "password": "new" }));
    // What the connection has proved was by the old one.
    for restarted in [false, true] {
        for (password, status) in [("c", 401), ("new", 200)] {
            lab.request(CAROL, "REGISTER", CAROL_AOR, CAROL_AOR, "", "");
            let challenge = lab.response(CAROL, 401);
            let offered = challenge.named("WWW-Authenticate").next().expect("a challenge").to_owned();
            let proof = credentials(&offered, "carol", password, "REGISTER", "sip:carol@local.example", 1);
            lab.request(CAROL, "REGISTER", CAROL_AOR, CAROL_AOR, &proof, "");
            assert_eq!(status_of(&lab.next(CAROL)), Some(status), "{password} {restarted}");
        }
        // The registration has stayed.
        assert_eq!(lab.show(CAROL_AOR)["devices"], 1);
        lab.restart();
    }
}

#[test]
fn users_of_the_file_are_not_the_commands_and_no_name_stands_twice() {
    let mut lab = Lab::new();
    lab.add_carol();
    let add = |user: &str| json!({ "do": "add-user", "user": user, "password": "x" });
    for (command, word) in [
        (add("bob@local.example"), "file of users"),
        (add(CAROL_AOR), "already"),
        (add("dan"), "--domain"),
        (add("dan@else.example"), "domains"),
        (json!({ "do": "add-user", "user": "dan@local.example" }), "no password"),
        (
            json!({ "do": "add-user", "user": "dan@local.example", "node": "cup9.local.example" }),
            "there is no node",
        ),
        (json!({ "do": "change-password", "user": BOB_AOR, "password": "x" }), "file of users"),
        (json!({ "do": "change-password", "user": CAROL_AOR, "password": "" }), "octets"),
        (json!({ "do": "remove-user", "user": BOB_AOR }), "file of users"),
        (json!({ "do": "remove-user", "user": "dan@local.example" }), "no such user"),
    ] {
        let why = lab.refusal(command.clone());
        assert!(why.contains(word), "{command}: {why}");
    }
    let Reply::Told(shown) = lab.command(json!({ "do": "users" })) else { panic!("not told") };
    let node = "cup.local.example";
    assert_eq!(
        shown,
        json!([
            { "address": ANN_AOR, "from": ["file"], "node": node },
            { "address": BOB_AOR, "name": "Bob", "from": ["file"], "node": node },
            { "address": CAROL_AOR, "name": "Carol", "from": ["store"], "node": node },
        ])
    );
    // A file that names her later goes before the store.
    lab.users += "[[user]]\naddress = \"carol@local.example\"\npassword = \"f\"\n";
    lab.restart();
    let Reply::Told(shown) = lab.command(json!({ "do": "users" })) else { panic!("not told") };
    assert_eq!(shown[2]["from"], json!(["file", "store"]));
    lab.done(json!({ "do": "remove-user", "user": CAROL_AOR }));
    assert_eq!(lab.show(CAROL_AOR)["address"], CAROL_AOR);
}

/// The directory's way: the whole table is another.
#[test]
fn who_leaves_with_the_directory_leaves_as_one_who_is_removed() {
    let mut lab = Lab::new();
    lab.add_carol();
    lab.subscribes(EDGE, X, BOB_AOR, SUBSCRIBE);
    lab.subscribes(EDGE, X, CAROL_AOR, SUBSCRIBE);
    let fewer = lab.users.replace("bob@", "rob@");
    lab.replace_users(&fewer);
    let told = lab.notified(EDGE);
    // He had not decided about her: she is told nothing of him but that he is gone.
    assert_eq!(told, [("terminated;reason=noresource".to_owned(), String::new())]);
    assert_eq!(lab.core.subs.len(), 1);
    assert!(lab.refusal(json!({ "do": "show", "user": BOB_AOR })).contains("no user"));
    assert_eq!(lab.show(CAROL_AOR)["name"], "Carol");
}

#[test]
fn one_who_is_added_on_another_node_is_watched_there() {
    const OTHER: &str = "[tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n[[node]]\nname = \"cup2.local.example\"\nto = [\"cup2:5061\"]\n";
    let users = "[[user]]\naddress = \"ann@local.example\"\npassword = \"a\"\n";
    let mut lab = Lab::of(OTHER, "cup.local.example", users);
    lab.done(json!({ "do": "add-contact", "user": ANN_AOR, "contact": CAROL_AOR }));
    lab.pass(0);
    assert!(lab.opened.is_empty());
    lab.done(json!({ "do": "add-user", "user": CAROL_AOR, "node": "cup2.local.example" }));
    lab.pass(0);
    let there = lab.opened[0].0;
    let subscribe = lab.expect(there, "SUBSCRIBE");
    lab.answer(&subscribe, 200, "Contact: <sip:carol@cup2.local.example>\r\nExpires: 3600\r\n", "");
    let why = lab.refusal(json!({ "do": "change-password", "user": CAROL_AOR, "password": "x" }));
    assert!(why.contains("at home on cup2.local.example"), "{why}");
    lab.done(json!({ "do": "remove-user", "user": CAROL_AOR }));
    assert_eq!(lab.expect(there, "SUBSCRIBE").value(HeaderName::Expires), Some("0"));
    lab.quiet();
}
