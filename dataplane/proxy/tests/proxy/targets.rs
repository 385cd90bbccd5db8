// SPDX-License-Identifier: MIT OR Apache-2.0
//! A foreign domain with several edges: death of the first in every way, the order of the others, and that one which has spoken is kept;
//! and how much a domain may send.

use crate::inspected;
use crate::pki::tls_server;
use crate::scene::*;
use fedgate_proxy::{Addr, CloseReason, Leg, Limits};
use fedgate_sip::inspect::{Deed, Parameters, What};
use fedgate_sip::partner::{Bounds, Partner, Partners, PartnersSpec, Rate, Target};
use fedgate_sip::verdict::Listed;
use std::net::Ipv4Addr;

/// Edge `n` of `foreign.example`, beside the one that is called.
fn edge(n: u8) -> Addr {
    (Ipv4Addr::new(198, 51, 100, n).to_bits(), 5061)
}

fn target(n: u8, priority: u16) -> Target {
    Target { priority, weight: 0, addr: edge(n).0.into(), port: edge(n).1 }
}

fn partners(targets: &[Target], bounds: Bounds) -> Partners {
    let partner = Partner { targets: targets.to_vec(), bounds };
    let spec =
        PartnersSpec { default: Bounds::default(), partners: vec![("foreign.example".into(), partner)] };
    Partners::new(spec)
}

fn scene(targets: &[Target]) -> Scene {
    let mut s = Scene::new();
    s.lab.domains.1 = partners(targets, Bounds::default());
    let (ca, foreign) = (s.ca.clone(), s.foreign.clone());
    s.lab.serve = Box::new(move |_| Some(tls_server(&ca, &foreign)));
    s
}

/// What edge `n` has heard on a line, by all its connections.
fn heard(s: &Scene, line: usize, n: u8) -> String {
    let it = &s.lab.lines[line];
    let past = it.past.iter().filter(|(at, _)| *at == edge(n)).map(|(_, text)| text.clone());
    past.chain(it.own.values().filter(|(at, _)| *at == edge(n)).map(|(_, peer)| peer.heard_text())).collect()
}

fn own(s: &Scene, line: usize, n: u8) -> u8 {
    *s.lab.lines[line].own.iter().find(|(_, (at, _))| *at == edge(n)).expect("it is connected").0
}

fn edge_says(s: &mut Scene, line: usize, n: u8, text: impl AsRef<[u8]>) {
    let own = own(s, line, n);
    s.lab.lines[line].own.get_mut(&own).unwrap().1.tell(text);
    s.lab.touch_own(line, own);
}

fn answer(number: usize) -> String {
    response("MESSAGE", "local.example", "foreign.example", number)
}

fn client_hears(s: &mut Scene, line: usize, text: &str) -> bool {
    s.lab.run(secs(5), |lab| lab.lines[line].client.heard_text().ends_with(text))
}

fn finish(mut s: Scene) {
    for it in &mut s.lab.lines {
        it.own.values_mut().for_each(|(_, peer)| peer.hangs_up = true);
    }
    s.finish();
}

#[test]
fn what_the_first_does_not_take_goes_to_the_next() {
    for how in ["refuses", "silent", "no tls", "wrong name", "stranger", "resets", "closes", "spits"] {
        let mut s = scene(&[target(1, 10), target(2, 20)]);
        let other = s.ca.leaf(&["other.example"]);
        let stranger = crate::pki::Authority::new("Nobody's CA");
        let server = match how {
            "no tls" => None,
            "wrong name" => s.server(&other),
            "stranger" => Some(tls_server(&stranger, &stranger.leaf(&["foreign.example"]))),
            _ => s.server(&s.foreign),
        };
        let client = s.client(&s.inside);
        let n = s.lab.line(Leg::Server, client, server);
        match how {
            "refuses" => s.lab.lines[n].server.dies(),
            "silent" => s.lab.lines[n].unplugged[Leg::Server as usize] = true,
            _ => {}
        }
        // Two at once, and what comes while nobody is there yet.
        s.client_says(n, message_out(1) + &message_out(2));
        if ["resets", "closes", "spits"].contains(&how) {
            // It is up, has the requests and answers nothing: as where TLS 1.3 refuses our certificate.
            assert!(
                s.lab
                    .run(secs(5), |lab| lab.lines[n].server.heard_text() == message_out(1) + &message_out(2))
            );
            match how {
                "resets" => s.lab.lines[n].server.dies(),
                "closes" => s.lab.lines[n].server.hangs_up = true,
                _ => s.lab.lines[n].server.tls = None,
            }
            if how == "spits" {
                s.lab.lines[n].server.tell("nonsense that is no record of TLS\r\n");
            }
            s.lab.touch(n, Leg::Server);
        }
        s.client_says(n, message_out(3));
        s.lab.settle(secs(9));
        let all: String = (1..=3).map(message_out).collect();
        assert_eq!(heard(&s, n, 1), all, "{how}: {:?}", s.lab.sink.events);
        assert_eq!(heard(&s, n, 2), "", "{how}");
        edge_says(&mut s, n, 1, answer(2));
        assert!(client_hears(&mut s, n, &answer(2)), "{how}");
        assert_eq!(s.counted("Stat(TargetsMoved)"), 1, "{how}");
        assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 ").count(), 1, "{how}");
        // The next connection does not try it again first.
        let server = s.server(&s.foreign);
        let client = s.client(&s.inside);
        let again = s.lab.line(Leg::Server, client, server);
        s.client_says(again, message_out(4));
        s.lab.settle(secs(2));
        assert_eq!(heard(&s, again, 1), message_out(4), "{how}");
        assert_eq!(s.counted("Stat(TargetsMoved)"), 1, "{how}");
        finish(s);
    }
}

#[test]
fn one_after_the_other_by_priority_and_then_503() {
    let mut s = scene(&[target(3, 30), target(1, 10), target(2, 20)]);
    let n = s.outward();
    s.lab.lines[n].server.dies();
    s.lab.closed.insert(edge(1));
    s.lab.sink.no_way.insert(edge(2));
    s.lab.gone.insert(edge(3));
    s.client_says(n, message_out(1));
    s.lab.settle(secs(30));
    let lost: Vec<&String> =
        s.lab.sink.events.iter().filter(|it| it.contains("lost") || it.contains("unreach")).collect();
    assert_eq!(lost, ["target-lost 5", "target-lost 1", "unreachable 504"]);
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 504 "));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::ServerUnreachable));
    assert_eq!((s.counted("Stat(TargetsFailed)"), s.counted("Stat(TargetsMoved)")), (3, 2));
    s.assert_freed();
}

/// What was sent and never answered is not lost without a word.
#[test]
fn the_last_one_that_dies_has_its_requests_answered() {
    let mut s = scene(&[target(1, 10)]);
    let n = s.outward();
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_out(1)));
    s.lab.lines[n].server.dies();
    s.lab.touch(n, Leg::Server);
    s.lab.settle(secs(1));
    assert_eq!(heard(&s, n, 1), message_out(1));
    let own = own(&s, n, 1);
    s.lab.lines[n].own.get_mut(&own).unwrap().1.dies();
    s.lab.touch_own(n, own);
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 503 ").count(), 1);
    finish(s);
}

#[test]
fn one_that_has_spoken_is_kept() {
    let mut s = scene(&[target(1, 10)]);
    let n = s.outward();
    s.client_says(n, message_out(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_out(1)));
    s.server_says(n, answer(1));
    assert!(client_hears(&mut s, n, &answer(1)));
    s.client_says(n, message_out(2));
    s.lab.settle(secs(1));
    s.lab.lines[n].server.dies();
    s.lab.touch(n, Leg::Server);
    s.lab.settle(secs(20));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Reset(Leg::Server)));
    assert_eq!((heard(&s, n, 1).as_str(), s.counted("Stat(TargetsMoved)")), ("", 0));
    finish(s);
}

/// More than is kept unanswered: it is not sent again in part.
#[test]
fn what_is_kept_is_bounded() {
    let mut s = scene(&[target(1, 10)]);
    let n = s.outward();
    let body = "x".repeat(8000);
    let many: String = (1..=30)
        .map(|number| request("MESSAGE", "local.example", "foreign.example", number, &body))
        .collect();
    s.client_says(n, &many);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == many));
    assert!(s.lab.engine.memory() < 400 << 10, "{}", s.lab.engine.memory());
    s.lab.lines[n].server.dies();
    s.lab.touch(n, Leg::Server);
    s.lab.settle(secs(20));
    assert_eq!((heard(&s, n, 1).as_str(), s.counted("Stat(TargetsMoved)")), ("", 0));
    finish(s);
}

/// A foreign edge with one address, as OCS has, is called as before; and so is one whose only target is that address.
#[test]
fn one_address_is_as_without_targets() {
    for targets in [&[][..], &[Target { addr: Ipv4Addr::from_bits(crate::net::SERVER.0), ..target(0, 0) }]] {
        let mut s = scene(targets);
        let n = s.outward();
        s.lab.lines[n].server.dies();
        s.client_says(n, message_out(1));
        s.lab.settle(secs(20));
        assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 503 "));
        assert_eq!(s.counted("Stat(TargetsMoved)"), 0);
        s.assert_freed();
    }
}

fn bounded(limits: Limits, bounds: Bounds) -> Scene {
    let mut s = Scene::with(limits);
    s.lab.domains.1 = partners(&[], bounds);
    s
}

#[test]
fn a_domain_is_held_to_its_rate_and_no_other_is() {
    let rate = Some(Rate { rate: 10, burst: 20 });
    let mut s = bounded(Limits::default(), Bounds { rate, sessions: None });
    s.lab.domains.0.insert("partner.example".into(), Listed::Permitted { id: 8, peer: None });
    let n = s.inward();
    let many: String = (1..=50).map(message_in).collect();
    s.client_says(n, many);
    s.lab.settle(secs(1));
    let text = s.lab.lines[n].client.heard_text();
    let (refused, passed) = (
        text.matches("SIP/2.0 503 ").count(),
        s.lab.lines[n].server.heard_text().matches("MESSAGE sip:").count(),
    );
    assert!(refused + passed == 50 && (20..=24).contains(&passed), "{refused} {passed}");
    assert_eq!(text.matches("Retry-After: 1\r\n").count(), refused);
    assert_eq!(s.counted("Stat(SipDeniedRate)"), refused as u64);
    assert_eq!(s.counted(&format!("Domain({ENTRY}, DeniedLimit)")), refused as u64);
    // Who else is there, and what goes out, is not held up.
    let partner = s.ca.leaf(&["partner.example"]);
    let (client, server) = (s.client(&partner), s.server(&s.inside));
    let other = s.lab.line(Leg::Client, client, server);
    let many: String =
        (1..=50).map(|number| request("MESSAGE", "partner.example", "local.example", number, "")).collect();
    s.client_says(other, &many);
    s.server_says(n, (1..=50).map(message_out).collect::<String>());
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[other].server.heard_text(), many);
    assert_eq!(s.lab.lines[n].client.heard_text().matches("MESSAGE sip:").count(), 50);
    // It has its rate again, a second later.
    s.client_says(n, message_in(90));
    s.lab.settle(secs(1));
    assert!(s.lab.lines[n].server.heard_text().ends_with(&message_in(90)));
    s.finish();
}

/// What an inspect map stops is no connection of the domain's yet; what it lets pass then is, once.
#[test]
fn what_a_map_stops_is_not_counted_for_its_domain() {
    let messages = What::Method(Some("message".into()));
    let mut s = inspected::scene(vec![inspected::rule(messages, Deed::Drop)], Parameters::default());
    s.lab.domains.1 = partners(&[], Bounds { rate: None, sessions: Some(2) });
    let (one, two) = (s.inward(), s.inward());
    s.client_says(one, (1..=20).map(message_in).collect::<String>());
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[one].client.heard_text().matches("SIP/2.0 403 ").count(), 20);
    for (n, line) in [one, two].into_iter().enumerate() {
        s.client_says(line, inspected::info(30 + n));
        s.lab.settle(secs(1));
        assert_eq!(s.lab.lines[line].server.heard_text(), inspected::info(30 + n));
    }
    let three = s.inward();
    s.client_says(three, inspected::info(40));
    s.lab.settle(secs(1));
    assert!(s.lab.lines[three].client.heard_text().starts_with("SIP/2.0 503 "));
    assert_eq!(s.counted("Stat(SipDeniedSessions)"), 1);
    s.finish();
}

#[test]
fn a_domain_has_so_many_connections() {
    let mut s = bounded(Limits::default(), Bounds { rate: None, sessions: Some(2) });
    let lines: Vec<usize> = (0..3).map(|_| s.inward()).collect();
    for (n, line) in lines.iter().enumerate() {
        s.client_says(*line, message_in(n) + &message_in(10 + n));
        s.lab.settle(secs(1));
    }
    let heard =
        |s: &Scene, line: usize| s.lab.lines[line].server.heard_text().matches("MESSAGE sip:").count();
    assert_eq!(lines.iter().map(|line| heard(&s, *line)).collect::<Vec<_>>(), [2, 2, 0]);
    let text = s.lab.lines[lines[2]].client.heard_text();
    assert_eq!((text.matches("SIP/2.0 503 ").count(), text.matches("Retry-After: 30\r\n").count()), (2, 2));
    assert_eq!(s.counted("Stat(SipDeniedSessions)"), 2);
    // One goes, and there is room for it.
    s.lab.lines[lines[0]].client.dies();
    s.lab.touch(lines[0], Leg::Client);
    s.lab.settle(secs(20));
    s.client_says(lines[2], message_in(20));
    s.lab.settle(secs(1));
    assert_eq!(heard(&s, lines[2]), 1);
    s.finish();
}
