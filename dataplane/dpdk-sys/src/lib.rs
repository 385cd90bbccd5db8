// SPDX-License-Identifier: MIT OR Apache-2.0
//! Raw bindings to the system's libdpdk (22.11 and later).
//!
//! Generated at build time by bindgen from `wrapper.h`, an allow-list of what
//! the `dpdk` crate calls and no more, because all of DPDK is 25,000 lines of
//! bindings. The `shim_*` functions come from `src/shim.c`: DPDK has their
//! originals only as static inline functions or macros. The generated code
//! carries compile-time checks of the size and offset of each struct, so a
//! libdpdk with another layout fails to build rather than to run.
//!
//! Nothing here is safe to call without reading DPDK's own documentation; the
//! `dpdk` crate is the only one that should depend on this.
#![no_std]

pub use bindings::*;

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated from C"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
