// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C library's heap, as a thread that polls wants it.
//!
//! What glibc is given back at the end of a heap it gives back to the kernel once that is 128 KiB, and asks for again, page by page, each cleared, at
//! the next allocation. A proxy that fills buffers, sends them and frees them lives on that edge: a quarter of its time went into page faults. So the
//! process keeps what it once had, up to [`KEPT`] a heap; what is larger than [`ALONE`] still comes from the kernel and goes back to it. Set when DPDK is, before
//! there are workers.

use std::ffi::c_int;

/// Free memory at the end of a heap that is kept, bytes.
const KEPT: c_int = 64 << 20;
/// An allocation that is the kernel's own business, bytes.
const ALONE: c_int = 4 << 20;

const M_TRIM_THRESHOLD: c_int = -1;
const M_MMAP_THRESHOLD: c_int = -3;

unsafe extern "C" {
    fn mallopt(parameter: c_int, value: c_int) -> c_int;
}

/// From now on. A C library that refuses is only slower.
pub(crate) fn keep() {
    for (parameter, value) in [(M_TRIM_THRESHOLD, KEPT), (M_MMAP_THRESHOLD, ALONE)] {
        // SAFETY: the C library's documented function, with parameters and values that it documents; it may be called at any time.
        let _ = unsafe { mallopt(parameter, value) };
    }
}
