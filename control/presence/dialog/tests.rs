// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

fn invite(extra: &str) -> Vec<u8> {
    format!(
        "INVITE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.foreign.example;branch=z9hG4bK1\r\n\
         From: \"X\" <sip:x@foreign.example>;epid=1;tag=a\r\nTo: <sip:bob@local.example>;epid=2\r\nCall-ID: c\r\n\
         CSeq: 7 INVITE\r\nMax-Forwards: 69\r\n{extra}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn made(extra: &str) -> Result<Dialog, DialogError> {
    let bytes = invite(extra);
    Dialog::of_request(&Message::scan(&bytes).expect("a message"), Tag(1), ConnId(1))
}

const CONTACT: &str = "Contact: <sip:x@fe.foreign.example;opaque=user:epid:q;gruu>\r\n";

#[test]
fn a_request_follows_the_routes_as_they_were_written() {
    let routes = "Record-Route: <sip:edge.foreign.example:5061;transport=tls;lr;ms-key-info=xy>;tag=1,\r\n <sip:b.example;lr>\r\n";
    let mut dialog = made(&format!("{routes}{CONTACT}")).expect("a dialog");
    assert_eq!(dialog.next_hop(), "sip:edge.foreign.example:5061;transport=tls;lr;ms-key-info=xy");
    let text = String::from_utf8(dialog.request("NOTIFY", "v".into()).bytes()).expect("text");
    let expected = "NOTIFY sip:x@fe.foreign.example;opaque=user:epid:q;gruu SIP/2.0\r\nVia: v\r\nMax-Forwards: 70\r\n\
        Route: <sip:edge.foreign.example:5061;transport=tls;lr;ms-key-info=xy>;tag=1\r\nRoute: <sip:b.example;lr>\r\n\
        From: <sip:bob@local.example>;epid=2;tag=0000000000000001\r\n\
        To: \"X\" <sip:x@foreign.example>;epid=1;tag=a\r\nCall-ID: c\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(text, expected);
}

#[test]
fn a_strict_router_comes_into_the_request_uri() {
    let mut dialog =
        made(&format!("Record-Route: <sip:a.example>, <sip:b.example;lr>\r\n{CONTACT}")).expect("a dialog");
    let text = String::from_utf8(dialog.request("BYE", "v".into()).bytes()).expect("text");
    assert!(text.starts_with("BYE sip:a.example SIP/2.0\r\n"), "{text}");
    let routes: Vec<_> = text.lines().filter(|line| line.starts_with("Route")).collect();
    assert_eq!(
        routes,
        ["Route: <sip:b.example;lr>", "Route: <sip:x@fe.foreign.example;opaque=user:epid:q;gruu>"]
    );
}

#[test]
fn what_makes_no_dialog() {
    assert_eq!(made(""), Err(DialogError::Contact));
    assert_eq!(made("Contact: *\r\n"), Err(DialogError::Contact));
    assert_eq!(made("Contact: <tel:+1555>\r\n"), Err(DialogError::Contact));
    assert_eq!(made(&format!("Record-Route: sip:a.example\r\n{CONTACT}")), Err(DialogError::Route));
    let many = "Record-Route: <sip:a.example;lr>\r\n".repeat(MAX_ROUTES + 1);
    assert_eq!(made(&format!("{many}{CONTACT}")), Err(DialogError::Large));
    let long = format!("Record-Route: <sip:a.example;lr;x={}>\r\n", "y".repeat(MAX_TEXT));
    assert_eq!(made(&format!("{long}{CONTACT}")), Err(DialogError::Large));
}

#[test]
fn numbers_go_up_and_tags_agree() {
    let mut dialog = made(CONTACT).expect("a dialog");
    let mut check = |cseq: u32, tag: &str| {
        let text = format!(
            "BYE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS e.example;branch=z9hG4bK1\r\nFrom: <sip:x@foreign.example>;tag={tag}\r\n\
             To: <sip:bob@local.example>;tag=0000000000000001\r\nCall-ID: c\r\nCSeq: {cseq} BYE\r\nContent-Length: 0\r\n\r\n"
        );
        dialog.check(&Message::scan(text.as_bytes()).expect("a message"), ConnId(1), false)
    };
    assert_eq!(check(8, "a"), Ok(()));
    assert_eq!(check(7, "a"), Err(DialogError::Order));
    assert_eq!(check(9, "b"), Err(DialogError::Unknown));
    assert_eq!(check(8, "a"), Ok(()));
}

#[test]
fn it_comes_back_from_the_store() {
    let mut dialog = made(CONTACT).expect("a dialog");
    let _ = dialog.request("NOTIFY", "v".into());
    dialog.conn = None;
    let text = serde_json::to_string(&dialog).expect("text");
    let mut back: Dialog = serde_json::from_str(&text).expect("a dialog");
    assert_eq!(back, dialog);
    back.resume();
    assert!(back.local_cseq() > dialog.local_cseq());
}
