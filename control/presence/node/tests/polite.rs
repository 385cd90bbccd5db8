// SPDX-License-Identifier: MIT OR Apache-2.0
//! Polite blocking: what a blocked watcher is told, and when, is what the watcher of a user who has gone is told, and when.

use super::super::*;
use super::lab::*;
use super::presence::SUBSCRIBE;

const X: &str = "x@foreign.example";
const BOB_AOR: &str = "bob@local.example";

/// Everything the watcher gets to see, without what is different each time by chance.
fn transcript(offline: bool) -> Vec<String> {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    if !offline {
        lab.publish(BOB, "bob", "busy", None);
        lab.decide(X, Some("block"));
    } else {
        lab.decide(X, Some("allow"));
    }
    let mut seen = Vec::new();
    let mut keep = |message: &Incoming| {
        let text = format!("{}{}", message.msg().head(), body_of(message));
        // Tags, branches and Call-IDs are random.
        let mut words = Vec::new();
        for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let random =
                |word: &str| word.len() >= 16 && word.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit);
            let is_random = random(word) || word.strip_prefix("z9hG4bK").is_some_and(random);
            words.push(if is_random { "*" } else { word });
        }
        seen.push(words.concat());
    };
    lab.cseq = 100;
    let (ok, first) = lab.watch(X);
    keep(&ok);
    keep(&first);
    for round in 2..5 {
        lab.pass(60_000);
        if !offline {
            lab.publish(BOB, "bob", "away", None);
            lab.pass(60_000);
            lab.quiet();
        } else {
            lab.pass(60_000);
        }
        lab.cseq = round * 100;
        lab.within(&first, "SUBSCRIBE", SUBSCRIBE, "");
        keep(&lab.response(EDGE, 200));
        keep(&lab.told(EDGE));
    }
    lab.request(EDGE, "INVITE", X, "ann@local.example", "Contact: <sip:x@h.example>\r\n", "");
    let absent = lab.response(EDGE, 480);
    lab.request(EDGE, "INVITE", X, BOB_AOR, "Contact: <sip:x@h.example>\r\n", "");
    if !offline {
        // A blocked user's texts find nobody, as those to a user without a device.
        assert_eq!(status_of(&lab.next(EDGE)), status_of(&absent));
    }
    seen
}

#[test]
fn a_blocked_watcher_sees_what_the_watcher_of_an_offline_user_sees() {
    let (blocked, offline) = (transcript(false), transcript(true));
    assert!(offline[1].contains("<basic>closed</basic>"), "{}", offline[1]);
    assert_eq!(blocked, offline);
}

/// When a watcher hears what, from the time of its SUBSCRIBE on: of bob, who goes (`is_blocked` says how) while somebody watches who was
/// allowed before, and of bob, who decides about somebody who waits.
fn timeline(is_blocked: bool, waits: bool) -> Vec<(u64, String)> {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    let mut etag = None;
    if !waits || is_blocked {
        etag = Some(lab.publish(BOB, "bob", "open", None));
    }
    if !waits {
        lab.decide(X, Some("allow"));
    }
    let began = lab.now;
    lab.request(EDGE, "SUBSCRIBE", X, BOB_AOR, SUBSCRIBE, "");
    let _ = lab.response(EDGE, 200);
    let first = lab.told(EDGE);
    let mut heard = Vec::new();
    let mut go = |lab: &mut Lab, ms: u64| {
        for _ in 0..ms / 100 {
            lab.pass(100);
            while let Some((_, notify)) = lab.try_next(EDGE) {
                heard.push((lab.now - began, format!("{} {}", state_of(&notify), body_of(&notify))));
                // One that cannot be taken now is sent again at its time.
                let status = if heard.len() == 2 { 500 } else { 200 };
                lab.answer(&notify, status, "", "");
            }
        }
    };
    go(&mut lab, 1_500);
    match (is_blocked, waits) {
        (true, _) => lab.decide(X, Some("block")),
        (false, true) => lab.decide(X, Some("allow")),
        (false, false) => drop(lab.publish(BOB, "bob", "closed", etag.as_deref())),
    }
    go(&mut lab, 20_000);
    if is_blocked {
        etag = etag.map(|etag| lab.publish(BOB, "bob", "busy", Some(&etag)));
    }
    go(&mut lab, 20_000);
    lab.within(&first, "SUBSCRIBE", SUBSCRIBE, "");
    let _ = lab.response(EDGE, 200);
    go(&mut lab, 60_000);
    drop(etag);
    heard
}

#[test]
fn a_block_shows_when_going_offline_would_show() {
    for waits in [false, true] {
        let (blocked, offline) = (timeline(true, waits), timeline(false, waits));
        assert!(offline.len() >= 3 && offline[0].1.contains("<basic>closed</basic>"), "{offline:?}");
        assert_eq!(blocked, offline);
    }
}
