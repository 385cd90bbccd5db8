// SPDX-License-Identifier: MIT OR Apache-2.0
use super::lab::*;
use fedgate_sip::headers::HeaderName;

const BOB_AOR: &str = "bob@local.example";

#[test]
fn wrong_passwords_end_the_connection() {
    let mut lab = Lab::new();
    for n in 1..=8 {
        lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, "", "");
        let challenge = lab.response(BOB, 401);
        let offered = challenge.named("WWW-Authenticate").next().expect("a challenge").to_owned();
        let wrong = credentials(&offered, "bob", "guess", "SUBSCRIBE", "sip:bob@local.example", n);
        lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, &wrong, "");
        let _ = lab.response(BOB, 401);
    }
    assert_eq!(lab.closed, [BOB]);
    // What has been sent behind it is not looked at, were it right or wrong.
    lab.request(BOB, "OPTIONS", BOB_AOR, BOB_AOR, "", "");
    lab.request(BOB, "SUBSCRIBE", BOB_AOR, BOB_AOR, "", "");
    lab.quiet();
}

#[test]
fn nobody_speaks_for_another() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    // Ann has not proved herself on this connection, a foreign user never can, and somebody unknown is asked like anybody.
    for (from, status) in [("ann@local.example", 401), ("x@foreign.example", 403), ("eve@local.example", 401)]
    {
        lab.request(BOB, "MESSAGE", from, "ann@local.example", "Content-Type: text/plain\r\n", "hi");
        let _ = lab.response(BOB, status);
    }
    // What the appliance brings is never from our own.
    lab.request(EDGE, "SUBSCRIBE", BOB_AOR, "ann@local.example", "Event: presence\r\n", "");
    let _ = lab.response(EDGE, 403);
    lab.quiet();
}

#[test]
fn bindings_come_back_and_run_out() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.restart();
    assert_eq!(lab.show(BOB_AOR)["devices"], 1);
    lab.pass(3_601_000);
    assert_eq!(lab.show(BOB_AOR)["devices"], 0);
    lab.restart();
    assert_eq!(lab.show(BOB_AOR)["devices"], 0);
}

#[test]
fn registrations_are_removed_refused_and_listed() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let mut try_it = |extra: &str, status: u16| {
        lab.request(BOB, "REGISTER", BOB_AOR, BOB_AOR, extra, "");
        lab.response(BOB, status).msg().values(HeaderName::Contact).count()
    };
    assert_eq!(try_it("", 200), 1);
    assert_eq!(try_it("Contact: <sip:b@h.example>;expires=30\r\n", 423), 0);
    assert_eq!(try_it("Contact: *\r\n", 400), 0);
    assert_eq!(try_it("Contact: <sip:b@h.example>;q=0.5, \"B, c\" <sip:c@h.example>;expires=60\r\n", 200), 3);
    let many: String = (0..9).map(|i| format!("Contact: <sip:m{i}@h.example>\r\n")).collect();
    assert_eq!(try_it(&many, 403), 0);
    assert_eq!(try_it("Contact: <sip:c@h.example>;expires=0\r\n", 200), 2);
    assert_eq!(try_it("Contact: *\r\nExpires: 0\r\n", 200), 0);
}

#[test]
fn extensions_methods_and_strays() {
    let mut lab = Lab::new();
    lab.request(
        EDGE,
        "INVITE",
        "x@foreign.example",
        BOB_AOR,
        "Require: com.microsoft.rtc-multiparty\r\n",
        "",
    );
    let refused = lab.response(EDGE, 420);
    assert_eq!(refused.value(HeaderName::Unsupported), Some("com.microsoft.rtc-multiparty"));
    for (method, status) in [
        ("OPTIONS", 200),
        ("REFER", 405),
        ("UPDATE", 405),
        ("BENOTIFY", 501),
        ("NEGOTIATE", 501),
        ("NOTIFY", 481),
        ("BYE", 481),
    ] {
        lab.request(EDGE, method, "x@foreign.example", BOB_AOR, "", "");
        let _ = lab.response(EDGE, status);
    }
    // An answer to nothing is not answered.
    lab.send(EDGE, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK0123456789abcdef\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
        Call-ID: x\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n");
    lab.quiet();
}
