// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bent IPv6 frames of every kind: whatever comes in is accounted for, and no buffer is lost.

use super::*;
use fedgate_tables::counters::FragmentCounter;
use fedgate_wire::{checksum, proto};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop::sample::select(vec![
        udp(HOST, REMOTE, (5353, 53), INSIDE, 64, b"question"),
        udp(HOST, WEB.ip, (5353, 53), INSIDE, 64, b"question"),
        tcp(WEB, HOST.ip, (40_000, 443), OUTSIDE, SYN),
        ping(HOST, OWN[INSIDE], INSIDE),
        ping(HOST, REMOTE, INSIDE),
        solicit(HOST, OWN[INSIDE]),
        advertise(HOST, us(INSIDE)),
        advertise(ROUTER, us(OUTSIDE)),
        frame(HOST, REMOTE, MACS[INSIDE], 60, 64, &[[17, 0, 1, 4, 0, 0, 0, 0], [0; 8]].concat()),
        frame(HOST, REMOTE, MACS[INSIDE], 44, 64, &[[17, 0, 0, 1, 0, 0, 0, 0], [0; 8]].concat()),
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (valid, changes, cut).prop_map(|(mut frame, changes, cut)| {
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()) + 1);
        }
        // Right checksums, so that bent messages are read.
        if let Ok((at, sum)) = icmp_checksum(&frame) {
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    })
}

/// Where a plain ICMPv6 frame has its checksum, and what it must be.
fn icmp_checksum(frame: &[u8]) -> Result<(usize, u16), ()> {
    let ip = ipv6::Ipv6::new_checked(frame.get(14..).ok_or(())?).map_err(|_| ())?;
    let mut l4 = ip.payload().to_vec();
    if ip.next_header() != proto::ICMPV6 || l4.len() < 8 {
        return Err(());
    }
    l4[2..4].fill(0);
    Ok((56, checksum::of_segment_v6(ip.src(), ip.dst(), proto::ICMPV6, &l4)))
}

/// Every frame in is a frame out, a named drop, a neighbour's message that was taken in, or waits for a neighbour or for other fragments.
#[test]
fn any_frame_is_accounted_for() {
    let mut rig = lab();
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let cell = std::cell::RefCell::new(&mut rig);
    runner
        .run(&(frames(), 0usize..2), |(frame, side)| {
            let mut rig = cell.borrow_mut();
            rig.moved();
            rig.send(side, &frame);
            rig.wait(100);
            let moved = rig.moved();
            let received = ["outside rx", "inside rx"].iter().filter_map(|n| moved.get(*n)).sum::<u64>();
            prop_assert_eq!(received, 1);
            let learned_from = frame.get(12..14) == Some(&[8, 6])
                || parse6(&frame).is_ok_and(|parsed| nd::read(&frame, &parsed).is_ok());
            let waits = rig.held() as u64 + rig.fragments(side, FragmentCounter::Queue) > 0;
            prop_assert!(moved.len() > 1 || learned_from || waits, "unaccounted: {:?}", moved);
            Ok(())
        })
        .unwrap();
    rig.wait(6_000);
    rig.collect();
    rig.assert_no_mbuf_held();
}
