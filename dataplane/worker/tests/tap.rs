// SPDX-License-Identifier: MIT OR Apache-2.0
//! `capture` in the worker: what is copied, what is known of it, and that a full ring costs frames of the capture and no others.

use super::rig::{INSIDE, MACS, OUTSIDE, OWN, PUBLIC, ROUTING, Rig, SERVER, WEB, WORK, policy, tcp, udp};
use crate::worker::command::Command;
use crate::worker::tap::Order;
use fedgate_tables::capture::{RING_WORDS, Record, Ring, Seen};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{CaptureEnd, CaptureMatch, CaptureSpec, Source};
use fedgate_tables::region::{Region, Shared};
use fedgate_wire::proto;
use std::sync::Arc;

const SYN: u8 = 2;

fn spec(source: Source, matches: Option<CaptureMatch>) -> Option<CaptureSpec> {
    Some(CaptureSpec { source, matches, length: 1518, headers_only: false })
}

fn on(name: &str) -> Source {
    Source::Interface(name.into())
}

fn capture(rig: &mut Rig, captures: Vec<Option<CaptureSpec>>) -> Arc<Region<Shared>> {
    let region = Arc::new(Region::shared("rings", RING_WORDS * 8).unwrap());
    rig.order(Command::Capture(Some(Order { captures: captures.into(), region: region.clone() })));
    region
}

fn taken(region: &Region<Shared>) -> Vec<(Record, Vec<u8>)> {
    let ring = Ring::of(region.atomics(), 0).unwrap();
    let mut frame = Vec::new();
    std::iter::from_fn(|| ring.take(&mut frame).map(|record| (record, frame.clone()))).collect()
}

#[test]
fn both_sides_of_a_translation_are_known() {
    let mut rig = Rig::with(policy());
    let region = capture(&mut rig, vec![spec(on("outside"), None), None, spec(on("inside"), None)]);
    let syn = tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], SYN);
    rig.exchange(OUTSIDE, &syn, &[(INSIDE, ROUTING)]);
    let translation = Some([(WEB.ip, 40_000), (PUBLIC, 5061), (WEB.ip, 40_000), (SERVER, 5061)]);
    let all = taken(&region);
    let of = |seen, bit: u8| {
        let mut tcp = all.iter().filter(|(r, f)| r.seen == seen && r.captures == bit && f[12..14] == [8, 0]);
        let (record, frame) = tcp.next().expect("a packet");
        assert!(tcp.next().is_none());
        (*record, frame.clone())
    };
    let (came, frame) = of(Seen::In, 1);
    assert_eq!((came.translation, came.reason, came.ifindex, frame), (translation, None, 0, syn.clone()));
    let (left, frame) = of(Seen::Out, 4);
    assert_eq!((left.translation, left.ifindex, &frame[..6]), (translation, 1, &ROUTING.mac.0[..]));
    assert_eq!(usize::from(left.headers), frame.len());
    assert!(left.micros >= came.micros);
    // The answer, and what PAT shows.
    let answer = tcp((ROUTING, 5061), (WEB.ip, 40_000), MACS[INSIDE], SYN | 0x10);
    rig.exchange(INSIDE, &answer, &[(OUTSIDE, WEB)]);
    let back = Some([(SERVER, 5061), (WEB.ip, 40_000), (PUBLIC, 5061), (WEB.ip, 40_000)]);
    let all = taken(&region);
    assert!(all.iter().filter(|(r, f)| f[12..14] == [8, 0] && r.translation == back).count() == 2, "{all:?}");
    // And none when nobody wants it.
    rig.order(Command::Capture(None));
    rig.send(OUTSIDE, &syn);
    assert!(taken(&region).is_empty());
}

#[test]
fn drops_have_their_reason_and_the_frame_as_it_came() {
    let mut rig = Rig::with(policy());
    let only = |reason| spec(Source::Drops(Some(reason)), None);
    let captures = vec![
        spec(Source::Drops(None), None),
        only(DropReason::AclDrop),
        only(DropReason::NoRoute),
        spec(on("outside"), None),
    ];
    let region = capture(&mut rig, captures);
    let denied = tcp((WEB, 40_000), (SERVER, 80), MACS[OUTSIDE], SYN);
    let stray = tcp((WEB, 40_000), (SERVER, 80), MACS[OUTSIDE], 0x10);
    for frame in [&denied, &stray] {
        rig.far[OUTSIDE].inject(frame);
    }
    rig.turn();
    let all: Vec<_> = taken(&region).into_iter().filter(|(r, _)| r.seen == Seen::In).collect();
    let told: Vec<_> = all.iter().map(|(r, frame)| (r.captures, r.reason, frame.clone())).collect();
    assert_eq!(
        told,
        [(0b1011, Some(DropReason::AclDrop), denied), (0b1001, Some(DropReason::TcpNotSyn), stray)]
    );
    // One that waited for a neighbour who never answered came in long ago.
    let lost = udp((WORK, 4000), (WEB.ip, 53), MACS[INSIDE], 64, b"lost");
    rig.send(INSIDE, &lost);
    rig.wait(10_000);
    // What tells its sender of it is dropped too, for he never spoke either, and quotes it.
    let is_udp = |frame: &[u8]| frame.get(23) == Some(&proto::UDP) && frame.ends_with(b"lost");
    let ours = |(record, frame): &(Record, Vec<u8>)| record.seen == Seen::Dropped && is_udp(frame);
    let dropped: Vec<_> = taken(&region).into_iter().filter(ours).collect();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].0.captures, dropped[0].0.reason), (1, Some(DropReason::NoAdjacency)));
}

#[test]
fn matches_are_evaluated_here_and_a_full_ring_stops_nothing() {
    let mut rig = Rig::with(policy());
    let end = |net, ports| CaptureEnd { net, ports };
    let dns = CaptureMatch {
        proto: Some(17),
        ends: [end(Some((WORK.ip.into(), 32)), None), end(None, Some([53, 53]))],
    };
    let region = capture(&mut rig, vec![spec(on("inside"), Some(dns))]);
    for port in [53, 54] {
        let frame = udp((WORK, 4000), (WEB.ip, port), MACS[INSIDE], 64, b"ask");
        rig.exchange(INSIDE, &frame, &[(OUTSIDE, WEB)]);
    }
    let all = taken(&region);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0.translation.map(|ends| ends[2].0), Some(OWN[OUTSIDE]));

    let region = capture(&mut rig, vec![spec(on("inside"), None)]);
    let frame = udp((WORK, 4000), (WEB.ip, 53), MACS[INSIDE], 64, &[1; 1400]);
    let mut passed = 0;
    for _ in 0..2000 {
        passed += rig.send(INSIDE, &frame)[OUTSIDE].len();
    }
    let taken = taken(&region).len() as u64;
    let lost = Ring::of(region.atomics(), 0).unwrap().lost();
    assert_eq!(passed, 2000);
    assert!(lost > 0 && taken + lost == 2000, "{taken} {lost}");
}
