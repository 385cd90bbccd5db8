// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain table against a HashMap, against garbage, against a writer that dies, and under real threads.

use super::hash::hash_name;
use super::layout::{Geometry, HEADER_WORDS};
use super::*;
use crate::region::Region;
use crate::words::Words;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

type Heap = Arc<[AtomicU64]>;

fn heap_words(n: usize) -> Heap {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

fn small(capacity: u32) -> (DomainWriter<Heap>, DomainReader<Heap>) {
    let geometry = Geometry::for_entries(capacity, 0, 1, [3, 5]);
    let words = heap_words(geometry.words());
    (DomainWriter::format(words.clone(), geometry).unwrap(), DomainReader::attach(words).unwrap())
}

/// Id, permitted, blocked, peer.
type Row = (u32, bool, bool, Option<String>);

/// The obvious table: lists by (name, wildcard).
#[derive(Default)]
struct Oracle {
    map: HashMap<(String, bool), Row>,
}

impl Oracle {
    fn row(&mut self, name: &str, wildcard: bool) -> &mut Row {
        let next = self.map.len() as u32;
        self.map.entry((name.into(), wildcard)).or_insert((next, false, false, None))
    }

    fn lookup(&self, name: &str) -> (Option<u32>, Option<bool>, Option<String>) {
        let mut candidates = vec![(name, false)];
        let mut rest = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            candidates.push((suffix, true));
            rest = suffix;
        }
        for (suffix, wildcard) in candidates {
            match self.map.get(&(suffix.to_owned(), wildcard)) {
                Some((id, _, true, _)) => return (Some(*id), Some(false), None),
                Some((id, true, false, peer)) => return (Some(*id), Some(true), peer.clone()),
                Some((_, false, false, _)) | None => {}
            }
        }
        (None, None, None)
    }
}

fn plain(listed: Listed) -> (Option<u32>, Option<bool>, Option<String>) {
    match listed {
        Listed::Permitted { id, peer } => (Some(id), Some(true), peer.map(|p| p.as_str().to_owned())),
        Listed::Blocked { id } => (Some(id), Some(false), None),
        Listed::Unlisted => (None, None, None),
    }
}

#[derive(Clone, Debug)]
enum Op {
    Permit(String, bool, Option<String>),
    Block(String, bool),
    Remove(String, bool, List),
    Adopt,
}

/// Few labels, so that names nest and repeat.
fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "example", "a-rather-long-label-of-a-name"], 1..5)
        .prop_map(|labels| labels.join("."))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (name(), any::<bool>(), proptest::option::of(name())).prop_map(|(n, w, p)| Op::Permit(n, w, p)),
        2 => (name(), any::<bool>()).prop_map(|(n, w)| Op::Block(n, w)),
        2 => (name(), any::<bool>(), any::<bool>())
            .prop_map(|(n, w, p)| Op::Remove(n, w, if p { List::Permit } else { List::Block })),
        1 => Just(Op::Adopt),
    ]
}

proptest! {
    #[test]
    fn hash_map_is_the_oracle(ops in proptest::collection::vec(op(), 0..60), asked in proptest::collection::vec(name(), 20)) {
        let (mut writer, reader) = small(200);
        let mut oracle = Oracle::default();
        for op in ops {
            match op {
                Op::Permit(name, wildcard, peer) => {
                    let row = oracle.row(&name, wildcard);
                    (row.1, row.3) = (true, peer.clone());
                    prop_assert_eq!(writer.permit(&name, wildcard, peer.as_deref()), Ok(row.0));
                }
                Op::Block(name, wildcard) => {
                    let row = oracle.row(&name, wildcard);
                    row.2 = true;
                    prop_assert_eq!(writer.block(&name, wildcard), Ok(row.0));
                }
                Op::Remove(name, wildcard, list) => {
                    let was = oracle.map.get_mut(&(name.clone(), wildcard)).is_some_and(|row| {
                        std::mem::take(match list { List::Permit => &mut row.1, List::Block => &mut row.2 })
                    });
                    prop_assert_eq!(writer.remove(&name, wildcard, list), Ok(was));
                }
                Op::Adopt => writer = DomainWriter::adopt(reader.words().clone()).unwrap(),
            }
            for name in &asked {
                prop_assert_eq!(plain(reader.lookup(name.as_bytes())), oracle.lookup(name), "{}", name);
            }
        }
        let mut entries: Vec<_> = writer.entries().collect();
        entries.sort_by_key(|entry| entry.id);
        let mut wanted: Vec<_> = oracle.map.iter().filter(|(_, row)| row.1 || row.2).collect();
        wanted.sort_by_key(|(_, row)| row.0);
        prop_assert_eq!(entries.len(), wanted.len());
        for (entry, ((name, wildcard), row)) in entries.iter().zip(wanted) {
            prop_assert_eq!((entry.id, &entry.name, entry.wildcard), (row.0, name, *wildcard));
            prop_assert_eq!((entry.permitted, entry.blocked), (row.1, row.2));
        }
        // The successor says the same, by the same ids.
        let geometry = Geometry::for_entries(400, 0, 2, [8, 9]);
        let mut successor = DomainWriter::format(heap_words(geometry.words()), geometry).unwrap();
        writer.copy_to(&mut successor).unwrap();
        prop_assert_eq!(successor.names(), writer.names());
        let fresh = successor.permit("never-seen-before", false, None).unwrap();
        prop_assert_eq!(fresh, writer.names());
    }

    /// Any words under a right header: lookups end and stay inside, adoption refuses or works.
    #[test]
    fn any_bytes_are_safe(
        junk in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..64, (0u64..64).prop_map(|v| v << 32 | 1)], 1..200),
        keep in 0u8..3,
        asked in name(),
    ) {
        let (mut writer, reader) = small(8);
        for name in ["a", "b.a", "example.b.a"] {
            writer.permit(name, true, Some("edge.example")).unwrap();
        }
        let words = reader.words();
        let tag = hash_name([3, 5], asked.as_bytes(), false) >> 32 << 32;
        for (i, &word) in junk.iter().cycle().take(words.len() - HEADER_WORDS).enumerate() {
            // Mostly slots that carry the very tag that is asked for, so that the records behind are looked at.
            match keep {
                0 => words.store(HEADER_WORDS + i, word, Ordering::Relaxed),
                1 if i < 16 => words.store(HEADER_WORDS + i, tag | (word & 0xFF), Ordering::Relaxed),
                _ if i >= 16 => words.store(HEADER_WORDS + i, word, Ordering::Relaxed),
                _ => {}
            }
        }
        for name in [&asked, "a", "x.a", "x.example.b.a"] {
            reader.lookup(name.as_bytes());
        }
        if let Ok(mut adopted) = DomainWriter::adopt(words.clone()) {
            adopted.entries().for_each(drop);
            let _ = adopted.permit(&asked, false, None);
        }
    }

    #[test]
    fn any_header_is_refused_or_safe(at in 0usize..HEADER_WORDS, value: u64) {
        let (mut writer, reader) = small(8);
        writer.permit("a.example", false, None).unwrap();
        let words = reader.words();
        words.store(at, value, Ordering::Relaxed);
        if let Ok(reader) = DomainReader::attach(words.clone()) {
            reader.lookup(b"a.example");
        }
    }

    /// Bytes that are no canonical name are unlisted, even those that end like one.
    #[test]
    fn any_query_is_safe(mut query in proptest::collection::vec(any::<u8>(), 0..300), tail: bool) {
        let (mut writer, reader) = small(8);
        let id = writer.permit("a", true, None).unwrap();
        if tail {
            query.extend_from_slice(b".a");
        }
        let permitted = is_canonical(&query) && query.ends_with(b".a");
        let wanted = if permitted { Listed::Permitted { id, peer: None } } else { Listed::Unlisted };
        prop_assert_eq!(reader.lookup(&query), wanted);
    }
}

#[test]
fn specificity() {
    let (mut writer, reader) = small(16);
    let id = writer.permit("x.example", true, None).unwrap();
    assert_eq!(reader.lookup(b"x.example"), Listed::Unlisted, "a wildcard is never the name itself");
    assert_eq!(reader.lookup(b"a.x.example"), Listed::Permitted { id, peer: None });
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Permitted { id, peer: None });
    assert_eq!(reader.lookup(b"ax.example"), Listed::Unlisted);
    let longer = writer.block("b.x.example", true).unwrap();
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Blocked { id: longer });
    let exact = writer.permit("a.b.x.example", false, None).unwrap();
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Permitted { id: exact, peer: None });
    assert_eq!(writer.block("a.b.x.example", false), Ok(exact));
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Blocked { id: exact });
    assert_eq!(writer.remove("a.b.x.example", false, List::Block), Ok(true));
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Permitted { id: exact, peer: None });
    // Gone, and back under the same id.
    assert_eq!(writer.remove("a.b.x.example", false, List::Permit), Ok(true));
    assert_eq!(reader.lookup(b"a.b.x.example"), Listed::Blocked { id: longer });
    assert_eq!(writer.permit("a.b.x.example", false, Some("edge.example")), Ok(exact));
    assert!(
        matches!(reader.lookup(b"a.b.x.example"), Listed::Permitted { id: i, peer: Some(p) } if i == exact && p.as_str() == "edge.example")
    );
}

#[test]
fn canonical_names_only() {
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(longest.len(), MAX_NAME);
    for good in
        ["a", "foreign.example", "xn--bcher-kva.example", "192.0.2.1", "[2001:db8::1]", "_x.y", &longest]
    {
        assert!(is_canonical(good.as_bytes()), "{good}");
    }
    let too_long = format!("{longest}e");
    for bad in ["", ".", "a.", ".a", "a..b", "A", "*.a", "a b", "bücher", "a\0", &too_long] {
        assert!(!is_canonical(bad.as_bytes()), "{bad}");
    }
    let (mut writer, reader) = small(4);
    assert_eq!(writer.permit("A.example", false, None), Err(DomainError::NotCanonical("A.example".into())));
    assert_eq!(writer.permit("a", false, Some("*.b")), Err(DomainError::NotCanonical("*.b".into())));
    assert_eq!(writer.names(), 0);
    let id = writer.permit(&longest, false, Some(&longest)).unwrap();
    assert!(
        matches!(reader.lookup(longest.as_bytes()), Listed::Permitted { id: i, peer: Some(p) } if i == id && p.as_str() == longest)
    );
}

#[test]
fn full_tables_say_so_and_grow() {
    let mut writer = DomainWriter::create(4).unwrap();
    for i in 0..4 {
        assert_eq!(writer.permit(&format!("d{i}.example"), false, None), Ok(i));
    }
    let full = writer.permit("one-more.example", false, None).unwrap_err();
    assert_eq!(full, DomainError::Full);
    assert!(full.wants_growth());
    writer.remove("d1.example", false, List::Permit).unwrap();
    let mut bigger = writer.grow().unwrap();
    assert_eq!((bigger.capacity(), bigger.generation()), (8, 2));
    assert_eq!(bigger.permit("one-more.example", false, None), Ok(4));
    assert_eq!(bigger.permit("d1.example", false, None), Ok(5), "a name that was left behind is a new one");
    let foreign = Region::map_rw(bigger.region().fd().try_clone_to_owned().unwrap()).unwrap();
    let reader = DomainReader::attach(foreign).unwrap();
    assert_eq!(reader.lookup(b"d3.example"), Listed::Permitted { id: 3, peer: None });
    assert_eq!(reader.generation(), 2);

    // Changes of peer use up the heap; a successor has room again.
    let mut changes = 0;
    let full = loop {
        match bigger.permit("d3.example", false, Some(&format!("edge{changes}.example"))) {
            Ok(id) => assert_eq!(id, 3),
            Err(error) => break error,
        }
        changes += 1;
    };
    assert_eq!(full, DomainError::HeapFull);
    let last = format!("edge{}.example", changes - 1);
    assert!(
        matches!(reader.lookup(b"d3.example"), Listed::Permitted { id: 3, peer: Some(p) } if p.as_str() == last)
    );
    assert_eq!(bigger.grow().unwrap().permit("d3.example", false, Some("other.example")), Ok(3));
}

/// Ids of names that a successor left behind are given out again, after all fresh ones; a writer that takes over knows them too.
#[test]
fn ids_come_round_again() {
    let mut writer = DomainWriter::create(2).unwrap();
    writer.permit("gone.example", false, None).unwrap();
    writer.permit("stays.example", false, None).unwrap();
    writer.remove("gone.example", false, List::Permit).unwrap();
    assert_eq!(
        writer.permit("new.example", false, None),
        Err(DomainError::Full),
        "not under a reader's eyes"
    );
    let mut next = writer.grow().unwrap();
    assert_eq!(next.permit("a.example", false, None), Ok(2));
    assert_eq!(next.permit("b.example", false, None), Ok(3));
    assert!(next.take_reused().is_empty());
    let region = Region::map_rw(next.region().fd().try_clone_to_owned().unwrap()).unwrap();
    let mut next = DomainWriter::adopt(region).unwrap();
    assert_eq!(next.permit("c.example", false, None), Ok(0));
    assert_eq!((next.take_reused(), next.take_reused()), (vec![0], vec![]));
    assert_eq!(next.permit("d.example", false, None), Err(DomainError::Full));
    let ids: Vec<u32> = next.entries().map(|entry| entry.id).collect();
    assert_eq!((ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len()), (4, 4));
}

/// Words that stop taking stores after so many: a process that died there.
struct Mortal {
    words: Heap,
    left: AtomicUsize,
}

impl Words for Mortal {
    fn len(&self) -> usize {
        self.words.len()
    }
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.words[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            self.words[index].store(value, order);
        }
    }
}

type Change = fn(&mut DomainWriter<Mortal>);

#[test]
fn a_writer_may_die_at_any_store() {
    let changes: [(&str, Change); 6] = [
        ("new name", |w| _ = w.permit("new.example", false, Some("edge.new.example"))),
        ("new wildcard", |w| _ = w.block("new.example", true)),
        ("change of peer", |w| _ = w.permit("old.example", false, Some("edge.other.example"))),
        ("block", |w| _ = w.block("old.example", false)),
        ("remove", |w| _ = w.remove("old.example", false, List::Permit)),
        ("two names", |w| _ = (w.permit("n1.example", false, None), w.permit("n2.example", false, None))),
    ];
    for (what, change) in changes {
        for stores in 0..40 {
            let (mut writer, reader) = small(16);
            writer.permit("old.example", false, Some("edge.old.example")).unwrap();
            let words = reader.words().clone();
            let mut mortal =
                DomainWriter::adopt(Mortal { words: words.clone(), left: AtomicUsize::new(usize::MAX) })
                    .unwrap();
            let complete = |change: Change| {
                let copy: Heap = words.iter().map(|w| AtomicU64::new(w.load(Ordering::Relaxed))).collect();
                let mut w =
                    DomainWriter::adopt(Mortal { words: copy, left: AtomicUsize::new(usize::MAX) }).unwrap();
                change(&mut w);
                sorted(&w)
            };
            let (before, after) = (sorted(&writer), complete(change));
            mortal.words().left.store(stores, Ordering::Relaxed);
            change(&mut mortal);
            drop(mortal);

            let mut heir =
                DomainWriter::adopt(words.clone()).unwrap_or_else(|e| panic!("{what} after {stores}: {e}"));
            let found = sorted(&heir);
            let one_of_two = what == "two names" && found.len() == before.len() + 1;
            assert!(found == before || found == after || one_of_two, "{what} after {stores}: {found:?}");
            let old = plain(reader.lookup(b"old.example"));
            assert!(
                old.0 == Some(0) && (old.1 == Some(false) || old.2.is_some())
                    || what == "remove" && old.0.is_none(),
                "{what} after {stores}: {old:?}"
            );
            // The heir goes on as if nothing had been.
            let id = heir.permit("heir.example", false, Some("edge.heir.example")).unwrap();
            assert!(sorted(&heir).iter().filter(|e| e.id == id).count() == 1);
            change_again(&mut heir);
            assert_eq!(plain(reader.lookup(b"heir.example")).0, Some(id));
        }
    }
}

#[test]
fn a_maker_may_die_at_any_store() {
    let geometry = Geometry::for_entries(4, 0, 1, [1, 2]);
    for stores in 0..12 {
        let words = heap_words(geometry.words());
        let _ =
            DomainWriter::format(Mortal { words: words.clone(), left: AtomicUsize::new(stores) }, geometry);
        match DomainReader::attach(words) {
            Ok(reader) => assert_eq!(reader.lookup(b"a"), Listed::Unlisted),
            Err(bad) => assert_eq!(bad, BadTable::Magic(0)),
        }
    }
}

fn sorted<W: Words>(writer: &DomainWriter<W>) -> Vec<Entry> {
    let mut entries: Vec<_> = writer.entries().collect();
    entries.sort_by_key(|entry| entry.id);
    entries
}

fn change_again(heir: &mut DomainWriter<Heap>) {
    heir.permit("new.example", false, None).unwrap();
    heir.permit("old.example", false, Some("edge.third.example")).unwrap();
    heir.remove("old.example", false, List::Block).unwrap();
    DomainWriter::adopt(heir.words().clone()).expect("still a table");
}

#[test]
fn stress_readers_beside_a_writer() {
    const ROUNDS: usize = 2_000;
    let mut writer = DomainWriter::create(4096).unwrap();
    let fd = writer.region().fd().try_clone_to_owned().unwrap();
    let reader = DomainReader::attach(Region::map_rw(fd).unwrap()).unwrap();
    let stays = writer.permit("stays.example", false, Some("edge.stays.example")).unwrap();
    let flips = writer.permit("flips.example", true, Some("edge0.flips.example")).unwrap();
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) == 0 {
                    match reader.lookup(b"stays.example") {
                        Listed::Permitted { id, peer: Some(peer) } => {
                            assert_eq!((id, peer.as_str()), (stays, "edge.stays.example"));
                        }
                        other => panic!("{other:?}"),
                    }
                    match reader.lookup(b"a.flips.example") {
                        Listed::Permitted { id, peer: Some(peer) } => {
                            let text = peer.as_str();
                            let number =
                                text.strip_prefix("edge").and_then(|t| t.strip_suffix(".flips.example"));
                            assert!(
                                id == flips && number.is_some_and(|n| n.parse::<usize>().is_ok()),
                                "{text}"
                            );
                        }
                        Listed::Blocked { id } => assert_eq!(id, flips),
                        Listed::Unlisted => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            writer.permit(&format!("n{round}.example"), false, None).unwrap();
            writer.permit("flips.example", true, Some(&format!("edge{round}.flips.example"))).unwrap();
            writer.block("flips.example", true).unwrap();
            writer.remove("flips.example", true, List::Block).unwrap();
            writer.remove("flips.example", true, List::Permit).unwrap();
        }
        done.store(1, Ordering::Relaxed);
    });
    assert_eq!(writer.names() as usize, ROUNDS + 2);
}

#[test]
fn a_large_table_fills_to_its_capacity() {
    const NAMES: u32 = 100_000;
    let (mut writer, reader) = small(NAMES);
    for i in 0..NAMES {
        assert_eq!(writer.permit(&format!("d{i}.example"), false, None), Ok(i));
    }
    for i in (0..NAMES).step_by(97) {
        assert_eq!(
            reader.lookup(format!("d{i}.example").as_bytes()),
            Listed::Permitted { id: i, peer: None }
        );
        assert_eq!(reader.lookup(format!("e{i}.example").as_bytes()), Listed::Unlisted);
    }
    assert_eq!(DomainWriter::adopt(reader.words().clone()).unwrap().names(), NAMES);
}
