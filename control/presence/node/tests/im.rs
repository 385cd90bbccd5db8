// SPDX-License-Identifier: MIT OR Apache-2.0
use fedgate_sip::headers::HeaderName;
use serde_json::json;

use super::super::*;
use super::lab::*;

const X: &str = "x@foreign.example";
const BOB_AOR: &str = "bob@local.example";
const ANN_AOR: &str = "ann@local.example";
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=session\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=message 5060 sip null\r\n\
    a=accept-types:text/plain multipart/alternative\r\n";
const OFFER: &str = "Contact: <sip:x@fe.foreign.example;gruu>\r\nContent-Type: application/sdp\r\nRoster-Manager: <sip:x@foreign.example>\r\n\
    EndPoints: \"X, Y\" <sip:x@foreign.example>, <sip:bob@local.example>\r\nSupported: com.microsoft.rtc-multiparty, ms-conf-invite\r\n\
    ms-text-format: text/plain; charset=UTF-8; ms-body=aGk=\r\n";
const PLAIN: &str = "Content-Type: text/plain; charset=UTF-8;msgr=WAAtAE0A\r\n";

impl Lab {
    /// x invites bob, who is there; the 200, acknowledged.
    fn invited(&mut self) -> Incoming {
        self.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
        let ok = self.response(EDGE, 200);
        let body = body_of(&ok);
        assert!(body.contains("m=message 5060 sip sip:bob@local.example\r\n"), "{body}");
        assert!(ok.value(HeaderName::Supported).is_none());
        self.within(&ok, "ACK", "", "");
        ok
    }

    /// bob's device says something to x.
    fn says(&mut self, text: &str) {
        self.request(BOB, "MESSAGE", BOB_AOR, X, "Content-Type: text/plain\r\n", text);
    }

    /// The INVITE on its way out, taken.
    fn taken(&mut self) -> Incoming {
        let border = self.border();
        let invite = self.expect(border, "INVITE");
        self.answer(
            &invite,
            200,
            "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n",
            SDP,
        );
        let ack = self.expect(border, "ACK");
        assert_eq!(ack.msg().cseq.number, invite.msg().cseq.number);
        invite
    }

    fn border(&self) -> ConnId {
        self.opened.last().expect("a connection").0
    }
}

#[test]
fn a_foreign_session_becomes_single_messages() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let session = lab.invited();
    lab.within(&session, "MESSAGE", PLAIN, "grüß dich");
    // x is told when bob's device has it, and not before.
    let leg = lab.expect(BOB, "MESSAGE");
    lab.quiet();
    assert_eq!(leg.value(HeaderName::ContentType), Some("text/plain;charset=UTF-8"));
    assert!(!leg.msg().has_to_tag());
    assert_eq!(body_of(&leg), "grüß dich");
    lab.answer(&leg, 200, "", "");
    let _ = lab.response(EDGE, 200);
    // bob answers in the session that is there.
    lab.says("selber");
    let text = lab.expect(EDGE, "MESSAGE");
    assert_eq!((text.msg().call_id, body_of(&text).as_str()), (session.msg().call_id, "selber"));
    lab.answer(&text, 200, "", "");
    let _ = lab.response(BOB, 200);
    // Typing is no text.
    let typing = "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>";
    lab.within(&session, "INFO", "Content-Type: application/xml\r\n", typing);
    let _ = lab.response(EDGE, 200);
    let notice = lab.expect(BOB, "MESSAGE");
    assert_eq!(notice.value(HeaderName::ContentType), Some("application/im-iscomposing+xml"));
    lab.answer(&notice, 415, "", "");
    lab.within(&session, "BYE", "", "");
    let _ = lab.response(EDGE, 200);
    lab.within(&session, "MESSAGE", PLAIN, "zu spät");
    let _ = lab.response(EDGE, 481);
    lab.quiet();
}

#[test]
fn what_comes_twice_is_delivered_once() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let text = |branch: u8, ok: &Incoming| {
        format!(
            "MESSAGE sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKq{branch}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: 900 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
            ok.value(HeaderName::From).expect("From"),
            ok.value(HeaderName::To).expect("To"),
            ok.msg().call_id
        )
    };
    let session = lab.invited();
    lab.send(EDGE, &text(1, &session));
    let leg = lab.expect(BOB, "MESSAGE");
    lab.send(EDGE, &text(1, &session));
    lab.quiet();
    lab.answer(&leg, 200, "", "");
    let _ = lab.response(EDGE, 200);
    lab.send(EDGE, &text(2, &session));
    let _ = lab.response(EDGE, 200);
    lab.quiet();
    // An INVITE as well.
    let invite = format!(
        "INVITE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKi\r\nFrom: <sip:{X}>;tag=i\r\nTo: <sip:{BOB_AOR}>\r\nCall-ID: i\r\n\
         CSeq: 1 INVITE\r\n{OFFER}Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    lab.send(EDGE, &invite);
    let ok = lab.response(EDGE, 200);
    // The fresh one takes the old one's place.
    let bye = lab.expect(EDGE, "BYE");
    lab.answer(&bye, 200, "", "");
    lab.send(EDGE, &invite);
    assert_eq!(lab.response(EDGE, 200).value(HeaderName::To), ok.value(HeaderName::To));
    lab.quiet();
    // Nobody acknowledges it: it is said again, and after 32 seconds given up.
    lab.pass(500);
    let _ = lab.response(EDGE, 200);
    for _ in 0..40 {
        lab.pass(1_000);
    }
    let mut last = None;
    while let Some((_, message)) = lab.try_next(EDGE) {
        last = Some(message);
    }
    assert_eq!(last.and_then(|m| m.msg().method_name().map(str::to_owned)).as_deref(), Some("BYE"));
}

#[test]
fn single_messages_become_a_session() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    for text in ["eins", "zwei", "drei"] {
        lab.says(text);
    }
    let border = lab.border();
    let _ = lab.taken();
    for text in ["eins", "zwei", "drei"] {
        let out = lab.expect(border, "MESSAGE");
        assert_eq!(body_of(&out), text);
        // One at a time, and bob is told of each.
        lab.quiet();
        lab.answer(&out, 200, "", "");
        let _ = lab.response(BOB, 200);
    }
    lab.quiet();
    // Nobody says anything for long: the session is ended, and the next text makes a new one.
    lab.pass(1_201_000);
    let bye = lab.expect(border, "BYE");
    lab.answer(&bye, 200, "", "");
    lab.says("wieder da");
    let _ = lab.expect(border, "INVITE");
}

#[test]
fn a_session_the_peer_has_forgotten_costs_one_invite() {
    for status in [481, 480, 408] {
        let mut lab = Lab::new();
        lab.register(BOB, "bob");
        lab.says("hallo");
        let border = lab.border();
        let first = lab.taken();
        let text = lab.expect(border, "MESSAGE");
        lab.answer(&text, status, "", "");
        if status != 481 {
            let bye = lab.expect(border, "BYE");
            lab.answer(&bye, 200, "", "");
        }
        let second = lab.taken();
        assert_ne!(first.msg().call_id, second.msg().call_id);
        let text = lab.expect(border, "MESSAGE");
        assert_eq!(body_of(&text), "hallo");
        lab.quiet();
        lab.answer(&text, status, "", "");
        if status != 481 {
            let _ = lab.expect(border, "BYE");
        }
        // Reported failed, and not tried for ever.
        let _ = lab.response(BOB, status);
        lab.quiet();
    }
}

#[test]
fn refused_and_unreachable_is_reported() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.says("a");
    lab.says("b");
    let border = lab.border();
    let invite = lab.expect(border, "INVITE");
    lab.answer(&invite, 404, "", "");
    let ack = lab.expect(border, "ACK");
    assert!(ack.value(HeaderName::To).is_some_and(|to| to.ends_with(";tag=theirs")), "{ack:?}");
    assert_eq!(ack.msg().top_via.branch, invite.msg().top_via.branch);
    let _ = (lab.response(BOB, 404), lab.response(BOB, 404));
    // The connection breaks.
    lab.says("c");
    let _ = lab.expect(border, "INVITE");
    lab.close(border);
    let _ = lab.response(BOB, 503);
    // Nobody answers; then somebody rings and does not take it.
    lab.says("d");
    let border = lab.border();
    let _ = lab.expect(border, "INVITE");
    lab.pass(32_000);
    let _ = lab.response(BOB, 408);
    lab.says("e");
    let invite = lab.expect(border, "INVITE");
    lab.answer(&invite, 180, "", "");
    lab.pass(60_000);
    let cancel = lab.expect(border, "CANCEL");
    assert_eq!(cancel.msg().top_via.branch, invite.msg().top_via.branch);
    lab.answer(&cancel, 200, "", "");
    lab.answer(&invite, 487, "", "");
    let _ = lab.expect(border, "ACK");
    let _ = lab.response(BOB, 487);
    lab.quiet();
}

/// Both invite at once, under another key for each `seed`; whether the node has ended its own session.
fn invites_cross(seed: u8) -> bool {
    let mut lab = Lab::new();
    lab.reseed(seed);
    lab.register(BOB, "bob");
    lab.says("hallo");
    let border = lab.border();
    let ours = lab.expect(border, "INVITE");
    let theirs = lab.invited();
    // It is said at once, in the session that is there.
    let text = lab.expect(EDGE, "MESSAGE");
    lab.answer(&text, 200, "", "");
    let _ = lab.response(BOB, 200);
    lab.answer(&ours, 200, "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n", SDP);
    let _ = lab.expect(border, "ACK");
    let ends_ours = ours.msg().call_id > theirs.msg().call_id;
    if ends_ours {
        let bye = lab.expect(border, "BYE");
        assert_eq!(bye.msg().call_id, ours.msg().call_id);
    }
    lab.quiet();
    // The next text goes into the one that both ends know to stay.
    lab.says("und?");
    let (conn, stays) = if ends_ours { (EDGE, &theirs) } else { (border, &ours) };
    assert_eq!(lab.expect(conn, "MESSAGE").msg().call_id, stays.msg().call_id);
    assert_eq!(lab.core.pairs.len(), 1);
    ends_ours
}

#[test]
fn invites_that_cross_leave_one_session_for_both() {
    let ends: Vec<bool> = (10..40).map(invites_cross).collect();
    assert!(ends.contains(&true) && ends.contains(&false), "{ends:?}");
}

#[test]
fn more_than_two_are_refused_and_the_two_go_on() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let session = lab.invited();
    for (extra, status) in [
        (OFFER.replace("EndPoints: ", "EndPoints: <sip:y@foreign.example>, "), 488),
        (format!("{OFFER}TriggeredInvite: TRUE\r\n"), 488),
        (OFFER.replace("application/sdp", "application/ms-conf-invite+xml"), 488),
        (OFFER.replace("application/sdp", "text/x-other"), 415),
        (format!("{OFFER}Require: com.microsoft.rtc-multiparty\r\n"), 420),
    ] {
        lab.request(EDGE, "INVITE", X, BOB_AOR, &extra, SDP);
        let _ = lab.response(EDGE, status);
    }
    let audio = SDP.replace("m=message 5060 sip null", "m=audio 4000 RTP/AVP 0");
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, &audio);
    let _ = lab.response(EDGE, 488);
    lab.within(&session, "REFER", "Refer-To: <sip:y@foreign.example>\r\n", "");
    let _ = lab.response(EDGE, 405);
    lab.within(&session, "INFO", "Content-Type: application/x-ms-mim\r\n", "x");
    let _ = lab.response(EDGE, 415);
    // A third party that knows the dialog.
    let text = format!(
        "MESSAGE sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK9\r\nFrom: <sip:y@foreign.example>;tag=y\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 900 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        session.value(HeaderName::To).expect("To"),
        session.msg().call_id
    );
    lab.send(EDGE, &text);
    let _ = lab.response(EDGE, 403);
    lab.within(&session, "INVITE", OFFER, SDP);
    let again = lab.response(EDGE, 200);
    lab.within(&again, "ACK", "", "");
    lab.within(&session, "MESSAGE", PLAIN, "noch da?");
    let leg = lab.expect(BOB, "MESSAGE");
    lab.answer(&leg, 200, "", "");
    let _ = lab.response(EDGE, 200);
    lab.quiet();
}

#[test]
fn bodies_that_are_no_text_and_texts_for_nobody() {
    let mut lab = Lab::new();
    lab.request(EDGE, "INVITE", X, BOB_AOR, OFFER, SDP);
    let _ = lab.response(EDGE, 480);
    lab.request(EDGE, "MESSAGE", X, BOB_AOR, PLAIN, "hi");
    let _ = lab.response(EDGE, 405);
    lab.register(BOB, "bob");
    let session = lab.invited();
    for extra in [
        "Content-Type: text/html\r\n",
        "Content-Type: text/plain;charset=utf-16\r\n",
        "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n",
    ] {
        lab.within(&session, "MESSAGE", extra, "hi");
        let _ = lab.response(EDGE, 415);
    }
    // The device goes away.
    lab.within(&session, "MESSAGE", PLAIN, "hi");
    let _ = lab.expect(BOB, "MESSAGE");
    lab.close(BOB);
    let _ = lab.response(EDGE, 480);
    assert!(lab.opened.is_empty());
    // It gave an address: the next text is tried there.
    lab.within(&session, "MESSAGE", PLAIN, "hi");
    assert_eq!(lab.opened[0].1.to, "192.0.2.2:5060");
    let device = lab.opened[0].0;
    let leg = lab.expect(device, "MESSAGE");
    lab.answer(&leg, 486, "", "");
    let _ = lab.response(EDGE, 486);
}

#[test]
fn our_own_users_talk_without_a_session() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.register(ANN, "ann");
    lab.request(BOB, "MESSAGE", BOB_AOR, ANN_AOR, "Content-Type: text/plain\r\n", "hallo ann");
    let leg = lab.expect(ANN, "MESSAGE");
    lab.answer(&leg, 200, "", "");
    let _ = lab.response(BOB, 200);
    let blocked = json!({ "do": "decide", "user": ANN_AOR, "who": BOB_AOR, "verdict": "block" });
    assert_eq!(lab.command(blocked), Reply::Done);
    lab.request(BOB, "MESSAGE", BOB_AOR, ANN_AOR, "Content-Type: text/plain\r\n", "ann?");
    let _ = lab.response(BOB, 480);
    lab.quiet();
}

#[test]
fn who_is_blocked_finds_nobody_in_the_session_either() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let session = lab.invited();
    let blocked = json!({ "do": "decide", "user": BOB_AOR, "who": "foreign.example", "verdict": "block" });
    assert_eq!(lab.command(blocked), Reply::Done);
    lab.within(&session, "MESSAGE", PLAIN, "hallo?");
    let _ = lab.response(EDGE, 480);
    lab.quiet();
}
