// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker as a whole on ports whose far ends are in the test's hand: real mbufs, real tables, time as an argument.
//!
//! Each scenario names every counter that must move; [`rig::Rig::moved`] gives all that did, so a silent side effect fails.

mod bursts;
mod clearing;
mod crew;
mod floating;
mod flows;
mod forwarding;
mod fragments;
mod garbage;
mod icmp_errors;
mod intercept;
mod media;
mod ping;
mod rig;
mod sanity;
mod shards;
mod tap;
mod trace;
mod v6;
