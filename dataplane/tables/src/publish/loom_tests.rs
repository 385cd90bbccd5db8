// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-over under every interleaving. See the header of `publish.rs` for the command and for what is not covered.
//!
//! Each value holds a loom cell that readers read and its drop writes. A value freed while a reader can still use
//! it, or freed without the reader's use having happened before, is a cell violation that loom reports.

use super::*;
use loom::cell::UnsafeCell;
use loom::thread;

struct Canary {
    number: u64,
    cell: UnsafeCell<u64>,
}

// SAFETY: the cell is written by drop alone; that this never runs beside a read is what the model proves.
unsafe impl Sync for Canary {}

impl Canary {
    fn boxed(number: u64) -> Box<Self> {
        Box::new(Self { number, cell: UnsafeCell::new(number) })
    }

    fn read(&self) -> u64 {
        // SAFETY: loom checks the access.
        let seen = self.cell.with(|p| unsafe { *p });
        assert_eq!(seen, self.number);
        seen
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // SAFETY: loom checks the access.
        self.cell.with_mut(|p| unsafe { *p = u64::MAX });
    }
}

/// A reader that polls `polls` times; what it sees never goes back, and it changes exactly when `quiescent` says.
fn poll(mut reader: Reader<Canary>, polls: usize) {
    let mut last = reader.get().map(Canary::read);
    for _ in 0..polls {
        let changed = reader.quiescent();
        let now = reader.get().map(Canary::read);
        assert!(now >= last);
        assert_eq!(changed, now != last);
        assert_eq!(reader.generation().map(|g| g.0), now);
        last = now;
    }
}

#[test]
fn loom_publication_is_seen_whole() {
    loom::model(|| {
        let mut publication = Publication::new();
        let reader = publication.reader();
        let worker = thread::spawn(move || poll(reader, 2));
        publication.publish(Canary::boxed(1));
        publication.reclaim();
        worker.join().unwrap();
    });
}

#[test]
fn loom_two_publishes_in_a_row_and_reclaim() {
    loom::model(|| {
        let mut publication = Publication::new();
        publication.publish(Canary::boxed(1));
        let mut reader = publication.reader();
        reader.quiescent();
        let worker = thread::spawn(move || poll(reader, 2));
        publication.publish(Canary::boxed(2));
        publication.reclaim();
        publication.publish(Canary::boxed(3));
        publication.reclaim();
        worker.join().unwrap();
        publication.reclaim();
        assert_eq!(publication.retired(), 0, "the reader left, so nothing is held back");
    });
}

#[test]
fn loom_two_readers_hold_back_what_either_uses() {
    loom::model(|| {
        let mut publication = Publication::new();
        publication.publish(Canary::boxed(1));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = publication.reader();
                reader.quiescent();
                thread::spawn(move || poll(reader, 1))
            })
            .collect();
        let second = publication.publish(Canary::boxed(2));
        let freed = publication.reclaim();
        if freed == 1 {
            assert!(publication.adopted(second), "freed only after both have passed or left");
        }
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(publication.adopted(second));
    });
}

#[test]
fn loom_writer_leaves_first() {
    loom::model(|| {
        let mut publication = Publication::new();
        publication.publish(Canary::boxed(1));
        let mut reader = publication.reader();
        reader.quiescent();
        let worker = thread::spawn(move || poll(reader, 1));
        publication.publish(Canary::boxed(2));
        drop(publication);
        worker.join().unwrap();
    });
}
