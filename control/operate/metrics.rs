// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metrics for Prometheus: what is counted anywhere, as a page that is made when it is asked for (`metrics http ADDRESS PORT`).
//!
//! [`page`] is the form, written by prometheus-client; [`collect`] what stands in it; [`domains`] which domains do, since a list may have a
//! million; [`serve`] hands it out. Off unless configured. Counters are read from shared memory, so that no worker is asked.

pub mod collect;
pub mod domains;
pub mod page;
pub mod serve;
#[cfg(test)]
mod tests;
