// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a peer may try: nothing of it may cost the others, or more than a bound.

use crate::pki::tls_client;
use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg, Limits, Micros};
use proptest::prelude::*;

#[test]
fn garbage_instead_of_tls() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "OPTIONS sip:x SIP/2.0\r\n\r\n",
        "\0\0\0\0\0\0\0\0",
        "\x16\x03\x01\u{7f}\u{7f}",
    ] {
        let mut s = Scene::new();
        let n = s.lab.line(Leg::Client, None, None);
        s.client_says(n, text.repeat(50));
        s.lab.settle(secs(60));
        assert!(
            matches!(
                s.lab.lines[n].closed,
                Some(
                    CloseReason::TlsFailed(Leg::Client)
                        | CloseReason::TlsTimeout(Leg::Client)
                        | CloseReason::Reset(Leg::Client)
                )
            ),
            "{text:?}: {:?}",
            s.lab.lines[n].closed
        );
        assert_eq!(s.lab.lines[n].sent[1], 0);
        s.assert_freed();
    }
}

#[test]
fn garbage_instead_of_sip() {
    let head = "MESSAGE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n\
                From: <sip:a@foreign.example>;tag=1\r\nTo: <sip:bob@local.example>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n";
    for (text, answer) in [
        ("hello\nworld\n\n".to_owned(), ""),
        ("\0".repeat(20000), ""),
        (format!("{head}\r\n"), "SIP/2.0 400 "),
        (format!("{head}Content-Length: 5\r\nl: 5\r\n\r\nhello"), "SIP/2.0 400 "),
        (format!("{head}Content-Length: 99999999\r\n\r\n"), "SIP/2.0 413 "),
        (format!("{head}{}\r\n\r\n", "X: y\r\n".repeat(300)), "SIP/2.0 513 "),
    ] {
        let mut s = Scene::new();
        let n = s.inward();
        s.client_says(n, &text);
        s.lab.settle(secs(60));
        let heard = s.lab.lines[n].client.heard_text();
        assert!(heard.starts_with(answer) && heard.is_empty() == answer.is_empty(), "{heard}");
        assert!(s.lab.lines[n].client.notified, "close_notify");
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Unframeable(Leg::Client)));
        assert_eq!(s.lab.lines[n].sent[1], 0);
        s.assert_freed();
    }
}

#[test]
fn malformed_messages_are_answered_and_then_too_many() {
    let mut s = Scene::new();
    let n = s.inward();
    let bad = message_in(1).replace("CSeq: 1 MESSAGE", "CSeq: 1 INVITE");
    s.client_says(n, bad.repeat(31) + &message_in(2));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(2)));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 400 ").count(), 31);
    s.client_says(n, bad.repeat(40));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Malformed(Leg::Client)));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 400 ").count(), 31 + 32);
    s.finish();
}

#[test]
fn slow_peers_run_into_absolute_limits() {
    // Connects and says nothing.
    let mut s = Scene::new();
    let n = s.lab.line(Leg::Client, None, None);
    s.lab.settle(secs(9));
    assert_eq!(s.lab.engine.sessions(), 1);
    s.lab.settle(secs(40));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsTimeout(Leg::Client)));
    s.assert_freed();
    // Sends a SYN and nothing else.
    let mut s = Scene::new();
    let n = s.lab.line(Leg::Client, None, None);
    s.lab.run(secs(1), |lab| lab.engine.sessions() == 1);
    s.lab.lines[n].unplugged = [true; 2];
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TcpTimeout(Leg::Client)));
    s.assert_freed();
    // One octet of a message every second.
    let mut s = Scene::new();
    let n = s.inward();
    let mut sent = 0;
    for byte in message_in(1).bytes() {
        s.client_says(n, [byte]);
        s.lab.settle(secs(1));
        if s.lab.lines[n].closed.is_some() {
            break;
        }
        sent += 1;
    }
    assert!((14..=32).contains(&sent), "{sent}");
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::MessageTimeout(Leg::Client)));
    assert_eq!(s.lab.lines[n].sent[1], 0);
    s.lab.settle(secs(60));
    s.assert_freed();
}

#[test]
fn a_peer_that_stops_reading_stalls_itself_only() {
    let mut s = Scene::new();
    let stuck = s.inward();
    let other = s.inward();
    for n in [stuck, other] {
        s.client_says(n, message_in(0));
        assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    }
    // The server floods a client that reads nothing: 10 MB.
    s.lab.lines[stuck].client.reads = false;
    let big = request("MESSAGE", "local.example", "foreign.example", 1, &"x".repeat(20_000));
    let before = s.lab.engine.memory();
    s.server_says(stuck, big.repeat(500));
    s.lab.settle(secs(30));
    assert!(s.lab.lines[stuck].server.say.len() > 9_000_000, "the server is held back");
    let grown = s.lab.engine.memory() - before;
    assert!(grown < 220_000, "memory is bounded: {grown}");
    // The other session is as quick as ever.
    let began = s.lab.now;
    s.client_says(other, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[other].server.heard_text().contains("c1@")));
    assert!(s.lab.now.since(began) < 20_000);
    // If it reads again within the limit, all goes on.
    s.lab.lines[stuck].client.reads = true;
    s.lab.touch(stuck, Leg::Client);
    assert!(s.lab.run(secs(300), |lab| lab.lines[stuck].client.heard.len() == big.len() * 500));
    // If not, the session ends.
    s.lab.lines[stuck].client.reads = false;
    s.server_says(stuck, big.repeat(50));
    s.lab.settle(secs(90));
    assert_eq!(s.lab.lines[stuck].closed, Some(CloseReason::Stalled(Leg::Client)));
    assert_eq!(s.lab.lines[other].closed, None);
    s.finish();
}

#[test]
fn answers_are_bounded_when_their_reader_stops() {
    let mut s = Scene::new();
    let n = s.inward();
    s.lab.lines[n].client.reads = true;
    s.client_says(n, message_in(0));
    assert!(s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty()));
    let before = s.lab.engine.memory();
    s.lab.lines[n].client.reads = false;
    s.client_says(n, request("MESSAGE", "stranger.example", "local.example", 1, "").repeat(20_000));
    s.lab.settle(secs(30));
    let grown = s.lab.engine.memory() - before;
    // Both TCP buffers, an inbox and what waits in TLS, each full.
    assert!(grown < 200_000, "memory is bounded: {grown}");
    s.lab.lines[n].client.reads = true;
    s.lab.touch(n, Leg::Client);
    assert!(
        s.lab
            .run(secs(600), |lab| lab.lines[n].client.heard_text().matches("SIP/2.0 403 ").count() == 20_000)
    );
    s.finish();
}

#[test]
fn limits_are_named() {
    let mut s = Scene::with(Limits { sessions: 3, handshakes: 2, source_part: 1, ..Default::default() });
    // Two that are through with TCP and silent then: they stay, and a third is refused.
    for _ in 0..2 {
        s.lab.line(Leg::Client, None, None);
    }
    s.lab.settle(Micros(200_000));
    let third = s.lab.line(Leg::Client, None, None);
    s.lab.settle(Micros(200_000));
    assert_eq!(s.lab.engine.handshakes(), 2);
    assert!(s.lab.lines[third].refused > 0);
    s.lab.settle(secs(120));
    assert_eq!(s.lab.engine.memory(), 0);

    let mut s = Scene::with(Limits { memory: 150_000, ..Default::default() });
    for _ in 0..4 {
        s.lab.line(Leg::Client, None, None);
    }
    s.lab.settle(secs(1));
    assert!(s.lab.peak <= 150_000);
    assert_eq!(s.lab.engine.sessions(), 2);
}

#[test]
fn no_memory_for_the_server_leg() {
    let mut s = Scene::with(Limits { memory: 84_000, ..Default::default() });
    let n = s.inward();
    s.client_says(n, message_in(1));
    s.lab.settle(secs(60));
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 503 "));
    assert_eq!(s.lab.lines[n].sent[1], 0);
    assert!(s.lab.peak <= 84_000);
    s.assert_freed();
}

#[test]
fn no_packet_buffers_for_a_while() {
    let mut s = Scene::new();
    let n = s.inward();
    s.client_says(n, message_in(1));
    s.lab.sink.starve = true;
    s.lab.settle(secs(3));
    s.lab.sink.starve = false;
    assert!(s.lab.run(secs(20), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    s.finish();
}

#[test]
fn a_client_hello_of_certificates() {
    // A handshake record stream that never ends: a client's chain of thousands of certificates.
    let mut s = Scene::new();
    let mut fat = s.foreign.clone();
    fat.chain = fat.chain.repeat(200);
    let client = Some(tls_client(&s.ca, Some(&fat)));
    let n = s.lab.line(Leg::Client, client, None);
    s.client_says(n, message_in(1));
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::TlsFailed(Leg::Client)));
    s.assert_freed();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any bytes in any packet, TCP or not, leave the engine standing and in the end empty.
    #[test]
    fn any_packet(packets in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200), 0usize..60, any::<u8>()), 1..40)) {
        use fedgate_proxy::Context;
        let mut s = Scene::new();
        let n = s.inward();
        s.client_says(n, message_in(1));
        s.lab.run(secs(5), |lab| !lab.lines[n].server.heard.is_empty());
        let Some(id) = s.lab.lines[n].session else { panic!("a session") };
        let ctx = Context { domains: &s.lab.domains, locals: &s.lab.locals, timeouts: s.lab.timeouts };
        for (server, mut bytes, at, to) in packets {
            let leg = if server { Leg::Server } else { Leg::Client };
            if bytes.len() > 40 {
                // Looks like a segment of this connection, with one byte wrong.
                let p = &s.lab.lines[n].params;
                let (remote, local) = if server { (p.server_remote, p.server_local) } else { (p.client_remote, p.client_local) };
                let len = bytes.len() as u16;
                bytes[..10].copy_from_slice(&[0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0x40, 0, 64, 6]);
                bytes[12..16].copy_from_slice(&remote.0.to_be_bytes());
                bytes[16..20].copy_from_slice(&local.0.to_be_bytes());
                bytes[20..22].copy_from_slice(&remote.1.to_be_bytes());
                bytes[22..24].copy_from_slice(&local.1.to_be_bytes());
                bytes[32] = 0x50;
                bytes[at.min(40)] = to;
                if smoltcp::wire::Ipv4Packet::new_checked(&bytes[..]).is_ok() {
                    smoltcp::wire::Ipv4Packet::new_unchecked(&mut bytes[..]).fill_checksum();
                }
            }
            if s.lab.engine.input(s.lab.now, id, leg, &bytes).is_ok() {
                s.lab.engine.poll(s.lab.now, &ctx, &mut s.lab.sink);
            }
        }
        s.finish();
    }
}

/// A response that answers nothing we passed opens no connection to the outside, whatever it says.
#[test]
fn a_response_calls_nobody() {
    let mut s = Scene::new();
    let other = s.ca.leaf(&["attacker.example"]);
    let (client, server) = (s.client(&s.inside), s.server(&other));
    let n = s.lab.line(Leg::Server, client, server);
    s.client_says(n, response("SUBSCRIBE", "unlisted.example", "local.example", 1));
    s.lab.settle(secs(5));
    assert_eq!(s.lab.lines[n].server.heard_text(), "");
}

/// A message that waits for the inside server is not delivered when its domain has been shut out meanwhile.
#[test]
fn shutting_a_domain_out_reaches_what_waits() {
    let mut s = Scene::new();
    let n = s.inward();
    s.lab.lines[n].unplugged[1] = true;
    s.client_says(n, message_in(1));
    s.lab.settle(secs(2));
    s.lab.domains = Default::default();
    s.lab.settle(secs(4));
    s.lab.lines[n].unplugged[1] = false;
    s.lab.settle(secs(4));
    assert_eq!(s.lab.lines[n].server.heard_text(), "");
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 403"));
}

/// Two thousand SYNs of hosts that do not exist make way for one that does.
#[test]
fn half_open_connections_lock_nobody_out() {
    let mut s = Scene::new();
    for opened in 1..=2_000 {
        let n = s.lab.line(Leg::Client, None, None);
        s.lab.run(secs(1), |lab| lab.engine.sessions() >= opened);
        s.lab.lines[n].unplugged = [true; 2];
    }
    let good = s.inward();
    s.client_says(good, message_in(1));
    assert!(s.lab.run(secs(2), |lab| !lab.lines[good].server.heard.is_empty()));
}

/// A response that answers nothing, with a second Via for somebody inside: it does not cross, and what is asked is answered once.
#[test]
fn unsolicited_responses_do_not_cross() {
    let mut s = Scene::new();
    let n = s.inward();
    s.client_says(n, message_in(1));
    s.lab.settle(secs(1));
    let before = s.lab.lines[n].server.heard.len();
    assert!(before > 0);
    s.client_says(n, response("MESSAGE", "local.example", "foreign.example", 7));
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[n].server.heard.len(), before);
}
