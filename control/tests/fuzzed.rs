// SPDX-License-Identifier: MIT OR Apache-2.0
//! What fuzzing has found of `fuzz/properties`, and what it began with: `tests/corpus/fuzz`, replayed.

use std::path::Path;

#[path = "../fuzz/properties/import.rs"]
mod import;

#[test]
fn imports() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/fuzz/import");
    let files: Vec<_> = std::fs::read_dir(folder).expect("a folder of seeds").collect();
    assert!(!files.is_empty());
    for file in files {
        import::check(&std::fs::read(file.expect("an entry").path()).expect("readable"));
    }
}
