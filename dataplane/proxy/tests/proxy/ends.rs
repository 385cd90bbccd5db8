// SPDX-License-Identifier: MIT OR Apache-2.0
//! How sessions end, and that they leave nothing behind.

use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg, Micros};
use smoltcp::socket::tcp::State;

/// A session with one message through it.
fn running() -> (Scene, usize) {
    let mut s = Scene::new();
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    (s, n)
}

#[test]
fn half_close_by_the_client_lets_answers_through() {
    let (mut s, n) = running();
    s.lab.lines[n].client.tell(message_in(2));
    s.lab.lines[n].client.hangs_up = true;
    s.lab.touch(n, Leg::Client);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.notified));
    assert_eq!(s.lab.lines[n].server.heard_text(), message_in(1) + &message_in(2));
    let ok = response("MESSAGE", "foreign.example", "local.example", 1);
    s.server_says(n, &ok);
    assert!(
        s.lab.run(secs(5), |lab| lab.lines[n].client.heard_text() == ok),
        "an answer after the half close"
    );
    assert_eq!(s.lab.lines[n].closed, None);
    s.finish();
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Finished));
}

#[test]
fn half_close_by_the_server() {
    let (mut s, n) = running();
    let ok = response("MESSAGE", "foreign.example", "local.example", 1);
    s.lab.lines[n].server.tell(&ok);
    s.lab.lines[n].server.hangs_up = true;
    s.lab.touch(n, Leg::Server);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].client.notified));
    assert_eq!(s.lab.lines[n].client.heard_text(), ok);
    s.client_says(n, message_in(2));
    s.lab.settle(secs(2));
    assert_eq!(s.lab.lines[n].server.heard_text(), message_in(1) + &message_in(2));
    s.finish();
}

#[test]
fn a_half_close_that_nobody_follows_ends_by_time() {
    let (mut s, n) = running();
    s.lab.lines[n].client.hangs_up = true;
    s.lab.touch(n, Leg::Client);
    s.lab.settle(secs(200));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::HalfClosed));
    s.assert_freed();
}

#[test]
fn a_fin_without_close_notify_cuts_the_unfinished_message() {
    let (mut s, n) = running();
    let cut = &message_in(3)[..100];
    s.lab.lines[n].client.tell(message_in(2) + cut);
    s.lab.lines[n].client.cuts_off = true;
    s.lab.touch(n, Leg::Client);
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.notified));
    assert_eq!(s.lab.lines[n].server.heard_text(), message_in(1) + &message_in(2), "whole messages only");
    s.finish();
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Finished));
}

#[test]
fn all_that_was_sent_before_the_end_arrives() {
    // More messages than one call deals with, and more bytes than one window.
    let all: String = (0..300).map(message_in).collect();
    for cut in [false, true] {
        let mut s = Scene::new();
        let n = s.inward();
        s.lab.lines[n].client.tell(&all);
        let client = &mut s.lab.lines[n].client;
        (client.hangs_up, client.cuts_off) = (!cut, cut);
        s.lab.touch(n, Leg::Client);
        assert!(s.lab.run(secs(30), |lab| lab.lines[n].server.notified));
        assert_eq!(s.lab.lines[n].server.heard_text(), all);
        s.finish();
    }
    // A server that is out of reach: every request that is in has its answer before the end, also
    // where one call does not get to them all.
    let mut s = Scene::new();
    let n = s.inward();
    s.lab.lines[n].unplugged[1] = true;
    // The keep-alive makes the call's last step one that leaves an unread message at the head.
    let some = message_in(0) + "\r\n" + &(1..40).map(message_in).collect::<String>();
    s.client_says(n, &some);
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].client.heard_text().matches("SIP/2.0 504 ").count(), 40);
    s.assert_freed();
}

#[test]
fn a_reset_on_either_side_closes_the_other() {
    for leg in Leg::BOTH {
        let (mut s, n) = running();
        let it = &mut s.lab.lines[n];
        let peer = if leg == Leg::Client { &mut it.client } else { &mut it.server };
        peer.socket().abort();
        s.lab.touch(n, leg);
        let other = leg.other();
        s.lab.run(secs(5), |lab| {
            let it = &mut lab.lines[n];
            if other == Leg::Client { it.client.notified } else { it.server.notified }
        });
        let it = &mut s.lab.lines[n];
        let peer = if other == Leg::Client { &mut it.client } else { &mut it.server };
        assert!(peer.notified && peer.ended(), "close_notify and FIN to the {other:?}");
        peer.hangs_up = true;
        s.lab.touch(n, other);
        s.lab.settle(secs(60));
        assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Reset(leg)));
        s.assert_freed();
    }
}

#[test]
fn reset_of_a_half_open_connection() {
    let mut s = Scene::new();
    let n = s.inward();
    // The SYN is in; the SYN-ACK is on its way when the client gives up.
    s.lab.run(secs(1), |lab| lab.engine.sessions() == 1);
    s.lab.lines[n].client.socket().abort();
    s.lab.touch(n, Leg::Client);
    s.lab.settle(secs(30));
    assert!(s.lab.lines[n].closed.is_some());
    s.assert_freed();
}

#[test]
fn a_peer_that_dies_without_a_word() {
    let (mut s, n) = running();
    s.lab.lines[n].unplugged = [true, false];
    s.server_says(n, response("MESSAGE", "foreign.example", "local.example", 1));
    let began = s.lab.now;
    s.lab.run(secs(120), |lab| lab.lines[n].server.notified);
    let took = s.lab.now.since(began);
    assert!((59 * SECOND..62 * SECOND).contains(&took), "the stall limit: {took}");
    s.lab.lines[n].server.hangs_up = true;
    s.lab.touch(n, Leg::Server);
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Stalled(Leg::Client)));
    s.assert_freed();
}

#[test]
fn idle_sessions_end_by_timeout_sip() {
    let (mut s, n) = running();
    s.lab.timeouts.idle = 600 * SECOND;
    s.lab.settle(secs(500));
    s.client_says(n, message_in(2));
    s.lab.settle(secs(590));
    assert_eq!(s.lab.lines[n].closed, None, "a message starts the time anew");
    s.lab.settle(secs(60));
    assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Idle));
    s.assert_freed();
}

#[test]
fn a_worker_that_aborts_sends_resets() {
    let (mut s, n) = running();
    assert!(s.lab.abort(n));
    s.lab.settle(secs(1));
    assert_eq!(s.lab.lines[n].client.state(), State::Closed);
    assert_eq!(s.lab.lines[n].server.state(), State::Closed);
    s.assert_freed();
    assert!(!s.lab.abort(n), "gone is gone");
}

#[test]
fn time_wait_gives_way_to_new_sessions() {
    let limits = fedgate_proxy::Limits { sessions: 2, ..Default::default() };
    let mut s = Scene::with(limits);
    for round in 0..6 {
        let n = s.inward();
        s.client_says(n, message_in(round));
        assert!(s.lab.run(secs(2), |lab| !lab.lines[n].server.heard.is_empty()), "round {round}");
        for leg in Leg::BOTH {
            let it = &mut s.lab.lines[n];
            if leg == Leg::Client {
                it.client.hangs_up = true
            } else {
                it.server.hangs_up = true
            }
            s.lab.touch(n, leg);
        }
        s.lab.settle(Micros(100_000));
    }
    assert!(s.lab.engine.sessions() <= 2);
    s.lab.settle(secs(60));
    s.assert_freed();
}
