// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closures on workers: results, panics, and refusals. The two workers of
//! [`Eal::for_tests`] are shared by all tests, so these take turns.

use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Eal, Error, Mempool, allowed_cpus};

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_closure_runs_on_the_worker_and_its_value_comes_back() {
    let (eal, _turn) = (Eal::for_tests(), turn());
    assert_eq!(eal.workers(), 2);
    let here = std::thread::current().id();
    for index in 0..2 {
        let handle = eal.launch(index, move || (std::thread::current().id() != here, allowed_cpus()));
        let (elsewhere, cpus) = handle.expect("idle").join().expect("no panic");
        assert!(elsewhere);
        assert_eq!(cpus.expect("cpus").len(), 1);
    }
}

#[test]
fn a_panic_stops_at_the_worker_and_frees_what_it_held() {
    let (eal, _turn) = (Eal::for_tests(), turn());
    let pool = Mempool::new(eal, "launch-panic", 63, 128, 16).expect("a small pool");
    let handle = eal.launch(0, move || {
        let _held: Vec<_> = std::iter::from_fn(|| pool.alloc()).take(40).collect();
        panic!("on purpose");
    });
    let payload = handle.expect("idle").join().expect_err("a panic");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(pool.available(), 63);
    // The worker lives on.
    assert_eq!(eal.launch(0, || 7).expect("idle").join().expect("no panic"), 7);
}

#[test]
fn a_busy_worker_and_one_that_is_not_there_are_refused() {
    let (eal, _turn) = (Eal::for_tests(), turn());
    let (go, wait) = mpsc::channel::<()>();
    let handle = eal.launch(1, move || wait.recv()).expect("idle");
    assert!(matches!(eal.launch(1, || ()), Err(Error::WorkerBusy(1))));
    assert!(matches!(eal.launch(2, || ()), Err(Error::NoSuchWorker { index: 2, count: 2 })));
    assert!(matches!(eal.launch(usize::MAX, || ()), Err(Error::NoSuchWorker { .. })));
    assert!(!handle.is_finished());
    go.send(()).expect("the worker waits");
    handle.join().expect("no panic").expect("a message");
}

#[test]
fn a_worker_takes_the_next_closure_at_once() {
    let (eal, _turn) = (Eal::for_tests(), turn());
    for i in 0..2000 {
        assert_eq!(eal.launch(i % 2, move || i).expect("idle").join().expect("no panic"), i);
    }
}

#[test]
fn a_dropped_handle_lets_the_closure_run_on() {
    let (eal, _turn) = (Eal::for_tests(), turn());
    let (go, wait) = mpsc::channel::<()>();
    let (done, finished) = mpsc::channel::<()>();
    drop(eal.launch(0, move || {
        wait.recv().expect("a message");
        done.send(()).expect("somebody listens");
    }));
    go.send(()).expect("the worker waits");
    finished.recv_timeout(Duration::from_secs(10)).expect("it ran");
    // Its slot is free once it has returned, which is a moment after the message.
    while matches!(eal.launch(0, || ()), Err(Error::WorkerBusy(0))) {
        std::thread::yield_now();
    }
}
