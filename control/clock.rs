// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wall clock, as numbers since 1970. A clock that stands before it is taken for 1970.
//!
//! For what is told and kept: certificates, entries that end, records that are exported. How long something took or is to take is
//! [`std::time::Instant`]'s matter. Called on control's one thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> i64 {
    since().as_secs() as i64
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    since().as_millis() as u64
}

fn since() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
