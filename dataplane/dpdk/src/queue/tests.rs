// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of mbufs from a driver that are not as [`Mbuf`] promises. Drivers
//! hand them out rarely, so these are made by hand.

use super::*;
use crate::{Eal, Mempool};

fn frame(pool: &Mempool, byte: u8) -> Mbuf {
    pool.copy_of(&[byte]).expect("a buffer")
}

/// A chain of two segments.
fn chain(pool: &Mempool) -> Mbuf {
    let (mut first, mut second) = (frame(pool, 0xee), frame(pool, 0xee));
    let raw = first.raw_mut();
    raw.next = second.raw_mut();
    raw.nb_segs = 2;
    raw.pkt_len = 2;
    // The chain owns it now.
    std::mem::forget(second);
    first
}

#[test]
fn chains_and_borrowed_memory_are_freed_and_the_rest_stays_in_order() {
    let pool = Mempool::new(Eal::for_tests(), "queue-plain", 63, 128, 0).expect("a small pool");
    let mut elsewhere = frame(&pool, 0xee);
    // Freeing tells such a one from the others by this mark, so it is taken back below.
    elsewhere.raw_mut().ol_flags |= sys::RTE_MBUF_F_EXTERNAL;
    assert!(!is_plain(&elsewhere));
    elsewhere.raw_mut().ol_flags = 0;
    assert!(is_plain(&elsewhere));
    let mut shared = frame(&pool, 0xee);
    shared.raw_mut().refcnt = 2;
    let second_share = shared.raw_mut() as *mut sys::rte_mbuf;

    let from_driver = [chain(&pool), frame(&pool, 1), chain(&pool), shared, frame(&pool, 2), frame(&pool, 3)];
    let mut slots = from_driver.map(MaybeUninit::new);
    assert_eq!(keep_plain(&mut slots), 3);
    // SAFETY: as many as were kept are initialised.
    let kept = slots.into_iter().take(3).map(|slot| unsafe { slot.assume_init() });
    let bytes: Vec<_> = kept.map(|mbuf| mbuf.data()[0]).collect();
    assert_eq!(bytes, [1, 2, 3]);

    drop(elsewhere);
    assert_eq!(pool.available(), 62, "both chains are back; one share of the last is still out");
    // SAFETY: the share that was made above and has no other owner.
    unsafe { sys::shim_pktmbuf_free(second_share) };
    assert_eq!(pool.available(), 63);
}
