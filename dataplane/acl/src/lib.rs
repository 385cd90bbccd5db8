// SPDX-License-Identifier: MIT OR Apache-2.0
//! First-match packet classification over 100,000 rules and more.
//!
//! [`Classifier`] is built once from a list of [`Rule`]s and never changes: flat arrays of 16-byte entries that cut
//! on a few header bits each, and runs of at most a handful of rules to compare. Every rule is stored once, or a bounded
//! number of times more, so no rule set can make it large; a hostile one makes lookups slow, never wrong. [`Layered`] puts edits on top: an
//! added, removed, changed or (in)active rule makes a new `Layered` in a millisecond or two that shares the big classifier
//! with the old one, which stays as it was for whoever still reads it.
//!
//! Pure data: no IO, no clock, no unsafe. The housekeeping thread builds and edits; worker cores look up, without
//! allocation. What an action is, and where rules come from, is the caller's business (fedgate-flow `acl`): a lookup gives
//! the rule's position in the list. IPv4 and IPv6 are the same code over [`Address`].
//!
//! Limits: 2^26 rules a classifier; ranges are compared exactly but separate rules in the tree only as far as
//! their aligned halves do.
#![forbid(unsafe_code)]

mod build;
mod burst;
mod classifier;
mod cut;
mod diff;
mod layered;
mod rule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use burst::Scratch;
pub use classifier::Classifier;
pub use layered::Layered;
pub use rule::{Address, Query, Rule};
