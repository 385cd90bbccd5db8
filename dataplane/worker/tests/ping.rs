// SPDX-License-Identifier: MIT OR Apache-2.0
//! Echo requests of our own: how they leave, which answers are taken, by whatever worker's queue they come, and what is not sent.

use super::crew::{Crew, Side, station};
use super::rig::*;
use super::{shards, v6};
use crate::worker::command::{Asker, Command, Reply};
use crate::worker::ping::Order;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Echo, Echoed};
use fedgate_wire::{MacAddr, checksum, emit, emit6, parse, parse6, proto};

const ASKER: Asker = Asker { id: 9, link: 1 };

pub(super) fn order(rig: &Rig, to: Addr, len: u16, seq: u16) -> Command {
    order_at(rig.tsc(), Echo { ifindex: None, to, len }, seq)
}

fn order_at(tsc: u64, echo: Echo, seq: u16) -> Command {
    Command::Echo(Order { asker: ASKER, echo, seq, tsc })
}

/// One that has announced its addresses.
fn announced() -> Rig {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    rig
}

/// What the station asked makes of a request.
pub(super) fn answer(mut request: Vec<u8>) -> Vec<u8> {
    let len = match parse6(&request) {
        Ok(parsed) => emit6::echo_reply(&mut request, &parsed),
        Err(_) => parse(&request).map(|parsed| emit::echo_reply(&mut request, &parsed)).unwrap(),
    };
    assert_eq!(len, Ok(request.len()));
    request
}

pub(super) fn outcome(reply: Option<Reply>) -> Option<Echoed> {
    reply.map(|reply| match reply {
        Reply::Echoed { asker: ASKER, outcome } => outcome,
        _ => panic!("an answer to a ping"),
    })
}

#[test]
fn a_request_leaves_by_the_way_there_and_its_answer_is_timed() {
    let mut rig = announced();
    let far = ip(192, 0, 2, 77);
    for (seq, side, to, at, own, len) in [
        (1, INSIDE, WORK.ip, WORK, OWN[INSIDE], 100),
        (2, OUTSIDE, far, WEB, OWN[OUTSIDE], 1500),
        (3, OUTSIDE, far, WEB, OWN[OUTSIDE], 28),
    ] {
        rig.order(order(&rig, to.into(), len, seq));
        let mut out = rig.collect();
        // The first of a side waits for ARP.
        if let Some(request) = out[side].iter().find(|f| arp_target(f).is_some()).cloned() {
            assert_eq!((arp_target(&request), out[side].len()), (Some(at.ip), 1));
            out = rig.arp_reply(side, at, &request);
        }
        let [request] = &out[side][..] else { panic!("one frame: {out:?}") };
        let parsed = parse(request).unwrap();
        assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.ip_len), (own, to, len));
        assert!(emit::is_echo_request(&parsed) && request[..6] == at.mac.0 && request[6..12] == MACS[side].0);
        assert!(rig.reply().is_none());
        rig.step(1500);
        rig.send(side, &answer(request.clone()));
        assert_eq!(outcome(rig.reply()), Some(Echoed::Answered { micros: 1500 }), "{seq}");
        let moved = rig.moved();
        assert_eq!((moved["icmp_echo_requests"], moved["icmp_echo_answers"]), (1, 1));
        // It is answered once.
        let out = rig.send(side, &answer(request.clone()));
        assert!(out.concat().is_empty() && rig.reply().is_none());
        assert!(rig.moved().keys().any(|name| DropReason::ALL.iter().any(|reason| reason.name() == name)));
    }
    rig.assert_no_mbuf_held();
}

#[test]
fn an_answer_of_somebody_else_is_none() {
    let mut rig = announced();
    rig.order(order(&rig, WORK.ip.into(), 64, 5));
    let asked = rig.collect()[INSIDE][0].clone();
    let request = rig.arp_reply(INSIDE, WORK, &asked)[INSIDE][0].clone();
    let good = answer(request.clone());
    let message = |type_: u8, ident: u16, seq: u16| {
        let mut message =
            [&[type_, 0, 0, 0][..], &ident.to_be_bytes(), &seq.to_be_bytes(), &good[42..]].concat();
        let sum = checksum::of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    };
    let from = |station, to, message: &[u8]| ipv4(station, to, MACS[INSIDE], proto::ICMP, 64, 0, message);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for frame in [
        from(ROUTING, OWN[INSIDE], &message(0, 0, 5)),
        from(WORK, OWN[INSIDE], &message(0, 1, 5)),
        from(WORK, OWN[INSIDE], &message(0, 0, 6)),
        from(WORK, OWN[OUTSIDE], &message(0, 0, 5)),
        damaged,
    ] {
        rig.moved();
        let out = rig.send(INSIDE, &frame);
        assert!(out.concat().is_empty() && rig.reply().is_none());
        let moved = rig.moved();
        let drops: u64 = DropReason::ALL.iter().filter_map(|reason| moved.get(reason.name())).sum();
        assert_eq!(drops, 1, "{moved:?}");
    }
    rig.send(INSIDE, &good);
    assert!(matches!(outcome(rig.reply()), Some(Echoed::Answered { .. })));
    rig.assert_no_mbuf_held();
}

#[test]
fn what_cannot_be_asked_is_said_so() {
    let mut rig = announced();
    let v4 = |ip: u32| Addr::from(ip);
    for (ifindex, to, len, wanted) in [
        (Some(1), v4(WEB.ip), 100, Echoed::NoRoute),
        (None, v4(OWN[INSIDE]), 100, Echoed::Own),
        (None, v4(OWN[OUTSIDE]), 100, Echoed::Own),
        (None, v4(ip(10, 10, 0, 255)), 100, Echoed::NotOneHost),
        (None, v4(ip(224, 0, 0, 1)), 100, Echoed::NotOneHost),
        (None, v4(0), 100, Echoed::NotOneHost),
        (None, v4(WORK.ip), 27, Echoed::Length { least: 28, most: 1500 }),
        (None, v4(WORK.ip), 1501, Echoed::Length { least: 28, most: 1500 }),
        (None, Addr::from(v6::HOST.ip), 100, Echoed::NoRoute),
        (None, Addr::from(0xff02u128 << 112 | 1), 100, Echoed::NotOneHost),
    ] {
        let command = order_at(rig.tsc(), Echo { ifindex, to, len }, 1);
        assert_eq!(outcome(Some(rig.command(command))), Some(wanted), "{to:?} {len}");
        assert!(rig.collect().concat().is_empty());
    }
    rig.expect(&[]);
    rig.order(order_at(rig.tsc(), Echo { ifindex: Some(1), to: v4(WORK.ip), len: 100 }, 1));
    assert_eq!(rig.collect()[INSIDE].len(), 1, "by the interface that leads there");
}

/// Those that nobody answers are forgotten: as many as are waited for, and no more memory.
#[test]
fn the_oldest_are_forgotten() {
    let mut rig = announced();
    rig.order(order(&rig, WORK.ip.into(), 64, 0));
    let asked = rig.collect()[INSIDE][0].clone();
    let mut requests = vec![rig.arp_reply(INSIDE, WORK, &asked)[INSIDE][0].clone()];
    for seq in 1..=64 {
        rig.order(order(&rig, WORK.ip.into(), 64, seq));
        requests.append(&mut rig.collect()[INSIDE]);
    }
    assert_eq!(requests.len(), 65);
    rig.send(INSIDE, &answer(requests[0].clone()));
    assert!(rig.reply().is_none(), "the first one is too old");
    for request in &requests[1..] {
        rig.send(INSIDE, &answer(request.clone()));
        assert!(matches!(outcome(rig.reply()), Some(Echoed::Answered { .. })));
    }
}

/// Whichever queue an answer comes by, it is the first worker's, and no translation's.
#[test]
fn an_answer_finds_the_first_worker() {
    for sides in shards::SIDES {
        let mut crew = Crew::new(3, sides, shards::policy());
        let mut seq = 0;
        for (side, to) in [(INSIDE, ip(10, 10, 0, 90)), (OUTSIDE, ip(192, 0, 2, 9))] {
            let queues = match sides[side] {
                Side::Dealt(_) => 0..3,
                Side::Single(only) => only..only + 1,
            };
            for worker in queues {
                seq += 1;
                let echo = Echo { ifindex: None, to: to.into(), len: 84 };
                let tsc = crew.tsc(0);
                assert!(crew.desks[0].commands.push(order_at(tsc, echo, seq)).is_ok());
                let out = crew.settle();
                let request = out[side].last().expect("it leaves").clone();
                let mac = if side == OUTSIDE { station(WEB.ip).mac } else { station(to).mac };
                assert_eq!(MacAddr(*request.first_chunk().unwrap()), mac);
                crew.inject_at(side, worker.into(), &answer(request));
                crew.turn();
                assert!(matches!(outcome(crew.desks[0].replies.pop()), Some(Echoed::Answered { .. })));
                assert!(crew.desks[1..].iter().all(|desk| desk.replies.is_empty()));
            }
        }
        assert_eq!((crew.stat(Stat::IcmpEchoAnswers), crew.all_drops()), (seq.into(), 0));
        crew.assert_no_mbuf_held();
    }
}
