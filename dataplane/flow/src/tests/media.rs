// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pinholes by scenario: what passes through, what does not, and when they close.

use super::nat::*;
use crate::firewall::Admission;
use crate::key::UDP;
use crate::media::{CALLS_A_SESSION, CONNS, Conformance, Heard, MAX_CALLS, Receiver, Said, Step, Streams};
use crate::shown::Viewer;
use crate::{Booked, Packet};
use fedgate_tables::drops::DropReason;

const PEER: Viewer = Viewer { ifindex: OUTSIDE, peer: (SERVER, 5061) };

fn egress(addr: u32) -> Option<u8> {
    Some(if addr >> 24 == 10 { INSIDE } else { OUTSIDE })
}

fn at(addr: u32, media: u16) -> Streams {
    let one = Receiver { addr, media, rtcp: Some(media + 1), is_rtp: true, mux: false, payloads: 1 };
    [Some(one), None, None, None]
}

fn said(call: u64, inward: bool, streams: Option<&Streams>, step: Option<Step>) -> Said<'_> {
    Said { call, session: 1, viewer: PEER, inward, streams, step, conformance: Conformance::default() }
}

fn hear(lab: &mut Lab, said: &Said<'_>) -> Heard {
    lab.policy(|flow, policy, now| flow.hear(said, policy, &egress, now))
}

/// The inside offers (HOST, 4000), the outside answers (SERVER2, 30000). Gives where the inside is shown.
fn agree(lab: &mut Lab, call: u64) -> (u32, u16) {
    assert_eq!(hear(lab, &said(call, false, Some(&at(HOST, 4000)), None)), Heard::default());
    let answer = at(SERVER2, 30000);
    let heard = hear(lab, &said(call, true, Some(&answer), Some(Step::Agreed)));
    assert_eq!(heard, Heard { opened: 2, ..Heard::default() });
    lab.policy(|flow, policy, now| {
        let shown = flow.shown_media(HOST, 4000, Some(4001), &PEER, policy, &egress, now);
        shown.map_or((HOST, 4000), |shown| (shown.addr, shown.media))
    })
}

fn is_new(admission: Admission) -> bool {
    matches!(admission, Admission::New { .. })
}

#[test]
fn what_was_agreed_passes_and_nothing_else() {
    let mut lab = Lab::interface_pat();
    let shown = agree(&mut lab, 7);
    assert_eq!(shown, (OWN, 4000));
    let mut from = |addr, port, to: (u32, u16)| lab.admit(OUTSIDE, UDP, (addr, port), to);
    assert!(is_new(from(SERVER2, 30000, shown)), "RTP");
    assert!(is_new(from(SERVER2, 9, shown)), "from another port");
    assert!(is_new(from(SERVER2, 30001, (OWN, 4001))), "RTCP");
    for (src, to) in [(SERVER, shown), (SERVER2, (OWN, 4002)), (SERVER, (OWN, 4001))] {
        let refused = from(src, 30000, to);
        assert!(!is_new(refused), "{src:x} to {to:?}: {refused:?}");
    }
    let refused = from(SERVER, 30000, shown);
    assert_eq!(refused, Admission::Refused(DropReason::AclDrop), "a stranger to the very port");
    let (id, left) = lab.connect(OUTSIDE, UDP, (SERVER2, 77), shown);
    assert_eq!((left.dst, left.dport), (HOST, 4000));
    assert!(lab.flow.conns.hot(id).media().is_some());
}

/// Whoever may not send out by an access-list or level may by its call.
#[test]
fn the_inside_may_send_where_it_was_told_to() {
    let mut lab = Lab::interface_pat();
    lab.interfaces[1].security = 0;
    agree(&mut lab, 7);
    let shown = lab.connect(INSIDE, UDP, (HOST, 4000), (SERVER2, 30000)).1;
    assert_eq!((shown.src, shown.sport), (OWN, 4000));
    for (src, to) in [(HOST, (SERVER2, 30002)), (OTHER, (SERVER2, 30000)), (HOST, (SERVER, 30000))] {
        let refused = lab.admit(INSIDE, UDP, (src, 4000), to);
        assert_eq!(refused, Admission::Refused(DropReason::AclDrop));
    }
}

#[test]
fn nothing_is_open_before_both_have_spoken() {
    let mut lab = Lab::new(&[]);
    hear(&mut lab, &said(7, true, Some(&at(SERVER2, 30000)), None));
    assert!(lab.flow.media.is_empty());
    assert_eq!(
        lab.admit(OUTSIDE, UDP, (SERVER2, 30000), (HOST, 4000)),
        Admission::Refused(DropReason::AclDrop)
    );
    assert_eq!(hear(&mut lab, &said(7, false, Some(&at(HOST, 4000)), None)).opened, 2, "an early answer");
    assert!(is_new(lab.admit(OUTSIDE, UDP, (SERVER2, 30000), (HOST, 4000))), "without NAT as well");
    // The refusal of the INVITE ends it, with what passed.
    assert_eq!(hear(&mut lab, &said(7, false, None, Some(Step::Failed))).ended, 1);
    assert_eq!((lab.flow.media.in_use(), lab.flow.conns.in_use().0), ((0, 0), 0));
}

#[test]
fn addresses_that_are_not_the_others_open_nothing() {
    let mut lab = Lab::interface_pat();
    // Said to be outside: the inside, the appliance, a group.
    for outside in [OTHER, OWN, ip([224, 0, 0, 9])] {
        hear(&mut lab, &said(7, true, Some(&at(outside, 30000)), None));
        assert_eq!(hear(&mut lab, &said(7, false, Some(&at(HOST, 4000)), None)).opened, 0);
    }
    // Said to be inside: the outside.
    hear(&mut lab, &said(7, true, Some(&at(SERVER2, 30000)), None));
    assert_eq!(hear(&mut lab, &said(7, false, Some(&at(SERVER, 4000)), None)).opened, 0);
    assert!(lab.flow.media.is_empty());
}

#[test]
fn a_new_offer_moves_the_hole() {
    let mut lab = Lab::interface_pat();
    agree(&mut lab, 7);
    lab.connect(OUTSIDE, UDP, (SERVER2, 30000), (OWN, 4000));
    let moved = hear(&mut lab, &said(7, true, Some(&at(SERVER, 31000)), None));
    assert_eq!(moved, Heard { opened: 2, ended: 1, refused: false });
    assert!(!is_new(lab.admit(OUTSIDE, UDP, (SERVER2, 30000), (OWN, 4000))));
    assert!(is_new(lab.admit(OUTSIDE, UDP, (SERVER, 30000), (OWN, 4000))));
    assert_eq!(hear(&mut lab, &said(7, true, Some(&at(SERVER, 31000)), None)), Heard::default(), "the same");
    assert_eq!(hear(&mut lab, &said(7, true, Some(&[None; 4]), None)).ended, 1, "refused");
    assert!(lab.flow.media.is_empty());
}

#[test]
fn a_bye_closes() {
    let mut lab = Lab::interface_pat();
    agree(&mut lab, 7);
    lab.connect(OUTSIDE, UDP, (SERVER2, 30000), (OWN, 4000));
    assert_eq!(
        hear(&mut lab, &said(7, true, None, Some(Step::Failed))),
        Heard::default(),
        "a re-INVITE refused"
    );
    assert_eq!(hear(&mut lab, &said(8, true, None, Some(Step::Over))), Heard::default(), "another call's");
    hear(&mut lab, &said(7, true, None, Some(Step::Ending)));
    assert!(!lab.flow.media.is_empty());
    assert_eq!(hear(&mut lab, &said(7, false, None, Some(Step::Over))).ended, 1);
    assert_eq!((lab.flow.media.in_use(), lab.flow.conns.in_use().0), ((0, 0), 0));
    lab.wait(40);
    assert_eq!(lab.flow.xlates.in_use().0, 0, "the xlates follow");
}

#[test]
fn a_bye_without_answer_closes_in_time() {
    let mut lab = Lab::interface_pat();
    agree(&mut lab, 7);
    lab.wait(60);
    hear(&mut lab, &said(7, true, None, Some(Step::Ending)));
    lab.globals.timeout_sip_media = 0;
    lab.wait(118);
    assert_eq!(lab.flow.media.in_use(), (1, 2));
    lab.wait(4);
    assert_eq!(lab.flow.media.in_use(), (0, 0));
}

#[test]
fn what_nobody_uses_closes_and_what_is_used_stays() {
    let mut lab = Lab::interface_pat();
    agree(&mut lab, 7);
    let (id, _) = lab.connect(OUTSIDE, UDP, (SERVER2, 30000), (OWN, 4000));
    for _ in 0..10 {
        lab.wait(30);
        let dir = crate::conn::Dir::Reverse;
        let booked = lab.policy(|flow, policy, now| flow.account(id, dir, &Packet::default(), policy, now));
        assert_eq!(booked, Ok(Booked::Passes));
    }
    assert_eq!(lab.flow.media.in_use(), (1, 1), "nobody sent RTCP");
    lab.wait(130);
    assert_eq!((lab.flow.media.in_use(), lab.flow.conns.in_use().0), ((1, 0), 0));
    // A new offer opens it again.
    assert_eq!(hear(&mut lab, &said(7, false, Some(&at(HOST, 4000)), None)).opened, 2);
    // In the end, the call.
    lab.globals.timeout_sip = 300;
    lab.wait(340);
    assert_eq!((lab.flow.media.in_use(), lab.flow.xlates.in_use().0), ((0, 0), 0));
}

#[test]
fn an_invite_that_nobody_answers_is_forgotten() {
    let mut lab = Lab::interface_pat();
    hear(&mut lab, &said(7, false, Some(&at(HOST, 4000)), None));
    assert_eq!(lab.flow.xlates.in_use().0, 2);
    lab.wait(175);
    assert_eq!((lab.flow.media.in_use(), lab.flow.xlates.in_use().0), ((1, 0), 2));
    lab.wait(40);
    assert_eq!((lab.flow.media.in_use(), lab.flow.xlates.in_use().0), ((0, 0), 0));
}

#[test]
fn a_hole_takes_so_many_connections() {
    let mut lab = Lab::interface_pat();
    agree(&mut lab, 7);
    for port in 1..=CONNS as u16 {
        lab.connect(OUTSIDE, UDP, (SERVER2, port), (OWN, 4000));
    }
    let another = |lab: &mut Lab| lab.admit(OUTSIDE, UDP, (SERVER2, 99), (OWN, 4000));
    assert_eq!(another(&mut lab), Admission::Refused(DropReason::AclDrop));
    let (first, _) = lab.flow.conns.page(0, 1, 64, |_| true);
    let now = lab.now;
    assert!(lab.flow.end(first[0], now));
    assert!(is_new(another(&mut lab)));
}

#[test]
fn calls_are_bounded() {
    let mut lab = Lab::of(&[], 64);
    let offer = at(HOST, 4000);
    for call in 0..u64::from(CALLS_A_SESSION) {
        assert!(!hear(&mut lab, &said(call, false, Some(&offer), None)).refused);
    }
    assert!(hear(&mut lab, &said(9999, false, Some(&offer), None)).refused);
    let mut call = 10_000;
    for session in 2.. {
        let refused = (0..CALLS_A_SESSION).any(|_| {
            call += 1;
            hear(&mut lab, &Said { session, ..said(call, false, Some(&offer), None) }).refused
        });
        if refused {
            break;
        }
    }
    assert_eq!(lab.flow.media.in_use(), (MAX_CALLS, 0));
    // Those of one session end, and there is room again.
    hear(&mut lab, &said(0, false, None, Some(Step::Over)));
    assert!(!hear(&mut lab, &said(9999, false, Some(&offer), None)).refused);
}

#[test]
fn checked_media_is_rtp() {
    let mut lab = Lab::interface_pat();
    let strict = Conformance { rtp: true, payloads: true };
    hear(&mut lab, &Said { conformance: strict, ..said(7, false, Some(&at(HOST, 4000)), None) });
    hear(&mut lab, &Said { conformance: strict, ..said(7, true, Some(&at(SERVER2, 30000)), None) });
    let (id, _) = lab.connect(OUTSIDE, UDP, (SERVER2, 30000), (OWN, 4000));
    assert!(!lab.flow.conns.hot(id).is_common(), "each datagram is looked at");
    let mut sends = |dir, payload: u8, number: u8| {
        let datagram = [0x80, payload, 0, number, 0, 0, 0, 0, 1, 2, 3, 4];
        let packet = Packet { len: 40, ..Packet::default() }.with_datagram(&datagram);
        lab.policy(|flow, policy, now| flow.account(id, dir, &packet, policy, now))
    };
    let (outside, inside) = (crate::conn::Dir::Forward, crate::conn::Dir::Reverse);
    assert_eq!(sends(outside, 0, 1), Ok(Booked::Passes));
    assert_eq!(sends(inside, 0, 200), Ok(Booked::Passes), "each way has its own numbers");
    assert_eq!(sends(outside, 3, 2), Err(DropReason::RtpInvalidPayloadType));
    assert_eq!(sends(outside, 0, 2), Ok(Booked::Passes));
    let (rtcp, _) = lab.connect(OUTSIDE, UDP, (SERVER2, 30001), (OWN, 4001));
    let packet = Packet { len: 28, ..Packet::default() };
    let refused = lab.policy(|flow, policy, now| flow.account(rtcp, outside, &packet, policy, now));
    assert_eq!(refused, Err(DropReason::RtcpInvalidLength));
}
