// SPDX-License-Identifier: MIT OR Apache-2.0
//! `federation`: what is said of foreign domains beyond the lists; and `dns server-group`, whom control asks for their edges.
//!
//! Apart from the lists, which may have a million names and are edited one by one: this is for the few partners that one knows.

use std::fmt;
use std::net::IpAddr;

use fedgate_sip::partner::{Bounds, Rate};

/// Most name servers (the ASA's limit).
pub const MAX_SERVERS: usize = 6;

/// `federation domain NAME` or `federation default`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Federation {
    /// `srv`: its edges are asked for.
    pub srv: bool,
    /// `rate-limit`
    pub rate: Option<RateLimit>,
    /// `maximum-session`
    pub sessions: Option<u32>,
}

impl Federation {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the dataplane has it.
    pub fn bounds(&self) -> Bounds {
        Bounds { rate: self.rate.map(|limit| limit.0), sessions: self.sessions }
    }
}

/// `rate-limit N burst M`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(pub Rate);

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} burst {}", self.0.rate, self.0.burst)
    }
}

/// `dns server-group DefaultDNS`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `name-server`, in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// `source-address`: where questions come from; else what the host's routes say.
    pub source: Option<IpAddr>,
    /// `timeout`, seconds.
    pub timeout: Option<u32>,
    /// `retries`
    pub retries: Option<u32>,
}

impl Dns {
    /// Seconds that an answer is waited for.
    pub fn timeout(&self) -> u32 {
        self.timeout.unwrap_or(2)
    }

    /// How often a question is asked again.
    pub fn retries(&self) -> u32 {
        self.retries.unwrap_or(2)
    }
}
