// SPDX-License-Identifier: MIT OR Apache-2.0
//! The web service: REST and events, with users' devices and a foreign user on the other side.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::harness::{DEVICE, EDGE, Node, Peer, header, status};
use crate::http::{Http, read_answer};
use crate::tls::{Ca, tls_of};

const BOB: &str = "bob@local.example";
const ANN: &str = "ann@local.example";
const X: &str = "x@foreign.example";

/// A node with a web service, plain SIP for the peers of the test, and the certificates' folder.
pub struct Web {
    pub node: Node,
    pub http: Http,
    pub folder: tempfile::TempDir,
}

impl Web {
    /// `web` is what more its table has.
    pub fn start(web: &str, extra: &str) -> Self {
        let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
        let extra = format!("{}[web]\nlisten = \"127.0.0.1:0\"\n{web}\n{extra}", tls_of(&ca, folder.path()));
        let node = Node::start("[[listen]]\naddress = \"127.0.0.1:0\"", &extra);
        let http = Http::new(&ca, node.addresses[1]);
        Self { node, http, folder }
    }

    /// Logs a user in, whose password is the first letter of his name.
    async fn log_in(&mut self, user: &str) {
        let body = json!({ "user": user, "password": user[..1], "bearer": true });
        let answer = self.http.api("POST", "/session", Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        self.http.identity = format!("Authorization: Bearer {token}\r\n");
    }

    async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.http.api(method, path, body).await;
        assert!(matches!(answer.status, 200 | 204), "{method} {path}: {answer:?}");
        answer.json()
    }

    async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let answer = self.http.api(method, path, body).await;
        (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
    }

    async fn device(&self, user: &str) -> Peer {
        let mut device = Peer::connect(DEVICE, self.node.addresses[0]).await;
        device.register(user, &user[..1]).await;
        device
    }
}

#[tokio::test]
async fn all_that_is_described_is_there_and_answers_as_described() {
    let mut web = Web::start("", "");
    assert_eq!(web.refused("GET", "/state", None).await.0, 401);
    web.log_in("bob").await;
    assert_eq!(web.ok("GET", "/session", None).await["user"], BOB);
    assert_eq!(web.ok("GET", "/openapi.json", None).await["openapi"], "3.1.0");
    // Contacts.
    web.ok("PUT", "/contacts/sip%3Aann%40local.example", Some(json!({ "name": "Ann \"ä\"" }))).await;
    web.ok("PUT", "/contacts/x@foreign.example", Some(json!({}))).await;
    let contacts = web.ok("GET", "/contacts", None).await;
    assert_eq!((&contacts[0]["address"], &contacts[0]["name"]), (&json!(ANN), &json!("Ann \"ä\"")));
    assert_eq!(contacts[0]["groups"], json!([]));
    let grouped = json!({ "name": "Ann", "groups": ["work", " friends ", "work"] });
    web.ok("PUT", "/contacts/ann@local.example", Some(grouped)).await;
    web.ok("PUT", "/contacts/ann@local.example", Some(json!({ "name": "Ann \"ä\"" }))).await;
    let contacts = web.ok("GET", "/contacts", None).await;
    assert_eq!(
        (&contacts[0]["name"], &contacts[0]["groups"]),
        (&json!("Ann \"ä\""), &json!(["friends", "work"]))
    );
    let nameless = Some(json!({ "groups": [""] }));
    assert_eq!(web.refused("PUT", "/contacts/ann@local.example", nameless).await.0, 422);
    assert_eq!(web.refused("PUT", "/contacts/nobody", Some(json!({}))).await.0, 422);
    web.ok("DELETE", "/contacts/x@foreign.example", None).await;
    assert_eq!(web.refused("DELETE", "/contacts/x@foreign.example", None).await.0, 404);
    // Decisions about a user and a domain.
    web.ok("PUT", "/decisions/x@foreign.example", Some(json!({ "verdict": "allow" }))).await;
    web.ok("PUT", "/decisions/Other.Example", Some(json!({ "verdict": "block" }))).await;
    let decisions = web.ok("GET", "/decisions", None).await;
    assert_eq!(
        decisions,
        json!([{ "who": X, "verdict": "allow" }, { "who": "other.example", "verdict": "block" }])
    );
    assert_eq!(web.refused("PUT", "/decisions/x@y", Some(json!({ "verdict": "maybe" }))).await.0, 422);
    web.ok("DELETE", "/decisions/other.example", None).await;
    assert_eq!(web.ok("GET", "/watchers", None).await, json!([]));
    // Presence.
    web.ok("PUT", "/presence", Some(json!({ "state": "busy", "note": "writing" }))).await;
    let presence = web.ok("GET", "/presence", None).await;
    assert_eq!((&presence["state"], &presence["own"]["note"]), (&json!("busy"), &json!("writing")));
    assert_eq!(web.refused("PUT", "/presence", Some(json!({ "state": "asleep" }))).await.0, 422);
    web.ok("DELETE", "/presence", None).await;
    assert_eq!(web.ok("GET", "/presence", None).await["state"], "unavailable");
    // Preferences.
    web.ok("PUT", "/preferences/unknown-watchers", Some(json!({ "value": "block" }))).await;
    web.ok("PUT", "/preferences/theme", Some(json!({ "value": "dark" }))).await;
    assert_eq!(web.refused("PUT", "/preferences/Theme", Some(json!({ "value": "dark" }))).await.0, 422);
    web.ok("DELETE", "/preferences/theme", None).await;
    assert_eq!(web.refused("DELETE", "/preferences/theme", None).await.0, 404);
    assert_eq!(web.ok("GET", "/preferences", None).await, json!({ "unknown-watchers": "block" }));
    // Texts that go nowhere.
    for (to, status) in [("nobody@local.example", 404), (ANN, 409), ("no address", 422)] {
        assert_eq!(
            web.refused("POST", "/texts", Some(json!({ "to": to, "text": "hi" }))).await.0,
            status,
            "{to}"
        );
    }
    assert_eq!(web.refused("POST", "/texts/0123456789abcdef/received", None).await.0, 404);
    let state = web.ok("GET", "/state", None).await;
    assert_eq!((&state["address"], &state["name"]), (&json!(BOB), &json!("Bob")));
    let mut events = web.http.events().await;
    // The same, but for the listener that there is now.
    let told = events.expect("state").await;
    assert_eq!((&told["contacts"], &told["clients"]), (&state["contacts"], &json!(1)));
    web.ok("DELETE", "/session", None).await;
    assert_eq!(web.refused("GET", "/session", None).await.0, 401);
    // Who has logged out is told nothing more.
    let changed =
        web.node.ask(&json!({ "do": "set-state", "user": BOB, "state": "away", "note": "", "seconds": 60 }));
    assert_eq!((changed, events.next().await), (Ok(Value::Null), None));
    let seen = web.http.seen.lock().expect("whole").clone();
    for operation in web.http.operations() {
        assert!(seen.iter().any(|what| what.starts_with(&operation)), "{operation} has not been tried");
    }
    let counted = web.node.ask(&json!({ "do": "statistics" })).expect("statistics")["web"].clone();
    assert_eq!((&counted["logins"], &counted["sessions"]), (&json!(1), &json!(0)));
    assert!(
        counted["requests"].as_u64() > counted["failures"].as_u64() && counted["failures"].as_u64() > Some(5)
    );
    // What was decided outlives the node.
    web.node.kill();
    web.node.run();
    assert_eq!(web.node.show(BOB)["preferences"], json!({ "unknown-watchers": "block" }));
}

#[tokio::test]
async fn presence_watchers_and_texts_as_they_happen() {
    let mut web = Web::start("", "");
    web.log_in("bob@local.example").await;
    let mut events = web.http.events().await;
    events.expect("state").await;
    web.ok("PUT", "/contacts/ann@local.example", Some(json!({ "name": "Ann" }))).await;
    events.expect("contact").await;
    // ann's device comes and publishes.
    let mut ann = web.device("ann").await;
    let busy = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:ann@local.example'><tuple id='t'><status><basic>open</basic>\
        </status></tuple></presence>";
    let extra = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
    ann.request("PUBLISH", ANN, ANN, extra, busy).await;
    assert_eq!(ann.response().await.map(|answer| status(&answer)), Some(200));
    assert_eq!(events.expect("contact").await["reachability"], "available");
    // A foreign user asks; he hears nothing until bob has let him.
    let mut x = Peer::connect(EDGE, web.node.addresses[0]).await;
    let extra = "Event: presence\r\nContact: <sip:x@127.0.0.2:9;transport=tcp>\r\n";
    x.request("SUBSCRIBE", X, BOB, extra, "").await;
    assert_eq!(x.response().await.map(|answer| status(&answer)), Some(200));
    let pending = x.receive().await.expect("a NOTIFY");
    assert!(header(&pending, "Subscription-State").starts_with("pending"), "{pending}");
    x.answer(&pending, 200).await;
    assert_eq!(events.expect("watcher").await, json!({ "address": X, "status": "pending" }));
    web.ok("PUT", "/decisions/x@foreign.example", Some(json!({ "verdict": "allow" }))).await;
    let active = x.receive().await.expect("a NOTIFY");
    assert!(header(&active, "Subscription-State").starts_with("active"), "{active}");
    x.answer(&active, 200).await;
    assert_eq!(events.expect("watcher").await["status"], "active");
    // What bob says is with ann before he is told so.
    let say = json!({ "to": ANN, "text": "grüß dich" });
    let (said, ()) = tokio::join!(web.http.api("POST", "/texts", Some(say)), async {
        let text = ann.receive().await.expect("a text");
        assert!(text.starts_with("MESSAGE ") && text.ends_with("grüß dich"), "{text}");
        ann.answer(&text, 200).await;
    });
    assert_eq!(said.status, 204, "{said:?}");
    // What ann says is delivered when bob's client says so.
    ann.request("MESSAGE", ANN, BOB, "Content-Type: text/plain\r\n", "selber").await;
    let text = events.expect("text").await;
    assert_eq!((&text["from"], &text["text"]), (&json!(ANN), &json!("selber")));
    let id = text["id"].as_str().expect("a number");
    web.ok("POST", &format!("/texts/{id}/received"), None).await;
    assert_eq!(ann.response().await.map(|answer| status(&answer)), Some(200));
    // A client that has gone is no device any more.
    drop(events);
    let gone = async {
        while web.node.show(BOB)["clients"] != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("it has gone");
    ann.request("MESSAGE", ANN, BOB, "Content-Type: text/plain\r\n", "still there?").await;
    assert_eq!(ann.response().await.map(|answer| status(&answer)), Some(480));
}

#[tokio::test]
async fn a_session_is_a_cookie_that_only_our_own_page_can_use() {
    let mut web = Web::start("", "");
    let answer = web.http.api("POST", "/session", Some(json!({ "user": "bob", "password": "b" }))).await;
    assert!(answer.json()["token"].is_null());
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(pair.starts_with("__Host-fedgate=") && pair.len() == "__Host-fedgate=".len() + 64, "{pair}");
    web.http.identity = format!("Cookie: other=1; {pair}\r\n");
    assert_eq!(web.ok("GET", "/session", None).await["user"], BOB);
    let json = "Content-Type: application/json\r\n";
    for (from, status) in [
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: https://evil.example\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 204),
        ("", 204),
    ] {
        let headers = format!("{json}{from}");
        let answer = web.http.api_with("PUT", "/preferences/a", &headers, "{\"value\":\"b\"}").await;
        assert_eq!(answer.status, status, "{from}");
    }
    // What keeps a browser from doing more than it should is on every answer, the page's as well.
    for path in ["/", "/api/v1/session", "/nothing"] {
        let answer = web.http.ask("GET", path, "", "").await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("cache-control").is_some_and(|value| value.starts_with("no-")));
    }
    let page = web.http.ask("GET", "/", "", "").await;
    let tag = page.header("etag").expect("a tag").to_owned();
    let again = web.http.ask("GET", "/", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert_eq!((page.status, again.status, again.text()), (200, 304, ""));
    assert_eq!(web.http.ask("PATCH", "/api/v1/contacts", "", "").await.status, 405);
}

#[tokio::test]
async fn guessing_is_limited() {
    let web = Web::start("", "");
    let body = |password: &str| Some(json!({ "user": "bob", "password": password, "bearer": true }));
    for _ in 0..10 {
        assert_eq!(web.refused("POST", "/session", body("wrong")).await.0, 401);
    }
    // Not even what is right is looked at, however the name is written.
    let limited = web.http.api("POST", "/session", body("b")).await;
    assert_eq!(limited.status, 429);
    let seconds: u64 = limited.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!((1..=300).contains(&seconds), "{seconds}");
    for same in ["BOB@LOCAL.EXAMPLE", "sips:%62ob@local.example.", " bob "] {
        let body = json!({ "user": same, "password": "b" });
        assert_eq!(web.refused("POST", "/session", Some(body)).await.0, 429, "{same}");
    }
    let ann = json!({ "user": "ann", "password": "a" });
    assert_eq!(web.http.api("POST", "/session", Some(ann)).await.status, 200);
    let counted = web.node.ask(&json!({ "do": "statistics" })).expect("statistics")["web"].clone();
    assert_eq!((&counted["logins-wrong"], &counted["logins-limited"]), (&json!(10), &json!(4)));
}

#[tokio::test]
async fn bad_input_is_named() {
    let mut web = Web::start("", "");
    web.log_in("bob").await;
    let json = "Content-Type: application/json\r\n";
    let long = format!("{{\"value\":\"{}\"}}", "x".repeat(65 << 10));
    for (headers, body, status) in [
        ("Content-Type: text/plain\r\n", "{\"value\":\"b\"}", 415),
        ("", "{\"value\":\"b\"}", 415),
        (json, "{\"value\":", 400),
        (json, "{\"value\":1}", 400),
        (json, "{\"value\":\"b\",\"other\":1}", 400),
        (json, "\u{1}", 400),
        (json, &long, 413),
    ] {
        let answer = web.http.api_with("PUT", "/preferences/a", headers, body).await;
        assert_eq!(answer.status, status, "{headers}{:.40}", body);
    }
    for head in [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut stream = web.http.connect().await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        let answer = read_answer(&mut stream).await;
        assert_eq!(answer.status, 400, "{head}");
    }
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(web.http.ask("GET", "/", &many, "").await.status, 431);
    assert_eq!(web.http.ask("GET", "/", &format!("X: {}\r\n", "x".repeat(20_000)), "").await.status, 431);
}

/// Clients that say half of something and then nothing hold a connection each, and no more than they may have.
#[tokio::test]
async fn the_slow_hold_nobody_else() {
    let web = Web::start("connections-per-address = 40", "");
    let mut slow = Vec::new();
    for n in 0..39 {
        let mut stream = web.http.connect().await;
        let half = if n % 2 == 0 {
            "GET / HTTP/1.1\r\nHost: x\r\nX-Half: "
        } else {
            "POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"user\""
        };
        stream.write_all(half.as_bytes()).await.expect("sent");
        slow.push(stream);
    }
    let start = Instant::now();
    let body = json!({ "user": "bob", "password": "b" });
    assert_eq!(web.http.api("POST", "/session", Some(body)).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // One more than there may be is turned away; a slow body is given up after its time.
    let _last = web.http.connect().await;
    let refused = crate::harness::connect(crate::http::CLIENT, web.node.addresses[1]).await;
    let mut octet = [0];
    let read = timeout(Duration::from_secs(5), refused.peek(&mut octet)).await.expect("closed at once");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let mut body = slow.remove(1);
    let answer = timeout(Duration::from_secs(15), read_answer(&mut body)).await.expect("given up");
    assert_eq!(answer.status, 408);
}
