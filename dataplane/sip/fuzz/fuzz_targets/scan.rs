// SPDX-License-Identifier: MIT OR Apache-2.0
//! See the property.
#![no_main]

#[path = "../properties/scan.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
