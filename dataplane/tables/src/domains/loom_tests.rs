// SPDX-License-Identifier: MIT OR Apache-2.0
//! Publication of slots and states under every interleaving and reordering (run as `publish.rs` says).
//!
//! The table runs over loom's words: one writer makes one change, one reader looks up beside it. Not covered: several
//! changes at once (each is one store, and the oracle test has their sequences), and more readers (they do not meet).

use super::layout::Geometry;
use super::*;
use crate::words::Words;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

#[derive(Clone)]
struct LoomWords(Arc<Vec<AtomicU64>>);

impl Words for LoomWords {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.0[index].store(value, order);
    }
}

/// Runs `change` beside one lookup of `a.example` in a table prepared by `before`.
fn model(
    before: fn(&mut DomainWriter<LoomWords>),
    change: fn(&mut DomainWriter<LoomWords>),
    check: fn(Listed),
    last: fn(Listed),
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let geometry = Geometry::for_entries(1, 0, 1, [7, 11]);
        let words = LoomWords(Arc::new((0..geometry.words()).map(|_| AtomicU64::new(0)).collect()));
        let mut writer = DomainWriter::format(words.clone(), geometry).unwrap();
        before(&mut writer);
        let reader = DomainReader::attach(words).unwrap();
        let worker = loom::thread::spawn(move || {
            check(reader.lookup(b"a.example"));
            reader
        });
        change(&mut writer);
        let reader = worker.join().unwrap();
        last(reader.lookup(b"a.example"));
    });
}

fn pinned(listed: Listed, name: &str) -> bool {
    matches!(listed, Listed::Permitted { id: 0, peer: Some(peer) } if peer.as_str() == name)
}

#[test]
fn loom_a_new_entry_is_seen_whole_or_not_at_all() {
    model(
        |_| {},
        |writer| assert_eq!(writer.permit("a.example", false, Some("edge.a.example")), Ok(0)),
        |seen| assert!(seen == Listed::Unlisted || pinned(seen, "edge.a.example"), "{seen:?}"),
        |last| assert!(pinned(last, "edge.a.example")),
    );
}

#[test]
fn loom_a_change_of_peer_is_one_step() {
    model(
        |writer| assert_eq!(writer.permit("a.example", false, Some("first.example")), Ok(0)),
        |writer| assert_eq!(writer.permit("a.example", false, Some("second.example")), Ok(0)),
        |seen| assert!(pinned(seen, "first.example") || pinned(seen, "second.example"), "{seen:?}"),
        |last| assert!(pinned(last, "second.example")),
    );
}

#[test]
fn loom_a_block_is_one_step() {
    model(
        |writer| assert_eq!(writer.permit("a.example", false, None), Ok(0)),
        |writer| assert_eq!(writer.block("a.example", false), Ok(0)),
        |seen| assert!(matches!(seen, Listed::Permitted { id: 0, peer: None } | Listed::Blocked { id: 0 })),
        |last| assert_eq!(last, Listed::Blocked { id: 0 }),
    );
}
