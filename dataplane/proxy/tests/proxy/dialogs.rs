// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dialogs through the whole proxy: who may speak in one, on which connection, and for how long.

use crate::scene::*;
use fedgate_proxy::{Leg, Limits, Micros};
use fedgate_sip::dialog;
use fedgate_sip::verdict::Listed;

/// A message of the dialog that [`agree`] makes. `outside`: the foreign side says it.
fn within(method: &str, cseq: u32, outside: bool, more: &str) -> String {
    let (from, to) = match outside {
        true => ("<sip:alice@foreign.example>;tag=out", "<sip:bob@local.example>;tag=in"),
        false => ("<sip:bob@local.example>;tag=in", "<sip:alice@foreign.example>;tag=out"),
    };
    let target = if outside { "bob@local.example" } else { "alice@foreign.example" };
    format!(
        "{method} sip:{target} SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: d1\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn answer(status: u16, method: &str, cseq: u32, outside: bool, more: &str) -> String {
    // An answer has the request's From and To.
    let request = within(method, cseq, !outside, more);
    let (_, headers) = request.split_once("\r\n").expect("a start line");
    format!("SIP/2.0 {status} X\r\n{headers}")
}

/// A subscription from outside on one connection, granted by the inside server.
fn agree(s: &mut Scene) -> usize {
    let n = s.inward();
    s.client_says(
        n,
        within("SUBSCRIBE", 1, true, "Event: presence\r\n")
            .replace("local.example>;tag=in", "local.example>"),
    );
    assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    s.server_says(n, answer(200, "SUBSCRIBE", 1, false, "Expires: 7200\r\n"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 200 ")));
    assert_eq!(s.lab.engine.dialogs().len(), 1);
    n
}

fn server_hears(s: &mut Scene, n: usize, text: &str) -> bool {
    s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text().ends_with(text))
}

#[test]
fn a_known_dialog_goes_on_when_its_domain_is_no_longer_permitted() {
    let mut s = Scene::new();
    let n = agree(&mut s);
    s.lab.domains.0.clear();
    // What is new is refused, what is known goes on, both ways, with its answers.
    s.client_says(n, message_in(5));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains("SIP/2.0 403 ")));
    let notify = within("NOTIFY", 1, false, "Subscription-State: active;expires=7200\r\n");
    s.server_says(n, &notify);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().ends_with(&notify)));
    let ok = answer(200, "NOTIFY", 1, true, "");
    s.client_says(n, &ok);
    assert!(server_hears(&mut s, n, &ok));
    let refresh = within("SUBSCRIBE", 2, true, "Event: presence\r\n");
    s.client_says(n, &refresh);
    assert!(server_hears(&mut s, n, &refresh));
    // What an operator blocks, ends.
    s.lab.domains.0.insert("foreign.example".into(), Listed::Blocked { id: ENTRY });
    s.client_says(n, within("SUBSCRIBE", 3, true, ""));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().matches("SIP/2.0 403 ").count() == 2));
    s.finish();
}

/// To have a dialog is no licence to speak for others in it: neither for those who are not permitted nor for another partner.
#[test]
fn a_dialog_is_of_its_domain() {
    let mut s = Scene::new();
    s.lab.domains.permit("partner.example", 8);
    let n = agree(&mut s);
    let before = s.lab.lines[n].server.heard.len();
    for (number, from) in [(2, "partner.example"), (3, "nobody.example"), (4, "192.0.2.9")] {
        let asserted = format!("P-Asserted-Identity: <sip:boss@{from}>\r\n");
        let text = within("MESSAGE", number, true, &asserted);
        s.client_says(n, text.replace("alice@foreign.example", &format!("boss@{from}")));
    }
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().matches("SIP/2.0 403 ").count() == 3));
    assert_eq!(s.lab.lines[n].server.heard.len(), before, "nothing of it went inside");
    // Outwards it is no way around the lists either.
    s.lab.domains.0.remove("partner.example");
    let text = within("NOTIFY", 1, false, "Subscription-State: active\r\n");
    s.server_says(n, text.replace("alice@foreign.example", "boss@partner.example"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text().contains("SIP/2.0 403 ")));
    s.finish();
}

#[test]
fn a_dialog_is_of_its_peer_on_any_connection() {
    let mut s = Scene::new();
    let n = agree(&mut s);
    s.lab.domains.0.clear();
    // The same identity, another certificate, another connection.
    s.foreign = s.ca.leaf(&["foreign.example"]);
    let again = s.inward();
    let refresh = within("SUBSCRIBE", 2, true, "Event: presence\r\n");
    s.client_says(again, &refresh);
    assert!(server_hears(&mut s, again, &refresh));
    // Another partner that knows Call-ID and tags and is permitted itself, by whichever From.
    s.lab.domains.permit("foreign.example", ENTRY);
    s.lab.domains.permit("partner.example", 8);
    s.foreign = s.ca.leaf(&["partner.example"]);
    let other = s.inward();
    for from in ["foreign.example", "partner.example"] {
        s.client_says(
            other,
            within("BYE", 3, true, "").replace("alice@foreign.example", &format!("alice@{from}")),
        );
    }
    assert!(
        s.lab.run(secs(5), |lab| lab.lines[other].client.heard_text().matches("SIP/2.0 403 ").count() == 2)
    );
    // Its ACK is dropped, and the dialog is as it was.
    s.client_says(other, within("ACK", 3, true, ""));
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[other].sent[1], 0);
    assert_eq!((s.counted("Stat(SipDeniedDialog)"), s.counted("Stat(SipDeniedPeer)")), (1, 1));
    assert_eq!(s.lab.sink.events.last().map(String::as_str), Some("denied Client 0 peer_mismatch"));
    let refresh = within("SUBSCRIBE", 4, true, "");
    s.client_says(n, &refresh);
    assert!(server_hears(&mut s, n, &refresh));
    s.finish();
}

/// Two edges of one partner, each with a certificate that has other names beside the domain: a dialog is of the domain that both vouch for (RFC
/// 5922), in either direction. Who does not vouch for it has no part in it.
#[test]
fn a_dialog_goes_on_by_another_edge_of_its_domain() {
    let mut s = Scene::new();
    agree(&mut s);
    let second = s.ca.leaf(&["foreign.example", "edge2.foreign.example"]);
    let (client, server) = (s.client(&second), s.server(&s.inside));
    let line = s.lab.line(Leg::Client, client, server);
    for cseq in [2, 3] {
        let refresh = within("SUBSCRIBE", cseq, true, "Event: presence\r\n");
        s.client_says(line, &refresh);
        assert!(server_hears(&mut s, line, &refresh), "{:?}", s.lab.sink.events);
    }
    let notify = within("NOTIFY", 1, false, "Subscription-State: active;expires=60\r\n");
    let (client, server) = (s.client(&s.inside), s.server(&second));
    let out = s.lab.line(Leg::Server, client, server);
    s.client_says(out, &notify);
    assert!(s.lab.run(secs(5), |lab| lab.lines[out].server.heard_text() == notify));
    // What it says counts for the dialog: here its end.
    let ok = answer(200, "NOTIFY", 1, true, "");
    s.server_says(out, &ok);
    s.client_says(line, within("BYE", 4, true, ""));
    s.lab.settle(secs(1));
    s.server_says(line, answer(200, "BYE", 4, false, ""));
    s.lab.settle(secs(1));
    assert!(s.lab.engine.dialogs().is_empty());
    s.finish();
}

/// What goes outside in a dialog goes to nobody who does not vouch for its domain.
#[test]
fn a_dialog_is_of_its_domain_outwards_too() {
    let mut s = Scene::new();
    agree(&mut s);
    let other = s.ca.leaf(&["partner.example"]);
    let (client, server) = (s.client(&s.inside), s.server(&other));
    let out = s.lab.line(Leg::Server, client, server);
    s.client_says(out, within("NOTIFY", 1, false, "Subscription-State: active;expires=60\r\n"));
    assert!(s.lab.run(secs(5), |lab| lab.lines[out].client.heard_text().starts_with("SIP/2.0 403 ")));
    assert_eq!(s.lab.lines[out].server.heard_text(), "");
    assert_eq!(s.counted("Stat(SipDeniedDialog)"), 1);
    // No longer permitted: the peer that has the dialog may go on, another edge has only its certificate.
    s.lab.domains.0.clear();
    let second = s.ca.leaf(&["foreign.example", "edge2.foreign.example"]);
    let (client, server) = (s.client(&second), s.server(&s.inside));
    let line = s.lab.line(Leg::Client, client, server);
    s.client_says(line, within("SUBSCRIBE", 2, true, ""));
    assert!(s.lab.run(secs(5), |lab| lab.lines[line].client.heard_text().starts_with("SIP/2.0 403 ")));
    s.finish();
}

#[test]
fn dialogs_end() {
    for (text, outside) in [
        (within("NOTIFY", 1, false, "Subscription-State: terminated;reason=timeout\r\n"), false),
        (within("BYE", 2, true, ""), true),
    ] {
        let mut s = Scene::new();
        let n = agree(&mut s);
        match outside {
            true => s.client_says(n, &text),
            false => s.server_says(n, &text),
        }
        s.lab.settle(secs(1));
        if outside {
            s.server_says(n, answer(200, "BYE", 2, false, ""));
            s.lab.settle(secs(1));
        }
        assert!(s.lab.engine.dialogs().is_empty(), "{text}");
        s.lab.domains.0.clear();
        let before = s.lab.lines[n].server.heard.len();
        s.client_says(n, within("SUBSCRIBE", 5, true, ""));
        assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains("SIP/2.0 403 ")));
        assert_eq!(s.lab.lines[n].server.heard.len(), before);
        s.finish();
    }
}

#[test]
fn what_is_not_remembered_is_judged_by_itself() {
    let limits = Limits { dialogs: dialog::Limits { dialogs: 0, per_peer: 0 }, ..Default::default() };
    let mut s = Scene::with(limits);
    let n = s.inward();
    s.client_says(n, within("INVITE", 1, true, "").replace("local.example>;tag=in", "local.example>"));
    assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    s.server_says(n, answer(200, "INVITE", 1, false, ""));
    s.lab.settle(secs(1));
    assert_eq!(s.counted("Stat(SipDialogsRefused)"), 1);
    let bye = within("BYE", 2, true, "");
    s.client_says(n, &bye);
    assert!(server_hears(&mut s, n, &bye));
    s.lab.domains.0.clear();
    s.client_says(n, within("BYE", 3, true, ""));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains("SIP/2.0 403 ")));
    s.finish();
}

#[test]
fn a_cseq_that_falls_back_is_answered_500() {
    let mut s = Scene::new();
    let n = agree(&mut s);
    let seven = within("INFO", 7, true, "");
    s.client_says(n, &seven);
    assert!(server_hears(&mut s, n, &seven));
    s.client_says(n, within("INFO", 6, true, ""));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains("SIP/2.0 500 ")));
    assert!(server_hears(&mut s, n, &seven));
    s.finish();
}

#[test]
fn dialogs_run_out() {
    let mut s = Scene::new();
    let n = agree(&mut s);
    s.lab.domains.0.clear();
    // Longer than `timeout sip`; the connection is kept by keep-alives.
    for _ in 0..8 {
        s.client_says(n, "\r\n\r\n");
        s.lab.settle(Micros::from_secs(1000));
    }
    s.client_says(n, within("SUBSCRIBE", 2, true, ""));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().contains("SIP/2.0 403 ")));
    s.finish();
}

/// Replaces, Join and Target-Dialog rest on identifiers that anybody may have read; Refer-To makes our user call.
#[test]
fn who_points_at_a_dialog_has_it() {
    let pointing = |from: &str, number, more: &str| {
        let request = request("INVITE", from, "local.example", number, "");
        request.replacen("Content-Type: ", &format!("{more}\r\nContent-Type: "), 1)
    };
    let refer = |number, target: &str| {
        let request = request("REFER", "foreign.example", "local.example", number, "");
        request.replacen("Content-Type: ", &format!("Refer-To: <{target}>\r\nContent-Type: "), 1)
    };
    let mut s = Scene::new();
    s.lab.domains.permit("partner.example", 8);
    let n = agree(&mut s);
    let refused = |s: &mut Scene, n: usize, text: String, status: u16| {
        let (inside, answers) = (s.lab.lines[n].server.heard.len(), s.lab.lines[n].client.heard.len());
        s.client_says(n, text);
        assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard.len() > answers));
        let answer = &s.lab.lines[n].client.heard_text()[answers..];
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
        assert_eq!(s.lab.lines[n].server.heard.len(), inside);
    };
    let its_own = pointing("foreign.example", 2, "Replaces: d1;to-tag=in;from-tag=out");
    s.client_says(n, &its_own);
    assert!(server_hears(&mut s, n, &its_own));
    refused(&mut s, n, pointing("foreign.example", 3, "Replaces: d1;to-tag=in;from-tag=other"), 481);
    refused(&mut s, n, pointing("foreign.example", 4, "Join: d2;to-tag=in;from-tag=out"), 481);
    refused(&mut s, n, refer(5, "sip:boss@elsewhere.example"), 403);
    refused(&mut s, n, refer(6, "tel:+15550100"), 403);
    let to_a_partner = refer(7, "sip:carol@partner.example;method=INVITE");
    s.client_says(n, &to_a_partner);
    assert!(server_hears(&mut s, n, &to_a_partner));
    // Another partner that has read the identifiers.
    s.foreign = s.ca.leaf(&["partner.example"]);
    let other = s.inward();
    s.client_says(other, request("MESSAGE", "partner.example", "local.example", 8, "x"));
    assert!(s.lab.run(secs(5), |lab| !lab.lines[other].server.heard.is_empty()));
    refused(&mut s, other, pointing("partner.example", 9, "Replaces: d1;to-tag=in;from-tag=out"), 481);
    refused(
        &mut s,
        other,
        pointing("partner.example", 10, "Target-Dialog: d1;local-tag=out;remote-tag=in"),
        481,
    );
    assert_eq!(s.counted("Stat(SipDeniedRefer)"), 6);
    s.finish();
}
