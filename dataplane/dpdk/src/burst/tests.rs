// SPDX-License-Identifier: MIT OR Apache-2.0
//! A burst against a `Vec`, and the pool's count after every way out of one.

use proptest::prelude::*;

use super::*;
use crate::{Eal, Mempool};

fn pool(name: &str) -> Mempool {
    Mempool::new(Eal::for_tests(), name, 255, 128, 0).expect("a small pool")
}

fn filled(pool: &Mempool, n: u8) -> Burst {
    let mut burst = Burst::new();
    for i in 0..n {
        burst.push(pool.copy_of(&[i]).expect("a buffer")).expect("room");
    }
    burst
}

fn first_bytes(burst: &Burst) -> Vec<u8> {
    burst.iter().map(|mbuf| mbuf.data()[0]).collect()
}

#[test]
fn a_burst_behaves_like_a_bounded_vec() {
    let pool = pool("burst-model");
    // 0..=3 push, 4 pop, 5 swap_remove, 6 drain part of it, 7 clear.
    let steps = proptest::collection::vec((0u8..8, 0usize..70), 0..200);
    proptest!(|(steps in steps)| {
        let (mut burst, mut model, mut next) = (Burst::new(), Vec::<u8>::new(), 0u8);
        for (kind, n) in steps {
            match kind {
                0..=3 => {
                    next = next.wrapping_add(1);
                    let pushed = burst.push(pool.copy_of(&[next]).expect("a buffer"));
                    prop_assert_eq!(pushed.is_ok(), model.len() < BURST);
                    if pushed.is_ok() { model.push(next); }
                }
                4 => prop_assert_eq!(burst.pop().map(|m| m.data()[0]), model.pop()),
                5 => {
                    let expected = (n < model.len()).then(|| model.swap_remove(n));
                    prop_assert_eq!(burst.swap_remove(n).map(|m| m.data()[0]), expected);
                }
                6 => {
                    let left = burst.len();
                    let mut drain = burst.drain();
                    prop_assert_eq!(drain.len(), left);
                    let got: Vec<u8> = drain.by_ref().take(n).map(|m| m.data()[0]).collect();
                    prop_assert_eq!(&got[..], &model[..n.min(left)]);
                    drop(drain);
                    model.clear();
                }
                _ => { burst.clear(); model.clear(); }
            }
            prop_assert_eq!(first_bytes(&burst), &model[..]);
            prop_assert_eq!((burst.is_full(), burst.is_empty()), (model.len() == BURST, model.is_empty()));
            prop_assert_eq!(pool.available() as usize, 255 - model.len());
        }
    });
    assert_eq!(pool.available(), 255);
}

#[test]
fn dropping_a_burst_frees_what_is_in_it() {
    let pool = pool("burst-drop");
    drop(filled(&pool, 64));
    assert_eq!(pool.available(), 255);
    let refused = filled(&pool, 64).push(pool.copy_of(b"x").expect("a buffer"));
    assert_eq!(refused.expect_err("full").data(), b"x");
    assert_eq!(pool.available(), 255);
}

#[test]
fn a_forgotten_drain_leaks_but_never_frees_twice() {
    let pool = pool("burst-forget");
    let mut burst = filled(&pool, 10);
    let mut drain = burst.drain();
    drop(drain.next());
    std::mem::forget(drain);
    assert!(burst.is_empty());
    drop(burst);
    assert_eq!(pool.available(), 255 - 9);
}

#[test]
fn mbufs_change_places_without_changing_hands() {
    let pool = pool("burst-swap");
    let mut burst = filled(&pool, 3);
    burst.reverse();
    burst.iter_mut().for_each(|mbuf| mbuf.data_mut()[0] += 10);
    assert_eq!(first_bytes(&burst), [12, 11, 10]);
    drop(burst);
    assert_eq!(pool.available(), 255);
}
