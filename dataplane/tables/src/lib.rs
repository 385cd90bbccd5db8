// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared tables: everything that crosses the border between `fedgate-control` and `fedgate-dataplane`.
//!
//! Memory crosses as sealed memfds ([`region`]) whose descriptors travel over one unix socket ([`link`]):
//! - [`policy`] is the immutable snapshot, written with [`policy_build`], checked and read with [`policy_view`];
//! - [`domains`] is the federated-domain table, changed in place by control while workers read it;
//! - [`counters`] is written by the workers and read by control at any time;
//! - [`publish`] hands what was attached from the housekeeping thread to the workers and frees the old (QSBR).
//!
//! Both halves link this crate, so it knows neither DPDK nor tokio. Nothing read from a segment or a socket is
//! trusted: a bad one is an error with a name. [`pages`] is what a worker's large tables are made of. `unsafe` stands in `region`
//! and `pages` (mapping) and `publish` (reclamation) only.
#![deny(unsafe_code)]

pub mod capture;
pub mod counters;
pub mod domains;
pub mod drops;
pub mod link;
pub mod pages;
pub mod policy;
pub mod policy_build;
pub mod policy_view;
pub mod publish;
pub mod region;
pub mod words;
