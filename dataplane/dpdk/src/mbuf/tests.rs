// SPDX-License-Identifier: MIT OR Apache-2.0
//! An mbuf against a plain model of what it should hold, and where its buffer
//! goes: every test ends with the pool as full as it began.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use crate::{Eal, Mempool, NoRoom};

fn pool(name: &str, capacity: u32) -> Mempool {
    Mempool::new(Eal::for_tests(), name, capacity, 2048, 0).expect("a small pool")
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(usize),
    Prepend(usize),
    Adj(usize),
    Trim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = prop_oneof![0usize..64, 0usize..3000, Just(usize::MAX)];
    (0..4, n).prop_map(|(kind, n)| match kind {
        0 => Step::Append(n),
        1 => Step::Prepend(n),
        2 => Step::Adj(n),
        _ => Step::Trim(n),
    })
}

#[test]
fn lengths_and_bytes_follow_a_deque() {
    let pool = pool("mbuf-model", 15);
    proptest!(|(steps in proptest::collection::vec(step(), 0..60))| {
        let mut mbuf = pool.alloc().expect("a buffer");
        let (mut model, mut head, mut tail) = (VecDeque::<u8>::new(), 128usize, 2048usize);
        for (i, step) in steps.into_iter().enumerate() {
            let fill = i as u8;
            let (done, fits) = match step {
                Step::Append(n) => {
                    let done = mbuf.append(n).map(|new| new.fill(fill));
                    let fits = n <= tail;
                    if fits { tail -= n; model.extend(std::iter::repeat_n(fill, n)); }
                    (done, fits)
                }
                Step::Prepend(n) => {
                    let done = mbuf.prepend(n).map(|new| new.fill(fill));
                    let fits = n <= head;
                    if fits { head -= n; (0..n).for_each(|_| model.push_front(fill)); }
                    (done, fits)
                }
                Step::Adj(n) => {
                    let fits = n <= model.len();
                    if fits { head += n; model.drain(..n); }
                    (mbuf.adj(n), fits)
                }
                Step::Trim(n) => {
                    let fits = n <= model.len();
                    if fits { tail += n; model.truncate(model.len() - n); }
                    (mbuf.trim(n), fits)
                }
            };
            prop_assert_eq!(done, if fits { Ok(()) } else { Err(NoRoom) });
            prop_assert_eq!(mbuf.data(), &*model.make_contiguous());
            prop_assert_eq!((mbuf.headroom(), mbuf.tailroom()), (head, tail));
            prop_assert_eq!((mbuf.len(), mbuf.is_empty()), (model.len(), model.is_empty()));
        }
    });
    assert_eq!(pool.available(), 15);
}

#[test]
fn a_pool_runs_dry_and_fills_again() {
    let pool = pool("mbuf-dry", 7);
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.available()), (7, 0));
    assert!(pool.copy_of(b"x").is_none());
    drop(all);
    assert_eq!((pool.available(), pool.capacity()), (7, 7));
}

#[test]
fn a_copy_is_another_buffer() {
    let pool = pool("mbuf-copy", 7);
    let mut first = pool.copy_of(b"frame").expect("a buffer");
    let second = first.try_copy(&pool).expect("a buffer");
    first.data_mut()[0] = b'F';
    first.prefetch();
    assert_eq!((first.data(), second.data()), (&b"Frame"[..], &b"frame"[..]));
    assert!(pool.copy_of(&[0; 2049]).is_none());
    assert_eq!(pool.available(), 5);
    drop(first);
    drop(second);
    assert_eq!(pool.available(), 7);
}

#[test]
fn a_panic_gives_the_buffers_back() {
    let pool = pool("mbuf-panic", 7);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _held = [pool.alloc(), pool.alloc()];
        let mut short = pool.copy_of(b"short").expect("a buffer");
        short.data_mut()[5] = 0;
    }));
    assert!(caught.is_err());
    assert_eq!(pool.available(), 7);
}

#[test]
fn buffers_may_be_freed_on_another_thread() {
    let pool = pool("mbuf-thread", 63);
    let mbufs: Vec<_> = (0..60u8).map(|i| pool.copy_of(&[i; 100]).expect("a buffer")).collect();
    std::thread::spawn(move || {
        for (i, mbuf) in mbufs.into_iter().enumerate() {
            assert_eq!(mbuf.data(), [i as u8; 100]);
        }
    })
    .join()
    .expect("no panic");
    assert_eq!(pool.available(), 63);
}

#[test]
fn bad_pools_are_refused() {
    let eal = Eal::for_tests();
    let _taken = pool("mbuf-taken", 7);
    for (name, capacity, room, cache, says) in [
        ("mbuf-taken", 7, 2048, 0, "taken"),
        ("a-name-of-more-than-25-bytes", 7, 2048, 0, "too long"),
        ("mbuf-nul\0", 7, 2048, 0, "cannot be made"),
        ("mbuf-none", 7, 0, 0, "cannot be made"),
        ("mbuf-wide", 7, u16::MAX, 0, "cannot be made"),
        ("mbuf-empty", 0, 2048, 0, "cannot be made"),
        ("mbuf-cache", 7, 2048, 513, "cannot be made"),
        ("mbuf-huge", 1 << 20, 2048, 0, "memory"),
    ] {
        let error = Mempool::new(eal, name, capacity, room, cache).expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
}
