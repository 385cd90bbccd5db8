// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-over with real threads, and its plain sequential rules.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Counts the values alive, and carries its number twice so that a freed one shows.
struct Counted {
    number: u64,
    mirror: u64,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn boxed(number: u64, alive: &Arc<AtomicUsize>) -> Box<Self> {
        alive.fetch_add(1, Ordering::Relaxed);
        Box::new(Self { number, mirror: !number, alive: alive.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.mirror = 0;
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_value_lives_until_its_last_reader_has_passed() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut publication = Publication::new();
    let (mut a, mut b) = (publication.reader(), publication.reader());
    assert!(!a.quiescent() && a.get().is_none());
    let first = publication.publish(Counted::boxed(1, &alive));
    assert!(a.quiescent() && b.quiescent() && !a.quiescent());
    assert!(publication.adopted(first));
    let second = publication.publish(Counted::boxed(2, &alive));
    assert!(a.quiescent());
    assert_eq!((publication.waiting(second), publication.reclaim()), (1, 0));
    assert_eq!(b.get().map(|c| c.number), Some(1));
    assert!(b.quiescent());
    assert!(publication.adopted(second));
    assert_eq!((publication.reclaim(), alive.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_reader_that_leaves_or_never_polls() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut publication = Publication::new();
    let idle = publication.reader();
    publication.publish(Counted::boxed(1, &alive));
    let newest = publication.publish(Counted::boxed(2, &alive));
    assert_eq!(publication.reclaim(), 0, "a reader that has not polled may do so at any time");
    drop(idle);
    assert_eq!((publication.reclaim(), publication.retired()), (1, 0));
    assert!(publication.adopted(newest));
}

#[test]
fn the_last_of_all_frees_what_is_left() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut publication = Publication::new();
    let mut reader = publication.reader();
    publication.publish(Counted::boxed(1, &alive));
    reader.quiescent();
    publication.publish(Counted::boxed(2, &alive));
    drop(publication);
    assert_eq!(reader.get().map(|c| c.number), Some(1));
    assert_eq!(alive.load(Ordering::Relaxed), 2);
    assert!(reader.quiescent());
    assert_eq!(reader.get().map(|c| c.number), Some(2));
    drop(reader);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn stress_with_real_threads() {
    const PUBLISHES: u64 = 5_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let mut publication = Publication::new();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader: Reader<Counted> = publication.reader();
            let done = done.clone();
            std::thread::spawn(move || {
                let mut last = 0;
                loop {
                    // Read before the poll: a reader told to stop has then seen the last value.
                    let stop = done.load(Ordering::Acquire);
                    reader.quiescent();
                    for _ in 0..16 {
                        if let Some(value) = reader.get() {
                            assert_eq!(value.mirror, !value.number, "a freed value");
                            assert!(value.number >= last);
                            last = value.number;
                        }
                    }
                    if stop {
                        return last;
                    }
                }
            })
        })
        .collect();
    let mut freed = 0;
    for number in 1..=PUBLISHES {
        publication.publish(Counted::boxed(number, &alive));
        freed += publication.reclaim();
    }
    done.store(true, Ordering::Release);
    for worker in workers {
        assert_eq!(worker.join().unwrap(), PUBLISHES);
    }
    freed += publication.reclaim();
    assert_eq!(freed as u64, PUBLISHES - 1);
    assert_eq!(alive.load(Ordering::Relaxed), 1);
}
