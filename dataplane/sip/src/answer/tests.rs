// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers octet for octet, and when there is none.

use super::*;
use crate::frame::{Frame, Framer, Limits};

const REQUEST: &str = "INVITE sip:bob@local.com SIP/2.0\r\n\
    Via: SIP/2.0/TLS edge.foreign.com:5061;branch=z9hG4bK1;ms-internal-info=\"a,b\"\r\n\
    v:  SIP/2.0/TCP a\r\n ;branch=z9hG4bK2 , SIP / 2.0 / UDP [::1]:5060\r\n\
    Record-Route: <sip:edge.foreign.com;lr>;tag=x\r\n\
    f: \"Д \\\"x\\\"\"   <sip:x@foreign.com>;tag=a;epid=d6277c8671\r\n\
    t: <sip:bob@local.com;user=phone>\r\n\
    i: 1@foreign.com\r\n\
    CSeq: 1   INVITE\r\n\
    Require: one\r\n\
    Proxy-Require: two, three\r\n\
    l: 0\r\n\r\n";

fn text(answer: Result<Vec<u8>, AnswerError>) -> String {
    String::from_utf8(answer.expect("an answer")).expect("text")
}

/// But for the folds, which used to be copied too.
#[test]
fn copies_octet_for_octet() {
    let message = Message::scan(REQUEST.as_bytes()).expect("well formed");
    let want = "SIP/2.0 403 Forbidden\r\n\
        Via: SIP/2.0/TLS edge.foreign.com:5061;branch=z9hG4bK1;ms-internal-info=\"a,b\"\r\n\
        Via: SIP/2.0/TCP a ;branch=z9hG4bK2 , SIP / 2.0 / UDP [::1]:5060\r\n\
        From: \"Д \\\"x\\\"\"   <sip:x@foreign.com>;tag=a;epid=d6277c8671\r\n\
        To: <sip:bob@local.com;user=phone>;tag=s1\r\n\
        Call-ID: 1@foreign.com\r\n\
        CSeq: 1   INVITE\r\n\
        Content-Length: 0\r\n\r\n";
    assert_eq!(text(compose(&message, 403, reason_phrase(403), "s1")), want);
    assert_eq!(text(compose_unread(REQUEST.as_bytes(), 403, "Forbidden", "s1")), want);
}

#[test]
fn a_to_tag_is_kept() {
    let request = REQUEST.replace("user=phone>", "user=phone>;x=y;tag=theirs");
    let message = Message::scan(request.as_bytes()).expect("well formed");
    assert!(
        text(compose(&message, 403, "Forbidden", "ours"))
            .contains("\r\nTo: <sip:bob@local.com;user=phone>;x=y;tag=theirs\r\n")
    );
}

#[test]
fn extras() {
    let message = Message::scan(REQUEST.as_bytes()).expect("well formed");
    assert!(
        text(compose(&message, 420, "Bad Extension", "t")).contains("\r\nUnsupported: two, three, one\r\n")
    );
    let own = compose_with(&message, 420, "Bad Extension", "t", &[Extra::Unsupported("x")]);
    assert!(text(own).contains("\r\nUnsupported: x\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(compose(&message, 405, "Method Not Allowed", "t"), Err(AnswerError::NoAllow));
    let allow = [Extra::Allow("OPTIONS, SUBSCRIBE"), Extra::Accept("text/plain"), Extra::RetryAfter(30)];
    assert!(
        text(compose_with(&message, 405, "Method Not Allowed", "t", &allow))
            .contains("\r\nAllow: OPTIONS, SUBSCRIBE\r\nAccept: text/plain\r\nRetry-After: 30\r\n")
    );
}

#[test]
fn never_to_responses_or_acks() {
    let ack = REQUEST.replace("INVITE", "ACK");
    let message = Message::scan(ack.as_bytes()).expect("well formed");
    assert_eq!(compose(&message, 403, "Forbidden", "t"), Err(AnswerError::NotAnswerable));
    assert_eq!(compose_unread(ack.as_bytes(), 400, "Bad Request", "t"), Err(AnswerError::NotAnswerable));
    let response = REQUEST.replace("INVITE sip:bob@local.com SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(compose_unread(response.as_bytes(), 400, "Bad Request", "t"), Err(AnswerError::NotAnswerable));
}

#[test]
fn best_effort_needs_the_five_headers() {
    for (line, id) in [
        ("t: ", HeaderName::To),
        ("f: ", HeaderName::From),
        ("i: ", HeaderName::CallId),
        ("CSeq: ", HeaderName::CSeq),
    ] {
        let without = REQUEST.replace(line, "X: ");
        assert_eq!(
            compose_unread(without.as_bytes(), 400, "Bad Request", "t"),
            Err(AnswerError::Missing(id))
        );
    }
    assert_eq!(
        compose_unread(b"INVITE x\r\n", 400, "Bad Request", "t"),
        Err(AnswerError::Missing(HeaderName::Via))
    );
    assert_eq!(
        compose_unread(b"INVITE ", 400, "Bad Request", "t"),
        Err(AnswerError::Missing(HeaderName::Via))
    );
    let mut broken = REQUEST.as_bytes().to_vec();
    let at = REQUEST.find("Д").expect("there");
    broken[at] = 0xff;
    assert_eq!(compose_unread(&broken, 400, "Bad Request", "t"), Err(AnswerError::NotText(HeaderName::From)));
}

#[test]
fn best_effort_takes_the_first_of_two_and_looks_for_a_tag_in_what_it_cannot_read() {
    let request =
        REQUEST.replace("t: <sip:bob@local.com;user=phone>", "t: \"x <sip:a@b>;TAG=1\r\nTo: <sip:c@d>");
    let answer = text(compose_unread(request.as_bytes(), 400, "Bad Request", "t"));
    assert!(answer.contains("\r\nTo: \"x <sip:a@b>;TAG=1\r\nCall-ID"), "{answer}");
}

#[test]
fn arguments_cannot_inject() {
    let message = Message::scan(REQUEST.as_bytes()).expect("well formed");
    for (status, reason, tag) in [
        (99, "x", "t"),
        (700, "x", "t"),
        (400, "a\r\nX: y", "t"),
        (400, "x", ""),
        (400, "x", "a b"),
        (400, "x", "a\r\n"),
    ] {
        assert_eq!(compose(&message, status, reason, tag), Err(AnswerError::Argument));
    }
    assert_eq!(compose_with(&message, 405, "x", "t", &[Extra::Allow("A\r\nB")]), Err(AnswerError::Argument));
}

/// Our answer must not be cut elsewhere than where it ends because of what it echoes.
#[test]
fn what_is_echoed_brings_no_other_length() {
    for (header, folded) in
        [("Via: ", "Via: SIP/2.0/TLS h;a=\"\r\n l: 9\", "), ("f: ", "f: \"\r\n\tContent-Length: 9\" ")]
    {
        let request = REQUEST.replacen(header, folded, 1);
        let answer = compose_unread(request.as_bytes(), 400, "Bad Request", "t").expect("an answer");
        let frame = Framer::new(Limits::DEFAULT).next(&answer);
        assert_eq!(frame, Frame::Message { head_len: answer.len(), body_len: 0 }, "{folded}");
    }
}
