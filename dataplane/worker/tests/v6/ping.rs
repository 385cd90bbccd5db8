// SPDX-License-Identifier: MIT OR Apache-2.0
//! Echo requests of our own in IPv6.

use super::*;
use crate::worker::tests::ping::{answer, order, outcome};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Echoed;

#[test]
fn a_request_leaves_by_the_way_there_and_its_answer_is_timed() {
    let mut rig = lab();
    rig.order(order(&rig, HOST.ip.into(), 100, 3));
    let asked = rig.collect()[INSIDE].pop().expect("a solicitation");
    let Some(Message::Solicitation { target, from, .. }) = heard(&asked).1 else { panic!("a solicitation") };
    assert_eq!(target, HOST.ip);
    let request =
        rig.send(INSIDE, &advertise(HOST, Station6 { mac: MACS[INSIDE], ip: from }))[INSIDE].pop().unwrap();
    let (parsed, _) = heard(&request);
    assert!(emit6::is_echo_request(&parsed) && request[..6] == HOST.mac.0);
    assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.ip_len), (OWN[INSIDE], HOST.ip, 100));
    rig.step(700);
    rig.send(INSIDE, &answer(request.clone()));
    assert_eq!(outcome(rig.reply()), Some(Echoed::Answered { micros: 700 }));
    let moved = rig.moved();
    assert_eq!((moved["icmp_echo_requests"], moved["icmp_echo_answers"]), (1, 1));
    assert_eq!(rig.send(INSIDE, &answer(request)), NOTHING);
    assert!(rig.reply().is_none());
    rig.expect(&[("inside rx", 1), (DropReason::ToUsNotHandled.name(), 1)]);
}

#[test]
fn what_cannot_be_asked_is_said_so() {
    let mut rig = lab();
    for (to, len, wanted) in [
        (OWN[OUTSIDE], 100, Echoed::Own),
        (0xfe80 << 112 | 5, 100, Echoed::NoRoute),
        (ipv6::ALL_NODES, 100, Echoed::NotOneHost),
        (HOST.ip, 47, Echoed::Length { least: 48, most: 1500 }),
    ] {
        let command = order(&rig, to.into(), len, 1);
        assert_eq!(outcome(Some(rig.command(command))), Some(wanted));
    }
    rig.expect(&[]);
}
