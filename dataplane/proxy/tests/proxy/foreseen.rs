// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer sip` foretells what sessions then do: the same requests, thought of and sent.

use crate::inspected::{rule, scene};
use crate::scene::*;
use fedgate_proxy::{Context, Leg};
use fedgate_sip::inspect::{Deed, Parameters, What};
use fedgate_sip::partner::{Bounds, Partner, Partners, PartnersSpec, Rate};
use fedgate_sip::verdict::Listed;
use fedgate_tables::link::{SipCheck, SipFate, SipProbe, SipTrace};

fn foresee(s: &Scene, inward: bool, text: &str, names: &[&str]) -> SipTrace {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let probe = SipProbe { proxy: 0, inward, text: text.to_owned(), names };
    let lab = &s.lab;
    let ctx = Context { domains: &lab.domains, locals: &lab.locals, timeouts: lab.timeouts };
    lab.engine.foresee(&probe, &lab.tls, lab.now, &ctx).expect("one whole request")
}

/// What a session does with it: on a connection of its own, as [`SipFate`] would have it.
fn sent(s: &mut Scene, text: &str) -> SipFate {
    let n = s.inward();
    s.client_says(n, text);
    s.lab.settle(secs(5));
    let line = &s.lab.lines[n];
    let answer = line.client.heard_text();
    match answer.get(8..11) {
        Some(status) => SipFate::Answered { status: status.parse().expect("a status") },
        None if line.server.heard_text() == text => SipFate::Passes,
        None if line.closed.is_some() => SipFate::Ended { reset: false },
        None => SipFate::Dropped,
    }
}

/// Says the request after asking, and that the last check of the answer is the one meant.
fn alike(s: &mut Scene, text: &str, last: SipCheck, denial: Option<&str>) {
    let trace = foresee(s, true, text, &["foreign.example"]);
    assert_eq!(trace, foresee(s, true, text, &["foreign.example"]), "to ask changes nothing");
    assert_eq!(trace.fate, sent(s, text), "{text}\n{trace:?}");
    let step = trace.steps.last().expect("something was asked");
    assert_eq!((step.check, trace.denial.as_deref()), (last, denial), "{trace:?}");
    assert_eq!(step.permit, trace.fate == SipFate::Passes, "{trace:?}");
    let (_, before) = trace.steps.split_last().expect("something was asked");
    assert!(before.iter().all(|step| step.permit), "{trace:?}");
}

fn with(old: &str, new: &str) -> String {
    let text = message_in(1);
    assert!(text.contains(old), "{old}");
    text.replacen(old, new, 1)
}

#[test]
fn checks_say_what_sessions_do() {
    let plus = |header: &str| with("Content-Type: ", &format!("{header}\r\nContent-Type: "));
    for (text, last, denial) in [
        (message_in(1), SipCheck::Target, None),
        (with("alice@foreign.example", "alice@local.example"), SipCheck::Sender, Some("spoof_local")),
        (with("alice@foreign.example", "alice@elsewhere.example"), SipCheck::List, Some("not_permitted")),
        (with("alice@foreign.example", "alice@bad.example"), SipCheck::List, Some("blocked")),
        (
            with("alice@foreign.example", "alice@partner.example"),
            SipCheck::Certificate,
            Some("peer_mismatch"),
        ),
        (message_in(1).replace("MESSAGE", "PUBLISH"), SipCheck::Method, Some("method")),
        (plus("Proxy-Require: teleport"), SipCheck::Extension, Some("extension")),
        (
            plus("P-Asserted-Identity: <sip:boss@local.example>"),
            SipCheck::Identity,
            Some("asserted_identity"),
        ),
        (
            with("To: <sip:bob@local.example>", "To: <sip:bob@else.example>"),
            SipCheck::Addressee,
            Some("relay"),
        ),
        (plus("Route: <sip:else.example;lr>"), SipCheck::Route, Some("relay")),
        (plus("Replaces: d1;to-tag=in;from-tag=out"), SipCheck::Pointing, Some("dialog_named")),
        (with("bob@local.example>\r\n", "bob@local.example>;tag=x\r\n"), SipCheck::Target, None),
        (with("Max-Forwards: 70", "Max-Forwards: 0"), SipCheck::Message, None),
        (with("CSeq: 1 MESSAGE", "CSeq: x"), SipCheck::Message, None),
    ] {
        let mut s = Scene::new();
        s.lab.domains.permit("partner.example", 8);
        s.lab.domains.0.insert("bad.example".into(), Listed::Blocked { id: 9 });
        alike(&mut s, &text, last, denial);
        s.finish();
    }
}

#[test]
fn an_inspect_map_and_the_bounds_of_a_domain() {
    let mut s = scene(vec![rule(What::Method(Some("MESSAGE".into())), Deed::Drop)], Parameters::default());
    alike(&mut s, &message_in(1), SipCheck::Inspection, None);
    let trace = foresee(&s, true, &message_in(1), &[]);
    assert_eq!(trace.steps.last().map(|step| step.found.clone()), Some(vec!["match it: drop log".into()]));
    s.finish();
    let mut s = Scene::new();
    let bounds = Bounds { rate: Some(Rate { rate: 1, burst: 2 }), sessions: Some(50) };
    let partner = Partner { targets: Vec::new(), bounds };
    let partners = vec![("foreign.example".to_owned(), partner)];
    s.lab.domains.1 = Partners::new(PartnersSpec { partners, ..Default::default() });
    let n = s.inward();
    s.client_says(n, message_in(1) + &message_in(2));
    assert!(s.lab.run(secs(1), |lab| lab.lines[n].server.heard_text().contains("CSeq: 1")));
    // Asked ten times, it has used up nothing.
    let rate = |s: &Scene| foresee(s, true, &message_in(3), &[]);
    for _ in 0..10 {
        assert_eq!(rate(&s).denial.as_deref(), Some("rate"));
    }
    s.lab.settle(secs(10));
    for _ in 0..10 {
        assert_eq!(rate(&s).fate, SipFate::Passes);
    }
    s.finish();
}

#[test]
fn outwards() {
    let mut s = Scene::new();
    let out = message_out(1);
    let trace = foresee(&s, false, &out, &["other.example"]);
    assert_eq!(
        (trace.fate, trace.denial.as_deref()),
        (SipFate::Answered { status: 403 }, Some("outbound_peer"))
    );
    let checks = |trace: &SipTrace| trace.steps.iter().map(|step| step.check).collect::<Vec<_>>();
    let passes = foresee(&s, false, &out, &["foreign.example"]);
    assert_eq!(passes.fate, SipFate::Passes);
    assert_eq!(checks(&passes), [SipCheck::Sender, SipCheck::List, SipCheck::Certificate, SipCheck::Target]);
    let stray = foresee(&s, false, &message_in(1), &[]);
    assert_eq!(stray.denial.as_deref(), Some("outbound_from"));
    let n = s.outward();
    s.client_says(n, &out);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == out));
    assert_eq!(s.lab.lines[n].params.outside, Leg::Server);
    s.finish();
}
