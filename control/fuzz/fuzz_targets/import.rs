// SPDX-License-Identifier: MIT OR Apache-2.0
//! See the property. Seeds: `tests/corpus/fuzz/import` of the repository.
#![no_main]

#[path = "../properties/import.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
