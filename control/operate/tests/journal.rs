// SPDX-License-Identifier: MIT OR Apache-2.0
//! The journal against a map in memory, cut at every byte.

use super::*;
use crate::config::model::{Note, Permit};
use proptest::prelude::*;

fn key(n: u8) -> DomainKey {
    DomainKey { name: format!("d{n}.example"), wildcard: n.is_multiple_of(3) }
}

fn entry(permit: Option<bool>, block: bool) -> DomainEntry {
    let permit = permit.map(|peer| Permit {
        peer: peer.then(|| "edge.partner.example".to_owned()),
        note: Note { until: None, comment: peer.then(|| "asked for by # ops".into()) },
    });
    DomainEntry { permit, block: block.then(Note::default) }
}

fn set(domains: &mut Domains, key: &DomainKey, entry: &DomainEntry) {
    if *entry == DomainEntry::default() {
        domains.remove(key);
    } else {
        domains.insert(key.clone(), entry.clone());
    }
}

/// What is done to a journal: an entry set, by itself or as part of a commit.
type Step = (bool, Vec<(u8, Option<bool>, bool)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = (0u8..12, proptest::option::of(any::<bool>()), any::<bool>());
    proptest::collection::vec((any::<bool>(), proptest::collection::vec(one, 1..4)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever byte the power goes at, with the running-config of before or of after the last commit: a state that was, and never
    /// one that a commit had not come to.
    #[test]
    fn cut_anywhere_it_is_a_state_that_was(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path());
        let mut now = Domains::new();
        set(&mut now, &key(0), &entry(Some(true), true));
        journal.begin(&now).unwrap();
        let path = folder.path().join("domains.1");
        // States with the mark of the running-config and the bytes at which each was on disk.
        let mut states = vec![(journal.mark, std::fs::read(&path).unwrap().len(), now.clone())];
        for (commit, sets) in steps {
            let mut next = now.clone();
            for (n, permit, block) in &sets {
                set(&mut next, &key(*n), &entry(*permit, *block));
            }
            if commit {
                journal.group(&changes(&now, &next)).unwrap();
                states.push((journal.mark, std::fs::read(&path).unwrap().len(), next.clone()));
            } else {
                // A command changes one list.
                for change in changes(&now, &next) {
                    let between = DomainEntry { block: change.before.block.clone(), ..change.after.clone() };
                    let ends = [(&change.before, &between), (&between, &change.after)];
                    for (before, after) in ends.into_iter().filter(|(before, after)| before != after) {
                        set(&mut now, &change.key, after);
                        let change = Change { key: change.key.clone(), before: before.clone(), after: after.clone() };
                        journal.append(&change, &now, &Before::new()).unwrap();
                        states.push((journal.mark, std::fs::read(&path).unwrap().len(), now.clone()));
                    }
                }
            }
            now = next;
        }
        let bytes = std::fs::read(&path).unwrap();
        let first = states[0].1;
        for len in first..=bytes.len() {
            let reached = states.iter().rposition(|(_, at, _)| *at <= len).unwrap();
            for mark in [states[reached].0, states[reached.saturating_sub(1)].0] {
                std::fs::write(&path, &bytes[..len]).unwrap();
                let read = Journal::new(folder.path()).open(mark).unwrap().0;
                let expected = states[..=reached].iter().rfind(|(of, ..)| of.group <= mark.group).unwrap();
                prop_assert_eq!(&read, &expected.2, "cut at {} of {}", len, bytes.len());
                // Cut once, it reads the same again.
                prop_assert_eq!(Journal::new(folder.path()).open(mark).unwrap().0, read);
            }
        }
    }

    #[test]
    fn changes_make_one_list_the_other(a in steps(), b in steps()) {
        let of = |steps: Vec<Step>| {
            let mut domains = Domains::new();
            for (n, permit, block) in steps.iter().flat_map(|(_, sets)| sets) {
                set(&mut domains, &key(*n), &entry(*permit, *block));
            }
            domains
        };
        let (mut a, b) = (of(a), of(b));
        for change in changes(&a.clone(), &b) {
            for line in lines(&change.key, &change.before, &change.after) {
                prop_assert!(apply_line(&mut a, &line), "{}", line);
            }
        }
        prop_assert_eq!(a, b);
    }
}

#[test]
fn garbage_ends_the_reading_and_a_taken_back_group_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(folder.path());
    let mut domains = Domains::new();
    set(&mut domains, &key(1), &entry(Some(false), false));
    journal.begin(&domains).unwrap();
    let after = Domains::new();
    let undo = journal.group(&changes(&domains, &after)).unwrap();
    journal.undo(undo);
    let mark = journal.mark;
    assert_eq!(Journal::new(folder.path()).open(Mark { group: mark.group + 1, ..mark }).unwrap().0, domains);
    let path = folder.path().join(format!("domains.{}", mark.file));
    for tail in ["00000000 no permit domain d1.example\n", "\u{0}\u{0}\u{0}", "junk"] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(tail.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::new(folder.path()).open(mark).unwrap().0, domains, "{tail}");
    }
    assert!(Journal::new(folder.path()).open(Mark { file: 9, group: 9 }).is_err());
}

#[test]
fn a_journal_that_grew_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(folder.path());
    let mut domains = Domains::new();
    journal.begin(&domains).unwrap();
    for n in 0..2 * FEW {
        let on = n.is_multiple_of(2);
        let change = Change {
            key: key(1),
            before: entry((!on).then_some(false), false),
            after: entry(on.then_some(false), false),
        };
        set(&mut domains, &change.key, &change.after);
        journal.append(&change, &domains, &Before::new()).unwrap();
    }
    let lines = std::fs::read_to_string(folder.path().join("domains.1")).unwrap().lines().count();
    assert!(lines < FEW + 10, "{lines}");
    assert_eq!(Journal::new(folder.path()).open(journal.mark).unwrap().0, domains);
}
