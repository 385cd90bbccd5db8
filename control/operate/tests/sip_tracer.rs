// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer sip` as an operator sees it: the request that is written out, and how what is told of it reads.

use super::*;
use fedgate_tables::domains::Listed;
use fedgate_tables::link::{SipCheck, SipFate, SipProbe, SipStep, SipTrace};

/// A lab with two TLS proxies that are ready.
fn lab() -> (Lab, fake::Fake, Control) {
    let lab = Lab::new();
    std::fs::write(
        lab.path("startup.cfg"),
        format!(
            "{CONFIG}crypto ca trustpoint t\n enrollment self\n subject-name CN=cup.ours.example\n keypair k\n\
             federation domain foreign.example\n rate-limit 10 burst 20\npermit domain *.partner.example peer edge.example\n"
        ),
    )
    .unwrap();
    let (fake, control) = (lab.fake(), lab.control());
    lab.good("crypto key generate ecdsa label k");
    lab.good("crypto ca enroll t");
    lab.good("tls-proxy one");
    lab.under("tls-proxy one", &["server trust-point t", "client trust-point t"]);
    (lab, fake, control)
}

fn step(check: SipCheck, domain: Option<&str>, entry: Option<u32>, found: &[&str], permit: bool) -> SipStep {
    let found = found.iter().map(|it| (*it).to_owned()).collect();
    SipStep { check, domain: domain.map(str::to_owned), entry, found, permit }
}

#[test]
fn a_request_is_written_out() {
    let (lab, fake, _control) = lab();
    let asked = |line: &str| -> SipProbe {
        fake.state().sip_trace = Some(SipTrace { steps: vec![], fate: SipFate::Passes, denial: None });
        lab.good(&format!("packet-tracer sip {line}"));
        fake.state().sip_probe.take().unwrap()
    };
    let probe = asked("inbound SUBSCRIBE alice@foreign.example sip:bob@ours.example");
    assert_eq!((probe.proxy, probe.inward, probe.names.len()), (0, true, 0));
    let limits = fedgate_sip::frame::Limits::DEFAULT;
    let message = fedgate_sip::message::Message::scan_with(probe.text.as_bytes(), &limits).unwrap();
    assert_eq!(message.method_name(), Some("SUBSCRIBE"));
    assert_eq!((message.from.uri.host, message.to.uri.host), (Some("foreign.example"), Some("ours.example")));
    assert!(probe.text.starts_with("SUBSCRIBE sip:bob@ours.example SIP/2.0\r\n"), "{}", probe.text);
    assert!(probe.text.contains("Event: presence\r\n"), "{}", probe.text);
    let probe = asked(
        "outbound MESSAGE bob@ours.example alice@foreign.example uri sip:alice@edge.foreign.example:5061 \
         certificate edge.foreign.example certificate sip:foreign.example \
         header P-Asserted-Identity \"<sip:boss@ours.example>\" header From \"<sip:x@y.example>;tag=1\" tls-proxy one",
    );
    assert_eq!(
        (probe.inward, probe.names),
        (false, vec!["edge.foreign.example".into(), "sip:foreign.example".into()])
    );
    assert!(probe.text.starts_with("MESSAGE sip:alice@edge.foreign.example:5061 SIP/2.0\r\n"));
    assert!(probe.text.contains("\r\nP-Asserted-Identity: <sip:boss@ours.example>\r\n"));
    assert_eq!(probe.text.matches("From: ").count(), 1, "{}", probe.text);

    lab.good("tls-proxy two");
    lab.under("tls-proxy two", &["server trust-point t", "client trust-point t"]);
    assert_eq!(asked("inbound OPTIONS a@foreign.example b@ours.example tls-proxy two").proxy, 1);
    for (typed, said) in [
        ("inbound OPTIONS a@foreign.example b@ours.example", "there are several"),
        ("inbound OPTIONS a@foreign.example b@ours.example tls-proxy three", "no complete tls-proxy `three`"),
        ("sideways OPTIONS a@foreign.example b@ours.example", "`inbound` or `outbound`"),
        ("inbound OPT@ONS a@foreign.example b@ours.example", "is not a method"),
        ("inbound OPTIONS <a@foreign.example> b@ours.example", "From, an address"),
        ("inbound OPTIONS a@foreign.example", "To, an address"),
        ("inbound OPTIONS a@foreign.example b@ours.example header \"X Y\" z", "a header's name"),
        ("inbound OPTIONS a@foreign.example b@ours.example more", "`uri`"),
    ] {
        let (code, _, err) = lab.cli(&format!("packet-tracer sip {typed}"));
        assert!(code == 2 && err.contains(said), "{typed}: {err}");
    }
    let long = "x".repeat(20_000);
    let (code, _, err) = lab.cli(&format!(
        "packet-tracer sip inbound OPTIONS a@foreign.example b@ours.example tls-proxy one header X {long}"
    ));
    assert!(code == 2 && err.contains("longer than"), "{err}");
}

#[test]
fn checks_have_the_line_that_decided() {
    let (lab, fake, _control) = lab();
    let entry = |name: &str| {
        let state = fake.state();
        let table = state.table.as_ref().unwrap();
        match table.lookup(name.as_bytes()) {
            Listed::Permitted { id, .. } | Listed::Blocked { id } => Some(id),
            Listed::Unlisted => None,
        }
    };
    let permitted = entry("foreign.example");
    let steps = vec![
        step(SipCheck::Sender, Some("foreign.example"), None, &["foreign.example is foreign"], true),
        step(SipCheck::List, Some("foreign.example"), permitted, &["foreign.example is permitted"], true),
        step(SipCheck::Certificate, Some("foreign.example"), None, &["names x.example"], false),
    ];
    let fate = SipFate::Answered { status: 403 };
    fake.state().sip_trace = Some(SipTrace { steps, fate, denial: Some("peer_mismatch".into()) });
    let ask = "packet-tracer sip inbound OPTIONS a@foreign.example b@ours.example certificate x.example";
    assert_eq!(
        lab.good(ask),
        "\
Phase: 1
Type: SIP-DOMAIN
Subtype: from
Result: ALLOW
Config:
Additional Information:
foreign.example is foreign

Phase: 2
Type: SIP-DOMAIN
Subtype: list
Result: ALLOW
Config:
permit domain foreign.example
Additional Information:
foreign.example is permitted

Phase: 3
Type: SIP-DOMAIN
Subtype: certificate
Result: DROP
Config:
Additional Information:
The foreign peer's certificate
names x.example

Result:
direction: inbound
tls-proxy: one
Action: drop
Drop-reason: (peer_mismatch)
Note: it is answered 403

"
    );
    let json = Request { line: ask.into(), json: true, ..Request::default() };
    let (answer, out, _) = lab.ask(&json);
    assert_eq!(answer.code, 0);
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[1]["config"][0], "permit domain foreign.example");
    assert_eq!(rows[3]["result"]["denial"], "peer_mismatch");
    assert_eq!(rows[3]["result"]["status"], 403);

    let wild = step(SipCheck::List, Some("a.partner.example"), entry("a.partner.example"), &[], true);
    let rate = step(SipCheck::Rate, Some("foreign.example"), None, &[], true);
    let steps = vec![wild, rate];
    fake.state().sip_trace = Some(SipTrace { steps, fate: SipFate::Passes, denial: None });
    let text = lab.good(ask);
    assert!(text.contains("permit domain *.partner.example peer edge.example\n"), "{text}");
    assert!(
        text.contains("Subtype: rate\nResult: ALLOW\nConfig:\nfederation domain foreign.example\n"),
        "{text}"
    );
    fake.state().sip_trace = None;
    let (code, _, err) = lab.cli(ask);
    assert!(code == 1 && err.contains("no policy yet"), "{err}");
}
