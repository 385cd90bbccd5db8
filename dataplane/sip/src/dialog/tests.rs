// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dialogs as they begin, go on and end; whose they are; that there are never more than the bounds say.

use super::*;
use crate::domain::Domain;
use crate::identity::CertificateNames;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;
const A: u64 = 1;
const B: u64 = 2;
const SERVER: (u32, u16) = (0x0a00_0001, 5061);
const KNOWN: Standing = with(true);

const fn with(same_domain: bool) -> Standing {
    Standing::Known { peer: A, stale: false, same_domain }
}

/// One message of a dialog; `from` and `to` are tags, empty for none. The tag of who is inside is `in`.
fn text(start: &str, cseq: &str, from: &str, to: &str, more: &str) -> String {
    let tag = |tag: &str| if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let (outside, inside) = ("<sip:a@f.example>", "<sip:b@l.example>");
    let (caller, called) = if from == "in" { (inside, outside) } else { (outside, inside) };
    format!(
        "{start}\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: {caller}{}\r\nTo: {called}{}\r\n\
         Call-ID: call-1@f.example\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n",
        tag(from),
        tag(to)
    )
}

fn request(method: &str, number: u32, from: &str, to: &str, more: &str) -> String {
    text(&format!("{method} sip:b@l.example SIP/2.0"), &format!("{number} {method}"), from, to, more)
}

fn answer(status: u16, method: &str, number: u32, from: &str, to: &str, more: &str) -> String {
    text(&format!("SIP/2.0 {status} X"), &format!("{number} {method}"), from, to, more)
}

struct Scene {
    dialogs: Dialogs,
    now: u64,
    timers: Timers,
}

impl Scene {
    fn new() -> Self {
        Self {
            dialogs: Dialogs::new(Limits { dialogs: 4, per_peer: 2 }),
            now: SECOND,
            timers: Timers::default(),
        }
    }

    fn standing(&self, text: &str, inward: bool) -> Standing {
        let message = Message::scan(text.as_bytes()).expect("well formed");
        self.dialogs.standing(&self.dialogs.note(&message, inward), self.now)
    }

    fn crosses(&mut self, text: &str, inward: bool, peer: u64) -> bool {
        let message = Message::scan(text.as_bytes()).expect("well formed");
        let note = self.dialogs.note(&message, inward);
        let crossing = Crossing {
            frame: text.as_bytes(),
            peer: &PeerIdentity::none(),
            peer_key: peer,
            server: SERVER,
            check: if self.dialogs.standing(&note, self.now) == Standing::Unknown {
                Check::Domain
            } else {
                Check::Dialog
            },
        };
        self.dialogs.crossed(&note, &crossing, self.now, &self.timers)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        self.dialogs.page(0, 10, 10, None, self.now).0
    }

    fn knows(&self, text: &str, inward: bool) -> bool {
        self.standing(text, inward) != Standing::Unknown
    }
}

/// A subscription from outside, agreed.
fn subscribed(expires: u32) -> Scene {
    let mut s = Scene::new();
    s.crosses(&request("SUBSCRIBE", 1, "out", "", ""), true, A);
    assert!(s.dialogs.is_empty(), "a request alone makes no dialog");
    s.crosses(&answer(200, "SUBSCRIBE", 1, "out", "in", &format!("Expires: {expires}\r\n")), false, A);
    s
}

#[test]
fn both_sides_name_the_same_dialog() {
    let s = subscribed(3600);
    for (message, inward) in [
        (request("SUBSCRIBE", 2, "out", "in", ""), true),
        (request("NOTIFY", 1, "in", "out", ""), false),
        (answer(200, "NOTIFY", 1, "in", "out", ""), true),
        (answer(200, "SUBSCRIBE", 2, "out", "in", ""), false),
    ] {
        assert_eq!(s.standing(&message, inward), KNOWN, "{message}");
        // Another domain on the far side is not what was let in, whatever the case it is written in.
        let other = message.replace("f.example>", "x.example>");
        assert_eq!(s.standing(&other, inward), with(false), "{other}");
        assert_eq!(s.standing(&message.replace("f.example>", "F.Example.>"), inward), KNOWN);
    }
    // The same tags the other way round, or with another one, are another dialog.
    assert!(!s.knows(&request("NOTIFY", 1, "out", "in", ""), false));
    assert!(!s.knows(&request("NOTIFY", 1, "in", "other", ""), false));
    assert!(!s.knows(&request("SUBSCRIBE", 2, "out", "", ""), true));
}

#[test]
fn a_cseq_that_falls_back_is_seen() {
    let mut s = subscribed(3600);
    let stale = |s: &Scene, text: &str, inward| {
        matches!(s.standing(text, inward), Standing::Known { stale: true, .. })
    };
    s.crosses(&request("SUBSCRIBE", 7, "out", "in", ""), true, A);
    assert!(stale(&s, &request("SUBSCRIBE", 6, "out", "in", ""), true));
    assert!(!stale(&s, &request("SUBSCRIBE", 7, "out", "in", ""), true));
    assert!(!stale(&s, &request("ACK", 6, "out", "in", ""), true));
    // Each side counts its own.
    assert!(!stale(&s, &request("NOTIFY", 1, "in", "out", ""), false));
    assert!(!stale(&s, &answer(200, "NOTIFY", 1, "in", "out", ""), true));
}

#[test]
fn another_peer_changes_nothing() {
    let mut s = subscribed(3600);
    s.crosses(&request("BYE", 9, "out", "in", ""), true, B);
    assert_eq!(s.standing(&request("SUBSCRIBE", 2, "out", "in", ""), true), KNOWN);
}

#[test]
fn subscriptions_live_by_their_expires() {
    let mut s = subscribed(7200);
    let refresh = request("SUBSCRIBE", 2, "out", "in", "");
    s.now = 7231 * SECOND;
    assert!(s.knows(&refresh, true), "longer than timeout sip");
    s.now = 7234 * SECOND;
    assert!(!s.knows(&refresh, true));
    // A NOTIFY gives it more time, or ends it.
    let mut s = subscribed(60);
    s.crosses(&request("NOTIFY", 1, "in", "out", "Subscription-State: active;expires=10000\r\n"), false, A);
    s.now = 10_030 * SECOND;
    assert!(s.knows(&refresh, true));
    s.crosses(
        &request("NOTIFY", 2, "in", "out", "Subscription-State: terminated;reason=timeout\r\n"),
        false,
        A,
    );
    assert!(!s.knows(&refresh, true));
    // Whatever a peer writes there, there is an end.
    let mut s = Scene::new();
    s.crosses(&answer(200, "SUBSCRIBE", 1, "out", "in", "Expires: 99999999999999999999999\r\n"), false, A);
    s.now = (MAX_EXPIRES + 34) * SECOND;
    assert!(!s.knows(&refresh, true));
}

#[test]
fn calls_begin_and_end() {
    let bye = request("BYE", 2, "out", "in", "");
    let mut s = Scene::new();
    s.crosses(&answer(180, "INVITE", 1, "out", "in", ""), false, A);
    assert_eq!(s.rows()[0].state, State::Init);
    s.now += s.timers.invite + 1;
    assert!(!s.knows(&bye, true), "timeout sip-invite");
    s.crosses(&answer(200, "INVITE", 1, "out", "in", ""), false, A);
    let (rows, next) = s.dialogs.page(0, 10, 10, None, s.now);
    assert_eq!((rows[0].state, rows[0].call_id, next), (State::Active, "call-1@f.example", None));
    s.now += s.timers.idle - 1;
    s.crosses(&request("ACK", 1, "out", "in", ""), true, A);
    s.now += s.timers.idle - 1;
    assert!(s.knows(&bye, true), "every message is a sign of life");
    s.crosses(&bye, true, A);
    assert_eq!(s.rows()[0].state, State::Closing);
    s.crosses(&answer(200, "BYE", 2, "out", "in", ""), false, A);
    assert!(s.dialogs.is_empty());
    // A BYE that nobody answers.
    s.crosses(&answer(200, "INVITE", 1, "out", "in", ""), false, A);
    s.crosses(&bye, true, A);
    s.now += s.timers.disconnect + 1;
    assert!(!s.knows(&bye, true), "timeout sip-disconnect");
    // One that is not there any more.
    let mut s = Scene::new();
    s.crosses(&answer(200, "INVITE", 1, "out", "in", ""), false, A);
    s.crosses(&answer(481, "INFO", 2, "out", "in", ""), false, A);
    assert!(s.dialogs.is_empty());
}

#[test]
fn what_is_full_refuses_and_forgets_nobody() {
    let mut s = Scene::new();
    let open =
        |s: &mut Scene, tag: &str, peer| s.crosses(&answer(200, "INVITE", 1, tag, "in", ""), false, peer);
    assert!(open(&mut s, "1", A) && open(&mut s, "2", A));
    assert!(!open(&mut s, "3", A), "its share is full");
    assert!(open(&mut s, "4", B) && open(&mut s, "5", B));
    assert!(!open(&mut s, "6", 3), "the table is full");
    for tag in ["1", "2", "4", "5"] {
        assert!(s.knows(&request("BYE", 2, tag, "in", ""), true));
    }
    // When they have run out, there is room again.
    s.now += 10 * s.timers.idle;
    for tag in ["7", "8", "9"] {
        open(&mut s, tag, B);
    }
    assert!(s.knows(&request("BYE", 2, "8", "in", ""), true));
}

#[test]
fn a_listing_says_what_is_known() {
    let mut s = subscribed(7200);
    s.now += 700 * SECOND;
    let row = s.rows()[0];
    assert_eq!((row.outside, row.inside, row.server), ("a@f.example", "b@l.example", SERVER));
    assert_eq!((row.usage, row.inbound, row.checks), (Usage::Subscription, true, [Check::Domain; 2]));
    assert_eq!((row.subscribe, row.refresh), (Some((700 * SECOND, 7200)), None));
    assert_eq!((row.subscribed, row.age, row.idle), (Some(6500 * SECOND), 700 * SECOND, 700 * SECOND));
    // It comes back, in its dialog.
    s.now += 5600 * SECOND;
    s.crosses(&request("SUBSCRIBE", 2, "out", "in", ""), true, A);
    s.crosses(&answer(200, "SUBSCRIBE", 2, "out", "in", "Expires: 3600\r\n"), false, A);
    let row = s.rows()[0];
    assert_eq!(row.checks, [Check::Domain, Check::Dialog]);
    assert_eq!((row.subscribe, row.refresh), (Some((0, 3600)), Some(6300 * SECOND)));
    // A call from inside, and a subscription of the inside's that is first heard of by its NOTIFY.
    s.crosses(&answer(200, "INVITE", 1, "in", "other", ""), true, A);
    let row = s.rows()[1];
    assert_eq!((row.usage, row.inbound, row.outside), (Usage::Call, false, "a@f.example"));
    s.crosses(&answer(200, "NOTIFY", 1, "third", "in", ""), false, B);
    let row = s.rows()[2];
    assert_eq!((row.usage, row.inbound, row.subscribe), (Usage::Subscription, false, None));
    // However long addresses and Call-IDs are, a listing has the beginning of the one and the domain of the other.
    let mut s = Scene::new();
    let long = answer(200, "INVITE", 1, "out", "in", "");
    let long =
        long.replace("sip:a@", &format!("sip:{}@", "u".repeat(500))).replace("call-1@", &"c".repeat(500));
    s.crosses(&long, false, A);
    let row = s.rows()[0];
    assert_eq!((row.call_id.len(), row.outside.len()), (96, 96));
    assert!(row.outside.ends_with("uuu@f.example"));
}

#[test]
fn operators_see_and_clear_one_domain() {
    let domain = |text: &str| Domain::canonical(text.as_bytes()).expect("a domain");
    let mut s = Scene::new();
    for (tag, host) in [("1", "f.example"), ("2", "x.example"), ("3", "F.Example.")] {
        let text = answer(200, "INVITE", 1, tag, "in", "").replace("f.example>", &format!("{host}>"));
        assert!(s.crosses(&text, false, u64::from(host == "x.example") + 1));
    }
    assert_eq!(s.dialogs.of_server(SERVER), 3);
    let of = |s: &Scene, name: &str| {
        let (mut count, mut at) = (0, Some(0));
        while let Some(cursor) = at {
            let (rows, next) = s.dialogs.page(cursor, 1, 2, Some(&domain(name)), s.now);
            (count, at) = (count + rows.len(), next);
        }
        count
    };
    assert_eq!([of(&s, "f.example"), of(&s, "x.example"), of(&s, "example")], [2, 1, 0]);
    assert_eq!(s.dialogs.clear(0, 1, Some(&domain("f.example"))), (1, Some(1)));
    assert_eq!(s.dialogs.clear(1, 9, Some(&domain("f.example"))), (1, None));
    assert_eq!([of(&s, "f.example"), of(&s, "x.example")], [0, 1]);
    assert!(!s.knows(&request("BYE", 2, "1", "in", ""), true));
    assert_eq!(s.dialogs.clear(0, 9, None), (1, None));
    assert!(s.dialogs.is_empty() && s.dialogs.of_server(SERVER) == 0);
    // What became of them is told once.
    let counts = Counts { begun: 3, cleared: 3, ..Counts::default() };
    assert_eq!(s.dialogs.take_counts(), counts);
    assert_eq!(s.dialogs.take_counts(), Counts::default());
    // One ends in order, one by its time.
    s.crosses(&answer(200, "INVITE", 1, "1", "in", ""), false, A);
    s.crosses(&answer(200, "BYE", 2, "1", "in", ""), false, A);
    s.crosses(&answer(180, "INVITE", 1, "2", "in", ""), false, A);
    s.now += s.timers.invite + 1;
    (0..9).for_each(|_| _ = s.crosses(&request("INFO", 2, "9", "in", ""), true, A));
    assert_eq!(s.dialogs.take_counts(), Counts { begun: 2, ended: 1, expired: 1, cleared: 0 });
}

#[test]
fn an_identity_is_its_names() {
    let dialogs = Dialogs::new(Limits::default());
    let of = |dns: &[&str]| {
        let names = CertificateNames { has_alt_names: true, dns, ..Default::default() };
        dialogs.peer_key(&PeerIdentity::of(&names).expect("few names"))
    };
    assert_eq!(of(&["a.example", "b.example"]), of(&["B.example", "a.example"]));
    assert_ne!(of(&["a.example"]), of(&["a.example", "b.example"]));
}

proptest! {
    /// Against a list that is searched from its front: what is known, and how much is held.
    #[test]
    fn as_a_plain_list(steps in prop::collection::vec((0usize..5, 0u8..3, 0u64..3, 0u64..400), 1..120)) {
        let mut s = Scene::new();
        // (tag, peer, until); the oracle never sweeps, it only looks at times.
        let mut list: Vec<(String, u64, u64)> = Vec::new();
        for (what, tag, peer, wait) in steps {
            s.now += wait * SECOND;
            let tag = tag.to_string();
            list.retain(|(_, _, until)| *until > s.now);
            let at = list.iter().position(|(t, ..)| *t == tag);
            match what {
                0 | 1 => {
                    let kept = s.crosses(&answer(200, "INVITE", 1, &tag, "in", ""), false, peer);
                    match at {
                        Some(at) if list[at].1 == peer => list[at].2 = s.now + s.timers.idle,
                        Some(_) => {}
                        None if kept && s.knows(&request("BYE", 2, &tag, "in", ""), true) => {
                            list.push((tag.clone(), peer, s.now + s.timers.idle));
                        }
                        // Its own entry, or what fills the table, has run out but was not swept yet.
                        None => {}
                    }
                }
                2 => {
                    s.crosses(&request("INFO", 2, &tag, "in", ""), true, peer);
                    if let Some(at) = at && list[at].1 == peer {
                        list[at].2 = s.now + s.timers.idle;
                    }
                }
                _ => {
                    s.crosses(&answer(200, "BYE", 2, &tag, "in", ""), false, peer);
                    if let Some(at) = at && list[at].1 == peer {
                        list.remove(at);
                    }
                }
            }
            let known = s.knows(&request("BYE", 9, &tag, "in", ""), true);
            prop_assert_eq!(known, list.iter().any(|(t, ..)| *t == tag));
            prop_assert!(s.dialogs.len() <= 4);
            for peer in 0..3 {
                let held = s.dialogs.entries.iter().flatten().filter(|e| e.peer == peer).count();
                prop_assert!(held <= 2);
                prop_assert_eq!(s.dialogs.peers.get(&peer).map_or(0, |peer| peer.dialogs) as usize, held);
            }
        }
    }
}
