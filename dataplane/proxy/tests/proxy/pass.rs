// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes through, byte for byte, and what is answered and goes nowhere.

use crate::pki::{Authority, tls_client};
use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg};
use fedgate_sip::verdict::Listed;

#[test]
fn inward_both_ways_and_counted() {
    let mut s = Scene::new();
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    let ok = response("MESSAGE", "foreign.example", "local.example", 1);
    s.server_says(n, &ok);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text() == ok));
    // The inside asks back over the same connection.
    let back = request("OPTIONS", "local.example", "foreign.example", 2, "");
    s.server_says(n, &back);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text() == format!("{ok}{back}")));
    let row = s.lab.engine.rows(s.lab.now).next().expect("one session");
    assert_eq!((row.messages_in, row.messages_out, row.denied), (1, 2, 0));
    assert_eq!(row.bytes_in, message_in(1).len() as u64);
    assert_eq!(row.identity, ["foreign.example"]);
    assert_eq!((row.client_state.as_str(), row.server_state.as_str()), ("established", "established"));
    assert!(row.client_cipher.starts_with("TLSv1.3 TLS_"), "{}", row.client_cipher);
    s.finish();
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Finished));
    for (counter, times) in [
        ("Stat(SipPassed)", 3),
        ("Stat(SipInRequests)", 1),
        ("Stat(SipOutRequests)", 1),
        ("Stat(SipOutResponses)", 1),
        ("Stat(TlsHandshakesClientLeg)", 1),
        ("Stat(TlsHandshakesServerLeg)", 1),
        ("Domain(7, PermittedIn)", 1),
        ("Domain(7, PermittedOut)", 1),
        ("HandshakeUs", 2),
    ] {
        assert_eq!(s.lab.sink.counts.remove(counter), Some(times), "{counter}");
    }
    assert!(s.lab.sink.counts.is_empty(), "nothing else is counted: {:?}", s.lab.sink.counts);
}

#[test]
fn outward_needs_the_far_certificate() {
    let mut s = Scene::new();
    let n = s.outward();
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_out(1)));
    s.finish();

    // The same, but the far end is somebody else: not a byte of the request reaches it.
    let mut s = Scene::new();
    let other = s.ca.leaf(&["other.example"]);
    let (client, server) = (s.client(&s.inside), s.server(&other));
    let n = s.lab.line(Leg::Server, client, server);
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 ")));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::ServerMismatch));
    assert_eq!(s.lab.lines[n].server.heard_text(), "");
    assert_eq!(s.counted("Domain(7, DeniedPeer)"), 1);
    assert_eq!(s.counted("Domain(7, PermittedOut)"), 0);
    s.assert_freed();
}

#[test]
fn denied_never_opens_the_server_leg() {
    let cases: [(&str, &str, &str, &str); 4] = [
        ("stranger.example", "local.example", "not_permitted", "Unlisted(DeniedNotPermitted)"),
        ("partner.example", "local.example", "peer_mismatch", "Domain(8, DeniedPeer)"),
        ("local.example", "local.example", "spoof_local", "Stat(SipDeniedSpoof)"),
        ("foreign.example", "elsewhere.example", "relay", "Stat(SipDeniedRelay)"),
    ];
    for (from, to, why, counter) in cases {
        let mut s = Scene::new();
        s.lab.domains.permit("partner.example", 8);
        let n = s.inward();
        s.client_says(n, request("SUBSCRIBE", from, to, 1, ""));
        assert!(
            s.lab.run(secs(5), |lab| lab.lines[n]
                .client
                .heard_text()
                .starts_with("SIP/2.0 403 Forbidden\r\n"))
        );
        // The connection stays, and so does the silence on the inside.
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].sent[Leg::Server as usize], 0, "{why}: a packet went inside");
        assert_eq!(s.lab.lines[n].closed, None);
        assert_eq!(s.lab.sink.events.last(), Some(&format!("denied Client 403 {why}")));
        assert_eq!(s.counted(counter), 1, "{counter}");
        s.finish();
    }
}

#[test]
fn permission_comes_and_goes_within_a_connection() {
    let mut s = Scene::new();
    s.lab.domains.0.clear();
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains(" 403 ")));
    s.lab.domains.permit("foreign.example", ENTRY);
    s.client_says(n, message_in(2));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(2)));
    s.lab.domains.0.insert("foreign.example".into(), Listed::Blocked { id: ENTRY });
    s.client_says(n, message_in(3));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().matches(" 403 ").count() == 2));
    assert_eq!(s.lab.lines[n].server.heard_text(), message_in(2));
    s.finish();
}

#[test]
fn certificates_that_are_not_accepted() {
    for (case, why) in [("stranger", "UnknownIssuer"), ("expired", "Expired"), ("none", "no certificates")] {
        let mut s = Scene::new();
        let leaf = match case {
            "stranger" => Some(Authority::new("Stranger CA").leaf(&["foreign.example"])),
            "expired" => {
                Some(s.ca.leaf_with(&["foreign.example"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1)))
            }
            _ => None,
        };
        let client = Some(tls_client(&s.ca, leaf.as_ref()));
        let n = s.lab.line(Leg::Client, client, None);
        s.client_says(n, message_in(1));
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsFailed(Leg::Client)));
        let event = s.lab.sink.events.last().expect("an event");
        assert!(event.to_lowercase().contains(&why.to_lowercase()), "{event}");
        assert!(s.lab.lines[n].client.tls_error.is_some(), "the peer is told by an alert");
        assert_eq!(s.lab.lines[n].sent[Leg::Server as usize], 0);
        assert_eq!(s.counted("Stat(TlsFailures)"), 1);
        s.assert_freed();
    }
}

#[test]
fn the_server_is_verified_too() {
    let mut s = Scene::new();
    let bad = Authority::new("Stranger CA").leaf(&["local.example"]);
    let (client, server) = (s.client(&s.foreign), s.server(&bad));
    let n = s.lab.line(Leg::Client, client, server);
    s.client_says(n, message_in(1));
    s.lab.settle(secs(60));
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 503 Service Unavailable\r\n"));
    assert_eq!(s.lab.lines[n].server.heard_text(), "");
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::ServerUnreachable));
    s.assert_freed();
}

#[test]
fn a_server_out_of_reach_is_answered_for() {
    // It refuses.
    let mut s = Scene::new();
    let n = s.inward();
    s.lab.lines[n].server.socket().abort();
    s.client_says(n, [message_in(1), message_in(2)].concat());
    s.lab.settle(secs(30));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 503 ").count(), 2);
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::ServerUnreachable));
    assert!(s.lab.lines[n].client.notified, "close_notify before the end");
    s.lab.settle(secs(60));
    s.assert_freed();
    // It is silent.
    let mut s = Scene::new();
    let n = s.inward();
    s.lab.lines[n].unplugged[1] = true;
    s.client_says(n, message_in(1));
    let began = s.lab.now;
    assert!(s.lab.run(secs(30), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 504 ")));
    assert!((9 * SECOND..12 * SECOND).contains(&s.lab.now.since(began)), "{}", s.lab.now.since(began));
    s.lab.settle(secs(60));
    s.assert_freed();
}

#[test]
fn framing_does_not_depend_on_chunks() {
    let mut s = Scene::new();
    let n = s.inward();
    let stream: String = (0..4).map(|i| format!("\r\n\r\n{}", message_in(i))).collect();
    for byte in stream.bytes() {
        s.client_says(n, [byte]);
        s.lab.settle(fedgate_proxy::Micros(300));
    }
    s.lab.settle(secs(2));
    let all: String = (0..4).map(message_in).collect();
    assert_eq!(s.lab.lines[n].server.heard_text(), all);
    s.finish();
}

#[test]
fn the_largest_message_passes_and_a_larger_one_does_not() {
    let mut s = Scene::new();
    let n = s.inward();
    let largest = request("MESSAGE", "foreign.example", "local.example", 1, &"x".repeat(65536));
    s.client_says(n, &largest);
    assert!(s.lab.run(secs(20), |lab| lab.lines[n].server.heard.len() == largest.len()));
    assert_eq!(s.lab.lines[n].server.heard_text(), largest);
    s.client_says(n, request("MESSAGE", "foreign.example", "local.example", 2, &"x".repeat(65537)));
    s.lab.settle(secs(60));
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 413 "));
    assert_eq!(s.lab.lines[n].server.heard.len(), largest.len());
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Unframeable(Leg::Client)));
    s.assert_freed();
}

#[test]
fn inside_messages_are_checked_too() {
    let mut s = Scene::new();
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    s.server_says(n, request("MESSAGE", "local.example", "stranger.example", 5, "psst"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text().contains("SIP/2.0 403 ")));
    // A stray response is neither passed nor answered.
    s.client_says(n, response("MESSAGE", "stranger.example", "foreign.example", 9));
    s.lab.settle(secs(5));
    assert_eq!(s.counted("Stat(SipDropped)"), 1);
    assert_eq!(s.lab.lines[n].client.heard_text(), "");
    s.finish();
}
