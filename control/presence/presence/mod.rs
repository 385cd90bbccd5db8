// SPDX-License-Identifier: MIT OR Apache-2.0
//! Presence without I/O: states and their documents, decisions, and when what is said to whom.
//!
//! [`state`] and [`pidf`] are the two mapping tables of the design, [`policy`] its order of decisions, [`winfo`] what a user is told
//! of watchers; [`notifier`] paces the NOTIFYs of a subscription to us, [`watch`] our subscriptions to others. The core
//! (`node`) puts them together.

pub mod notifier;
pub mod pidf;
pub mod policy;
pub mod state;
pub mod watch;
pub mod winfo;
