// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rings with a thread at each end. The queue itself is crossbeam's and tested there; what is ours is the packing.

use super::*;
use dpdk::{Eal, Mempool};
use std::sync::atomic::{AtomicBool, Ordering};

const FRAMES: u32 = 20_000;

/// Two threads flood each other with frames of two errands: of each errand all but what was refused arrive, in order, and every
/// buffer comes back.
#[test]
fn frames_cross_in_order_between_threads() {
    let pool = Mempool::new(Eal::for_tests(), "mates", 4095, 128, 0).unwrap();
    let crew: [Mates; 2] = Mates::crew(2, ROOM).try_into().unwrap_or_else(|_| unreachable!("two"));
    let done = [const { AtomicBool::new(false) }; 2];
    let ends = std::thread::scope(|scope| {
        let threads = crew.map(|mut mates| {
            let done = &done;
            scope.spawn(move || {
                let (me, other) = (mates.me(), 1 - mates.me());
                let (mut refused, mut got) = (0, [Vec::new(), Vec::new()]);
                let mut count = |burst: Option<Burst>| refused += burst.map_or(0, |b| b.len());
                for n in 0..FRAMES {
                    let errand = if n / 7 % 2 == 0 { Errand::Own } else { Errand::Learn };
                    let frame = loop {
                        match pool.copy_of(&n.to_be_bytes()) {
                            Some(frame) => break frame,
                            None => take_all(&mut mates, other, &mut got),
                        }
                    };
                    count(mates.pack(other, errand, 3, frame));
                    if n % 50 == 0 {
                        mates.post(other, |burst| count(Some(burst)));
                        take_all(&mut mates, other, &mut got);
                    }
                }
                mates.post(other, |burst| count(Some(burst)));
                done[usize::from(me)].store(true, Ordering::Release);
                loop {
                    let last = done[usize::from(other)].load(Ordering::Acquire);
                    take_all(&mut mates, other, &mut got);
                    if last {
                        return (refused, got);
                    }
                    std::thread::yield_now();
                }
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    for (end, other) in [(0, 1), (1, 0)] {
        let (refused, got) = (ends[end].0, &ends[other].1);
        assert_eq!(refused + got[0].len() + got[1].len(), FRAMES as usize);
        assert!(got.iter().all(|got| got.is_sorted_by(|a, b| a < b)));
        assert!(!got[0].is_empty() && !got[1].is_empty());
    }
    assert_eq!(pool.available(), 4095);
}

fn take_all(mates: &mut Mates, from: u8, got: &mut [Vec<u32>; 2]) {
    while let Some(parcel) = mates.take(from) {
        assert!(!parcel.frames.is_empty() && parcel.slot == 3);
        let numbers = parcel.frames.iter().map(|frame| u32::from_be_bytes(frame.data().try_into().unwrap()));
        got[usize::from(parcel.errand == Errand::Learn)].extend(numbers);
    }
}

/// A worker alone, and a mate that is not there: the frame comes back to be dropped by name.
#[test]
fn nobody_there() {
    let pool = Mempool::new(Eal::for_tests(), "mates-none", 63, 128, 0).unwrap();
    let mut alone = Mates::none();
    assert_eq!((alone.me(), alone.count()), (0, 1));
    for to in [0, 1] {
        let back = alone.pack(to, Errand::Own, 0, pool.copy_of(b"x").unwrap());
        assert_eq!(back.map_or(0, |burst| burst.len()), 1);
        alone.post(to, |_| panic!("nothing was packed"));
        assert!(alone.take(to).is_none());
    }
    assert_eq!(pool.available(), 63);
}

/// Errands and ports that alternate, as in a burst of mixed traffic, make one parcel each and not one a frame.
#[test]
fn alternating_errands_share_few_parcels() {
    let pool = Mempool::new(Eal::for_tests(), "mates-mixed", 255, 128, 0).unwrap();
    let [mut one, mut two]: [Mates; 2] = Mates::crew(2, 4).try_into().unwrap_or_else(|_| unreachable!("two"));
    for n in 0..64u32 {
        let errand = if n % 2 == 0 { Errand::Own } else { Errand::Send };
        assert!(
            one.pack(1, errand, (n / 2 % 2) as IoSlot, pool.copy_of(&n.to_be_bytes()).unwrap()).is_none()
        );
    }
    one.post(1, |_| panic!("four parcels have room"));
    let parcels: Vec<Parcel> = std::iter::from_fn(|| two.take(0)).collect();
    assert_eq!(parcels.iter().map(|p| p.frames.len()).collect::<Vec<_>>(), [16; 4]);
    drop(parcels);
    assert_eq!(pool.available(), 255);
}

/// All rings into one worker, full of full parcels, leave three quarters of the pool.
#[test]
fn rings_hold_a_quarter_of_the_pool_at_most() {
    for workers in 2..=16u8 {
        for buffers in [16_383, 32_767, 262_143] {
            let held = usize::from(workers - 1) * room(workers, buffers) * BURST;
            assert!(held <= buffers as usize / 4, "{workers} {buffers}");
        }
    }
    assert_eq!(room(2, 32_767), ROOM);
}
