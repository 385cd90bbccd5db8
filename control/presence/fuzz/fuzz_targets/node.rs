// SPDX-License-Identifier: MIT OR Apache-2.0
//! See the property in `control/presence/fuzzed.rs`. Seeds: `tests/corpus/fuzz/node` of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fedgate_presence::fuzzed::node(data));
