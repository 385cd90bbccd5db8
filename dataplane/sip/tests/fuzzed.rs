// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `cargo fuzz` checks (`fuzz/properties`), over the messages of RFC 4475 and over what fuzzing has found: a file in
//! `tests/corpus/fuzz/TARGET` each, kept for ever.

use std::path::{Path, PathBuf};

#[path = "../fuzz/properties/edit.rs"]
mod edit;
#[path = "../fuzz/properties/frame.rs"]
mod frame;
#[path = "../fuzz/properties/inspect.rs"]
mod inspect;
#[path = "../fuzz/properties/scan.rs"]
mod scan;
#[path = "../fuzz/properties/verdict.rs"]
mod verdict;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus").join(folder);
    // A target that has found nothing has no folder.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// `before` is what the target wants in front of a message.
fn replay(target: &str, before: &[u8], check: impl Fn(&[u8])) {
    let found = files(&format!("fuzz/{target}"));
    for path in &found {
        check(&std::fs::read(path).expect("readable"));
    }
    let messages = files("rfc4475");
    assert!(messages.len() >= 49);
    for path in &messages {
        let message = std::fs::read(path).expect("readable");
        check(&[before, &message].concat());
    }
}

#[test]
fn frames() {
    replay("frame", &[6], frame::check);
}

#[test]
fn scans() {
    replay("scan", &[], scan::check);
}

#[test]
fn verdicts() {
    replay("verdict", &[], verdict::check);
}

#[test]
fn inspections() {
    replay("inspect", &[], inspect::check);
}

#[test]
fn edits() {
    // Three: in the start line, in the head, and far behind.
    replay("edit", &[3, 0, 4, 9, 2, 0, 40, 3, 31, 1, 44, 20, 0], edit::check);
}
