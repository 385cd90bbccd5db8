// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one address may have of what there is for all, and what a peer may make us wait for.

use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg, Limits, Micros};
use smoltcp::socket::tcp::State;

const HOSTILE: u32 = 0xcb00_7107; // 203.0.113.7
const REFUSED: &str = "Stat(ProxySourceRefused)";

fn limits(sessions: u32, handshakes: u32) -> Limits {
    Limits { sessions, handshakes, ..Limits::default() }
}

/// A call of another address than the usual.
fn from(s: &mut Scene, address: u32, call: impl FnOnce(&mut Scene) -> usize) -> usize {
    let usual = std::mem::replace(&mut s.lab.from, address);
    let line = call(s);
    s.lab.from = usual;
    line
}

fn gets_through(s: &mut Scene, line: usize) -> bool {
    s.client_says(line, message_in(line));
    s.lab.run(secs(3), |lab| !lab.lines[line].server.heard.is_empty())
}

/// Forty connections of one address that never say anything: ten of them hold places, and others still get in.
#[test]
fn one_address_does_not_get_all_handshakes() {
    let mut s = Scene::with(limits(1_000, 40));
    let silent: Vec<usize> =
        (0..40).map(|_| from(&mut s, HOSTILE, |s| s.lab.line(Leg::Client, None, None))).collect();
    s.lab.settle(Micros(200_000));
    assert_eq!(s.lab.engine.handshakes(), 10);
    assert_eq!(s.counted(REFUSED), 30);
    for &line in &silent[10..] {
        assert_eq!(s.lab.lines[line].closed, Some(CloseReason::SourceHandshakes));
        assert_eq!(s.lab.lines[line].client.state(), State::Closed, "it was reset");
    }
    assert!(
        s.lab
            .sink
            .events
            .iter()
            .any(|e| e == "refused: the client's address has its share of the handshakes")
    );
    let good = s.inward();
    assert!(gets_through(&mut s, good));
    // Their time runs out; the address may come again.
    s.lab.settle(secs(12));
    let again = from(&mut s, HOSTILE, Scene::inward);
    assert!(gets_through(&mut s, again));
    s.finish();
    assert_eq!(s.lab.engine.sources(), 0);
}

/// The same with a certificate that is good: of twelve connections, ten are a quarter of what there is.
#[test]
fn one_address_does_not_get_all_sessions() {
    let mut s = Scene::with(limits(40, 2_000));
    let lines: Vec<usize> = (0..12).map(|_| from(&mut s, HOSTILE, Scene::inward)).collect();
    s.lab.settle(secs(1));
    let refused = |s: &Scene, n: &usize| s.lab.lines[*n].closed == Some(CloseReason::SourceSessions);
    assert_eq!(lines.iter().filter(|n| refused(&s, n)).count(), 2);
    assert_eq!((s.counted(REFUSED), s.lab.engine.sessions()), (2, 10));
    let good = s.inward();
    assert!(gets_through(&mut s, good));
    // One of them hangs up: its place is free at once, although TIME_WAIT is not over.
    let gone = lines.iter().copied().find(|n| !refused(&s, n)).expect("ten are open");
    s.lab.lines[gone].client.hangs_up = true;
    s.lab.touch(gone, Leg::Client);
    s.lab.settle(secs(1));
    let next = from(&mut s, HOSTILE, Scene::inward);
    assert!(gets_through(&mut s, next));
    let over = from(&mut s, HOSTILE, Scene::inward);
    assert!(!gets_through(&mut s, over));
    s.finish();
    assert_eq!(s.lab.engine.sources(), 0);
}

/// SYNs in a partner's name, by somebody who does not hear the answers: nothing of the partner's share is theirs.
#[test]
fn made_up_syns_take_nothing_of_their_address() {
    let mut s = Scene::with(limits(1_000, 40));
    for opened in 1..=30 {
        let line = s.lab.line(Leg::Client, None, None);
        s.lab.run(secs(1), |lab| lab.engine.sessions() >= opened);
        s.lab.lines[line].unplugged = [true; 2];
    }
    assert_eq!((s.lab.engine.handshakes(), s.lab.engine.sources()), (30, 0));
    for _ in 0..10 {
        let good = s.inward();
        assert!(gets_through(&mut s, good));
    }
    assert_eq!(s.counted(REFUSED), 0);
}

/// Inside there may be one routing server for all.
#[test]
fn the_inside_has_no_share() {
    let mut s = Scene::with(limits(8, 8));
    for _ in 0..8 {
        let line = s.outward();
        s.client_says(line, message_out(line));
        assert!(s.lab.run(secs(3), |lab| !lab.lines[line].server.heard.is_empty()));
    }
    assert_eq!((s.counted(REFUSED), s.lab.engine.sessions()), (0, 8));
    s.finish();
}

/// `tls-proxy maximum-session` makes the shares smaller too.
#[test]
fn the_share_follows_the_bound_of_the_policy() {
    let mut s = Scene::with(limits(1_000, 1_000));
    s.lab.engine.limit_sessions(5);
    let lines: Vec<usize> = (0..4).map(|_| from(&mut s, HOSTILE, Scene::inward)).collect();
    s.lab.settle(secs(1));
    let open = lines.iter().filter(|n| s.lab.lines[**n].closed.is_none()).count();
    assert_eq!((open, s.counted(REFUSED)), (2, 2));
}

/// A ClientHello that comes octet by octet is not waited for longer than one that does not come.
#[test]
fn a_handshake_that_trickles_in_has_ten_seconds() {
    let mut s = Scene::new();
    let line = s.lab.line(Leg::Client, None, None);
    let began = s.lab.now;
    // A record of 16 KiB that begins a ClientHello.
    let hello = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3][..], &[7; 200][..]].concat();
    for octet in hello {
        s.client_says(line, [octet]);
        s.lab.settle(Micros(200_000));
        if s.lab.lines[line].client.ended() {
            break;
        }
    }
    let took = s.lab.now.since(began);
    assert!((9 * SECOND..12 * SECOND).contains(&took), "{took}");
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[line].closed, Some(CloseReason::TlsTimeout(Leg::Client)));
    s.assert_freed();
}

/// A server that is up and says nothing of TLS: the request is answered 504, and the client's place is free.
#[test]
fn a_server_that_does_not_shake_hands_has_ten_seconds() {
    let mut s = Scene::new();
    let client = s.client(&s.foreign);
    let line = s.lab.line(Leg::Client, client, None);
    s.client_says(line, message_in(1));
    let began = s.lab.now;
    assert!(s.lab.run(secs(30), |lab| lab.lines[line].client.heard_text().starts_with("SIP/2.0 504 ")));
    let took = s.lab.now.since(began);
    assert!((9 * SECOND..12 * SECOND).contains(&took), "{took}");
    s.lab.settle(secs(60));
    s.assert_freed();
}

/// From a stuck server back to the client: inbox, TCP's window, and the client has to keep what it would say.
#[test]
fn a_stuck_server_closes_the_clients_window() {
    let mut s = Scene::new();
    let line = s.inward();
    assert!(gets_through(&mut s, line));
    let before = s.lab.engine.memory();
    s.lab.lines[line].server.reads = false;
    let big = request("MESSAGE", "foreign.example", "local.example", 2, &"x".repeat(20_000));
    s.client_says(line, big.repeat(200));
    s.lab.settle(secs(20));
    let left = s.lab.lines[line].client.say.len();
    assert!(left > 3_500_000, "the client is held back: {left}");
    let grown = s.lab.engine.memory() - before;
    // Both TCP buffers, an inbox and what waits in TLS, each full.
    assert!(grown < 220_000, "memory is bounded: {grown}");
    // Nothing moves for as long as the server does not read.
    s.lab.settle(secs(20));
    assert_eq!(s.lab.lines[line].client.say.len(), left, "the window is closed");
    // And everything arrives once it does.
    s.lab.lines[line].server.reads = true;
    s.lab.touch(line, Leg::Server);
    let all = message_in(line).len() + 200 * big.len();
    assert!(s.lab.run(secs(300), |lab| lab.lines[line].server.heard.len() == all));
    s.finish();
}
