// SPDX-License-Identifier: MIT OR Apache-2.0
//! The attacks that a federation border must expect, one by one: framing, smuggling, spoofing, floods, and each what
//! becomes of it over real TLS.
//!
//! What only takes bytes is one call of [`say`], which puts them into the mouth of a permitted partner and shows what it
//! heard back and what reached the inside. Bounds that take load or time to see are in `hostile` and `ends` too. A border that
//! adds no Via of its own leaves to the server what only a server can refuse (420 to Require, 415, 423); such rows
//! say that it passes untouched.

use crate::pki::{Authority, tls_client, tls_client_config};
use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg, Limits, Micros};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection};
use std::sync::Arc;

struct Seen {
    s: Scene,
    n: usize,
    answers: String,
    passed: String,
}

/// What comes of it when `foreign.example` says this.
fn say(text: impl AsRef<[u8]>) -> Seen {
    let mut s = Scene::new();
    s.lab.domains.permit("partner.example", 8);
    let n = s.inward();
    s.client_says(n, text);
    s.lab.settle(secs(5));
    let (answers, passed) = (s.lab.lines[n].client.heard_text(), s.lab.lines[n].server.heard_text());
    Seen { s, n, answers, passed }
}

impl Seen {
    /// Nothing went inside, this is the answer, and the connection goes on.
    fn denied(self, status: u16) {
        assert!(self.answers.starts_with(&format!("SIP/2.0 {status} ")), "{status}: {}", self.answers);
        self.went_nowhere();
    }

    /// Neither passed nor answered.
    fn dropped(self) {
        assert_eq!(self.answers, "");
        self.went_nowhere();
    }

    fn went_nowhere(mut self) {
        assert_eq!(self.s.lab.lines[self.n].sent[1], 0, "the inside heard of it");
        self.s.client_says(self.n, message_in(99));
        self.s.lab.settle(secs(5));
        assert_eq!(self.s.lab.lines[self.n].server.heard_text(), message_in(99), "the connection goes on");
    }

    /// The stream ends, after this answer.
    fn closed(self, status: u16) {
        let want = format!("SIP/2.0 {status} ");
        assert!(self.answers.starts_with(&want), "{status}: {}", self.answers);
        self.ends();
    }

    /// The stream ends before there was anything that an answer could be made of.
    fn cut_off(self) {
        assert_eq!(self.answers, "");
        self.ends();
    }

    fn ends(mut self) {
        self.s.lab.settle(secs(60));
        assert_eq!(self.s.lab.lines[self.n].closed, Some(CloseReason::Unframeable(Leg::Client)));
        assert_eq!(self.s.lab.lines[self.n].sent[1], 0);
    }

    fn passes(self, text: &str) {
        assert_eq!((self.passed.as_str(), self.answers.as_str()), (text, ""));
    }
}

/// [`message_in`] with one part of its text changed.
fn with(old: &str, new: &str) -> String {
    let text = message_in(1);
    assert!(text.contains(old), "{old}");
    text.replacen(old, new, 1)
}

/// [`message_in`] with a header more.
fn plus(header: &str) -> String {
    with("Content-Type: ", &format!("{header}\r\nContent-Type: "))
}

const LENGTH: &str = "Content-Length: 5\r\n";
const FROM: &str = "From: <sip:alice@foreign.example>;tag=a1";

#[test]
fn attack_01_sizes() {
    say(with("sip:bob@", &format!("sip:{}@", "b".repeat(9000)))).cut_off();
    say(plus(&format!("X: {}", "x".repeat(9000)))).closed(513);
    say(plus(&format!("X: {}", "x".repeat(7000))).replace("X: x", &"X: x\r\n".repeat(300))).closed(513);
    say(plus(&vec![format!("X: {}", "x".repeat(7000)); 10].join("\r\n"))).closed(513);
    say(plus(&vec!["Via: SIP/2.0/TLS a;branch=z9hG4bK2"; 80].join("\r\n"))).denied(513);
}

#[test]
fn attack_02_no_content_length() {
    say(with(LENGTH, "")).closed(400);
}

#[test]
fn attack_03_strange_content_lengths() {
    for length in
        ["-5", "+5", "0x5", "5e0", "", "4294967301", "99999999999999999999999999999999", "5 5", "\t\r\n 5"]
    {
        say(with(LENGTH, &format!("Content-Length: {length}\r\n"))).closed(400);
    }
}

#[test]
fn attack_04_two_content_lengths() {
    for other in ["Content-Length: 5", "Content-Length: 0", "l: 5", "Content_Length: 5", " Content-Length: 5"]
    {
        say(with(LENGTH, &format!("{LENGTH}{other}\r\n"))).closed(400);
    }
}

#[test]
fn attack_05_a_body_above_the_limit() {
    say(with(LENGTH, "Content-Length: 70000\r\n")).closed(413);
}

#[test]
fn attack_06_a_request_behind_a_short_length() {
    let hidden = request("MESSAGE", "evil.example", "local.example", 2, "psst");
    let text = format!("{}{hidden}", message_in(1));
    let mut seen = say(&text);
    assert_eq!(seen.passed, message_in(1), "the tail is a message of its own");
    assert!(seen.answers.starts_with("SIP/2.0 403 "));
    // A body that looks like one stays a body.
    let body = request("MESSAGE", "evil.example", "local.example", 3, "psst");
    let whole = request("MESSAGE", "foreign.example", "local.example", 4, &body);
    seen.s.client_says(seen.n, &whole);
    seen.s.lab.settle(secs(2));
    assert_eq!(seen.s.lab.lines[seen.n].server.heard_text(), message_in(1) + &whole);
}

#[test]
fn attack_07_many_in_one_record_and_one_in_many() {
    let many: String = (0..20).map(message_in).collect();
    say(&many).passes(&many);
    let utf8 = request("MESSAGE", "foreign.example", "local.example", 1, "gr\u{fc}\u{df}e");
    let mut s = Scene::new();
    let n = s.inward();
    for octet in utf8.bytes() {
        s.client_says(n, [octet]);
        s.lab.settle(Micros(300));
    }
    s.lab.settle(secs(2));
    assert_eq!(s.lab.lines[n].server.heard_text(), utf8);
}

#[test]
fn attack_08_keep_alives() {
    let storm = "\r\n\r\n".repeat(20_000) + &message_in(1);
    let mut seen = say(&storm);
    seen.s.lab.settle(secs(10));
    assert_eq!(seen.s.lab.lines[seen.n].server.heard_text(), message_in(1), "none of it goes inside");
}

#[test]
fn attack_09_folding() {
    say(with("SIP/2.0\r\n", "SIP/2.0\r\n ")).cut_off();
    say(with(LENGTH, "Content-Length:\r\n 5\r\n")).closed(400);
    let folded = with(FROM, "From:\r\n\t<sip:alice@foreign.example>\r\n ;tag=a1");
    say(&folded).passes(&folded);
    say(with(FROM, "From:\r\n <sip:alice@evil.example>\r\n ;tag=<sip:a@foreign.example>")).denied(400);
    say(with(FROM, "From:\r\n <sip:alice@evil.example>;tag=a1")).denied(403);
}

#[test]
fn attack_10_line_ends_and_controls() {
    for bad in ["X: y\nZ: z", "X: y\rZ: z", "X: a\0b", "\n"] {
        say(plus(bad)).closed(400);
    }
    say(plus("X: a\u{1}b")).denied(400);
    say(plus("X: a\u{7f}b")).denied(400);
}

#[test]
fn attack_11_header_names() {
    let spaced = with("From: ", "From : ");
    say(&spaced).passes(&spaced);
    for bad in
        ["Fr\u{43e}m: <sip:boss@local.example>", "From(: x", ": x", "no colon", "From<: x", "-------: x"]
    {
        say(plus(bad)).denied(400);
    }
    say(plus("From\t: <sip:boss@local.example>;tag=2")).denied(400);
}

#[test]
fn attack_12_utf8() {
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80"] {
        let text = plus("X: @");
        let at = text.find('@').expect("the first is the URI's");
        let at = text[at + 1..].find("X: @").expect("the header") + at + 1 + 3;
        let mut octets = text.into_bytes();
        octets.splice(at..=at, bad.iter().copied());
        say(octets).denied(400);
    }
    say(with("From: <", "From: \u{feff}<")).denied(400);
    say(with("From: <", "From: \"\u{feff}x\" <")).denied(400);
}

#[test]
fn attack_13_compact_forms() {
    let compact = message_in(1)
        .replace("Via:", "v:")
        .replace("From:", "f:")
        .replace("To:", "t:")
        .replace("Call-ID:", "i:")
        .replace("Content-Type:", "c:")
        .replace("Content-Length:", "l:");
    say(&compact).passes(&compact);
    say(plus("f: <sip:boss@local.example>;tag=2")).denied(400);
}

#[test]
fn attack_14_headers_that_stand_once() {
    for twice in [
        "From: <sip:b@foreign.example>;tag=2",
        "To: <sip:c@local.example>",
        "Call-ID: 2",
        "CSeq: 1 MESSAGE",
        "Max-Forwards: 70",
        "Event: presence\r\no: presence",
    ] {
        say(plus(twice)).denied(400);
    }
    say(with(FROM, "From: <sip:alice@foreign.example>;tag=a1, <sip:boss@local.example>")).denied(400);
}

#[test]
fn attack_15_display_names() {
    say(with(FROM, "From: \"bob@foreign.example\" <sip:x@evil.example>;tag=1")).denied(403);
    say(with(FROM, "From: \"<sip:a@foreign.example>\" <sip:x@evil.example>;tag=1")).denied(403);
    say(with(FROM, "From: <sip:a@foreign.example> <sip:b@evil.example>;tag=1")).denied(400);
    say(with(FROM, "From: <sip:a@evil.example>;tag=1 <sip:a@foreign.example>")).denied(400);
}

#[test]
fn attack_16_uris() {
    let from = |uri: &str| say(with("sip:alice@foreign.example", uri));
    from("sip:user@foreign.example@evil.example").denied(400);
    from("sip:user%40foreign.example@evil.example").denied(403);
    from("sip:foreign.example:x@evil.example").denied(403);
    from("sip:x@evil.example;p=foreign.example").denied(403);
    from("sip:x@evil.example;p=@foreign.example").denied(400);
    from("sip:x@foreign.example?From=%3Csip:boss@local.example%3E").denied(400);
    from("sip:x@foreign.example%2eevil.example").denied(400);
    say(with("sip:bob@local.example SIP", "sip:bob@local.example?Route=x SIP")).denied(400);
}

#[test]
fn attack_17_certificates() {
    // Permitted, and another partner's certificate.
    say(with(FROM, "From: <sip:alice@partner.example>;tag=a1")).denied(403);
    // A wildcard, a user's URI, a CN beside a SAN: none of them speaks for the domain (RFC 5922).
    let names: [&dyn Fn(&Authority) -> crate::pki::Leaf; 4] = [
        &|ca| ca.leaf(&["*.example"]),
        &|ca| ca.leaf(&["sip:alice@foreign.example"]),
        &|ca| {
            ca.leaf_with(&["other.example"], |p| {
                p.distinguished_name.push(rcgen::DnType::CommonName, "foreign.example")
            })
        },
        &|ca| {
            ca.leaf_with(&[], |p| {
                p.distinguished_name.push(rcgen::DnType::CommonName, "foreign.example\0.evil.example")
            })
        },
    ];
    for leaf in names {
        let mut s = Scene::new();
        s.foreign = leaf(&s.ca);
        let n = s.inward();
        s.client_says(n, message_in(1));
        s.lab.settle(secs(5));
        assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 "));
        assert_eq!(s.lab.lines[n].sent[1], 0);
    }
    // One that is only good for servers does not open a connection.
    let mut s = Scene::new();
    s.foreign = s.ca.leaf_with(&["foreign.example"], |p| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let n = s.inward();
    s.client_says(n, message_in(1));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsFailed(Leg::Client)));
}

#[test]
fn attack_18_spoofs_and_relays() {
    say(with("alice@foreign.example", "alice@local.example")).denied(403);
    say(with("To: <sip:bob@local.example>", "To: <sip:bob@elsewhere.example>")).denied(403);
    say(with("sip:bob@local.example SIP", "sip:bob@elsewhere.example SIP")).denied(403);
    say(with("sip:bob@local.example SIP", "sip:bob@local.example;maddr=198.51.100.9 SIP")).denied(403);
    say(plus("Route: <sip:elsewhere.example;lr>")).denied(403);
    let own = plus("Route: <sip:edge.local.example:5061;transport=tls;lr>");
    say(&own).passes(&own);
    // The server behind us is nobody's port scanner.
    say(with("sip:bob@local.example SIP", "sip:bob@local.example:22 SIP")).denied(403);
    say(plus("Route: <sip:edge.local.example:8443;lr>")).denied(403);
}

#[test]
fn attack_19_responses_to_nothing() {
    say(response("MESSAGE", "local.example", "foreign.example", 1)).dropped();
    for host in ["255.255.255.255", "0.0.0.0", "224.0.0.1"] {
        let text = response("MESSAGE", "local.example", "foreign.example", 1);
        say(text.replace("edge.local.example", host)).dropped();
    }
}

#[test]
fn attack_20_max_forwards() {
    let hops = |text: &str| with("Max-Forwards: 70\r\n", text);
    say(hops("Max-Forwards: 0\r\n")).denied(483);
    say(hops("Max-Forwards: 256\r\n")).denied(400);
    say(hops("Max-Forwards: -1\r\n")).denied(400);
    for good in ["Max-Forwards: 070\r\n", ""] {
        say(hops(good)).passes(&hops(good));
    }
}

#[test]
fn attack_21_versions() {
    say(with("SIP/2.0\r\n", "SIP/3.0\r\n")).denied(505);
    let lower = with("SIP/2.0\r\n", "sip/2.0\r\n");
    say(&lower).passes(&lower);
}

#[test]
fn attack_22_methods() {
    for method in ["REGISTER", "PUBLISH", "register"] {
        let seen = say(request(method, "foreign.example", "local.example", 1, ""));
        assert!(seen.answers.contains("\r\nAllow: "));
        seen.denied(405);
    }
    for method in ["REFER", "BENOTIFY", "SERVICE", "NEGOTIATE", "X"] {
        let text = request(method, "foreign.example", "local.example", 1, "");
        say(&text).passes(&text);
    }
    say(request(&"X".repeat(1024), "foreign.example", "local.example", 1, "")).denied(400);
}

#[test]
fn attack_23_extensions() {
    let seen = say(plus("Proxy-Require: foo, ms-benotify\r\nRequire: bar"));
    assert!(seen.answers.contains("\r\nUnsupported: foo, ms-benotify, bar\r\n"), "{}", seen.answers);
    seen.denied(420);
    for good in ["Proxy-Require: ms-benotify", "Require: foo"] {
        say(plus(good)).passes(&plus(good));
    }
}

/// Bodies are opaque: nothing is unpacked, parsed or believed here, so nothing in them can hurt here.
#[test]
fn attack_24_bodies() {
    let bomb =
        format!("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"&b;&b;\">]>{}", "<a>".repeat(10_000));
    for (kind, body) in [
        ("application/pidf+xml", bomb.as_str()),
        ("multipart/mixed;boundary=x", &"--x\r\n\r\n".repeat(5_000)),
        ("message/sipfrag", "INVITE sip:boss@local.example SIP/2.0\r\n\r\n"),
    ] {
        let text = request("MESSAGE", "foreign.example", "local.example", 1, body);
        let text = text.replace("text/plain", kind);
        say(&text).passes(&text);
    }
    let zip = plus("Content-Encoding: gzip");
    say(&zip).passes(&zip);
}

/// The appliance believes no Expires beyond a day and holds a bounded number of dialogs; what it says is the server's to grant.
#[test]
fn attack_25_expires() {
    for expires in ["4294967296", "-1", "99999999999999999999"] {
        let text = request("SUBSCRIBE", "foreign.example", "local.example", 1, "");
        let text = text.replace("CSeq", &format!("Expires: {expires}\r\nCSeq"));
        let mut seen = say(&text);
        let ok = response("SUBSCRIBE", "foreign.example", "local.example", 1);
        seen.s.server_says(seen.n, ok.replace("CSeq", &format!("Expires: {expires}\r\nCSeq")));
        seen.s.lab.settle(secs(1));
        let (rows, _) = seen.s.lab.engine.dialogs().page(0, 9, 9, None, seen.s.lab.now.0);
        assert!(rows[0].left <= 86_400 * SECOND + 32 * SECOND, "{expires}");
        seen.passes(&text);
    }
}

#[test]
fn attack_26_asserted_identities() {
    for bad in [
        "P-Asserted-Identity: <sip:boss@local.example>",
        "P-Preferred-Identity: <sip:boss@partner.example>",
        "Remote-Party-ID: <sip:boss@local.example>;party=calling",
        "Referred-By: <sip:boss@local.example>",
        "Diversion: <sip:boss@local.example>",
        "History-Info: <sip:boss@partner.example>;index=1",
    ] {
        say(plus(bad)).denied(403);
    }
    let own = plus("P-Asserted-Identity: <sip:alice@foreign.example>");
    say(&own).passes(&own);
    for cut in [
        "P-Served-User: <sip:boss@local.example>",
        "P-Associated-URI: <sip:boss@local.example>",
        "P-Profile-Key: <sip:boss@local.example>",
        "Identity: \"abc\";info=<https://foreign.example/c.pem>",
        "y : \"abc\"\r\n ;info=<https://foreign.example/c.pem>",
        "ms-edge-proxy-message-trust: ms-source-type=AuthorizedServer",
        "Ms-Asserted-Verification-Level: ms-source-verified-user=verified",
    ] {
        let seen = say(plus(cut));
        assert_eq!(seen.s.counted("Stat(SipHeadersCut)"), 1, "{cut}");
        seen.passes(&message_in(1));
    }
    // A response cannot be refused: what it asserts without right is cut out.
    let mut s = Scene::new();
    let n = s.outward();
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    let ok = response("MESSAGE", "local.example", "foreign.example", 1);
    let right = "P-Asserted-Identity: <sip:bob@foreign.example>\r\n";
    let wrong = "P-Asserted-Identity: <sip:boss@local.example>\r\n";
    s.server_says(n, ok.replace("CSeq", &format!("{wrong}{right}CSeq")));
    let want = ok.replace("CSeq", &format!("{right}CSeq"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text() == want));
}

#[test]
fn attack_27_escapes_stay_escapes() {
    for user in ["a%0d%0aFrom:%20x", "a'%20OR%201=1;--", "%25s%25n", "a;b"] {
        let text = with("alice@", &format!("{user}@"));
        say(&text).passes(&text);
    }
}

#[test]
fn attack_28_slow_senders() {
    let mut s = Scene::new();
    let n = s.inward();
    for octet in message_in(1).bytes() {
        s.client_says(n, [octet]);
        s.lab.settle(secs(5));
        if s.lab.lines[n].closed.is_some() {
            break;
        }
    }
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::MessageTimeout(Leg::Client)));
    assert_eq!(s.lab.lines[n].client.heard_text(), "");
}

/// TLS 1.0 and SSL 3.0; renegotiation and compression rustls does not have.
#[test]
fn attack_29_old_tls() {
    for version in [0u8, 1] {
        let mut hello = vec![3, version];
        hello.extend([7; 32]);
        // No session, two suites (RSA with AES-CBC, and NULL), no compression.
        hello.extend([0, 0, 4, 0, 0x2f, 0, 0x01, 1, 0]);
        let mut record = vec![22, 3, version, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
        record.extend(hello);
        let mut s = Scene::new();
        let n = s.lab.line(Leg::Client, None, None);
        s.client_says(n, record);
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsFailed(Leg::Client)));
        assert_eq!(s.lab.lines[n].client.heard.first(), Some(&21), "an alert");
    }
}

#[test]
fn attack_30_early_data() {
    let mut s = Scene::new();
    let mut config = tls_client_config(&s.ca, Some(&s.foreign));
    config.enable_early_data = true;
    let config = Arc::new(config);
    for round in 0..2 {
        let name = ServerName::try_from("edge.local.example").expect("a name");
        let mut client = ClientConnection::new(config.clone(), name).expect("a client");
        assert!(client.early_data().is_none(), "round {round}: no ticket allows it");
        let server = s.server(&s.inside);
        let n = s.lab.line(Leg::Client, Some(Connection::Client(client)), server);
        s.client_says(n, message_in(1));
        assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    }
}

#[test]
fn attack_31_ends_in_the_middle() {
    for polite in [true, false] {
        let mut s = Scene::new();
        let n = s.inward();
        let cut = message_in(2);
        s.client_says(n, message_in(1) + &cut[..cut.len() - 2]);
        s.lab.lines[n].client.hangs_up = polite;
        s.lab.lines[n].client.cuts_off = !polite;
        s.lab.touch(n, Leg::Client);
        s.lab.settle(secs(5));
        assert_eq!(
            s.lab.lines[n].server.heard_text(),
            message_in(1),
            "what is whole passes, a part never does"
        );
    }
}

#[test]
fn attack_32_certificates_without_end() {
    let mut s = Scene::new();
    let names: Vec<String> = (0..300).map(|i| format!("n{i}.foreign.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["foreign.example"]).collect();
    let many = s.ca.leaf(&names);
    let mut long = s.foreign.clone();
    long.chain = long.chain.repeat(200);
    for leaf in [many, long] {
        let client = Some(tls_client(&s.ca, Some(&leaf)));
        let n = s.lab.line(Leg::Client, client, None);
        s.client_says(n, message_in(1));
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsFailed(Leg::Client)));
    }
    // Handshakes in flight are bounded, and who does not end his in time goes.
    let mut s = Scene::with(Limits { handshakes: 5, ..Default::default() });
    for _ in 0..20 {
        // Of one address there would be even fewer (`bounds`).
        s.lab.from += 1;
        s.lab.line(Leg::Client, None, None);
    }
    s.lab.settle(secs(1));
    assert_eq!(s.lab.engine.handshakes(), 5);
    s.lab.settle(secs(120));
    s.assert_freed();
}

/// Unknown dialogs are judged as all else is, and are the server's to answer 481; known ones in `dialogs`.
#[test]
fn attack_33_tags_out_of_the_air() {
    let within =
        |text: String| text.replace("To: <sip:bob@local.example>", "To: <sip:bob@local.example>;tag=x");
    let bye = |from| within(request("BYE", from, "local.example", 1, ""));
    say(bye("evil.example")).denied(403);
    say(bye("partner.example")).denied(403);
    say(bye("foreign.example")).passes(&bye("foreign.example"));
    for method in ["ACK", "CANCEL"] {
        let text = within(request(method, "evil.example", "local.example", 1, ""));
        let seen = say(text);
        if method == "ACK" { seen.dropped() } else { seen.denied(403) }
    }
}

#[test]
fn attack_34_what_is_no_tls() {
    for text in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", &message_in(1)] {
        let mut s = Scene::new();
        let n = s.lab.line(Leg::Client, None, None);
        s.client_says(n, text.repeat(20));
        s.lab.settle(secs(60));
        assert!(s.lab.lines[n].closed.is_some());
        assert!(!s.lab.lines[n].client.heard_text().contains("SIP/2.0"), "nothing is said in the clear");
        assert_eq!(s.lab.lines[n].sent[1], 0);
    }
}

#[test]
fn attack_35_a_server_that_misbehaves() {
    for (text, status) in [
        (request("NOTIFY", "partner.example", "foreign.example", 5, ""), 403),
        (request("NOTIFY", "local.example", "stranger.example", 5, ""), 403),
        (message_out(5).replace(LENGTH, "Content-Length: 70000\r\n"), 413),
        (message_out(5).replace("CSeq: 1 ", "CSeq: x "), 400),
    ] {
        let mut s = Scene::new();
        let n = s.inward();
        s.client_says(n, message_in(1));
        assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
        s.server_says(n, text);
        s.lab.settle(secs(5));
        let heard = s.lab.lines[n].server.heard_text();
        assert!(heard.contains(&format!("SIP/2.0 {status} ")), "{status}: {heard}");
        assert_eq!(s.lab.lines[n].client.heard_text(), "");
    }
}
