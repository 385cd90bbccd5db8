// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bad weather and many sessions.

use crate::net::{Dice, Weather};
use crate::scene::*;
use fedgate_proxy::Limits;

/// Messages of changing size both ways, all of which must arrive unchanged and in order.
fn storm(weather: Weather, seed: u64, count: usize) {
    let mut s = Scene::new();
    s.lab.weather = weather;
    s.lab.dice = Dice(seed);
    let n = s.inward();
    let mut sizes = Dice(seed + 1);
    let (mut there, mut back) = (String::new(), String::new());
    for i in 0..count {
        let body = "m".repeat(sizes.roll(3000) as usize);
        there += &request("MESSAGE", "foreign.example", "local.example", i, &body);
        back += &request("NOTIFY", "local.example", "foreign.example", i, &body);
    }
    s.client_says(n, &there);
    s.server_says(n, &back);
    let done = s.lab.run(secs(3000), |lab| {
        lab.lines[n].server.heard.len() >= there.len() && lab.lines[n].client.heard.len() >= back.len()
    });
    assert!(
        done,
        "{:?} {:?} {:?}",
        s.lab.lines[n].closed,
        s.lab.sink.events,
        s.lab.lines[n].server.heard.len()
    );
    assert!(s.lab.lines[n].server.heard == there.as_bytes(), "there");
    assert!(s.lab.lines[n].client.heard == back.as_bytes(), "back");
    s.finish();
}

#[test]
fn clear_sky() {
    storm(Weather::default(), 1, 1000);
}

#[test]
fn one_percent_loss_with_reordering_and_duplicates() {
    for seed in 1..4 {
        storm(Weather { lost: 10, doubled: 10, late: 50 }, seed, 1000);
    }
}

#[test]
fn ten_percent_loss() {
    storm(Weather { lost: 100, doubled: 50, late: 100 }, 5, 60);
}

#[test]
fn a_lost_syn_is_sent_again() {
    let mut s = Scene::new();
    s.lab.weather.lost = 1000;
    let n = s.inward();
    s.client_says(n, message_in(1));
    s.lab.settle(secs(2));
    s.lab.weather.lost = 0;
    assert!(s.lab.run(secs(30), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    // And so is one that came twice.
    let mut s = Scene::new();
    s.lab.weather.doubled = 1000;
    let n = s.inward();
    s.client_says(n, message_in(1));
    assert!(s.lab.run(secs(30), |lab| lab.lines[n].server.heard_text() == message_in(1)));
    s.finish();
}

#[test]
fn a_thousand_sessions() {
    let mut s = Scene::with(Limits { handshakes: 1000, source_part: 1, ..Limits::default() });
    let lines: Vec<_> = (0..1000).map(|_| s.inward()).collect();
    for &n in &lines {
        s.client_says(n, message_in(n));
    }
    let mut n = 0;
    assert!(s.lab.run(secs(60), |lab| {
        while n < 1000 && !lab.lines[lines[n]].server.heard.is_empty() {
            n += 1;
        }
        n == 1000
    }));
    for &n in &lines {
        assert_eq!(s.lab.lines[n].server.heard_text(), message_in(n), "no session hears another's");
    }
    assert_eq!(s.lab.engine.sessions(), 1000);
    assert_eq!(s.lab.engine.rows(s.lab.now).count(), 1000);
    // One more message in one session: the engine is called for its packets and timers, not for its neighbours.
    s.lab.settle(secs(5));
    let calls = s.lab.calls;
    s.client_says(lines[500], message_in(5000));
    s.lab.settle(secs(5));
    let calls = s.lab.calls - calls;
    assert!(calls < 30, "{calls} calls for one message");
    s.finish();
    assert!(s.lab.lines.iter().all(|line| line.closed.is_some()));
}
