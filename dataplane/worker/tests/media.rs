// SPDX-License-Identifier: MIT OR Apache-2.0
//! Media through pinholes: what two descriptions have agreed on passes the worker, a stranger does not; alone and in a crew.

use super::crew::{Crew, Side, station, tuple};
use super::rig::*;
use crate::worker::command::{Asker, Command, Dump, Reply};
use crate::worker::{Worker, media};
use fedgate_flow::conn::ConnId;
use fedgate_flow::shard::Dealing;
use fedgate_proxy::{CallStep, MediaNote, RtpRules, SessionId};
use fedgate_sip::message::Message;
use fedgate_sip::sdp;
use fedgate_tables::link::{ConnRow, Filter, Rows, What};
use fedgate_tables::policy::{ACE_ANY_PROTO, ACE_QUIET, Ace};
use fedgate_wire::emit::Station;
use fedgate_wire::{parse, proto};
use std::net::Ipv4Addr;

const SYN: u8 = 0x02;
const STRANGER: Station = Station { mac: WEB.mac, ip: ip(198, 51, 100, 31) };

/// A message of one call crosses the session of a connection: who receives at this address and port.
fn says(worker: &mut Worker, micros: u64, conn: ConnId, inward: bool, at: (u32, u16), rules: RtpRules) {
    let host = Ipv4Addr::from_bits(at.0);
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
        at.1
    );
    let text = format!(
        "INVITE sip:b@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a\r\nFrom: <sip:a@f.example>;tag=1\r\nTo: <sip:b@l.example>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let description = sdp::of(&Message::scan(text.as_bytes()).unwrap());
    let note = MediaNote { call: 5, inward, description: description.as_ref(), step: None, rules };
    hears(worker, micros, conn, &note);
}

fn hears(worker: &mut Worker, micros: u64, conn: ConnId, note: &MediaNote<'_>) {
    let now = worker.clock.at(worker.clock.tsc_of(micros));
    let image = worker.image.get().expect("a policy");
    let session = SessionId { slot: 0, generation: 0 };
    media::hear(&mut worker.path.net, &image.view(), now, session, conn, note);
}

/// The signalling connection of a rig: from outside to the routing server.
fn signalling(rig: &mut Rig) -> ConnId {
    rig.collect();
    let syn = tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], SYN);
    let out = rig.exchange(OUTSIDE, &syn, &[(INSIDE, ROUTING)]);
    assert_eq!(out[INSIDE].len(), 1);
    rig.flow().conns.page(0, 1, 64, |_| true).0[0]
}

/// The workstation offers and the outside answers.
fn agree(rig: &mut Rig, conn: ConnId, rules: RtpRules) {
    let micros = rig.micros();
    says(rig.worker(), micros, conn, false, (WORK.ip, 4000), rules);
    says(rig.worker(), micros, conn, true, (WEB.ip, 30_000), rules);
}

fn rtp(number: u8) -> Vec<u8> {
    vec![0x80, 0, 0, number, 0, 0, 0, 0, 1, 2, 3, 4]
}

fn rows(rig: &mut Rig) -> Vec<ConnRow> {
    let (mut cursor, mut all) = (0, Vec::new());
    loop {
        let asker = Asker { id: 6, link: 1 };
        let dump = Dump {
            asker,
            what: What::Conns,
            filter: Filter { proto: Some(proto::UDP), ..Filter::default() },
            cursor,
        };
        let Reply::Page { rows: Rows::Conns(rows), next, .. } = rig.command(Command::Dump(dump)) else {
            panic!("a page of connections")
        };
        all.extend(rows);
        match next {
            Some(next) => cursor = next,
            None => return all,
        }
    }
}

#[test]
fn media_passes_its_pinhole_and_a_stranger_does_not() {
    let mut rig = Rig::new();
    let conn = signalling(&mut rig);
    rig.collect();
    rig.moved();
    let inward =
        |from: Station, port: u16, to: u16| udp((from, port), (OWN[OUTSIDE], to), MACS[OUTSIDE], 64, &rtp(1));
    let passed = |rig: &mut Rig, frame: &[u8]| {
        let [_, inside] = rig.exchange(OUTSIDE, frame, &[(INSIDE, WORK)]);
        inside.iter().map(|frame| parse(frame).unwrap().tuple).map(|t| (t.dst, t.dport)).collect::<Vec<_>>()
    };
    assert!(passed(&mut rig, &inward(WEB, 30_000, 4000)).is_empty(), "nobody has called");
    agree(&mut rig, conn, RtpRules::default());
    rig.moved();
    assert!(passed(&mut rig, &inward(STRANGER, 30_000, 4000)).is_empty());
    rig.expect(&[("outside rx", 1), ("acl-drop", 1), ("ace 2", 1)]);
    assert!(passed(&mut rig, &inward(WEB, 30_000, 4002)).is_empty());
    let waiting: Vec<_> =
        rows(&mut rig).into_iter().map(|row| (row.flags, row.responder.real_port)).collect();
    assert_eq!(waiting, [("im".into(), 4000), ("im".into(), 4001)]);
    assert_eq!(passed(&mut rig, &inward(WEB, 30_000, 4000)), [(WORK.ip, 4000)]);
    assert_eq!(passed(&mut rig, &inward(WEB, 30_001, 4001)), [(WORK.ip, 4001)]);
    assert_eq!(passed(&mut rig, &inward(WEB, 5, 4000)), [(WORK.ip, 4000)], "from another of its ports");
    // No ACE was asked, and later packets take the short way.
    rig.moved();
    assert_eq!(passed(&mut rig, &inward(WEB, 30_000, 4000)), [(WORK.ip, 4000)]);
    rig.expect(&[("outside rx", 1), ("inside tx", 1)]);
    // The other way the same two ports are seen.
    let [outside, _] = rig.exchange(
        INSIDE,
        &udp((WORK, 4000), (WEB.ip, 30_000), MACS[INSIDE], 64, &rtp(9)),
        &[(OUTSIDE, WEB)],
    );
    assert_eq!(parse(&outside[0]).unwrap().tuple.sport, 4000);
    let mut flags: Vec<_> = rows(&mut rig).into_iter().map(|row| row.flags).collect();
    flags.sort_unstable();
    assert_eq!(flags, ["m", "m", "m"]);

    let micros = rig.micros();
    let over = |step| MediaNote {
        call: 5,
        inward: true,
        description: None,
        step: Some(step),
        rules: RtpRules::default(),
    };
    hears(rig.worker(), micros, conn, &over(CallStep::Ending));
    assert_eq!(passed(&mut rig, &inward(WEB, 30_000, 4000)), [(WORK.ip, 4000)]);
    rig.moved();
    hears(rig.worker(), micros, conn, &over(CallStep::Over));
    assert!(passed(&mut rig, &inward(WEB, 30_000, 4000)).is_empty());
    rig.expect(&[("outside rx", 1), ("acl-drop", 1), ("ace 2", 1), ("conns_torn_down", 3)]);
    assert!(rows(&mut rig).is_empty());
    rig.assert_no_mbuf_held();
}

/// What the inside's ACL denies is booked in passing where nobody will be told; but not what has a pinhole.
#[test]
fn a_pinhole_comes_before_a_denial_in_passing() {
    let deny =
        Ace { sport: [0, 65535], dport: [0, 65535], flags: ACE_ANY_PROTO | ACE_QUIET, ..Ace::default() };
    let mut rig = Rig::with(policy_with(&[Ace { counter: 3, ..deny }]));
    let conn = signalling(&mut rig);
    let out = |rig: &mut Rig, port| {
        let frame = udp((WORK, 4000), (WEB.ip, port), MACS[INSIDE], 64, &rtp(1));
        rig.exchange(INSIDE, &frame, &[(OUTSIDE, WEB)])[OUTSIDE].len()
    };
    assert_eq!(out(&mut rig, 30_000), 0);
    agree(&mut rig, conn, RtpRules::default());
    rig.moved();
    assert_eq!(out(&mut rig, 30_002), 0);
    rig.expect(&[("inside rx", 1), ("acl-drop", 1), ("ace 3", 1)]);
    assert_eq!(out(&mut rig, 30_000), 1);
}

#[test]
fn checked_media_is_dropped_by_name() {
    let mut rig = Rig::new();
    let conn = signalling(&mut rig);
    agree(&mut rig, conn, RtpRules { conformance: true, payloads: true });
    let inward = |payload: &[u8]| udp((WEB, 30_000), (OWN[OUTSIDE], 4000), MACS[OUTSIDE], 64, payload);
    assert_eq!(rig.exchange(OUTSIDE, &inward(&rtp(1)), &[(INSIDE, WORK)])[INSIDE].len(), 1);
    rig.moved();
    for (payload, why) in [
        (vec![0x80, 0, 0], "inspect-rtp-invalid-length"),
        (vec![0; 20], "inspect-rtp-invalid-version"),
        (vec![0x80, 8, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4], "inspect-rtp-invalid-payload-type"),
        (vec![0x80, 0, 0, 2, 0, 0, 0, 0, 9, 9, 9, 9], "inspect-rtp-ssrc-mismatch"),
        (vec![0x80, 0, 90, 0, 0, 0, 0, 0, 1, 2, 3, 4], "inspect-rtp-sequence-num-outofrange"),
    ] {
        assert!(rig.send(OUTSIDE, &inward(&payload))[INSIDE].is_empty());
        rig.expect(&[("outside rx", 1), (why, 1)]);
    }
    assert_eq!(rig.send(OUTSIDE, &inward(&rtp(2)))[INSIDE].len(), 1);
    // One that begins badly makes no connection.
    rig.moved();
    let rtcp = udp((WEB, 30_001), (OWN[OUTSIDE], 4001), MACS[OUTSIDE], 64, &rtp(3));
    assert!(rig.send(OUTSIDE, &rtcp)[INSIDE].is_empty());
    rig.expect(&[
        ("outside rx", 1),
        ("inspect-rtcp-invalid-payload-type", 1),
        ("conns_built", 1),
        ("conns_torn_down", 1),
    ]);
    rig.assert_no_mbuf_held();
}

/// The worker with the signalling has the media, whichever queues it comes by and whoever would have it by the rules.
#[test]
fn in_a_crew_media_finds_its_way() {
    for port in [40_000u16, 40_001, 40_007] {
        let mut crew =
            Crew::new(3, [Side::Dealt(Dealing::Symmetric), Side::Dealt(Dealing::BySource)], policy());
        crew.send(OUTSIDE, &tcp((station(WEB.ip), port), (PUBLIC, 5061), MACS[OUTSIDE], SYN));
        let owner = crew.workers.iter().position(|w| w.path.net.flow.conns.in_use().0 > 0).unwrap();
        let conn = crew.workers[owner].path.net.flow.conns.page(0, 1, 64, |_| true).0[0];
        let micros = crew.micros();
        for (host, media) in [(50, 4000), (51, 4100), (52, 4200), (53, 4300)] {
            let inside = ip(10, 10, 0, host);
            let rules = RtpRules::default();
            says(&mut crew.workers[owner], micros, conn, false, (inside, media), rules);
            says(&mut crew.workers[owner], micros, conn, true, (WEB.ip, 30_000), rules);
            crew.settle();
            let sent = udp((station(inside), media), (WEB.ip, 30_000), MACS[INSIDE], 64, &rtp(1));
            let [outside, _] = crew.send(INSIDE, &sent);
            let left = tuple(&outside[0]);
            assert_eq!((left.src, left.dport, left.sport & 1), (OWN[OUTSIDE], 30_000, 0));
            for from in [30_000, 9, 777, 12_345] {
                let answer = udp((station(WEB.ip), from), (left.src, left.sport), MACS[OUTSIDE], 64, &rtp(2));
                let [_, inside_got] = crew.send(OUTSIDE, &answer);
                assert_eq!((tuple(&inside_got[0]).dst, tuple(&inside_got[0]).dport), (inside, media));
            }
            let strange = udp((station(STRANGER.ip), 9), (left.src, left.sport), MACS[OUTSIDE], 64, &rtp(2));
            assert!(crew.send(OUTSIDE, &strange)[INSIDE].is_empty());
        }
        let conns: Vec<u32> = crew.workers.iter().map(|w| w.path.net.flow.conns.in_use().0).collect();
        // Each new offer closed what the one before had opened.
        let expected: Vec<u32> = (0..3).map(|w| if w == owner { 1 + 4 } else { 0 }).collect();
        assert_eq!(conns, expected);
        crew.assert_no_mbuf_held();
    }
}
