// SPDX-License-Identifier: MIT OR Apache-2.0
//! See the property of this name in `src/fuzzing.rs`. Seeds: `tests/corpus/fuzz/tls_handshake` of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fedgate_proxy::fuzzing::tls_handshake(data));
