// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of any length and content: each is sent on or dropped by name, nothing is held, nothing panics.

use super::rig::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let arbitrary = prop::collection::vec(any::<u8>(), 0..200);
    let valid = prop::sample::select(vec![
        udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question"),
        tcp((WEB, 40_000), (PUBLIC, 5061), MACS[OUTSIDE], 2),
        echo(WORK, OWN[INSIDE], MACS[INSIDE], 7),
    ]);
    let bent = (
        valid,
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut frame, changes, cut, shorten)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            if shorten {
                frame.truncate(cut.index(frame.len()) + 1);
            }
            frame
        });
    prop_oneof![1 => arbitrary, 4 => bent]
}

/// Every frame in is a frame out, a named drop, an ARP message that was learned from, or waits for a neighbour.
#[test]
fn any_frame_is_accounted_for() {
    let mut rig = Rig::new();
    rig.collect();
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let rig = std::cell::RefCell::new(&mut rig);
    runner
        .run(&(frames(), 0usize..2), |(frame, side)| {
            let mut rig = rig.borrow_mut();
            if frame.is_empty() {
                return Ok(());
            }
            rig.moved();
            rig.send(side, &frame);
            rig.wait(100);
            let moved = rig.moved();
            let received = ["outside rx", "inside rx"].iter().filter_map(|n| moved.get(*n)).sum::<u64>();
            prop_assert_eq!(received, 1);
            let learned_from = frame.get(12..14) == Some(&[8, 6]);
            prop_assert!(moved.len() > 1 || learned_from || rig.held() > 0, "unaccounted: {:?}", moved);
            Ok(())
        })
        .unwrap();
    let rig = rig.into_inner();
    // Whatever waited for ARP has failed by then.
    rig.wait(5_000);
    rig.collect();
    rig.assert_no_mbuf_held();
}
