// SPDX-License-Identifier: MIT OR Apache-2.0
//! The presence and IM node: what stands behind the appliance where no other SIP server does.
//!
//! It plays the part Cisco Unified Presence has in the design: local users register here, publish their presence, decide who may see
//! it and send each other texts; foreign users come through the appliance. docs/presence.md has each flow as a diagram.
//!
//! From outside to inside: `transport` (connections, framing), `driver` (the one task that owns the core and keeps promises behind the
//! disk), `node` (the core: every decision, without I/O), `presence` and `im` (state machines and documents), `store`. The front for
//! everything but SIP is `node::Command`, over the [`control`] socket and the `web` service.
#![forbid(unsafe_code)]

mod aor;
pub mod config;
mod contact;
pub mod control;
mod dialog;
mod digest;
mod directory;
mod driver;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzed;
mod homing;
mod ids;
mod im;
mod message;
mod node;
mod presence;
mod store;
mod transport;
mod users;
mod web;
mod xml;

#[cfg(test)]
#[path = "tests/postgres/mod.rs"]
mod postgres;

pub use driver::{NodeError, check, run};
