// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sip-pool`: the inside servers behind one `tls-proxy`, as control writes them and the dataplane reads them.
//!
//! Crosses between the halves as JSON within the policy, as inspect maps do: a few hundred octets, read once when a policy is
//! taken into use.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Most members of a pool.
pub const MAX_MEMBERS: usize = 16;

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Its name.
    pub name: String,
    /// Its members, each address and port once; at most [`MAX_MEMBERS`].
    pub members: Vec<PoolMember>,
    /// How they are watched; `None` for not at all.
    pub check: Option<HealthCheck>,
}

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolMember {
    /// Its address.
    pub addr: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
    /// Its share, against those of the others; at least 1.
    pub weight: u8,
    /// It keeps the dialogs it has and gets no new ones.
    pub drain: bool,
}

/// `health-check options interval S fail N rise N`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Seconds from one OPTIONS to the next.
    pub interval: u16,
    /// So many without an answer in a row, and it is down.
    pub fail: u8,
    /// So many answers in a row, and it is up again.
    pub rise: u8,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { interval: 10, fail: 3, rise: 2 }
    }
}
