// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the crate: each clever structure against a slow, obvious twin, and admission by scenario.
mod acl;
mod admission;
mod conformance;
mod media;
mod nat;
mod packets;
mod ports;
mod shard;
mod shown;
mod structures;
mod xlates;
