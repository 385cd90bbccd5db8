// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages across NAT: what the outside hears names mapped addresses, what comes back names real ones, and a dialog goes on in
//! both directions over the addresses that its messages gave.

use crate::scene::*;
use fedgate_proxy::Leg;

const REAL: &str = "10.0.0.9:5062";
const SHOWN: &str = "192.0.2.5:6062";

fn scene() -> Scene {
    let mut s = Scene::new();
    let pairs = [
        (REAL, SHOWN),
        ("10.0.0.9:5061", "192.0.2.5:5061"),
        ("10.0.0.10:5060", "192.0.2.7:5060"),
        ("10.0.0.9:4000", "192.0.2.5:6000"),
        ("10.0.0.9:4001", "192.0.2.5:6001"),
    ];
    s.lab.sink.nat =
        pairs.map(|(real, shown)| (real.parse().expect("ok"), shown.parse().expect("ok"))).into();
    s
}

/// A message of one dialog, whose sender is `edge` and writes `headers`.
fn say(start: &str, outside_asks: bool, method: &str, cseq: u32, to_tag: bool, headers: &str) -> String {
    let (foreign, local) = ("<sip:alice@foreign.example>;tag=out", "<sip:bob@local.example>;tag=in");
    let (from, to) = if outside_asks { (foreign, local) } else { (local, foreign) };
    let to = if to_tag { to } else { to.split(";tag").next().expect("an address") };
    let (headers, body) = headers.split_once("\r\n\r\n").unwrap_or((headers, ""));
    let headers = if headers.is_empty() { String::new() } else { format!("{}\r\n", headers.trim_end()) };
    format!(
        "{start}\r\n{headers}Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: d1@10.0.0.9\r\n\
         CSeq: {cseq} {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn hears(s: &mut Scene, n: usize, leg: Leg, text: &str) {
    let heard = s.lab.run(secs(5), |lab| {
        let line = &lab.lines[n];
        let peer = if leg == Leg::Client { &line.client } else { &line.server };
        peer.heard_text().ends_with(text)
    });
    let line = &s.lab.lines[n];
    let peer = if leg == Leg::Client { &line.client } else { &line.server };
    assert!(heard, "the {leg:?} heard\n{}\nand not\n{text}", peer.heard_text());
}

fn at(text: &str, shown: bool) -> String {
    let pairs = [(REAL, SHOWN), ("10.0.0.9:5061", "192.0.2.5:5061"), ("10.0.0.10", "192.0.2.7")];
    pairs.iter().fold(text.to_owned(), |text, (real, mapped)| {
        if shown { text.replace(real, mapped) } else { text.replace(mapped, real) }
    })
}

#[test]
fn a_subscription_goes_out_and_its_notify_comes_in() {
    let mut s = scene();
    let n = s.outward();
    let via = "Via: SIP/2.0/TLS 10.0.0.9:5061;branch=z9hG4bK1;rport\r\nVia: SIP/2.0/TCP 10.0.0.10;branch=z9hG4bK0\r\n";
    let own = "Record-Route: <sip:10.0.0.9:5061;transport=tls;lr>\r\nContact: <sip:bob@10.0.0.9:5062;transport=tls>\r\n";
    let ask =
        |head: &str| say("SUBSCRIBE sip:alice@foreign.example SIP/2.0", false, "SUBSCRIBE", 1, false, head);
    s.client_says(n, ask(&format!("{via}{own}Event: presence\r\n")));
    hears(&mut s, n, Leg::Server, &ask(&at(&format!("{via}{own}Event: presence\r\n"), true)));

    let far = "Contact: <sip:alice@198.51.100.9:5061>\r\nExpires: 3600\r\n";
    let ok = |head: &str| say("SIP/2.0 200 OK", false, "SUBSCRIBE", 1, true, head);
    let route = own.lines().next().expect("a line");
    let heard = via.replace("rport", "rport=7777;received=203.0.113.77");
    s.server_says(n, ok(&at(&format!("{heard}{route}\r\n{far}"), true)));
    hears(&mut s, n, Leg::Client, &ok(&format!("{heard}{route}\r\n{far}")));

    // To the Contact and by the Route that it was told.
    let via = "Via: SIP/2.0/TLS 10.0.0.9:5061;branch=z9hG4bK2\r\n";
    let notify = |uri: &str, route: &str| {
        let head = format!(
            "{via}Route: <sip:{route};transport=tls;lr>\r\nEvent: presence\r\n\
            Subscription-State: active;expires=3600\r\n"
        );
        say(&format!("NOTIFY sip:bob@{uri};transport=tls SIP/2.0"), true, "NOTIFY", 1, true, &head)
    };
    s.server_says(n, notify(SHOWN, "192.0.2.5:5061"));
    hears(&mut s, n, Leg::Client, &notify(REAL, "10.0.0.9:5061"));
    // Its Via is the outside's own, whatever private address it has: the answer finds its way by it.
    let ok = say("SIP/2.0 200 OK", true, "NOTIFY", 1, true, via);
    s.client_says(n, &ok);
    hears(&mut s, n, Leg::Server, &ok);
    assert_eq!(s.counted("Stat(SipTranslatedOut)"), 1);
    assert_eq!(s.counted("Stat(SipTranslatedIn)"), 2);
    assert_eq!((s.lab.lines[n].client.heard.is_empty(), s.counted("Stat(SipDropped)")), (false, 0));
    s.finish();
}

#[test]
fn a_call_comes_in_and_the_answer_shows_its_media() {
    let mut s = scene();
    let n = s.inward();
    let via = "Via: SIP/2.0/TLS edge.foreign.example;branch=z9hG4bK1\r\n";
    let sdp = |host: &str, port: u16| {
        format!(
            "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
            m=audio {port} RTP/AVP 0\r\n"
        )
    };
    let head = format!("{via}Contact: <sip:alice@198.51.100.9:5061>\r\n{}", sdp("198.51.100.9", 30000));
    let invite = say("INVITE sip:bob@local.example SIP/2.0", true, "INVITE", 1, false, &head);
    s.client_says(n, &invite);
    hears(&mut s, n, Leg::Server, &invite);
    let ok = |contact: &str, host: &str, port| {
        let head = format!("{via}Contact: <sip:bob@{contact}>\r\n{}", sdp(host, port));
        say("SIP/2.0 200 OK", true, "INVITE", 1, true, &head)
    };
    s.server_says(n, ok(REAL, "10.0.0.9", 4000));
    hears(&mut s, n, Leg::Client, &ok(SHOWN, "192.0.2.5", 6000));
    // On another connection of the same peer.
    let other = s.inward();
    let ack = |uri: &str| say(&format!("ACK sip:bob@{uri} SIP/2.0"), true, "ACK", 1, true, via);
    s.client_says(other, ack(SHOWN));
    hears(&mut s, other, Leg::Server, &ack(REAL));
    // It ends on that one, and the worker has heard it all of one call, in real addresses.
    let bye = |uri: &str| say(&format!("BYE sip:bob@{uri} SIP/2.0"), true, "BYE", 2, true, via);
    s.client_says(other, bye(SHOWN));
    hears(&mut s, other, Leg::Server, &bye(REAL));
    let ok = say("SIP/2.0 200 OK", true, "BYE", 2, true, via);
    s.server_says(other, &ok);
    hears(&mut s, other, Leg::Client, &ok);
    let (calls, notes): (Vec<u64>, Vec<&str>) =
        s.lab.sink.media.iter().map(|(call, note)| (*call, note.as_str())).unzip();
    assert_eq!(notes, ["in 198.51.100.9:30000", "out 10.0.0.9:4000 Agreed", "in Ending", "out Over"]);
    assert!(calls.iter().all(|call| *call == calls[0]));
    s.finish();
}

#[test]
fn nobody_is_led_to_a_host_that_was_not_named() {
    let mut s = scene();
    let n = s.inward();
    let via = "Via: SIP/2.0/TLS edge.foreign.example;branch=z9hG4bK1\r\n";
    let bye = say("INFO sip:bob@192.0.2.7:5060 SIP/2.0", true, "INFO", 2, true, via);
    s.client_says(n, &bye);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text().starts_with("SIP/2.0 404 ")
        || lab.lines[n].client.heard_text().starts_with("SIP/2.0 403 ")));
    assert_eq!(s.counted("Stat(SipDeniedRelay)"), 1);
    assert!(s.lab.lines[n].server.heard.is_empty());
    s.finish();
}
