// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared tables: policy snapshot, domains, counters, and the link between the halves.
pub mod drops;
pub mod policy;
